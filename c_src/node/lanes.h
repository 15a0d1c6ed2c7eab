/* The lanes of the node: one for each connection of this host that has asked for it. See
 * docs/local.md.
 *
 * A request of a lane is served as the message {'$kv_call', _, Request} would be, between two looks
 * at the sockets. What cannot be served so is declined, and comes as a message then. */
#ifndef KV_NODE_LANES_H
#define KV_NODE_LANES_H

#include "base/list.h"
#include "host/lane_pace.h"
#include "lane/layout.h"

#include <kv/term.h>

struct kv_node;

enum {
    KV_LANES_MAX = 16,             /* later connections get none */
    KV_LANE_TURN_REQUESTS = 64,    /* then the sockets are looked at, */
    KV_LANE_TURN_NS = 50 * 1000,   /* or after this time, */
    KV_LANE_TURN_IDLE = 10 * 1000, /* or after this time without a request */
    KV_LANE_CLOCK_EACH = 16,       /* looks between two looks at the clock */
    KV_LANE_MOVE_NS = 10 * 1000000 /* at least, from one processor to another and back */
};

/* Zeroed: none. */
struct kv_lanes {
    struct kv_list list; /* struct kv_lane */
    unsigned count;
    unsigned
        processors; /* that the program may use: the loop may bind itself to one of them later */
    bool looking;
    uint64_t moved; /* when the loop last made way for a caller */
    struct kv_lane_pace pace;
    uint8_t *copy; /* of the request that is served: KV_SLOT_ROOM bytes */
};

/* Must be called before the loop follows its callers. */
void kv_lanes_init(struct kv_lanes *lanes);

/* Where another process of this user finds a lane. */
struct kv_lane_place {
    uint64_t os_pid;
    int fd;
    uint64_t size;
    uint32_t groups;
    uint8_t id[KV_LANE_ID_SIZE];
};

/* Makes the lane of the connection to a node, for so many schedulers, in place of an older one.
 * Returns NULL, or a word that says why there is none: not_connected, not_local, single_processor,
 * too_many or no_memory. */
const char *kv_lanes_open(struct kv_node *node, struct kv_bytes peer, uint32_t schedulers,
                          struct kv_lane_place *place);

/* The connection to a node is lost: ends its lane, if it has one. */
void kv_lanes_lost(struct kv_lanes *lanes, struct kv_bytes peer);

/* Ends all lanes. */
void kv_lanes_close(struct kv_lanes *lanes);
void kv_lanes_finish(struct kv_lanes *lanes);

/* Serves what has been asked, for one turn, and looks on for a while if more is likely to come.
 * Returns true if the loop should not sleep. */
bool kv_lanes_look(struct kv_node *node);

#endif
