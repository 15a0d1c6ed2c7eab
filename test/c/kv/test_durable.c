/* Durable buckets over a journal that is a list of lines: what they record, what waits for it, and
 * how tables come back from it. */
#include "support/fixture.h"

#include "kv/durable.h"
#include "store/arena_state.h"
#include "store/reader.h"
#include "store/table_state.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- a journal --------------------------------------------------------------------------------
 */

enum { LINES_MAX = 200 * 1000, BEFORE = 1000, NOW = 100 * 1000 };

struct line {
    char kind; /* p, g, e, c, t, d */
    uint64_t table;
    struct kv_table_entry entry;
    struct kv_journal_table about;
    uint64_t batch;
};

static struct line *lines;
static size_t line_count;
static uint64_t batch;    /* that gathers */
static int may_change;    /* what the journal says to puts, */
static bool is_busy;      /* to all, */
static int may_free;      /* to what frees room, */
static int may_free_all;  /* and to what frees a whole table */
static uint64_t reserved; /* bytes that were asked for */
static uint64_t synced;   /* the last batch that is to be synced */

static struct kv_bytes copy(struct kv_bytes bytes)
{
    uint8_t *to = malloc(bytes.length + 1);
    if (bytes.length > 0) {
        memcpy(to, bytes.data, bytes.length);
    }
    return kv_bytes(to, bytes.length);
}

static struct kv_item copy_item(struct kv_item item)
{
    return (struct kv_item){.bytes = copy(item.bytes), .form = item.form};
}

static struct line *add(char kind, uint64_t table)
{
    cr_assert_lt(line_count, (size_t)LINES_MAX);
    lines[line_count] = (struct line){.kind = kind, .table = table, .batch = batch};
    return &lines[line_count++];
}

/* The answer to a reader of this host for the key `watched` while a change of it is recorded. */
static struct kv_bytes watched;
static enum kv_read seen;
static void look_as_a_reader(void);

static int journal_may_change(void *context, uint64_t bytes)
{
    (void)context;
    reserved = bytes;
    return is_busy ? KV_EBUSY : bytes > 0 ? may_change : KV_OK;
}

static int journal_may_free(void *context, uint64_t bytes, bool whole)
{
    (void)context;
    reserved = bytes;
    return whole ? may_free_all : may_free;
}

static void journal_put(void *context, uint64_t table, const struct kv_table_entry *entry)
{
    struct line *line = add('p', table);
    (void)context;
    look_as_a_reader();
    line->entry = (struct kv_table_entry){
        .key = copy_item(entry->key), .value = copy_item(entry->value), .expiry = entry->expiry};
}

static void journal_gone(void *context, uint64_t table, struct kv_item key)
{
    (void)context;
    add('g', table)->entry.key = copy_item(key);
    look_as_a_reader();
}

static void journal_expiry(void *context, uint64_t table, struct kv_item key, uint64_t expiry)
{
    struct line *line = add('e', table);
    (void)context;
    look_as_a_reader();
    line->entry = (struct kv_table_entry){.key = copy_item(key), .expiry = expiry};
}

static void journal_clear(void *context, uint64_t table)
{
    (void)context;
    (void)add('c', table);
    look_as_a_reader();
}

static void journal_table(void *context, const struct kv_journal_table *table)
{
    struct line *line = add('t', table->id);
    (void)context;
    line->about = *table;
    line->about.registry = copy(table->registry);
    line->about.name = copy(table->name);
    line->about.options = copy(table->options);
}

static void journal_drop(void *context, uint64_t table)
{
    (void)context;
    (void)add('d', table);
}

static void journal_sync(void *context)
{
    (void)context;
    synced = batch;
}

static uint64_t journal_batch(void *context)
{
    (void)context;
    return batch;
}

static const struct kv_journal journal = {
    .may_change = journal_may_change,
    .may_free = journal_may_free,
    .put = journal_put,
    .gone = journal_gone,
    .expiry = journal_expiry,
    .clear = journal_clear,
    .table = journal_table,
    .drop = journal_drop,
    .sync = journal_sync,
    .batch = journal_batch,
};

static void forget_lines(void)
{
    for (size_t i = 0; i < line_count; i++) {
        free((void *)lines[i].entry.key.bytes.data);
        free((void *)lines[i].entry.value.bytes.data);
        free((void *)lines[i].about.registry.data);
        free((void *)lines[i].about.name.data);
        free((void *)lines[i].about.options.data);
    }
    line_count = 0;
}

/* The kinds of the records since `from`, as a text. */
static const char *kinds(size_t from)
{
    static char text[64];
    size_t length = 0;
    for (size_t i = from; i < line_count && length + 1 < sizeof text; i++) {
        text[length++] = lines[i].kind;
    }
    text[length] = '\0';
    return text;
}

/* ---- the fixture ------------------------------------------------------------------------------
 */

static struct fixture *f;
static struct kv_durables durables;
static struct kv_pid bucket;

static struct kv_bytes pair(struct kv_bytes one, struct kv_bytes two)
{
    return term_tuple(one, two, NONE, NONE);
}

static struct kv_bytes commit(void)
{
    return pair(term_atom("durable"), term_atom("commit"));
}

static struct kv_bytes named(const char *name)
{
    return pair(term_atom("store"), pair(term_binary(""), term_binary(name)));
}

static struct kv_pid start(struct kv_bytes one, struct kv_bytes two, struct kv_bytes three)
{
    struct kv_pid pid =
        feed_spawn(f, f->a, "kv_bucket", term_list(term_atom("monitor"), NONE, NONE),
                   term_list(one, two, three));
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

static struct kv_bytes ask(const char *name, struct kv_bytes one, struct kv_bytes two,
                           struct kv_bytes three)
{
    return call(f, &bucket,
                one.length == 0 ? term_atom(name) : term_tuple(term_atom(name), one, two, three));
}

static void release_readers(uint64_t up_to)
{
    kv_durables_release(&durables, up_to, up_to);
}

/* All that waits for a batch up to this one need not wait any more. */
static void release(uint64_t up_to)
{
    release_readers(up_to);
    kv_runtime_release(f->runtime, up_to);
}

/* A reader of this host. */
static enum kv_read find_as_reader(struct kv_bytes key)
{
    struct kv_mapped mapped;
    struct kv_mapped_table table;
    struct kv_mapped_value value;
    cr_assert_eq(kv_mapped_open(&mapped, f->arena->base, f->memory.reserve, NULL), KV_OK);
    enum kv_read found = kv_mapped_table_of(&mapped, bucket.id, bucket.serial, &table);
    return found != KV_READ_FOUND
               ? found
               : kv_mapped_find(&mapped, &table, key, 0, kv_mapped_hash(&mapped, key), &value);
}

static enum kv_read count_as_reader(void)
{
    struct kv_mapped mapped;
    struct kv_mapped_table table;
    uint64_t count;
    uint64_t next_expiry;
    cr_assert_eq(kv_mapped_open(&mapped, f->arena->base, f->memory.reserve, NULL), KV_OK);
    cr_assert_eq(kv_mapped_table_of(&mapped, bucket.id, bucket.serial, &table), KV_READ_FOUND);
    return kv_mapped_count(&mapped, &table, &count, &next_expiry);
}

static void look_as_a_reader(void)
{
    if (watched.length > 0) {
        seen = find_as_reader(watched);
    }
}

/* From here on everything waits for batch 1001. */
static void hold(void)
{
    batch = BEFORE + 1;
}

static void set_up(void)
{
    f = fixture_with_services();
    lines = calloc(LINES_MAX, sizeof *lines);
    line_count = 0;
    batch = 1;
    may_change = KV_OK;
    is_busy = false;
    may_free = KV_OK;
    may_free_all = KV_OK;
    watched = NONE;
    synced = 0;
    kv_durables_init(&durables, f->arena, &f->store.hash_key);
    f->store.durables = &durables;
    kv_arena_set_time(f->arena, NOW);
    kv_durables_open(&durables, &journal, 0);
    release(BEFORE);
    bucket = start(commit(), named("eggs"), NONE);
}

static void tear_down(void)
{
    fixture_free(f);
    forget_lines();
    free(lines);
}

TestSuite(durable, .init = set_up, .fini = tear_down, .timeout = 120);

static void end_bucket(const struct kv_pid *pid)
{
    struct kv_pid killer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, pid, term_atom("kill"));
}

static void hold_some(void)
{
    (void)ask("put", term_atom("a"), term_integer(1), NONE);
    (void)ask("put", term_atom("b"), term_binary("two"), term_integer(900));
}

static struct kv_bytes reason_of_end(void)
{
    const struct sent *down = sent_of(f, KV_SIGNAL_DOWN, count_of(f, KV_SIGNAL_DOWN) - 1);
    return payload_of(down);
}

/* ---- what comes back --------------------------------------------------------------------------
 */

static bool convert_nothing(void *context, const struct kv_table_entry *entry, bool may_end)
{
    struct kv_durable *other = context;
    struct kv_item value;
    uint64_t expiry = 0;
    (void)may_end;
    cr_assert(kv_table_find(other->table, entry->key, &value, &expiry));
    cr_assert_eq(value.form, entry->value.form);
    cr_assert(kv_bytes_equal(value.bytes, entry->value.bytes));
    cr_assert_eq(expiry, entry->expiry);
    return true;
}

/* Every entry of one table is in the other, with the same expiry, and no other is. */
static void compare(struct kv_durable *one, struct kv_durable *other)
{
    uint64_t cursor = 0;
    while (kv_table_piece(one->table, &cursor, convert_nothing, other)) {
    }
    cr_assert_eq(kv_table_count_live(one->table), kv_table_count_live(other->table));
}

static void apply(struct kv_durables *set, const struct line *line)
{
    switch (line->kind) {
    case 'p':
        cr_assert_eq(kv_durables_put(set, line->table, &line->entry), KV_OK);
        return;
    case 'g':
        cr_assert_eq(kv_durables_gone(set, line->table, line->entry.key), KV_OK);
        return;
    case 'e':
        cr_assert_eq(kv_durables_expiry(set, line->table, line->entry.key, line->entry.expiry),
                     KV_OK);
        return;
    case 'c':
        cr_assert_eq(kv_durables_clear(set, line->table), KV_OK);
        return;
    case 't':
        cr_assert_eq(kv_durables_table(set, &line->about), KV_OK);
        return;
    default:
        cr_assert_eq(kv_durables_drop(set, line->table), KV_OK);
    }
}

/* Recovers all records into another set. */
static void recover(struct kv_durables *set)
{
    const uint64_t now = kv_arena_time(f->arena);
    kv_durables_init(set, f->arena, &f->store.hash_key);
    kv_arena_set_time(f->arena, 0);
    for (size_t i = 0; i < line_count; i++) {
        apply(set, &lines[i]);
    }
    cr_assert_eq(kv_durables_settle(set), KV_OK);
    kv_arena_set_time(f->arena, now);
    kv_durables_open(set, &journal, 0);
}

static struct kv_durable *eggs(const struct kv_durables *set)
{
    return kv_durable_find(set, kv_bytes(NULL, 0), kv_bytes_text("eggs"));
}

/* The records give the contents that the bucket has. */
static void check_records(void)
{
    struct kv_durables other;
    const size_t before = line_count;
    recover(&other);
    compare(eggs(&durables), eggs(&other));
    cr_assert_eq(line_count, before);
    kv_durables_free(&other);
}

static void put_again(struct kv_durables *set, uint64_t table, const uint8_t *value)
{
    const struct kv_item key = {.bytes = kv_bytes_text("again")};
    const struct kv_table_entry entry = {.key = key, .value = {.bytes = kv_bytes(value, 1)}};
    cr_assert_eq(kv_durables_put(set, table, &entry), KV_OK);
}

static int value_again(const struct kv_durables *set, const char *name)
{
    const struct kv_item key = {.bytes = kv_bytes_text("again")};
    const struct kv_durable *found = kv_durable_find(set, kv_bytes(NULL, 0), kv_bytes_text(name));
    struct kv_item value;
    return kv_table_get(found->table, key, &value) ? value.bytes.data[0] : -1;
}

Test(durable, a_recovery_applies_puts_in_their_order_though_it_does_some_together)
{
    static const uint8_t values[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct kv_durables set;
    kv_durables_init(&set, f->arena, &f->store.hash_key);
    for (uint64_t id = 1; id <= 2; id++) {
        const struct kv_journal_table about = {
            .id = id, .kind = KV_JOURNAL_BUCKET, .name = kv_bytes_text(id == 1 ? "one" : "two")};
        cr_assert_eq(kv_durables_table(&set, &about), KV_OK);
    }
    const struct kv_item key = {.bytes = kv_bytes_text("again")};
    for (unsigned i = 0; i < KV_DURABLE_PUTS * 3; i++) { /* of one table, and of the other */
        put_again(&set, 1 + i % 7 / 4, &values[i % 10]);
    }
    put_again(&set, 3, &values[0]); /* there is no such table */
    put_again(&set, 1, &values[7]);
    cr_assert_eq(kv_durables_gone(&set, 1, key), KV_OK);
    put_again(&set, 2, &values[8]);
    cr_assert_eq(kv_durables_settle(&set), KV_OK);
    cr_assert_eq(value_again(&set, "one"), -1);
    cr_assert_eq(value_again(&set, "two"), 8);
    put_again(&set, 1, &values[4]);
    put_again(&set, 2, &values[5]);
    put_again(&set, 2, &values[6]);
    cr_assert_eq(kv_durables_drop(&set, 3), KV_OK);
    cr_assert_eq(value_again(&set, "one"), 4);
    cr_assert_eq(value_again(&set, "two"), 6);
    kv_durables_free(&set);
}

Test(durable, a_recovery_gives_a_table_the_identity_of_its_last_record)
{
    struct kv_durables set;
    const struct kv_bytes registry = kv_bytes_text("registry");
    struct kv_journal_table about = {
        .id = 1, .kind = KV_JOURNAL_BUCKET, .name = kv_bytes_text("salvaged_1")};
    kv_durables_init(&set, f->arena, &f->store.hash_key);
    cr_assert_eq(kv_durables_table(&set, &about), KV_OK);
    about.registry = registry;
    about.name = kv_bytes_text("eggs");
    cr_assert_eq(kv_durables_table(&set, &about), KV_OK);
    const struct kv_durable *found = kv_durable_find(&set, registry, about.name);
    cr_assert(found != NULL && kv_bytes_is(kv_durable_name(found), "eggs"));
    cr_assert_null(kv_durable_find(&set, kv_bytes(NULL, 0), kv_bytes_text("salvaged_1")));
    kv_durables_free(&set);
}

/* Begins a recovery with a table that a checkpoint says to have so many entries. */
static const struct kv_durable *told_of(struct kv_durables *set, uint64_t entries, uint64_t most)
{
    struct kv_buffer options = KV_BUFFER_INIT;
    kv_stored_write(&(struct kv_stored){.entries = entries}, kv_bytes(NULL, 0), &options);
    const struct kv_journal_table about = {.id = 1,
                                           .kind = KV_JOURNAL_BUCKET,
                                           .name = kv_bytes_text("told"),
                                           .options = kv_buffer_bytes(&options)};
    kv_durables_init(set, f->arena, &f->store.hash_key);
    set->entries_most = most;
    cr_assert_eq(kv_durables_table(set, &about), KV_OK);
    kv_buffer_free(&options);
    return kv_durable_find(set, kv_bytes(NULL, 0), about.name);
}

Test(durable, a_recovery_expects_as_many_entries_as_it_is_told_and_as_can_come)
{
    static const struct {
        uint64_t told, most;
        unsigned doublings;
    } rows[] = {{0, 1000, 0},           {1000000, 0, 0},           {1000000, 100, 4},
                {1000000, 1000000, 18}, {1000000, UINT64_MAX, 18}, {UINT64_MAX, 1000000, 18}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kv_durables set;
        const struct kv_durable *table = told_of(&set, rows[i].told, rows[i].most);
        cr_assert_eq(table->table->doublings, rows[i].doublings, "row %zu", i);
        kv_durables_open(&set, &journal, 1);
        cr_assert_eq(table->table->doublings, 0);
        cr_assert_eq(table->options.entries, 0, "it is no option of the bucket");
        kv_durables_free(&set);
    }
}

/* ---- what is recorded -------------------------------------------------------------------------
 */

Test(durable, a_start_records_the_table_with_its_identity_and_options)
{
    (void)start(commit(), named("milk"), pair(term_atom("ttl"), term_integer(500)));
    const struct line *line = &lines[line_count - 1];
    struct kv_stored options;
    kv_stored_read(line->about.options, &options);
    cr_assert_str_eq(kinds(0), "tt");
    cr_assert_eq(line->table, (uint64_t)2);
    cr_assert(line->about.registry.length == 0);
    cr_assert(kv_bytes_is(line->about.name, "milk"));
    cr_assert_eq(options.ttl, (uint64_t)500);
}

Test(durable, a_put_records_key_value_and_expiry)
{
    (void)ask("put", term_atom("a"), term_integer(1), term_integer(700));
    const struct kv_table_entry *entry = &lines[line_count - 1].entry;
    cr_assert_str_eq(kinds(1), "p");
    cr_assert(kv_bytes_equal(entry->key.bytes, term_atom("a")));
    cr_assert(kv_bytes_equal(entry->value.bytes, term_integer(1)));
    cr_assert_eq(entry->expiry, (uint64_t)NOW + 700);
}

Test(durable, each_operation_records_what_it_has_changed_and_no_other_does)
{
    hold_some();
    const struct kv_bytes a = term_atom("a");
    const struct kv_bytes b = term_atom("b");
    const struct kv_bytes x = term_atom("x");
    const struct kv_bytes one = term_integer(1);
    const struct kv_bytes list = term_list(a, x, NONE);
    const struct {
        const char *name;
        struct kv_bytes arguments[3];
        const char *records;
    } rows[] = {
        {"get", {a}, ""},
        {"put", {a, one}, "p"},
        {"put_new", {a, one}, ""},
        {"put_new", {x, one}, "p"},
        {"delete", {x}, "g"},
        {"delete", {x}, ""},
        {"swap", {x, one}, "p"},
        {"pop", {x}, "g"},
        {"pop", {x}, ""},
        {"replace", {x, one}, ""},
        {"replace", {a, one}, "p"},
        {"compare_and_put", {a, b, one}, ""},
        {"compare_and_put", {a, one, term_integer(2)}, "p"},
        {"compare_and_delete", {a, b}, ""},
        {"incr", {a, one}, "p"},
        {"incr", {b, one}, ""},
        {"decr", {a, one}, "p"},
        {"expire", {a, term_integer(500)}, "e"},
        {"expire", {x, one}, ""},
        {"expire", {a, term_integer(0)}, ""},
        {"persist", {a}, "e"},
        {"touch", {a}, ""},
        {"ttl", {b}, ""},
        {"put", {b, one, term_atom("keep")}, "p"},
        {"put_many", {term_list(pair(x, one), pair(a, b), NONE)}, "pp"},
        {"put_many", {term_list(pair(x, one), b, NONE)}, ""},
        {"put_new_many", {term_list(pair(x, one), NONE, NONE)}, ""},
        {"delete_many", {list}, "gg"},
        {"delete_many", {list}, ""},
        {"transaction",
         {term_list(term_tuple(term_atom("put"), a, one, NONE),
                    term_tuple(term_atom("put"), x, one, NONE),
                    term_tuple(term_atom("delete"), b, NONE, NONE))},
         "ppg"},
        {"transaction",
         {term_list(term_tuple(term_atom("put"), a, b, NONE),
                    term_tuple(term_atom("check_absent"), x, NONE, NONE), NONE)},
         ""},
        {"clear", {NONE}, "c"},
        {"clear", {NONE}, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const size_t from = line_count;
        (void)ask(rows[i].name, rows[i].arguments[0], rows[i].arguments[1], rows[i].arguments[2]);
        cr_assert_str_eq(kinds(from), rows[i].records, "row %zu, %s: %s", i, rows[i].name,
                         kinds(from));
        check_records();
    }
}

Test(durable, a_put_that_finds_no_room_records_nothing)
{
    bucket = start(commit(), named("small"), pair(term_atom("max_entries"), term_integer(1)));
    (void)ask("put", term_atom("a"), term_integer(1), NONE);
    const size_t from = line_count;
    assert_term(ask("put", term_atom("b"), term_integer(1), NONE),
                pair(term_atom("error"), term_atom("full")));
    assert_term(ask("put_many",
                    term_list(pair(term_atom("a"), term_integer(2)),
                              pair(term_atom("b"), term_integer(2)), NONE),
                    NONE, NONE),
                pair(term_atom("error"), term_atom("full")));
    assert_term(ask("get", term_atom("a"), NONE, NONE), term_integer(1));
    cr_assert_str_eq(kinds(from), "");
}

Test(durable, an_eviction_is_recorded_before_the_put_that_caused_it)
{
    bucket = feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE),
                        term_list(pair(term_atom("evict"), term_atom("lru")),
                                  pair(term_atom("max_entries"), term_integer(1)), NONE));
    struct kv_buffer *list = term_buffer();
    kv_write_list(list, 4);
    kv_write_term(list, commit());
    kv_write_term(list, named("cache"));
    kv_write_term(list, pair(term_atom("evict"), term_atom("lru")));
    kv_write_term(list, pair(term_atom("max_entries"), term_integer(1)));
    kv_write_nil(list);
    bucket = feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), kv_buffer_bytes(list));
    bucket.node = kv_bytes_text(FIXTURE_NODE);
    (void)ask("put", term_atom("a"), term_integer(1), NONE);
    const size_t from = line_count;
    (void)ask("put", term_atom("b"), term_integer(1), NONE);
    cr_assert_str_eq(kinds(from), "gp");
}

enum { MANY = 5000, LONG = 7 /* the alias of a long request */ };

/* A request that takes several turns. The caller frees it. */
static struct kv_buffer put_many(void)
{
    struct kv_buffer entries = KV_BUFFER_INIT;
    kv_write_tuple(&entries, 2);
    kv_write_atom_text(&entries, "put_many");
    kv_write_list(&entries, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        kv_write_tuple(&entries, 2);
        kv_write_u64(&entries, i);
        kv_write_u64(&entries, i);
    }
    kv_write_nil(&entries);
    return entries;
}

Test(durable, the_entries_of_a_long_request_are_recorded_in_one_batch)
{
    struct kv_buffer entries = put_many();
    f->stepwise = true;
    const size_t from = line_count;
    (void)call(f, &bucket, kv_buffer_bytes(&entries));
    do {
        batch++; /* a batch for each turn */
    } while (kv_runtime_step(f->runtime));
    cr_assert_eq(line_count - from, (size_t)MANY);
    cr_assert_eq(lines[from].batch, lines[line_count - 1].batch);
    kv_buffer_free(&entries);
    check_records();
}

Test(durable, a_long_request_whose_bucket_is_killed_is_done_as_a_whole)
{
    struct kv_buffer entries = put_many();
    f->stepwise = true;
    const size_t from = line_count;
    (void)call(f, &bucket, kv_buffer_bytes(&entries));
    (void)kv_runtime_step(f->runtime);
    (void)kv_runtime_step(f->runtime);
    cr_assert_str_eq(kinds(from), "");
    end_bucket(&bucket);
    cr_assert_eq(line_count - from, (size_t)MANY);
    cr_assert_eq(kv_table_count(eggs(&durables)->table), (uint64_t)MANY);
    kv_buffer_free(&entries);
    check_records();
}

/* A request to delete all that put_many() puts. The caller frees it. */
static struct kv_buffer delete_many(void)
{
    struct kv_buffer keys = KV_BUFFER_INIT;
    kv_write_tuple(&keys, 2);
    kv_write_atom_text(&keys, "delete_many");
    kv_write_list(&keys, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        kv_write_u64(&keys, i);
    }
    kv_write_nil(&keys);
    return keys;
}

/* Sends a request that takes several turns to the bucket, after the entries of put_many(). */
static void begin_to_delete_many(void)
{
    struct kv_buffer entries = put_many();
    struct kv_buffer keys = delete_many();
    (void)call(f, &bucket, kv_buffer_bytes(&entries));
    (void)run_to_the_end(f);
    f->stepwise = true;
    feed_call(f, &bucket, "$gen_call", LONG, kv_buffer_bytes(&keys));
    kv_buffer_free(&entries);
    kv_buffer_free(&keys);
}

/* A crash at any moment leaves all of the entries, or none. */
Test(durable, the_deletes_of_a_long_request_are_recorded_in_one_batch_for_which_there_is_room)
{
    begin_to_delete_many();
    const size_t from = line_count;
    uint64_t asked_in = 0;
    reserved = 0;
    do {
        batch++; /* a batch for each turn */
        asked_in = asked_in == 0 && reserved > 0 ? batch - 1 : asked_in;
        const uint64_t count = kv_table_count(eggs(&durables)->table);
        cr_assert(line_count - from == MANY || (line_count == from && count == MANY));
    } while (kv_runtime_step(f->runtime));
    cr_assert_eq(line_count - from, (size_t)MANY);
    cr_assert_eq(lines[from].batch, asked_in);
    cr_assert_eq(lines[line_count - 1].batch, asked_in);
    cr_assert_geq(reserved, (uint64_t)MANY * KV_JOURNAL_RECORD);
    assert_term(answer_at(f, LONG), term_integer(MANY));
    cr_assert_eq(kv_table_count(eggs(&durables)->table), 0);
    check_records();
}

Test(durable, a_long_delete_for_which_the_disk_has_no_room_any_more_changes_nothing)
{
    begin_to_delete_many();
    const size_t from = line_count;
    (void)kv_runtime_step(f->runtime);
    may_change = KV_ENOSPC;
    may_free = KV_ENOSPC;
    while (kv_runtime_step(f->runtime)) {
    }
    assert_term(answer_at(f, LONG), pair(term_atom("error"), term_atom("enospc")));
    cr_assert_eq(line_count, from);
    cr_assert_eq(kv_table_count(eggs(&durables)->table), (uint64_t)MANY);
    check_records();
    may_free = KV_OK;
    f->stepwise = false;
    assert_term(ask("delete", term_integer(7), NONE, NONE), term_integer(7));
    check_records();
}

Test(durable, a_long_delete_whose_bucket_is_killed_is_done_as_a_whole)
{
    begin_to_delete_many();
    const size_t from = line_count;
    (void)kv_runtime_step(f->runtime);
    end_bucket(&bucket);
    cr_assert_eq(line_count - from, (size_t)MANY);
    cr_assert_eq(kv_table_count(eggs(&durables)->table), 0);
    check_records();
}

/* Evicted entries do not come back, and their ends are on record. */
Test(durable, a_long_put_stops_to_evict_when_the_disk_has_no_room_for_that)
{
    struct kv_buffer entries = put_many();
    struct kv_buffer *list = term_buffer();
    kv_write_list(list, 4);
    kv_write_term(list, commit());
    kv_write_term(list, named("cache"));
    kv_write_term(list, pair(term_atom("evict"), term_atom("lru")));
    kv_write_term(list, pair(term_atom("max_entries"), term_integer(MANY)));
    kv_write_nil(list);
    bucket = feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), kv_buffer_bytes(list));
    bucket.node = kv_bytes_text(FIXTURE_NODE);
    for (int i = 0; i < 3; i++) {
        (void)ask("put", term_integer(-1 - i), term_integer(1), NONE);
    }
    const size_t from = line_count;
    may_change = KV_ENOSPC;
    f->stepwise = true;
    feed_call(f, &bucket, "$gen_call", LONG, kv_buffer_bytes(&entries));
    (void)run_to_the_end(f);
    assert_term(answer_at(f, LONG), pair(term_atom("error"), term_atom("enospc")));
    cr_assert_str_eq(kinds(from), "");
    f->stepwise = false;
    assert_term(ask("size", NONE, NONE, NONE), term_integer(3));
    kv_buffer_free(&entries);
}

Test(durable, a_read_that_starts_a_life_again_is_recorded_now_and_then)
{
    struct kv_buffer *list = term_buffer();
    kv_write_list(list, 4);
    kv_write_term(list, commit());
    kv_write_term(list, named("sessions"));
    kv_write_term(list, pair(term_atom("ttl"), term_integer(1600)));
    kv_write_term(list, pair(term_atom("touch_on_read"), term_atom("true")));
    kv_write_nil(list);
    bucket = feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), kv_buffer_bytes(list));
    bucket.node = kv_bytes_text(FIXTURE_NODE);
    (void)ask("put", term_atom("a"), term_integer(1), NONE);
    const size_t from = line_count;
    for (unsigned i = 0; i < 1600; i++) {
        kv_arena_set_time(f->arena, kv_arena_time(f->arena) + 1);
        assert_term(ask("get", term_atom("a"), NONE, NONE), term_integer(1));
        forget(f);
    }
    cr_assert_geq(line_count - from, (size_t)15);
    cr_assert_leq(line_count - from, (size_t)17);
    cr_assert_gt(lines[line_count - 1].entry.expiry, kv_arena_time(f->arena) + 1600 - 101);
}

/* ---- what waits -------------------------------------------------------------------------------
 */

Test(durable, an_answer_waits_until_its_change_is_durable)
{
    hold();
    cr_assert_eq(ask("put", term_atom("a"), term_integer(1), NONE).length, (size_t)0);
    kv_runtime_release(f->runtime, batch);
    cr_assert_not_null(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0));
}

Test(durable, a_read_of_what_is_not_durable_yet_waits_too)
{
    hold();
    cast(f, &bucket, term_tuple(term_atom("put"), term_atom("a"), term_integer(1), NONE));
    cr_assert_eq(ask("get", term_atom("a"), NONE, NONE).length, (size_t)0);
    kv_runtime_release(f->runtime, batch);
    cr_assert_not_null(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0));
}

/* Changes a key, and waits for no answer. */
static void change(struct kv_bytes key)
{
    cast(f, &bucket, term_tuple(term_atom("put"), key, term_integer(7), NONE));
}

static bool waits(const char *name, struct kv_bytes one, struct kv_bytes two, struct kv_bytes three)
{
    forget(f);
    return ask(name, one, two, three).length == 0;
}

Test(durable, a_request_waits_for_the_keys_of_which_it_tells_and_for_no_others)
{
    const struct kv_bytes a = term_atom("a");
    const struct kv_bytes b = term_atom("b");
    const struct kv_bytes x = term_atom("x");
    const struct kv_bytes one = term_integer(1);
    hold_some();
    release(BEFORE);
    hold();
    change(a);
    const struct {
        const char *name;
        struct kv_bytes arguments[3];
        bool waits;
    } rows[] = {
        {"get", {b}, false},
        {"get", {x}, false},
        {"get", {b, one}, false},
        {"fetch", {b}, false},
        {"has_key", {b}, false},
        {"ttl", {b}, false},
        {"get_many", {term_list(b, x, NONE)}, false},
        {"generation", {NONE}, false},
        {"put_new", {b, one}, false},
        {"put_new_many", {term_list(pair(b, one), NONE, NONE)}, false},
        {"replace", {x, one}, false},
        {"compare_and_put", {b, one, one}, false},
        {"compare_and_delete", {b, one}, false},
        {"incr", {b, one}, false},
        {"delete", {x}, false},
        {"pop", {x}, false},
        {"delete_many", {term_list(x, NONE, NONE)}, false},
        {"expire", {x, one}, false},
        {"fetch_tagged", {b}, false},
        {"snapshot_next", {b}, false},
        {"snapshot_close", {b}, false},
        {"transaction",
         {term_list(term_tuple(term_atom("get"), b, NONE, NONE), NONE, NONE)},
         false},
        {"transaction",
         {term_list(term_tuple(term_atom("check_absent"), b, NONE, NONE),
                    term_tuple(term_atom("put"), x, one, NONE), NONE)},
         false},
        {"update", {term_integer(1)}, false},
        {"no_operation", {b}, false},
        {"get", {a}, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(
            waits(rows[i].name, rows[i].arguments[0], rows[i].arguments[1], rows[i].arguments[2]),
            rows[i].waits, "row %zu, %s", i, rows[i].name);
    }
}

Test(durable, a_request_about_a_changed_key_or_the_whole_bucket_waits)
{
    const struct kv_bytes a = term_atom("a");
    const struct kv_bytes b = term_atom("b");
    const struct kv_bytes one = term_integer(1);
    const struct kv_pid owner = pid_b(1);
    hold_some();
    release(BEFORE);
    batch = BEFORE;
    const struct {
        const char *name;
        struct kv_bytes arguments[3];
    } rows[] = {
        {"get", {a}},
        {"get", {a, one}},
        {"fetch", {a}},
        {"has_key", {a}},
        {"ttl", {a}},
        {"get_many", {term_list(b, a, NONE)}},
        {"put_new", {a, one}},
        {"put_new_many", {term_list(pair(a, one), NONE, NONE)}},
        {"compare_and_put", {a, one, one}},
        {"compare_and_delete", {a, one}},
        {"fetch_tagged", {a}},
        {"transaction", {term_list(term_tuple(term_atom("get"), a, NONE, NONE), NONE, NONE)}},
        {"transaction",
         {term_list(term_tuple(term_atom("check_absent"), a, NONE, NONE), NONE, NONE)}},
        {"size", {NONE}},
        {"keys", {NONE}},
        {"to_map", {NONE}},
        {"stats", {NONE}},
        {"scan", {term_atom("start"), term_list(NONE, NONE, NONE)}},
        {"snapshot", {term_pid(&owner)}},
        {"put", {b, one}},
        {"delete", {b}},
        {"clear", {NONE}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        batch++;
        change(a);
        cr_assert(
            waits(rows[i].name, rows[i].arguments[0], rows[i].arguments[1], rows[i].arguments[2]),
            "row %zu, %s", i, rows[i].name);
        release(batch);
        cr_assert_not_null(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0));
    }
}

Test(durable, a_read_waits_for_the_last_change_of_its_key_and_for_no_later_batch)
{
    hold();
    change(term_atom("a"));
    batch++;
    change(term_atom("b"));
    cr_assert(waits("get", term_atom("a"), NONE, NONE));
    release(batch - 1);
    cr_assert_not_null(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0));
    cr_assert(waits("get", term_atom("b"), NONE, NONE));
}

Test(durable, the_answers_to_one_process_stay_in_order)
{
    hold();
    cr_assert(waits("put", term_atom("a"), term_integer(1), NONE));
    cr_assert(waits("get", term_atom("b"), NONE, NONE));
    release(batch);
    assert_term(answer_at(f, 1), NONE);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), (size_t)2);
}

Test(durable, after_very_many_changes_the_whole_bucket_waits_for_their_batch)
{
    hold_some();
    release(BEFORE);
    hold();
    for (int i = 0; i < KV_DURABLE_KEYS; i++) {
        change(term_integer(i));
    }
    cr_assert_not(waits("get", term_atom("b"), NONE, NONE));
    change(term_integer(KV_DURABLE_KEYS));
    cr_assert(waits("get", term_atom("b"), NONE, NONE));
    release(batch);
    cr_assert_not(waits("get", term_atom("b"), NONE, NONE));
}

Test(durable, while_more_batches_wait_than_are_known_the_whole_bucket_waits)
{
    hold_some();
    release(BEFORE);
    hold();
    for (int i = 0; i < 3; i++) {
        change(term_atom("a"));
        batch++;
    }
    cr_assert(waits("get", term_atom("b"), NONE, NONE));
    release(batch - 1);
    cr_assert_not(waits("get", term_atom("b"), NONE, NONE));
}

Test(durable, an_answer_that_tells_how_full_the_bucket_is_waits_for_all)
{
    bucket = start(commit(), named("small"), pair(term_atom("max_entries"), term_integer(1)));
    release(BEFORE);
    hold();
    change(term_atom("a"));
    cr_assert(waits("put", term_atom("b"), term_integer(1), NONE));
}

Test(durable, a_request_that_changes_nothing_waits_for_nothing)
{
    hold();
    assert_term(ask("get", term_atom("a"), NONE, NONE), term_atom("nil"));
    assert_term(ask("expire", term_atom("a"), term_integer(5), NONE), term_atom("false"));
}

Test(durable, a_volatile_bucket_records_nothing_and_never_waits)
{
    bucket = start(NONE, NONE, NONE);
    hold();
    const size_t from = line_count;
    assert_term(ask("put", term_atom("a"), term_integer(1), NONE), term_atom("ok"));
    assert_term(ask("incr", term_atom("a"), term_integer(1), NONE), term_integer(2));
    cr_assert_str_eq(kinds(from), "");
}

Test(durable, readers_of_this_host_ask_the_bucket_until_a_change_is_durable)
{
    hold();
    (void)ask("put", term_atom("a"), term_integer(1), NONE);
    cr_assert_not(kv_list_is_empty(&durables.unwritten));
    release_readers(batch - 1);
    cr_assert_not(kv_list_is_empty(&durables.unwritten));
    release_readers(batch);
    cr_assert(kv_list_is_empty(&durables.unwritten));
}

/* The journal hears of a change when the table has it. */
Test(durable, readers_of_this_host_never_see_a_change_that_is_not_recorded_yet)
{
    const struct kv_bytes a = term_atom("a");
    const struct kv_bytes one = term_integer(1);
    const struct {
        const char *name;
        struct kv_bytes arguments[2];
    } rows[] = {
        {"put", {a, one}},
        {"put", {a, term_integer(2)}},
        {"put", {a, term_binary("longer than it was")}},
        {"expire", {a, term_integer(500)}},
        {"persist", {a}},
        {"delete", {a}},
        {"put_many", {term_list(pair(a, one), NONE, NONE)}},
        {"delete_many", {term_list(a, NONE, NONE)}},
        {"transaction", {term_list(term_tuple(term_atom("put"), a, one, NONE), NONE, NONE)}},
        {"clear", {NONE}},
    };
    watched = a;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        seen = KV_READ_BROKEN;
        (void)ask(rows[i].name, rows[i].arguments[0], rows[i].arguments[1], NONE);
        cr_assert_eq(seen, KV_READ_ASK_OWNER, "row %zu, %s: %d", i, rows[i].name, (int)seen);
        release_readers(batch++);
        cr_assert_neq(find_as_reader(a), KV_READ_ASK_OWNER);
    }
}

Test(durable, readers_of_this_host_ask_for_keys_that_are_not_durable_and_for_no_others)
{
    hold_some();
    release(BEFORE);
    cr_assert_eq(find_as_reader(term_atom("a")), KV_READ_FOUND);
    hold();
    change(term_atom("a"));
    batch++;
    change(term_atom("x"));
    cr_assert_eq(find_as_reader(term_atom("a")), KV_READ_ASK_OWNER);
    cr_assert_eq(find_as_reader(term_atom("x")), KV_READ_ASK_OWNER);
    cr_assert_eq(find_as_reader(term_atom("b")), KV_READ_FOUND);
    cr_assert_eq(count_as_reader(), KV_READ_ASK_OWNER);
    release_readers(batch - 1);
    cr_assert_eq(find_as_reader(term_atom("a")), KV_READ_FOUND);
    cr_assert_eq(find_as_reader(term_atom("x")), KV_READ_ASK_OWNER);
    release_readers(batch);
    cr_assert_eq(find_as_reader(term_atom("x")), KV_READ_FOUND);
    cr_assert_eq(count_as_reader(), KV_READ_FOUND);
}

Test(durable, readers_of_this_host_ask_for_a_deleted_key_too)
{
    hold_some();
    release(BEFORE);
    hold();
    cast(f, &bucket, term_tuple(term_atom("delete"), term_atom("a"), NONE, NONE));
    cr_assert_eq(find_as_reader(term_atom("a")), KV_READ_ASK_OWNER);
    release_readers(batch);
    cr_assert_eq(find_as_reader(term_atom("a")), KV_READ_ABSENT);
}

Test(durable, readers_of_this_host_ask_for_all_keys_after_very_many_changes_or_a_clear)
{
    hold_some();
    release(BEFORE);
    hold();
    for (int i = 0; i <= KV_DURABLE_KEYS; i++) {
        change(term_integer(i));
    }
    cr_assert_eq(find_as_reader(term_atom("b")), KV_READ_ASK_OWNER);
    release_readers(batch++);
    cr_assert_eq(find_as_reader(term_atom("b")), KV_READ_FOUND);
    cast(f, &bucket, term_atom("clear"));
    cr_assert_eq(find_as_reader(term_atom("b")), KV_READ_ASK_OWNER);
}

Test(durable, other_buckets_are_read_without_asking)
{
    const struct kv_pid durable = bucket;
    const struct kv_pid other = start(NONE, NONE, NONE);
    bucket = other;
    change(term_atom("a"));
    bucket = durable;
    hold();
    change(term_atom("a"));
    bucket = other;
    cr_assert_eq(find_as_reader(term_atom("a")), KV_READ_FOUND);
}

Test(durable, after_a_change_that_failed_readers_of_this_host_need_not_ask)
{
    (void)ask("delete", term_atom("a"), NONE, NONE);
    release_readers(batch++);
    assert_term(ask("delete", term_atom("a"), NONE, NONE), term_atom("nil"));
    cast(f, &bucket, term_tuple(term_atom("delete"), term_atom("a"), NONE, NONE));
    cr_assert_eq(find_as_reader(term_atom("a")), KV_READ_ABSENT);
}

Test(durable, the_start_of_a_bucket_waits_until_its_table_is_durable)
{
    struct kv_pid owner = pid_b(3);
    hold();
    const struct kv_bytes options =
        term_list(commit(), named("new"), pair(term_atom("owner"), term_pid(&owner)));
    struct kv_signal signal = {
        .kind = KV_SIGNAL_SPAWN_REQUEST,
        .from = pid_a(1),
        .ref = ref_a(99),
        .group_leader = pid_a(2),
        .spawn = {kv_bytes_text("kv_bucket"), kv_bytes_text("init"), 1},
        .spawn_options = term_list(NONE, NONE, NONE),
        .payload = {term_list(options, NONE, NONE)},
        .payload_parts = 1,
    };
    forget(f);
    feed(f, f->a, &signal);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), (size_t)0);
    kv_runtime_release(f->runtime, batch);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), (size_t)1);
}

/* ---- policies ---------------------------------------------------------------------------------
 */

static struct kv_bytes interval(void)
{
    return pair(term_atom("durable"), term_atom("interval"));
}

static struct kv_durable *table_of(const char *name)
{
    return kv_durable_find(&durables, kv_bytes(NULL, 0), kv_bytes_text(name));
}

Test(durable, an_answer_of_policy_interval_waits_until_its_change_is_written)
{
    bucket = start(interval(), named("log"), NONE);
    release(BEFORE);
    hold();
    cr_assert(waits("put", term_atom("a"), term_integer(1), NONE));
    kv_durables_release(&durables, batch, BEFORE);
    kv_runtime_release_written(f->runtime, batch);
    cr_assert_not_null(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0));
    cr_assert_not(waits("get", term_atom("a"), NONE, NONE));
    cr_assert_not(waits("size", NONE, NONE, NONE));
    cr_assert_eq(find_as_reader(term_atom("a")), KV_READ_FOUND);
}

Test(durable, an_answer_of_policy_commit_waits_for_more)
{
    hold();
    cr_assert(waits("put", term_atom("a"), term_integer(1), NONE));
    kv_durables_release(&durables, batch, BEFORE);
    kv_runtime_release_written(f->runtime, batch);
    cr_assert_null(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0));
    cr_assert_eq(find_as_reader(term_atom("a")), KV_READ_ASK_OWNER);
}

Test(durable, only_changes_of_policy_commit_ask_for_a_sync)
{
    const struct kv_pid eggs = bucket;
    bucket = start(interval(), named("log"), NONE);
    hold();
    change(term_atom("a"));
    cast(f, &bucket, term_tuple(term_atom("delete"), term_atom("a"), NONE, NONE));
    cast(f, &bucket, term_atom("clear"));
    cr_assert_lt(synced, batch);
    bucket = eggs;
    change(term_atom("a"));
    cr_assert_eq(synced, batch);
}

Test(durable, the_policy_changes_with_the_next_start_and_is_recorded)
{
    hold_some();
    end_bucket(&bucket);
    batch = ++synced;
    bucket = start(interval(), named("eggs"), NONE);
    cr_assert_eq(lines[line_count - 1].about.policy, KV_POLICY_INTERVAL);
    cr_assert_eq(table_of("eggs")->policy, KV_POLICY_INTERVAL);
    batch++;
    change(term_atom("b"));
    cr_assert_lt(synced, batch);
    end_bucket(&bucket);
    bucket = start(commit(), named("eggs"), NONE);
    cr_assert_eq(synced, batch);
    cr_assert_eq(lines[line_count - 1].about.policy, KV_POLICY_COMMIT);
    struct kv_durables other;
    recover(&other);
    cr_assert_eq(eggs(&other)->policy, KV_POLICY_COMMIT);
    kv_durables_free(&other);
}

/* ---- reads: latest ----------------------------------------------------------------------------
 */

static struct kv_bytes latest(void)
{
    return pair(term_atom("reads"), term_atom("latest"));
}

Test(durable, with_reads_latest_a_read_waits_for_nothing_and_a_change_does)
{
    bucket = start(commit(), named("cache"), latest());
    release(BEFORE);
    hold();
    change(term_atom("a"));
    cr_assert_not(waits("get", term_atom("a"), NONE, NONE));
    cr_assert_not(waits("size", NONE, NONE, NONE));
    cr_assert_not(waits("to_map", NONE, NONE, NONE));
    cr_assert_eq(find_as_reader(term_atom("a")), KV_READ_FOUND);
    cr_assert(waits("put_new", term_atom("a"), term_integer(1), NONE));
}

Test(durable, with_reads_latest_a_long_answer_waits_for_nothing)
{
    bucket = start(commit(), named("cache"), latest());
    for (int i = 0; i < 3000; i++) {
        change(term_integer(i));
    }
    release(BEFORE);
    hold();
    change(term_atom("a"));
    cr_assert_not(waits("keys", NONE, NONE, NONE));
}

Test(durable, reads_comes_back_and_may_change)
{
    bucket = start(commit(), named("cache"), latest());
    struct kv_durables other;
    recover(&other);
    cr_assert(kv_durable_find(&other, kv_bytes(NULL, 0), kv_bytes_text("cache"))->options.latest);
    kv_durables_free(&other);
    end_bucket(&bucket);
    bucket = start(commit(), named("cache"), NONE);
    cr_assert(table_of("cache")->options.latest);
    end_bucket(&bucket);
    bucket = start(commit(), named("cache"), pair(term_atom("reads"), term_atom("durable")));
    cr_assert_not(table_of("cache")->options.latest);
}

Test(durable, a_volatile_bucket_takes_reads_too_and_another_word_is_refused)
{
    bucket = start(latest(), NONE, NONE);
    assert_term(ask("get", term_atom("a"), NONE, NONE), term_atom("nil"));
    (void)start(pair(term_atom("reads"), term_atom("now")), NONE, NONE);
    struct kv_reader reader = kv_reader(reason_of_end());
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "bad_option"), KV_OK);
}

/* ---- a disk that is full, or slow -------------------------------------------------------------
 */

Test(durable, without_space_a_put_is_refused_and_reads_and_deletes_go_on)
{
    hold_some();
    may_change = KV_ENOSPC;
    const size_t from = line_count;
    const struct kv_bytes refused = pair(term_atom("error"), term_atom("enospc"));
    assert_term(ask("put", term_atom("a"), term_integer(2), NONE), refused);
    assert_term(ask("expire", term_atom("a"), term_integer(2), NONE), refused);
    assert_term(
        ask("put_many", term_list(pair(term_atom("a"), term_integer(2)), NONE, NONE), NONE, NONE),
        refused);
    cr_assert_str_eq(kinds(from), "");
    assert_term(ask("delete", term_atom("a"), NONE, NONE), term_integer(1));
    cr_assert_str_eq(kinds(from), "g");
    assert_term(ask("get", term_atom("b"), NONE, NONE), term_binary("two"));
    may_change = KV_OK;
    assert_term(ask("put", term_atom("a"), term_integer(2), NONE), term_atom("ok"));
    check_records();
}

Test(durable, without_room_in_the_reserve_of_a_full_disk_a_delete_is_refused_and_changes_nothing)
{
    hold_some();
    may_change = KV_ENOSPC;
    may_free = KV_ENOSPC;
    const size_t from = line_count;
    const struct kv_bytes refused = pair(term_atom("error"), term_atom("enospc"));
    const struct kv_bytes keys = term_list(term_atom("a"), term_atom("b"), NONE);
    const struct kv_bytes deletes =
        term_list(pair(term_atom("delete"), term_atom("a")), NONE, NONE);
    assert_term(ask("delete", term_atom("a"), NONE, NONE), refused);
    assert_term(ask("delete_many", keys, NONE, NONE), refused);
    assert_term(ask("transaction", deletes, NONE, NONE), refused);
    cast(f, &bucket, pair(term_atom("delete"), term_atom("a")));
    cr_assert_eq(durables.why, KV_ENOSPC);
    assert_term(ask("get", term_atom("a"), NONE, NONE), term_integer(1));
    assert_term(ask("size", NONE, NONE, NONE), term_integer(2));
    cr_assert_str_eq(kinds(from), "");
    may_free = KV_OK;
    assert_term(ask("transaction", deletes, NONE, NONE),
                pair(term_atom("ok"), term_list(term_integer(1), NONE, NONE)));
    assert_term(ask("delete_many", keys, NONE, NONE), term_integer(1));
    check_records();
}

Test(durable, the_last_of_the_reserve_of_a_full_disk_is_for_clear_and_destroy)
{
    hold_some();
    may_change = KV_ENOSPC;
    may_free = KV_ENOSPC;
    const size_t from = line_count;
    assert_term(ask("clear", NONE, NONE, NONE), term_atom("ok"));
    cr_assert_str_eq(kinds(from), "c");
    may_free_all = KV_ENOSPC;
    const struct kv_bytes refused = pair(term_atom("error"), term_atom("enospc"));
    assert_term(ask("destroy", NONE, NONE, NONE), refused);
    may_free_all = KV_OK;
    assert_term(ask("destroy", NONE, NONE, NONE), term_atom("ok"));
    cr_assert_str_eq(kinds(from), "cd");
}

Test(durable, asks_for_room_for_the_evictions_that_make_room_for_a_put)
{
    (void)ask("put", term_atom("a"), term_integer(1), NONE);
    const uint64_t alone = reserved;
    bucket = start(commit(), named("milk"), pair(term_atom("evict"), term_atom("lru")));
    (void)ask("put", term_atom("a"), term_integer(1), NONE);
    cr_assert_geq(reserved, 2 * alone);
}

Test(durable, without_space_a_transaction_changes_nothing)
{
    hold_some();
    may_change = KV_ENOSPC;
    const struct kv_bytes requests =
        term_list(term_tuple(term_atom("put"), term_atom("a"), term_integer(7), NONE),
                  term_tuple(term_atom("delete"), term_atom("b"), NONE, NONE), NONE);
    const struct kv_bytes answer = ask("transaction", requests, NONE, NONE);
    struct kv_reader reader = kv_reader(answer);
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "error"), KV_OK);
    assert_term(ask("get", term_atom("a"), NONE, NONE), term_integer(1));
    assert_term(ask("get", term_atom("b"), NONE, NONE), term_binary("two"));
    check_records();
}

Test(durable, when_too_much_waits_a_request_is_refused_at_once)
{
    hold();
    cr_assert_eq(ask("put", term_atom("a"), term_integer(1), NONE).length, (size_t)0);
    is_busy = true;
    assert_term(ask("get", term_atom("a"), NONE, NONE),
                pair(term_atom("error"), term_atom("busy")));
    cr_assert_eq(kv_runtime_waiting(f->runtime), (size_t)1);
}

Test(durable, when_too_much_waits_requests_that_need_not_wait_go_on)
{
    hold_some();
    release(BEFORE);
    hold();
    change(term_atom("a"));
    is_busy = true;
    const struct kv_bytes busy = pair(term_atom("error"), term_atom("busy"));
    assert_term(ask("get", term_atom("b"), NONE, NONE), term_binary("two"));
    assert_term(ask("get", term_atom("a"), NONE, NONE), busy);
    assert_term(ask("size", NONE, NONE, NONE), busy);
    assert_term(ask("put", term_atom("b"), term_integer(1), NONE), busy);
    assert_term(ask("get", term_atom("b"), NONE, NONE), term_binary("two"));
    release(batch);
    assert_term(ask("get", term_atom("a"), NONE, NONE), term_integer(7));
    assert_term(ask("size", NONE, NONE, NONE), term_integer(2));
}

Test(durable, when_too_much_waits_casts_are_dropped_and_counted_for_a_line_each_second)
{
    is_busy = true;
    const size_t from = line_count;
    change(term_atom("a"));
    cr_assert_eq(durables.told, (uint64_t)NOW);
    cr_assert_eq(durables.dropped, (uint64_t)0);
    change(term_atom("a"));
    change(term_atom("a"));
    cr_assert_eq(durables.dropped, (uint64_t)2);
    kv_arena_set_time(f->arena, NOW + 1000);
    is_busy = false;
    change(term_atom("a"));
    cr_assert_eq(durables.dropped, (uint64_t)0);
    cr_assert_str_eq(kinds(from), "p");
}

/* ---- processes --------------------------------------------------------------------------------
 */

Test(durable, a_second_bucket_of_the_same_identity_is_told_of_the_first)
{
    (void)start(commit(), named("eggs"), NONE);
    assert_term(reason_of_end(), pair(term_atom("already_started"), term_pid(&bucket)));
}

Test(durable, the_next_bucket_of_the_identity_finds_what_the_killed_one_had)
{
    hold_some();
    end_bucket(&bucket);
    bucket = start(commit(), named("eggs"), NONE);
    assert_term(ask("get", term_atom("a"), NONE, NONE), term_integer(1));
    assert_term(ask("ttl", term_atom("b"), NONE, NONE), pair(term_atom("ok"), term_integer(900)));
}

Test(durable, a_process_that_is_attached_has_the_generation_of_the_table_and_tells_its_owner)
{
    struct kv_pid owner = pid_b(3);
    bucket = start(commit(), named("milk"), pair(term_atom("generation"), term_integer(7)));
    end_bucket(&bucket);
    forget(f);
    bucket = start(commit(), named("milk"), pair(term_atom("owner"), term_pid(&owner)));
    const struct sent *ack = sent_of(f, KV_SIGNAL_MESSAGE, 0);
    const struct kv_bytes self = term_pid(&bucket);
    assert_term(payload_of(ack),
                term_tuple(term_atom("ack"), self,
                           term_tuple(term_atom("ok"), self, term_integer(7), NONE), NONE));
    assert_term(ask("generation", NONE, NONE, NONE), term_integer(7));
}

Test(durable, a_limit_is_taken_away_by_infinity)
{
    bucket = start(commit(), named("milk"), pair(term_atom("ttl"), term_integer(500)));
    end_bucket(&bucket);
    bucket = start(commit(), named("milk"), pair(term_atom("ttl"), term_atom("infinity")));
    (void)ask("put", term_atom("a"), term_integer(1), NONE);
    cr_assert_eq(lines[line_count - 1].entry.expiry, (uint64_t)0);
}

Test(durable, entries_expire_while_no_process_is_attached)
{
    hold_some();
    end_bucket(&bucket);
    kv_arena_set_time(f->arena, NOW + 900);
    bucket = start(commit(), named("eggs"), NONE);
    assert_term(ask("size", NONE, NONE, NONE), term_integer(1));
}

Test(durable, options_that_are_not_given_again_stay_and_others_change)
{
    (void)start(commit(), named("milk"), pair(term_atom("ttl"), term_integer(500)));
    struct kv_pid first = bucket;
    (void)first;
    struct kv_durable *milk = kv_durable_find(&durables, kv_bytes(NULL, 0), kv_bytes_text("milk"));
    kv_process_exit_atom(milk->process, "normal");
    const struct kv_pid pid = kv_process_pid(milk->process);
    end_bucket(&pid);
    cr_assert_null(milk->process);
    (void)start(commit(), named("milk"), pair(term_atom("max_entries"), term_integer(9)));
    cr_assert_eq(milk->options.ttl, (uint64_t)500);
    cr_assert_eq(milk->options.max_entries, (uint64_t)9);
    cr_assert_eq(lines[line_count - 1].kind, 't');
    struct kv_durables other;
    recover(&other);
    const struct kv_durable *again =
        kv_durable_find(&other, kv_bytes(NULL, 0), kv_bytes_text("milk"));
    cr_assert_eq(again->options.ttl, (uint64_t)500);
    cr_assert_eq(kv_table_max_entries(again->table), (uint64_t)9);
    kv_durables_free(&other);
}

Test(durable, the_rule_of_eviction_cannot_change)
{
    end_bucket(&bucket);
    (void)start(commit(), named("eggs"), pair(term_atom("evict"), term_atom("lru")));
    struct kv_reader reader = kv_reader(reason_of_end());
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "cannot_change"), KV_OK);
}

Test(durable, destroy_drops_the_table_and_ends_the_bucket)
{
    hold_some();
    const size_t from = line_count;
    assert_term(ask("destroy", NONE, NONE, NONE), term_atom("ok"));
    assert_term(reason_of_end(), term_atom("normal"));
    cr_assert_str_eq(kinds(from), "d");
    bucket = start(commit(), named("eggs"), NONE);
    assert_term(ask("get", term_atom("a"), NONE, NONE), term_atom("nil"));
    check_records();
}

static struct kv_bytes fill(void)
{
    return pair(term_atom("fill"), term_atom("true"));
}

static void restart_to_be_filled(void)
{
    end_bucket(&bucket);
    bucket = start(commit(), named("soup"), fill());
}

Test(durable, a_bucket_that_was_filled_in_part_is_empty_when_it_is_filled_again)
{
    bucket = start(commit(), named("soup"), fill());
    (void)ask("put", term_atom("a"), term_atom("half"), NONE);
    restart_to_be_filled();
    assert_term(ask("get", term_atom("a"), NONE, NONE), term_atom("nil"));
    check_records();
}

Test(durable, a_bucket_that_was_filled_keeps_its_entries)
{
    bucket = start(commit(), named("soup"), fill());
    (void)ask("put", term_atom("a"), term_atom("whole"), NONE);
    assert_term(ask("filled", NONE, NONE, NONE), term_atom("ok"));
    restart_to_be_filled();
    assert_term(ask("get", term_atom("a"), NONE, NONE), term_atom("whole"));
}

Test(durable, a_bucket_that_is_attached_without_a_function_is_taken_as_it_is)
{
    bucket = start(commit(), named("soup"), fill());
    (void)ask("put", term_atom("a"), term_atom("half"), NONE);
    end_bucket(&bucket);
    bucket = start(commit(), named("soup"), NONE);
    restart_to_be_filled();
    assert_term(ask("get", term_atom("a"), NONE, NONE), term_atom("half"));
}

Test(durable, destroy_ends_a_volatile_bucket_too)
{
    bucket = start(NONE, NONE, NONE);
    assert_term(ask("destroy", NONE, NONE, NONE), term_atom("ok"));
    assert_term(reason_of_end(), term_atom("normal"));
}

static void assert_refused(const char *kind, struct kv_bytes one, struct kv_bytes two)
{
    forget(f);
    (void)start(one, two, NONE);
    struct kv_reader reader = kv_reader(reason_of_end());
    struct kv_bytes text;
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, kind), KV_OK, "%s", kind);
    cr_assert_eq(kv_read_binary(&reader, &text), KV_OK);
}

Test(durable, a_start_that_cannot_be_durable_is_refused_in_words)
{
    assert_refused("no_name", commit(), NONE);
    assert_refused("is_durable", named("eggs"), NONE);
    f->store.durables = NULL;
    assert_refused("no_data_dir", commit(), named("eggs"));
    f->store.durables = &durables;
}

/* ---- random programs --------------------------------------------------------------------------
 */

static struct kv_bytes random_key(void)
{
    return term_integer(rand() % 40);
}

static void random_step(void)
{
    const struct kv_bytes key = random_key();
    const struct kv_bytes value =
        rand() % 2 == 0 ? term_integer(rand()) : term_binary("some bytes that are longer");
    switch (rand() % 9) {
    case 0:
        (void)ask("put", key, value, term_integer(1 + rand() % 50));
        return;
    case 1:
        (void)ask("delete", key, NONE, NONE);
        return;
    case 2:
        (void)ask("incr", key, term_integer(1), NONE);
        return;
    case 3:
        (void)ask("expire", key, term_integer(1 + rand() % 50), NONE);
        return;
    case 4:
        (void)ask("put_many", term_list(pair(key, value), pair(random_key(), value), NONE), NONE,
                  NONE);
        return;
    case 5:
        (void)ask("transaction",
                  term_list(term_tuple(term_atom("put"), key, value, NONE),
                            term_tuple(term_atom("delete"), random_key(), NONE, NONE),
                            term_tuple(term_atom("expire"), random_key(), term_integer(20), NONE)),
                  NONE, NONE);
        return;
    case 6:
        kv_arena_set_time(f->arena, kv_arena_time(f->arena) + (uint64_t)rand() % 10);
        return;
    case 7:
        (void)ask("put", key, value, term_atom("keep"));
        return;
    default:
        (void)ask("put", key, value, NONE);
    }
}

Test(durable, after_any_program_the_records_give_the_same_contents)
{
    enum { PROGRAMS = 60, STEPS = 60 };
    srand(7);
    for (unsigned i = 0; i < PROGRAMS; i++) {
        for (unsigned step = 0; step < STEPS; step++) {
            random_step();
            forget(f);
        }
        check_records();
    }
}
