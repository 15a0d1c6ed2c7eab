/* Fuzzes kv_fragments_take(). The input is a series of frames of one connection, each behind a byte
 * with its length. Frames shorter than a header get a header of small numbers, so that fragments
 * often belong to the same sequence.
 *
 * The memory stays within its limits, a completed message starts like its first fragment, and no
 * memory is left behind. */
#include "base/alloc.h"
#include "wire/control.h"
#include "wire/fragments.h"
#include "wire/frame.h"
#include "wire/handshake.h"

#include <stdlib.h>

static const struct kv_hash_key KEY = {5, 6};

static const struct kv_fragment_limits LIMITS = {
    .term = {.size = 512, .depth = 16},
    .message = 512,
    .pending = 1024,
};

static void demand(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* Makes kind, sequence and id of three bytes, and copies the rest. */
static void expand(struct kv_bytes input, struct kv_buffer *frame)
{
    kv_buffer_clear(frame);
    if (input.length < 3 || input.data[0] == KV_TERM_VERSION) {
        kv_buffer_append(frame, input);
        return;
    }
    kv_buffer_u8(frame, KV_TERM_VERSION);
    kv_buffer_u8(frame, (uint8_t)(KV_FRAME_WHOLE + input.data[0] % 3));
    kv_buffer_u64(frame, input.data[1] % 4);
    kv_buffer_u64(frame, input.data[2] % 5);
    kv_buffer_append(frame, kv_bytes(input.data + 3, input.length - 3));
}

static int take(struct kv_fragments *fragments, struct kv_bytes frame)
{
    struct kv_arrived message;
    struct kv_signal signal = {0};
    int opcode = 0;
    bool known = false;
    uint8_t *copy = malloc(frame.length + 1);
    demand(copy != NULL);
    if (frame.length > 0) {
        memcpy(copy, frame.data, frame.length);
    }
    /* Some frames claim to have been longer than the bytes kept. */
    size_t length = frame.length + (frame.length % 5 == 0 ? 1000 : 0);
    int error = kv_fragments_take(fragments, kv_bytes(copy, frame.length), length, &message);
    demand(fragments->pending <=
           LIMITS.pending + (fragments->sequences.count + 1) * (size_t)KV_HEAD_LEAST);
    struct kv_bytes whole = message.bytes;
    if (error == KV_OK && message.error != KV_OK) {
        demand(kv_is_refusal(message.error) && message.length >= whole.length);
        (void)kv_control_decode_refused(whole, message.length > whole.length, KV_DFLAG_FRAGMENTS,
                                        &LIMITS.term, kv_bytes_text("q@vm"), &signal, &opcode,
                                        &known);
    } else if (error == KV_OK && whole.length > 0) {
        demand(message.length == whole.length);
        (void)kv_control_decode(whole, KV_DFLAG_FRAGMENTS, &LIMITS.term, kv_bytes_text("q@vm"),
                                &signal, &opcode);
        if (whole.data != copy) {
            demand(whole.length <= LIMITS.message);
            demand(memcmp(whole.data, "\x83\x44\x00", KV_WHOLE_HEADER) == 0);
            demand(kv_term_validate(
                       kv_bytes(whole.data + KV_WHOLE_HEADER, whole.length - KV_WHOLE_HEADER),
                       &LIMITS.term, NULL) == KV_OK);
        }
    }
    kv_fragments_release(fragments);
    free(copy);
    return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t outstanding = kv_alloc_outstanding();
    struct kv_fragments fragments;
    struct kv_buffer frame = KV_BUFFER_INIT;
    kv_fragments_init(&fragments, &LIMITS, &KEY);
    for (size_t at = 0; at < size;) {
        size_t length = data[at++];
        length = length < size - at ? length : size - at;
        expand(kv_bytes(data + at, length), &frame);
        at += length;
        if (take(&fragments, kv_buffer_bytes(&frame)) != KV_OK) {
            break; /* the connection is closed */
        }
    }
    kv_fragments_free(&fragments);
    kv_buffer_free(&frame);
    demand(kv_alloc_outstanding() == outstanding);
    return 0;
}
