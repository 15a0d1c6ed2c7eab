#include "support/draw.h"

#include <stdio.h>
#include <string.h>

uint64_t draw_number(struct draw *draw)
{
    uint64_t z = draw->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

unsigned draw_below(struct draw *draw, unsigned below)
{
    return (unsigned)(draw_number(draw) >> 33) % below;
}

bool draw_once_in(struct draw *draw, unsigned times)
{
    return draw_below(draw, times) == 0;
}

/* ---- values ------------------------------------------------------------------------------------
 */

static struct kv_bytes integer(int64_t value)
{
    struct kv_buffer term = book_term();
    kv_write_i64(&term, value);
    return book_keep(&term);
}

static struct kv_bytes atom(const char *text)
{
    struct kv_buffer term = book_term();
    kv_write_atom_text(&term, text);
    return book_keep(&term);
}

/* An integer of 9 to 128 bytes, and rarely of more. */
static struct kv_bytes big(struct draw *draw)
{
    struct kv_buffer term = book_term();
    unsigned length = draw_once_in(draw, 8) ? 125 + draw_below(draw, 8) : 9 + draw_below(draw, 20);
    bool full = draw_once_in(draw, 2);
    kv_buffer_u8(&term, KV_TAG_SMALL_BIG);
    kv_buffer_u8(&term, (uint8_t)length);
    kv_buffer_u8(&term, (uint8_t)draw_below(draw, 2));
    for (unsigned i = 0; i < length; i++) {
        kv_buffer_u8(&term, full ? 255 : (uint8_t)(draw_below(draw, 255) + 1));
    }
    return book_keep(&term);
}

/* A small integer in one of its encodings. */
static struct kv_bytes small(struct draw *draw)
{
    struct kv_buffer term = book_term();
    uint8_t value = (uint8_t)draw_below(draw, 4);
    if (!draw_once_in(draw, 3)) {
        kv_write_u64(&term, value);
    } else if (draw_once_in(draw, 2)) {
        kv_buffer_u8(&term, KV_TAG_INTEGER);
        kv_buffer_u32(&term, value);
    } else {
        return integer(-(int64_t)value - 1);
    }
    return book_keep(&term);
}

static struct kv_bytes binary(struct draw *draw, size_t length)
{
    struct kv_buffer term = book_term();
    kv_buffer_u8(&term, KV_TAG_BINARY);
    kv_buffer_u32(&term, (uint32_t)length);
    memset(term.data + term.length, (int)('a' + draw_below(draw, 26)), length);
    term.length += length;
    return book_keep(&term);
}

static struct kv_bytes large(struct draw *draw)
{
    static const size_t lengths[] = {1020, 1024, 1025, 1026, 8150, 9 * 1024, 70 * 1024};
    return binary(draw, lengths[draw_below(draw, sizeof lengths / sizeof lengths[0])]);
}

static struct kv_bytes value(struct draw *draw)
{
    switch (draw_below(draw, 16)) {
    case 0:
        return big(draw);
    case 1:
        return draw_once_in(draw, 3) ? large(draw) : binary(draw, 1024);
    case 2:
    case 3:
        return binary(draw, 10);
    case 4:
        return binary(draw, draw_below(draw, 40));
    case 5:
        return book_key(draw_below(draw, BOOK_KEYS), draw_below(draw, BOOK_ENCODINGS));
    case 6:
        return atom("ok");
    case 7:
        return integer(draw_once_in(draw, 2) ? INT64_MAX - draw_below(draw, 2)
                                             : INT64_MIN + (int64_t)draw_below(draw, 2));
    default:
        return small(draw);
    }
}

/* ---- other arguments ---------------------------------------------------------------------------
 */

static struct kv_bytes key(struct draw *draw)
{
    return book_key(draw_below(draw, BOOK_KEYS), draw_once_in(draw, 3) ? draw_below(draw, 3) : 0);
}

static struct kv_bytes milliseconds(struct draw *draw)
{
    switch (draw_below(draw, 8)) {
    case 0:
        return integer(1);
    case 1:
        return integer(INT64_C(1) << 46);
    default:
        return integer(1 + draw_below(draw, 100));
    }
}

static struct kv_bytes ttl(struct draw *draw)
{
    switch (draw_below(draw, 16)) {
    case 0:
        return integer(0);
    case 1:
        return integer((INT64_C(1) << 46) + 1);
    case 2:
        return draw_once_in(draw, 2) ? atom("never") : integer(-1);
    case 3:
    case 4:
        return atom("infinity");
    case 5:
    case 6:
        return atom("keep");
    default:
        return milliseconds(draw);
    }
}

static struct kv_bytes unix_time(struct draw *draw)
{
    return draw_once_in(draw, 20)  ? integer(INT64_MAX)
           : draw_once_in(draw, 5) ? integer(BOOK_UNIX_TIME - draw_below(draw, 3))
           : draw_once_in(draw, 9) ? atom("soon")
                                   : integer(BOOK_UNIX_TIME + draw_below(draw, 100));
}

/* An integer, and rarely none. */
static struct kv_bytes number(struct draw *draw)
{
    return draw_once_in(draw, 20)  ? value(draw)
           : draw_once_in(draw, 4) ? big(draw)
           : draw_once_in(draw, 6) ? integer(INT64_MAX - draw_below(draw, 3))
                                   : integer((int64_t)draw_below(draw, 9) - 3);
}

static struct kv_bytes counter_options(struct draw *draw)
{
    static const char *const names[] = {"default", "ttl", "min", "max", "most"};
    struct kv_bytes values[3];
    unsigned named[3];
    const unsigned count = draw_below(draw, 4);
    for (unsigned i = 0; i < count; i++) {
        named[i] = draw_below(draw, draw_once_in(draw, 10) ? 5 : 4);
        values[i] = named[i] == 1 ? ttl(draw) : number(draw);
    }
    struct kv_buffer term = book_term();
    if (count > 0) {
        kv_write_list(&term, count);
    }
    for (unsigned i = 0; i < count; i++) {
        kv_write_tuple(&term, 2);
        kv_write_atom_text(&term, names[named[i]]);
        kv_write_term(&term, values[i]);
    }
    kv_write_nil(&term);
    return book_keep(&term);
}

static struct kv_bytes key_list(struct draw *draw)
{
    struct kv_buffer term = book_term();
    unsigned count = draw_below(draw, 8);
    if (draw_once_in(draw, 12)) {
        return draw_once_in(draw, 2) ? atom("a") : book_key(9, 0); /* the string [1, 2] */
    }
    if (count > 0) {
        kv_write_list(&term, count);
    }
    for (unsigned i = 0; i < count; i++) {
        kv_write_term(&term, key(draw));
    }
    if (count > 0 && draw_once_in(draw, 12)) {
        kv_write_atom_text(&term, "improper");
    } else {
        kv_write_nil(&term);
    }
    return book_keep(&term);
}

/* A map has no key twice. */
static struct kv_bytes entry_map(struct draw *draw)
{
    struct kv_bytes values[BOOK_KEYS];
    const unsigned first = draw_below(draw, BOOK_KEYS);
    const unsigned count = draw_below(draw, 6);
    for (unsigned i = 0; i < count; i++) {
        values[i] = value(draw);
    }
    struct kv_buffer term = book_term();
    kv_write_map(&term, count);
    for (unsigned i = 0; i < count; i++) {
        kv_write_term(&term, book_key((first + i) % BOOK_KEYS, 0));
        kv_write_term(&term, values[i]);
    }
    return book_keep(&term);
}

static struct kv_bytes entry_list(struct draw *draw)
{
    struct kv_bytes values[8];
    const unsigned count = draw_below(draw, 8);
    for (unsigned i = 0; i < count; i++) {
        values[i] = value(draw);
    }
    struct kv_buffer term = book_term();
    if (count > 0) {
        kv_write_list(&term, count);
    }
    for (unsigned i = 0; i < count; i++) {
        if (draw_once_in(draw, 80)) {
            kv_write_atom_text(&term, "no_pair");
            continue;
        }
        kv_write_tuple(&term, 2);
        kv_write_term(&term, key(draw));
        kv_write_term(&term, values[i]);
    }
    kv_write_nil(&term);
    return book_keep(&term);
}

static struct kv_bytes entries(struct draw *draw)
{
    switch (draw_below(draw, 10)) {
    case 0:
        return draw_once_in(draw, 2) ? atom("a") : book_key(9, 0);
    case 1:
    case 2:
    case 3:
        return entry_map(draw);
    default:
        return entry_list(draw);
    }
}

/* The value that the key of the request has now, in the bytes of the book; or another one. */
static struct kv_bytes expected_value(struct draw *draw, const struct book *book,
                                      struct kv_bytes of_key)
{
    const unsigned number = book_find_key(of_key);
    return number < BOOK_KEYS && book->entries[number].value != NULL && !draw_once_in(draw, 3)
               ? book_value(book, number)
               : value(draw);
}

static struct kv_bytes tag(struct draw *draw, const struct book *book, struct kv_bytes of_key)
{
    const unsigned number = book_find_key(of_key);
    struct kv_buffer term = book_term();
    if (draw_once_in(draw, 30)) {
        return atom("no_tag");
    }
    if (number == BOOK_KEYS || book->entries[number].value == NULL || draw_once_in(draw, 6)) {
        return atom("absent");
    }
    kv_write_u64(&term, draw_once_in(draw, 6) ? 5 : book_tag(book_value(book, number)));
    return book_keep(&term);
}

struct kv_bytes draw_argument(struct draw *draw, const struct book *book, char letter,
                              const struct kv_bytes *before)
{
    switch (letter) {
    case 'k':
        return key(draw);
    case 't':
        return ttl(draw);
    case 'l':
        return key_list(draw);
    case 'e':
        return entries(draw);
    case 'o':
        return expected_value(draw, book, before[0]);
    case 'n':
        return number(draw);
    case 'i':
        return counter_options(draw);
    case 'u':
        return unix_time(draw);
    case 'g':
        return tag(draw, book, before[0]);
    default:
        return value(draw);
    }
}

/* ---- printing ----------------------------------------------------------------------------------
 */

static void print_text(struct kv_buffer *to, const char *text)
{
    kv_buffer_append(to, kv_bytes_text(text));
}

static void print_binary(struct kv_bytes bytes, struct kv_buffer *to)
{
    char text[64];
    if (bytes.length > 40) {
        (void)snprintf(text, sizeof text, "<<%zu bytes of '%c'>>", bytes.length, bytes.data[0]);
        print_text(to, text);
        return;
    }
    print_text(to, "<<\"");
    kv_buffer_append(to, bytes);
    print_text(to, "\">>");
}

static void print_hex(struct kv_bytes term, struct kv_buffer *to)
{
    char text[8];
    print_text(to, "#");
    for (size_t i = 0; i < term.length && i < 24; i++) {
        (void)snprintf(text, sizeof text, "%02x", term.data[i]);
        print_text(to, text);
    }
    print_text(to, term.length > 24 ? "..." : "");
}

static void print_many(struct kv_reader *reader, uint32_t count, const char *end,
                       struct kv_buffer *to)
{
    for (uint32_t i = 0; i < count; i++) {
        struct kv_bytes element;
        (void)kv_read_any(reader, &element);
        print_text(to, i > 0 ? ", " : "");
        draw_print(element, to);
    }
    if (!kv_reader_at_end(reader) && kv_read_nil(reader) != KV_OK) {
        print_text(to, " | improper");
    }
    print_text(to, end);
}

void draw_print(struct kv_bytes term, struct kv_buffer *to)
{
    struct kv_reader reader = kv_reader(term);
    struct kv_bytes bytes;
    uint32_t count;
    int64_t number;
    char text[32];
    if (kv_read_atom(&reader, &bytes) == KV_OK) {
        kv_buffer_append(to, bytes);
    } else if (kv_read_binary(&reader, &bytes) == KV_OK) {
        print_binary(bytes, to);
    } else if (kv_read_i64(&reader, &number) == KV_OK) {
        (void)snprintf(text, sizeof text, "%lld", (long long)number);
        print_text(to, text);
    } else if (kv_read_tuple(&reader, &count) == KV_OK) {
        print_text(to, "{");
        print_many(&reader, count, "}", to);
    } else if (kv_read_list(&reader, &count) == KV_OK) {
        print_text(to, "[");
        print_many(&reader, count, "]", to);
    } else if (kv_read_map(&reader, &count) == KV_OK) {
        print_text(to, "#{");
        print_many(&reader, 2 * count, "}", to);
    } else {
        print_hex(term, to);
    }
}
