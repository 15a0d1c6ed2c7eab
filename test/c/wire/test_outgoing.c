/* The bytes that leave for one peer: layout, order and fairness, without a socket. */
#include "base/alloc.h"
#include "base/endian.h"
#include "wire/control.h"
#include "wire/fragments.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/outgoing.h"

#include "support/checks.h"
#include "support/signals.h"

#include <criterion/criterion.h>

static const struct kv_hash_key KEY = {3, 4};

enum { BINARY_HEADER = 5, AHEAD = 4 * KV_FRAGMENT_SIZE };

static struct kv_pid pid_of(const char *node, uint32_t id)
{
    return (struct kv_pid){.node = kv_bytes_text(node), .id = id, .creation = 5};
}

/* A binary that is a term of `size` bytes and begins with `number`. */
static struct kv_buffer binary(uint32_t number, size_t size)
{
    struct kv_buffer term = KV_BUFFER_INIT;
    kv_buffer_u8(&term, KV_TAG_BINARY);
    kv_buffer_u32(&term, (uint32_t)(size - BINARY_HEADER));
    kv_buffer_u32(&term, number);
    memset(kv_buffer_reserve(&term, size), (int)(number & 0xff), size);
    term.length = size;
    return term;
}

static struct kv_signal message(uint32_t from, uint32_t to, const struct kv_buffer *payload)
{
    return (struct kv_signal){
        .kind = KV_SIGNAL_MESSAGE,
        .from = pid_of("kv@h", from),
        .to = pid_of("q@vm", to),
        .payload = {kv_buffer_bytes(payload)},
        .payload_parts = 1,
    };
}

static void send(struct kv_outgoing *outgoing, uint32_t from, uint32_t to, uint32_t number,
                 size_t size, struct kv_buffer *ready)
{
    struct kv_buffer payload = binary(number, size);
    struct kv_signal signal = message(from, to, &payload);
    cr_assert(kv_outgoing_signal(outgoing, &signal, ready));
    kv_buffer_free(&payload);
}

/* Removes the first frame of `ready`. Its bytes stay valid until the next call. */
static struct kv_bytes next_frame(struct kv_buffer *ready, struct kv_buffer *space)
{
    struct kv_bytes frame;
    size_t consumed = 0;
    cr_assert_eq(kv_frame_next(kv_buffer_bytes(ready), SIZE_MAX, &frame, &consumed), KV_OK);
    kv_buffer_clear(space);
    kv_buffer_append(space, frame);
    kv_buffer_consume(ready, consumed);
    return kv_buffer_bytes(space);
}

/* ---- layout ---------------------------------------------------------------------------------- */

enum { CONTROL_SIZE = 2 + 2 + 19 + 19 };

static void assert_fragment(struct kv_bytes frame, uint8_t kind, uint64_t sequence, uint64_t id,
                            size_t content)
{
    cr_assert_eq(frame.data[0], KV_TERM_VERSION);
    cr_assert_eq(frame.data[1], kind);
    cr_assert_eq(kv_get64(frame.data + 2), sequence);
    cr_assert_eq(kv_get64(frame.data + 10), id);
    cr_assert_eq(frame.length, KV_FRAGMENT_HEADER + content);
}

/* As OTP 25.2.3 sends them: 65536 bytes of terms in each, and one more byte in the first. */
Test(outgoing, a_large_message_leaves_in_fragments)
{
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_buffer space = KV_BUFFER_INIT;
    send(&outgoing, 1, 2, 0, 200005, &ready);
    cr_assert_eq(ready.length, 0);
    cr_assert_eq(kv_outgoing_large_count(&outgoing), 1);
    kv_outgoing_fill(&outgoing, SIZE_MAX, &ready, NULL);
    struct kv_bytes frame = next_frame(&ready, &space);
    assert_fragment(frame, KV_FRAME_FIRST, 1, 4, 1 + KV_FRAGMENT_SIZE);
    cr_assert_eq(frame.data[KV_FRAGMENT_HEADER], 0, "no atom cache");
    cr_assert_eq(frame.data[KV_FRAGMENT_HEADER + 1], KV_TAG_SMALL_TUPLE);
    assert_fragment(next_frame(&ready, &space), KV_FRAME_OTHER, 1, 3, KV_FRAGMENT_SIZE);
    assert_fragment(next_frame(&ready, &space), KV_FRAME_OTHER, 1, 2, KV_FRAGMENT_SIZE);
    assert_fragment(next_frame(&ready, &space), KV_FRAME_OTHER, 1, 1,
                    200005 + CONTROL_SIZE - 3 * KV_FRAGMENT_SIZE);
    cr_assert_eq(ready.length, 0);
    cr_assert_eq(kv_outgoing_large_count(&outgoing), 0);
    cr_assert_eq(kv_outgoing_length(&outgoing), 0);
    kv_outgoing_free(&outgoing);
    kv_buffer_free(&ready);
    kv_buffer_free(&space);
}

Test(outgoing, a_payload_of_one_fragment_leaves_whole_and_one_byte_more_does_not)
{
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_buffer space = KV_BUFFER_INIT;
    send(&outgoing, 1, 2, 0, KV_FRAGMENT_SIZE, &ready);
    struct kv_bytes frame = next_frame(&ready, &space);
    cr_assert_eq(frame.length, KV_WHOLE_HEADER + CONTROL_SIZE + KV_FRAGMENT_SIZE);
    send(&outgoing, 1, 2, 0, KV_FRAGMENT_SIZE + 1, &ready);
    kv_outgoing_fill(&outgoing, SIZE_MAX, &ready, NULL);
    assert_fragment(next_frame(&ready, &space), KV_FRAME_FIRST, 1, 2, 1 + KV_FRAGMENT_SIZE);
    assert_fragment(next_frame(&ready, &space), KV_FRAME_OTHER, 1, 1, CONTROL_SIZE + 1);
    kv_outgoing_free(&outgoing);
    kv_buffer_free(&ready);
    kv_buffer_free(&space);
}

Test(outgoing, a_peer_without_fragments_gets_one_frame)
{
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED & ~KV_DFLAG_FRAGMENTS, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_buffer space = KV_BUFFER_INIT;
    send(&outgoing, 1, 2, 0, 200000, &ready);
    cr_assert_eq(kv_outgoing_length(&outgoing), 0);
    struct kv_bytes frame = next_frame(&ready, &space);
    cr_assert_eq(frame.data[0], KV_FRAME_PASS_THROUGH);
    cr_assert_eq(ready.length, 0);
    kv_outgoing_free(&outgoing);
    kv_buffer_free(&ready);
    kv_buffer_free(&space);
}

/* Without EXIT_PAYLOAD the reason is in the control term, which no fragment may cut. */
Test(outgoing, a_large_control_term_leaves_whole)
{
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED & ~KV_DFLAG_EXIT_PAYLOAD, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_buffer space = KV_BUFFER_INIT;
    struct kv_buffer reason = binary(0, 200000);
    struct kv_signal signal = message(1, 2, &reason);
    signal.kind = KV_SIGNAL_EXIT_LINK;
    cr_assert(kv_outgoing_signal(&outgoing, &signal, &ready));
    kv_outgoing_fill(&outgoing, SIZE_MAX, &ready, NULL);
    struct kv_bytes frame = next_frame(&ready, &space);
    cr_assert_eq(frame.data[1], KV_FRAME_WHOLE);
    cr_assert_eq(ready.length, 0);
    kv_buffer_free(&reason);
    kv_outgoing_free(&outgoing);
    kv_buffer_free(&ready);
    kv_buffer_free(&space);
}

Test(outgoing, a_signal_without_a_form_for_the_peer_is_dropped_and_leaves_no_trace)
{
    size_t outstanding = kv_alloc_outstanding();
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAG_FRAGMENTS, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    const size_t sizes[] = {20, 200000};
    for (int behind = 0; behind < 2; behind++) {
        for (size_t i = 0; i < 2; i++) {
            struct kv_buffer payload = binary(0, sizes[i]);
            struct kv_signal signal = message(1, 2, &payload);
            signal.kind = KV_SIGNAL_MESSAGE_ALIAS;
            signal.ref = (struct kv_ref){.node = kv_bytes_text("q@vm"), .count = 1};
            size_t before = kv_outgoing_length(&outgoing);
            cr_assert_not(kv_outgoing_signal(&outgoing, &signal, &ready));
            cr_assert_eq(kv_outgoing_length(&outgoing), before);
            kv_buffer_free(&payload);
        }
        send(&outgoing, 1, 2, 0, 200000, &ready);
    }
    cr_assert_eq(ready.length, 0);
    kv_outgoing_free(&outgoing);
    kv_buffer_free(&ready);
    cr_assert_eq(kv_alloc_outstanding(), outstanding);
}

/* ---- fairness -------------------------------------------------------------------------------- */

/* Removes all frames of `ready`. Returns the number of fragments before the first whole frame. */
static size_t fragments_before_whole(struct kv_buffer *ready)
{
    struct kv_buffer space = KV_BUFFER_INIT;
    size_t count = 0;
    while (ready->length > 0) {
        if (next_frame(ready, &space).data[1] == KV_FRAME_WHOLE) {
            kv_buffer_clear(ready);
            break;
        }
        count++;
    }
    kv_buffer_free(&space);
    return count;
}

Test(outgoing, a_small_message_waits_only_for_the_bytes_that_are_ready)
{
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    send(&outgoing, 1, 2, 0, 64 << 20, &ready);
    for (int i = 0; i < 100; i++) {
        kv_outgoing_fill(&outgoing, AHEAD, &ready, NULL);
        cr_assert_geq(ready.length, AHEAD);
        cr_assert_leq(ready.length, AHEAD + KV_FRAGMENT_SIZE);
        send(&outgoing, 1, 3, 0, 100, &ready);
        cr_assert_leq(fragments_before_whole(&ready), 4);
    }
    kv_outgoing_free(&outgoing);
    kv_buffer_free(&ready);
}

Test(outgoing, no_number_of_small_messages_stops_a_large_one)
{
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    send(&outgoing, 1, 2, 0, 1 << 20, &ready);
    for (int i = 0; i < 17; i++) {
        cr_assert_gt(kv_outgoing_length(&outgoing), 0);
        for (int k = 0; k < 5; k++) {
            send(&outgoing, 1, 3, 0, KV_FRAGMENT_SIZE, &ready);
        }
        cr_assert_gt(ready.length, AHEAD);
        kv_outgoing_fill(&outgoing, AHEAD, &ready, NULL);
        kv_buffer_clear(&ready);
    }
    cr_assert_eq(kv_outgoing_length(&outgoing), 0);
    kv_outgoing_free(&outgoing);
    kv_buffer_free(&ready);
}

Test(outgoing, large_messages_take_turns)
{
    enum { COUNT = 5 };
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_buffer space = KV_BUFFER_INIT;
    for (uint32_t i = 1; i <= COUNT; i++) {
        send(&outgoing, 1, i, 0, 1 << 20, &ready);
    }
    cr_assert_eq(kv_outgoing_large_count(&outgoing), COUNT);
    for (uint64_t i = 0; i < 50; i++) {
        kv_outgoing_fill(&outgoing, 1, &ready, NULL);
        struct kv_bytes frame = next_frame(&ready, &space);
        cr_assert_eq(kv_get64(frame.data + 2), i % COUNT + 1, "sequence at turn %d", (int)i);
        cr_assert_eq(ready.length, 0, "one fragment a turn");
    }
    kv_outgoing_free(&outgoing);
    kv_buffer_free(&ready);
    kv_buffer_free(&space);
}

/* Small messages of a stream leave in turns like fragments, some kilobytes at a time. */
Test(outgoing, a_stream_of_many_small_messages_does_not_hold_up_another)
{
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    send(&outgoing, 1, 2, 0, 100000, &ready);
    send(&outgoing, 1, 3, 0, 64 << 20, &ready);
    for (int i = 0; i < 10000; i++) {
        send(&outgoing, 1, 2, 0, 100, &ready);
    }
    cr_assert_eq(ready.length, 0);
    while (kv_outgoing_length(&outgoing) > 0) {
        kv_outgoing_fill(&outgoing, 1, &ready, NULL);
        cr_assert_leq(ready.length, 2 * (KV_FRAGMENT_SIZE + KV_FRAME_HEADER + KV_FRAGMENT_HEADER));
        kv_buffer_clear(&ready);
    }
    kv_outgoing_free(&outgoing);
    kv_buffer_free(&ready);
}

/* ---- order ----------------------------------------------------------------------------------- */

/* The numbers of all messages that leave, in the order in which they are complete. */
static void assert_arrival(struct kv_outgoing *outgoing, struct kv_buffer *ready,
                           const uint32_t *numbers, size_t count)
{
    const struct kv_fragment_limits limits = {
        .term = KV_TERM_LIMITS_DEFAULT, .message = SIZE_MAX, .pending = SIZE_MAX};
    struct kv_fragments fragments;
    struct kv_buffer space = KV_BUFFER_INIT;
    kv_fragments_init(&fragments, &limits, &KEY);
    kv_outgoing_fill(outgoing, SIZE_MAX, ready, NULL);
    for (size_t arrived = 0; arrived < count;) {
        struct kv_bytes whole;
        struct kv_signal signal = {0};
        int opcode = 0;
        struct kv_bytes frame = next_frame(ready, &space);
        cr_assert_eq(take_fragment(&fragments, frame, &whole), KV_OK);
        if (whole.length > 0) {
            cr_assert_eq(kv_control_decode(whole, KV_DFLAG_FRAGMENTS, &limits.term,
                                           kv_bytes_text("kv@h"), &signal, &opcode),
                         KV_OK);
            uint32_t number = kv_get32(signal.payload[0].data + BINARY_HEADER);
            cr_assert_eq(number, numbers[arrived], "%u where %u should be", number,
                         numbers[arrived]);
            arrived++;
        }
    }
    cr_assert_eq(ready->length, 0);
    cr_assert_eq(kv_outgoing_length(outgoing), 0);
    cr_assert_eq(kv_outgoing_small_length(outgoing), 0);
    kv_fragments_free(&fragments);
    kv_buffer_free(&space);
    kv_buffer_free(ready);
    kv_outgoing_free(outgoing);
}

Test(outgoing, a_small_message_waits_behind_a_large_one_of_the_same_pair)
{
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    send(&outgoing, 1, 2, 1, 200000, &ready);
    cr_assert_eq(kv_outgoing_small_length(&outgoing), 0);
    send(&outgoing, 1, 2, 2, 100, &ready);
    send(&outgoing, 1, 3, 3, 100, &ready);
    send(&outgoing, 4, 2, 4, 100, &ready);
    send(&outgoing, 1, 2, 5, 100, &ready);
    cr_assert_geq(kv_outgoing_small_length(&outgoing), 200);
    cr_assert_lt(kv_outgoing_small_length(&outgoing), 1000);
    assert_arrival(&outgoing, &ready, (const uint32_t[]){3, 4, 1, 2, 5}, 5);
}

Test(outgoing, a_large_message_waits_behind_a_large_one_of_the_same_pair)
{
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    send(&outgoing, 1, 2, 1, 300000, &ready);
    send(&outgoing, 1, 2, 2, 70000, &ready);
    send(&outgoing, 1, 3, 3, 70000, &ready);
    assert_arrival(&outgoing, &ready, (const uint32_t[]){3, 1, 2}, 3);
}

/* A reply to an alias and one to a pid are for the same process. */
Test(outgoing, messages_to_an_alias_and_to_its_pid_keep_their_order)
{
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_buffer payload = binary(1, 200000);
    struct kv_signal signal = message(1, 2, &payload);
    signal.kind = KV_SIGNAL_MESSAGE_ALIAS;
    signal.ref = (struct kv_ref){.node = kv_bytes_text("q@vm"), .count = 3};
    cr_assert(kv_outgoing_signal(&outgoing, &signal, &ready));
    send(&outgoing, 1, 2, 2, 100, &ready);
    kv_buffer_free(&payload);
    assert_arrival(&outgoing, &ready, (const uint32_t[]){1, 2}, 2);
}

static void send_name(struct kv_outgoing *outgoing, uint32_t from, uint32_t number, size_t size,
                      struct kv_buffer *ready)
{
    struct kv_buffer payload = binary(number, size);
    struct kv_signal signal = message(from, 0, &payload);
    signal.kind = KV_SIGNAL_MESSAGE_NAME;
    signal.name = kv_bytes_text("name");
    cr_assert(kv_outgoing_signal(outgoing, &signal, ready));
    kv_buffer_free(&payload);
}

/* The name may belong to any process that has a large message under way. */
Test(outgoing, a_message_to_a_name_waits_for_all_streams_of_its_sender)
{
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    send(&outgoing, 1, 2, 1, 200000, &ready);
    send(&outgoing, 1, 3, 2, 300000, &ready);
    send_name(&outgoing, 1, 3, 100, &ready);
    send_name(&outgoing, 9, 4, 100, &ready);
    send(&outgoing, 1, 5, 5, 100, &ready);
    assert_arrival(&outgoing, &ready, (const uint32_t[]){4, 1, 2, 3, 5}, 5);
}

Test(outgoing, signals_after_a_large_message_to_a_name_wait_behind_it)
{
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_buffer ready = KV_BUFFER_INIT;
    send_name(&outgoing, 1, 1, 200000, &ready);
    send(&outgoing, 1, 2, 2, 100, &ready);
    send(&outgoing, 1, 3, 3, 200000, &ready);
    send(&outgoing, 2, 3, 4, 100, &ready);
    send_name(&outgoing, 1, 5, 100, &ready);
    assert_arrival(&outgoing, &ready, (const uint32_t[]){4, 1, 2, 3, 5}, 5);
}

/* ---- any program of signals ------------------------------------------------------------------ */

enum { SENDERS = 3, RECEIVERS = 4, SIGNALS = 120, NAME_RECEIVER = 0 };

struct sent {
    uint32_t from;
    uint32_t to; /* NAME_RECEIVER: by name */
    size_t size;
    bool arrived;
};

struct world {
    uint64_t random;
    struct kv_outgoing outgoing;
    struct kv_fragments fragments;
    struct kv_buffer ready;
    struct kv_buffer space;
    struct sent sent[SIGNALS];
    uint32_t count;
    uint32_t arrived;
};

/* Sebastiano Vigna's splitmix64: the same seed gives the same program. */
static uint64_t next_random(struct world *world, uint64_t below)
{
    uint64_t z = (world->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

static void send_any(struct world *world)
{
    static const size_t sizes[] = {20,    100,    1000,   30000,  65536,
                                   65537, 100000, 131072, 200000, 500000};
    uint32_t number = world->count;
    struct sent *sent = &world->sent[number];
    *sent = (struct sent){
        .from = 1 + (uint32_t)next_random(world, SENDERS),
        .to = (uint32_t)next_random(world, RECEIVERS + 1),
        .size = sizes[next_random(world, sizeof sizes / sizeof *sizes)],
    };
    if (sent->to == NAME_RECEIVER && next_random(world, 3) != 0) {
        sent->to = 1;
    }
    if (sent->to == NAME_RECEIVER) {
        send_name(&world->outgoing, sent->from, number, sent->size, &world->ready);
    } else {
        send(&world->outgoing, sent->from, sent->to, number, sent->size, &world->ready);
    }
    world->count++;
}

/* No earlier message to a process that may be the same one is still under way. */
static void assert_in_order(const struct world *world, uint32_t number)
{
    const struct sent *late = &world->sent[number];
    for (uint32_t i = 0; i < number; i++) {
        const struct sent *early = &world->sent[i];
        bool related =
            early->from == late->from &&
            (early->to == late->to || early->to == NAME_RECEIVER || late->to == NAME_RECEIVER);
        cr_assert(!related || early->arrived, "%u overtook %u", number, i);
    }
}

static void receive(struct world *world, const struct kv_signal *signal)
{
    uint32_t number = kv_get32(signal->payload[0].data + BINARY_HEADER);
    cr_assert_lt(number, world->count);
    struct sent *sent = &world->sent[number];
    struct kv_buffer payload = binary(number, sent->size);
    cr_assert(kv_bytes_equal(signal->payload[0], kv_buffer_bytes(&payload)));
    cr_assert_eq(signal->from.id, sent->from);
    cr_assert_eq(signal->to.id, sent->to);
    cr_assert_not(sent->arrived);
    assert_in_order(world, number);
    sent->arrived = true;
    world->arrived++;
    kv_buffer_free(&payload);
}

static void take_all(struct world *world)
{
    while (world->ready.length > 0) {
        struct kv_bytes whole;
        struct kv_signal signal = {0};
        int opcode = 0;
        struct kv_bytes frame = next_frame(&world->ready, &world->space);
        cr_assert_leq(frame.length, KV_FRAGMENT_SIZE + 256);
        cr_assert_eq(take_fragment(&world->fragments, frame, &whole), KV_OK);
        if (whole.length > 0) {
            cr_assert_eq(kv_control_decode(whole, KV_DFLAG_FRAGMENTS, &world->fragments.limits.term,
                                           kv_bytes_text("kv@h"), &signal, &opcode),
                         KV_OK);
            receive(world, &signal);
        }
    }
}

static void run_program(uint64_t seed)
{
    size_t outstanding = kv_alloc_outstanding();
    const struct kv_fragment_limits limits = {
        .term = KV_TERM_LIMITS_DEFAULT, .message = SIZE_MAX, .pending = SIZE_MAX};
    struct world world = {.random = seed};
    init_outgoing(&world.outgoing, KV_DFLAGS_OFFERED, &KEY);
    kv_fragments_init(&world.fragments, &limits, &KEY);
    while (world.arrived < SIGNALS) {
        if (world.count < SIGNALS && next_random(&world, 3) != 0) {
            send_any(&world);
        } else {
            size_t before = world.ready.length;
            size_t ahead = 1 + (size_t)next_random(&world, AHEAD);
            kv_outgoing_fill(&world.outgoing, ahead, &world.ready, NULL);
            size_t most = (before > ahead ? before : ahead) + 2 * (KV_FRAGMENT_SIZE + 256);
            cr_assert_leq(world.ready.length, most);
            take_all(&world);
        }
        cr_assert_eq(world.count == world.arrived,
                     kv_outgoing_length(&world.outgoing) == 0 && world.ready.length == 0);
    }
    cr_assert_eq(kv_outgoing_large_count(&world.outgoing), 0);
    kv_outgoing_free(&world.outgoing);
    kv_fragments_free(&world.fragments);
    kv_buffer_free(&world.ready);
    kv_buffer_free(&world.space);
    cr_assert_eq(kv_alloc_outstanding(), outstanding);
}

Test(outgoing, all_messages_arrive_complete_and_in_order)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        run_program(seed);
    }
}

Test(outgoing, waiting_messages_are_dropped_with_the_connection)
{
    size_t outstanding = kv_alloc_outstanding();
    const struct kv_outgoing nothing = {0};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world world = {.random = seed, .outgoing = nothing};
        init_outgoing(&world.outgoing, KV_DFLAGS_OFFERED, &KEY);
        while (world.count < SIGNALS) {
            send_any(&world);
        }
        kv_outgoing_fill(&world.outgoing, 1 << 20, &world.ready, NULL);
        kv_outgoing_free(&world.outgoing);
        kv_buffer_free(&world.ready);
        cr_assert_eq(kv_alloc_outstanding(), outstanding);
    }
}

Test(outgoing, a_zeroed_struct_may_be_freed)
{
    struct kv_outgoing outgoing = {0};
    kv_outgoing_free(&outgoing);
    cr_assert_eq(kv_outgoing_length(&outgoing), 0);
}
