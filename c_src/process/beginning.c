/* Reads the beginning of a term that was cut off. */
#include <kv/process.h>

/* Returns the size of the header in bytes, or 0 if this is no tuple of `arity` elements. */
static size_t tuple_header(struct kv_bytes tuple, uint32_t arity)
{
    struct kv_reader reader = kv_reader(tuple);
    size_t header = tuple.length > 0 && tuple.data[0] == KV_TAG_SMALL_TUPLE ? 2 : 5;
    return tuple.length >= header && kv_read_tuple_of(&reader, arity) == KV_OK ? header : 0;
}

int kv_read_beginning(struct kv_bytes tuple, uint32_t arity, struct kv_bytes *elements, size_t most,
                      size_t *count)
{
    static const struct kv_term_limits limits = KV_TERM_LIMITS_DEFAULT;
    size_t at = tuple_header(tuple, arity);
    *count = 0;
    while (at > 0 && *count < most) {
        struct kv_bytes rest = kv_bytes(tuple.data + at, tuple.length - at);
        size_t length = 0;
        int error = kv_term_validate(rest, &limits, &length);
        if (error != KV_OK) {
            return error;
        }
        elements[(*count)++] = kv_bytes(rest.data, length);
        at += length;
    }
    return KV_OK;
}
