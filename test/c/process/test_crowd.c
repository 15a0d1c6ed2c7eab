/* Processes that send one another messages without end, or too many at once: they get turns, and
 * all else goes on. */
#include "support/probe.h"

#include <criterion/criterion.h>

enum { NUMBERS = 3 * KV_LOCAL_MESSAGES };

static struct fixture *f;
static struct kv_pid probe;
static size_t echoes;
static uint64_t next_number;

/* Sends each message to itself. */
static void echo_info(struct kv_process *self, struct kv_bytes message)
{
    struct kv_pid own = kv_process_pid(self);
    echoes++;
    kv_send(self, &own, message);
}

static const struct kv_behaviour echo = {
    .module = "echo", .state_size = 1, .init = kv_service_init, .handle_info = echo_info};

/* Gets the numbers from 0 on. */
static void counter_info(struct kv_process *self, struct kv_bytes message)
{
    uint64_t number = UINT64_MAX;
    struct kv_reader reader = kv_reader(message);
    (void)self;
    cr_assert_eq(kv_read_u64(&reader, &number), KV_OK);
    cr_assert_eq(number, next_number++);
}

static const struct kv_behaviour counter = {
    .module = "counter", .state_size = 1, .init = kv_service_init, .handle_info = counter_info};

/* Sends all numbers to the process named counter. */
static void source_info(struct kv_process *self, struct kv_bytes message)
{
    (void)message;
    for (int64_t i = 0; i < NUMBERS; i++) {
        kv_send_name(self, kv_bytes_text(FIXTURE_NODE), kv_bytes_text("counter"), term_integer(i));
    }
}

static const struct kv_behaviour source = {
    .module = "source", .state_size = 1, .init = kv_service_init, .handle_info = source_info};

static void set_up(void)
{
    f = probe_fixture();
    cr_assert_eq(kv_start_service(f->runtime, &echo, NULL), KV_OK);
    cr_assert_eq(kv_start_service(f->runtime, &counter, NULL), KV_OK);
    cr_assert_eq(kv_start_service(f->runtime, &source, NULL), KV_OK);
    probe = spawn_probe(f);
    f->stepwise = true;
    echoes = 0;
    next_number = 0;
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(crowd, .init = set_up, .fini = tear_down, .timeout = 20);

static void tell(const char *name, struct kv_bytes message)
{
    struct kv_pid pid;
    cr_assert(kv_whereis(f->runtime, kv_bytes_text(name), &pid));
    feed_message(f, f->b, &pid, message);
}

Test(crowd, a_message_that_goes_round_without_end_keeps_nobody_waiting)
{
    tell("echo", term_atom("again"));
    assert_term(call(f, &probe, term_tuple(term_atom("backs"), term_integer(0), NONE, NONE)),
                term_integer(0));
    cr_assert_eq(echoes, 1 + KV_LOCAL_MESSAGES);
}

Test(crowd, a_message_that_goes_round_gets_some_turns_in_each_step)
{
    tell("echo", term_atom("again"));
    echoes = 0;
    cr_assert(kv_runtime_step(f->runtime), "there is more to do");
    cr_assert_eq(echoes, KV_RESUME_MESSAGES);
    cr_assert(kv_runtime_step(f->runtime));
    cr_assert_eq(echoes, 2 * KV_RESUME_MESSAGES);
}

Test(crowd, a_large_message_that_goes_round_gets_fewer)
{
    static uint8_t zeros[KV_LOCAL_BYTES / 4];
    struct kv_buffer large = KV_BUFFER_INIT;
    kv_write_binary(&large, kv_bytes(zeros, sizeof zeros));
    tell("echo", kv_buffer_bytes(&large));
    kv_buffer_free(&large);
    cr_assert_eq(echoes, 1 + 4);
}

Test(crowd, messages_that_wait_keep_their_order_and_none_is_lost)
{
    tell("source", term_atom("go"));
    cr_assert_eq(next_number, KV_LOCAL_MESSAGES);
    cr_assert_gt(run_to_the_end(f), 1);
    cr_assert_eq(next_number, NUMBERS);
}

/* The source gets its message in a turn, so the counter begins to wait while turns are taken. */
Test(crowd, messages_that_begin_to_wait_in_a_step_are_handled_in_the_next)
{
    struct kv_pid pid;
    cr_assert(kv_whereis(f->runtime, kv_bytes_text("source"), &pid));
    feed_call(f, &pid, "system", 1, term_atom("suspend"));
    tell("source", term_atom("go"));
    feed_call(f, &pid, "system", 2, term_atom("resume"));
    cr_assert(kv_runtime_step(f->runtime));
    cr_assert_eq(next_number, KV_LOCAL_MESSAGES);
    cr_assert(kv_runtime_has_more(f->runtime));
    (void)run_to_the_end(f);
    cr_assert_eq(next_number, NUMBERS);
    cr_assert_not(kv_runtime_has_more(f->runtime));
}

Test(crowd, later_messages_queue_up_behind_those_that_wait)
{
    tell("source", term_atom("go"));
    tell("counter", term_integer(NUMBERS));
    (void)run_to_the_end(f);
    tell("counter", term_integer(NUMBERS + 1));
    cr_assert_eq(next_number, NUMBERS + 2, "the last one at once, as nothing waits any more");
}

Test(crowd, a_process_with_messages_that_wait_can_be_killed)
{
    struct kv_pid pid;
    struct kv_pid killer = pid_b(9);
    cr_assert(kv_whereis(f->runtime, kv_bytes_text("echo"), &pid));
    tell("echo", term_atom("again"));
    feed_exit(f, f->b, KV_SIGNAL_EXIT, &killer, &pid, term_atom("kill"));
    cr_assert_not(kv_runtime_step(f->runtime));
}
