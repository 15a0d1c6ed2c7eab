/* Text for viewers, who show a list of characters as it is. The bytes may be of any origin. */
#ifndef KV_OBSERVE_CHARACTERS_H
#define KV_OBSERVE_CHARACTERS_H

#include <kv/term.h>

/* Appends the bytes, which should be UTF-8, as a list of characters. Bytes that are not UTF-8
 * become U+FFFD. */
void kv_write_characters(struct kv_buffer *to, struct kv_bytes text);

#endif
