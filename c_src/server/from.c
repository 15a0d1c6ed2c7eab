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

/* {To, Tag}: an answer goes to what `To ! Answer` would reach, a pid, an alias, a local name or
 * {Name, Node}. To all else, and to a name of this node, goes no answer. */
static void read_to(struct kv_bytes to, struct kv_from *from)
{
    struct kv_reader reader = kv_reader(to);
    from->name = kv_bytes(NULL, 0);
    from->pid = (struct kv_pid){.node = kv_bytes("", 0)};
    if (kv_read_pid(&reader, &from->pid) == KV_OK) {
        return;
    }
    reader = kv_reader(to);
    if (kv_read_ref(&reader, &from->ref) == KV_OK) {
        from->alias = true;
        return;
    }
    struct kv_bytes name;
    reader = kv_reader(to);
    if (kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_atom(&reader, &name) == KV_OK &&
        kv_read_atom(&reader, &from->pid.node) == KV_OK) {
        from->name = name;
    }
}

int kv_from_read(struct kv_bytes term, struct kv_from *from)
{
    struct kv_ref of_tag;
    struct kv_bytes to = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(term);
    if (kv_from_read_alias(term, from)) {
        return KV_OK;
    }
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_any(&reader, &to) != KV_OK ||
        kv_read_any(&reader, &from->tag) != KV_OK) {
        return KV_ETYPE;
    }
    from->bytes = term;
    from->ref = (struct kv_ref){.count = 0};
    from->alias = false;
    from->unwatched = false;
    read_to(to, from);
    if (tag_alias(from->tag, &of_tag)) {
        from->ref = of_tag;
        from->alias = true;
    }
    if (from->alias) {
        from->pid.node = from->ref.node;
    }
    return KV_OK;
}
