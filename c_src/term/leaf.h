/* The canonical form of leaves: terms that contain no other term. */
#ifndef KV_TERM_LEAF_H
#define KV_TERM_LEAF_H

#include <kv/term.h>

/* Appends the canonical form of the leaf of `size` bytes at `term`: at most KV_LEAF_MAX(size)
 * bytes. */
void kv_leaf_canonical(const uint8_t *term, size_t size, enum kv_zeros zeros, struct kv_buffer *to);

/* UTF-8 lengthens a Latin-1 atom by at most 255 bytes, and an export has two atoms. An old
 * reference gets two more words and a longer header and creation. */
#define KV_LEAF_MAX(size) ((size) + (size_t)(2 * KV_ATOM_MAX_CHARACTERS) + 16)

#endif
