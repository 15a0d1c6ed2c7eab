/* The From of a call.
 *
 * OTP: lib/stdlib/src/gen.erl, do_call/4 and reply/2. */
#include "server/request.h"

/* [alias | Ref] */
static bool read_alias(struct kv_reader *reader, struct kv_ref *ref)
{
    uint32_t count = 0;
    return kv_read_list(reader, &count) == KV_OK && count == 1 &&
           kv_read_this_atom(reader, "alias") == KV_OK && kv_read_ref(reader, ref) == KV_OK;
}

/* A tag with an alias is [alias | Ref] or [[alias | Ref] | _]. */
static bool tag_alias(struct kv_bytes tag, struct kv_ref *ref)
{
    struct kv_reader reader = kv_reader(tag);
    if (read_alias(&reader, ref)) {
        return true;
    }
    uint32_t count = 0;
    reader = kv_reader(tag);
    return kv_read_list(&reader, &count) == KV_OK && count > 0 && read_alias(&reader, ref);
}

/* The From of a $kv_call is an alias and nothing else. */
bool kv_from_read_alias(struct kv_bytes term, struct kv_from *from)
{
    struct kv_reader reader = kv_reader(term);
    if (kv_read_ref(&reader, &from->ref) != KV_OK) {
        return false;
    }
    from->pid = (struct kv_pid){.node = from->ref.node, .creation = from->ref.creation};
    from->tag = term;
    from->bytes = term;
    from->alias = true;
    from->unwatched = true;
    return true;
}

int kv_from_read(struct kv_bytes term, struct kv_from *from)
{
    struct kv_reader reader = kv_reader(term);
    if (kv_from_read_alias(term, from)) {
        return KV_OK;
    }
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_pid(&reader, &from->pid) != KV_OK ||
        kv_read_any(&reader, &from->tag) != KV_OK) {
        return KV_ETYPE;
    }
    from->bytes = term;
    from->ref = (struct kv_ref){.count = 0};
    from->alias = tag_alias(from->tag, &from->ref);
    from->unwatched = false;
    return KV_OK;
}
