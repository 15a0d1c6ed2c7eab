/* Checks that the process has what libuv and libcrypto take for granted: without it they end the
 * process by abort(), and nobody learns why. */
#ifndef KV_FOOTING_H
#define KV_FOOTING_H

#include <stddef.h>

enum {
    KV_FOOTING_TEXT_MAX = 256,
    KV_FILES_LEAST = 16, /* standard streams, event loop, signals, listener, EPMD, memory, a peer */
    KV_STACK_LEAST = 256 << 10, /* bytes */
    KV_THREAD_STACK = 8 << 20,  /* bytes; libuv's own, from 1.45 on */
};

/* Returns NULL, or `text` with the limit that is too low, and what to do. Call it once, before
 * anything of libuv and while there is one thread: it lets libuv have one thread for its work,
 * unless UV_THREADPOOL_SIZE says otherwise, and starts and ends a thread to try. Keep the frames of
 * its callers small: a stack of a few pages must be enough for the text. */
const char *kv_footing_check(char text[KV_FOOTING_TEXT_MAX]);

#endif
