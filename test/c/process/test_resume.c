/* Messages that waited while a process was suspended are handled in turns, in the order of arrival.
 */
#include "support/probe.h"

#include "kv/kv.h"
#include "store/layout.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct fixture *f;
static struct kv_pid probe;

static void set_up(void)
{
    f = probe_fixture();
    cr_assert_eq(kv_services_start(f->runtime, &f->store), KV_OK);
    probe = spawn_probe(f);
    f->stepwise = true;
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(resume, .init = set_up, .fini = tear_down, .timeout = 20);

/* A call, or a system message, of b@host; its answer goes to the alias `n`. */
static void ask(const char *kind, uint32_t n, struct kv_bytes request)
{
    struct kv_pid caller = pid_b(1);
    struct kv_ref alias = ref_b(n);
    struct kv_bytes from = term_from(&caller, &alias);
    feed_message(f, f->b, &probe, term_tuple(term_atom(kind), from, request, NONE));
}

static void send_calls(uint32_t first, uint32_t count)
{
    for (uint32_t n = first; n < first + count; n++) {
        ask("$gen_call", n, term_atom("what"));
    }
}

static void to_sys(uint32_t n, const char *request)
{
    ask("system", n, term_atom(request));
}

static void step_to_the_end(void)
{
    while (kv_runtime_step(f->runtime)) {
    }
}

/* The aliases that answers went to, in order: "1 2 3 ". */
static const char *answered(void)
{
    static char text[256];
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count_of(f, KV_SIGNAL_MESSAGE_ALIAS); i++) {
        const struct sent *sent = sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, i);
        length +=
            (size_t)snprintf(text + length, sizeof text - length, "%u ", sent->signal.ref.words[0]);
    }
    return text;
}

static size_t queue_of(const struct kv_pid *pid)
{
    struct kv_process_info info;
    kv_process_inspect(kv_process_at(f->runtime, pid), &info);
    return info.queue;
}

Test(resume, is_answered_before_anything_that_waited_is_handled)
{
    to_sys(1, "suspend");
    send_calls(2, 3);
    to_sys(5, "resume");
    cr_assert_str_eq(answered(), "1 5 ");
    step_to_the_end();
    cr_assert_str_eq(answered(), "1 5 2 3 4 ");
    cr_assert_eq(queue_of(&probe), 0);
}

Test(resume, handles_a_bounded_number_of_messages_a_turn)
{
    enum { CALLS = 2 * KV_RESUME_MESSAGES + 10 };
    to_sys(1, "suspend");
    send_calls(2, CALLS);
    to_sys(1, "resume");
    forget(f);
    cr_assert(kv_runtime_step(f->runtime));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), KV_RESUME_MESSAGES);
    cr_assert(kv_runtime_step(f->runtime));
    cr_assert_not(kv_runtime_step(f->runtime));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), CALLS);
}

Test(resume, handles_a_bounded_number_of_bytes_a_turn)
{
    static uint8_t zeros[KV_RESUME_BYTES / 2];
    struct kv_buffer large = KV_BUFFER_INIT;
    kv_write_binary(&large, kv_bytes(zeros, sizeof zeros));
    to_sys(1, "suspend");
    for (int i = 0; i < 5; i++) {
        feed_message(f, f->b, &probe, kv_buffer_bytes(&large));
    }
    kv_buffer_free(&large);
    to_sys(1, "resume");
    cr_assert(kv_runtime_step(f->runtime));
    cr_assert_eq(queue_of(&probe), 3);
    cr_assert(kv_runtime_step(f->runtime));
    cr_assert_eq(queue_of(&probe), 1);
    step_to_the_end();
    cr_assert_eq(queue_of(&probe), 0);
}

Test(resume, leaves_messages_that_come_meanwhile_behind_those_that_waited)
{
    to_sys(1, "suspend");
    send_calls(2, 2);
    to_sys(4, "resume");
    send_calls(5, 1);
    to_sys(6, "get_state");
    send_calls(7, 1);
    step_to_the_end();
    cr_assert_str_eq(answered(), "1 4 2 3 5 6 7 ");
    send_calls(8, 1);
    cr_assert_str_eq(answered(), "1 4 2 3 5 6 7 8 ", "at once, as nothing waits any more");
}

Test(resume, is_followed_by_a_suspend_that_holds_what_is_behind_it)
{
    to_sys(1, "suspend");
    send_calls(2, 1);
    to_sys(3, "resume");
    to_sys(4, "suspend");
    send_calls(5, 1);
    to_sys(6, "get_state");
    step_to_the_end();
    cr_assert_str_eq(answered(), "1 3 2 4 6 ", "sys is answered past the call that waits");
    to_sys(7, "get_state");
    to_sys(8, "resume");
    step_to_the_end();
    cr_assert_str_eq(answered(), "1 3 2 4 6 7 8 5 ");
}

Test(resume, is_undone_by_a_suspend_that_comes_between_two_turns)
{
    enum { CALLS = KV_RESUME_MESSAGES + 5 };
    to_sys(1, "suspend");
    send_calls(2, CALLS);
    to_sys(1, "resume");
    cr_assert(kv_runtime_step(f->runtime));
    to_sys(1, "suspend");
    step_to_the_end();
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), 3 + CALLS, "it came behind all calls");
    send_calls(900, 1);
    step_to_the_end();
    cr_assert_eq(queue_of(&probe), 1);
}

Test(resume, lets_calls_of_a_node_wait_that_has_much_to_read)
{
    to_sys(1, "suspend");
    send_calls(2, 3);
    to_sys(5, "resume");
    f->full = f->b;
    cr_assert_not(kv_runtime_step(f->runtime), "the loop is not to turn for it");
    cr_assert_str_eq(answered(), "1 5 ");
    f->full = NULL;
    step_to_the_end();
    cr_assert_str_eq(answered(), "1 5 2 3 4 ");
}

Test(resume, goes_on_when_the_node_that_had_much_to_read_is_lost)
{
    to_sys(1, "suspend");
    send_calls(2, 3);
    cast(f, &probe, term_atom("behind_them"));
    to_sys(5, "resume");
    f->full = f->b;
    cr_assert_not(kv_runtime_step(f->runtime));
    kv_runtime_peer_down(f->runtime, f->b);
    f->full = NULL;
    step_to_the_end();
    cr_assert_eq(queue_of(&probe), 0);
}

Test(resume, is_cut_short_by_the_end_of_the_process)
{
    struct kv_pid killer = pid_b(9);
    to_sys(1, "suspend");
    send_calls(2, KV_RESUME_MESSAGES + 5);
    to_sys(1, "resume");
    cr_assert(kv_runtime_step(f->runtime));
    feed_exit(f, f->b, KV_SIGNAL_EXIT, &killer, &probe, term_atom("kill"));
    cr_assert_not(kv_is_alive(f->runtime, &probe));
    cr_assert_not(kv_runtime_step(f->runtime));
}

Test(resume, ends_with_a_message_that_ends_the_process)
{
    to_sys(1, "suspend");
    ask("$gen_call", 2, term_tuple(term_atom("exit"), term_atom("done"), NONE, NONE));
    send_calls(3, 1);
    to_sys(4, "resume");
    to_sys(5, "get_state");
    step_to_the_end();
    cr_assert_str_eq(answered(), "1 4 2 ");
    cr_assert_not(kv_is_alive(f->runtime, &probe));
}

Test(resume, handles_a_terminate_that_waited)
{
    to_sys(1, "suspend");
    send_calls(2, 1);
    to_sys(3, "resume");
    ask("system", 4, term_tuple(term_atom("terminate"), term_atom("bye"), NONE, NONE));
    send_calls(5, 1);
    step_to_the_end();
    cr_assert_str_eq(answered(), "1 3 2 4 ");
    cr_assert_not(kv_is_alive(f->runtime, &probe));
}

Test(resume, leaves_no_process_behind_the_end_of_the_node)
{
    to_sys(1, "suspend");
    send_calls(2, 3);
    to_sys(1, "resume");
    to_sys(1, "get_state");
}

static size_t held_tables(void)
{
    const struct kv_arena_header *header = (const void *)f->memory.base;
    const struct kv_table_slot *slots = (const void *)(f->memory.base + header->slot_blocks[0]);
    size_t held = 0;
    for (size_t i = 0; i < 8; i++) {
        held += slots[i].flags == KV_SLOT_ASK_OWNER ? 1 : 0;
    }
    return held;
}

Test(resume, keeps_readers_of_the_memory_away_until_all_that_waited_is_done)
{
    struct kv_pid bucket =
        feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), term_list(NONE, NONE, NONE));
    struct kv_bytes entry = term_tuple(term_atom("k"), term_integer(1), NONE, NONE);
    struct kv_bytes put_many =
        term_tuple(term_atom("put_many"), term_list(entry, NONE, NONE), NONE, NONE);
    bucket.node = kv_bytes_text(FIXTURE_NODE);
    (void)system_call(f, &bucket, term_atom("suspend"));
    (void)call(f, &bucket, put_many);
    for (int i = 0; i < KV_RESUME_MESSAGES; i++) {
        (void)call(f, &bucket, term_atom("size"));
    }
    (void)system_call(f, &bucket, term_atom("resume"));
    cr_assert_eq(held_tables(), 1);
    cr_assert(kv_runtime_step(f->runtime));
    cr_assert_eq(held_tables(), 1, "put_many holds it, too, and leaves it held");
    step_to_the_end();
    cr_assert_eq(held_tables(), 0);
}

/* ---- a reason for many ----------------------------------------------------------------------- */

static struct kv_bytes large_reason(size_t size)
{
    static uint8_t zeros[4096];
    static struct kv_buffer reason;
    kv_buffer_clear(&reason);
    if (reason.capacity == 0) {
        reason.data = malloc(2 * sizeof zeros); /* the runtime does not own it */
        reason.capacity = 2 * sizeof zeros;
    }
    kv_write_binary(&reason, kv_bytes(zeros, size));
    return kv_buffer_bytes(&reason);
}

static const uint8_t *places[8];
static size_t place_count;

static void note_place(const struct kv_signal *signal)
{
    if (signal->kind == KV_SIGNAL_DOWN || signal->kind == KV_SIGNAL_EXIT_LINK) {
        cr_assert_not_null(signal->pinned);
        cr_assert(signal->pinned->shared);
        places[place_count++] = signal->pinned->bytes.data;
    }
}

Test(shared, a_large_exit_reason_reaches_every_watcher_as_one_copy, .init = set_up,
     .fini = tear_down)
{
    struct kv_pid killer = pid_b(9);
    struct kv_pid linked = pid_b(1);
    feed_link(f, f->b, &linked, &probe);
    for (uint32_t n = 1; n < 4; n++) {
        struct kv_pid watcher = n < 3 ? pid_a(n) : pid_b(n);
        struct kv_ref ref = n < 3 ? ref_a(n) : ref_b(n);
        feed_monitor(f, n < 3 ? f->a : f->b, &watcher, &probe, &ref);
    }
    f->look = note_place;
    feed_exit(f, f->b, KV_SIGNAL_EXIT, &killer, &probe, large_reason(4096));
    cr_assert_eq(place_count, 4);
    for (size_t i = 1; i < place_count; i++) {
        cr_assert_eq(places[i], places[0]);
    }
}

Test(shared, a_process_of_this_node_hears_a_large_reason_whole, .init = set_up, .fini = tear_down)
{
    struct kv_pid killer = pid_b(9);
    struct kv_pid second = spawn_probe(f);
    struct kv_pid watcher = pid_a(1);
    struct kv_ref ref = ref_a(1);
    do_with_pid(f, &second, "link", &probe);
    feed_monitor(f, f->a, &watcher, &second, &ref);
    feed_exit(f, f->b, KV_SIGNAL_EXIT, &killer, &probe, large_reason(4096));
    cr_assert_not(kv_is_alive(f->runtime, &second));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), large_reason(4096));
}
