/* Peers over fake streams: frames in pieces, streams that take little, fail or end. */
#include "support/fake_net.h"

#include "net/input.h"
#include "net/output.h"

#include <criterion/criterion.h>

enum { SMALL = 10, BIG = 40 * 1000, HUGE = 450 * 1000 };

static struct fake_net *net;
static struct fake *a;
static struct kv_buffer requests;

static void set_up(void)
{
    net = fake_net_new();
    a = fake_peer(net, "a@host");
    requests = (struct kv_buffer)KV_BUFFER_INIT;
}

static void tear_down(void)
{
    kv_buffer_free(&requests);
    fake_net_free(net);
}

TestSuite(peers, .init = set_up, .fini = tear_down, .timeout = 60);

static void add_requests(uint32_t count, uint32_t size)
{
    for (uint32_t i = 0; i < count; i++) {
        fake_request(&requests, net, "a@host", i + 1, size);
    }
}

/* Returns how many bytes of the requests were read. */
static size_t send_requests(size_t piece)
{
    size_t done = fake_send(a, kv_buffer_bytes(&requests), piece);
    kv_buffer_consume(&requests, done);
    return done;
}

/* ---- reading --------------------------------------------------------------------------------- */

Test(peers, a_request_is_answered_at_the_end_of_the_turn)
{
    add_requests(1, SMALL);
    (void)send_requests(ALL);
    cr_assert_eq(fake_messages(a), 0);
    fake_net_turn(net);
    cr_assert_eq(fake_messages(a), 1);
}

Test(peers, frames_may_come_in_pieces_of_any_size)
{
    for (size_t piece = 1; piece <= 97; piece += 3) {
        add_requests(3, SMALL);
        (void)send_requests(piece);
        fake_net_turn(net);
        cr_assert_eq(fake_messages(a), 3, "pieces of %zu", piece);
    }
}

Test(peers, the_program_looks_at_the_clock_for_every_read)
{
    unsigned before = net->heard;
    add_requests(1, SMALL);
    (void)send_requests(ALL);
    cr_assert_eq(net->heard, before + 1);
}

Test(peers, two_peers_get_their_own_answers)
{
    struct fake *b = fake_peer(net, "b@host");
    struct kv_buffer more = KV_BUFFER_INIT;
    fake_request(&more, net, "b@host", 1, SMALL);
    add_requests(2, SMALL);
    size_t half = more.length / 2;
    (void)fake_send(b, kv_bytes(more.data, half), ALL);
    (void)send_requests(ALL);
    (void)fake_send(b, kv_bytes(more.data + half, more.length - half), ALL);
    fake_net_turn(net);
    cr_assert_eq(fake_messages(a), 2);
    cr_assert_eq(fake_messages(b), 1);
    kv_buffer_free(&more);
}

Test(peers, a_bad_frame_ends_only_its_own_connection)
{
    struct fake *b = fake_peer(net, "b@host");
    (void)fake_send(b, kv_bytes("\0\0\0\3xyz", 7), ALL);
    fake_net_turn(net);
    cr_assert(b->gone);
    cr_assert(fake_net_logged(net, "log warning connection to b@host"));
    cr_assert(fake_net_logged(net, "closed: it sent a bad frame"));
    add_requests(1, SMALL);
    (void)send_requests(ALL);
    fake_net_turn(net);
    cr_assert_eq(fake_messages(a), 1);
}

Test(peers, a_frame_over_the_limit_is_passed_over_and_the_next_is_answered)
{
    struct kv_buffer frame = KV_BUFFER_INIT;
    size_t length = net->net.limits.max_frame + 1;
    kv_buffer_u32(&frame, (uint32_t)length);
    size_t head = requests.length;
    fake_request(&requests, net, "a@host", 1, SMALL); /* a control message to begin with */
    kv_buffer_append(&frame, kv_bytes(requests.data + head + 4, requests.length - head - 4));
    while (frame.length < length + 4) {
        kv_buffer_u8(&frame, 0);
    }
    (void)fake_send(a, kv_buffer_bytes(&frame), 4096);
    fake_net_turn(net);
    cr_assert(!a->closed);
    cr_assert(fake_net_logged(net, "dropped 1 message that nobody could be told of"));
    (void)send_requests(ALL);
    fake_net_turn(net);
    cr_assert_eq(fake_messages(a), 1);
    kv_buffer_free(&frame);
}

Test(peers, a_long_turn_hurries_and_a_short_one_does_not)
{
    add_requests(KV_EARLY_MESSAGES - 1, SMALL);
    (void)send_requests(requests.length / 2);
    cr_assert_eq(net->hurried, 0);
    fake_net_turn(net);
    add_requests(20 * KV_EARLY_MESSAGES, SMALL);
    (void)send_requests(KV_READ_CHUNK);
    cr_assert_gt(net->hurried, 0);
    cr_assert_gt(fake_messages(a), KV_EARLY_MESSAGES);
}

Test(peers, a_peer_that_sends_without_a_pause_rests_until_the_next_turn)
{
    uint32_t count = 0;
    while (requests.length < KV_READ_TURN + 2 * KV_READ_CHUNK) {
        add_requests(1, SMALL);
        count++;
    }
    size_t done = send_requests(ALL);
    cr_assert_geq(done, KV_READ_TURN);
    cr_assert_gt(requests.length, 0);
    cr_assert(!a->reading);
    fake_net_turn(net);
    cr_assert(a->reading);
    (void)send_requests(ALL);
    fake_net_turn(net);
    cr_assert_eq(fake_messages(a), count);
}

/* ---- long messages --------------------------------------------------------------------------- */

enum { PAIRS = 80 * 1000, CHECKS_LEAST = 4, CHECKS_MOST = 40, LONG_MOST = 1 << 22 };

/* From a peer with room for the message. */
static void send_long_by(void (*append)(struct kv_buffer *to, const struct fake_net *net,
                                        const char *peer, uint32_t n, uint32_t pairs, uint8_t last),
                         uint8_t last)
{
    net->net.limits.max_frame = LONG_MOST;
    a = fake_peer(net, "c@host");
    append(&requests, net, "c@host", 1, PAIRS, last);
    while (requests.length > 0 && send_requests(ALL) > 0) {
        fake_net_turn(net);
    }
}

static void send_long(uint8_t last)
{
    send_long_by(fake_long_request, last);
}

/* Returns the turns until the long message was validated. */
static unsigned validate_long(void)
{
    unsigned turns = 0;
    for (; kv_input_goes_on(&net->connections); turns++) {
        cr_assert_lt(turns, CHECKS_MOST);
        fake_net_turn(net);
    }
    return turns;
}

static void assert_answered_after_many_turns(void)
{
    cr_assert_eq(fake_messages(a), 0);
    cr_assert_geq(validate_long(), CHECKS_LEAST);
    fake_net_turn(net);
    cr_assert_eq(fake_messages(a), 1);
}

Test(peers, a_long_message_is_validated_in_many_turns_and_then_answered)
{
    send_long(KV_TAG_NIL);
    assert_answered_after_many_turns();
}

Test(peers, a_long_message_in_one_frame_is_validated_in_many_turns_too)
{
    send_long_by(fake_long_frame, KV_TAG_NIL);
    assert_answered_after_many_turns();
}

Test(peers, a_long_message_in_one_frame_with_a_bad_end_ends_its_connection)
{
    send_long_by(fake_long_frame, UINT8_MAX);
    (void)validate_long();
    fake_net_turn(net);
    cr_assert(a->closed);
}

Test(peers, others_are_served_while_a_long_message_is_validated)
{
    struct fake *b = fake_peer(net, "b@host");
    send_long(KV_TAG_NIL);
    cr_assert(kv_input_goes_on(&net->connections));
    fake_request(&requests, net, "b@host", 1, SMALL);
    (void)fake_send(b, kv_buffer_bytes(&requests), ALL);
    fake_net_turn(net);
    cr_assert_eq(fake_messages(b), 1);
    cr_assert_eq(fake_messages(a), 0);
}

Test(peers, what_comes_behind_a_long_message_is_handled_behind_it)
{
    send_long(KV_TAG_NIL);
    fake_request(&requests, net, "c@host", 1, SMALL);
    cr_assert_eq(send_requests(ALL), 0);
    (void)validate_long();
    (void)send_requests(ALL);
    fake_net_turn(net);
    cr_assert_eq(fake_messages(a), 2);
}

Test(peers, a_long_message_with_a_bad_end_ends_its_connection)
{
    send_long(UINT8_MAX);
    (void)validate_long();
    fake_net_turn(net);
    cr_assert(a->closed);
    cr_assert(fake_net_logged(net, "it sent a bad control message 22"));
}

Test(peers, a_peer_is_not_silent_while_its_message_is_validated)
{
    enum { TICK_TIMES = 2, CHECKS = 4, TURNS_OF_GRACE = 2 };
    send_long(KV_TAG_NIL);
    for (unsigned i = 0; i < TICK_TIMES * CHECKS; i++) {
        net->ticks.ticker.timer_cb(&net->ticks.ticker);
    }
    for (unsigned i = 0; i < TURNS_OF_GRACE; i++) {
        cr_assert(kv_input_goes_on(&net->connections));
        fake_net_turn(net);
    }
    cr_assert_not(a->closed);
    cr_assert(fake_net_logged(net, "connection to a@host"), "the other peer was silent");
}

Test(peers, a_peer_may_go_while_its_message_is_validated)
{
    send_long(KV_TAG_NIL);
    cr_assert(kv_input_goes_on(&net->connections));
    fake_end(a, UV_EOF);
    fake_net_turn(net);
    cr_assert(a->closed);
    cr_assert_not(kv_input_goes_on(&net->connections));
}

/* A request is some bytes, and may begin a process: a chunk would make a turn of milliseconds. */
Test(peers, requests_that_begin_many_processes_take_many_turns)
{
    struct fake *b = fake_peer(net, "b@host");
    enum { TURNS = 5, LESS = KV_SPAWNS_TURN - 1 };
    add_requests(TURNS * KV_SPAWNS_TURN + LESS, FAKE_SPAWN);
    (void)send_requests(ALL);
    fake_request(&requests, net, "b@host", 1, SMALL);
    (void)fake_send(b, kv_buffer_bytes(&requests), ALL);
    size_t answered = 0;
    for (unsigned turn = 0; turn < TURNS + 2; turn++) {
        fake_net_turn(net);
        const size_t more = fake_messages(a);
        cr_expect_leq(more, 2 * KV_SPAWNS_TURN);
        cr_expect(turn > 0 || fake_messages(b) == 1, "another peer is served meanwhile");
        cr_expect(answered == 0 || more == 0 || kv_input_goes_on(&net->connections) ||
                  more + answered == TURNS * KV_SPAWNS_TURN + LESS);
        answered += more;
    }
    cr_expect_eq(answered, TURNS * KV_SPAWNS_TURN + LESS);
    cr_expect_not(kv_input_goes_on(&net->connections));
}

Test(peers, a_tick_is_answered_if_nothing_else_was_sent)
{
    struct kv_bytes frame;
    (void)fake_send(a, kv_bytes("\0\0\0\0", 4), ALL);
    fake_net_turn(net);
    while (fake_frame(a, &frame)) {
    }
    (void)fake_send(a, kv_bytes("\0\0\0\0", 4), ALL);
    fake_net_turn(net);
    cr_assert(fake_frame(a, &frame) && frame.length == 0);
    cr_assert(!fake_frame(a, &frame));
}

/* ---- writing --------------------------------------------------------------------------------- */

Test(peers, a_stream_that_takes_nothing_gets_a_write_and_the_peer_its_answers)
{
    a->room = 0;
    add_requests(2, SMALL);
    (void)send_requests(ALL);
    fake_net_turn(net);
    cr_assert_eq(a->run_count, 1);
    cr_assert_eq(fake_messages(a), 0);
    fake_drain(a, ALL);
    cr_assert_eq(fake_messages(a), 2);
}

Test(peers, answers_that_leave_three_bytes_at_a_time_arrive_whole)
{
    a->most = 3;
    a->room = 3;
    add_requests(5, 100);
    (void)send_requests(ALL);
    fake_net_turn(net);
    while (a->run_count > 0) {
        fake_drain(a, 3);
    }
    cr_assert_eq(fake_messages(a), 5);
}

Test(peers, answers_that_come_while_a_write_is_under_way_leave_after_it)
{
    a->room = 1;
    add_requests(1, SMALL);
    (void)send_requests(ALL);
    fake_net_turn(net);
    add_requests(3, SMALL);
    (void)send_requests(ALL);
    fake_net_turn(net);
    cr_assert_eq(fake_messages(a), 0);
    a->room = ALL;
    fake_drain(a, 2);
    fake_drain(a, ALL);
    cr_assert_eq(fake_messages(a), 4);
}

Test(peers, a_large_answer_leaves_in_fragments)
{
    add_requests(1, HUGE);
    (void)send_requests(ALL);
    fake_net_turn(net);
    cr_assert_geq(fake_messages(a), HUGE / KV_FRAGMENT_SIZE);
}

Test(peers, a_small_answer_overtakes_a_large_one)
{
    a->room = 0;
    add_requests(1, HUGE);
    (void)send_requests(ALL);
    fake_net_turn(net);
    fake_request(&requests, net, "a@host", 1000, SMALL);
    (void)send_requests(ALL);
    fake_net_turn(net);
    size_t behind = a->taken.length;
    fake_drain(a, ALL);
    fake_net_turn(net);
    for (int i = 0; i < 3; i++) {
        fake_drain(a, ALL);
    }
    struct kv_bytes frame;
    size_t small = 0;
    while (fake_frame(a, &frame)) {
        small = small == 0 && frame.length < 200 ? a->seen : small;
    }
    cr_assert_gt(small, behind);
    cr_assert_lt(small, behind + KV_OUTPUT_AHEAD + KV_FRAGMENT_SIZE);
}

Test(peers, a_write_that_fails_ends_the_connection)
{
    a->error = UV_EPIPE;
    add_requests(1, SMALL);
    (void)send_requests(ALL);
    fake_net_turn(net);
    cr_assert(a->gone);
    cr_assert(fake_net_logged(net, "closed: broken pipe"));
    cr_assert_eq(kv_runtime_peer_count(net->net.runtime), 0);
}

Test(peers, a_write_under_way_that_fails_ends_the_connection)
{
    a->room = 0;
    add_requests(1, SMALL);
    (void)send_requests(ALL);
    fake_net_turn(net);
    a->run_count = 0;
    a->stream.calls->written(a->stream.user, UV_ECONNRESET);
    fake_net_turn(net);
    cr_assert(a->gone);
}

Test(peers, a_peer_that_resets_its_connection_in_the_middle_of_a_write_is_gone)
{
    a->room = 0;
    add_requests(3, BIG);
    (void)send_requests(ALL);
    fake_net_turn(net);
    fake_end(a, UV_ECONNRESET);
    fake_net_turn(net);
    cr_assert(a->gone);
    cr_assert(fake_net_logged(net, "log info connection to a@host"));
}

Test(peers, an_end_that_comes_twice_makes_one_log_line)
{
    fake_end(a, UV_EOF);
    kv_connection_doom(fake_connection(a), KV_LOG_ERROR, "a second reason");
    fake_net_turn(net);
    cr_assert(a->gone);
    cr_assert(!fake_net_logged(net, "a second reason"));
}

/* ---- limits ---------------------------------------------------------------------------------- */

Test(peers, requests_of_a_peer_wait_while_half_of_max_queue_waits_for_it)
{
    a->room = 0;
    add_requests(40, BIG);
    (void)send_requests(4096);
    cr_assert(!a->reading);
    cr_assert_lt(kv_connection_backlog(fake_connection(a)), net->net.limits.max_queue);
    fake_net_turn(net);
    cr_assert(!a->reading);
    a->room = ALL;
    fake_drain(a, ALL);
    fake_net_turn(net);
    cr_assert(a->reading);
    for (int i = 0; i < 100 && (requests.length > 0 || a->run_count > 0); i++) {
        (void)send_requests(4096);
        fake_drain(a, ALL);
        fake_net_turn(net);
    }
    cr_assert_eq(fake_messages(a), 40);
}

/* One turn may make more than the limit for a peer. Here: many ticks. */
static void exceed(void)
{
    struct kv_connection *connection = fake_connection(a);
    a->room = 0;
    while (connection->output.length <= net->net.limits.max_queue) {
        kv_buffer_u32(&connection->output, 0);
    }
    kv_output_added(connection);
    fake_net_turn(net);
}

Test(peers, a_peer_over_max_queue_that_takes_nothing_is_given_up)
{
    exceed();
    for (int i = 0; i < 4; i++) {
        cr_assert(!a->closed, "check %d", i);
        fake_net_fire(net, &net->connections.patience);
    }
    cr_assert(a->gone);
    cr_assert(fake_net_logged(net, "more than --max-queue bytes wait for it"));
}

Test(peers, a_peer_over_max_queue_that_takes_something_now_and_then_stays)
{
    exceed();
    for (int i = 0; i < 40; i++) {
        fake_drain(a, i % 3 == 0 ? 1 : 0);
        fake_net_fire(net, &net->connections.patience);
    }
    cr_assert(!a->closed);
}

Test(peers, a_peer_over_max_queue_goes_if_as_much_again_comes)
{
    exceed();
    fake_net_fire(net, &net->connections.patience);
    struct kv_connection *connection = fake_connection(a);
    while (connection->output.length <= net->net.limits.max_queue) {
        kv_buffer_u32(&connection->output, 0);
    }
    kv_output_added(connection);
    fake_net_turn(net);
    cr_assert(a->gone);
}

/* ---- ticks ----------------------------------------------------------------------------------- */

static void check_ticks(void)
{
    fake_net_fire(net, &net->ticks.ticker);
}

Test(peers, a_peer_to_which_nothing_was_written_gets_a_tick)
{
    struct kv_bytes frame;
    check_ticks(); /* the handshake was written before */
    check_ticks();
    cr_assert(fake_frame(a, &frame) && frame.length == 0);
}

Test(peers, a_peer_that_is_silent_for_four_checks_is_given_up_after_another_look)
{
    for (int i = 0; i < 5; i++) {
        cr_assert(!a->closed, "check %d", i);
        check_ticks();
    }
    cr_assert(!a->closed, "its socket is looked at once more");
    fake_net_turn(net);
    cr_assert(a->gone);
    cr_assert(fake_net_logged(net, "nothing was heard of it for 60 seconds"));
}

Test(peers, a_suspect_that_sends_in_time_stays)
{
    for (int i = 0; i < 5; i++) {
        check_ticks();
    }
    (void)fake_send(a, kv_bytes("\0\0\0\0", 4), ALL);
    fake_net_turn(net);
    fake_net_turn(net);
    cr_assert(!a->closed);
}

Test(peers, a_peer_that_is_paused_shows_life_by_taking_its_output)
{
    exceed();
    cr_assert(!a->reading);
    for (int i = 0; i < 12; i++) {
        fake_drain(a, 1);
        check_ticks();
        fake_net_turn(net);
    }
    cr_assert(!a->closed);
}
