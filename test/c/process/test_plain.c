/* A process that is no server, and the buffers of callbacks that run within another. */
#include "support/fixture.h"

#include <criterion/criterion.h>

static struct fixture *f;
static size_t infos;
static struct kv_buffer *outer_scratch;

static void set_up(void)
{
    f = fixture_new();
    infos = 0;
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(plain, .init = set_up, .fini = tear_down);

static int begin(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason)
{
    (void)self;
    (void)options;
    (void)reason;
    return KV_OK;
}

static void handle_info(struct kv_process *self, struct kv_bytes message)
{
    infos++;
    if (kv_term_is_atom(message, "stop")) {
        kv_process_exit_atom(self, "stopped");
    }
}

static const struct kv_behaviour plain = {
    .module = "plain", .state_size = 1, .plain = true, .init = begin, .handle_info = handle_info};

static struct kv_pid spawn_plain(void)
{
    kv_offer(f->runtime, &plain, NULL);
    struct kv_pid pid = feed_spawn(f, f->a, "plain", term_list(NONE, NONE, NONE), term_atom("ok"));
    pid.node = kv_bytes_text(FIXTURE_NODE);
    forget(f);
    return pid;
}

Test(plain, gets_calls_casts_and_system_messages_as_they_came)
{
    struct kv_pid pid = spawn_plain();
    cr_assert_eq(call(f, &pid, term_atom("hello")).length, 0);
    cr_assert_eq(system_call(f, &pid, term_atom("suspend")).length, 0);
    cast(f, &pid, term_atom("hello"));
    feed_message(f, f->a, &pid, term_atom("hello"));
    cr_assert_eq(infos, 4);
    cr_assert_eq(f->sent_count, 0);
}

Test(plain, is_linked_monitored_and_ended_as_others_are)
{
    struct kv_pid pid = spawn_plain();
    struct kv_pid watcher = pid_a(1);
    struct kv_ref ref = ref_a(1);
    feed_link(f, f->a, &watcher, &pid);
    feed_monitor(f, f->a, &watcher, &pid, &ref);
    feed_message(f, f->a, &pid, term_atom("stop"));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_EXIT_LINK, 0)), term_atom("stopped"));
    assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, 0)), term_atom("stopped"));
}

/* ---- contexts -------------------------------------------------------------------------------- */

static void *seen;

static int look(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason)
{
    (void)options;
    (void)reason;
    seen = kv_process_context(self);
    return KV_OK;
}

static const struct kv_behaviour looking = {
    .module = "looking", .state_size = 1, .init = look, .handle_call = kv_reply_bad_request};

static void spawn_looking(void)
{
    struct kv_pid pid;
    struct kv_buffer reason = KV_BUFFER_INIT;
    cr_assert_eq(kv_spawn(f->runtime, &looking, term_atom("ok"), &pid, &reason), KV_OK);
}

Test(plain, a_process_has_the_context_of_its_behaviour)
{
    int context = 0;
    spawn_looking();
    cr_assert_null(seen);
    kv_add_behaviour(f->runtime, &looking, &context);
    spawn_looking();
    cr_assert_eq(seen, &context);
}

Test(plain, peers_may_spawn_offered_behaviours_and_not_added_ones)
{
    kv_add_behaviour(f->runtime, &looking, NULL);
    cr_assert_eq(feed_spawn(f, f->a, "looking", term_list(NONE, NONE, NONE), term_atom("ok")).id,
                 0);
    kv_offer(f->runtime, &looking, f);
    cr_assert_neq(feed_spawn(f, f->a, "looking", term_list(NONE, NONE, NONE), term_atom("ok")).id,
                  0);
    cr_assert_eq(seen, f);
}

/* ---- buffers --------------------------------------------------------------------------------- */

static int inner_init(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason)
{
    struct kv_buffer *scratch = kv_process_scratch(self);
    (void)reason;
    cr_assert_neq(scratch, outer_scratch);
    kv_write_binary_text(scratch, "something else, which is longer");
    assert_term(options, term_atom("kept"));
    return KV_OK;
}

static const struct kv_behaviour inner = {
    .module = "inner", .state_size = 1, .init = inner_init, .handle_call = kv_reply_bad_request};

static void outer_call(struct kv_process *self, const struct kv_from *from, struct kv_bytes request)
{
    struct kv_pid pid;
    struct kv_buffer reason = KV_BUFFER_INIT;
    outer_scratch = kv_process_scratch(self);
    kv_write_term(outer_scratch, request);
    kv_reply_atom(self, from, "at_once");
    cr_assert_eq(
        kv_spawn(kv_process_runtime(self), &inner, kv_buffer_bytes(outer_scratch), &pid, &reason),
        KV_OK);
    assert_term(kv_buffer_bytes(outer_scratch), term_atom("kept"));
    kv_reply(self, from, kv_buffer_bytes(outer_scratch));
}

static const struct kv_behaviour outer = {
    .module = "outer", .state_size = 1, .init = begin, .handle_call = outer_call};

Test(plain, a_callback_within_another_has_a_buffer_of_its_own)
{
    struct kv_pid pid;
    struct kv_buffer reason = KV_BUFFER_INIT;
    cr_assert_eq(kv_spawn(f->runtime, &outer, term_atom("ok"), &pid, &reason), KV_OK);
    assert_term(call(f, &pid, term_atom("kept")), term_atom("at_once"));
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), 2);
}

static void answer_info(struct kv_process *self, struct kv_bytes message)
{
    struct kv_from from;
    struct kv_bytes term = NONE;
    struct kv_reader reader = kv_reader(message);
    cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "$gen_call"), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &term), KV_OK);
    cr_assert_eq(kv_from_read(term, &from), KV_OK);
    kv_reply_atom(self, &from, "by_hand");
}

static const struct kv_behaviour answering = {.module = "answering",
                                              .state_size = 1,
                                              .plain = true,
                                              .init = begin,
                                              .handle_info = answer_info};

Test(plain, may_answer_a_call_that_it_takes_apart_itself)
{
    struct kv_pid pid;
    struct kv_buffer reason = KV_BUFFER_INIT;
    cr_assert_eq(kv_spawn(f->runtime, &answering, term_atom("ok"), &pid, &reason), KV_OK);
    assert_term(call(f, &pid, term_atom("hello")), term_atom("by_hand"));
}
