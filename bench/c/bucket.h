/* A bucket on a node, called by processes that exist only on the wire: what gen_server:call/2
 * sends, and its answers. */
#ifndef KV_BENCH_BUCKET_H
#define KV_BENCH_BUCKET_H

#include "link.h"

#include <ei.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BUCKET_KEY_BYTES = 20, TEMPLATE_MAX = 4096 };

/* A message that is always the same but for its references, which say who calls and which call it
 * is, and its key. */
struct template
{
    uint8_t terms[TEMPLATE_MAX];
    size_t length;
    size_t references[3];
    int reference_count;
    size_t key;
};

/* Makes a bucket on the node: a durable one of the name `durable`, or, of NULL, a volatile one.
 * Ends the program on failure, as everything here. */
void bucket_spawn(struct link *link, const char *durable, erlang_pid *bucket);

/* The two ways to call: gen_server's, and that of KV.Bucket, which needs no monitor. */
enum bucket_form { BUCKET_GEN_CALL, BUCKET_KV_CALL };

/* {Operation, Key, More...}: a call of that caller to the bucket. more: `count` encoded terms
 * without the version byte. */
void bucket_call(struct template *template, const erlang_pid *bucket, enum bucket_form form,
                 int caller, const char *operation, const ei_x_buff *more, int count);

/* MONITOR_P (19) or DEMONITOR_P (20). */
void bucket_monitor(struct template *template, const erlang_pid *bucket, int caller,
                    long operation);

/* An exit signal of the reason kill: EXIT2. */
void bucket_kill(struct link *link, const erlang_pid *bucket);

/* Queues the message as that caller's call of that number. */
void bucket_queue(struct link *link, struct template *template, uint64_t number);

/* Sets the key of the message. */
void bucket_set_key(struct template *template, const char *key);

/* "key-0000000000000042", without a terminator. */
void bucket_key(char *key, uint64_t number);

/* Reads from an answer the index of its caller, and the number of the caller's call. */
void bucket_answered(struct kv_bytes frame, uint32_t *caller, uint64_t *number);

#endif
