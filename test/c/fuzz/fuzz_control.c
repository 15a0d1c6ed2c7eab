/* Fuzzes kv_control_decode() and its short cuts. The input is the content of one frame from the
 * peer q@vm, in the form with fragments or without.
 *
 * A decoded signal is encoded again in each form and must be decoded to the same signal. */
#include "wire/control.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/quick.h"
#include "wire/shapes.h"

#include <stdlib.h>

static const struct kv_term_limits LIMITS = {.size = 4096, .depth = 64};

static void demand(bool condition)
{
    if (!condition) {
        abort();
    }
}

static bool same_signal(const struct kv_signal *a, const struct kv_signal *b)
{
    return a->kind == b->kind && a->by_name == b->by_name && kv_pid_equal(&a->from, &b->from) &&
           kv_pid_equal(&a->to, &b->to) && kv_bytes_equal(a->name, b->name) &&
           kv_ref_equal(&a->ref, &b->ref) && a->unlink_id == b->unlink_id &&
           a->payload_parts == b->payload_parts && kv_bytes_equal(a->payload[0], b->payload[0]) &&
           kv_bytes_equal(a->spawn.module, b->spawn.module) &&
           kv_bytes_equal(a->spawn.function, b->spawn.function) &&
           a->spawn.arity == b->spawn.arity && a->spawn_flags == b->spawn_flags &&
           kv_bytes_equal(a->spawn_options, b->spawn_options) &&
           kv_pid_equal(&a->group_leader, &b->group_leader);
}

static void round_trip(const struct kv_signal *signal, uint64_t flags, struct kv_bytes peer)
{
    struct kv_buffer stream = KV_BUFFER_INIT;
    kv_control_encode(signal, flags, &stream);
    struct kv_bytes frame;
    size_t consumed = 0;
    demand(kv_frame_next(kv_buffer_bytes(&stream), SIZE_MAX, &frame, &consumed) == KV_OK);
    demand(consumed == stream.length);
    /* A name that arrives as an old Latin-1 atom leaves with another length. */
    const struct kv_term_limits limits = {.size = 2 * LIMITS.size, .depth = LIMITS.depth};
    struct kv_signal again = {0};
    int opcode = 0;
    demand(kv_control_decode(frame, flags, &limits, peer, &again, &opcode) == KV_OK);
    demand(same_signal(signal, &again));
    kv_buffer_free(&stream);
}

/* The short cut for messages only accepts correct frames, and decodes and encodes like the general
 * codec. */
static void compare_quick(struct kv_bytes frame, struct kv_bytes peer)
{
    struct kv_signal quick = {0};
    struct kv_signal signal = {0};
    int quick_opcode = 0;
    int opcode = 0;
    int error = kv_control_decode(frame, KV_DFLAG_FRAGMENTS, &LIMITS, peer, &signal, &opcode);
    if (kv_quick_decode(frame, &LIMITS, peer, &quick, &quick_opcode)) {
        demand(error == KV_OK && quick_opcode == opcode && same_signal(&quick, &signal));
    }
    struct kv_buffer general = KV_BUFFER_INIT;
    struct kv_buffer written = KV_BUFFER_INIT;
    if (error == KV_OK &&
        kv_quick_encode(&signal, KV_DFLAGS_OFFERED, kv_signal_payload_length(&signal), &written)) {
        kv_control_encode(&signal, KV_DFLAGS_OFFERED, &general);
        demand(kv_bytes_equal(kv_buffer_bytes(&general), kv_buffer_bytes(&written)));
    }
    kv_buffer_free(&general);
    kv_buffer_free(&written);
}

/* So does the short cut for calls. */
static void compare_shapes(struct kv_bytes frame, struct kv_bytes peer)
{
    static const uint64_t flags = KV_DFLAGS_OFFERED;
    static struct kv_shapes shapes;
    struct kv_incoming known = {.call = KV_CALL_UNKNOWN};
    struct kv_signal signal = {0};
    int known_opcode = 0;
    int opcode = 0;
    if (shapes.peer.length == 0) {
        kv_shapes_init(&shapes, flags, kv_bytes_text("kv@h"), peer);
    }
    if (!kv_shapes_decode(&shapes, frame, &LIMITS, &known, &known_opcode)) {
        return;
    }
    demand(kv_control_decode(frame, flags, &LIMITS, peer, &signal, &opcode) == KV_OK);
    demand(known_opcode == opcode && same_signal(&known.signal, &signal));
    if (known.call != KV_CALL_UNKNOWN) {
        struct kv_reader reader = kv_reader(known.signal.payload[0]);
        demand(kv_read_tuple_of(&reader, 3) == KV_OK);
        demand(kv_read_this_atom(&reader, known.call == KV_CALL_GEN ? "$gen_call" : "$kv_call") ==
               KV_OK);
    }
}

/* A refused message gives the same signal as an accepted one, or less if it is cut off or over a
 * limit. */
static void compare_refused(struct kv_bytes frame, uint64_t flags, struct kv_bytes peer)
{
    struct kv_signal signal = {0};
    struct kv_signal refused = {0};
    int opcode = 0;
    int refused_opcode = 0;
    bool known = false;
    int error = kv_control_decode(frame, flags, &LIMITS, peer, &signal, &opcode);
    int result = kv_control_decode_refused(frame, frame.length % 2 == 0, flags, &LIMITS, peer,
                                           &refused, &refused_opcode, &known);
    demand(result == KV_OK || !known || result == KV_EPROTOCOL);
    if (error == KV_OK && result == KV_OK) {
        demand(known && opcode == refused_opcode && same_signal(&signal, &refused));
    }
    if (kv_is_refusal(error)) {
        demand(opcode == refused_opcode || opcode == -1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool decode(struct kv_bytes frame, struct kv_bytes peer, struct kv_signal *signal,
                   int *opcode)
{
    return kv_control_decode(frame, KV_DFLAG_FRAGMENTS, &LIMITS, peer, signal, opcode) == KV_OK ||
           kv_control_decode(frame, 0, &LIMITS, peer, signal, opcode) == KV_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kv_bytes peer = kv_bytes_text("q@vm");
    struct kv_signal signal = {0};
    int opcode = 0;
    compare_quick(kv_bytes(data, size), peer);
    compare_shapes(kv_bytes(data, size), peer);
    compare_refused(kv_bytes(data, size), KV_DFLAG_FRAGMENTS, peer);
    compare_refused(kv_bytes(data, size), 0, peer);
    if (!decode(kv_bytes(data, size), peer, &signal, &opcode)) {
        return 0;
    }
    demand(opcode > 0 && signal.payload_parts <= 1);
    uint64_t flags = KV_DFLAGS_OFFERED;
    if (opcode == 2 || opcode == 12) {
        flags &= ~KV_DFLAG_SEND_SENDER; /* these have no sender */
    }
    if (opcode == 4) {
        flags &= ~KV_DFLAG_UNLINK_ID; /* it has no number */
    }
    /* Only ALTACT_SIG_SEND may carry an exit signal from a process of a third node, as in OTP. */
    if (opcode == 37 && signal.kind == KV_SIGNAL_EXIT && !signal.by_name &&
        !kv_bytes_equal(signal.from.node, peer)) {
        return 0;
    }
    round_trip(&signal, flags, peer);
    round_trip(&signal, flags & ~KV_DFLAG_EXIT_PAYLOAD, peer);
    round_trip(&signal, flags & ~KV_DFLAG_FRAGMENTS, peer);
    return 0;
}
