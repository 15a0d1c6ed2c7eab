/* The names of a registry, all of them or those with a prefix: as a list, with pids, or counted.
 * Each is O(all names), but counting without a prefix is O(1).
 *
 * A list of a registry with many names goes on over turns (going.h). All of it is from the moment
 * of the request: no request adds a name meanwhile, and a name whose bucket ends meanwhile is
 * listed before it goes. */
#include "kv/going.h"
#include "kv/kv.h"
#include "kv/registry.h"

#include "base/endian.h"

enum {
    PAIR_BYTES = 2 + KV_LONG_HEADER + 15, /* of {Name, Pid}, without both names */
    PID_NUMBERS = 12, /* the last bytes of a pid as a term: id, serial, creation */
};

enum shape { NAMES, PAIRS, COUNT };

struct listing {
    const struct kv_list *next; /* of the entries, to be looked at; or the head */
    struct kv_bytes prefix;     /* length 0: all */
    enum shape shape;
    size_t each; /* bytes beside a name */
    size_t count;
    size_t bytes;
};

/* ---- one name ----------------------------------------------------------------------------------
 */

static bool is_selected(const struct listing *listing, const struct kv_entry *entry)
{
    const size_t length = listing->prefix.length;
    return entry->there && entry->name_length >= length &&
           (length == 0 || memcmp(entry->name, listing->prefix.data, length) == 0);
}

/* Appends {Name, Pid}, or {Name, dormant} for a name without a bucket. `pid` is the term of any pid
 * of this node: all of them differ only in their numbers, and a copy is faster than kv_write_pid().
 */
static void write_pair(const struct kv_entry *entry, struct kv_bytes pid, struct kv_buffer *to)
{
    kv_write_tuple(to, 2);
    kv_write_binary(to, kv_entry_name(entry));
    if (entry->step != KV_ENTRY_LIVE) {
        kv_write_atom_text(to, "dormant");
        return;
    }
    kv_buffer_append(to, pid);
    uint8_t *numbers = to->data + to->length - PID_NUMBERS;
    kv_set32(numbers, entry->pid.id);
    kv_set32(numbers + 4, entry->pid.serial);
    kv_set32(numbers + 8, entry->pid.creation);
}

/* Writes nothing any more once the answer is too large, but still counts. */
static void list_one(struct listing *listing, const struct kv_entry *entry, struct kv_bytes pid,
                     struct kv_buffer *to)
{
    if (!is_selected(listing, entry)) {
        return;
    }
    listing->count++;
    listing->bytes += entry->name_length + listing->each;
    if (listing->shape == COUNT || listing->bytes > KV_ANSWER_MAX) {
        return;
    }
    if (listing->shape == PAIRS) {
        write_pair(entry, pid, to);
    } else {
        kv_write_binary(to, kv_entry_name(entry));
    }
}

/* ---- all of them -------------------------------------------------------------------------------
 */

/* Returns true if there is more. */
static bool list_some(struct kv_process *self, struct listing *listing, struct kv_buffer *to)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    const struct kv_pid own = kv_process_pid(self);
    const size_t most = to->length + KV_PIECE_BYTES;
    struct kv_buffer pid = KV_BUFFER_INIT;
    kv_write_pid(&pid, &own);
    for (unsigned i = 0;
         i < KV_PIECE_KEYS && to->length < most && listing->next != &registry->entries; i++) {
        struct kv_entry *entry = KV_LIST_OF(listing->next, struct kv_entry, of_registry);
        listing->next = listing->next->next;
        if (entry->round != registry->round) {
            entry->round = registry->round;
            list_one(listing, entry, kv_buffer_bytes(&pid), to);
        }
    }
    kv_buffer_free(&pid);
    return listing->next != &registry->entries;
}

static void begin(const struct listing *listing, struct kv_buffer *to)
{
    if (listing->shape != COUNT) {
        kv_write_list(to, 1); /* end() knows the number */
    }
}

static int end(const struct listing *listing, struct kv_answer *answer)
{
    if (listing->shape == COUNT) {
        return kv_answer_number(answer, listing->count);
    }
    if (listing->bytes > KV_ANSWER_MAX) {
        return kv_answer_too_large(answer, listing->bytes);
    }
    if (listing->count == 0) {
        kv_answer_drop(answer);
    } else {
        kv_set32(answer->term->data + 1, (uint32_t)listing->count);
    }
    kv_write_nil(answer->term);
    return KV_OK;
}

static bool piece(struct kv_process *self, struct kv_going *going, struct kv_answer *answer)
{
    if (list_some(self, going->work, answer->term)) {
        return true;
    }
    (void)end(going->work, answer);
    return false;
}

void kv_registry_list_leaving(struct kv_process *self, struct kv_entry *entry)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    const struct kv_pid own = kv_process_pid(self);
    struct kv_buffer pid = KV_BUFFER_INIT;
    if (registry->going == NULL || registry->going->piece != piece) {
        return;
    }
    struct listing *listing = registry->going->work;
    if (listing->next == &entry->of_registry) {
        listing->next = entry->of_registry.next;
    }
    if (entry->round != registry->round) {
        entry->round = registry->round;
        kv_write_pid(&pid, &own);
        list_one(listing, entry, kv_buffer_bytes(&pid), &registry->going->answer);
        kv_buffer_free(&pid);
    }
}

static void go_on(struct kv_process *self, const struct kv_asked *asked,
                  const struct listing *listing, struct kv_answer *answer)
{
    const bool has_prefix = listing->prefix.length > 0;
    struct kv_going *going =
        kv_go_on(self, asked, has_prefix ? 1 : 0, answer, piece, sizeof *listing);
    struct listing *work = going->work;
    *work = *listing;
    if (has_prefix) {
        struct kv_reader reader = kv_reader(going->arguments[0]);
        (void)kv_read_binary(&reader, &work->prefix);
    }
    begin(work, &going->answer);
}

static int answer_list(struct kv_process *self, const struct kv_asked *asked, enum shape shape,
                       struct kv_bytes prefix, struct kv_answer *answer)
{
    struct kv_registry *registry = kv_process_state(self);
    const size_t node = kv_process_pid(self).node.length;
    struct listing listing = {.next = registry->entries.next,
                              .prefix = prefix,
                              .shape = shape,
                              .each = shape == PAIRS ? PAIR_BYTES + node : KV_LONG_HEADER};
    registry->round = !registry->round;
    if (kv_is_long(registry->names.count, registry->there_bytes)) {
        go_on(self, asked, &listing, answer);
        return KV_OK;
    }
    begin(&listing, answer->term);
    while (list_some(self, &listing, answer->term)) {
    }
    return end(&listing, answer);
}

/* For an operation with a prefix. */
static int answer_those_with(struct kv_process *self, const struct kv_asked *asked,
                             enum shape shape, struct kv_answer *answer)
{
    struct kv_bytes prefix;
    struct kv_reader reader = kv_reader(asked->arguments[0]);
    return kv_read_binary(&reader, &prefix) == KV_OK
               ? answer_list(self, asked, shape, prefix, answer)
               : kv_answer_error(answer, KV_ETYPE, "bad_prefix", asked->arguments[0]);
}

/* ---- operations --------------------------------------------------------------------------------
 */

static int names(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return answer_list(self, asked, NAMES, kv_bytes(NULL, 0), answer);
}

static int names_with(struct kv_process *self, const struct kv_asked *asked,
                      struct kv_answer *answer)
{
    return answer_those_with(self, asked, NAMES, answer);
}

static int list(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return answer_list(self, asked, PAIRS, kv_bytes(NULL, 0), answer);
}

static int list_with(struct kv_process *self, const struct kv_asked *asked,
                     struct kv_answer *answer)
{
    return answer_those_with(self, asked, PAIRS, answer);
}

static int count(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_registry *registry = kv_process_const_state(self);
    (void)asked;
    return kv_answer_number(answer, registry->there);
}

static int count_with(struct kv_process *self, const struct kv_asked *asked,
                      struct kv_answer *answer)
{
    return answer_those_with(self, asked, COUNT, answer);
}

const struct kv_operation kv_registry_names_operations[] = {
    KV_OPERATION("names", 0, KV_BY_CALL, KV_CONTINUES, names, "0.1.0"),
    KV_OPERATION("names", 1, KV_BY_CALL, KV_CONTINUES, names_with, "0.2.0"),
    KV_OPERATION("list", 0, KV_BY_CALL, KV_CONTINUES, list, "0.2.0"),
    KV_OPERATION("list", 1, KV_BY_CALL, KV_CONTINUES, list_with, "0.2.0"),
    KV_OPERATION("count", 0, KV_BY_CALL, 0, count, "0.2.0"),
    KV_OPERATION("count", 1, KV_BY_CALL, KV_CONTINUES, count_with, "0.2.0"),
    KV_NO_OPERATION,
};
