#include "kv/net_kernel.h"

#include "base/alloc.h"
#include "kv/kv.h"

#include <kv/table.h>

enum { LOOK_MS = 20 }; /* between two looks at a backup that is under way */

/* The caller that waits for a backup. */
struct asked {
    uint8_t *from; /* a copy of the From term; NULL: nobody waits */
    size_t length;
};

/* ---- backups -----------------------------------------------------------------------------------
 */

/* {ok, #{folder => Binary, bytes => Bytes, written_bytes => Bytes}}, or {error, {Word, Text}}. */
static void write_answer(struct kv_buffer *term, const struct kv_backup_answer *answer)
{
    kv_write_tuple(term, 2);
    if (answer->word != NULL) {
        kv_write_atom_text(term, "error");
        kv_write_tuple(term, 2);
        kv_write_atom_text(term, answer->word);
        kv_write_binary(term, kv_bytes_text(answer->text));
        return;
    }
    kv_write_atom_text(term, "ok");
    kv_write_map(term, 3);
    kv_write_atom_text(term, "folder");
    kv_write_binary(term, answer->folder);
    kv_write_atom_text(term, "bytes");
    kv_write_u64(term, answer->bytes);
    kv_write_atom_text(term, "written_bytes");
    kv_write_u64(term, answer->written);
}

static void reply_backup(struct kv_process *self, const struct kv_from *from,
                         const struct kv_backup_answer *answer)
{
    struct kv_buffer *term = kv_process_scratch(self);
    write_answer(term, answer);
    kv_reply(self, from, kv_buffer_bytes(term));
}

static void refuse(struct kv_process *self, const struct kv_from *from, const char *word,
                   const char *text)
{
    reply_backup(self, from, &(struct kv_backup_answer){.word = word, .text = text});
}

static void forget(struct asked *asked)
{
    kv_free(asked->from);
    *asked = (struct asked){0};
}

static void look(struct kv_process *self)
{
    const struct kv_store *store = kv_store_of(self);
    struct asked *asked = kv_process_state(self);
    struct kv_backup_answer answer;
    struct kv_from from;
    if (!store->backups.ended(store->backups.context, &answer)) {
        kv_process_set_timer(self, LOOK_MS);
        return;
    }
    if (kv_from_read(kv_bytes(asked->from, asked->length), &from) == KV_OK) {
        reply_backup(self, &from, &answer);
    }
    forget(asked);
}

static void handle_timer(struct kv_process *self, uint64_t tag)
{
    const struct asked *asked = kv_process_const_state(self);
    (void)tag;
    if (asked->from != NULL) {
        look(self);
    }
}

/* {kv_backup, Name} is answered when the backup has ended. */
static void begin_backup(struct kv_process *self, const struct kv_from *from, struct kv_bytes name)
{
    const struct kv_store *store = kv_store_of(self);
    struct asked *asked = kv_process_state(self);
    if (store->backups.begin == NULL) {
        refuse(self, from, "no_backup_dir", "this program makes no backups");
        return;
    }
    if (asked->from != NULL) {
        refuse(self, from, "backup_under_way",
               "the node is making another backup: wait for that one");
        return;
    }
    asked->from = kv_alloc(from->bytes.length);
    asked->length = from->bytes.length;
    memcpy(asked->from, from->bytes.data, from->bytes.length);
    store->backups.begin(store->backups.context, name);
    look(self);
}

/* ---- calls -------------------------------------------------------------------------------------
 */

/* Answers {kv_totals, Buckets, Registries, Entries, Bytes, Durable}: what would be lost with this
 * node, and how many durable buckets would not. Their entries are counted among the others. The VM
 * asks once a second, instead of a ping, so this must not depend on the number of entries. */
static void reply_totals(struct kv_process *self, const struct kv_from *from)
{
    const struct kv_store *store = kv_store_of(self);
    struct kv_buffer *term = kv_process_scratch(self);
    struct kv_arena_stats stats;
    kv_arena_stats(store->arena, &stats);
    kv_write_tuple(term, 6);
    kv_write_atom_text(term, "kv_totals");
    kv_write_u64(term, store->buckets - store->durable_buckets);
    kv_write_u64(term, store->registries);
    kv_write_u64(term, stats.items);
    kv_write_u64(term, stats.item_bytes);
    kv_write_u64(term, store->durable_buckets);
    kv_reply(self, from, kv_buffer_bytes(term));
}

static bool is_backup(struct kv_bytes request, struct kv_bytes *name)
{
    struct kv_reader reader = kv_reader(request);
    return kv_read_tuple_of(&reader, 2) == KV_OK &&
           kv_read_this_atom(&reader, "kv_backup") == KV_OK &&
           kv_read_binary(&reader, name) == KV_OK;
}

/* net_adm:ping/1 calls {is_auth, Node}, and fails on any answer but `yes`. */
static void handle_call(struct kv_process *self, const struct kv_from *from,
                        struct kv_bytes request)
{
    struct kv_bytes name;
    struct kv_reader reader = kv_reader(request);
    if (kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "is_auth") == KV_OK) {
        kv_reply_atom(self, from, "yes");
    } else if (kv_term_is_atom(request, "kv_totals")) {
        reply_totals(self, from);
    } else if (is_backup(request, &name)) {
        begin_backup(self, from, name);
    } else {
        kv_reply_bad_request(self, from, request);
    }
}

static void terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct asked *asked = kv_process_state(self);
    struct kv_from from;
    if (asked->from != NULL && kv_from_read(kv_bytes(asked->from, asked->length), &from) == KV_OK) {
        kv_abandon(self, &from, reason);
    }
    forget(asked);
}

const struct kv_behaviour kv_net_kernel = {
    .module = "net_kernel",
    .state_size = sizeof(struct asked),
    .init = kv_service_init,
    .handle_call = handle_call,
    .handle_timer = handle_timer,
    .terminate = terminate,
};
