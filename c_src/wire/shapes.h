/* Short cut for the frames of a call, recognized by their shape.
 *
 * gen_server:call/2 sends MONITOR_P, a request and DEMONITOR_P. Up to the request, these frames
 * depend only on two node names and on numbers: ids, serials, creations, the words of references.
 * So each connection lays them out once. A frame is compared with the whole layout at once, except
 * for the numbers. A frame that differs in any other byte, right or wrong, is left to
 * wire/control.h, which must produce the same result for all that is accepted here. */
#ifndef KV_WIRE_SHAPES_H
#define KV_WIRE_SHAPES_H

#include "term/call_shape.h"

#include <kv/term.h>

enum {
    KV_SHAPE_MAX = 512, /* bytes: room for node names of a hundred characters each */
    KV_SHAPE_LANE = 16, /* bytes that are compared at once */
};

/* The first bytes of a frame. `matters` has 255 for bytes that must be equal, and 0 for numbers. */
struct kv_shape {
    size_t length; /* 0: no frame has this shape */
    _Alignas(KV_SHAPE_LANE) uint8_t same[KV_SHAPE_MAX];
    _Alignas(KV_SHAPE_LANE) uint8_t matters[KV_SHAPE_MAX];
};

/* The first bytes of the frame of an answer to a call. */
struct kv_answer_head {
    size_t length; /* 0: answers have another form */
    size_t from;   /* offsets of the numbers */
    size_t ref;
    uint8_t bytes[KV_SHAPE_MAX + KV_SHAPE_LANE];
};

/* Zeroed, it accepts no frame. */
struct kv_shapes {
    struct kv_bytes self;
    struct kv_bytes peer;
    size_t from; /* offsets of the numbers, in all three shapes */
    size_t to;
    size_t ref;     /* offset of the numbers in a monitor */
    size_t payload; /* offset of the message in a call */
    struct kv_shape monitor;
    struct kv_shape gen_call; /* {'$gen_call', {Pid, [alias | Ref]}, Request} */
    struct kv_shape kv_call;  /* {'$kv_call', Alias, Request} */
    struct kv_answer_head answer;
};

/* flags: those that both sides have; without KV_DFLAG_FRAGMENTS no frame has a shape. The names are
 * borrowed for as long as the shapes are used, and by the signals decoded with them. Lays out no
 * shape if a name is not ASCII or too long for KV_SHAPE_MAX. */
void kv_shapes_init(struct kv_shapes *shapes, uint64_t flags, struct kv_bytes self,
                    struct kv_bytes peer);

/* Decodes MONITOR_P and DEMONITOR_P of a process of this node by its pid, and a SEND_SENDER that is
 * a call of one, all from a process of the peer. `frame` is of a connection with
 * KV_DFLAG_FRAGMENTS; the rules are those of kv_control_decode(). Returns false for any other frame
 * and for a malformed one; incoming and opcode then hold garbage. O(length). */
bool kv_shapes_decode(const struct kv_shapes *shapes, struct kv_bytes frame,
                      const struct kv_term_limits *limits, struct kv_incoming *incoming,
                      int *opcode);

/* Appends the frame of a message from a process of this node to an alias of a process of the peer,
 * the same bytes as kv_control_encode() would. payload: kv_signal_payload_length(signal). The
 * identifiers must borrow the two names given to kv_shapes_init(), as those of decoded signals do,
 * and the reference must have three words. Returns false, and appends nothing, for any other
 * signal. */
bool kv_shapes_encode(const struct kv_shapes *shapes, const struct kv_signal *signal,
                      size_t payload, struct kv_buffer *to);

#endif
