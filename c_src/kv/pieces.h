/* Answers in pieces: the entries of a walk, or of a snapshot. */
#ifndef KV_PIECES_H
#define KV_PIECES_H

#include "kv/item.h"

/* Appends {Key, Value, Ttl}: the milliseconds that are left to the entry at `now`, or infinity. */
void kv_write_timed(struct kv_buffer *to, const struct kv_table_entry *entry, uint64_t now);

/* Begins a list whose length is not known yet. Returns its place, for kv_end_list(), which is told
 * how many elements were appended since. */
size_t kv_begin_list(struct kv_buffer *to);
void kv_end_list(struct kv_buffer *to, size_t place, uint32_t count);

#endif
