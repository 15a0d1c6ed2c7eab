/* The short cut for messages gives the results of wire/control.h. */
#include "wire/control.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/quick.h"

#include "support/checks.h"
#include "support/signals.h"

static const struct kv_term_limits LIMITS = {.size = 4096, .depth = 16};

static struct kv_bytes peer(void)
{
    return kv_bytes_text("q@vm");
}

/* Decodes in both ways, from memory that ends with the frame, and compares the results. */
static void assert_same(struct kv_bytes frame, const char *name)
{
    struct kv_signal quick = {0};
    struct kv_signal general = {0};
    int quick_opcode = -2;
    int opcode = -2;
    struct kv_bytes copy = exact_copy(frame);
    int error = kv_control_decode(copy, KV_DFLAG_FRAGMENTS, &LIMITS, peer(), &general, &opcode);
    if (kv_quick_decode(copy, &LIMITS, peer(), &quick, &quick_opcode)) {
        cr_assert_eq(error, KV_OK, "%s: taken, but wrong (%d)", name, error);
        cr_assert_eq(quick_opcode, opcode, "%s", name);
        assert_signal(&quick, &general, name);
    }
    free_copy(copy);
}

static bool is_to_a_pid(const struct control_message *message)
{
    return message->opcode == 2 || message->opcode == 22;
}

Test(quick, it_takes_messages_to_pids_and_nothing_else)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        const struct control_message *message = &CONTROL_MESSAGES[i];
        struct kv_buffer frame = whole_frame(message);
        struct kv_signal signal = {0};
        int opcode = 0;
        bool taken = kv_quick_decode(kv_buffer_bytes(&frame), &LIMITS, peer(), &signal, &opcode);
        cr_assert_eq(taken, is_to_a_pid(message), "%s", message->name);
        if (taken) {
            cr_assert_eq(opcode, message->opcode, "%s", message->name);
            assert_signal(&signal, &message->signal, message->name);
        }
        kv_buffer_free(&frame);
    }
}

Test(quick, every_truncation_is_read_as_the_general_decoder_reads_it)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        struct kv_buffer frame = whole_frame(&CONTROL_MESSAGES[i]);
        for (size_t length = 0; length <= frame.length; length++) {
            assert_same(kv_bytes(frame.data, length), CONTROL_MESSAGES[i].name);
        }
        kv_buffer_u8(&frame, KV_TAG_NIL);
        assert_same(kv_buffer_bytes(&frame), CONTROL_MESSAGES[i].name);
        kv_buffer_free(&frame);
    }
}

Test(quick, every_byte_changed_in_every_way_is_read_as_the_general_decoder_reads_it)
{
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        struct kv_buffer frame = whole_frame(&CONTROL_MESSAGES[i]);
        for (size_t at = 0; at < frame.length; at++) {
            uint8_t right = frame.data[at];
            for (unsigned byte = 0; byte <= UINT8_MAX; byte++) {
                frame.data[at] = (uint8_t)byte;
                assert_same(kv_buffer_bytes(&frame), CONTROL_MESSAGES[i].name);
            }
            frame.data[at] = right;
        }
        kv_buffer_free(&frame);
    }
}

Test(quick, its_frames_equal_the_frames_of_the_general_encoder)
{
    const uint64_t flags[] = {
        KV_DFLAGS_OFFERED,
        KV_DFLAGS_OFFERED & ~KV_DFLAG_ALTACT_SIG,
        KV_DFLAGS_OFFERED & ~(KV_DFLAG_ALTACT_SIG | KV_DFLAG_ALIAS),
        KV_DFLAGS_OFFERED & ~KV_DFLAG_SEND_SENDER,
        KV_DFLAGS_OFFERED & ~KV_DFLAG_FRAGMENTS,
    };
    for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
        for (size_t set = 0; set < sizeof flags / sizeof *flags; set++) {
            struct kv_buffer quick = KV_BUFFER_INIT;
            struct kv_buffer general = KV_BUFFER_INIT;
            const struct kv_signal *signal = &CONTROL_MESSAGES[i].signal;
            kv_control_encode(signal, flags[set], &general);
            if (kv_quick_encode(signal, flags[set], kv_signal_payload_length(signal), &quick)) {
                cr_assert(kv_bytes_equal(kv_buffer_bytes(&quick), kv_buffer_bytes(&general)),
                          "%s with %#llx", CONTROL_MESSAGES[i].name,
                          (unsigned long long)flags[set]);
            }
            kv_buffer_free(&quick);
            kv_buffer_free(&general);
        }
    }
}

Test(quick, a_message_of_several_parts_is_one_frame)
{
    struct kv_signal signal = {.kind = KV_SIGNAL_MESSAGE_ALIAS,
                               .from = OURS,
                               .ref = REF,
                               .payload = {BYTES("\x68\x02"), BYTES("\x61\x01"), BYTES("\x6a")},
                               .payload_parts = 3};
    struct kv_buffer quick = KV_BUFFER_INIT;
    struct kv_buffer general = KV_BUFFER_INIT;
    cr_assert(kv_quick_encode(&signal, KV_DFLAGS_OFFERED, 5, &quick));
    kv_control_encode(&signal, KV_DFLAGS_OFFERED, &general);
    cr_assert(kv_bytes_equal(kv_buffer_bytes(&quick), kv_buffer_bytes(&general)));
    kv_buffer_free(&quick);
    kv_buffer_free(&general);
}
