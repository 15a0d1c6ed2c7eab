/* A distribution peer made of one blocking socket: the handshake of a BEAM node, as initiator, and
 * frames. */
#ifndef KV_BENCH_LINK_H
#define KV_BENCH_LINK_H

#include <kv/bytes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link {
    int fd;
    uint8_t *input;
    size_t start, end, capacity; /* the part of input that has come and is not read yet */
    uint8_t *output;
    size_t queued, room;
    bool is_apart; /* the node ran on another processor when it sent last */
};

/* The name and the creation of this peer, in the frames that it sends. */
#define LINK_NODE "bench_alone@127.0.0.1"
enum { LINK_CREATION = 77 };

/* Connects to a node of that name that listens on this port of the loopback. Ends the program on
 * failure. */
void link_open(struct link *link, uint16_t port, const char *node, const char *cookie);
void link_close(struct link *link);

/* Queues a frame of these terms, which are encoded without the version byte 131. */
void link_queue(struct link *link, const uint8_t *terms, size_t length);
/* Sends what is queued, in one write if the system takes it. */
void link_flush(struct link *link);

/* Waits for the next frame that is no tick; *frame holds its terms, until the next call. */
void link_next(struct link *link, struct kv_bytes *frame);
/* The same, but only if it has been read from the socket already. */
int link_next_buffered(struct link *link, struct kv_bytes *frame);

#endif
