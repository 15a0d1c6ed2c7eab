/* The canonical form of terms that hold no other term. */
#ifndef KV_TERM_LEAF_H
#define KV_TERM_LEAF_H

#include <kv/term.h>

/* Appends the canonical form of the leaf at `term`, whose size is `size`; at most
 * KV_LEAF_MAX(size) bytes. */
void kv_leaf_canonical(const uint8_t *term, size_t size, enum kv_zeros zeros, struct kv_buffer *to);

/* UTF-8 makes a Latin-1 atom longer by 255 bytes at most, of which an export has two; a reference
 * of old gets two words more, and a longer header and creation. */
#define KV_LEAF_MAX(size) ((size) + (size_t)(2 * KV_ATOM_MAX_CHARACTERS) + 16)

#endif
