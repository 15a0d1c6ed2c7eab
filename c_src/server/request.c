/* Takes messages apart.
 *
 * OTP: lib/stdlib/src/gen.erl, do_call/4; gen_server.erl. */
#include "server/request.h"

#include "base/endian.h"
#include "base/word.h"

/* The From of a $kv_call is a bare alias; other kinds of requests never have one. */
bool kv_request_read(struct kv_bytes message, const char *kind, struct kv_from *from,
                     struct kv_bytes *request)
{
    struct kv_bytes from_term;
    struct kv_reader reader = kv_reader(message);
    return kv_read_tuple_of(&reader, 3) == KV_OK && kv_read_this_atom(&reader, kind) == KV_OK &&
           kv_read_any(&reader, &from_term) == KV_OK && kv_read_any(&reader, request) == KV_OK &&
           kv_from_read(from_term, from) == KV_OK && !from->unwatched;
}

bool kv_request_read_kv_call(struct kv_bytes message, struct kv_from *from,
                             struct kv_bytes *request)
{
    struct kv_bytes alias = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(message);
    return kv_read_tuple_of(&reader, 3) == KV_OK &&
           kv_read_this_atom(&reader, "$kv_call") == KV_OK &&
           kv_read_any(&reader, &alias) == KV_OK && kv_read_any(&reader, request) == KV_OK &&
           kv_from_read_alias(alias, from);
}

bool kv_request_read_cast(struct kv_bytes message, struct kv_bytes *request)
{
    struct kv_reader reader = kv_reader(message);
    return kv_read_tuple_of(&reader, 2) == KV_OK &&
           kv_read_this_atom(&reader, "$gen_cast") == KV_OK &&
           kv_read_any(&reader, request) == KV_OK;
}

/* Almost every message is one of two calls, in the one encoding that a BEAM writes. The functions
 * below read only that. The message has been validated, so its lengths need no check once the tags
 * are known. */

/* `at` is behind the tag of a reference; validation allows at most 255 words. A reference of the
 * sender's node points at the peer's copy of the node name, so that later comparisons end at the
 * pointer. */
static const uint8_t *usual_ref(const struct kv_signal *signal, enum kv_call_shape shape,
                                const uint8_t *at, struct kv_ref *ref)
{
    ref->count = at[1];
    ref->node = shape != KV_CALL_UNKNOWN ? signal->from.node : kv_bytes(at + 4, at[3]);
    at += 4 + at[3];
    ref->creation = kv_get32(at);
    at += 4;
    for (uint32_t i = 0; i < ref->count; i++, at += 4) {
        ref->words[i] = kv_get32(at);
    }
    return at;
}

static bool begins(const uint8_t *at, const uint8_t *end, const char *with, size_t length)
{
    return (size_t)(end - at) > length && kv_same(at, (const uint8_t *)with, length);
}

/* If the decoder has told the shape, the bytes need no look. */
static bool is_head(struct kv_bytes message, enum kv_call_shape shape, enum kv_call_shape wanted,
                    const char *head, size_t length)
{
    return shape == KV_CALL_UNKNOWN
               ? begins(message.data, message.data + message.length, head, length)
               : shape == wanted;
}

/* {'$gen_call', {Pid, [alias | Ref]}, Request} */
static bool usual_call(const struct kv_signal *signal, enum kv_call_shape shape,
                       struct kv_from *from, struct kv_bytes *request)
{
    static const char head[] = KV_GEN_CALL_HEAD "\x58\x77";
    static const char alias[] = KV_GEN_CALL_ALIAS "\x5a\0";
    enum { HEAD = sizeof head - 1, FROM = HEAD - 4, ALIAS = sizeof alias - 1 };
    struct kv_bytes message = signal->payload[0];
    const uint8_t *at = message.data;
    const uint8_t *end = at + message.length;
    if (!is_head(message, shape, KV_CALL_GEN, head, HEAD)) {
        return false;
    }
    at += HEAD;
    from->pid.node = kv_bytes(at + 1, *at);
    at += 1 + *at;
    from->pid.id = kv_get32(at);
    from->pid.serial = kv_get32(at + 4);
    from->pid.creation = kv_get32(at + 8);
    from->tag.data = at += 12;
    if (shape == KV_CALL_UNKNOWN &&
        (!begins(at, end, alias, ALIAS) || at[ALIAS + 1] != KV_TAG_SMALL_ATOM_UTF8)) {
        return false;
    }
    at = usual_ref(signal, shape, at + ALIAS - 1, &from->ref);
    from->tag.length = (size_t)(at - from->tag.data);
    from->bytes = kv_bytes(message.data + FROM, (size_t)(at - message.data) - FROM);
    from->alias = true;
    from->unwatched = false;
    *request = kv_bytes(at, (size_t)(end - at));
    return true;
}

/* {'$kv_call', Alias, Request} */
static bool usual_kv_call(const struct kv_signal *signal, enum kv_call_shape shape,
                          struct kv_from *from, struct kv_bytes *request)
{
    static const char head[] = KV_KV_CALL_HEAD "\x5a\0";
    enum { HEAD = sizeof head - 1, TAG = HEAD - 2 };
    struct kv_bytes message = signal->payload[0];
    const uint8_t *at = message.data;
    const uint8_t *end = at + message.length;
    if (!is_head(message, shape, KV_CALL_KV, head, HEAD) ||
        at[HEAD + 1] != KV_TAG_SMALL_ATOM_UTF8) {
        return false;
    }
    at = usual_ref(signal, shape, at + HEAD - 1, &from->ref);
    from->pid = (struct kv_pid){.node = from->ref.node, .creation = from->ref.creation};
    from->tag = kv_bytes(message.data + TAG, (size_t)(at - message.data) - TAG);
    from->bytes = from->tag;
    from->alias = true;
    from->unwatched = true;
    *request = kv_bytes(at, (size_t)(end - at));
    return true;
}

bool kv_request_read_usual(const struct kv_signal *signal, enum kv_call_shape shape,
                           struct kv_from *from, struct kv_bytes *request)
{
    return usual_call(signal, shape, from, request) || usual_kv_call(signal, shape, from, request);
}
