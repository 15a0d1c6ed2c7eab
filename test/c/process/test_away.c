/* The VM that holds the node, while it is away: monitors that are kept, others that are not, and
 * the two ways it comes back. The VM is b@host; a@host is another node, which asks meanwhile. */
#include "support/probe.h"

#include "kv/kv.h"

#include <criterion/criterion.h>

static struct fixture *f;
static struct kv_pid owner; /* on the VM */

static void set_up(void)
{
    f = fixture_with_vm("b@host");
    kv_offer(f->runtime, &probe_behaviour, NULL);
    cr_assert_eq(kv_services_start(f->runtime, &f->store), KV_OK);
    owner = pid_b(5);
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(away, .init = set_up, .fini = tear_down, .timeout = 20);

static void lose_vm(void)
{
    kv_runtime_peer_down(f->runtime, f->b);
    f->b = NULL;
}

static void vm_connects(uint32_t creation)
{
    static char name[] = "b@host";
    f->b = kv_runtime_peer_up(f->runtime, kv_bytes_text(name), creation, name);
    kv_runtime_peer_ready(f->b);
}

/* Returns true while some node is away. */
static bool is_away(const struct kv_runtime *runtime)
{
    return kv_runtime_absences(runtime).count > 0;
}

/* The node that left first has been away for too long. */
static void expire(struct kv_runtime *runtime)
{
    struct kv_bytes name;
    kv_runtime_absence_expired(runtime, kv_runtime_next_absence(runtime, 0, &name));
}

/* A probe whose owner is a process of the VM. */
static struct kv_pid spawn_owned(void)
{
    struct kv_pid probe = spawn_probe(f);
    do_with_pid(f, &probe, "own", &owner);
    return probe;
}

static void kill_process(const struct kv_pid *pid)
{
    struct kv_pid killer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, pid, term_atom("kill"));
}

static void expect_state(const struct kv_pid *probe, int64_t downs, const char *reason)
{
    assert_term(system_call(f, probe, term_atom("get_state")), expected_state(downs, reason, 0, 0));
}

static struct kv_bytes backs(const struct kv_pid *probe)
{
    return call(f, probe, term_tuple(term_atom("backs"), term_atom("x"), NONE, NONE));
}

static size_t sent_to_vm(void)
{
    size_t count = 0;
    for (size_t i = 0; i < f->sent_count; i++) {
        count += strcmp(f->sent[i].to, "b@host") == 0;
    }
    return count;
}

/* The VM's answer to the last monitor that it got. */
static void feed_down(const struct kv_pid *process, const struct kv_ref *ref, const char *reason)
{
    struct kv_signal down = {.kind = KV_SIGNAL_DOWN,
                             .from = owner,
                             .to = *process,
                             .ref = *ref,
                             .payload = {term_atom(reason)},
                             .payload_parts = 1};
    feed(f, f->b, &down);
}

/* ---- what is kept ------------------------------------------------------------------------------
 */

Test(away, the_monitor_on_an_owner_is_kept_and_sent_anew_with_the_same_reference)
{
    struct kv_pid probe = spawn_owned();
    struct kv_ref ref = sent_of(f, KV_SIGNAL_MONITOR, 0)->signal.ref;
    lose_vm();
    expect_state(&probe, 0, "");
    cr_assert(is_away(f->runtime));
    vm_connects(8);
    cr_assert_not(is_away(f->runtime));
    expect_state(&probe, 0, "");
    cr_assert_eq(count_of(f, KV_SIGNAL_MONITOR), 2);
    const struct sent *again = sent_of(f, KV_SIGNAL_MONITOR, 1);
    cr_assert_str_eq(again->to, "b@host");
    cr_assert(kv_pid_equal(&again->signal.to, &owner));
    cr_assert_eq(again->signal.ref.words[0], ref.words[0]);
    cr_assert_eq(count_of(f, KV_SIGNAL_DOWN), 0);
}

Test(away, a_monitor_on_a_process_that_is_no_owner_fires)
{
    struct kv_pid probe = spawn_probe(f);
    do_with_pid(f, &probe, "monitor", &owner);
    lose_vm();
    expect_state(&probe, 1, "noconnection");
    vm_connects(8);
    cr_assert_eq(count_of(f, KV_SIGNAL_MONITOR), 1);
}

Test(away, a_link_breaks)
{
    struct kv_pid probe = spawn_owned();
    feed_link(f, f->b, &owner, &probe);
    lose_vm();
    cr_assert_not(kv_is_alive(f->runtime, &probe));
    vm_connects(8);
    cr_assert_eq(count_of(f, KV_SIGNAL_MONITOR), 1);
}

Test(away, the_monitors_of_the_vm_are_forgotten)
{
    struct kv_pid probe = spawn_owned();
    struct kv_ref ref = ref_b(1);
    feed_monitor(f, f->b, &owner, &probe, &ref);
    lose_vm();
    vm_connects(8);
    kill_process(&probe);
    cr_assert_eq(count_of(f, KV_SIGNAL_DOWN), 0);
    feed_monitor(f, f->b, &owner, &probe, &ref); /* the reference is free again */
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("noproc"));
}

Test(away, an_owner_on_another_node_is_lost_with_its_connection)
{
    struct kv_pid probe = spawn_probe(f);
    struct kv_pid other = pid_a(5);
    do_with_pid(f, &probe, "own", &other);
    kv_runtime_peer_down(f->runtime, f->a);
    cr_assert_not(is_away(f->runtime));
    static char name[] = "a@host";
    f->a = kv_runtime_peer_up(f->runtime, kv_bytes_text(name), 7, name);
    kv_runtime_peer_ready(f->a);
    expect_state(&probe, 1, "noconnection");
}

Test(away, without_a_vm_nothing_is_kept)
{
    fixture_free(f);
    f = fixture_new();
    kv_offer(f->runtime, &probe_behaviour, NULL);
    struct kv_pid probe = spawn_owned();
    lose_vm();
    cr_assert_not(is_away(f->runtime));
    expect_state(&probe, 1, "noconnection");
}

/* ---- while it is away --------------------------------------------------------------------------
 */

Test(away, nothing_is_sent_to_the_vm)
{
    struct kv_pid one = spawn_owned();
    struct kv_pid two = spawn_owned();
    forget(f);
    lose_vm();
    do_with_pid(f, &one, "demonitor", &owner);
    do_with_pid(f, &two, "link", &owner); /* as with any node that is not connected: it ends */
    cr_assert_not(kv_is_alive(f->runtime, &two));
    cr_assert_eq(sent_to_vm(), 0);
}

Test(away, a_monitor_that_is_taken_back_is_not_sent_anew)
{
    struct kv_pid probe = spawn_owned();
    lose_vm();
    do_with_pid(f, &probe, "demonitor", &owner);
    forget(f);
    vm_connects(8);
    cr_assert_eq(sent_to_vm(), 0);
}

Test(away, a_process_that_is_killed_takes_its_monitor_along)
{
    struct kv_pid one = spawn_owned();
    struct kv_pid two = spawn_owned();
    lose_vm();
    kill_process(&one);
    forget(f);
    vm_connects(8);
    cr_assert_eq(count_of(f, KV_SIGNAL_MONITOR), 1);
    cr_assert(kv_pid_equal(&sent_of(f, KV_SIGNAL_MONITOR, 0)->signal.from, &two));
}

Test(away, a_process_still_shows_whom_it_monitors)
{
    struct kv_pid probe = spawn_owned();
    lose_vm();
    const struct kv_process *process = kv_process_at(f->runtime, &probe);
    cr_assert_eq(kv_process_related(process, KV_RELATION_MONITOR), 1);
}

Test(away, a_new_owner_of_the_run_that_is_away_is_kept_as_well)
{
    lose_vm();
    struct kv_pid probe = spawn_owned();
    expect_state(&probe, 0, "");
    forget(f);
    vm_connects(8);
    const struct sent *monitor = sent_of(f, KV_SIGNAL_MONITOR, 0);
    cr_assert(kv_pid_equal(&monitor->signal.to, &owner));
    feed_down(&probe, &monitor->signal.ref, "noproc");
    expect_state(&probe, 1, "noproc");
}

Test(away, a_new_owner_of_another_run_is_lost_at_once)
{
    lose_vm();
    owner.creation = 9;
    struct kv_pid probe = spawn_owned();
    expect_state(&probe, 1, "noconnection");
}

Test(away, a_new_owner_of_a_vm_that_was_never_there_is_lost_at_once)
{
    fixture_free(f);
    f = fixture_with_vm("c@host");
    kv_offer(f->runtime, &probe_behaviour, NULL);
    owner.node = kv_bytes_text("c@host");
    struct kv_pid probe = spawn_owned();
    expect_state(&probe, 1, "noconnection");
}

Test(away, a_runtime_may_end)
{
    (void)spawn_owned();
    (void)spawn_owned();
    lose_vm(); /* the fixture fails if memory is left behind */
}

/* ---- back --------------------------------------------------------------------------------------
 */

Test(away, a_connection_that_takes_the_place_of_another_changes_nothing_either)
{
    struct kv_pid probe = spawn_owned();
    for (int i = 0; i < 100; i++) {
        lose_vm();
        vm_connects(8);
    }
    cr_assert_eq(count_of(f, KV_SIGNAL_MONITOR), 101);
    expect_state(&probe, 0, "");
}

Test(away, an_owner_that_ended_meanwhile_ends_its_process)
{
    struct kv_pid bucket = feed_spawn(
        f, f->b, "kv_bucket", term_list(NONE, NONE, NONE),
        term_list(term_tuple(term_atom("owner"), term_pid(&owner), NONE, NONE), NONE, NONE));
    bucket.node = kv_bytes_text(FIXTURE_NODE);
    lose_vm();
    cr_assert(kv_is_alive(f->runtime, &bucket));
    forget(f);
    vm_connects(8);
    feed_down(&bucket, &sent_of(f, KV_SIGNAL_MONITOR, 0)->signal.ref, "noproc");
    cr_assert_not(kv_is_alive(f->runtime, &bucket));
}

Test(away, only_the_new_connection_can_say_that_an_owner_ended)
{
    struct kv_pid probe = spawn_owned();
    struct kv_ref ref = sent_of(f, KV_SIGNAL_MONITOR, 0)->signal.ref;
    ref.node = kv_bytes_text(FIXTURE_NODE);
    lose_vm();
    struct kv_signal down = {.kind = KV_SIGNAL_DOWN,
                             .from = pid_a(5),
                             .to = probe,
                             .ref = ref,
                             .payload = {term_atom("boom")},
                             .payload_parts = 1};
    feed(f, f->a, &down);
    expect_state(&probe, 0, "");
}

Test(away, another_run_of_the_vm_owns_nothing)
{
    struct kv_pid probe = spawn_owned();
    lose_vm();
    forget(f);
    vm_connects(9);
    cr_assert_eq(count_of(f, KV_SIGNAL_MONITOR), 0);
    expect_state(&probe, 1, "noconnection");
    cr_assert_not(is_away(f->runtime));
}

Test(away, another_run_hears_of_the_processes_that_end_for_it)
{
    struct kv_pid bucket = feed_spawn(
        f, f->b, "kv_bucket", term_list(NONE, NONE, NONE),
        term_list(term_tuple(term_atom("owner"), term_pid(&owner), NONE, NONE), NONE, NONE));
    bucket.node = kv_bytes_text(FIXTURE_NODE);
    struct kv_pid watcher = pid_a(6);
    struct kv_ref ref = ref_a(6);
    feed_monitor(f, f->a, &watcher, &bucket, &ref);
    lose_vm();
    cr_assert_eq(count_of(f, KV_SIGNAL_DOWN), 0);
    vm_connects(9);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("noconnection"));
}

Test(away, a_vm_that_does_not_come_back_owns_nothing)
{
    struct kv_pid one = spawn_owned();
    struct kv_pid two = spawn_owned();
    lose_vm();
    expire(f->runtime);
    expect_state(&one, 1, "noconnection");
    expect_state(&two, 1, "noconnection");
    cr_assert_not(is_away(f->runtime));
    struct kv_pid late = spawn_owned();
    expect_state(&late, 1, "noconnection");
    forget(f);
    vm_connects(8);
    cr_assert_eq(count_of(f, KV_SIGNAL_MONITOR), 0);
}

Test(away, a_vm_may_come_and_go_again)
{
    lose_vm();
    expire(f->runtime);
    vm_connects(9);
    owner.creation = 9;
    struct kv_pid probe = spawn_owned();
    lose_vm();
    forget(f);
    vm_connects(9);
    cr_assert_eq(count_of(f, KV_SIGNAL_MONITOR), 1);
    expect_state(&probe, 0, "");
}

Test(away, a_process_is_told_once_for_each_monitor_after_all_were_sent)
{
    struct kv_pid one = spawn_owned();
    struct kv_pid two = spawn_owned();
    lose_vm();
    vm_connects(8);
    assert_term(backs(&one), term_integer(1));
    assert_term(backs(&two), term_integer(1));
    lose_vm();
    vm_connects(9);
    assert_term(backs(&one), term_integer(1));
}

/* ---- a registry --------------------------------------------------------------------------------
 */

static struct kv_bytes create_bucket(const struct kv_pid *registry, const char *name)
{
    return term_tuple(term_atom("create_bucket"), term_pid(registry), term_binary(name), NONE);
}

static struct kv_pid start_registry(void)
{
    struct kv_pid registry = feed_spawn(
        f, f->a, "kv_registry", term_list(NONE, NONE, NONE),
        term_list(term_tuple(term_atom("creator"), term_pid(&owner), NONE, NONE), NONE, NONE));
    registry.node = kv_bytes_text(FIXTURE_NODE);
    return registry;
}

static void create(const struct kv_pid *registry, const char *name)
{
    cast(f, registry, term_tuple(term_atom("create"), term_binary(name), NONE, NONE));
}

Test(away, a_registry_asks_again_for_buckets_that_are_not_made_yet)
{
    struct kv_pid registry = start_registry();
    create(&registry, "asked");
    create(&registry, "made");
    struct kv_pid bucket = spawn_probe(f);
    (void)call(
        f, &registry,
        term_tuple(term_atom("bucket_created"), term_binary("made"), term_pid(&bucket), NONE));
    lose_vm();
    create(&registry, "never sent");
    forget(f);
    vm_connects(8);
    cr_assert_eq(f->sent[0].signal.kind, KV_SIGNAL_MONITOR);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 2);
    assert_term(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)), create_bucket(&registry, "asked"));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 1)),
                create_bucket(&registry, "never sent"));
}

Test(away, a_registry_that_asks_again_repeats_the_options_of_the_bucket)
{
    struct kv_pid registry = start_registry();
    struct kv_bytes options =
        term_list(term_tuple(term_atom("max_memory"), term_integer(4096), NONE, NONE), NONE, NONE);
    lose_vm();
    cast(f, &registry, term_tuple(term_atom("create"), term_binary("asked"), options, NONE));
    forget(f);
    vm_connects(8);
    assert_term(
        payload_of(sent_of(f, KV_SIGNAL_MESSAGE, 0)),
        term_tuple(term_atom("create_bucket"), term_pid(&registry), term_binary("asked"), options));
}

Test(away, a_registry_asks_no_creator_elsewhere_when_its_owner_is_back)
{
    struct kv_pid creator = pid_a(50);
    struct kv_pid registry =
        feed_spawn(f, f->a, "kv_registry", term_list(NONE, NONE, NONE),
                   term_list(term_tuple(term_atom("creator"), term_pid(&creator), NONE, NONE),
                             term_tuple(term_atom("owner"), term_pid(&owner), NONE, NONE), NONE));
    registry.node = kv_bytes_text(FIXTURE_NODE);
    create(&registry, "asked");
    lose_vm();
    forget(f);
    vm_connects(8);
    cr_assert_eq(count_of(f, KV_SIGNAL_MONITOR), 1);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE), 0);
}

Test(away, when_another_run_is_back_unfinished_creations_have_failed)
{
    struct kv_pid registry = start_registry();
    create(&registry, "asked");
    lose_vm();
    vm_connects(9);
    assert_term(
        call(f, &registry, term_tuple(term_atom("lookup"), term_binary("asked"), NONE, NONE)),
        term_atom("error"));
}

/* ---- one process an owner ----------------------------------------------------------------------
 */

static struct kv_bytes pair(const char *name, struct kv_bytes term)
{
    return term_tuple(term_atom(name), term, NONE, NONE);
}

static struct kv_pid start_named(const char *module, const char *only)
{
    struct kv_pid pid =
        feed_spawn(f, f->a, module, term_list(NONE, NONE, NONE),
                   term_list(pair("owner", term_pid(&owner)), pair("only", term_atom(only)),
                             pair("name", term_atom(module))));
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

Test(away, a_repeated_start_replaces_the_process_of_the_first_one)
{
    static const char *const modules[] = {"kv_bucket", "kv_registry"};
    for (size_t i = 0; i < 2; i++) {
        struct kv_pid first = start_named(modules[i], "true");
        struct kv_pid watcher = pid_a(6);
        struct kv_ref ref = ref_a(6);
        feed_monitor(f, f->a, &watcher, &first, &ref);
        forget(f);
        struct kv_pid second = start_named(modules[i], "true");
        cr_assert_not(kv_is_alive(f->runtime, &first));
        cr_assert(kv_is_alive(f->runtime, &second));
        assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("replaced"));
        struct kv_pid found;
        cr_assert(kv_whereis(f->runtime, kv_bytes_text(modules[i]), &found));
        cr_assert(kv_pid_equal(&found, &second));
    }
}

Test(away, it_does_so_while_the_vm_is_away_too)
{
    struct kv_pid first = start_named("kv_bucket", "true");
    lose_vm();
    struct kv_pid second = start_named("kv_bucket", "true");
    cr_assert_not(kv_is_alive(f->runtime, &first));
    cr_assert(kv_is_alive(f->runtime, &second));
}

Test(away, a_start_that_does_not_say_so_replaces_nothing)
{
    struct kv_pid first = start_named("kv_bucket", "false");
    struct kv_pid second = start_named("kv_bucket", "false");
    cr_assert(kv_is_alive(f->runtime, &first));
    cr_assert_not(kv_is_alive(f->runtime, &second));
}

Test(away, those_of_other_owners_and_kinds_stay)
{
    struct kv_pid registry = start_named("kv_registry", "true");
    struct kv_pid bucket = start_named("kv_bucket", "true");
    struct kv_pid probe = spawn_owned();
    owner = pid_b(6);
    forget(f);
    (void)start_named("kv_bucket", "true");
    cr_assert(kv_is_alive(f->runtime, &registry));
    cr_assert(kv_is_alive(f->runtime, &bucket));
    cr_assert(kv_is_alive(f->runtime, &probe));
}

Test(away, several_are_replaced_at_once)
{
    struct kv_pid pids[3];
    for (size_t i = 0; i < 3; i++) {
        pids[i] = feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE),
                             term_list(pair("owner", term_pid(&owner)), NONE, NONE));
        pids[i].node = kv_bytes_text(FIXTURE_NODE);
    }
    (void)start_named("kv_bucket", "true");
    for (size_t i = 0; i < 3; i++) {
        cr_assert_not(kv_is_alive(f->runtime, &pids[i]));
    }
}
