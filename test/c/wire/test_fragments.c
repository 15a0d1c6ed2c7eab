/* Fragments: messages that arrive in several frames. */
#include "base/alloc.h"
#include "wire/control.h"
#include "wire/fragments.h"
#include "wire/frame.h"
#include "wire/handshake.h"

#include "support/checks.h"
#include "support/signals.h"

#include <criterion/criterion.h>

static const struct kv_hash_key KEY = {1, 2};

enum { MESSAGE_LIMIT = 4096, PENDING_LIMIT = 8192 };

static const struct kv_fragment_limits LIMITS = {
    .term = {.size = MESSAGE_LIMIT, .depth = 16},
    .message = MESSAGE_LIMIT,
    .pending = PENDING_LIMIT,
};

static struct kv_fragments fragments_with(struct kv_fragment_limits limits)
{
    struct kv_fragments fragments;
    kv_fragments_init(&fragments, &limits, &KEY);
    return fragments;
}

static void frame_of(struct kv_buffer *to, uint8_t kind, uint64_t sequence, uint64_t id,
                     struct kv_bytes content)
{
    kv_buffer_clear(to);
    kv_buffer_u8(to, KV_TERM_VERSION);
    kv_buffer_u8(to, kind);
    kv_buffer_u64(to, sequence);
    kv_buffer_u64(to, id);
    kv_buffer_append(to, content);
}

/* Feeds a fragment from memory that ends with the fragment. */
static int feed(struct kv_fragments *fragments, uint8_t kind, uint64_t sequence, uint64_t id,
                struct kv_bytes content, struct kv_bytes *whole)
{
    struct kv_buffer frame = KV_BUFFER_INIT;
    frame_of(&frame, kind, sequence, id, content);
    struct kv_bytes copy = exact_copy(kv_buffer_bytes(&frame));
    int error = take_fragment(fragments, copy, whole);
    free_copy(copy);
    kv_buffer_free(&frame);
    return error;
}

static int feed_first(struct kv_fragments *fragments, uint64_t sequence, uint64_t id,
                      struct kv_bytes content)
{
    struct kv_bytes whole;
    int error = feed(fragments, KV_FRAME_FIRST, sequence, id, content, &whole);
    cr_assert_eq(whole.length, 0);
    return error;
}

static int feed_other(struct kv_fragments *fragments, uint64_t sequence, uint64_t id,
                      struct kv_bytes content)
{
    struct kv_bytes whole;
    return feed(fragments, KV_FRAME_OTHER, sequence, id, content, &whole);
}

static struct kv_bytes part(const struct kv_buffer *of, size_t from, size_t to)
{
    return kv_bytes(of->data + from, to - from);
}

#define CONTROL_HEX "68 03 61 16" PEER_HEX OURS_HEX

enum { CONTROL_SIZE = 1 + 4 + 19 + 19 }; /* with the number of cache references */

/* The content of all fragments of a message: 0, control, payload. */
static struct kv_buffer message_of(const char *payload)
{
    struct kv_buffer message = from_hex("00" CONTROL_HEX);
    append_hex(&message, payload);
    return message;
}

static void assert_whole(struct kv_bytes whole, const struct kv_buffer *message)
{
    cr_assert_eq(whole.length, message->length + 2);
    cr_assert_eq(memcmp(whole.data, "\x83\x44", 2), 0);
    cr_assert_eq(memcmp(whole.data + 2, message->data, message->length), 0);
}

static void assert_nothing_left(struct kv_fragments *fragments, size_t outstanding)
{
    cr_assert_eq(fragments->pending, 0);
    cr_assert_eq(fragments->sequences.count, 0);
    kv_fragments_free(fragments);
    cr_assert_eq(kv_alloc_outstanding(), outstanding);
}

/* ---- putting together ------------------------------------------------------------------------ */

#define PAYLOAD_HEX "6d 0000000a 30313233343536373839"

Test(fragments, a_message_may_be_split_at_every_place_behind_its_control_term)
{
    size_t outstanding = kv_alloc_outstanding();
    struct kv_buffer message = message_of(PAYLOAD_HEX);
    for (size_t at = CONTROL_SIZE; at <= message.length; at++) {
        struct kv_fragments fragments = fragments_with(LIMITS);
        struct kv_bytes whole;
        cr_assert_eq(feed_first(&fragments, 7, 2, part(&message, 0, at)), KV_OK);
        int error =
            feed(&fragments, KV_FRAME_OTHER, 7, 1, part(&message, at, message.length), &whole);
        cr_assert_eq(error, KV_OK);
        assert_whole(whole, &message);
        kv_fragments_release(&fragments);
        assert_nothing_left(&fragments, outstanding + 1);
    }
    kv_buffer_free(&message);
}

Test(fragments, a_message_may_come_byte_by_byte)
{
    struct kv_buffer message = message_of(PAYLOAD_HEX);
    struct kv_fragments fragments = fragments_with(LIMITS);
    struct kv_bytes whole = {0};
    uint64_t id = message.length - CONTROL_SIZE + 1;
    cr_assert_eq(feed_first(&fragments, 7, id--, part(&message, 0, CONTROL_SIZE)), KV_OK);
    for (size_t at = CONTROL_SIZE; at < message.length; at++, id--) {
        cr_assert_eq(whole.length, 0);
        int error = feed(&fragments, KV_FRAME_OTHER, 7, id, part(&message, at, at + 1), &whole);
        cr_assert_eq(error, KV_OK);
    }
    assert_whole(whole, &message);
    kv_fragments_free(&fragments);
    kv_buffer_free(&message);
}

Test(fragments, a_message_may_be_one_fragment)
{
    struct kv_buffer message = message_of(PAYLOAD_HEX);
    struct kv_fragments fragments = fragments_with(LIMITS);
    struct kv_bytes whole;
    int error = feed(&fragments, KV_FRAME_FIRST, UINT64_MAX, 1, kv_buffer_bytes(&message), &whole);
    cr_assert_eq(error, KV_OK);
    assert_whole(whole, &message);
    kv_fragments_free(&fragments);
    kv_buffer_free(&message);
}

Test(fragments, a_message_in_fragments_is_decoded_like_a_whole_frame)
{
    struct kv_buffer message = message_of(TERM_HEX);
    struct kv_fragments fragments = fragments_with(LIMITS);
    struct kv_bytes whole;
    struct kv_signal expected = {.kind = KV_SIGNAL_MESSAGE, .from = PEER, .to = OURS, PARTS(TERM)};
    struct kv_signal signal = {0};
    int opcode = 0;
    cr_assert_eq(feed_first(&fragments, 1, 2, part(&message, 0, CONTROL_SIZE + 1)), KV_OK);
    (void)feed(&fragments, KV_FRAME_OTHER, 1, 1, part(&message, CONTROL_SIZE + 1, message.length),
               &whole);
    cr_assert_eq(kv_control_decode(whole, KV_DFLAG_FRAGMENTS, &LIMITS.term, kv_bytes_text("q@vm"),
                                   &signal, &opcode),
                 KV_OK);
    assert_signal(&signal, &expected, "SEND_SENDER");
    kv_fragments_free(&fragments);
    kv_buffer_free(&message);
}

/* Sent by b@127.0.0.1, an OTP 25.2.3, to c@127.0.0.1 for a binary of 65536 times "x". */
Test(fragments, fragments_captured_from_a_beam_are_understood)
{
    struct kv_buffer first = from_hex(
        "834500000048000000930000000000000002006803611658770b62403132372e302e302e3100000009000000"
        "006b01582758770b63403132372e302e302e3100000001000000000000004d6d00010000");
    struct kv_buffer last = from_hex("834600000048000000930000000000000001");
    const struct kv_fragment_limits limits = {
        .term = KV_TERM_LIMITS_DEFAULT, .message = SIZE_MAX, .pending = SIZE_MAX};
    struct kv_fragments fragments = fragments_with(limits);
    struct kv_bytes whole;
    struct kv_signal signal = {0};
    int opcode = 0;
    while (first.length < KV_FRAGMENT_HEADER + 1 + KV_FRAGMENT_SIZE) {
        kv_buffer_u8(&first, 'x');
    }
    while (last.length < 79) {
        kv_buffer_u8(&last, 'x');
    }
    cr_assert_eq(take_fragment(&fragments, kv_buffer_bytes(&first), &whole), KV_OK);
    cr_assert_eq(take_fragment(&fragments, kv_buffer_bytes(&last), &whole), KV_OK);
    cr_assert_eq(kv_control_decode(whole, KV_DFLAG_FRAGMENTS, &limits.term,
                                   kv_bytes_text("b@127.0.0.1"), &signal, &opcode),
                 KV_OK);
    cr_assert_eq(opcode, 22);
    cr_assert_eq(signal.payload[0].length, 5 + 65536);
    cr_assert_eq(signal.payload[0].data[5 + 65535], 'x');
    kv_buffer_free(&first);
    kv_buffer_free(&last);
    kv_fragments_free(&fragments);
}

Test(fragments, a_whole_frame_is_passed_on_unchanged)
{
    const char *frames[] = {"83 44 00 6a", "83 44", "83", "70 83 6a", "83 47", "00 45"};
    struct kv_fragments fragments = fragments_with(LIMITS);
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        struct kv_buffer frame = from_hex(frames[i]);
        struct kv_bytes whole;
        cr_assert_eq(take_fragment(&fragments, kv_buffer_bytes(&frame), &whole), KV_OK);
        cr_assert_eq(whole.data, frame.data);
        cr_assert_eq(whole.length, frame.length);
        kv_buffer_free(&frame);
    }
    kv_fragments_free(&fragments);
}

/* Messages are complete in the order of their last fragments. */
Test(fragments, sequences_and_whole_frames_may_be_interleaved)
{
    enum { COUNT = 200 };
    size_t outstanding = kv_alloc_outstanding();
    struct kv_fragment_limits limits = LIMITS;
    limits.pending = (size_t)COUNT * 256;
    struct kv_fragments fragments = fragments_with(limits);
    struct kv_buffer message = message_of(PAYLOAD_HEX);
    struct kv_bytes whole;
    for (uint64_t i = 1; i <= COUNT; i++) {
        message.data[message.length - 1] = (uint8_t)i;
        cr_assert_eq(feed_first(&fragments, i << 32, 3, part(&message, 0, CONTROL_SIZE)), KV_OK);
    }
    for (uint64_t i = COUNT; i >= 1; i--) {
        struct kv_buffer tick = from_hex("83 44 00 6a");
        cr_assert_eq(feed_other(&fragments, i << 32, 2, kv_bytes(NULL, 0)), KV_OK);
        cr_assert_eq(take_fragment(&fragments, kv_buffer_bytes(&tick), &whole), KV_OK);
        kv_buffer_free(&tick);
    }
    cr_assert_eq(fragments.sequences.count, COUNT);
    for (uint64_t i = 1; i <= COUNT; i++) {
        message.data[message.length - 1] = (uint8_t)i;
        struct kv_bytes rest = part(&message, CONTROL_SIZE, message.length);
        cr_assert_eq(feed(&fragments, KV_FRAME_OTHER, i << 32, 1, rest, &whole), KV_OK);
        assert_whole(whole, &message);
    }
    kv_buffer_free(&message);
    kv_fragments_release(&fragments);
    cr_assert_eq(fragments.sequences.count, 0);
    kv_fragments_free(&fragments);
    cr_assert_eq(kv_alloc_outstanding(), outstanding);
}

Test(fragments, a_number_may_be_used_again_when_its_sequence_is_done)
{
    struct kv_buffer message = message_of(PAYLOAD_HEX);
    struct kv_fragments fragments = fragments_with(LIMITS);
    for (int i = 0; i < 3; i++) {
        struct kv_bytes whole;
        cr_assert_eq(feed_first(&fragments, 9, 2, part(&message, 0, CONTROL_SIZE)), KV_OK);
        int error = feed(&fragments, KV_FRAME_OTHER, 9, 1,
                         part(&message, CONTROL_SIZE, message.length), &whole);
        cr_assert_eq(error, KV_OK);
        assert_whole(whole, &message);
    }
    kv_fragments_free(&fragments);
    kv_buffer_free(&message);
}

Test(fragments, unfinished_messages_are_dropped_with_the_connection)
{
    size_t outstanding = kv_alloc_outstanding();
    struct kv_buffer message = message_of(PAYLOAD_HEX);
    struct kv_fragments fragments = fragments_with(LIMITS);
    for (uint64_t i = 1; i <= 50; i++) {
        cr_assert_eq(feed_first(&fragments, i, 2, part(&message, 0, CONTROL_SIZE + 3)), KV_OK);
    }
    kv_fragments_free(&fragments);
    kv_buffer_free(&message);
    cr_assert_eq(kv_alloc_outstanding(), outstanding);
}

/* ---- what closes the connection
 * ------------------------------------------------------------------------- */

/* Each is fed after fragment 3 of sequence 5, which now awaits fragment 2. */
static const struct {
    const char *name;
    const char *frame;
    int error;
} REFUSED[] = {
    {"an unknown sequence", "83 46 0000000000000006 0000000000000002 00", KV_EPROTOCOL},
    {"a second first fragment", "83 45 0000000000000005 0000000000000003 00" CONTROL_HEX,
     KV_EPROTOCOL},
    {"a second first fragment with the id awaited",
     "83 45 0000000000000005 0000000000000002 00" CONTROL_HEX, KV_EPROTOCOL},
    {"the same id again", "83 46 0000000000000005 0000000000000003 00", KV_EPROTOCOL},
    {"an id left out", "83 46 0000000000000005 0000000000000001 00", KV_EPROTOCOL},
    {"an id of 0", "83 46 0000000000000005 0000000000000000 00", KV_EPROTOCOL},
    {"a first id of 0", "83 45 0000000000000006 0000000000000000 00" CONTROL_HEX, KV_EPROTOCOL},
    {"a sequence of 0", "83 45 0000000000000000 0000000000000002 00" CONTROL_HEX, KV_EPROTOCOL},
    {"an atom cache", "83 45 0000000000000006 0000000000000002 01" CONTROL_HEX, KV_EPROTOCOL},
    {"a control term that is not whole", "83 45 0000000000000006 0000000000000002 00 68 03 61 16",
     KV_ETRUNCATED},
    {"no control term", "83 45 0000000000000006 0000000000000002 00", KV_ETRUNCATED},
    {"nothing behind the id", "83 45 0000000000000006 0000000000000002", KV_ETRUNCATED},
    {"a malformed control term", "83 45 0000000000000006 0000000000000002 00 68 01 ff",
     KV_EMALFORMED},
    {"a header that is not whole", "83 46 0000000000000005 00000000000000", KV_ETRUNCATED},
    {"a header of two bytes", "83 45", KV_ETRUNCATED},
};

Test(fragments, a_fragment_out_of_order_or_shape_is_refused)
{
    size_t outstanding = kv_alloc_outstanding();
    for (size_t i = 0; i < sizeof REFUSED / sizeof *REFUSED; i++) {
        struct kv_fragments fragments = fragments_with(LIMITS);
        struct kv_buffer begun = message_of("");
        struct kv_buffer frame = from_hex(REFUSED[i].frame);
        struct kv_bytes copy = exact_copy(kv_buffer_bytes(&frame));
        struct kv_bytes whole;
        cr_assert_eq(feed_first(&fragments, 5, 3, kv_buffer_bytes(&begun)), KV_OK);
        int error = take_fragment(&fragments, copy, &whole);
        cr_assert_eq(error, REFUSED[i].error, "%s: %d", REFUSED[i].name, error);
        free_copy(copy);
        kv_buffer_free(&frame);
        kv_buffer_free(&begun);
        kv_fragments_free(&fragments);
    }
    cr_assert_eq(kv_alloc_outstanding(), outstanding);
}

Test(fragments, a_control_term_cut_at_any_place_is_refused)
{
    struct kv_buffer message = message_of("");
    for (size_t length = 0; length < message.length; length++) {
        struct kv_fragments fragments = fragments_with(LIMITS);
        cr_assert_eq(feed_first(&fragments, 5, 2, part(&message, 0, length)), KV_ETRUNCATED);
        kv_fragments_free(&fragments);
    }
    kv_buffer_free(&message);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static struct kv_buffer zeros(size_t count)
{
    struct kv_buffer buffer = KV_BUFFER_INIT;
    memset(kv_buffer_reserve(&buffer, count), 0, count);
    buffer.length = count;
    return buffer;
}

/* The limit is for a frame with the whole message. */
Test(fragments, a_message_may_be_as_large_as_the_limit_and_no_larger)
{
    struct kv_buffer begun = message_of("");
    struct kv_buffer rest = zeros(MESSAGE_LIMIT);
    size_t room = MESSAGE_LIMIT - 2 - begun.length;
    for (size_t over = 0; over < 2; over++) {
        struct kv_fragments fragments = fragments_with(LIMITS);
        cr_assert_eq(feed_first(&fragments, 5, 2, kv_buffer_bytes(&begun)), KV_OK);
        cr_assert_eq(feed_other(&fragments, 5, 1, part(&rest, 0, room + over)),
                     over == 0 ? KV_OK : KV_ESIZE);
        kv_fragments_free(&fragments);
    }
    kv_buffer_free(&begun);
    kv_buffer_free(&rest);
}

Test(fragments, all_unfinished_messages_together_may_be_as_large_as_the_limit)
{
    struct kv_buffer begun = message_of("");
    struct kv_buffer rest = zeros(PENDING_LIMIT);
    size_t room = PENDING_LIMIT - 3 * (begun.length + 2);
    struct kv_fragments fragments = fragments_with(LIMITS);
    for (uint64_t i = 1; i <= 3; i++) {
        cr_assert_eq(feed_first(&fragments, i, 9, kv_buffer_bytes(&begun)), KV_OK);
        cr_assert_eq(feed_other(&fragments, i, 8, part(&rest, 0, room / 3)), KV_OK);
    }
    cr_assert_eq(feed_other(&fragments, 1, 7, part(&rest, 0, room % 3)), KV_OK);
    cr_assert_eq(fragments.pending, PENDING_LIMIT);
    cr_assert_eq(feed_other(&fragments, 2, 7, kv_bytes(NULL, 0)), KV_OK);
    cr_assert_eq(feed_other(&fragments, 3, 7, part(&rest, 0, 1)), KV_OK);
    for (uint64_t id = 6; id > 1; id--) {
        cr_assert_eq(feed_other(&fragments, 2, id, kv_bytes(NULL, 0)), KV_OK);
        cr_assert_eq(feed_other(&fragments, 3, id, kv_bytes(NULL, 0)), KV_OK);
    }
    cr_assert_eq(feed_other(&fragments, 3, 1, kv_bytes(NULL, 0)), KV_EPENDING);
    cr_assert_eq(feed_other(&fragments, 2, 1, kv_bytes(NULL, 0)), KV_OK);
    kv_fragments_free(&fragments);
    kv_buffer_free(&begun);
    kv_buffer_free(&rest);
}

Test(fragments, a_finished_message_makes_room_for_others)
{
    struct kv_fragment_limits limits = LIMITS;
    limits.pending = MESSAGE_LIMIT;
    struct kv_fragments fragments = fragments_with(limits);
    struct kv_buffer begun = message_of("");
    struct kv_buffer rest = zeros(MESSAGE_LIMIT - 2 - begun.length);
    for (uint64_t i = 1; i <= 4; i++) {
        cr_assert_eq(feed_first(&fragments, i, 2, kv_buffer_bytes(&begun)), KV_OK);
        cr_assert_eq(feed_other(&fragments, i, 1, kv_buffer_bytes(&rest)), KV_OK);
    }
    kv_fragments_free(&fragments);
    kv_buffer_free(&begun);
    kv_buffer_free(&rest);
}

Test(fragments, a_claim_of_many_fragments_takes_no_memory)
{
    struct kv_fragments fragments = fragments_with(LIMITS);
    struct kv_buffer begun = message_of("");
    cr_assert_eq(feed_first(&fragments, 5, UINT64_MAX, kv_buffer_bytes(&begun)), KV_OK);
    cr_assert_eq(fragments.pending, begun.length + 2);
    cr_assert_eq(feed_other(&fragments, 5, UINT64_MAX - 1, kv_bytes(NULL, 0)), KV_OK);
    cr_assert_eq(fragments.pending, begun.length + 2);
    kv_fragments_free(&fragments);
    kv_buffer_free(&begun);
}

Test(fragments, there_is_a_bound_to_the_number_of_sequences)
{
    struct kv_fragment_limits limits = LIMITS;
    limits.pending = SIZE_MAX;
    struct kv_fragments fragments = fragments_with(limits);
    struct kv_buffer begun = message_of("");
    for (uint64_t i = 1; i <= KV_SEQUENCES_MAX; i++) {
        cr_assert_eq(feed_first(&fragments, i, 2, kv_buffer_bytes(&begun)), KV_OK);
    }
    cr_assert_eq(feed_first(&fragments, KV_SEQUENCES_MAX + 1, 2, kv_buffer_bytes(&begun)),
                 KV_ESIZE);
    kv_fragments_free(&fragments);
    kv_buffer_free(&begun);
}
