/* A stream whose other end is the test. */
#ifndef KV_TEST_FAKE_STREAM_H
#define KV_TEST_FAKE_STREAM_H

#include "net/stream.h"
#include "wire/slices.h"

enum { FAKE_RUNS = KV_SLICES_RUNS };

#define ALL SIZE_MAX

struct fake {
    struct kv_stream stream;
    bool reading;
    bool closed;                     /* close() was called; fake_net_turn() then calls closed() */
    bool gone;                       /* closed() was called */
    size_t room;                     /* bytes that the system takes at once; 0: EAGAIN */
    size_t most;                     /* bytes that one call takes at most */
    int error;                       /* of the next try_write() and write(), if not 0 */
    struct kv_bytes runs[FAKE_RUNS]; /* of the write under way; borrowed from the user */
    unsigned run_count;
    struct kv_buffer taken;   /* all bytes that left */
    struct kv_buffer waiting; /* for look() */
    uint32_t challenge;       /* of the node, once it is known */
    size_t seen;              /* bytes of `taken` that fake_frame() has passed */
};

void fake_init(struct fake *fake);
void fake_free(struct fake *fake);

/* Sends bytes, `piece` at a time. Returns how many were read: fewer if reading is paused. */
size_t fake_send(struct fake *fake, struct kv_bytes bytes, size_t piece);

/* The system takes `most` bytes of the write under way. */
void fake_drain(struct fake *fake, size_t most);

/* Nothing comes any more. */
void fake_end(struct fake *fake, int error);

/* Ends a stream that is closed: its last calls to its user. */
void fake_reap(struct fake *fake);

#endif
