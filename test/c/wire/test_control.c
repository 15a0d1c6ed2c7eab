/* Decoding control messages. */
#include "wire/control.h"
#include "wire/frame.h"
#include "wire/handshake.h"

#include "support/checks.h"
#include "support/signals.h"

#include <criterion/criterion.h>

static const struct kv_term_limits LIMITS = {.size = 4096, .depth = 16};

/* The form with 131 before each term. Tests of the form with KV_DFLAG_FRAGMENTS come last. */
static int decode(struct kv_bytes frame, struct kv_signal *signal, int *opcode)
{
    return kv_control_decode(frame, 0, &LIMITS, kv_bytes_text("q@vm"), signal, opcode);
}

/* Decodes from memory that ends with the frame and is freed afterwards, with all that the signal
 * borrows. */
static int decode_exactly(struct kv_bytes frame, int *opcode)
{
    struct kv_signal signal = {0};
    struct kv_bytes copy = exact_copy(frame);
    int error = decode(copy, &signal, opcode);
    free_copy(copy);
    return error;
}

static int decode_hex(const char *hex, int *opcode)
{
    struct kv_buffer frame = from_hex(hex);
    int error = decode_exactly(kv_buffer_bytes(&frame), opcode);
    kv_buffer_free(&frame);
    return error;
}

static struct kv_buffer frame_of(const struct control_message *message)
{
    struct kv_buffer frame = from_hex("70 83 68");
    kv_buffer_u8(&frame, (uint8_t)(message->elements + 1));
    kv_buffer_u8(&frame, KV_TAG_SMALL_INTEGER);
    kv_buffer_u8(&frame, (uint8_t)message->opcode);
    append_hex(&frame, message->control);
    if (message->payload != NULL) {
        kv_buffer_u8(&frame, 131);
        append_hex(&frame, message->payload);
    }
    return frame;
}

/* ---- what is taken --------------------------------------------------------------------------- */

Test(control, every_control_message_is_decoded_to_its_signal)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        const struct control_message *message = &CONTROL_MESSAGES[i];
        struct kv_buffer frame = frame_of(message);
        struct kv_signal signal = {0};
        int opcode = 0;
        cr_assert_eq(decode(kv_buffer_bytes(&frame), &signal, &opcode), KV_OK, "%s", message->name);
        cr_assert_eq(opcode, message->opcode, "%s", message->name);
        assert_signal(&signal, &message->signal, message->name);
        cr_assert_leq(signal.payload_parts, 1, "%s", message->name);
        kv_buffer_free(&frame);
    }
}

/* The bytes that a BEAM sent for {kv, 'kv@h'} ! ab. */
Test(control, a_message_that_a_beam_sent_is_understood)
{
    struct kv_buffer frame =
        from_hex("70 83 68 04 61 06 58 77 04 71 40 76 6d 00 00 00 09 00 00 00 00 6b 00 73 f1"
                 "77 00 77 02 6b 76 83 77 02 61 62");
    struct kv_signal expected = {
        .kind = KV_SIGNAL_MESSAGE_NAME, .from = PEER, .name = NAME, PARTS(TERM)};
    struct kv_signal signal = {0};
    int opcode = 0;
    cr_assert_eq(decode(kv_buffer_bytes(&frame), &signal, &opcode), KV_OK);
    assert_signal(&signal, &expected, "REG_SEND");
    kv_buffer_free(&frame);
}

/* Sent by b@127.0.0.1, an OTP 25.2.3, to c@127.0.0.1. */
static const struct {
    const char *name;
    const char *frame;
    int opcode;
    enum kv_signal_kind kind;
} CAPTURED[] = {
    {"MONITOR_P by gen_server:call/3",
     "70836804611358770b62403132372e302e302e3100000009000000006b0150a477026b76"
     "5a0003770b62403132372e302e302e316b0150a40003b284da4900026e26534f",
     19, KV_SIGNAL_MONITOR},
    {"REG_SEND of a $gen_call",
     "70836804610658770b62403132372e302e302e3100000009000000006b0150a477007702"
     "6b7683680377092467656e5f63616c6c680258770b62403132372e302e302e3100000009"
     "000000006b0150a46c000000017705616c6961735a0003770b62403132372e302e302e31"
     "6b0150a40003b284da4900026e26534f680277036765746d0000000465676773",
     6, KV_SIGNAL_MESSAGE_NAME},
    {"SPAWN_REQUEST by spawn_opt/5",
     "70836806611d5a0003770b62403132372e302e302e316b0150a40003b285da4800026e26"
     "534f58770b62403132372e302e302e3100000009000000006b0150a458770b6240313237"
     "2e302e302e3100000047000000006b0150a4680377096b765f6275636b65747704696e69"
     "7461016c0000000277046c696e6b77076d6f6e69746f726a836b000101",
     29, KV_SIGNAL_SPAWN_REQUEST},
    {"SEND_SENDER of a $gen_cast",
     "70836803611658770b62403132372e302e302e3100000009000000006b0150a458770b63"
     "403132372e302e302e310000004d000000036b0150a383680277092467656e5f63617374"
     "7705636c656172",
     22, KV_SIGNAL_MESSAGE},
    {"UNLINK_ID by unlink/1",
     "708368046123610558770b62403132372e302e302e3100000009000000006b0150a45877"
     "0b63403132372e302e302e310000004d000000036b0150a3",
     35, KV_SIGNAL_UNLINK},
    {"PAYLOAD_EXIT2 by exit/2",
     "70836803611a58770b62403132372e302e302e3100000009000000006b0150a458770b63"
     "403132372e302e302e310000004d000000036b0150a383770873687574646f776e",
     26, KV_SIGNAL_EXIT},
};

Test(control, the_frames_captured_from_a_beam_are_understood)
{
    for (size_t i = 0; i < sizeof CAPTURED / sizeof *CAPTURED; i++) {
        struct kv_buffer frame = from_hex(CAPTURED[i].frame);
        struct kv_signal signal = {0};
        int opcode = 0;
        int error = kv_control_decode(kv_buffer_bytes(&frame), 0, &LIMITS,
                                      kv_bytes_text("b@127.0.0.1"), &signal, &opcode);
        cr_assert_eq(error, KV_OK, "%s: %d", CAPTURED[i].name, error);
        cr_assert_eq(opcode, CAPTURED[i].opcode, "%s", CAPTURED[i].name);
        cr_assert_eq(signal.kind, CAPTURED[i].kind, "%s", CAPTURED[i].name);
        cr_assert(kv_bytes_is(signal.from.node, "b@127.0.0.1"), "%s", CAPTURED[i].name);
        kv_buffer_free(&frame);
    }
}

Test(control, a_spawn_request_of_a_beam_names_the_function_to_run)
{
    struct kv_buffer frame = from_hex(CAPTURED[2].frame);
    struct kv_signal signal = {0};
    int opcode = 0;
    cr_assert_eq(kv_control_decode(kv_buffer_bytes(&frame), 0, &LIMITS,
                                   kv_bytes_text("b@127.0.0.1"), &signal, &opcode),
                 KV_OK);
    cr_assert(kv_bytes_is(signal.spawn.module, "kv_bucket"));
    cr_assert(kv_bytes_is(signal.spawn.function, "init"));
    cr_assert_eq(signal.spawn.arity, 1);
    cr_assert(kv_bytes_equal(signal.payload[0], kv_bytes("k\0\1\1", 4)), "[1] comes as a string");
    kv_buffer_free(&frame);
}

/* A process of a third node is not a process of the peer. */
Test(control, a_sender_is_a_process_of_the_peer)
{
    struct kv_buffer frame = from_hex(CAPTURED[4].frame);
    struct kv_signal signal = {0};
    int opcode = 0;
    cr_assert_eq(kv_control_decode(kv_buffer_bytes(&frame), 0, &LIMITS,
                                   kv_bytes_text("b@127.0.0.2"), &signal, &opcode),
                 KV_EPROTOCOL);
    cr_assert_eq(opcode, 35);
    kv_buffer_free(&frame);
}

Test(control, a_signal_borrows_from_its_frame)
{
    struct kv_buffer frame = frame_of(&CONTROL_MESSAGES[1]);
    struct kv_signal signal = {0};
    int opcode = 0;
    cr_assert_eq(decode(kv_buffer_bytes(&frame), &signal, &opcode), KV_OK);
    cr_assert_eq(signal.payload[0].data + signal.payload[0].length, frame.data + frame.length);
    kv_buffer_free(&frame);
}

/* ---- what is refused ------------------------------------------------------------------------- */

Test(control, every_truncation_is_refused_without_a_read_past_its_end)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        const struct control_message *message = &CONTROL_MESSAGES[i];
        struct kv_buffer frame = frame_of(message);
        for (size_t length = 0; length < frame.length; length++) {
            int opcode = 0;
            int error = decode_exactly(kv_bytes(frame.data, length), &opcode);
            int expected = length == 0 ? KV_EPROTOCOL : KV_ETRUNCATED;
            cr_assert_eq(error, expected, "%s at %zu: %d", message->name, length, error);
            cr_assert(opcode == -1 || opcode == message->opcode);
        }
        kv_buffer_free(&frame);
    }
}

Test(control, anything_behind_the_last_term_is_refused)
{
    const char *more[] = {"00", "6a", "83", "83 6a"};
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        for (size_t k = 0; k < sizeof more / sizeof *more; k++) {
            struct kv_buffer frame = frame_of(&CONTROL_MESSAGES[i]);
            append_hex(&frame, more[k]);
            int opcode = 0;
            cr_assert_eq(decode_exactly(kv_buffer_bytes(&frame), &opcode), KV_EPROTOCOL, "%s %s",
                         CONTROL_MESSAGES[i].name, more[k]);
            cr_assert_eq(opcode, CONTROL_MESSAGES[i].opcode);
            kv_buffer_free(&frame);
        }
    }
}

/* The frame of `message` with element `at` replaced. NULL leaves the element out; `at` behind the
 * last element adds one. */
static struct kv_buffer frame_with(const struct control_message *message, unsigned at,
                                   const char *replacement)
{
    struct kv_buffer elements = from_hex(message->control);
    struct kv_reader reader = kv_reader(kv_buffer_bytes(&elements));
    unsigned count = message->elements + (at == message->elements ? 1 : 0);
    struct kv_buffer frame = from_hex("70 83 68");
    kv_buffer_u8(&frame, (uint8_t)(count + (replacement != NULL ? 1 : 0)));
    kv_buffer_u8(&frame, KV_TAG_SMALL_INTEGER);
    kv_buffer_u8(&frame, (uint8_t)message->opcode);
    for (unsigned i = 0; i < count; i++) {
        struct kv_bytes element = {0};
        (void)kv_read_any(&reader, &element);
        if (i != at) {
            kv_buffer_append(&frame, element);
        } else if (replacement != NULL) {
            append_hex(&frame, replacement);
        }
    }
    if (message->payload != NULL) {
        kv_buffer_u8(&frame, 131);
        append_hex(&frame, message->payload);
    }
    kv_buffer_free(&elements);
    return frame;
}

Test(control, a_tuple_of_another_arity_is_refused)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        const struct control_message *message = &CONTROL_MESSAGES[i];
        for (unsigned at = 0; at <= message->elements; at++) {
            bool more = at == message->elements;
            struct kv_buffer frame = frame_with(message, at, more ? NAME_HEX : NULL);
            int opcode = 0;
            cr_assert_eq(decode_exactly(kv_buffer_bytes(&frame), &opcode), KV_EPROTOCOL, "%s %u",
                         message->name, at);
            cr_assert_eq(opcode, message->opcode);
            kv_buffer_free(&frame);
        }
    }
}

/* Terms of every kind. Each has a letter. */
static const struct {
    char letter;
    const char *hex;
} KINDS[] = {
    {'q', PEER_HEX},
    {'k', OURS_HEX},
    {'p', "58 77 05 7140766d6d 00000009 00000000 6b0073f1"}, /* a pid of q@vmm */
    {'r', REF_HEX},
    {'a', NAME_HEX},
    {'0', "61 00"},
    {'1', "61 01"},
    {'-', "62 ffffffff"},
    {'f', "62 07ffffff"},
    {'F', "62 08000000"},
    {'u', "6e 08 00 ffffffffffffffff"},
    {'U', "6e 09 00 000000000000000001"},
    {'e', "46 3ff0000000000000"},
    {'n', "6a"},
    {'s', "6b 0001 07"},
    {'l', OPTS_HEX},
    {'i', "6c 00000001 61 07 61 08"}, /* [7 | 8] */
    {'t', "68 00"},
    {'c', MFA_HEX},
    {'C', "68 02 77 01 6d 77 01 66"},
    {'D', "68 03 77 01 6d 61 01 61 01"},
    {'E', "68 03 77 01 6d 77 01 66 62 ffffffff"},
    {'b', "6d 00000001 61"},
    {'B', "4d 00000001 01 80"},
    {'m', "74 00000000"},
    {'P', "78 77 04 7140766d 0000000000000009 6b0073f1"},
    {'x', "71 77 01 6d 77 01 66 61 01"},
};

/* The letters of the terms that an element accepts. */
static const char *const TAKEN[] = {
    [PEER_PID] = "q",  [PID] = "qkp",         [PID_OR_NAME] = "qkpa",
    [ATOM] = "a",      [REFERENCE] = "r",     [CALL] = "c",
    [OPTIONS] = "nsl", [SPAWN_FLAGS] = "01f", [UNLINK_NUMBER] = "1fFu",
};

static void try_every_kind(const struct control_message *message, unsigned at)
{
    for (size_t k = 0; k < sizeof KINDS / sizeof *KINDS; k++) {
        struct kv_buffer frame = frame_with(message, at, KINDS[k].hex);
        enum place place = message->places[at];
        bool taken = place == ANY || strchr(TAKEN[place], KINDS[k].letter) != NULL;
        int opcode = 0;
        int error = decode_exactly(kv_buffer_bytes(&frame), &opcode);
        cr_assert_eq(error, taken ? KV_OK : KV_EPROTOCOL, "%s, element %u, %c: %d", message->name,
                     at, KINDS[k].letter, error);
        kv_buffer_free(&frame);
    }
}

Test(control, every_element_takes_its_own_kind_of_term_only)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        for (unsigned at = 0; at < CONTROL_MESSAGES[i].elements; at++) {
            try_every_kind(&CONTROL_MESSAGES[i], at);
        }
    }
}

Test(control, a_payload_may_be_any_term)
{
    for (size_t k = 0; k < sizeof KINDS / sizeof *KINDS; k++) {
        struct kv_buffer frame = from_hex("70 83 68 03 61 02" EMPTY_HEX OURS_HEX "83");
        append_hex(&frame, KINDS[k].hex);
        int opcode = 0;
        cr_assert_eq(decode_exactly(kv_buffer_bytes(&frame), &opcode), KV_OK);
        kv_buffer_free(&frame);
    }
}

Test(control, an_unknown_opcode_is_refused_and_named)
{
    const int known[] = {1,  2,  3,  4,  6,  7,  8,  12, 13, 16, 18, 19, 20, 21, 22,
                         23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37};
    size_t next = 0;
    for (int number = 0; number < 256; number++) {
        if (next < sizeof known / sizeof *known && known[next] == number) {
            next++;
            continue;
        }
        struct kv_buffer frame = from_hex("70 83 68 03 61");
        kv_buffer_u8(&frame, (uint8_t)number);
        append_hex(&frame, PEER_HEX OURS_HEX "83 6a");
        int opcode = 0;
        cr_assert_eq(decode_exactly(kv_buffer_bytes(&frame), &opcode), KV_EOPCODE, "%d", number);
        cr_assert_eq(opcode, number);
        kv_buffer_free(&frame);
    }
}

static const struct {
    const char *name;
    const char *frame;
    int error;
    int opcode;
} BAD_FRAMES[] = {
    {"another first byte", "71 83 68 03 61 01" PEER_HEX OURS_HEX, KV_EPROTOCOL, -1},
    {"what a BEAM sends with fragments",
     "83 44 00 68 04 61 06 58 77 04 71 40 76 6d 00 00 00 09 00 00 00 00 6b 00 73 f0 77 00"
     "77 02 6b 76 77 02 61 62",
     KV_EPROTOCOL, -1},
    {"what a BEAM sends with an atom cache",
     "83 44 04 8f 99 00 bb 04 71 40 76 6d 05 00 a3 02 6b 76 a4 02 61 62 68 04 61 06 58 52 00 00"
     "00 00 09 00 00 00 00 6b 00 73 f2 52 01 52 02 52 03",
     KV_EPROTOCOL, -1},
    {"no version byte", "70 68 03 61 01" PEER_HEX OURS_HEX, KV_EPROTOCOL, -1},
    {"another version byte", "70 82 68 03 61 01" PEER_HEX OURS_HEX, KV_EPROTOCOL, -1},
    {"no tuple", "70 83 61 01", KV_EPROTOCOL, -1},
    {"an empty tuple", "70 83 68 00", KV_EPROTOCOL, -1},
    {"an opcode that is an atom", "70 83 68 03" NAME_HEX PEER_HEX OURS_HEX, KV_EPROTOCOL, -1},
    {"a negative opcode", "70 83 68 03 62 ffffffff" PEER_HEX OURS_HEX, KV_EPROTOCOL, -1},
    {"a huge opcode", "70 83 68 03 6e 04 00 00000080" PEER_HEX OURS_HEX, KV_EPROTOCOL, -1},
    {"an opcode of four bytes", "70 83 68 03 62 00000100" PEER_HEX OURS_HEX, KV_EOPCODE, 256},
    {"no version byte before the payload", "70 83 68 03 61 02" EMPTY_HEX OURS_HEX TERM_HEX,
     KV_EPROTOCOL, 2},
    {"a malformed control term", "70 83 68 03 61 01 00", KV_EMALFORMED, -1},
    {"a malformed payload", "70 83 68 03 61 02" EMPTY_HEX OURS_HEX "83 00", KV_EMALFORMED, 2},
    {"a reference into an atom cache", "70 83 68 03 61 02 52 00" OURS_HEX "83 6a", KV_EMALFORMED,
     -1},
    {"a map with a key twice",
     "70 83 68 03 61 02" EMPTY_HEX OURS_HEX "83 74 00000002 61 01 6a 61 01 6a", KV_EDUPLICATE, 2},
    {"a payload nested deeper than the limit",
     "70 83 68 03 61 02" EMPTY_HEX OURS_HEX
     "83 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6801 6a",
     KV_EDEPTH, 2},
};

Test(control, a_bad_frame_is_refused)
{
    for (size_t i = 0; i < sizeof BAD_FRAMES / sizeof *BAD_FRAMES; i++) {
        int opcode = 0;
        int error = decode_hex(BAD_FRAMES[i].frame, &opcode);
        cr_assert_eq(error, BAD_FRAMES[i].error, "%s: %d", BAD_FRAMES[i].name, error);
        cr_assert_eq(opcode, BAD_FRAMES[i].opcode, "%s: %d", BAD_FRAMES[i].name, opcode);
    }
}

/* ---- the arguments of a spawn request -------------------------------------------------------- */

static const struct {
    const char *name;
    const char *arity; /* as a term */
    const char *arguments;
    int error;
} ARGUMENTS[] = {
    {"none, as nil", "61 00", "6a", KV_OK},
    {"one", "61 01", ARGS_HEX, KV_OK},
    {"two, as a list", "61 02", "6c 00000002 6a 6a 6a", KV_OK},
    {"two small integers, as a string", "61 02", "6b 0002 0102", KV_OK},
    {"one for none", "61 00", ARGS_HEX, KV_EPROTOCOL},
    {"none for one", "61 01", "6a", KV_EPROTOCOL},
    {"two for one", "61 01", "6c 00000002 6a 6a 6a", KV_EPROTOCOL},
    {"a string of two for one", "61 01", "6b 0002 0102", KV_EPROTOCOL},
    {"a string of two for three", "61 03", "6b 0002 0102", KV_EPROTOCOL},
    {"an improper list", "61 01", "6c 00000001 6a 61 01", KV_EPROTOCOL},
    {"no list", "61 01", "68 01 6a", KV_EPROTOCOL},
    {"an atom", "61 00", NAME_HEX, KV_EPROTOCOL},
};

Test(control, a_spawn_request_has_as_many_arguments_as_its_arity_says)
{
    for (size_t i = 0; i < sizeof ARGUMENTS / sizeof *ARGUMENTS; i++) {
        struct kv_buffer frame =
            from_hex("70 83 68 06 61 1d" REF_HEX PEER_HEX PEER_HEX "68 03 77 01 6d 77 01 66");
        append_hex(&frame, ARGUMENTS[i].arity);
        append_hex(&frame, "6a 83");
        append_hex(&frame, ARGUMENTS[i].arguments);
        int opcode = 0;
        int error = decode_exactly(kv_buffer_bytes(&frame), &opcode);
        cr_assert_eq(error, ARGUMENTS[i].error, "%s: %d", ARGUMENTS[i].name, error);
        kv_buffer_free(&frame);
    }
}

/* ---- the form with a header ------------------------------------------------------------------ */

static struct kv_buffer header_frame_of(const struct control_message *message)
{
    struct kv_buffer frame = from_hex("83 44 00 68");
    kv_buffer_u8(&frame, (uint8_t)(message->elements + 1));
    kv_buffer_u8(&frame, KV_TAG_SMALL_INTEGER);
    kv_buffer_u8(&frame, (uint8_t)message->opcode);
    append_hex(&frame, message->control);
    if (message->payload != NULL) {
        append_hex(&frame, message->payload);
    }
    return frame;
}

static int decode_header(struct kv_bytes frame, int *opcode)
{
    struct kv_signal signal = {0};
    struct kv_bytes copy = exact_copy(frame);
    int error = kv_control_decode(copy, KV_DFLAG_FRAGMENTS, &LIMITS, kv_bytes_text("q@vm"), &signal,
                                  opcode);
    free_copy(copy);
    return error;
}

Test(control, with_fragments_no_term_has_a_version_byte)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        const struct control_message *message = &CONTROL_MESSAGES[i];
        struct kv_buffer frame = header_frame_of(message);
        struct kv_signal signal = {0};
        int opcode = 0;
        cr_assert_eq(kv_control_decode(kv_buffer_bytes(&frame), KV_DFLAG_FRAGMENTS, &LIMITS,
                                       kv_bytes_text("q@vm"), &signal, &opcode),
                     KV_OK, "%s", message->name);
        cr_assert_eq(opcode, message->opcode, "%s", message->name);
        assert_signal(&signal, &message->signal, message->name);
        kv_buffer_free(&frame);
    }
}

/* The bytes that a BEAM sent for {kv, 'kv@h'} ! ab. */
Test(control, a_message_that_a_beam_sent_with_fragments_is_understood)
{
    struct kv_buffer frame =
        from_hex("83 44 00 68 04 61 06 58 77 04 71 40 76 6d 00 00 00 09 00 00 00 00 6b 00 73 f1"
                 "77 00 77 02 6b 76 77 02 61 62");
    struct kv_signal expected = {
        .kind = KV_SIGNAL_MESSAGE_NAME, .from = PEER, .name = NAME, PARTS(TERM)};
    struct kv_signal signal = {0};
    int opcode = 0;
    cr_assert_eq(kv_control_decode(kv_buffer_bytes(&frame), KV_DFLAG_FRAGMENTS, &LIMITS,
                                   kv_bytes_text("q@vm"), &signal, &opcode),
                 KV_OK);
    assert_signal(&signal, &expected, "REG_SEND");
    kv_buffer_free(&frame);
}

Test(control, every_truncation_behind_a_header_is_refused_without_a_read_past_its_end)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        struct kv_buffer frame = header_frame_of(&CONTROL_MESSAGES[i]);
        for (size_t length = 0; length < frame.length; length++) {
            int opcode = 0;
            int error = decode_header(kv_bytes(frame.data, length), &opcode);
            int expected = length < KV_WHOLE_HEADER ? KV_EPROTOCOL : KV_ETRUNCATED;
            cr_assert_eq(error, expected, "%s at %zu: %d", CONTROL_MESSAGES[i].name, length, error);
        }
        kv_buffer_free(&frame);
    }
}

Test(control, anything_behind_the_last_term_is_refused_with_a_header_too)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        struct kv_buffer frame = header_frame_of(&CONTROL_MESSAGES[i]);
        append_hex(&frame, "6a");
        int opcode = 0;
        cr_assert_eq(decode_header(kv_buffer_bytes(&frame), &opcode), KV_EPROTOCOL, "%s",
                     CONTROL_MESSAGES[i].name);
        kv_buffer_free(&frame);
    }
}

static const struct {
    const char *name;
    const char *frame;
    int error;
} BAD_HEADERS[] = {
    {"the form of a connection without fragments", "70 83 68 03 61 01" PEER_HEX OURS_HEX,
     KV_EPROTOCOL},
    {"an atom cache", "83 44 01 68 03 61 01" PEER_HEX OURS_HEX, KV_EPROTOCOL},
    {"a fragment", "83 45 0000000000000001 0000000000000001 00 68 03 61 01" PEER_HEX OURS_HEX,
     KV_EPROTOCOL},
    {"another kind of frame", "83 43 00 68 03 61 01" PEER_HEX OURS_HEX, KV_EPROTOCOL},
    {"a compressed term", "83 50 00 68 03 61 01" PEER_HEX OURS_HEX, KV_EPROTOCOL},
    {"another version", "82 44 00 68 03 61 01" PEER_HEX OURS_HEX, KV_EPROTOCOL},
    {"a version byte before the control term", "83 44 00 83 68 03 61 01" PEER_HEX OURS_HEX,
     KV_EMALFORMED},
    {"a version byte before the payload", "83 44 00 68 03 61 02" EMPTY_HEX OURS_HEX "83" TERM_HEX,
     KV_EMALFORMED},
};

Test(control, a_bad_header_is_refused)
{
    for (size_t i = 0; i < sizeof BAD_HEADERS / sizeof *BAD_HEADERS; i++) {
        struct kv_buffer frame = from_hex(BAD_HEADERS[i].frame);
        int opcode = 0;
        int error = decode_header(kv_buffer_bytes(&frame), &opcode);
        cr_assert_eq(error, BAD_HEADERS[i].error, "%s: %d", BAD_HEADERS[i].name, error);
        kv_buffer_free(&frame);
    }
}
