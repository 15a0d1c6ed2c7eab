/* Durable buckets of both policies on one log, on a disk that loses writes without a sync: all
 * that an answer told of is there after a crash. A kill loses nothing that was answered. A power
 * cut loses nothing that an answer of policy commit told of.
 *
 * KV_POLICY_PROGRAMS is the number of random programs. */
#include "kv/durable.h"
#include "support/durable_world.h"
#include "support/fake_disk.h"
#include "support/fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 3, KEYS = 5, STEPS = 120, SIZE = 64 * KV_BLOCK, NOW = 100 * 1000 };

static const struct kv_store_id STORE = {"0123456789abcde"};

/* The values of all buckets; 0: the key is absent. */
struct contents {
    int values[BUCKETS][KEYS];
};

/* A call, and what its answer tells of. */
struct asked {
    uint64_t batch;
    enum kv_policy policy;
    bool answered;
};

static struct fixture *f;
static struct fake_disk *disk;
static struct kv_wal *wal;
static struct kv_durables durables;
static struct draw draw;
static struct kv_pid buckets[BUCKETS];
static enum kv_policy policies[BUCKETS];
static uint64_t changed[BUCKETS][KEYS]; /* the last batch that changed a key */
static struct contents now;
static struct contents history[STEPS + 2]; /* after each batch */
static struct asked asked[STEPS + 1];
static unsigned asked_count;
static struct kv_wal_write write;
static bool is_writing;

/* ---- the journal ------------------------------------------------------------------------------
 */

static int may_change(void *context, uint64_t bytes)
{
    (void)context;
    return kv_wal_reserve(wal, bytes);
}

static int may_free(void *context, uint64_t bytes, bool whole)
{
    (void)context;
    (void)bytes;
    (void)whole;
    return KV_OK;
}

static void put(void *context, uint64_t table, const struct kv_table_entry *entry)
{
    (void)context;
    kv_wal_put(wal, table, entry);
}

static void gone(void *context, uint64_t table, struct kv_item key)
{
    (void)context;
    kv_wal_delete(wal, table, key);
}

static void expiry(void *context, uint64_t table, struct kv_item key, uint64_t at)
{
    (void)context;
    kv_wal_expiry(wal, table, key, at);
}

static void clear(void *context, uint64_t table)
{
    (void)context;
    kv_wal_clear(wal, table);
}

static void table(void *context, const struct kv_journal_table *about)
{
    (void)context;
    kv_wal_table(wal, about->id,
                 &(struct kv_record_table){.policy = (uint8_t)about->policy,
                                           .kind = about->kind,
                                           .registry = about->registry,
                                           .name = about->name,
                                           .options = about->options});
}

static void drop(void *context, uint64_t number)
{
    (void)context;
    kv_wal_drop(wal, number);
}

static void commit(void *context)
{
    (void)context;
    kv_wal_sync(wal);
}

static uint64_t batch(void *context)
{
    (void)context;
    return kv_wal_batch(wal);
}

static const struct kv_journal journal = {.may_change = may_change,
                                          .may_free = may_free,
                                          .put = put,
                                          .gone = gone,
                                          .expiry = expiry,
                                          .clear = clear,
                                          .table = table,
                                          .drop = drop,
                                          .sync = commit,
                                          .batch = batch};

/* ---- the node ---------------------------------------------------------------------------------
 */

static void release(void)
{
    kv_durables_release(&durables, kv_wal_done(wal), kv_wal_durable(wal));
    kv_runtime_release_written(f->runtime, kv_wal_done(wal));
    kv_runtime_release(f->runtime, kv_wal_durable(wal));
}

static void make_segments(void)
{
    const uint64_t last = kv_segment_of(write.lsn + write.bytes.length - 1, SIZE);
    for (uint64_t i = 0; i <= last; i++) {
        uint8_t block[KV_BLOCK];
        if (!fake_disk_has(disk, i)) {
            kv_segment_header(i, &STORE, block);
            fake_disk_create(disk, i);
            fake_disk_write(disk, i, 0, kv_bytes(block, sizeof block));
            fake_disk_sync(disk);
        }
    }
}

static void take(void)
{
    if (!is_writing && kv_wal_take(wal, NOW, &write)) {
        kv_wal_seal(&write);
        make_segments();
        is_writing = true;
        history[write.number] = now;
    }
}

static void finish_write(void)
{
    size_t done = 0;
    while (is_writing && done < write.bytes.length) {
        const uint64_t lsn = write.lsn + done;
        const uint64_t left = kv_segment_begin(kv_segment_of(lsn, SIZE) + 1, SIZE) - lsn;
        const size_t rest = write.bytes.length - done;
        const size_t length = rest < left ? rest : (size_t)left;
        fake_disk_write(disk, kv_segment_of(lsn, SIZE), kv_segment_offset(lsn, SIZE),
                        kv_bytes(write.bytes.data + done, length));
        done += length;
    }
    if (is_writing && write.sync) {
        fake_disk_sync(disk);
    }
    if (is_writing) {
        kv_wal_written(wal);
    }
    is_writing = false;
}

static void sync_later(void)
{
    if (!is_writing) {
        fake_disk_sync(disk);
        kv_wal_synced(wal, kv_wal_done(wal));
    }
}

/* ---- the clients ------------------------------------------------------------------------------
 */

static void start(unsigned at)
{
    static const char *const names[BUCKETS] = {"a", "b", "c"};
    const char *word = policies[at] == KV_POLICY_COMMIT ? "commit" : "interval";
    const struct kv_bytes identity =
        term_tuple(term_binary(""), term_binary(names[at]), NONE, NONE);
    buckets[at] =
        feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE),
                   term_list(term_tuple(term_atom("durable"), term_atom(word), NONE, NONE),
                             term_tuple(term_atom("store"), identity, NONE, NONE), NONE));
    buckets[at].node = kv_bytes_text(FIXTURE_NODE);
}

/* Another process, and perhaps another policy. */
static void restart(unsigned at)
{
    struct kv_pid killer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &buckets[at], term_atom("kill"));
    policies[at] = draw_once_in(&draw, 2) ? KV_POLICY_COMMIT : KV_POLICY_INTERVAL;
    start(at);
}

static void request(void)
{
    const unsigned at = draw_below(&draw, BUCKETS);
    const unsigned key = draw_below(&draw, KEYS);
    const int value = 1 + (int)draw_below(&draw, 1000);
    const struct kv_bytes name = term_integer(key);
    const unsigned number = ++asked_count;
    const uint64_t gathering = kv_wal_batch(wal);
    struct kv_bytes call = term_tuple(term_atom("fetch"), name, NONE, NONE);
    switch (draw_below(&draw, 4)) {
    case 0:
        call = term_tuple(term_atom("delete"), name, NONE, NONE);
        changed[at][key] = now.values[at][key] == 0 ? changed[at][key] : gathering;
        now.values[at][key] = 0;
        break;
    case 1:
    case 2:
        call = term_tuple(term_atom("put"), name, term_integer(value), NONE);
        changed[at][key] = gathering;
        now.values[at][key] = value;
        break;
    default:
        break;
    }
    asked[number] = (struct asked){.batch = changed[at][key], .policy = policies[at]};
    feed_call(f, &buckets[at], "$gen_call", number, call);
}

static void note_answers(void)
{
    for (unsigned i = 1; i <= asked_count; i++) {
        asked[i].answered = asked[i].answered || answer_at(f, i).length > 0;
    }
    forget(f);
}

static void step(void)
{
    const unsigned choice = draw_below(&draw, 32);
    if (choice < 14) {
        request();
    } else if (choice < 20) {
        take();
    } else if (choice < 28) {
        finish_write();
    } else if (choice < 30) {
        sync_later();
    } else {
        restart(draw_below(&draw, BUCKETS));
    }
    release();
    note_answers();
}

/* ---- recovery ---------------------------------------------------------------------------------
 */

static int apply(void *context, const struct kv_record *record)
{
    struct kv_durables *set = context;
    const struct kv_journal_table about = {.id = record->table,
                                           .policy = (enum kv_policy)record->about.policy,
                                           .kind = record->about.kind,
                                           .registry = record->about.registry,
                                           .name = record->about.name,
                                           .options = record->about.options};
    switch (record->kind) {
    case KV_RECORD_PUT:
        return kv_durables_put(set, record->table, &record->entry);
    case KV_RECORD_DELETE:
        return kv_durables_gone(set, record->table, record->entry.key);
    case KV_RECORD_TABLE:
        return kv_durables_table(set, &about);
    default:
        return KV_EMALFORMED;
    }
}

static int settle(void *context)
{
    return kv_durables_settle(context);
}

static uint64_t recover(struct kv_durables *set)
{
    kv_durables_init(set, f->arena, &f->store.hash_key);
    struct kv_recovery *recovery = kv_recovery_new(&(struct kv_recovery_options){
        .disk = fake_disk_view(disk),
        .sink = {.context = set, .record = apply, .settle = settle},
        .store = STORE,
        .segment_size = SIZE,
    });
    bool more = true;
    while (more) {
        cr_assert_eq(kv_recovery_step(recovery, &more), KV_OK, "%s", kv_recovery_text(recovery));
    }
    const uint64_t batches = kv_recovery_result(recovery)->batches;
    kv_recovery_free(recovery);
    return batches;
}

static int value_in(const struct kv_durables *set, unsigned at, unsigned key)
{
    static const char *const names[BUCKETS] = {"a", "b", "c"};
    const struct kv_durable *found =
        kv_durable_find(set, kv_bytes(NULL, 0), kv_bytes_text(names[at]));
    const struct kv_item item = {.bytes = term_integer(key)};
    struct kv_item value;
    int64_t number = 0;
    if (found != NULL && kv_table_get(found->table, item, &value)) {
        struct kv_reader reader = kv_reader(value.bytes);
        cr_assert_eq(kv_read_i64(&reader, &number), KV_OK);
    }
    return (int)number;
}

static void check(const struct kv_durables *set, uint64_t batches, bool power_cut, unsigned program)
{
    for (unsigned i = 1; i <= asked_count; i++) {
        const bool counts = !power_cut || asked[i].policy == KV_POLICY_COMMIT;
        cr_assert(!asked[i].answered || !counts || asked[i].batch <= batches,
                  "program %u: an answer of policy %d told of batch %llu, and %llu are there",
                  program, (int)asked[i].policy, (unsigned long long)asked[i].batch,
                  (unsigned long long)batches);
    }
    for (unsigned at = 0; at < BUCKETS; at++) {
        for (unsigned key = 0; key < KEYS; key++) {
            cr_assert_eq(value_in(set, at, key), history[batches].values[at][key], "program %u",
                         program);
        }
    }
}

static void begin(unsigned program)
{
    draw.state = program;
    f = fixture_with_services();
    kv_arena_set_time(f->arena, NOW);
    disk = fake_disk_new(SIZE);
    wal = kv_wal_new(&(struct kv_wal_options){.epoch = 1, .store = STORE});
    kv_durables_init(&durables, f->arena, &f->store.hash_key);
    f->store.durables = &durables;
    kv_durables_open(&durables, &journal, 0);
    memset(&now, 0, sizeof now);
    memset(changed, 0, sizeof changed);
    asked_count = 0;
    is_writing = false;
    for (unsigned at = 0; at < BUCKETS; at++) {
        policies[at] = at % 2 == 0 ? KV_POLICY_COMMIT : KV_POLICY_INTERVAL;
        start(at);
    }
    take();
    finish_write();
    release();
    forget(f);
}

static void run(unsigned program)
{
    struct kv_durables other;
    begin(program);
    const unsigned steps = 1 + draw_below(&draw, STEPS - 1);
    for (unsigned i = 0; i < steps; i++) {
        step();
    }
    const bool power_cut = draw_once_in(&draw, 2);
    if (power_cut) {
        fake_disk_crash(disk, &draw);
    }
    const uint64_t batches = recover(&other);
    check(&other, batches, power_cut, program);
    kv_durables_free(&other);
    kv_wal_free(wal);
    fake_disk_free(disk);
    fixture_free(f);
}

TestSuite(policies, .timeout = 300);

Test(policies, all_that_an_answer_told_of_is_there_after_a_crash)
{
    const char *wanted = getenv("KV_POLICY_PROGRAMS");
    const unsigned programs = wanted == NULL ? 300 : (unsigned)strtoul(wanted, NULL, 10);
    for (unsigned program = 1; program <= programs; program++) {
        run(program);
    }
}
