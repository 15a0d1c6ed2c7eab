/* Requests that are too long for one turn of the loop: they go on in the next turns, piece by
 * piece, while other processes are served. The process keeps the messages that come meanwhile.
 *
 * An operation with the trait KV_CONTINUES checks its arguments, sets the table up (frozen, or with
 * changes begun) and calls kv_go_on(). Its pieces do the rest. If the process ends in between, the
 * end of the table undoes what was set up. A durable table stays: all pieces are done then.
 *
 * The state of a process whose requests go on begins with a pointer to its struct kv_going, which
 * is NULL while no request does: KV_STATE_GOES_ON. */
#ifndef KV_GOING_H
#define KV_GOING_H

#include "kv/operation.h"

#include <stddef.h>

/* The work of one piece: some 0.3 ms. A request of no more is done at once. */
enum { KV_PIECE_KEYS = 1024, KV_PIECE_BYTES = 128 * 1024 };
/* A request of so few keys and so many bytes is done at once, too. */
enum { KV_AT_ONCE_BYTES = 256 * 1024 };

struct kv_going;

/* Does a piece. Returns true if there is more to do. Returns false if the request is done: then the
 * whole answer is in `answer`. */
typedef bool kv_piece(struct kv_process *self, struct kv_going *going, struct kv_answer *answer);

enum { KV_GOING_ARGUMENTS = 2 };

struct kv_going {
    kv_piece *piece;
    struct kv_bytes arguments[KV_GOING_ARGUMENTS]; /* in the message or the copies */
    struct kv_buffer answer;
    struct kv_shared *message; /* kept; NULL: the arguments are copies */
    struct kv_buffer copies;
    struct kv_buffer from; /* empty: nobody waits */
    bool latest;           /* the answer waits for no change: kv_process_hold_for() */
    void *work;            /* of the operation, zeroed at first; freed with kv_free() */
};

/* Holds a type of state to that. */
#define KV_STATE_GOES_ON(type)                                                                     \
    _Static_assert(offsetof(type, going) == 0, "going.c finds the request at the start")

static inline bool kv_is_long(uint64_t keys, uint64_t bytes)
{
    return keys > KV_PIECE_KEYS || bytes > KV_AT_ONCE_BYTES;
}

/* Makes a process go on with a request, and sets `answer->parked`. Keeps the first `count`
 * arguments. Returns the record, which lives until the last piece is done. */
struct kv_going *kv_go_on(struct kv_process *self, const struct kv_asked *asked, unsigned count,
                          struct kv_answer *answer, kv_piece *piece, size_t work_size);

/* handle_more of such a process. */
bool kv_going_more(struct kv_process *self);

/* Called when a process ends: tells the caller. `finish`: does all pieces first, since the table
 * stays. Does nothing if no request goes on. */
void kv_going_stop(struct kv_process *self, struct kv_bytes reason, bool finish);

#endif
