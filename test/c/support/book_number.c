/* Counters, as the book does them: sign and magnitude, a byte at a time. */
#include "support/book_parts.h"

#include <string.h>

enum { MAGNITUDE = 136, BITS_MOST = 1024 };

struct number {
    bool negative; /* never of zero */
    uint8_t bytes[MAGNITUDE];
};

static unsigned length_of(const struct number *number)
{
    unsigned length = MAGNITUDE;
    while (length > 0 && number->bytes[length - 1] == 0) {
        length--;
    }
    return length;
}

static bool is_too_long(const struct number *number)
{
    return length_of(number) > BITS_MOST / 8;
}

static void set_i64(struct number *number, int64_t value)
{
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    memset(number, 0, sizeof *number);
    number->negative = value < 0;
    for (unsigned i = 0; i < 8; i++) {
        number->bytes[i] = (uint8_t)(magnitude >> (8 * i));
    }
}

/* Returns false if the term is no integer. */
static bool read_number(struct kv_bytes term, struct number *number)
{
    int64_t small;
    struct kv_reader reader = kv_reader(term);
    if (kv_read_i64(&reader, &small) == KV_OK) {
        set_i64(number, small);
        return true;
    }
    const bool is_large = term.data[0] == KV_TAG_LARGE_BIG;
    if (!is_large && term.data[0] != KV_TAG_SMALL_BIG) {
        return false;
    }
    const size_t header = is_large ? 6 : 3;
    const size_t length = term.length - header;
    memset(number, 0, sizeof *number);
    number->negative = term.data[header - 1] != 0;
    memcpy(number->bytes, term.data + header, length < MAGNITUDE ? length : MAGNITUDE);
    return true;
}

static bool read_short_number(struct kv_bytes term, struct number *number)
{
    return read_number(term, number) && !is_too_long(number);
}

static void write_number(struct kv_buffer *to, const struct number *number)
{
    const unsigned length = length_of(number);
    uint64_t magnitude = 0;
    for (unsigned i = 0; i < 8; i++) {
        magnitude |= (uint64_t)number->bytes[i] << (8 * i);
    }
    if (length < 8 || (length == 8 && magnitude <= (uint64_t)INT64_MAX)) {
        kv_write_i64(to, number->negative ? -(int64_t)magnitude : (int64_t)magnitude);
        return;
    }
    kv_buffer_u8(to, KV_TAG_SMALL_BIG);
    kv_buffer_u8(to, (uint8_t)length);
    kv_buffer_u8(to, number->negative);
    kv_buffer_append(to, kv_bytes(number->bytes, length));
}

static int compare_magnitudes(const struct number *a, const struct number *b)
{
    for (unsigned i = MAGNITUDE; i-- > 0;) {
        if (a->bytes[i] != b->bytes[i]) {
            return a->bytes[i] < b->bytes[i] ? -1 : 1;
        }
    }
    return 0;
}

static bool is_less(const struct number *a, const struct number *b)
{
    const int order = compare_magnitudes(a, b);
    return a->negative != b->negative ? a->negative : a->negative ? order > 0 : order < 0;
}

static struct number sum_of(struct number a, struct number b)
{
    struct number sum = {.negative = a.negative};
    int carry = 0;
    if (a.negative != b.negative && compare_magnitudes(&a, &b) < 0) {
        const struct number other = a;
        a = b;
        b = other;
        sum.negative = a.negative;
    }
    for (unsigned i = 0; i < MAGNITUDE; i++) {
        const int byte = a.bytes[i] + (a.negative == b.negative ? b.bytes[i] : -b.bytes[i]) + carry;
        sum.bytes[i] = (uint8_t)byte;
        carry = byte < 0 ? -1 : byte >> 8;
    }
    sum.negative = sum.negative && length_of(&sum) > 0;
    return sum;
}

/* ---- the operations ----------------------------------------------------------------------------
 */

struct bounds {
    bool has_initial, has_min, has_max, has_ttl;
    struct number initial, min, max;
    struct kv_bytes ttl;
};

static bool take_option(struct kv_bytes pair, struct bounds *bounds)
{
    struct kv_bytes name;
    struct kv_bytes value;
    struct kv_reader reader = kv_reader(pair);
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_atom(&reader, &name) != KV_OK) {
        return false;
    }
    (void)kv_read_any(&reader, &value);
    if (kv_bytes_is(name, "ttl")) {
        struct kv_buffer ignored = KV_BUFFER_INIT;
        bounds->has_ttl = book_accepts_ttl(&value, &ignored);
        bounds->ttl = value;
        kv_buffer_free(&ignored);
        return bounds->has_ttl;
    }
    bounds->has_initial |= kv_bytes_is(name, "default");
    bounds->has_min |= kv_bytes_is(name, "min");
    bounds->has_max |= kv_bytes_is(name, "max");
    return kv_bytes_is(name, "default") ? read_short_number(value, &bounds->initial)
           : kv_bytes_is(name, "min")   ? read_short_number(value, &bounds->min)
           : kv_bytes_is(name, "max")   ? read_short_number(value, &bounds->max)
                                        : false;
}

/* Of two options with one name the first counts. */
static void keep_first(const struct bounds *before, struct bounds *bounds)
{
    bounds->initial = before->has_initial ? before->initial : bounds->initial;
    bounds->min = before->has_min ? before->min : bounds->min;
    bounds->max = before->has_max ? before->max : bounds->max;
    bounds->ttl = before->has_ttl ? before->ttl : bounds->ttl;
}

static bool read_options(struct kv_bytes list, struct bounds *bounds, struct kv_buffer *answer)
{
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(list);
    if (kv_read_list(&reader, &count) != KV_OK) {
        book_refuse_term(answer, "bad_option", list);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct bounds before = *bounds;
        struct kv_bytes pair = {NULL, 0};
        (void)kv_read_any(&reader, &pair);
        if (!take_option(pair, bounds)) {
            book_refuse_term(answer, "bad_option", pair);
            return false;
        }
        keep_first(&before, bounds);
    }
    return true;
}

static void put_number(struct book *book, unsigned key, const struct number *number,
                       uint64_t expiry, struct kv_buffer *answer)
{
    struct kv_buffer term = book_term();
    bool these[BOOK_KEYS] = {false};
    these[key] = true;
    write_number(&term, number);
    if (book_has_room(book, these, answer)) {
        book_put(book, key, kv_buffer_bytes(&term), expiry);
        kv_write_term(answer, kv_buffer_bytes(&term));
    }
}

static void step(struct book *book, const struct kv_bytes *arguments, const struct kv_bytes *list,
                 bool down, struct kv_buffer *answer)
{
    struct bounds bounds = {.has_min = false};
    struct number by;
    unsigned key;
    if (list != NULL && !read_options(*list, &bounds, answer)) {
        return;
    }
    if (!read_short_number(arguments[1], &by)) {
        book_refuse_term(answer, "bad_step", arguments[1]);
        return;
    }
    const bool there = book_finds(book, arguments[0], &key);
    struct number current = bounds.initial;
    if (there && !read_number(book_value(book, key), &current)) {
        book_refuse(answer, "not_an_integer");
        return;
    }
    if (there && is_too_long(&current)) {
        book_refuse_term(answer, "limit", book_value(book, key));
        return;
    }
    by.negative = by.negative != down && length_of(&by) > 0;
    const struct number sum = sum_of(current, by);
    if (is_too_long(&sum) || (bounds.has_min && is_less(&sum, &bounds.min)) ||
        (bounds.has_max && is_less(&bounds.max, &sum))) {
        struct kv_buffer term = KV_BUFFER_INIT;
        write_number(&term, &current);
        book_refuse_term(answer, "limit", kv_buffer_bytes(&term));
        kv_buffer_free(&term);
        return;
    }
    put_number(book, key, &sum,
               there ? book->entries[key].expiry
                     : book_expiry(book, key, bounds.has_ttl ? &bounds.ttl : NULL),
               answer);
}

void book_run_incr(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    step(book, arguments, NULL, false, answer);
}

void book_run_incr_with(struct book *book, const struct kv_bytes *arguments,
                        struct kv_buffer *answer)
{
    step(book, arguments, &arguments[2], false, answer);
}

void book_run_decr(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    step(book, arguments, NULL, true, answer);
}

void book_run_decr_with(struct book *book, const struct kv_bytes *arguments,
                        struct kv_buffer *answer)
{
    step(book, arguments, &arguments[2], true, answer);
}
