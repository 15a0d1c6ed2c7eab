/* ALTACT_SIG_SEND: the control message whose flags decide its form. */
#include "wire/control.h"
#include "wire/frame.h"
#include "wire/handshake.h"

#include "support/checks.h"
#include "support/signals.h"

#include <criterion/criterion.h>

static const struct kv_term_limits LIMITS = {.size = 4096, .depth = 16};

#define ALIEN_HEX "58 77 04 7a40766d 00000009 00000000 6b0073f1" /* a pid of z@vm */
#define ALIEN                                                                                      \
    {                                                                                              \
        .node = BYTES("z@vm"), .id = 9, .serial = 0, .creation = 0x6b0073f1                        \
    }

static int decode(struct kv_bytes frame, struct kv_signal *signal, int *opcode)
{
    return kv_control_decode(frame, KV_DFLAG_FRAGMENTS, &LIMITS, kv_bytes_text("q@vm"), signal,
                             opcode);
}

static struct kv_buffer frame_of(unsigned arity, const char *elements, const char *payload)
{
    struct kv_buffer frame = from_hex("83 44 00 68");
    kv_buffer_u8(&frame, (uint8_t)arity);
    append_hex(&frame, "61 25");
    append_hex(&frame, elements);
    append_hex(&frame, payload);
    return frame;
}

static const struct {
    const char *name;
    unsigned arity;
    const char *elements;
    struct kv_signal signal;
} TAKEN[] = {
    {"a message to a pid",
     4,
     "61 00" PEER_HEX OURS_HEX,
     {.kind = KV_SIGNAL_MESSAGE, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"a message of priority to a pid",
     4,
     "61 01" PEER_HEX OURS_HEX,
     {.kind = KV_SIGNAL_MESSAGE, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"a message to an alias",
     4,
     "61 04" PEER_HEX REF_HEX,
     {.kind = KV_SIGNAL_MESSAGE_ALIAS, .from = PEER, .ref = REF, PARTS(TERM)}},
    {"a message of priority to an alias",
     4,
     "61 05" PEER_HEX REF_HEX,
     {.kind = KV_SIGNAL_MESSAGE_ALIAS, .from = PEER, .ref = REF, PARTS(TERM)}},
    {"a message to a name",
     4,
     "61 08" PEER_HEX NAME_HEX,
     {.kind = KV_SIGNAL_MESSAGE_NAME, .from = PEER, .name = NAME, PARTS(TERM)}},
    {"a message of priority to a name",
     4,
     "61 09" PEER_HEX NAME_HEX,
     {.kind = KV_SIGNAL_MESSAGE_NAME, .from = PEER, .name = NAME, PARTS(TERM)}},
    {"an exit signal to a pid",
     4,
     "61 10" PEER_HEX OURS_HEX,
     {.kind = KV_SIGNAL_EXIT, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"an exit signal of priority to a pid",
     4,
     "61 11" PEER_HEX OURS_HEX,
     {.kind = KV_SIGNAL_EXIT, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"an exit signal to an alias",
     4,
     "61 14" PEER_HEX REF_HEX,
     {.kind = KV_SIGNAL_EXIT_ALIAS, .from = PEER, .ref = REF, PARTS(TERM)}},
    {"an exit signal to a name",
     4,
     "61 18" PEER_HEX NAME_HEX,
     {.kind = KV_SIGNAL_EXIT, .by_name = true, .from = PEER, .name = NAME, PARTS(TERM)}},
    {"a sender of a third node",
     4,
     "61 10" ALIEN_HEX OURS_HEX,
     {.kind = KV_SIGNAL_EXIT, .from = ALIEN, .to = OURS, PARTS(TERM)}},
    {"a token",
     5,
     "61 02" PEER_HEX OURS_HEX TOKEN_HEX,
     {.kind = KV_SIGNAL_MESSAGE, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"a token, to an alias, of priority",
     5,
     "61 07" PEER_HEX REF_HEX TOKEN_HEX,
     {.kind = KV_SIGNAL_MESSAGE_ALIAS, .from = PEER, .ref = REF, PARTS(TERM)}},
    {"an exit signal with a token, to a name",
     5,
     "61 1a" PEER_HEX NAME_HEX TOKEN_HEX,
     {.kind = KV_SIGNAL_EXIT, .by_name = true, .from = PEER, .name = NAME, PARTS(TERM)}},
    {"an element of a later version",
     5,
     "61 04" PEER_HEX REF_HEX "6a",
     {.kind = KV_SIGNAL_MESSAGE_ALIAS, .from = PEER, .ref = REF, PARTS(TERM)}},
    {"a token and elements of a later version",
     8,
     "61 02" PEER_HEX OURS_HEX TOKEN_HEX "6a 61 01" MFA_HEX,
     {.kind = KV_SIGNAL_MESSAGE, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"flags of a later version in the byte",
     4,
     "61 e4" PEER_HEX REF_HEX,
     {.kind = KV_SIGNAL_MESSAGE_ALIAS, .from = PEER, .ref = REF, PARTS(TERM)}},
    {"flags of four bytes",
     4,
     "62 7fffff04" PEER_HEX REF_HEX,
     {.kind = KV_SIGNAL_MESSAGE_ALIAS, .from = PEER, .ref = REF, PARTS(TERM)}},
    {"flags of five bytes",
     4,
     "6e 05 00 0400000080" PEER_HEX REF_HEX,
     {.kind = KV_SIGNAL_MESSAGE_ALIAS, .from = PEER, .ref = REF, PARTS(TERM)}},
    {"flags of nine bytes",
     4,
     "6e 09 00 0400000000000000ff" PEER_HEX REF_HEX,
     {.kind = KV_SIGNAL_MESSAGE_ALIAS, .from = PEER, .ref = REF, PARTS(TERM)}},
    {"flags as a large integer",
     4,
     "6f 00000009 00 1000000000000000ff" PEER_HEX OURS_HEX,
     {.kind = KV_SIGNAL_EXIT, .from = PEER, .to = OURS, PARTS(TERM)}},
};

Test(altact, the_flags_decide_the_kind_of_signal)
{
    for (size_t i = 0; i < sizeof TAKEN / sizeof *TAKEN; i++) {
        struct kv_buffer frame = frame_of(TAKEN[i].arity, TAKEN[i].elements, TERM_HEX);
        struct kv_signal signal = {0};
        int opcode = 0;
        int error = decode(kv_buffer_bytes(&frame), &signal, &opcode);
        cr_assert_eq(error, KV_OK, "%s: %d", TAKEN[i].name, error);
        cr_assert_eq(opcode, 37);
        assert_signal(&signal, &TAKEN[i].signal, TAKEN[i].name);
        kv_buffer_free(&frame);
    }
}

/* If the flags name one kind of receiver, the two other kinds are refused. */
Test(altact, the_receiver_is_of_the_kind_that_the_flags_say)
{
    const char *const receivers[] = {OURS_HEX, REF_HEX, NAME_HEX, "61 07", "6a", TOKEN_HEX};
    const int wanted[] = {0, 1, 2};
    for (unsigned flags = 0; flags < 32; flags++) {
        for (int kind = 0; kind < 6; kind++) {
            if ((flags & 2) != 0) {
                continue; /* not with a token */
            }
            struct kv_buffer frame = from_hex("83 44 00 68 04 61 25 61");
            kv_buffer_u8(&frame, (uint8_t)flags);
            append_hex(&frame, PEER_HEX);
            append_hex(&frame, receivers[kind]);
            append_hex(&frame, TERM_HEX);
            bool both = (flags & 12) == 12;
            int expected = !both && kind == wanted[flags >> 2 & 3] ? KV_OK : KV_EPROTOCOL;
            struct kv_signal signal = {0};
            int opcode = 0;
            int error = decode(kv_buffer_bytes(&frame), &signal, &opcode);
            cr_assert_eq(error, expected, "flags %u, receiver %d: %d", flags, kind, error);
            cr_assert_eq(opcode, 37);
            kv_buffer_free(&frame);
        }
    }
}

static const struct {
    const char *name;
    unsigned arity;
    const char *elements;
    const char *payload;
    int error;
} REFUSED[] = {
    {"no receiver", 3, "61 00" PEER_HEX, TERM_HEX, KV_EPROTOCOL},
    {"no sender", 2, "61 00", TERM_HEX, KV_EPROTOCOL},
    {"nothing", 1, "", "", KV_EPROTOCOL},
    {"a token announced, and none there", 4, "61 02" PEER_HEX OURS_HEX, TERM_HEX, KV_EPROTOCOL},
    {"an alias and a name at once", 4, "61 0c" PEER_HEX REF_HEX, TERM_HEX, KV_EPROTOCOL},
    {"negative flags", 4, "62 ffffff04" PEER_HEX REF_HEX, TERM_HEX, KV_EPROTOCOL},
    {"negative flags of five bytes", 4, "6e 05 01 0400000080" PEER_HEX REF_HEX, TERM_HEX,
     KV_EPROTOCOL},
    {"negative flags as a large integer", 4, "6f 00000009 01 0400000000000000ff" PEER_HEX REF_HEX,
     TERM_HEX, KV_EPROTOCOL},
    {"flags that are an atom", 4, NAME_HEX PEER_HEX OURS_HEX, TERM_HEX, KV_EPROTOCOL},
    {"flags that are a float", 4, "46 3ff0000000000000" PEER_HEX OURS_HEX, TERM_HEX, KV_EPROTOCOL},
    {"a sender that is a name", 4, "61 00" NAME_HEX OURS_HEX, TERM_HEX, KV_EPROTOCOL},
    {"a sender that is a reference", 4, "61 00" REF_HEX OURS_HEX, TERM_HEX, KV_EPROTOCOL},
    {"no payload", 4, "61 00" PEER_HEX OURS_HEX, "", KV_ETRUNCATED},
    {"no reason", 4, "61 10" PEER_HEX OURS_HEX, "", KV_ETRUNCATED},
    {"bytes behind the payload", 4, "61 00" PEER_HEX OURS_HEX, TERM_HEX "6a", KV_EPROTOCOL},
};

Test(altact, one_of_another_shape_is_refused)
{
    for (size_t i = 0; i < sizeof REFUSED / sizeof *REFUSED; i++) {
        struct kv_buffer frame =
            frame_of(REFUSED[i].arity, REFUSED[i].elements, REFUSED[i].payload);
        struct kv_bytes copy = exact_copy(kv_buffer_bytes(&frame));
        struct kv_signal signal = {0};
        int opcode = 0;
        int error = decode(copy, &signal, &opcode);
        cr_assert_eq(error, REFUSED[i].error, "%s: %d", REFUSED[i].name, error);
        cr_assert_eq(opcode, 37, "%s", REFUSED[i].name);
        free_copy(copy);
        kv_buffer_free(&frame);
    }
}

Test(altact, every_truncation_is_refused_without_a_read_past_its_end)
{
    for (size_t i = 0; i < sizeof TAKEN / sizeof *TAKEN; i++) {
        struct kv_buffer frame = frame_of(TAKEN[i].arity, TAKEN[i].elements, TERM_HEX);
        for (size_t length = KV_WHOLE_HEADER; length < frame.length; length++) {
            struct kv_bytes copy = exact_copy(kv_bytes(frame.data, length));
            struct kv_signal signal = {0};
            int opcode = 0;
            cr_assert_eq(decode(copy, &signal, &opcode), KV_ETRUNCATED, "%s at %zu", TAKEN[i].name,
                         length);
            free_copy(copy);
        }
        kv_buffer_free(&frame);
    }
}

static void assert_encoded(const struct kv_signal *signal, uint64_t flags, const char *hex)
{
    struct kv_buffer frame = KV_BUFFER_INIT;
    struct kv_buffer expected = from_hex(hex);
    kv_control_encode(signal, flags, &frame);
    cr_assert(kv_bytes_equal(kv_buffer_bytes(&frame), kv_buffer_bytes(&expected)), "%s", hex);
    kv_buffer_free(&frame);
    kv_buffer_free(&expected);
}

Test(altact, a_message_to_an_alias_is_sent_in_the_newest_form_the_peer_has)
{
    const uint64_t alias = KV_DFLAG_FRAGMENTS | KV_DFLAG_ALIAS;
    const uint64_t altact = KV_DFLAG_FRAGMENTS | KV_DFLAG_ALTACT_SIG;
    struct kv_signal signal = {
        .kind = KV_SIGNAL_MESSAGE_ALIAS, .from = OURS, .to = PEER, .ref = REF, PARTS(TERM)};
    assert_encoded(&signal, alias | altact,
                   "00000039 83 44 00 68 04 61 25 61 04" OURS_HEX REF_HEX TERM_HEX);
    assert_encoded(&signal, altact,
                   "00000039 83 44 00 68 04 61 25 61 04" OURS_HEX REF_HEX TERM_HEX);
    assert_encoded(&signal, alias, "00000037 83 44 00 68 03 61 21" OURS_HEX REF_HEX TERM_HEX);
    assert_encoded(&signal, KV_DFLAG_FRAGMENTS, "");
}

Test(altact, an_exit_signal_to_an_alias_or_a_name_has_no_other_form)
{
    struct kv_signal alias = {.kind = KV_SIGNAL_EXIT_ALIAS, .from = OURS, .ref = REF, PARTS(TERM)};
    struct kv_signal name = {
        .kind = KV_SIGNAL_EXIT, .by_name = true, .from = OURS, .name = NAME, PARTS(TERM)};
    const uint64_t flags = KV_DFLAGS_OFFERED;
    assert_encoded(&alias, flags, "00000039 83 44 00 68 04 61 25 61 14" OURS_HEX REF_HEX TERM_HEX);
    assert_encoded(&name, flags, "00000024 83 44 00 68 04 61 25 61 18" OURS_HEX NAME_HEX TERM_HEX);
    assert_encoded(&alias, flags & ~KV_DFLAG_ALTACT_SIG, "");
    assert_encoded(&name, flags & ~KV_DFLAG_ALTACT_SIG, "");
}

/* OTP 25 and 27 do not offer ALTACT_SIG, so nothing changes for them. */
Test(altact, a_peer_without_the_flag_never_gets_one)
{
    const uint64_t otp_25 = UINT64_C(0xD07DF7FBC) & KV_DFLAGS_OFFERED;
    cr_assert_eq(otp_25, UINT64_C(0xD07DF4FBC));
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        struct kv_buffer frame = KV_BUFFER_INIT;
        kv_control_encode(&CONTROL_MESSAGES[i].signal, otp_25, &frame);
        cr_assert_gt(frame.length, 0);
        cr_assert_neq(frame.data[KV_FRAME_HEADER + KV_WHOLE_HEADER + 3], 37);
        kv_buffer_free(&frame);
    }
}
