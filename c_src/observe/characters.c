#include "observe/characters.h"

#include "observe/list.h"

enum { REPLACEMENT = 0xfffd };

/* Returns the next character of bytes that should be UTF-8. Observer crashes on a surrogate. */
static uint32_t next_character(struct kv_bytes text, size_t *at)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint32_t character = text.data[(*at)++];
    size_t more = character >= 0xf0 ? 3 : character >= 0xe0 ? 2 : character >= 0xc0 ? 1 : 0;
    size_t found = 0;
    if (character < 0x80) {
        return character;
    }
    character &= 0x3fU >> more;
    for (; found < more && *at < text.length && (text.data[*at] & 0xc0) == 0x80; found++) {
        character = (character << 6) | (text.data[(*at)++] & 0x3fU);
    }
    bool surrogate = character >= 0xd800 && character <= 0xdfff;
    bool valid = more > 0 && found == more && character >= least[more] && character <= 0x10ffff;
    return valid && !surrogate ? character : REPLACEMENT;
}

void kv_write_characters(struct kv_buffer *to, struct kv_bytes text)
{
    struct kv_term_list list = {0};
    for (size_t at = 0; at < text.length;) {
        kv_write_u64(&list.elements, next_character(text, &at));
        list.count++;
    }
    kv_term_list_close(&list, to);
}
