#include "term/token.h"

#include "base/endian.h"

struct kv_bytes kv_atom_text(const uint8_t *term, bool *latin1)
{
    *latin1 = term[0] == KV_TAG_ATOM || term[0] == KV_TAG_SMALL_ATOM;
    if (term[0] == KV_TAG_SMALL_ATOM_UTF8 || term[0] == KV_TAG_SMALL_ATOM) {
        return kv_bytes(term + 2, term[1]);
    }
    return kv_bytes(term + 3, kv_get16(term + 1));
}

size_t kv_atom_size(const uint8_t *term)
{
    bool latin1;
    struct kv_bytes text = kv_atom_text(term, &latin1);
    return (size_t)(text.data - term) + text.length;
}

size_t kv_integer_size(const uint8_t *term)
{
    switch (term[0]) {
    case KV_TAG_SMALL_INTEGER:
        return 2;
    case KV_TAG_INTEGER:
        return 5;
    case KV_TAG_SMALL_BIG:
        return 3 + (size_t)term[1];
    default:
        return 6 + (size_t)kv_get32(term + 1);
    }
}

/* The size of a pid, port or reference: bytes before the node, the node, bytes behind it. */
static size_t identifier_size(const uint8_t *term)
{
    switch (term[0]) {
    case KV_TAG_NEW_PID:
        return 1 + kv_atom_size(term + 1) + 12;
    case KV_TAG_PID:
        return 1 + kv_atom_size(term + 1) + 9;
    case KV_TAG_V4_PORT:
        return 1 + kv_atom_size(term + 1) + 12;
    case KV_TAG_NEW_PORT:
        return 1 + kv_atom_size(term + 1) + 8;
    case KV_TAG_PORT:
    case KV_TAG_REFERENCE:
        return 1 + kv_atom_size(term + 1) + 5;
    case KV_TAG_NEW_REFERENCE:
        return 3 + kv_atom_size(term + 3) + 1 + 4 * (size_t)kv_get16(term + 1);
    default: /* KV_TAG_NEWER_REFERENCE */
        return 3 + kv_atom_size(term + 3) + 4 + 4 * (size_t)kv_get16(term + 1);
    }
}

static size_t export_size(const uint8_t *term)
{
    size_t size = 1 + kv_atom_size(term + 1);
    size += kv_atom_size(term + size);
    return size + kv_integer_size(term + size);
}

static struct kv_token leaf(size_t size)
{
    return (struct kv_token){.size = size, .children = 0};
}

static struct kv_token header(size_t size, size_t children)
{
    return (struct kv_token){.size = size, .children = children};
}

struct kv_token kv_token(const uint8_t *term)
{
    switch (term[0]) {
    case KV_TAG_BINARY:
        return leaf(KV_LONG_HEADER + (size_t)kv_get32(term + 1));
    case KV_TAG_BIT_BINARY:
        return leaf(KV_LONG_HEADER + 1 + (size_t)kv_get32(term + 1));
    case KV_TAG_SMALL_INTEGER:
    case KV_TAG_INTEGER:
    case KV_TAG_SMALL_BIG:
    case KV_TAG_LARGE_BIG:
        return leaf(kv_integer_size(term));
    case KV_TAG_NEW_FLOAT:
        return leaf(9);
    case KV_TAG_FLOAT:
        return leaf(1 + KV_FLOAT_TEXT);
    case KV_TAG_ATOM:
    case KV_TAG_SMALL_ATOM:
    case KV_TAG_ATOM_UTF8:
    case KV_TAG_SMALL_ATOM_UTF8:
        return leaf(kv_atom_size(term));
    case KV_TAG_NIL:
        return leaf(1);
    case KV_TAG_STRING:
        return leaf(3 + (size_t)kv_get16(term + 1));
    case KV_TAG_SMALL_TUPLE:
        return header(2, term[1]);
    case KV_TAG_LARGE_TUPLE:
        return header(KV_LONG_HEADER, kv_get32(term + 1));
    case KV_TAG_LIST:
        return header(KV_LONG_HEADER, (size_t)kv_get32(term + 1) + 1);
    case KV_TAG_MAP:
        return header(KV_LONG_HEADER, 2 * (size_t)kv_get32(term + 1));
    case KV_TAG_NEW_FUN:
        return leaf(1 + (size_t)kv_get32(term + 1));
    case KV_TAG_EXPORT:
        return leaf(export_size(term));
    default:
        return leaf(identifier_size(term));
    }
}

size_t kv_term_size_any(const uint8_t *term)
{
    const uint8_t *next = term;
    for (size_t pending = 1; pending > 0; pending--) {
        struct kv_token token = kv_token(next);
        next += token.size;
        pending += token.children;
    }
    return (size_t)(next - term);
}
