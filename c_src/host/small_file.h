/* A file that is read as a whole: a certificate, a cookie, options. */
#ifndef KV_HOST_SMALL_FILE_H
#define KV_HOST_SMALL_FILE_H

#include <kv/buffer.h>

#include <stdbool.h>
#include <stdint.h>

struct kv_small_file {
    bool is_regular;
    bool is_private; /* nobody but its owner may read or write it, and that is this user or root */
    unsigned mode;   /* its permissions: 0 to 07777 */
    uint64_t owner;  /* the number of the user */
};

/* Appends the content. Never waits, not even for a FIFO. Returns 0; EFBIG: the file has more than
 * `most` bytes; or another errno. `about` may be NULL; it is set if the file could be opened. */
int kv_small_file_read(const char *path, size_t most, struct kv_buffer *to,
                       struct kv_small_file *about);

/* Frees a buffer that may hold a secret, and leaves nothing of it. */
void kv_small_file_forget(struct kv_buffer *content);

#endif
