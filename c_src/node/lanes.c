#include "node/lanes.h"

#include "base/alloc.h"
#include "host/processors.h"
#include "host/shared_memory.h"
#include "net/connection.h"
#include "node/node.h"
#include "server/slots.h"

#include <openssl/rand.h>
#include <stdatomic.h>
#include <string.h>

struct kv_lane {
    struct kv_list link;
    struct kv_buffer peer; /* the name of the node */
    struct kv_mapping mapping;
    struct kv_lane_header *header;
    uint32_t groups;
    uint32_t wanted; /* as it was at the last look */
    uint8_t id[KV_LANE_ID_SIZE];
};

/* ---- opening and ending ---------------------------------------------------------------------- */

void kv_lanes_init(struct kv_lanes *lanes)
{
    *lanes = (struct kv_lanes){.processors = kv_processors_allowed()};
    kv_list_init(&lanes->list);
}

/* While a node looks at lanes it neither gathers messages nor follows callers: turn.c. So it looks
 * no more once there are none. */
static void end(struct kv_lanes *lanes, struct kv_lane *lane)
{
    kv_lane_end(lane->header);
    kv_mapping_close(&lane->mapping);
    kv_list_remove(&lane->link);
    kv_buffer_free(&lane->peer);
    kv_free(lane);
    lanes->count--;
    lanes->looking = lanes->looking && lanes->count > 0;
}

void kv_lanes_lost(struct kv_lanes *lanes, struct kv_bytes peer)
{
    KV_LIST_FOREACH (link, &lanes->list) {
        struct kv_lane *lane = KV_LIST_OF(link, struct kv_lane, link);
        if (kv_bytes_equal(kv_buffer_bytes(&lane->peer), peer)) {
            end(lanes, lane);
            return;
        }
    }
}

void kv_lanes_close(struct kv_lanes *lanes)
{
    KV_LIST_FOREACH (link, &lanes->list) {
        end(lanes, KV_LIST_OF(link, struct kv_lane, link));
    }
}

void kv_lanes_finish(struct kv_lanes *lanes)
{
    kv_lanes_close(lanes);
    kv_free(lanes->copy);
    lanes->copy = NULL;
}

static bool make(struct kv_lane *lane, struct kv_bytes peer, uint32_t groups)
{
    *lane = (struct kv_lane){.groups = groups};
    if (RAND_bytes(lane->id, sizeof lane->id) != 1 ||
        !kv_mapping_open_file(&lane->mapping, "kv_lane", kv_lane_size(groups))) {
        return false;
    }
    lane->header = (void *)lane->mapping.base;
    lane->header->magic = KV_LANE_MAGIC;
    lane->header->version = KV_LANE_VERSION;
    lane->header->groups = groups;
    memcpy(lane->header->id, lane->id, sizeof lane->id);
    kv_buffer_append(&lane->peer, peer);
    kv_list_init(&lane->link);
    return true;
}

static const char *refusal(const struct kv_node *node, struct kv_bytes peer)
{
    const struct kv_connection *connection = kv_connections_find(&node->connections, peer);
    return connection == NULL             ? "not_connected"
           : connection->local_socket < 0 ? "not_local"
           : node->lanes.processors < 2   ? "single_processor"
                                          : NULL;
}

const char *kv_lanes_open(struct kv_node *node, struct kv_bytes peer, uint32_t schedulers,
                          struct kv_lane_place *place)
{
    struct kv_lanes *lanes = &node->lanes;
    const char *why = refusal(node, peer);
    if (why != NULL) {
        return why;
    }
    kv_lanes_lost(lanes, peer);
    if (lanes->count == KV_LANES_MAX) {
        return "too_many";
    }
    const uint32_t least = schedulers > 0 ? schedulers : 1;
    struct kv_lane *lane = kv_alloc(sizeof *lane);
    if (!make(lane, peer, least < KV_LANE_GROUPS_MAX ? least : KV_LANE_GROUPS_MAX)) {
        kv_free(lane);
        return "no_memory";
    }
    if (lanes->copy == NULL) {
        lanes->copy = kv_alloc(KV_SLOT_ROOM);
    }
    if (lanes->count++ == 0) {
        kv_lane_pace_init(&lanes->pace, uv_hrtime());
    }
    kv_list_append(&lanes->list, &lane->link);
    atomic_store_explicit(&lane->header->looking, lanes->looking, memory_order_relaxed);
    *place = (struct kv_lane_place){.os_pid = (uint64_t)uv_os_getpid(),
                                    .fd = lane->mapping.fd,
                                    .size = lane->mapping.size,
                                    .groups = lane->groups};
    memcpy(place->id, lane->id, sizeof place->id);
    return NULL;
}

/* ---- a turn ---------------------------------------------------------------------------------- */

/* Looks once at the slots of a lane. Returns the number of requests. */
static unsigned pass(const struct kv_slots *slots, struct kv_lane *lane)
{
    const uint32_t beat = atomic_load_explicit(&lane->header->beat, memory_order_relaxed);
    const unsigned served = kv_slots_serve(slots, lane->mapping.base, lane->groups);
    atomic_store_explicit(&lane->header->beat, beat + 1, memory_order_relaxed);
    return served;
}

static unsigned pass_all(struct kv_lanes *lanes, const struct kv_slots *slots)
{
    unsigned served = 0;
    KV_LIST_FOREACH (link, &lanes->list) {
        served += pass(slots, KV_LIST_OF(link, struct kv_lane, link));
    }
    return served;
}

/* Returns how many callers have found the node asleep since the last look. A VM that lies keeps the
 * node awake, as it could with messages. */
static uint32_t wanted(struct kv_lanes *lanes)
{
    uint32_t callers = 0;
    KV_LIST_FOREACH (link, &lanes->list) {
        struct kv_lane *lane = KV_LIST_OF(link, struct kv_lane, link);
        const uint32_t now = atomic_load_explicit(&lane->header->wanted, memory_order_relaxed);
        callers += now - lane->wanted;
        lane->wanted = now;
    }
    return callers;
}

static void set_looking(struct kv_lanes *lanes, bool looking)
{
    if (lanes->looking != looking) {
        lanes->looking = looking;
        KV_LIST_FOREACH (link, &lanes->list) {
            struct kv_lane *lane = KV_LIST_OF(link, struct kv_lane, link);
            atomic_store_explicit(&lane->header->looking, looking, memory_order_relaxed);
        }
    }
}

static void tick(void *memory)
{
    kv_memory_tick(memory);
}

/* Looks until there is a request, or so many times: the clock takes longer than a look. Only where
 * something expires, each request looks at the clock, too. */
static unsigned pass_often(struct kv_node *node)
{
    const struct kv_net_limits *limits = &node->net.limits;
    const bool expires = kv_arena_due(node->memory.arena) != UINT64_MAX;
    const struct kv_slots slots = {.runtime = node->net.runtime,
                                   .limits = {.size = (size_t)limits->max_frame,
                                              .depth = (size_t)limits->max_depth,
                                              .zeros = limits->zeros},
                                   .copy = node->lanes.copy,
                                   .taken = expires ? tick : NULL,
                                   .context = &node->memory};
    unsigned served = pass_all(&node->lanes, &slots);
    for (unsigned i = 1; served == 0 && i < KV_LANE_CLOCK_EACH; i++) {
        kv_slot_relax();
        served = pass_all(&node->lanes, &slots);
    }
    return served;
}

/* Nothing has come. If that is because a caller waits for the processor on which this loop runs,
 * the loop goes to another one: on a busy machine the system may leave both on the same for long.
 */
static void make_way(struct kv_lanes *lanes, uint64_t now)
{
    if (now - lanes->moved < KV_LANE_MOVE_NS) {
        return;
    }
    KV_LIST_FOREACH (link, &lanes->list) {
        const struct kv_lane *lane = KV_LIST_OF(link, struct kv_lane, link);
        const uint32_t where = atomic_load_explicit(&lane->header->where, memory_order_relaxed);
        if (kv_processors_leave(where - 1)) {
            lanes->moved = now;
            return;
        }
    }
}

/* Returns the number of requests of this turn, and sets *now to its end. */
static unsigned serve_turn(struct kv_node *node, uint64_t *now)
{
    const uint64_t began = *now;
    uint64_t busy = began;
    unsigned served = 0;
    kv_memory_tick(&node->memory);
    do {
        const unsigned got = pass_often(node);
        *now = uv_hrtime();
        if (got > 0) {
            served += got;
            busy = *now;
        }
    } while (served < KV_LANE_TURN_REQUESTS && *now - began < KV_LANE_TURN_NS &&
             *now - busy < KV_LANE_TURN_IDLE);
    return served;
}

static void note(struct kv_lanes *lanes, uint64_t requests, uint64_t now)
{
    if (requests > 0) {
        kv_lane_pace_saw(&lanes->pace, requests, now);
    }
}

/* A loop that was stopped for a while looks once more before it stops looking. */
static void serve(struct kv_node *node, uint64_t *now)
{
    struct kv_lanes *lanes = &node->lanes;
    const uint64_t began = *now;
    set_looking(lanes, true);
    const unsigned served = serve_turn(node, now);
    note(lanes, served, *now);
    kv_lane_pace_looked(&lanes->pace, served, *now - began);
    set_looking(lanes, kv_lane_pace_is_fast(&lanes->pace, *now));
    if (lanes->looking && served == 0) {
        make_way(lanes, *now);
    }
}

/* A caller that sees the end of the looking late waits in vain and withdraws: no request is lost
 * that is not served here. */
bool kv_lanes_look(struct kv_node *node)
{
    struct kv_lanes *lanes = &node->lanes;
    if (lanes->count == 0 || node->net.stopping) {
        return false;
    }
    uint64_t now = uv_hrtime();
    note(lanes, wanted(lanes), now);
    if (lanes->looking || kv_lane_pace_is_fast(&lanes->pace, now)) {
        serve(node, &now);
    }
    return lanes->looking;
}
