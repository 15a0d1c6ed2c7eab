/* Signals that wait until a log says that their batch is durable. The log is a number here. */
#include "support/fixture.h"

#include <criterion/criterion.h>

static struct fixture *f;
static struct kv_process *process; /* the one that began last */
static uint64_t infos[64];         /* that processes of this node got */
static size_t info_count;

static int init(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason)
{
    (void)options;
    (void)reason;
    process = self;
    return KV_OK;
}

static void (*when_info)(uint64_t value);

static void handle_info(struct kv_process *self, struct kv_bytes message)
{
    uint64_t value = 0;
    struct kv_reader reader = kv_reader(message);
    (void)self;
    cr_assert_eq(kv_read_u64(&reader, &value), KV_OK);
    if (when_info != NULL) {
        when_info(value);
    } else {
        infos[info_count++] = value;
    }
}

static void handle_down(struct kv_process *self, uint64_t monitor, struct kv_bytes reason)
{
    (void)self;
    (void)monitor;
    cr_assert(kv_term_is_atom(reason, "noconnection"));
    infos[info_count++] = UINT64_MAX;
}

static const struct kv_behaviour sender = {
    .module = "sender",
    .state_size = 1,
    .init = init,
    .handle_call = kv_reply_bad_request,
    .handle_info = handle_info,
    .handle_down = handle_down,
};

static struct kv_process *begin(void)
{
    struct kv_pid pid;
    struct kv_buffer reason = KV_BUFFER_INIT;
    cr_assert_eq(kv_spawn(f->runtime, &sender, term_atom("ok"), &pid, &reason), KV_OK);
    return process;
}

static void set_up(void)
{
    f = fixture_new();
    info_count = 0;
    when_info = NULL;
    (void)begin();
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(hold, .init = set_up, .fini = tear_down, .timeout = 120);

static void send(struct kv_process *from, const struct kv_pid *to, int64_t value)
{
    kv_send(from, to, term_integer(value));
}

static void kill_process(struct kv_process *one, const char *reason)
{
    struct kv_pid pid = kv_process_pid(one);
    struct kv_pid from = pid_b(99);
    feed_exit(f, f->b, KV_SIGNAL_EXIT, &from, &pid, term_atom(reason));
}

static void assert_sent(size_t at, enum kv_signal_kind kind, struct kv_bytes payload)
{
    cr_assert_lt(at, f->sent_count);
    cr_assert_eq(f->sent[at].signal.kind, kind);
    if (payload.length > 0) {
        assert_term(payload_of(&f->sent[at]), payload);
    }
}

/* ---- one process ----------------------------------------------------------------------------- */

Test(hold, the_signals_of_a_process_wait_for_its_batch)
{
    struct kv_pid to = pid_a(1);
    send(process, &to, 1);
    kv_process_hold_until(process, 5);
    send(process, &to, 2);
    cr_assert_eq(f->sent_count, 1);
    cr_assert_eq(kv_runtime_waiting(f->runtime), 1);
    kv_runtime_release(f->runtime, 4);
    cr_assert_eq(f->sent_count, 1);
    kv_runtime_release(f->runtime, 5);
    assert_sent(1, KV_SIGNAL_MESSAGE, term_integer(2));
    cr_assert_eq(kv_runtime_waiting(f->runtime), 0);
    send(process, &to, 3);
    assert_sent(2, KV_SIGNAL_MESSAGE, term_integer(3));
}

Test(hold, a_batch_that_is_durable_already_holds_nothing)
{
    struct kv_pid to = pid_a(1);
    kv_runtime_release(f->runtime, 7);
    kv_process_hold_until(process, 7);
    send(process, &to, 1);
    cr_assert_eq(f->sent_count, 1);
}

Test(hold, each_signal_waits_for_the_batch_of_its_time_and_the_greatest_counts)
{
    struct kv_pid to = pid_a(1);
    kv_process_hold_until(process, 2);
    send(process, &to, 1);
    kv_process_hold_until(process, 4);
    kv_process_hold_until(process, 3);
    send(process, &to, 2);
    kv_runtime_release(f->runtime, 3);
    cr_assert_eq(f->sent_count, 1);
    kv_runtime_release(f->runtime, 4);
    cr_assert_eq(f->sent_count, 2);
}

Test(hold, other_processes_go_on)
{
    struct kv_pid to = pid_a(1);
    struct kv_process *held = process;
    kv_process_hold_until(held, 1);
    send(held, &to, 1);
    send(begin(), &to, 2);
    cr_assert_eq(f->sent_count, 1);
    assert_sent(0, KV_SIGNAL_MESSAGE, term_integer(2));
}

Test(hold, links_monitors_and_messages_wait_behind_one_another)
{
    struct kv_pid to = pid_a(1);
    kv_process_hold_until(process, 1);
    send(process, &to, 1);
    kv_link(process, &to);
    uint64_t monitor = kv_monitor(process, &to);
    kv_demonitor(process, monitor);
    kv_unlink(process, &to);
    kv_send_name(process, kv_bytes_text("a@host"), kv_bytes_text("logger"), term_integer(2));
    cr_assert_eq(f->sent_count, 0);
    kv_runtime_release(f->runtime, 1);
    assert_sent(0, KV_SIGNAL_MESSAGE, term_integer(1));
    assert_sent(1, KV_SIGNAL_LINK, NONE);
    assert_sent(2, KV_SIGNAL_MONITOR, NONE);
    assert_sent(3, KV_SIGNAL_DEMONITOR, NONE);
    assert_sent(4, KV_SIGNAL_UNLINK, NONE);
    assert_sent(5, KV_SIGNAL_MESSAGE_NAME, term_integer(2));
    cr_assert(kv_bytes_is(f->sent[5].signal.name, "logger"));
    cr_assert(kv_pid_equal(&f->sent[0].signal.to, &to));
}

Test(hold, an_answer_waits_and_goes_to_the_alias_of_its_caller)
{
    struct kv_pid pid = kv_process_pid(process);
    struct kv_ref alias = ref_a(12345);
    kv_process_hold_until(process, 1);
    cr_assert_eq(call(f, &pid, term_atom("hello")).length, 0);
    for (int i = 0; i < 300; i++) { /* the frame of the call is written over */
        (void)term_binary("something else that is as long as a frame of a call, or longer");
    }
    kv_runtime_release(f->runtime, 1);
    cr_assert(kv_ref_equal(&sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0)->signal.ref, &alias));
}

Test(hold, a_call_is_answered_once_it_is_durable_and_sys_waits_too)
{
    struct kv_pid pid = kv_process_pid(process);
    kv_process_hold_until(process, 1);
    cr_assert_eq(system_call(f, &pid, term_atom("get_state")).length, 0);
    kv_runtime_release(f->runtime, 1);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), 1);
}

Test(hold, signals_within_this_node_wait_too)
{
    struct kv_process *held = process;
    struct kv_pid to = kv_process_pid(begin());
    kv_process_hold_until(held, 1);
    send(held, &to, 1);
    kv_send_name(held, kv_bytes_text(FIXTURE_NODE), kv_bytes_text("nobody"), term_integer(2));
    struct kv_pid other = pid_a(1);
    feed_link(f, f->a, &other, &to); /* anything, so that local signals are delivered */
    cr_assert_eq(info_count, 0);
    kv_runtime_release(f->runtime, 1);
    cr_assert_eq(info_count, 1);
}

Test(hold, a_monitor_that_cannot_be_made_fires_without_waiting)
{
    struct kv_pid nobody = {.node = kv_bytes_text("c@host"), .id = 1, .creation = 1};
    kv_process_hold_until(process, 1);
    (void)kv_monitor(process, &nobody);
    struct kv_pid other = pid_a(1);
    struct kv_pid pid = kv_process_pid(process);
    feed_link(f, f->a, &other, &pid);
    cr_assert_eq(info_count, 1);
}

/* ---- ends ------------------------------------------------------------------------------------ */

Test(hold, a_process_that_ends_loses_nothing_and_its_end_is_told_last)
{
    struct kv_pid to = pid_a(1);
    struct kv_pid pid = kv_process_pid(process);
    struct kv_ref ref = ref_a(1);
    feed_link(f, f->a, &to, &pid);
    feed_monitor(f, f->a, &to, &pid, &ref);
    kv_process_hold_until(process, 1);
    send(process, &to, 1);
    kill_process(process, "kill");
    cr_assert_eq(f->sent_count, 0);
    cr_assert_not(kv_is_alive(f->runtime, &pid));
    kv_runtime_release(f->runtime, 1);
    assert_sent(0, KV_SIGNAL_MESSAGE, term_integer(1));
    assert_sent(1, KV_SIGNAL_EXIT_LINK, term_atom("killed"));
    assert_sent(2, KV_SIGNAL_DOWN, term_atom("killed"));
    cr_assert(kv_ref_equal(&f->sent[2].signal.ref, &ref));
}

Test(hold, a_late_link_to_a_dead_process_is_answered_behind_its_last_signals)
{
    struct kv_pid to = pid_a(1);
    struct kv_pid pid = kv_process_pid(process);
    struct kv_ref ref = ref_a(1);
    kv_process_hold_until(process, 1);
    send(process, &to, 1);
    kill_process(process, "kill");
    feed_link(f, f->a, &to, &pid);
    feed_monitor(f, f->a, &to, &pid, &ref);
    cr_assert_eq(f->sent_count, 0);
    kv_runtime_release(f->runtime, 1);
    assert_sent(0, KV_SIGNAL_MESSAGE, term_integer(1));
    assert_sent(1, KV_SIGNAL_EXIT_LINK, term_atom("noproc"));
    assert_sent(2, KV_SIGNAL_DOWN, term_atom("noproc"));
}

Test(hold, a_large_reason_reaches_every_watcher)
{
    enum { LARGE = 4096, WATCHERS = 10 };
    static char text[LARGE + 1];
    memset(text, 'x', LARGE);
    struct kv_pid pid = kv_process_pid(process);
    struct kv_bytes reason = term_binary(text);
    for (uint32_t i = 1; i <= WATCHERS; i++) {
        struct kv_pid watcher = pid_a(i);
        struct kv_ref ref = ref_a(i);
        feed_monitor(f, f->a, &watcher, &pid, &ref);
    }
    kv_process_hold_until(process, 1);
    struct kv_pid from = pid_b(99);
    feed_exit(f, f->b, KV_SIGNAL_EXIT, &from, &pid, reason);
    kv_runtime_release(f->runtime, 1);
    cr_assert_eq(count_of(f, KV_SIGNAL_DOWN), WATCHERS);
    for (size_t i = 0; i < WATCHERS; i++) {
        assert_term(payload_of(sent_of(f, KV_SIGNAL_DOWN, i)), reason);
    }
}

/* ---- what is pinned, and lost peers ---------------------------------------------------------- */

static size_t released;

static void count_release(void *owner, struct kv_bytes bytes)
{
    (void)owner;
    (void)bytes;
    released++;
}

static void reply_pinned(struct kv_process *self, struct kv_bytes bytes)
{
    struct kv_from from;
    struct kv_pid caller = pid_a(1);
    struct kv_ref alias = ref_a(5);
    struct kv_pinned pinned = {.bytes = bytes, .release = count_release};
    released = 0;
    cr_assert_eq(kv_from_read(term_from(&caller, &alias), &from), KV_OK);
    kv_reply_pinned(self, &from, NONE, &pinned);
}

Test(hold, a_pinned_value_stays_pinned_while_it_waits)
{
    kv_process_hold_until(process, 1);
    reply_pinned(process, term_atom("value"));
    cr_assert_eq(released, 0);
    kv_runtime_release(f->runtime, 1);
    cr_assert_eq(released, 1);
    struct kv_reader reader = kv_reader(payload_of(sent_of(f, KV_SIGNAL_MESSAGE_ALIAS, 0)));
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_any(&reader, NULL), KV_OK);
    cr_assert_eq(kv_read_this_atom(&reader, "value"), KV_OK);
}

Test(hold, signals_that_wait_for_a_lost_peer_are_dropped)
{
    struct kv_pid a = pid_a(1);
    struct kv_pid b = pid_b(1);
    kv_process_hold_until(process, 1);
    reply_pinned(process, term_atom("value"));
    send(process, &a, 1);
    send(process, &b, 2);
    kv_runtime_peer_down(f->runtime, f->a);
    f->a = NULL;
    cr_assert_eq(released, 1);
    cr_assert_eq(kv_runtime_waiting(f->runtime), 1);
    kv_runtime_release(f->runtime, 1);
    cr_assert_eq(f->sent_count, 1);
    assert_sent(0, KV_SIGNAL_MESSAGE, term_integer(2));
}

Test(hold, a_runtime_that_ends_frees_the_signals_that_wait)
{
    struct kv_pid to = pid_a(1);
    kv_process_hold_until(process, 1);
    reply_pinned(process, term_atom("value"));
    send(process, &to, 1);
}

/* ---- what tells of less ----------------------------------------------------------------------
 */

static void answer_alias(struct kv_process *self, uint32_t alias)
{
    struct kv_from from;
    struct kv_buffer *term = term_buffer();
    struct kv_ref ref = ref_a(alias);
    kv_write_ref(term, &ref);
    cr_assert_eq(kv_from_read(kv_buffer_bytes(term), &from), KV_OK);
    kv_reply_atom(self, &from, "ok");
}

Test(hold, what_tells_of_no_change_overtakes_what_waits_to_others)
{
    struct kv_pid one = pid_a(1);
    struct kv_pid other = pid_a(2);
    kv_process_hold_until(process, 1);
    send(process, &one, 1);
    kv_process_hold_for(process, 0);
    send(process, &other, 2);
    kv_process_hold_all(process);
    assert_sent(0, KV_SIGNAL_MESSAGE, term_integer(2));
    send(process, &other, 3);
    cr_assert_eq(f->sent_count, 1);
    kv_runtime_release(f->runtime, 1);
    assert_sent(1, KV_SIGNAL_MESSAGE, term_integer(1));
    assert_sent(2, KV_SIGNAL_MESSAGE, term_integer(3));
}

Test(hold, it_waits_for_the_batch_of_which_it_tells_and_for_no_later_one)
{
    struct kv_pid one = pid_a(1);
    struct kv_pid other = pid_a(2);
    kv_process_hold_until(process, 2);
    send(process, &one, 1);
    kv_process_hold_for(process, 1);
    send(process, &other, 2);
    kv_process_hold_all(process);
    cr_assert_eq(f->sent_count, 0);
    kv_runtime_release(f->runtime, 1);
    assert_sent(0, KV_SIGNAL_MESSAGE, term_integer(2));
    cr_assert_eq(kv_runtime_waiting(f->runtime), 1);
}

Test(hold, it_overtakes_no_message_link_or_answer_to_the_same_process)
{
    struct kv_pid to = pid_a(1);
    kv_process_hold_until(process, 1);
    kv_link(process, &to);
    kv_process_hold_for(process, 0);
    send(process, &to, 1);
    reply_pinned(process, term_atom("value"));
    cr_assert_eq(f->sent_count, 0);
    kv_runtime_release(f->runtime, 1);
    cr_assert_eq(f->sent[0].signal.kind, KV_SIGNAL_LINK);
    assert_sent(1, KV_SIGNAL_MESSAGE, term_integer(1));
    cr_assert_eq(f->sent[2].signal.kind, KV_SIGNAL_MESSAGE_ALIAS);
}

Test(hold, an_answer_through_an_alias_alone_overtakes_other_such_answers)
{
    kv_process_hold_until(process, 1);
    answer_alias(process, 5);
    kv_process_hold_for(process, 0);
    answer_alias(process, 6);
    cr_assert_eq(f->sent_count, 1);
    cr_assert_eq(f->sent[0].signal.ref.words[0], ref_a(6).words[0]);
}

Test(hold, an_answer_through_an_alias_alone_overtakes_nothing_else)
{
    struct kv_pid to = pid_a(1);
    kv_process_hold_until(process, 1);
    send(process, &to, 1);
    kv_process_hold_for(process, 0);
    answer_alias(process, 6);
    cr_assert_eq(f->sent_count, 0);
    kv_runtime_release(f->runtime, 1);
    assert_sent(0, KV_SIGNAL_MESSAGE, term_integer(1));
    cr_assert_eq(f->sent_count, 2);
}

Test(hold, a_message_to_a_name_waits_for_all)
{
    struct kv_pid to = pid_a(1);
    kv_process_hold_until(process, 1);
    send(process, &to, 1);
    kv_process_hold_for(process, 0);
    kv_send_name(process, kv_bytes_text("b@host"), kv_bytes_text("name"), term_integer(2));
    cr_assert_eq(f->sent_count, 0);
}

Test(hold, of_one_process_only)
{
    struct kv_pid to = pid_a(1);
    struct kv_process *one = process;
    struct kv_process *other = begin();
    kv_process_hold_until(one, 1);
    kv_process_hold_until(other, 1);
    kv_process_hold_for(one, 0);
    send(other, &to, 1);
    cr_assert_eq(f->sent_count, 0);
}

Test(hold, what_waits_only_until_it_is_written_leaves_then)
{
    struct kv_pid to = pid_a(1);
    struct kv_process *one = process;
    struct kv_process *other = begin();
    kv_process_hold_until(one, 1);
    kv_process_hold_until_written(other, 1);
    send(one, &to, 1);
    send(other, &to, 2);
    kv_runtime_release_written(f->runtime, 1);
    assert_sent(0, KV_SIGNAL_MESSAGE, term_integer(2));
    cr_assert_eq(f->sent_count, 1);
    send(other, &to, 3);
    cr_assert_eq(f->sent_count, 2);
    kv_runtime_release(f->runtime, 1);
    assert_sent(2, KV_SIGNAL_MESSAGE, term_integer(1));
}

Test(hold, a_process_that_waits_for_both_waits_until_all_is_durable)
{
    struct kv_pid to = pid_a(1);
    kv_process_hold_until_written(process, 1);
    send(process, &to, 1);
    kv_process_hold_until(process, 2);
    send(process, &to, 2);
    kv_runtime_release_written(f->runtime, 2);
    cr_assert_eq(f->sent_count, 0);
    kv_runtime_release(f->runtime, 2);
    cr_assert_eq(f->sent_count, 2);
}

Test(hold, the_bytes_that_wait_are_counted_with_what_they_pin)
{
    static char text[5000];
    memset(text, 'x', sizeof text - 1);
    kv_process_hold_until(process, 1);
    reply_pinned(process, term_binary(text));
    cr_assert_gt(kv_runtime_waiting_bytes(f->runtime), sizeof text);
    kv_runtime_release(f->runtime, 1);
    cr_assert_eq(kv_runtime_waiting_bytes(f->runtime), 0);
}

/* ---- random programs ------------------------------------------------------------------------- */

enum { PROCESSES = 4, TARGETS = 5, LOCAL_TARGET = 4, STEPS = 4000, HISTORY = 1 << 15 };
enum { EXIT_LINK = -1, DOWN = -2 };

struct entry {
    int64_t value; /* of a message; or one of the two above */
    unsigned target;
    uint64_t batch; /* 0: it need not wait */
};

/* One sender: everything it has sent, and everything each target has got from it. */
struct history {
    uint64_t number;
    uint64_t hold;
    bool linked[TARGETS];
    uint64_t last[TARGETS]; /* the batch of the last entry */
    size_t count;
    struct entry entries[HISTORY];
    size_t got[TARGETS];
    int64_t seen[TARGETS][HISTORY];
};

static struct history histories[PROCESSES];
static struct kv_process *senders[PROCESSES];
static struct kv_pid targets[TARGETS];
static uint64_t durable;
static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % below;
}

static void see(struct history *history, unsigned target, int64_t value)
{
    history->seen[target][history->got[target]++] = value;
}

static struct history *history_of(uint64_t number)
{
    for (size_t i = 0; i < PROCESSES; i++) {
        if (histories[i].number == number) {
            return &histories[i];
        }
    }
    return NULL;
}

static void look(const struct kv_signal *signal)
{
    struct history *history = history_of(signal->from.id);
    for (unsigned t = 0; t < LOCAL_TARGET; t++) {
        if (history == NULL || !kv_pid_equal(&signal->to, &targets[t])) {
            continue;
        }
        int64_t value = signal->kind == KV_SIGNAL_DOWN ? DOWN : EXIT_LINK;
        struct kv_reader reader = kv_reader(signal->payload[0]);
        if (signal->kind == KV_SIGNAL_MESSAGE) {
            cr_assert_eq(kv_read_i64(&reader, &value), KV_OK);
        }
        if (signal->kind != KV_SIGNAL_LINK) {
            see(history, t, value);
        }
    }
}

static void look_within(uint64_t value)
{
    see(&histories[value % PROCESSES], LOCAL_TARGET, (int64_t)value);
}

/* A signal that tells of changes up to `batch`. It overtakes none to the same target. */
static void note_told(struct history *history, unsigned target, int64_t value, uint64_t batch)
{
    uint64_t *last = &history->last[target];
    *last = batch > *last ? batch : *last;
    history->entries[history->count++] =
        (struct entry){.value = value, .target = target, .batch = *last};
}

static void note(struct history *history, unsigned target, int64_t value)
{
    note_told(history, target, value, history->hold);
}

/* Each target has got, in order, exactly what need not wait. */
static void check(const struct history *history)
{
    size_t got[TARGETS] = {0};
    for (size_t i = 0; i < history->count; i++) {
        const struct entry *entry = &history->entries[i];
        if (entry->batch > durable) {
            continue;
        }
        cr_assert_lt(got[entry->target], history->got[entry->target], "seed %lu: lost",
                     (unsigned long)seed);
        cr_assert_eq(history->seen[entry->target][got[entry->target]++], entry->value);
    }
    for (unsigned t = 0; t < TARGETS; t++) {
        cr_assert_eq(got[t], history->got[t], "too early");
    }
}

static void begin_sender(size_t i)
{
    senders[i] = begin();
    memset(&histories[i], 0, sizeof histories[i]);
    histories[i].number = kv_process_pid(senders[i]).id;
}

static void release_to(uint64_t batch)
{
    durable = batch > durable ? batch : durable;
    kv_runtime_release(f->runtime, batch);
}

/* The end of a process is told to its links, then to its watchers. Its history ends with it. */
static void end_sender(size_t i)
{
    struct history *history = &histories[i];
    for (unsigned t = 0; t < LOCAL_TARGET; t++) {
        if (history->linked[t]) {
            note(history, t, EXIT_LINK);
        }
    }
    for (unsigned t = 0; t < LOCAL_TARGET; t++) {
        if (history->linked[t]) {
            note(history, t, DOWN);
        }
    }
    kill_process(senders[i], "kill");
    check(history);
    release_to(history->hold);
    check(history);
    begin_sender(i);
}

static void connect(size_t i, unsigned t)
{
    struct kv_peer *peer = t < 2 ? f->a : f->b;
    struct kv_pid pid = kv_process_pid(senders[i]);
    struct kv_ref ref = t < 2 ? ref_a((uint32_t)(1000 * histories[i].number + t))
                              : ref_b((uint32_t)(1000 * histories[i].number + t));
    histories[i].linked[t] = true;
    feed_link(f, peer, &targets[t], &pid);
    feed_monitor(f, peer, &targets[t], &pid, &ref);
}

static void step(int64_t number)
{
    size_t i = draw(PROCESSES);
    unsigned t = (unsigned)draw(TARGETS);
    uint64_t choice = draw(100);
    int64_t value = number * PROCESSES + (int64_t)i;
    if (choice < 20) {
        uint64_t batch = draw(histories[i].hold + 1);
        note_told(&histories[i], t, value, batch);
        kv_process_hold_for(senders[i], batch);
        send(senders[i], &targets[t], value);
        kv_process_hold_all(senders[i]);
    } else if (choice < 60) {
        note(&histories[i], t, value);
        send(senders[i], &targets[t], value);
    } else if (choice < 75) {
        uint64_t batch = durable + draw(4);
        kv_process_hold_until(senders[i], batch);
        histories[i].hold = batch > histories[i].hold ? batch : histories[i].hold;
    } else if (choice < 88) {
        release_to(durable + draw(3));
    } else if (choice < 98) {
        if (t < LOCAL_TARGET && !histories[i].linked[t]) {
            connect(i, t);
        }
    } else {
        end_sender(i);
    }
    struct kv_pid nobody = pid_a(77); /* has the signals within this node delivered */
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &nobody, &nobody, term_atom("normal"));
}

static void run_program(uint64_t start)
{
    seed = start;
    durable = 0;
    when_info = look_within;
    f->look = look;
    targets[0] = pid_a(1);
    targets[1] = pid_a(2);
    targets[2] = pid_b(1);
    targets[3] = pid_b(2);
    targets[LOCAL_TARGET] = kv_process_pid(begin());
    for (size_t i = 0; i < PROCESSES; i++) {
        begin_sender(i);
    }
    for (int64_t number = 0; number < STEPS; number++) {
        step(number);
        forget(f);
        for (size_t i = 0; i < PROCESSES; i++) {
            check(&histories[i]);
        }
    }
}

Test(hold, random_programs_keep_the_order_of_each_pair_and_lose_nothing)
{
    for (uint64_t start = 1; start <= 5; start++) {
        run_program(start);
        tear_down();
        set_up();
    }
}
