/* A durable registry, the shop, over a journal that keeps the last record of each table. Each file
 * that includes this has a journal, a fixture and a shop of its own. */
#ifndef KV_TEST_SHOP_H
#define KV_TEST_SHOP_H

#include "support/fixture.h"

#include "kv/durable.h"
#include "kv/registry.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* ---- a journal that keeps the last record of each table ---------------------------------------
 */

enum { TABLES_MAX = 2000, BEFORE = 1000, BYTES_MAX = 512 };

static struct {
    struct kv_journal_table about;
    uint8_t bytes[BYTES_MAX]; /* registry, name and options */
    bool there;
    unsigned records;
} tables[TABLES_MAX];
static uint64_t batch;       /* that gathers */
static unsigned drops;       /* of registries */
static unsigned changes_put; /* entries that were recorded */
static int may_change;       /* what the journal says, */
static int may_free;         /* and to what frees room */

static inline int journal_may_change(void *context, uint64_t bytes)
{
    (void)context;
    return bytes > 0 ? may_change : KV_OK;
}

static inline struct kv_bytes copy(uint8_t **to, struct kv_bytes from)
{
    struct kv_bytes copied = kv_bytes(*to, from.length);
    if (from.length > 0) {
        memcpy(*to, from.data, from.length);
    }
    *to += from.length;
    return copied;
}

static inline int journal_may_free(void *context, uint64_t bytes, bool whole)
{
    (void)context;
    (void)bytes;
    return whole ? may_free : KV_OK;
}

static inline void journal_table(void *context, const struct kv_journal_table *about)
{
    uint8_t *at = tables[about->id].bytes;
    (void)context;
    cr_assert_lt(about->id, (uint64_t)TABLES_MAX);
    cr_assert_leq(about->registry.length + about->name.length + about->options.length,
                  (size_t)BYTES_MAX);
    tables[about->id].about = *about;
    tables[about->id].about.registry = copy(&at, about->registry);
    tables[about->id].about.name = copy(&at, about->name);
    tables[about->id].about.options = copy(&at, about->options);
    tables[about->id].there = true;
    tables[about->id].records++;
}

static inline void journal_drop(void *context, uint64_t table)
{
    (void)context;
    tables[table].there = false;
}

static inline void journal_drop_registry(void *context, uint64_t table, struct kv_bytes name)
{
    (void)context;
    tables[table].there = false;
    for (size_t i = 0; i < TABLES_MAX; i++) {
        if (kv_bytes_equal(tables[i].about.registry, name)) {
            tables[i].there = false;
        }
    }
    drops++;
}

static inline void journal_put(void *context, uint64_t table, const struct kv_table_entry *entry)
{
    (void)context;
    (void)table;
    (void)entry;
    changes_put++;
}

static inline void journal_gone(void *context, uint64_t table, struct kv_item key)
{
    (void)context;
    (void)table;
    (void)key;
}

static inline void journal_sync(void *context)
{
    (void)context;
}

static inline uint64_t journal_batch(void *context)
{
    (void)context;
    return batch;
}

static const struct kv_journal journal = {.may_change = journal_may_change,
                                          .may_free = journal_may_free,
                                          .put = journal_put,
                                          .gone = journal_gone,
                                          .table = journal_table,
                                          .drop = journal_drop,
                                          .drop_registry = journal_drop_registry,
                                          .sync = journal_sync,
                                          .batch = journal_batch};

/* ---- the fixture ------------------------------------------------------------------------------
 */

static struct fixture *f;
static struct kv_durables durables;
static struct kv_pid shop; /* a durable registry that makes its own buckets */

static inline struct kv_bytes pair(const char *name, struct kv_bytes term)
{
    return term_tuple(term_atom(name), term, NONE, NONE);
}

static inline struct kv_bytes commit(void)
{
    return pair("durable", term_atom("commit"));
}

static inline struct kv_bytes place(const char *registry, const char *name)
{
    return pair("store", term_tuple(term_binary(registry), term_binary(name), NONE, NONE));
}

static inline struct kv_pid start(const char *module, struct kv_bytes one, struct kv_bytes two,
                                  struct kv_bytes three)
{
    struct kv_pid pid =
        feed_spawn(f, f->a, module, term_list(NONE, NONE, NONE), term_list(one, two, three));
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

static inline struct kv_pid start_shop(struct kv_bytes option)
{
    return start("kv_registry", commit(), place("", "shop"), option);
}

static inline void open_set(void)
{
    kv_durables_init(&durables, f->arena, &f->store.hash_key);
    f->store.durables = &durables;
}

static inline void set_up(void)
{
    f = fixture_with_services();
    memset(tables, 0, sizeof tables);
    batch = 1;
    drops = 0;
    changes_put = 0;
    may_change = KV_OK;
    may_free = KV_OK;
    open_set();
    kv_arena_set_time(f->arena, 100 * 1000);
    kv_durables_open(&durables, &journal, 0);
    kv_runtime_release(f->runtime, BEFORE);
    shop = start_shop(NONE);
    forget(f);
}

static inline void tear_down(void)
{
    fixture_free(f);
    kv_durables_free(&durables);
}

static inline struct kv_bytes ask(const char *request, const char *name)
{
    return call(f, &shop, pair(request, term_binary(name)));
}

static inline struct kv_bytes create_with(const char *name, struct kv_bytes option)
{
    return call(
        f, &shop,
        term_tuple(term_atom("create"), term_binary(name), term_list(option, NONE, NONE), NONE));
}

static inline struct kv_bytes two(const char *request, const char *name, struct kv_bytes term)
{
    return call(f, &shop, term_tuple(term_atom(request), term_binary(name), term, NONE));
}

static inline void end_process(const struct kv_pid *pid)
{
    struct kv_pid killer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, pid, term_atom("kill"));
}

static inline struct kv_bytes ok(struct kv_bytes term)
{
    return pair("ok", term);
}

static inline void assert_list(const char *name, struct kv_bytes what)
{
    assert_term(call(f, &shop, term_atom("list")),
                term_list(term_tuple(term_binary(name), what, NONE, NONE), NONE, NONE));
}

static inline void assert_count(int64_t count)
{
    assert_term(call(f, &shop, term_atom("count")), term_integer(count));
}

/* All processes end, and a node recovers what is recorded. With `stepwise`, the test runs the
 * turns.
 */
static inline void recover_in(bool stepwise)
{
    fixture_free(f);
    kv_durables_free(&durables);
    f = fixture_with_services();
    open_set();
    for (size_t i = 0; i < TABLES_MAX; i++) {
        if (tables[i].there) {
            cr_assert_eq(kv_durables_table(&durables, &tables[i].about), KV_OK);
        }
    }
    kv_arena_set_time(f->arena, 100 * 1000);
    kv_durables_open(&durables, &journal, 0);
    kv_runtime_release(f->runtime, BEFORE);
    f->stepwise = stepwise;
    shop = start_shop(NONE);
    forget(f);
}

static inline void recover(void)
{
    recover_in(false);
}

static inline struct kv_bytes reason_of_refusal(const char *module, struct kv_bytes one,
                                                struct kv_bytes other)
{
    const struct kv_pid owner = pid_a(70);
    forget(f);
    (void)start(module, pair("owner", term_pid(&owner)), one, other);
    struct kv_bytes answer = kv_bytes(NULL, 0);
    struct kv_reader ack = kv_reader(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)));
    cr_assert_eq(kv_read_tuple_of(&ack, 3), KV_OK);
    cr_assert_eq(kv_read_any(&ack, NULL), KV_OK);
    cr_assert_eq(kv_read_any(&ack, NULL), KV_OK);
    cr_assert_eq(kv_read_tuple_of(&ack, 2), KV_OK);
    cr_assert_eq(kv_read_this_atom(&ack, "error"), KV_OK);
    cr_assert_eq(kv_read_any(&ack, &answer), KV_OK);
    return answer;
}

static inline bool is_refusal(struct kv_bytes reason, const char *kind)
{
    struct kv_reader reader = kv_reader(reason);
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, kind) == KV_OK;
}

static inline void send(const struct kv_pid *to, uint32_t n, struct kv_bytes request)
{
    feed_call(f, to, "$gen_call", n, request);
}

/* ---- many names -------------------------------------------------------------------------------
 */

enum { MANY = 1000, TURNS_MIN = MANY / KV_REGISTRY_PIECE - 1 };

static inline const char *many_name(unsigned i)
{
    static char name[16];
    (void)snprintf(name, sizeof name, "%u", i);
    return name;
}

static inline void create_many(void)
{
    for (unsigned i = 0; i < MANY; i++) {
        (void)pid_in(ask("create", many_name(i)));
        forget(f);
    }
}

#endif
