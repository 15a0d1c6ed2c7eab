/* Out of memory in wire/: every request that may fail does so once. The message concerned is
 * refused or its connection closed, and no memory is left behind. */
#include "base/alloc.h"
#include "wire/codec.h"
#include "wire/fragments.h"
#include "wire/frame.h"
#include "wire/handshake.h"

#include "support/checks.h"
#include "support/signals.h"

TestSuite(wire_no_memory, .timeout = 60);

enum { NESTED = 200, PART = 40000, PARTS_COUNT = 4 };

/* ---- decoding -------------------------------------------------------------------------------- */

/* The frame of a message whose payload is nested lists. */
static struct kv_buffer nested_message(void)
{
    struct kv_buffer payload = KV_BUFFER_INIT;
    struct kv_buffer frame = KV_BUFFER_INIT;
    for (size_t i = 0; i < NESTED; i++) {
        kv_write_list(&payload, 1);
    }
    for (size_t i = 0; i <= NESTED; i++) {
        kv_write_nil(&payload);
    }
    append_hex(&frame, "83 44 00 68 03 61 16" PEER_HEX OURS_HEX);
    kv_buffer_append(&frame, kv_buffer_bytes(&payload));
    kv_buffer_free(&payload);
    return frame;
}

static struct kv_codec deep_codec(void)
{
    static const struct kv_term_limits limits = {.size = 4096, .depth = 2 * NESTED};
    struct kv_codec codec;
    kv_codec_init(&codec, KV_DFLAGS_OFFERED, &limits, kv_bytes_text("kv@h"), kv_bytes_text("q@vm"));
    return codec;
}

Test(wire_no_memory, decoding_a_control_message_reports_every_failure)
{
    const struct kv_codec codec = deep_codec();
    struct kv_buffer frame = nested_message();
    size_t blocks = kv_alloc_outstanding();
    int error = KV_ENOMEM;
    size_t n = 1;
    for (; error != KV_OK; n++) {
        struct kv_signal signal;
        int opcode = 0;
        (void)kv_try_realloc_fail(n);
        error = kv_control_decode(kv_buffer_bytes(&frame), codec.flags, &codec.limits,
                                  codec.shapes.peer, &signal, &opcode);
        bool failed = kv_try_realloc_fail(0) == 0;
        cr_assert_eq(error, failed ? KV_ENOMEM : KV_OK, "request %zu", n);
        cr_assert_eq(opcode, 22, "request %zu", n);
        cr_assert_eq(kv_alloc_outstanding(), blocks, "request %zu", n);
    }
    cr_assert_gt(n, 2, "the message needs no memory");
    kv_buffer_free(&frame);
}

/* A short cut that fails leaves the frame to the general way. */
Test(wire_no_memory, one_failure_in_a_short_cut_changes_nothing)
{
    const struct kv_codec codec = deep_codec();
    struct kv_buffer frame = nested_message();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct kv_incoming incoming;
        int opcode = 0;
        (void)kv_try_realloc_fail(n);
        int error = kv_codec_decode(&codec, kv_buffer_bytes(&frame), &incoming, &opcode);
        failed = kv_try_realloc_fail(0) == 0;
        cr_assert_eq(error, KV_OK, "request %zu", n);
        cr_assert_eq(opcode, 22, "request %zu", n);
    }
    kv_buffer_free(&frame);
}

/* ---- fragments ------------------------------------------------------------------------------- */

/* Part `id` of a message in PARTS_COUNT fragments. */
static struct kv_buffer fragment(uint64_t id)
{
    struct kv_buffer frame = KV_BUFFER_INIT;
    bool first = id == PARTS_COUNT;
    kv_buffer_u8(&frame, KV_TERM_VERSION);
    kv_buffer_u8(&frame, first ? KV_FRAME_FIRST : KV_FRAME_OTHER);
    kv_buffer_u64(&frame, 5);
    kv_buffer_u64(&frame, id);
    if (first) {
        append_hex(&frame, "00 68 03 61 16" PEER_HEX OURS_HEX);
        kv_write_list(&frame, UINT16_MAX);
    }
    uint8_t *rest = kv_buffer_reserve(&frame, PART);
    memset(rest, KV_TAG_NIL, PART);
    frame.length += PART;
    return frame;
}

/* Takes all fragments. Returns the error of the message, or of the connection. */
static int take_all(struct kv_fragments *fragments)
{
    struct kv_bytes whole = kv_bytes(NULL, 0);
    int error = KV_OK;
    for (uint64_t id = PARTS_COUNT; id > 0 && error == KV_OK; id--) {
        struct kv_buffer frame = fragment(id);
        cr_assert_eq(whole.length, 0);
        error = take_fragment(fragments, kv_buffer_bytes(&frame), &whole);
        kv_buffer_free(&frame);
    }
    cr_assert_gt(whole.length, 0);
    return error;
}

Test(wire_no_memory, a_message_in_fragments_is_refused_whatever_request_fails)
{
    static const struct kv_fragment_limits limits = {
        .term = {.size = 1 << 20, .depth = 16}, .message = 1 << 20, .pending = 1 << 20};
    static const struct kv_hash_key key = {3, 4};
    size_t blocks = kv_alloc_outstanding();
    bool failed = true;
    size_t n = 1;
    for (; failed; n++) {
        struct kv_fragments fragments;
        kv_fragments_init(&fragments, &limits, &key);
        (void)kv_try_realloc_fail(n);
        int error = take_all(&fragments);
        failed = kv_try_realloc_fail(0) == 0;
        cr_assert_eq(error, failed ? KV_EPENDING : KV_OK, "request %zu", n);
        cr_assert_eq(fragments.pending, 0, "request %zu", n);
        kv_fragments_free(&fragments);
        cr_assert_eq(kv_alloc_outstanding(), blocks, "request %zu", n);
    }
    cr_assert_gt(n, 2, "the message needs no memory");
}
