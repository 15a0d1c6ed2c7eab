/* A bucket without options, and the steps of tests that ask one thing after the other. Each file
 * that includes this has a fixture and a bucket of its own. */
#ifndef KV_TEST_BUCKET_H
#define KV_TEST_BUCKET_H

#include "support/fixture.h"

static struct fixture *f;
static struct kv_pid bucket;

static inline void set_up(void)
{
    f = bucket_fixture(&bucket);
}

static inline void tear_down(void)
{
    fixture_free(f);
}

static inline struct kv_bytes ask(const char *name, struct kv_bytes one, struct kv_bytes two,
                                  struct kv_bytes three)
{
    return call(f, &bucket, term_tuple(term_atom(name), one, two, three));
}

static inline struct kv_bytes pair(struct kv_bytes one, struct kv_bytes two)
{
    return term_tuple(one, two, NONE, NONE);
}

static inline struct kv_bytes get(const char *key)
{
    return ask("get", term_atom(key), NONE, NONE);
}

static inline void put(const char *key, int64_t value, int64_t ttl)
{
    (void)ask("put", term_atom(key), term_integer(value), ttl > 0 ? term_integer(ttl) : NONE);
}

static inline void pass(uint64_t ms)
{
    kv_arena_set_time(f->arena, kv_arena_time(f->arena) + ms);
}

static inline void open_bucket(struct kv_bytes one, struct kv_bytes two)
{
    bucket =
        feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), term_list(one, two, NONE));
    bucket.node = kv_bytes_text(FIXTURE_NODE);
}

#endif
