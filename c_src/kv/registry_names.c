/* The names of a registry, all of them or those with a prefix: as a list, with pids, or counted.
 * With a prefix each is O(all names); without, counting is O(1). */
#include "kv/kv.h"
#include "kv/registry.h"

#include "base/endian.h"

enum { PAIR_BYTES = 2 + KV_LONG_HEADER + 15 }; /* of {Name, Pid}, without both names */

/* The names that a request is about. */
struct selection {
    struct kv_bytes prefix; /* length 0: all */
    size_t count;
    size_t bytes; /* of the names */
};

bool kv_registry_is_too_large(size_t count, size_t bytes, size_t each, struct kv_buffer *to)
{
    const size_t sum = bytes + count * each;
    if (sum > KV_ANSWER_MAX) {
        kv_write_too_large(to, sum);
    }
    return sum > KV_ANSWER_MAX;
}

static bool is_selected(const struct selection *selection, const struct kv_entry *entry)
{
    const size_t length = selection->prefix.length;
    return entry->step == KV_ENTRY_LIVE && entry->name_length >= length &&
           (length == 0 || memcmp(entry->name, selection->prefix.data, length) == 0);
}

static void select_names(const struct kv_registry *registry, struct selection *selection)
{
    selection->count = 0;
    selection->bytes = 0;
    if (selection->prefix.length == 0) {
        selection->count = registry->live;
        selection->bytes = registry->live_bytes;
        return;
    }
    KV_LIST_FOREACH (link, &registry->entries) {
        const struct kv_entry *entry = KV_LIST_OF(link, const struct kv_entry, of_registry);
        if (is_selected(selection, entry)) {
            selection->count++;
            selection->bytes += entry->name_length;
        }
    }
}

static int read_prefix(struct kv_bytes term, struct kv_answer *answer, struct selection *selection)
{
    struct kv_reader reader = kv_reader(term);
    return kv_read_binary(&reader, &selection->prefix) == KV_OK
               ? KV_OK
               : kv_answer_error(answer, KV_ETYPE, "bad_prefix", term);
}

/* ---- lists -------------------------------------------------------------------------------------
 */

enum { PID_NUMBERS = 12 }; /* the last bytes of a pid as a term: id, serial, creation */

/* Appends {Name, Pid}. `pid` is the term of any pid of this node: all of them differ only in their
 * numbers, and a copy is faster than kv_write_pid(). */
static void write_pair(const struct kv_entry *entry, struct kv_bytes pid, struct kv_buffer *to)
{
    kv_write_tuple(to, 2);
    kv_write_binary(to, kv_entry_name(entry));
    kv_buffer_append(to, pid);
    uint8_t *numbers = to->data + to->length - PID_NUMBERS;
    kv_set32(numbers, entry->pid.id);
    kv_set32(numbers + 4, entry->pid.serial);
    kv_set32(numbers + 8, entry->pid.creation);
}

/* Appends a list of names, or of {Name, Pid} if `pid` is the term of a pid. */
static void write_list(const struct kv_registry *registry, const struct selection *selection,
                       struct kv_bytes pid, struct kv_buffer *to)
{
    if (selection->count > 0) {
        kv_write_list(to, (uint32_t)selection->count);
    }
    KV_LIST_FOREACH (link, &registry->entries) {
        const struct kv_entry *entry = KV_LIST_OF(link, const struct kv_entry, of_registry);
        if (!is_selected(selection, entry)) {
            continue;
        }
        if (pid.length > 0) {
            write_pair(entry, pid, to);
        } else {
            kv_write_binary(to, kv_entry_name(entry));
        }
    }
    kv_write_nil(to);
}

static int write_names(struct kv_process *self, struct selection *selection, bool pids,
                       struct kv_answer *answer)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    const struct kv_pid own = kv_process_pid(self);
    const size_t each = pids ? PAIR_BYTES + own.node.length : KV_LONG_HEADER;
    struct kv_buffer pid = KV_BUFFER_INIT;
    select_names(registry, selection);
    if (kv_registry_is_too_large(selection->count, selection->bytes, each, answer->term)) {
        return KV_ESIZE;
    }
    if (pids) {
        kv_write_pid(&pid, &own);
    }
    write_list(registry, selection, kv_buffer_bytes(&pid), answer->term);
    kv_buffer_free(&pid);
    return KV_OK;
}

static int names(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    struct selection all = {.count = 0};
    (void)asked;
    return write_names(self, &all, false, answer);
}

static int names_with(struct kv_process *self, const struct kv_asked *asked,
                      struct kv_answer *answer)
{
    struct selection some = {.count = 0};
    int error = read_prefix(asked->arguments[0], answer, &some);
    return error == KV_OK ? write_names(self, &some, false, answer) : error;
}

static int list(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    struct selection all = {.count = 0};
    (void)asked;
    return write_names(self, &all, true, answer);
}

static int list_with(struct kv_process *self, const struct kv_asked *asked,
                     struct kv_answer *answer)
{
    struct selection some = {.count = 0};
    int error = read_prefix(asked->arguments[0], answer, &some);
    return error == KV_OK ? write_names(self, &some, true, answer) : error;
}

/* ---- numbers -----------------------------------------------------------------------------------
 */

static int count(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    (void)asked;
    return kv_answer_number(answer, registry->live);
}

static int count_with(struct kv_process *self, const struct kv_asked *asked,
                      struct kv_answer *answer)
{
    struct selection some = {.count = 0};
    int error = read_prefix(asked->arguments[0], answer, &some);
    if (error != KV_OK) {
        return error;
    }
    select_names(kv_process_const_state(self), &some);
    return kv_answer_number(answer, some.count);
}

const struct kv_operation kv_registry_names_operations[] = {
    KV_OPERATION("names", 0, KV_BY_CALL, 0, names, "0.1.0"),
    KV_OPERATION("names", 1, KV_BY_CALL, 0, names_with, "0.2.0"),
    KV_OPERATION("list", 0, KV_BY_CALL, 0, list, "0.2.0"),
    KV_OPERATION("list", 1, KV_BY_CALL, 0, list_with, "0.2.0"),
    KV_OPERATION("count", 0, KV_BY_CALL, 0, count, "0.2.0"),
    KV_OPERATION("count", 1, KV_BY_CALL, 0, count_with, "0.2.0"),
    KV_NO_OPERATION,
};
