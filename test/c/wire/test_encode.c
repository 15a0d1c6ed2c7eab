/* Encoding control messages. */
#include "wire/control.h"
#include "wire/frame.h"
#include "wire/handshake.h"

#include "support/checks.h"
#include "support/signals.h"

#include <criterion/criterion.h>

#define ALL_FLAGS     KV_DFLAGS_OFFERED
#define MONITOR_FLAGS (KV_DFLAG_DIST_MONITOR | KV_DFLAG_DIST_MONITOR_NAME)

static const struct kv_term_limits LIMITS = KV_TERM_LIMITS_DEFAULT;

static struct kv_buffer encoded(const struct kv_signal *signal, uint64_t flags)
{
    struct kv_buffer frame = KV_BUFFER_INIT;
    kv_control_encode(signal, flags, &frame);
    return frame;
}

static void assert_encoded(const struct kv_signal *signal, uint64_t flags, const char *hex)
{
    struct kv_buffer frame = encoded(signal, flags);
    struct kv_buffer expected = from_hex(hex);
    cr_assert(kv_bytes_equal(kv_buffer_bytes(&frame), kv_buffer_bytes(&expected)), "%s", hex);
    kv_buffer_free(&frame);
    kv_buffer_free(&expected);
}

/* ---- the bytes ------------------------------------------------------------------------------- */

/* The bytes that a BEAM sent for {kv, 'kv@h'} ! ab. */
Test(encode, a_message_to_a_name_has_the_bytes_that_a_beam_sends)
{
    struct kv_signal signal = {
        .kind = KV_SIGNAL_MESSAGE_NAME, .from = PEER, .name = NAME, PARTS(TERM)};
    assert_encoded(&signal, ALL_FLAGS,
                   "00000024 83 44 00 68 04 61 06 58 77 04 71 40 76 6d 00 00 00 09 00 00 00 00"
                   "6b 00 73 f1 77 00 77 02 6b 76 77 02 61 62");
    assert_encoded(&signal, ALL_FLAGS & ~KV_DFLAG_FRAGMENTS,
                   "00000024 70 83 68 04 61 06 58 77 04 71 40 76 6d 00 00 00 09 00 00 00 00"
                   "6b 00 73 f1 77 00 77 02 6b 76 83 77 02 61 62");
}

Test(encode, a_message_names_its_sender_where_the_peer_takes_that)
{
    struct kv_signal signal = {.kind = KV_SIGNAL_MESSAGE, .from = OURS, .to = PEER, PARTS(TERM)};
    assert_encoded(&signal, KV_DFLAG_SEND_SENDER,
                   "00000031 70 83 68 03 61 16" OURS_HEX PEER_HEX "83" TERM_HEX);
    assert_encoded(&signal, 0, "00000020 70 83 68 03 61 02 7700" PEER_HEX "83" TERM_HEX);
}

Test(encode, the_terms_of_a_signal_equal_the_terms_in_its_frame)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        const struct kv_signal *signal = &CONTROL_MESSAGES[i].signal;
        struct kv_buffer frame = encoded(signal, ALL_FLAGS);
        struct kv_buffer terms = KV_BUFFER_INIT;
        size_t control = kv_control_encode_terms(signal, ALL_FLAGS, &terms);
        size_t payload = signal->payload_parts == 0 ? 0 : signal->payload[0].length;
        size_t header = KV_FRAME_HEADER + KV_WHOLE_HEADER;
        if (payload == 0) {
            cr_assert_eq(control + terms.length, 0, "%s", CONTROL_MESSAGES[i].name);
        } else {
            cr_assert_eq(control + payload, terms.length, "%s", CONTROL_MESSAGES[i].name);
            cr_assert_eq(terms.length, frame.length - header);
            cr_assert_eq(memcmp(terms.data, frame.data + header, terms.length), 0);
        }
        kv_buffer_free(&frame);
        kv_buffer_free(&terms);
    }
}

Test(encode, a_reason_inside_the_control_term_is_no_payload)
{
    struct kv_signal signal = {.kind = KV_SIGNAL_EXIT, .from = OURS, .to = PEER, PARTS(TERM)};
    struct kv_buffer terms = KV_BUFFER_INIT;
    uint64_t flags = ALL_FLAGS & ~KV_DFLAG_EXIT_PAYLOAD;
    cr_assert_eq(kv_control_encode_terms(&signal, flags, &terms), 0);
    cr_assert_eq(terms.length, 0);
}

Test(encode, a_frame_is_appended_to_the_bytes_in_the_buffer)
{
    struct kv_signal signal = {.kind = KV_SIGNAL_LINK, .from = OURS, .to = PEER};
    struct kv_buffer one = encoded(&signal, ALL_FLAGS);
    struct kv_buffer two = KV_BUFFER_INIT;
    kv_control_encode(&signal, ALL_FLAGS, &two);
    kv_control_encode(&signal, ALL_FLAGS, &two);
    cr_assert_eq(two.length, 2 * one.length);
    cr_assert_eq(memcmp(two.data, one.data, one.length), 0);
    cr_assert_eq(memcmp(two.data + one.length, one.data, one.length), 0);
    kv_buffer_free(&one);
    kv_buffer_free(&two);
}

Test(encode, a_payload_in_parts_gives_the_frame_of_a_payload_in_one_part)
{
    const enum kv_signal_kind kinds[] = {KV_SIGNAL_MESSAGE,       KV_SIGNAL_MESSAGE_NAME,
                                         KV_SIGNAL_MESSAGE_ALIAS, KV_SIGNAL_EXIT_LINK,
                                         KV_SIGNAL_EXIT,          KV_SIGNAL_DOWN};
    static const char text[] = "\x68\x02\x61\x01\x6d\x00\x00\x00\x01x";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        for (unsigned without = 0; without < 2; without++) {
            uint64_t flags = without ? ALL_FLAGS & ~KV_DFLAG_EXIT_PAYLOAD : ALL_FLAGS;
            struct kv_signal whole = {.kind = kinds[i],
                                      .from = OURS,
                                      .to = PEER,
                                      .ref = REF,
                                      .name = NAME,
                                      .payload = {BYTES("\x68\x02\x61\x01\x6d\x00\x00\x00\x01x")},
                                      .payload_parts = 1};
            struct kv_signal parts = whole;
            parts.payload[0] = kv_bytes(text, 2);
            parts.payload[1] = kv_bytes(text + 2, 2);
            parts.payload[2] = kv_bytes(NULL, 0);
            parts.payload[3] = kv_bytes(text + 4, 6);
            parts.payload_parts = KV_SIGNAL_MAX_PARTS;
            struct kv_buffer a = encoded(&whole, flags);
            struct kv_buffer b = encoded(&parts, flags);
            cr_assert_gt(a.length, 0);
            cr_assert(kv_bytes_equal(kv_buffer_bytes(&a), kv_buffer_bytes(&b)), "kind %d",
                      (int)kinds[i]);
            kv_buffer_free(&a);
            kv_buffer_free(&b);
        }
    }
}

Test(encode, a_large_payload_is_sent_whole)
{
    enum { SIZE = 1 << 20 };
    struct kv_buffer payload = KV_BUFFER_INIT;
    kv_buffer_u8(&payload, KV_TAG_BINARY);
    kv_buffer_u32(&payload, SIZE);
    memset(kv_buffer_reserve(&payload, SIZE), 'x', SIZE);
    payload.length += SIZE;
    struct kv_signal signal = {
        .kind = KV_SIGNAL_MESSAGE, .from = OURS, .to = PEER, .payload_parts = 1};
    signal.payload[0] = kv_buffer_bytes(&payload);
    struct kv_buffer frame = encoded(&signal, ALL_FLAGS);
    cr_assert_gt(frame.length, payload.length);
    cr_assert_eq(memcmp(frame.data + frame.length - payload.length, payload.data, payload.length),
                 0);
    kv_buffer_free(&frame);
    kv_buffer_free(&payload);
}

/* The bytes do not exist, so the encoder must check the length before it reads any. */
Test(encode, a_term_that_no_frame_can_hold_is_not_sent)
{
    struct kv_signal signal = {
        .kind = KV_SIGNAL_MESSAGE, .from = OURS, .to = PEER, .payload = TERM, .payload_parts = 2};
    signal.payload[1] = kv_bytes(signal.payload[0].data, UINT32_MAX);
    struct kv_buffer frame = encoded(&signal, ALL_FLAGS);
    cr_assert_eq(frame.length, 0);
    kv_buffer_free(&frame);
}

/* ---- which form for which flags -------------------------------------------------------------- */

enum { DROPPED = -1 };

static const struct {
    enum kv_signal_kind kind;
    uint64_t needs; /* with all of these flags... */
    int with;       /* ...this opcode, */
    int without;    /* otherwise this one */
} FORMS[] = {
    {KV_SIGNAL_MESSAGE, KV_DFLAG_SEND_SENDER, 22, 2},
    {KV_SIGNAL_MESSAGE_NAME, 0, 6, 6},
    {KV_SIGNAL_LINK, 0, 1, 1},
    {KV_SIGNAL_UNLINK, KV_DFLAG_UNLINK_ID, 35, 4},
    {KV_SIGNAL_UNLINK_ACK, KV_DFLAG_UNLINK_ID, 36, DROPPED},
    {KV_SIGNAL_EXIT_LINK, KV_DFLAG_EXIT_PAYLOAD, 24, 3},
    {KV_SIGNAL_EXIT, KV_DFLAG_EXIT_PAYLOAD, 26, 8},
    {KV_SIGNAL_MONITOR, MONITOR_FLAGS, 19, DROPPED},
    {KV_SIGNAL_DEMONITOR, MONITOR_FLAGS, 20, DROPPED},
    {KV_SIGNAL_GROUP_LEADER, 0, 7, 7},
    {KV_SIGNAL_SPAWN_REQUEST, KV_DFLAG_SPAWN, 29, DROPPED},
    {KV_SIGNAL_SPAWN_REPLY, KV_DFLAG_SPAWN, 31, DROPPED},
};

static int expected_opcode(enum kv_signal_kind kind, uint64_t flags)
{
    if (kind == KV_SIGNAL_MESSAGE_ALIAS) {
        if ((flags & KV_DFLAG_ALTACT_SIG) != 0) {
            return 37;
        }
        return (flags & KV_DFLAG_ALIAS) != 0 ? 33 : DROPPED;
    }
    if (kind == KV_SIGNAL_DOWN) {
        if ((flags & MONITOR_FLAGS) != MONITOR_FLAGS) {
            return DROPPED;
        }
        return (flags & KV_DFLAG_EXIT_PAYLOAD) != 0 ? 28 : 21;
    }
    for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++) {
        if (FORMS[i].kind == kind) {
            bool with = (flags & FORMS[i].needs) == FORMS[i].needs;
            return with ? FORMS[i].with : FORMS[i].without;
        }
    }
    return -2;
}

/* Decodes a frame as a peer would that knows this node as q@vm. */
static void assert_round_trip(const struct control_message *message, uint64_t flags)
{
    struct kv_buffer stream = encoded(&message->signal, flags);
    int expected = expected_opcode(message->signal.kind, flags);
    if (expected == DROPPED) {
        cr_assert_eq(stream.length, 0, "%s with %#llx", message->name, (unsigned long long)flags);
        kv_buffer_free(&stream);
        return;
    }
    struct kv_bytes frame;
    size_t consumed = 0;
    cr_assert_eq(kv_frame_next(kv_buffer_bytes(&stream), SIZE_MAX, &frame, &consumed), KV_OK);
    cr_assert_eq(consumed, stream.length, "the length is that of the frame");
    struct kv_signal signal = {0};
    int opcode = 0;
    int error = kv_control_decode(frame, flags, &LIMITS, kv_bytes_text("q@vm"), &signal, &opcode);
    cr_assert_eq(error, KV_OK, "%s with %#llx: %d", message->name, (unsigned long long)flags,
                 error);
    cr_assert_eq(opcode, expected, "%s: %d", message->name, opcode);
    struct kv_signal wanted = message->signal;
    if (opcode == 2) {
        wanted.from = (struct kv_pid){0};
    }
    if (opcode == 4) {
        wanted.unlink_id = 0;
    }
    assert_signal(&signal, &wanted, message->name);
    kv_buffer_free(&stream);
}

Test(encode, every_signal_survives_encoding_and_decoding_under_every_set_of_flags)
{
    const uint64_t relevant[] = {
        KV_DFLAG_SEND_SENDER,  KV_DFLAG_ALIAS,        KV_DFLAG_UNLINK_ID,
        KV_DFLAG_EXIT_PAYLOAD, KV_DFLAG_DIST_MONITOR, KV_DFLAG_DIST_MONITOR_NAME,
        KV_DFLAG_SPAWN,        KV_DFLAG_FRAGMENTS,    KV_DFLAG_ALTACT_SIG};
    const unsigned count = sizeof relevant / sizeof *relevant;
    for (unsigned set = 0; set < 1U << count; set++) {
        uint64_t flags = 0;
        for (unsigned bit = 0; bit < count; bit++) {
            flags |= (set >> bit & 1) != 0 ? relevant[bit] : 0;
        }
        for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
            /* SEND (2) and UNLINK (4) lack fields of the newer forms. */
            if (CONTROL_MESSAGES[i].signal.kind == KV_SIGNAL_MESSAGE &&
                CONTROL_MESSAGES[i].signal.from.node.length == 0) {
                continue;
            }
            if (CONTROL_MESSAGES[i].opcode == 4) {
                continue;
            }
            assert_round_trip(&CONTROL_MESSAGES[i], flags);
        }
    }
}
