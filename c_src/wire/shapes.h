/* The frames of a call, known by their shape.
 *
 * gen_server:call/2 puts MONITOR_P, a request and DEMONITOR_P on the wire, and what such frames are
 * up to the request depends on nothing but two node names and numbers: ids, serials, creations, the
 * words of references. So they are laid out once for a connection, and a frame is compared with
 * them, all of it at once, but for the numbers. What differs in another byte, right or wrong, is
 * left to wire/control.h, which must say the same of what is taken here. */
#ifndef KV_WIRE_SHAPES_H
#define KV_WIRE_SHAPES_H

#include "term/call_shape.h"

#include <kv/term.h>

enum {
    KV_SHAPE_MAX = 512, /* bytes: room for node names of a hundred characters each */
    KV_SHAPE_LANE = 16, /* bytes that are compared at once */
};

/* The first bytes of a frame; in `matters` there is 255 where a frame must have the same, else 0.
 */
struct kv_shape {
    size_t length; /* 0: nothing has this shape */
    _Alignas(KV_SHAPE_LANE) uint8_t same[KV_SHAPE_MAX];
    _Alignas(KV_SHAPE_LANE) uint8_t matters[KV_SHAPE_MAX];
};

/* The first bytes of the frame of an answer to a call. */
struct kv_answer_head {
    size_t length; /* 0: answers have another form */
    size_t from;   /* where its numbers are */
    size_t ref;
    uint8_t bytes[KV_SHAPE_MAX + KV_SHAPE_LANE];
};

/* Zeroed, it takes no frame. */
struct kv_shapes {
    struct kv_bytes self;
    struct kv_bytes peer;
    size_t from; /* where the numbers of each are, in all three */
    size_t to;
    size_t ref;     /* of a monitor */
    size_t payload; /* of a call */
    struct kv_shape monitor;
    struct kv_shape gen_call; /* {'$gen_call', {Pid, [alias | Ref]}, Request} */
    struct kv_shape kv_call;  /* {'$kv_call', Alias, Request} */
    struct kv_answer_head answer;
};

/* flags: those both sides have; without KV_DFLAG_FRAGMENTS nothing has a shape. The two names are
 * borrowed for as long as the shapes are used: what is decoded borrows them. No shapes are made of
 * names that are not in ASCII, or so long that a shape has no room for them. */
void kv_shapes_init(struct kv_shapes *shapes, uint64_t flags, struct kv_bytes self,
                    struct kv_bytes peer);

/* Reads MONITOR_P and DEMONITOR_P on one of our processes, and a SEND_SENDER that is a call of one
 * by a process of the peer, from a frame of a connection with KV_DFLAG_FRAGMENTS, under the rules
 * of kv_control_decode(). False: it is something else, or there is something wrong with it;
 * incoming and opcode are garbage then. O(length). */
bool kv_shapes_decode(const struct kv_shapes *shapes, struct kv_bytes frame,
                      const struct kv_term_limits *limits, struct kv_incoming *incoming,
                      int *opcode);

/* Appends the frame of a message from one of our processes to an alias of a process of the peer, as
 * kv_control_encode() does; `payload` is how many bytes its parts have. Only for identifiers that
 * borrow the two names that the shapes were made of, as those do that come from kv_shapes_decode(),
 * and for references of three words. False: it is something else, and nothing was appended. */
bool kv_shapes_encode(const struct kv_shapes *shapes, const struct kv_signal *signal,
                      size_t payload, struct kv_buffer *to);

#endif
