/* The two call messages, in the encoding that a BEAM writes:
 *
 *     {'$gen_call', {Pid, [alias | Ref]}, Request}    gen_server:call/2
 *     {'$kv_call', Ref, Request}                      docs/native-protocol.md
 *
 * wire/ compares incoming frames with these bytes, server/ parses messages by them. */
#ifndef KV_TERM_CALL_SHAPE_H
#define KV_TERM_CALL_SHAPE_H

#include <kv/signal.h>

#define KV_GEN_CALL_HEAD "\x68\x03\x77\x09$gen_call\x68\x02" /* up to Pid */
#define KV_GEN_CALL_ALIAS                                                                          \
    "\x6c\0\0\0\x01\x77\x05"                                                                       \
    "alias"                                        /* from behind Pid up to Ref */
#define KV_KV_CALL_HEAD "\x68\x03\x77\x08$kv_call" /* up to Ref */

enum kv_call_shape { KV_CALL_UNKNOWN, KV_CALL_GEN, KV_CALL_KV };

/* A signal of a peer, with a hint from the decoder. UNKNOWN: no hint. GEN and KV: the signal is a
 * MESSAGE that has exactly the bytes above up to Request; Pid and Ref belong to the node of `from`,
 * and Ref has three words. */
struct kv_incoming {
    struct kv_signal signal;
    enum kv_call_shape call;
};

#endif
