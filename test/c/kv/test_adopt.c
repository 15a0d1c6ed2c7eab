/* Buckets and registries that belong to the node: they have a starter, and no owner. */
#include "support/fixture.h"

#include "kv/kv.h"

#include <criterion/criterion.h>

static struct fixture *f;
static struct kv_pid starter;

static void set_up(void)
{
    f = fixture_new();
    cr_assert_eq(kv_services_start(f->runtime, &f->store), KV_OK);
    starter = pid_a(5);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(adopt, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_bytes pair(const char *key, struct kv_bytes value)
{
    return term_tuple(term_atom(key), value, NONE, NONE);
}

/* Starts a process under a name, from peer b, and forgets what was sent before. `whose` is owner or
 * starter. */
static struct kv_pid start(const char *module, const char *whose, const char *name)
{
    forget(f);
    struct kv_pid pid =
        feed_spawn(f, f->b, module, term_list(NONE, NONE, NONE),
                   term_list(pair(whose, term_pid(&starter)), pair("name", term_atom(name)),
                             pair("generation", term_integer(3))));
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

/* The acknowledgement that the starter got last. */
static struct kv_bytes last_ack(void)
{
    return payload_of(sent_of(f, KV_SIGNAL_MESSAGE, count_of(f, KV_SIGNAL_MESSAGE) - 1));
}

static struct kv_bytes adopted(const struct kv_pid *self, const struct kv_pid *found)
{
    struct kv_bytes reason =
        term_tuple(term_atom("adopted"), term_pid(found), term_integer(3), NONE);
    return term_tuple(term_atom("ack"), term_pid(self),
                      term_tuple(term_atom("error"), reason, NONE, NONE), NONE);
}

static struct kv_bytes ok(const struct kv_pid *self)
{
    return term_tuple(term_atom("ack"), term_pid(self),
                      term_tuple(term_atom("ok"), term_pid(self), NONE, NONE), NONE);
}

static const char *const modules[] = {"kv_bucket", "kv_registry"};

Test(adopt, a_starter_is_told_and_not_monitored)
{
    for (size_t i = 0; i < 2; i++) {
        struct kv_pid pid = start(modules[i], "starter", modules[i]);
        assert_term(last_ack(), ok(&pid));
        cr_assert_eq(count_of(f, KV_SIGNAL_MONITOR), 0);
    }
    kv_runtime_peer_down(f->runtime, f->a);
    f->a = NULL;
    cr_assert_eq(f->store.buckets, 1);
    cr_assert_eq(f->store.registries, 1);
}

Test(adopt, the_next_start_of_the_name_finds_the_process_and_its_generation)
{
    for (size_t i = 0; i < 2; i++) {
        struct kv_pid first = start(modules[i], "starter", modules[i]);
        struct kv_pid second = start(modules[i], "starter", modules[i]);
        assert_term(last_ack(), adopted(&second, &first));
        cr_assert(kv_is_alive(f->runtime, &first));
        cr_assert_not(kv_is_alive(f->runtime, &second));
    }
}

Test(adopt, another_name_or_kind_is_not_found)
{
    (void)start("kv_bucket", "starter", "one");
    struct kv_pid other = start("kv_bucket", "starter", "two");
    assert_term(last_ack(), ok(&other));
    struct kv_pid registry = start("kv_registry", "starter", "one");
    cr_assert_not(kv_is_alive(f->runtime, &registry));
}

Test(adopt, what_has_an_owner_is_not_found_and_does_not_find)
{
    struct kv_pid owned = start("kv_bucket", "owner", "one");
    struct kv_pid refused = start("kv_bucket", "starter", "one");
    cr_assert(kv_is_alive(f->runtime, &owned));
    cr_assert_not(kv_is_alive(f->runtime, &refused));
    (void)start("kv_bucket", "starter", "two");
    struct kv_pid second = start("kv_bucket", "owner", "two");
    cr_assert_not(kv_is_alive(f->runtime, &second));
}

Test(adopt, a_process_that_has_ended_is_made_anew)
{
    for (size_t i = 0; i < 2; i++) {
        struct kv_pid first = start(modules[i], "starter", modules[i]);
        struct kv_pid killer = pid_a(1);
        feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &first, term_atom("kill"));
        struct kv_pid second = start(modules[i], "starter", modules[i]);
        assert_term(last_ack(), ok(&second));
        cr_assert(kv_is_alive(f->runtime, &second));
    }
}
