/* The short cut for calls gives the results of wire/control.h. */
#include "wire/handshake.h"
#include "wire/shapes.h"

#include "support/checks.h"
#include "support/signals.h"

static const struct kv_term_limits LIMITS = {.size = 4096, .depth = 16};

static struct kv_bytes self(void)
{
    return kv_bytes_text("kv@h");
}

static struct kv_bytes peer(void)
{
    return kv_bytes_text("q@vm");
}

static struct kv_shapes shapes_with(uint64_t flags)
{
    struct kv_shapes shapes;
    kv_shapes_init(&shapes, flags, self(), peer());
    return shapes;
}

/* ---- reading --------------------------------------------------------------------------------- */

#define MONITOR   "83 44 00 68 04 61 13" PEER_HEX OURS_HEX REF_HEX
#define DEMONITOR "83 44 00 68 04 61 14" PEER_HEX OURS_HEX REF_HEX
#define TO_US     "83 44 00 68 03 61 16" PEER_HEX OURS_HEX
#define GEN_CALL                                                                                   \
    TO_US "68 03 77 09 2467656e5f63616c6c 68 02" PEER_HEX "6c 00000001 77 05 616c696173" REF_HEX
#define KV_CALL TO_US "68 03 77 08 246b765f63616c6c" REF_HEX

static const struct {
    const char *frame;
    enum kv_call_shape call;
} FRAMES[] = {
    {MONITOR, KV_CALL_UNKNOWN},
    {DEMONITOR, KV_CALL_UNKNOWN},
    {GEN_CALL "68 03 77 03 676574 6d 00000001 6b 77 03 6e696c", KV_CALL_GEN},
    {GEN_CALL "77 04 73697a65", KV_CALL_GEN},
    {KV_CALL "68 02 77 03 676574 6c 00000001 61 01 6a", KV_CALL_KV},
    {KV_CALL "68 03 77 03 707574 61 01 74 00000001 61 01 6a", KV_CALL_KV},
};
enum { FRAME_COUNT = sizeof FRAMES / sizeof *FRAMES };

/* Decodes in both ways, from memory that ends with the frame, and compares the results if the short
 * cut accepts the frame. */
static bool decode(const struct kv_shapes *shapes, struct kv_bytes frame,
                   const struct kv_term_limits *limits, enum kv_call_shape call)
{
    struct kv_incoming known = {.call = KV_CALL_UNKNOWN};
    struct kv_signal general = {0};
    int known_opcode = -2;
    int opcode = -2;
    struct kv_bytes copy = exact_copy(frame);
    bool taken = kv_shapes_decode(shapes, copy, limits, &known, &known_opcode);
    if (taken) {
        cr_assert_eq(kv_control_decode(copy, KV_DFLAG_FRAGMENTS, limits, peer(), &general, &opcode),
                     KV_OK);
        cr_assert_eq(known_opcode, opcode);
        assert_signal(&known.signal, &general, "by its shape");
        cr_assert_eq(known.call, call);
        cr_assert_eq(known.signal.from.node.data, shapes->peer.data);
        cr_assert_eq(known.signal.to.node.data, shapes->self.data);
    }
    free_copy(copy);
    return taken;
}

Test(shapes, the_frames_of_a_call_are_accepted)
{
    struct kv_shapes shapes = shapes_with(KV_DFLAGS_OFFERED);
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        struct kv_buffer frame = from_hex(FRAMES[i].frame);
        cr_assert(decode(&shapes, kv_buffer_bytes(&frame), &LIMITS, FRAMES[i].call), "%zu", i);
        kv_buffer_free(&frame);
    }
}

Test(shapes, only_monitors_on_our_pids_by_processes_of_the_peer_are_accepted)
{
    struct kv_shapes shapes = shapes_with(KV_DFLAGS_OFFERED);
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        const struct control_message *message = &CONTROL_MESSAGES[i];
        struct kv_buffer frame = whole_frame(message);
        bool monitors =
            (message->opcode == 19 || message->opcode == 20) && !message->signal.by_name;
        cr_assert_eq(decode(&shapes, kv_buffer_bytes(&frame), &LIMITS, KV_CALL_UNKNOWN), monitors,
                     "%s", message->name);
        kv_buffer_free(&frame);
    }
}

Test(shapes, every_truncation_and_every_changed_byte_gives_the_result_of_the_general_decoder)
{
    struct kv_shapes shapes = shapes_with(KV_DFLAGS_OFFERED);
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        struct kv_buffer frame = from_hex(FRAMES[i].frame);
        for (size_t at = 0; at < frame.length; at++) {
            uint8_t right = frame.data[at];
            cr_assert_not(decode(&shapes, kv_bytes(frame.data, at), &LIMITS, KV_CALL_UNKNOWN));
            for (unsigned byte = 0; byte <= UINT8_MAX; byte++) {
                frame.data[at] = (uint8_t)byte;
                (void)decode(&shapes, kv_buffer_bytes(&frame), &LIMITS, FRAMES[i].call);
            }
            frame.data[at] = right;
        }
        kv_buffer_u8(&frame, KV_TAG_NIL);
        cr_assert_not(decode(&shapes, kv_buffer_bytes(&frame), &LIMITS, FRAMES[i].call + 1));
        kv_buffer_free(&frame);
    }
}

/* Offsets of the bytes that may have any value: the numbers of two pids and of a reference. */
Test(shapes, a_byte_outside_the_numbers_must_not_change)
{
    struct kv_shapes shapes = shapes_with(KV_DFLAGS_OFFERED);
    struct kv_buffer frame = from_hex(MONITOR);
    enum { HEAD = 7, PID_SIZE = 1 + 6 + 12, NUMBERS = 12, REF_SIZE = 3 + 6 + 16, WORDS = 16 };
    for (size_t at = 0; at < frame.length; at++) {
        bool first = at >= HEAD + PID_SIZE - NUMBERS && at < HEAD + PID_SIZE;
        bool second = at >= HEAD + 2 * PID_SIZE - NUMBERS && at < HEAD + 2 * PID_SIZE;
        bool words = at >= HEAD + 2 * PID_SIZE + REF_SIZE - WORDS;
        frame.data[at] ^= 0x80;
        cr_assert_eq(decode(&shapes, kv_buffer_bytes(&frame), &LIMITS, KV_CALL_UNKNOWN),
                     first || second || words, "byte %zu", at);
        frame.data[at] ^= 0x80;
    }
    kv_buffer_free(&frame);
}

Test(shapes, a_call_is_held_to_the_limits_of_the_general_decoder)
{
    struct kv_shapes shapes = shapes_with(KV_DFLAGS_OFFERED);
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        struct kv_buffer frame = from_hex(FRAMES[i].frame);
        for (size_t limit = 0; limit < 2 * frame.length; limit++) {
            struct kv_term_limits size = {.size = limit, .depth = 16};
            struct kv_term_limits depth = {.size = 4096, .depth = limit};
            (void)decode(&shapes, kv_buffer_bytes(&frame), &depth, FRAMES[i].call);
            (void)decode(&shapes, kv_buffer_bytes(&frame), &size, FRAMES[i].call);
        }
        kv_buffer_free(&frame);
    }
}

Test(shapes, a_request_that_has_a_key_twice_is_not_taken)
{
    struct kv_shapes shapes = shapes_with(KV_DFLAGS_OFFERED);
    struct kv_buffer frame = from_hex(GEN_CALL "74 00000002 61 01 6a 61 01 6a");
    cr_assert_not(decode(&shapes, kv_buffer_bytes(&frame), &LIMITS, 11));
    kv_buffer_free(&frame);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void append_node(struct kv_buffer *to, struct kv_bytes node)
{
    kv_buffer_u8(to, KV_TAG_SMALL_ATOM_UTF8);
    kv_buffer_u8(to, (uint8_t)node.length);
    kv_buffer_append(to, node);
}

static struct kv_buffer monitor_of(struct kv_bytes ours, struct kv_bytes theirs)
{
    struct kv_buffer frame = from_hex("83 44 00 68 04 61 13 58");
    append_node(&frame, theirs);
    append_hex(&frame, "00000009 00000000 6b0073f1 58");
    append_node(&frame, ours);
    append_hex(&frame, "00000007 00000001 0000002a 5a 0003");
    append_node(&frame, theirs);
    append_hex(&frame, "6b0073f1 00000001 00000002 00000003");
    return frame;
}

static bool takes_monitor(struct kv_bytes ours, struct kv_bytes theirs)
{
    struct kv_shapes shapes;
    struct kv_incoming incoming = {.call = KV_CALL_UNKNOWN};
    int opcode = 0;
    struct kv_buffer frame = monitor_of(ours, theirs);
    kv_shapes_init(&shapes, KV_DFLAGS_OFFERED, ours, theirs);
    struct kv_bytes copy = exact_copy(kv_buffer_bytes(&frame));
    bool taken = kv_shapes_decode(&shapes, copy, &LIMITS, &incoming, &opcode);
    free_copy(copy);
    kv_buffer_free(&frame);
    return taken;
}

Test(shapes, names_of_every_length_have_shapes_as_long_as_there_is_room)
{
    char text[256];
    memset(text, 'n', sizeof text);
    enum {
        CALL_SIZE = 100
    }; /* the longest shape without names: ours once and theirs three times */
    for (size_t ours = 1; ours <= UINT8_MAX; ours++) {
        for (size_t theirs = 1; theirs <= UINT8_MAX; theirs++) {
            cr_assert_eq(takes_monitor(kv_bytes(text, ours), kv_bytes(text, theirs)),
                         CALL_SIZE + ours + 3 * theirs < KV_SHAPE_MAX, "%zu, %zu", ours, theirs);
        }
    }
    cr_assert(takes_monitor(kv_bytes(text, 100), kv_bytes(text, 100)));
    cr_assert_not(takes_monitor(kv_bytes(text, 255), kv_bytes(text, 255)));
}

Test(shapes, a_name_that_is_not_ascii_has_no_shapes)
{
    cr_assert_not(takes_monitor(kv_bytes_text("k\xc3\xa4@h"), peer()));
    cr_assert_not(takes_monitor(self(), kv_bytes_text("q@v\xc3\xa4")));
    cr_assert_not(takes_monitor(kv_bytes_text(""), peer()));
}

Test(shapes, without_fragments_or_without_names_nothing_is_taken)
{
    struct kv_shapes none[] = {shapes_with(KV_DFLAGS_OFFERED & ~KV_DFLAG_FRAGMENTS), {.from = 0}};
    for (size_t set = 0; set < sizeof none / sizeof *none; set++) {
        for (size_t i = 0; i < FRAME_COUNT; i++) {
            struct kv_buffer frame = from_hex(FRAMES[i].frame);
            struct kv_incoming incoming = {.call = KV_CALL_UNKNOWN};
            int opcode = 0;
            cr_assert_not(
                kv_shapes_decode(&none[set], kv_buffer_bytes(&frame), &LIMITS, &incoming, &opcode));
            cr_assert_not(
                kv_shapes_decode(&none[set], kv_bytes(frame.data, 0), &LIMITS, &incoming, &opcode));
            kv_buffer_free(&frame);
        }
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static uint8_t filler[300];

static struct kv_signal answer_of(const struct kv_shapes *shapes, size_t part, size_t last)
{
    return (struct kv_signal){
        .kind = KV_SIGNAL_MESSAGE_ALIAS,
        .from = {.node = shapes->self, .id = 7, .serial = 0xfedcba98, .creation = 42},
        .ref = {.node = shapes->peer, .creation = 0x6b0073f1, .count = 3, .words = {1, 2, ~0U}},
        .payload = {BYTES("\x68\x02"), {filler, part}, {filler, last}},
        .payload_parts = 3,
    };
}

static bool writes(const struct kv_shapes *shapes, uint64_t flags, const struct kv_signal *signal)
{
    struct kv_buffer written = from_hex("aa");
    struct kv_buffer general = from_hex("aa");
    bool taken = kv_shapes_encode(shapes, signal, kv_signal_payload_length(signal), &written);
    if (taken) {
        kv_control_encode(signal, flags, &general);
    }
    cr_assert(kv_bytes_equal(kv_buffer_bytes(&general), kv_buffer_bytes(&written)));
    kv_buffer_free(&general);
    kv_buffer_free(&written);
    return taken;
}

Test(shapes, an_answer_of_any_length_is_written_as_the_general_encoder_writes_it)
{
    const uint64_t flags[] = {KV_DFLAGS_OFFERED, KV_DFLAGS_OFFERED & ~KV_DFLAG_ALTACT_SIG};
    for (size_t i = 0; i < sizeof filler; i++) {
        filler[i] = (uint8_t)i;
    }
    for (size_t set = 0; set < sizeof flags / sizeof *flags; set++) {
        struct kv_shapes shapes = shapes_with(flags[set]);
        for (size_t length = 0; length <= sizeof filler; length++) {
            struct kv_signal signal = answer_of(&shapes, length, sizeof filler - length);
            cr_assert(writes(&shapes, flags[set], &signal));
        }
    }
}

Test(shapes, only_answers_to_processes_of_the_peer_are_written)
{
    struct kv_shapes shapes = shapes_with(KV_DFLAGS_OFFERED);
    struct kv_signal right = answer_of(&shapes, 1, 1);
    struct kv_signal wrong[5];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        wrong[i] = right;
    }
    wrong[0].kind = KV_SIGNAL_MESSAGE;
    wrong[1].ref.count = 5;
    wrong[2].ref.node = kv_bytes_text("else@vm");
    wrong[3].from.node = kv_bytes_text("else@h");
    wrong[4].ref.node.length--;
    cr_assert(writes(&shapes, KV_DFLAGS_OFFERED, &right));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_not(writes(&shapes, KV_DFLAGS_OFFERED, &wrong[i]), "%zu", i);
    }
    uint64_t old = KV_DFLAGS_OFFERED & ~(KV_DFLAG_ALIAS | KV_DFLAG_ALTACT_SIG);
    shapes = shapes_with(old);
    right = answer_of(&shapes, 1, 1);
    cr_assert_not(writes(&shapes, old, &right), "no alias, no answer");
}
