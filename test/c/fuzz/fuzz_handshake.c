/* Fuzzes kv_handshake_feed(). The first byte of the input selects the kind of connection. The
 * others are the bytes of the peer.
 *
 * Every way to split the bytes gives the same result, and a peer that does not know the cookie
 * never gets through. */
#include "wire/handshake.h"

#include <stdlib.h>

enum { ALREADY_CONNECTED = 1, OTHER_COOKIE = 2, PIECE_SHIFT = 2, CHALLENGE = 12345 };

/* At most two statuses, a challenge and an ack. */
enum { OUTPUT_MAX = 128 };

struct outcome {
    struct kv_handshake handshake;
    struct kv_buffer out;
    size_t taken;
    int error;
};

static void demand(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void answer(struct outcome *outcome, bool already_connected)
{
    if (outcome->handshake.step == KV_HANDSHAKE_NAMED) {
        demand(kv_node_name_ok(kv_handshake_peer(&outcome->handshake)));
        kv_handshake_answer_name(&outcome->handshake, already_connected, &outcome->out);
    } else if (outcome->handshake.step == KV_HANDSHAKE_VERIFIED) {
        kv_handshake_accept(&outcome->handshake, &outcome->out);
    }
}

/* Feeds all messages that are complete within the first `length` bytes. */
static void feed(struct outcome *outcome, struct kv_bytes all, size_t length,
                 bool already_connected)
{
    size_t consumed = 1;
    while (consumed > 0 && outcome->error == KV_OK) {
        struct kv_bytes rest = kv_bytes(all.data + outcome->taken, length - outcome->taken);
        outcome->error = kv_handshake_feed(&outcome->handshake, rest, &consumed, &outcome->out);
        demand(consumed <= rest.length);
        outcome->taken += consumed;
        answer(outcome, already_connected);
    }
    demand((outcome->error != KV_OK) == (outcome->handshake.step == KV_HANDSHAKE_REFUSED));
    demand(outcome->out.length <= OUTPUT_MAX);
}

static struct outcome run(const struct kv_identity *self, struct kv_bytes all, size_t piece,
                          bool already_connected)
{
    struct outcome outcome = {.error = KV_OK};
    kv_handshake_init(&outcome.handshake, self, CHALLENGE);
    for (size_t length = 0; length < all.length && outcome.error == KV_OK;) {
        length += piece < all.length - length ? piece : all.length - length;
        feed(&outcome, all, length, already_connected);
    }
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    bool already_connected = (data[0] & ALREADY_CONNECTED) != 0;
    bool other_cookie = (data[0] & OTHER_COOKIE) != 0;
    size_t piece = 1 + (size_t)(data[0] >> PIECE_SHIFT);
    const struct kv_identity self = {.name = kv_bytes_text("kv@h"),
                                     .flags = KV_DFLAGS_OFFERED,
                                     .creation = 42,
                                     .cookie = kv_bytes_text(other_cookie ? "other" : "probe")};
    struct kv_bytes all = kv_bytes(data + 1, size - 1);
    struct outcome whole = run(&self, all, SIZE_MAX, already_connected);
    struct outcome split = run(&self, all, piece, already_connected);
    demand(whole.error == split.error && whole.handshake.step == split.handshake.step);
    demand(whole.taken == split.taken || whole.error != KV_OK);
    demand(kv_bytes_equal(kv_buffer_bytes(&whole.out), kv_buffer_bytes(&split.out)));
    demand(!other_cookie || whole.handshake.step != KV_HANDSHAKE_DONE);
    kv_buffer_free(&whole.out);
    kv_buffer_free(&split.out);
    return 0;
}
