/* Strangers over fake streams: how they become peers, and why they do not. */
#include "support/fake_net.h"

#include <criterion/criterion.h>

static struct fake_net *net;

static void set_up(void)
{
    net = fake_net_new();
}

static void tear_down(void)
{
    fake_net_free(net);
}

TestSuite(handshakes, .init = set_up, .fini = tear_down, .timeout = 20);

Test(handshakes, a_stranger_with_the_cookie_becomes_a_peer)
{
    struct fake *fake = fake_peer(net, "a@host");
    cr_assert_eq(net->connections.up_count, 1);
    cr_assert(kv_connections_find(&net->connections, kv_bytes_text("a@host")) ==
              fake_connection(fake));
    cr_assert(fake_net_logged(net, "log info connected to a@host (an unknown address port 0)"));
}

Test(handshakes, bytes_may_come_three_at_a_time)
{
    struct fake *fake = fake_connect(net);
    fake_send_name(fake, "a@host", 3);
    fake_net_turn(net);
    fake_send_reply(fake, "secret", 3);
    fake_net_turn(net);
    cr_assert_eq(net->connections.up_count, 1);
}

Test(handshakes, our_messages_may_leave_three_bytes_at_a_time)
{
    struct fake *fake = fake_connect(net);
    fake->most = 3;
    fake_send_name(fake, "a@host", ALL);
    fake_net_turn(net);
    while (fake->run_count > 0) {
        fake_drain(fake, 3);
    }
    fake_send_reply(fake, "secret", ALL);
    fake_net_turn(net);
    cr_assert_eq(net->connections.up_count, 1);
}

Test(handshakes, a_stranger_with_another_cookie_is_refused)
{
    struct fake *fake = fake_connect(net);
    fake_send_name(fake, "a@host", ALL);
    fake_net_turn(net);
    fake_send_reply(fake, "guess", ALL);
    fake_net_turn(net);
    cr_assert(fake->gone);
    cr_assert(fake_net_logged(net, "log warning handshake with a@host"));
    cr_assert_eq(net->connections.up_count, 0);
}

Test(handshakes, a_stranger_that_sends_too_much_at_once_waits_in_the_kernel)
{
    struct fake *fake = fake_connect(net);
    struct kv_room room = fake->stream.calls->room(fake->stream.user);
    cr_assert_eq(room.length, KV_HANDSHAKE_MAX_MESSAGE + KV_HANDSHAKE_MAX_LENGTH);
}

Test(handshakes, a_silent_stranger_has_until_the_deadline)
{
    struct fake *fake = fake_connect(net);
    fake_net_move_clock(net, 6999);
    fake_net_fire(net, &net->pending.deadline);
    cr_assert(!fake->closed);
    fake_net_move_clock(net, 1);
    fake_net_fire(net, &net->pending.deadline);
    cr_assert(fake->gone);
    cr_assert(fake_net_logged(net, "log warning handshake with"));
}

Test(handshakes, a_clock_that_jumps_ahead_ends_all_that_are_pending_and_no_peer)
{
    struct fake *peer = fake_peer(net, "a@host");
    struct fake *stranger = fake_connect(net);
    fake_net_move_clock(net, 3600000);
    fake_net_fire(net, &net->pending.deadline);
    fake_net_fire(net, &net->ticks.ticker);
    cr_assert(stranger->gone);
    cr_assert(!peer->closed);
}

Test(handshakes, a_clock_that_jumps_back_keeps_a_stranger_longer)
{
    fake_net_move_clock(net, 3600000);
    struct fake *stranger = fake_connect(net);
    fake_net_move_clock(net, -3600000);
    fake_net_fire(net, &net->pending.deadline);
    cr_assert(!stranger->closed);
    fake_send_name(stranger, "a@host", ALL);
    fake_net_turn(net);
    fake_send_reply(stranger, "secret", ALL);
    fake_net_turn(net);
    cr_assert_eq(net->connections.up_count, 1);
}

Test(handshakes, a_peer_that_connects_again_replaces_its_old_connection)
{
    struct fake *old = fake_peer(net, "a@host");
    struct fake *new = fake_connect(net);
    fake_send_name(new, "a@host", ALL);
    fake_net_turn(net);
    cr_assert(memcmp(new->taken.data + 2, "salive", 6) == 0);
    cr_assert(!old->closed);
    (void)fake_send(new, kv_bytes("\0\5strue", 7), ALL);
    fake_net_turn(net);
    new->taken.length = 0; /* what is left of the status */
    cr_assert(!new->closed);
}

Test(handshakes, a_stranger_over_max_peers_is_refused)
{
    net->net.limits.max_peers = 1;
    struct fake *first = fake_peer(net, "a@host");
    struct fake *second = fake_connect(net);
    fake_send_name(second, "b@host", ALL);
    fake_net_turn(net);
    cr_assert(second->gone);
    cr_assert(!first->closed);
    cr_assert(fake_net_logged(net, "there are --max-peers connections already"));
}

Test(handshakes, one_place_is_kept_for_the_vm)
{
    net->net.limits.max_peers = 2;
    net->net.vm = kv_bytes_text("vm@host");
    (void)fake_peer(net, "a@host");
    struct fake *other = fake_connect(net);
    fake_send_name(other, "b@host", ALL);
    fake_net_turn(net);
    cr_assert(other->gone);
    (void)fake_peer(net, "vm@host");
    cr_assert_eq(net->connections.up_count, 2);
}

Test(handshakes, the_oldest_stranger_goes_when_there_are_too_many)
{
    net->pending.strangers_max = 2;
    struct fake *first = fake_connect(net);
    struct fake *second = fake_connect(net);
    struct fake *third = fake_connect(net);
    fake_net_turn(net);
    cr_assert(first->gone);
    cr_assert(!second->closed && !third->closed);
    cr_assert(fake_net_logged(net, "too many others are waiting (1 since the last line)"));
}

Test(handshakes, a_stranger_with_a_name_stays_when_too_many_have_none)
{
    net->pending.strangers_max = 1;
    struct fake *named = fake_connect(net);
    fake_send_name(named, "a@host", ALL);
    struct fake *first = fake_connect(net);
    struct fake *second = fake_connect(net);
    fake_net_turn(net);
    cr_assert(!named->closed);
    cr_assert(first->gone);
    cr_assert(!second->closed);
}

Test(handshakes, a_stranger_whose_name_waits_in_the_socket_is_read_before_it_goes)
{
    net->pending.strangers_max = 1;
    struct fake *first = fake_connect(net);
    struct fake *other = fake_connect(net); /* first says nothing, and goes */
    fake_net_turn(net);
    cr_assert(first->gone);
    kv_buffer_append(&other->waiting,
                     kv_bytes("\0\25N\0\0\0\55\7\337\117\274\0\0\0\1\0\6a@host", 23));
    (void)fake_connect(net);
    fake_net_turn(net);
    cr_assert(!other->closed, "it had a name by then");
}

Test(handshakes, a_connection_that_is_reset_is_gone)
{
    struct fake *fake = fake_connect(net);
    fake_end(fake, UV_ECONNRESET);
    fake_net_turn(net);
    cr_assert(fake->gone);
    cr_assert(fake_net_logged(net, "log info handshake with an unknown address port 0 closed: it "
                                   "closed the connection"));
}

/* Strangers whose handshakes fail. */
static void fail(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct fake *fake = fake_connect(net);
        (void)fake_send(fake, kv_bytes("\0\5hello", 7), ALL);
        fake_net_turn(net);
        cr_assert(fake->gone);
    }
}

Test(handshakes, that_fail_again_and_again_are_no_flood_of_log_lines)
{
    static const char line[] = "log warning handshake with";
    fail(KV_FAILED_LINES + 2);
    cr_assert_eq(fake_net_logged_times(net, line), KV_FAILED_LINES);
    fake_net_move_clock(net, KV_FAILED_MS);
    fail(1);
    cr_assert(fake_net_logged(net, "log warning 2 more handshakes failed, after 30 with a line "
                                   "each in 10 seconds"));
    cr_assert_eq(fake_net_logged_times(net, line), KV_FAILED_LINES + 1);
    (void)fake_peer(net, "a@host");
    cr_assert_eq(net->connections.up_count, 1);
}
