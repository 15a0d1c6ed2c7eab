/* Text for viewers: a list of characters, which they show as it is, from bytes of any origin. */
#ifndef KV_OBSERVE_CHARACTERS_H
#define KV_OBSERVE_CHARACTERS_H

#include <kv/term.h>

/* Appends a list of the characters of what should be UTF-8. What is none is U+FFFD in it. */
void kv_write_characters(struct kv_buffer *to, struct kv_bytes text);

#endif
