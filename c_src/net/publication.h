/* The registration with EPMD, kept up for as long as the node lives.
 *
 * At the start a name that is taken is tried again for a while: a predecessor that was killed may
 * not be forgotten yet. EPMD gives the creation; when EPMD is restarted the node registers again
 * and keeps its first creation, as a BEAM does: with a new one every pid it handed out would be
 * that of a dead process. OTP: lib/kernel/src/erl_epmd.erl, handle_info({tcp_closed, _}, _). */
#ifndef KV_PUBLICATION_H
#define KV_PUBLICATION_H

#include "wire/epmd.h"

#include <uv.h>

struct kv_node;

enum { KV_PUBLICATION_ANSWER_MAX = 16 };

struct kv_publication {
    struct kv_node *node;
    uint16_t port; /* where the node listens */
    uv_tcp_t tcp;
    uv_connect_t connecting;
    uv_write_t writing;
    uv_timer_t timer;
    uint64_t retry_in; /* milliseconds from the close of tcp to the next attempt */
    uint64_t give_up;  /* when, on the clock of the loop, the name must be ours */
    struct kv_buffer request;
    uint8_t answer[KV_PUBLICATION_ANSWER_MAX];
    size_t answer_length;
    bool registered; /* now */
    bool once;       /* has been registered: the creation is settled */
    bool told;       /* the loss of EPMD is in the log */
};

/* Calls kv_node_published() once, or kv_node_fatal(). */
void kv_publication_start(struct kv_publication *publication, struct kv_node *node, uint16_t port);

/* Releases the memory; the handles are closed by whoever closes those of the loop. */
void kv_publication_finish(struct kv_publication *publication);

#endif
