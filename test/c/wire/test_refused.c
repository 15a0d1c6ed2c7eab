/* Messages over a limit: the bytes kept, and the signals read from these. */
#include "base/alloc.h"
#include "wire/control.h"
#include "wire/fragments.h"
#include "wire/frame.h"
#include "wire/handshake.h"

#include "support/signals.h"

#include <criterion/criterion.h>

static const struct kv_hash_key KEY = {1, 2};

enum { MESSAGE_LIMIT = 4096, PENDING_LIMIT = 8192, DEPTH_LIMIT = 16 };

static const struct kv_fragment_limits LIMITS = {
    .term = {.size = MESSAGE_LIMIT, .depth = DEPTH_LIMIT},
    .message = MESSAGE_LIMIT,
    .pending = PENDING_LIMIT,
};

/* ---- long frames ----------------------------------------------------------------------------- */

/* A frame of `length` bytes with its header. Each byte of the content tells its offset. */
static struct kv_buffer frame_of(size_t length)
{
    struct kv_buffer frame = KV_BUFFER_INIT;
    kv_buffer_u32(&frame, (uint32_t)length);
    for (size_t i = 0; i < length; i++) {
        kv_buffer_u8(&frame, (uint8_t)(i * 7 + (i >> 8)));
    }
    return frame;
}

static void assert_head(const struct kv_long_frame *frame, const struct kv_buffer *input,
                        size_t length)
{
    size_t kept = length < KV_HEAD_MAX ? length : KV_HEAD_MAX;
    cr_assert_eq(frame->left, 0);
    cr_assert_eq(frame->length, length);
    cr_assert_eq(frame->head.length, kept);
    cr_assert_eq(memcmp(frame->head.data, input->data + KV_FRAME_HEADER, kept), 0);
}

/* The rest of the input arrives in two parts. The first one ends at `split`. */
static void pass(const struct kv_buffer *input, size_t length, size_t split)
{
    struct kv_long_frame frame = {.length = 0};
    size_t at = kv_long_frame_begin(&frame, kv_buffer_bytes(input));
    cr_assert_eq(at, KV_FRAME_HEADER);
    size_t taken = kv_long_frame_take(&frame, kv_bytes(input->data + at, split));
    cr_assert_eq(taken, split);
    at += taken;
    at += kv_long_frame_take(&frame, kv_bytes(input->data + at, input->length - at));
    cr_assert_eq(at, KV_FRAME_HEADER + length, "what is behind is left");
    assert_head(&frame, input, length);
    kv_buffer_free(&frame.head);
}

Test(long_frame, it_may_be_split_at_every_place)
{
    const size_t lengths[] = {1, 100, 4097};
    for (size_t i = 0; i < 3; i++) {
        struct kv_buffer input = frame_of(lengths[i]);
        append_hex(&input, "00000001 61");
        for (size_t split = 0; split < lengths[i]; split++) {
            pass(&input, lengths[i], split);
        }
        kv_buffer_free(&input);
    }
}

Test(long_frame, the_first_64_KiB_are_kept_for_every_way_to_split_the_frame)
{
    const size_t length = KV_HEAD_MAX + 1000;
    struct kv_buffer input = frame_of(length);
    for (size_t split = KV_HEAD_MAX - 20; split < KV_HEAD_MAX + 20; split++) {
        pass(&input, length, split);
    }
    pass(&input, length, 0);
    pass(&input, length, length - 1);
    kv_buffer_free(&input);
}

Test(long_frame, the_longest_that_there_is_takes_no_more_memory)
{
    enum { CHUNK = 65536 };
    struct kv_long_frame frame = {.length = 0};
    struct kv_buffer chunk = frame_of(CHUNK);
    struct kv_buffer header = from_hex("ffffffff");
    uint64_t taken = 0;
    (void)kv_long_frame_begin(&frame, kv_buffer_bytes(&header));
    while (frame.left > 0) {
        taken += kv_long_frame_take(&frame, kv_bytes(chunk.data, CHUNK));
        cr_assert_leq(frame.head.capacity, 2 * KV_HEAD_MAX);
    }
    cr_assert_eq(taken, UINT32_MAX);
    kv_buffer_free(&frame.head);
    kv_buffer_free(&chunk);
    kv_buffer_free(&header);
}

/* ---- fragments ------------------------------------------------------------------------------- */

#define CONTROL_HEX "68 03 61 16" PEER_HEX OURS_HEX

static struct kv_fragments fragments_with(size_t message, size_t pending)
{
    struct kv_fragments fragments;
    struct kv_fragment_limits limits = LIMITS;
    limits.message = message;
    limits.pending = pending;
    kv_fragments_init(&fragments, &limits, &KEY);
    return fragments;
}

/* The content of all fragments of a message: 0, control, and a payload that fills the rest. */
static struct kv_buffer message_of(size_t length)
{
    struct kv_buffer message = from_hex("00" CONTROL_HEX);
    while (message.length < length) {
        kv_buffer_u8(&message, (uint8_t)(message.length * 5));
    }
    return message;
}

/* `length` bytes arrived, and `content` was kept. */
static int feed(struct kv_fragments *fragments, bool first, uint64_t sequence, uint64_t id,
                struct kv_bytes content, size_t length, struct kv_arrived *message)
{
    struct kv_buffer frame = KV_BUFFER_INIT;
    kv_buffer_u8(&frame, KV_TERM_VERSION);
    kv_buffer_u8(&frame, first ? KV_FRAME_FIRST : KV_FRAME_OTHER);
    kv_buffer_u64(&frame, sequence);
    kv_buffer_u64(&frame, id);
    kv_buffer_append(&frame, content);
    struct kv_bytes copy = exact_copy(kv_buffer_bytes(&frame));
    int error = kv_fragments_take(fragments, copy, KV_FRAGMENT_HEADER + length, message);
    free_copy(copy);
    kv_buffer_free(&frame);
    return error;
}

static struct kv_arrived take(struct kv_fragments *fragments, bool first, uint64_t sequence,
                              uint64_t id, const struct kv_buffer *message, size_t from, size_t to)
{
    struct kv_arrived arrived;
    struct kv_bytes content = kv_bytes(message->data + from, to - from);
    cr_assert_eq(feed(fragments, first, sequence, id, content, to - from, &arrived), KV_OK);
    cr_assert_eq(arrived.bytes.length == 0, id > 1);
    return arrived;
}

/* Refused, with at least so many bytes at its beginning. */
static void assert_refused(const struct kv_arrived *arrived, const struct kv_buffer *message,
                           int error, size_t least)
{
    cr_assert_eq(arrived->error, error, "%s", kv_error_text(arrived->error));
    cr_assert_eq(arrived->length, message->length + 2);
    cr_assert_geq(arrived->bytes.length, least);
    cr_assert_leq(arrived->bytes.length, KV_HEAD_MAX);
    cr_assert_eq(memcmp(arrived->bytes.data, "\x83\x44", 2), 0);
    cr_assert_eq(memcmp(arrived->bytes.data + 2, message->data, arrived->bytes.length - 2), 0);
}

static void assert_nothing_left(struct kv_fragments *fragments)
{
    cr_assert_eq(fragments->pending, 0);
    cr_assert_eq(fragments->sequences.count, 0);
    kv_fragments_free(fragments);
}

Test(refused_fragments, a_message_that_grows_beyond_the_limit_is_counted_and_its_beginning_kept)
{
    size_t outstanding = kv_alloc_outstanding();
    struct kv_buffer message = message_of(MESSAGE_LIMIT - 1);
    for (size_t at = 43; at <= message.length; at++) {
        struct kv_fragments fragments = fragments_with(MESSAGE_LIMIT, PENDING_LIMIT);
        (void)take(&fragments, true, 7, 2, &message, 0, at);
        struct kv_arrived arrived = take(&fragments, false, 7, 1, &message, at, message.length);
        assert_refused(&arrived, &message, KV_ESIZE, message.length + 2);
        kv_fragments_release(&fragments);
        assert_nothing_left(&fragments);
    }
    kv_buffer_free(&message);
    cr_assert_eq(kv_alloc_outstanding(), outstanding);
}

Test(refused_fragments, bytes_behind_the_first_64_KiB_take_no_memory)
{
    enum { PART = 10000, COUNT = 50 };
    struct kv_buffer message = message_of((size_t)PART * COUNT);
    struct kv_fragments fragments = fragments_with(4 * PART, SIZE_MAX);
    struct kv_arrived arrived = {.length = 0};
    for (size_t i = 0; i < COUNT; i++) {
        arrived = take(&fragments, i == 0, 7, COUNT - i, &message, i * PART, (i + 1) * PART);
        cr_assert_leq(fragments.pending, KV_HEAD_MAX);
    }
    assert_refused(&arrived, &message, KV_ESIZE, KV_HEAD_MAX);
    assert_nothing_left(&fragments);
    kv_buffer_free(&message);
}

Test(refused_fragments, memory_of_a_large_message_is_given_back_at_once)
{
    enum { PART = 500000 };
    struct kv_buffer message = message_of(3 * (size_t)PART);
    struct kv_fragments fragments = fragments_with(2 * PART, SIZE_MAX);
    (void)take(&fragments, true, 7, 4, &message, 0, PART);
    cr_assert_eq(fragments.pending, PART + 2);
    (void)take(&fragments, false, 7, 3, &message, PART, 3 * PART);
    cr_assert_eq(fragments.pending, KV_HEAD_MAX);
    (void)take(&fragments, false, 7, 2, &message, 0, 0);
    struct kv_arrived arrived = take(&fragments, false, 7, 1, &message, 0, 0);
    assert_refused(&arrived, &message, KV_ESIZE, KV_HEAD_MAX);
    assert_nothing_left(&fragments);
    kv_buffer_free(&message);
}

Test(refused_fragments, a_message_that_does_not_fit_is_refused_and_the_others_arrive_complete)
{
    enum { SIZE = 400000, PART = 250000 };
    struct kv_buffer message = message_of(SIZE);
    struct kv_fragments fragments = fragments_with(SIZE + 2, 900000);
    for (uint64_t i = 1; i <= 3; i++) {
        (void)take(&fragments, true, i, 3, &message, 0, PART);
    }
    for (uint64_t i = 1; i <= 3; i++) {
        (void)take(&fragments, false, i, 2, &message, PART, SIZE);
    }
    for (uint64_t i = 3; i >= 1; i--) {
        struct kv_arrived arrived = take(&fragments, false, i, 1, &message, 0, 0);
        if (i == 1) {
            assert_refused(&arrived, &message, KV_EPENDING, KV_HEAD_MAX);
        } else {
            cr_assert_eq(arrived.error, KV_OK);
            cr_assert_eq(arrived.bytes.length, message.length + 2);
        }
    }
    kv_fragments_release(&fragments);
    assert_nothing_left(&fragments);
    kv_buffer_free(&message);
}

/* Each message keeps its beginning even then. The limit on sequences bounds this memory. */
Test(refused_fragments, where_nothing_fits_any_more_every_message_is_refused)
{
    enum { COUNT = 1000 };
    struct kv_buffer message = message_of(4000);
    struct kv_fragments fragments = fragments_with(MESSAGE_LIMIT, MESSAGE_LIMIT);
    for (uint64_t i = 1; i <= COUNT; i++) {
        (void)take(&fragments, true, i, 2, &message, 0, 4000);
        cr_assert_leq(fragments.pending, MESSAGE_LIMIT + i * KV_HEAD_LEAST);
    }
    for (uint64_t i = 1; i <= COUNT; i++) {
        struct kv_arrived arrived = take(&fragments, false, i, 1, &message, 0, 0);
        if (i > 1) {
            assert_refused(&arrived, &message, KV_EPENDING, KV_HEAD_LEAST);
        } else {
            cr_assert_eq(arrived.error, KV_OK);
        }
    }
    kv_fragments_release(&fragments);
    assert_nothing_left(&fragments);
    kv_buffer_free(&message);
}

Test(refused_fragments, a_refused_message_still_breaks_the_rules_of_fragments)
{
    struct kv_buffer message = message_of(5000);
    const uint64_t wrong[] = {4, 2, 1, 0};
    for (size_t i = 0; i < 4; i++) {
        struct kv_arrived arrived;
        struct kv_fragments fragments = fragments_with(MESSAGE_LIMIT, PENDING_LIMIT);
        (void)take(&fragments, true, 7, 4, &message, 0, 5000);
        cr_assert_eq(feed(&fragments, false, 7, wrong[i], kv_bytes("", 0), 0, &arrived),
                     KV_EPROTOCOL);
        cr_assert_eq(feed(&fragments, true, 7, 3, kv_buffer_bytes(&message), 5000, &arrived),
                     KV_EPROTOCOL);
        kv_fragments_free(&fragments);
    }
    kv_buffer_free(&message);
}

/* A fragment in a frame over the limit. The rest of the frame was skipped. */
Test(refused_fragments, a_fragment_of_which_the_end_was_not_kept_refuses_its_message)
{
    struct kv_buffer message = message_of(3000);
    for (size_t kept = 1; kept <= 3000; kept++) {
        struct kv_fragments fragments = fragments_with(MESSAGE_LIMIT, PENDING_LIMIT);
        struct kv_arrived arrived = {.length = 0};
        cr_assert_eq(feed(&fragments, true, 7, 1, kv_bytes(message.data, kept), 100000, &arrived),
                     KV_OK);
        cr_assert_eq(arrived.error, KV_ESIZE);
        cr_assert_eq(arrived.length, 100002);
        cr_assert_eq(arrived.bytes.length, kept + 2);
        kv_fragments_free(&fragments);
    }
    kv_buffer_free(&message);
}

/* ---- the beginning of a message -------------------------------------------------------------- */

struct reading {
    int error;
    bool known;
    int opcode;
    struct kv_signal signal;
    struct kv_bytes copy;
};

/* Reads from memory that ends with the head. The caller frees the copy with free_copy(). */
static struct reading read_head(struct kv_bytes head, bool cut, uint64_t flags)
{
    struct reading reading = {.copy = exact_copy(head)};
    reading.error =
        kv_control_decode_refused(reading.copy, cut, flags, &LIMITS.term, kv_bytes_text("q@vm"),
                                  &reading.signal, &reading.opcode, &reading.known);
    return reading;
}

static struct reading read_hex(const char *hex, bool cut)
{
    struct kv_buffer head = from_hex(hex);
    struct reading reading = read_head(kv_buffer_bytes(&head), cut, KV_DFLAG_FRAGMENTS);
    kv_buffer_free(&head);
    return reading;
}

static size_t control_length(const struct control_message *message)
{
    struct kv_buffer frame = whole_frame(message);
    size_t length = KV_WHOLE_HEADER + kv_term_size(frame.data + KV_WHOLE_HEADER);
    kv_buffer_free(&frame);
    return length;
}

static void assert_ends(const struct kv_signal *signal, const struct kv_signal *expected,
                        const char *name)
{
    cr_assert_eq(signal->kind, expected->kind, "%s", name);
    cr_assert_eq(signal->by_name, expected->by_name, "%s", name);
    cr_assert(kv_pid_equal(&signal->from, &expected->from), "%s", name);
    cr_assert(kv_pid_equal(&signal->to, &expected->to), "%s", name);
    cr_assert(kv_ref_equal(&signal->ref, &expected->ref), "%s", name);
    cr_assert(kv_bytes_equal(signal->name, expected->name), "%s", name);
}

/* Returns true if a signal can act before its whole control message is there. */
static bool is_early(enum kv_signal_kind kind)
{
    return kind == KV_SIGNAL_EXIT_LINK || kind == KV_SIGNAL_EXIT || kind == KV_SIGNAL_DOWN ||
           kind == KV_SIGNAL_SPAWN_REQUEST;
}

/* The number of fields with which an early signal can act. All others need the whole tuple. */
static void assert_reading(const struct control_message *message, const struct reading *reading,
                           size_t at, size_t control)
{
    if (at >= control) {
        int error = message->payload != NULL ? KV_OK : KV_EPROTOCOL;
        cr_assert_eq(reading->error, error, "%s at %zu: %d", message->name, at, reading->error);
        cr_assert_eq(reading->known, error == KV_OK || reading->known);
    } else if (at >= KV_WHOLE_HEADER + 4) {
        cr_assert_eq(reading->error, KV_OK, "%s at %zu: %d", message->name, at, reading->error);
        cr_assert(!reading->known || is_early(message->signal.kind), "%s at %zu", message->name,
                  at);
    }
    if (reading->error == KV_OK && reading->known) {
        assert_ends(&reading->signal, &message->signal, message->name);
    }
}

Test(refused_control, every_message_may_be_cut_at_every_place)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        const struct control_message *message = &CONTROL_MESSAGES[i];
        struct kv_buffer frame = whole_frame(message);
        size_t control = control_length(message);
        for (size_t at = 0; at <= frame.length; at++) {
            struct reading reading = read_head(kv_bytes(frame.data, at), true, KV_DFLAG_FRAGMENTS);
            assert_reading(message, &reading, at, control);
            free_copy(reading.copy);
        }
        kv_buffer_free(&frame);
    }
}

Test(refused_control, the_part_of_a_payload_that_is_there_is_returned_unchanged)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        const struct control_message *message = &CONTROL_MESSAGES[i];
        struct kv_buffer frame = whole_frame(message);
        frame.length = control_length(message);
        append_hex(&frame, "ff fe fd");
        struct reading reading = read_head(kv_buffer_bytes(&frame), true, KV_DFLAG_FRAGMENTS);
        if (message->payload != NULL) {
            cr_assert_eq(reading.error, KV_OK, "%s", message->name);
            cr_assert(reading.known);
            cr_assert(kv_bytes_equal(reading.signal.payload[0], kv_bytes("\xff\xfe\xfd", 3)));
        } else {
            cr_assert_eq(reading.error, KV_EPROTOCOL, "%s", message->name);
        }
        free_copy(reading.copy);
        kv_buffer_free(&frame);
    }
}

Test(refused_control, the_form_without_fragments_is_read_too)
{
    struct kv_buffer frame = from_hex("70 83" CONTROL_HEX "83 68 03");
    for (size_t at = 0; at <= frame.length; at++) {
        struct reading reading = read_head(kv_bytes(frame.data, at), true, 0);
        cr_assert_eq(reading.error == KV_OK && reading.known, at >= frame.length - 3, "%zu", at);
        free_copy(reading.copy);
    }
    struct reading reading = read_head(kv_buffer_bytes(&frame), true, 0);
    cr_assert(kv_bytes_equal(reading.signal.payload[0], kv_bytes("\x68\x03", 2)));
    free_copy(reading.copy);
    kv_buffer_free(&frame);
}

#define DEEP                                                                                       \
    "6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6a"
#define RECORD "43 00000000 00 77 01 61 77 01 61"

static const struct {
    const char *name;
    const char *head;
    enum kv_signal_kind kind;
    bool known;
} SIGNALS[] = {
    {"EXIT", "83 44 00 68 04 61 03" PEER_HEX OURS_HEX DEEP, KV_SIGNAL_EXIT_LINK, true},
    {"EXIT2", "83 44 00 68 04 61 08" PEER_HEX OURS_HEX RECORD, KV_SIGNAL_EXIT, true},
    {"EXIT_TT", "83 44 00 68 05 61 0d" PEER_HEX OURS_HEX TOKEN_HEX DEEP, KV_SIGNAL_EXIT_LINK, true},
    {"EXIT_TT with a token", "83 44 00 68 05 61 0d" PEER_HEX OURS_HEX DEEP TERM_HEX,
     KV_SIGNAL_EXIT_LINK, true},
    {"EXIT2_TT", "83 44 00 68 05 61 12" PEER_HEX OURS_HEX TOKEN_HEX DEEP, KV_SIGNAL_EXIT, true},
    {"PAYLOAD_EXIT_TT with a token", "83 44 00 68 04 61 19" PEER_HEX OURS_HEX DEEP TERM_HEX,
     KV_SIGNAL_EXIT_LINK, true},
    {"MONITOR_P_EXIT", "83 44 00 68 05 61 15" PEER_HEX OURS_HEX REF_HEX DEEP, KV_SIGNAL_DOWN, true},
    {"MONITOR_P_EXIT of a name", "83 44 00 68 05 61 15" NAME_HEX OURS_HEX REF_HEX DEEP,
     KV_SIGNAL_DOWN, true},
    {"SPAWN_REQUEST", "83 44 00 68 06 61 1d" REF_HEX PEER_HEX PEER_HEX MFA_HEX DEEP ARGS_HEX,
     KV_SIGNAL_SPAWN_REQUEST, true},
    {"ALTACT_SIG_SEND of an exit", "83 44 00 68 05 61 25 61 12" PEER_HEX OURS_HEX DEEP,
     KV_SIGNAL_EXIT, true},
    {"ALTACT_SIG_SEND of a message", "83 44 00 68 05 61 25 61 02" PEER_HEX OURS_HEX DEEP,
     KV_SIGNAL_MESSAGE, false},
    {"SEND with something in its unused element", "83 44 00 68 03 61 02" DEEP OURS_HEX TERM_HEX,
     KV_SIGNAL_MESSAGE, false},
    {"SEND_TT with a token", "83 44 00 68 04 61 0c" EMPTY_HEX OURS_HEX DEEP TERM_HEX,
     KV_SIGNAL_MESSAGE, false},
    {"SPAWN_REPLY_TT with a token", "83 44 00 68 06 61 20" REF_HEX OURS_HEX "61 02" PEER_HEX DEEP,
     KV_SIGNAL_SPAWN_REPLY, false},
};

Test(refused_control, a_refused_control_message_gives_the_fields_in_front_of_the_refused_one)
{
    for (size_t i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++) {
        struct reading reading = read_hex(SIGNALS[i].head, false);
        cr_assert_eq(reading.error, KV_OK, "%s: %d", SIGNALS[i].name, reading.error);
        cr_assert_eq(reading.known, SIGNALS[i].known, "%s", SIGNALS[i].name);
        cr_assert_eq(reading.signal.kind, SIGNALS[i].kind, "%s", SIGNALS[i].name);
        free_copy(reading.copy);
    }
}

static const struct {
    const char *name;
    const char *head;
    int error;
} BAD[] = {
    {"nothing", "", KV_EPROTOCOL},
    {"the other form", "70 83" CONTROL_HEX "83 61", KV_EPROTOCOL},
    {"an atom cache", "83 44 01" CONTROL_HEX "61", KV_EPROTOCOL},
    {"a fragment", "83 45 00" CONTROL_HEX "61", KV_EPROTOCOL},
    {"a control message that is no tuple", "83 44 00 61 01 61 01", KV_EPROTOCOL},
    {"a malformed control message", "83 44 00 68 03 61 16 ff", KV_EMALFORMED},
    {"an unknown opcode", "83 44 00 68 01 61 63 61", KV_EOPCODE},
    {"an unknown opcode and a deep element", "83 44 00 68 02 61 63" DEEP, KV_EOPCODE},
    {"a wrong arity", "83 44 00 68 02 61 16" PEER_HEX "61", KV_EPROTOCOL},
    {"a wrong arity and a deep element", "83 44 00 68 03 61 16" PEER_HEX DEEP, KV_EPROTOCOL},
    {"a sender that is no pid", "83 44 00 68 03 61 16 61 01" OURS_HEX "61", KV_EPROTOCOL},
    {"an exit of a process of another node", "83 44 00 68 04 61 03" OURS_HEX OURS_HEX DEEP,
     KV_EPROTOCOL},
    {"something deep where a pid belongs", "83 44 00 68 04 61 03" PEER_HEX DEEP TERM_HEX,
     KV_EPROTOCOL},
    {"a record where a reference belongs", "83 44 00 68 04 61 13" PEER_HEX OURS_HEX RECORD,
     KV_EPROTOCOL},
    {"something malformed in front of a deep element",
     "83 44 00 68 05 61 0d" PEER_HEX OURS_HEX "ff" DEEP, KV_EMALFORMED},
    {"a deep opcode", "83 44 00 68 01" DEEP, KV_EPROTOCOL},
    {"more behind a message without a payload", "83 44 00 68 03 61 01" PEER_HEX OURS_HEX "61",
     KV_EPROTOCOL},
};

Test(refused_control, a_malformed_beginning_is_not_refused_but_wrong)
{
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        struct reading reading = read_hex(BAD[i].head, true);
        cr_assert_eq(reading.error, BAD[i].error, "%s: %d", BAD[i].name, reading.error);
        free_copy(reading.copy);
    }
}
