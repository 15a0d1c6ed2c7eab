#include "kv/operation.h"

#include <kv/buffer.h>

void kv_dispatch_add(struct kv_dispatch *dispatch, const struct kv_operation *table)
{
    for (const struct kv_operation *row = table; row->run != NULL; row++) {
        unsigned slot = kv_dispatch_slot(row->name, row->arity);
        if (dispatch->count == KV_OPERATIONS_MAX) {
            return;
        }
        while (dispatch->slots[slot] != NULL) {
            slot = (slot + 1) % KV_DISPATCH_SLOTS;
        }
        dispatch->slots[slot] = row;
        dispatch->count++;
    }
}

/* Returns true if *given has the name already, and adds the name. Another name is never given. */
static bool is_again(const char *const *names, struct kv_bytes name, unsigned *given)
{
    for (unsigned i = 0; names[i] != NULL; i++) {
        if (kv_bytes_is(name, names[i])) {
            const bool again = (*given >> i & 1) != 0;
            *given |= 1U << i;
            return again;
        }
    }
    return false;
}

bool kv_options_read(struct kv_bytes list, const char *const *names, kv_take_option *take,
                     void *context, struct kv_bytes *bad)
{
    unsigned given = 0;
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(list);
    *bad = list;
    if (kv_read_list(&reader, &count) != KV_OK) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kv_bytes name;
        struct kv_bytes value;
        if (kv_read_any(&reader, bad) != KV_OK) {
            return false; /* a string */
        }
        struct kv_reader pair = kv_reader(*bad);
        if (kv_read_tuple_of(&pair, 2) != KV_OK || kv_read_atom(&pair, &name) != KV_OK ||
            kv_read_any(&pair, &value) != KV_OK ||
            !take(context, name, value, is_again(names, name, &given))) {
            return false;
        }
    }
    *bad = list;
    return count == 0 || kv_read_nil(&reader) == KV_OK;
}

int kv_answer_atom(struct kv_answer *answer, const char *atom)
{
    kv_write_atom_text(answer->term, atom);
    return KV_OK;
}

int kv_answer_bool(struct kv_answer *answer, bool value)
{
    kv_write_bool(answer->term, value);
    return KV_OK;
}

int kv_answer_number(struct kv_answer *answer, uint64_t value)
{
    kv_write_u64(answer->term, value);
    return KV_OK;
}

int kv_answer_error(struct kv_answer *answer, int error, const char *kind, struct kv_bytes detail)
{
    kv_answer_drop(answer);
    kv_write_error(answer->term, kind, detail);
    return error;
}

int kv_answer_refusal(struct kv_answer *answer, int error, const char *reason)
{
    kv_answer_drop(answer);
    kv_write_tuple(answer->term, 2);
    kv_write_atom_text(answer->term, "error");
    kv_write_atom_text(answer->term, reason);
    return error;
}

int kv_answer_no_room(struct kv_answer *answer, int error)
{
    const char *reason = error == KV_EFULL    ? "full"
                         : error == KV_EBUSY  ? "busy"
                         : error == KV_ENOSPC ? "enospc"
                                              : "enomem";
    return kv_answer_refusal(answer, error, reason);
}

static void write_excess(struct kv_buffer *to, const char *kind, uint64_t number)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "error");
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, kind);
    kv_write_u64(to, number);
}

void kv_write_too_large(struct kv_buffer *to, uint64_t bytes)
{
    write_excess(to, "too_large", bytes);
}

int kv_answer_excess(struct kv_answer *answer, const char *kind, uint64_t number)
{
    kv_answer_drop(answer);
    write_excess(answer->term, kind, number);
    return KV_ESIZE;
}

int kv_answer_too_large(struct kv_answer *answer, uint64_t bytes)
{
    return kv_answer_excess(answer, "too_large", bytes);
}

void kv_answer_settle(struct kv_answer *answer)
{
    if (answer->value.release == NULL) {
        kv_buffer_append(answer->term, answer->value.bytes);
        answer->value.bytes.length = 0;
    }
}

void kv_answer_drop(struct kv_answer *answer)
{
    kv_buffer_clear(answer->term);
    kv_pinned_release(&answer->value);
    answer->value.bytes.length = 0;
}
