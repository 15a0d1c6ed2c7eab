/* The codec gives the results of wire/control.h, in both directions. */
#include "wire/codec.h"
#include "wire/control.h"
#include "wire/frame.h"
#include "wire/handshake.h"

#include "support/checks.h"
#include "support/signals.h"

static const uint64_t FLAGS[] = {
    KV_DFLAGS_OFFERED,
    KV_DFLAGS_OFFERED & ~KV_DFLAG_ALTACT_SIG,
    KV_DFLAGS_OFFERED & ~KV_DFLAG_SEND_SENDER,
    KV_DFLAGS_OFFERED & ~KV_DFLAG_FRAGMENTS,
};
enum { FLAGS_COUNT = sizeof FLAGS / sizeof *FLAGS };

static struct kv_buffer encode(const struct kv_codec *codec, const struct kv_signal *signal)
{
    struct kv_buffer frame = KV_BUFFER_INIT;
    size_t payload = kv_signal_payload_length(signal);
    bool encoded = kv_codec_encode(codec, signal, payload, &frame);
    cr_assert_eq(encoded, frame.length > 0);
    return frame;
}

Test(codec, every_signal_becomes_the_frame_of_the_general_encoder)
{
    for (size_t set = 0; set < FLAGS_COUNT; set++) {
        const struct kv_codec codec = codec_with(FLAGS[set]);
        for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
            struct kv_buffer frame = encode(&codec, &CONTROL_MESSAGES[i].signal);
            struct kv_buffer general = KV_BUFFER_INIT;
            bool known = kv_control_encode(&CONTROL_MESSAGES[i].signal, FLAGS[set], &general);
            cr_assert_eq(known, general.length > 0);
            cr_assert(kv_bytes_equal(kv_buffer_bytes(&frame), kv_buffer_bytes(&general)), "%s",
                      CONTROL_MESSAGES[i].name);
            kv_buffer_free(&frame);
            kv_buffer_free(&general);
        }
    }
}

Test(codec, every_frame_becomes_the_signal_of_the_general_decoder)
{
    for (size_t set = 0; set < FLAGS_COUNT; set++) {
        const struct kv_codec codec = codec_with(FLAGS[set]);
        for (size_t i = 0; i < CONTROL_MESSAGE_COUNT; i++) {
            struct kv_buffer written = encode(&codec, &CONTROL_MESSAGES[i].signal);
            struct kv_bytes frame =
                kv_bytes(written.data + KV_FRAME_HEADER, written.length - KV_FRAME_HEADER);
            struct kv_incoming incoming = {.call = KV_CALL_UNKNOWN};
            struct kv_signal general = {0};
            int opcode = -2;
            int general_opcode = -2;
            int error = kv_codec_decode(&codec, frame, &incoming, &opcode);
            cr_assert_eq(error,
                         kv_control_decode(frame, FLAGS[set], &codec.limits, kv_bytes_text("q@vm"),
                                           &general, &general_opcode));
            cr_assert_eq(opcode, general_opcode, "%s", CONTROL_MESSAGES[i].name);
            if (error == KV_OK) {
                assert_signal(&incoming.signal, &general, CONTROL_MESSAGES[i].name);
            }
            kv_buffer_free(&written);
        }
    }
}

Test(codec, a_signal_without_a_form_for_the_peer_leaves_the_buffer_as_it_is)
{
    const struct kv_codec codec = codec_with(KV_DFLAG_FRAGMENTS);
    const struct kv_signal spawn = {.kind = KV_SIGNAL_SPAWN_REQUEST, .from = OURS, .ref = REF};
    struct kv_buffer frame = from_hex("aa");
    cr_assert_not(kv_codec_encode(&codec, &spawn, 0, &frame));
    cr_assert_eq(frame.length, 1);
    kv_buffer_free(&frame);
}

Test(codec, a_frame_without_its_beginning_is_refused_as_the_general_decoder_refuses_it)
{
    const struct kv_codec codec = codec_with(KV_DFLAGS_OFFERED);
    struct kv_incoming incoming;
    int opcode = 0;
    bool known = true;
    struct kv_bytes none = kv_bytes(NULL, 0);
    cr_assert_eq(kv_codec_decode(&codec, none, &incoming, &opcode), KV_EPROTOCOL);
    cr_assert_eq(kv_codec_decode_refused(&codec, none, true, &incoming.signal, &opcode, &known),
                 KV_EPROTOCOL);
    cr_assert_eq(opcode, -1);
    cr_assert_not(known);
}
