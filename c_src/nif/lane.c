/* Calls by shared memory: docs/local.md. A thread of the VM writes the request into a slot of its
 * own and looks for the answer for some microseconds. No call takes longer than KV_LOOK_NS twice
 * and KV_TAKEN_NS, unless the system stops the thread. */
#include "nif/nif.h"

#include "base/alloc.h"
#include "base/endian.h"

#include <sched.h>
#include <sys/mman.h>
#include <time.h>

enum {
    LOOKS_FIRST = 32,      /* before the first look at the clock: most answers come sooner */
    LOOK_NS = 5000,        /* for a request to be taken, and again after one sched_yield() */
    TAKEN_NS = 20000,      /* longer, for the answer to one that was taken */
    MISS_NS = 2 * LOOK_NS, /* which a wait in vain takes, */
    SAVED_NS = 1000,       /* which an answer saves, at least, */
    SAVED_MAX_NS = 200000, /* and so much at most counts */
    FIRST_PAUSE_NS = 20 * MISS_NS,
    LAST_PAUSE_NS = 20000000,
    DECLINED_MAX = 4,    /* in a row; then messages spare both sides the attempt, */
    MESSAGES = 64,       /* so many for each that was declined, */
    MESSAGES_MAX = 1024, /* up to these */
    CLOCK_EACH = 16,     /* looks between two looks at the clock, */
    CALL_NS = 500,       /* which a call that waits for nothing takes */
    PERCENT_NS = 10000,  /* one percent of the time slice of a process: 5 us are 20 reductions */
    PERCENT_MAX = 100,
};

static uint64_t time_now(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- opening and closing ----------------------------------------------------------------------
 */

const char *kv_nif_lane_open(const struct kv_nif_place *place, uint32_t groups,
                             struct kv_nif_lane *lane)
{
    void *base = NULL;
    if (groups == 0 || groups > KV_LANE_GROUPS_MAX) {
        return "another_size";
    }
    const char *reason = kv_nif_map_lane(place, groups, &base);
    lane->header = base;
    lane->groups = groups;
    return reason;
}

void kv_nif_lane_unmap(struct kv_nif_lane *lane)
{
    if (lane->header != NULL) {
        (void)munmap(lane->header, kv_lane_size(lane->groups));
        lane->header = NULL;
    }
}

void kv_nif_lane_close(struct kv_nif_lane *lane)
{
    atomic_store_explicit(&lane->closed, true, memory_order_release);
    if (lane->header != NULL) {
        kv_lane_end(lane->header);
    }
}

static bool has_ended(const struct kv_nif_lane *lane)
{
    return atomic_load_explicit(&lane->closed, memory_order_acquire) ||
           kv_lane_is_dead(lane->header);
}

/* ---- whether to ask ---------------------------------------------------------------------------
 */

/* Tells a node that may run on the same processor. */
static void tell_where(struct kv_lane_header *header)
{
    const uint32_t where = (uint32_t)sched_getcpu() + 1;
    if (atomic_load_explicit(&header->where, memory_order_relaxed) != where) {
        atomic_store_explicit(&header->where, where, memory_order_relaxed);
    }
}

/* Returns false if the node sleeps, has not run since a thread waited in vain, or has let this
 * thread wait in vain of late. */
static bool is_worth_asking(struct kv_nif_lane *lane, struct kv_nif_seat *seat)
{
    struct kv_lane_header *header = lane->header;
    if (atomic_load_explicit(&header->looking, memory_order_relaxed) == 0) {
        (void)atomic_fetch_add_explicit(&header->wanted, 1, memory_order_relaxed);
        tell_where(header);
        return false;
    }
    if (!seat->missed) {
        return true;
    }
    return atomic_load_explicit(&header->beat, memory_order_relaxed) != seat->beat &&
           (seat->until == 0 || time_now() >= seat->until);
}

/* Answers pay for some waits in vain: each has saved the thread a message, which takes longer. What
 * they do not pay for takes at most a twentieth of the time of the thread. */
static void note_miss(struct kv_nif_lane *lane, struct kv_nif_seat *seat)
{
    seat->missed = true;
    seat->beat = atomic_load_explicit(&lane->header->beat, memory_order_relaxed);
    tell_where(lane->header);
    if (seat->saved >= MISS_NS) {
        seat->saved -= MISS_NS;
        seat->until = 0;
        return;
    }
    seat->pause = seat->pause == 0                  ? FIRST_PAUSE_NS
                  : seat->pause < LAST_PAUSE_NS / 2 ? 2 * seat->pause
                                                    : LAST_PAUSE_NS;
    seat->until = time_now() + seat->pause;
}

static void note_hit(struct kv_nif_seat *seat)
{
    seat->missed = false;
    seat->pause = 0;
    seat->saved += seat->saved < SAVED_MAX_NS ? SAVED_NS : 0;
}

static void pay(ErlNifEnv *env, struct kv_nif_seat *seat, uint64_t ns)
{
    seat->owed += CALL_NS + ns;
    if (seat->owed >= PERCENT_NS) {
        const uint64_t percent = seat->owed / PERCENT_NS;
        seat->owed %= PERCENT_NS;
        (void)enif_consume_timeslice(env, percent < PERCENT_MAX ? (int)percent : PERCENT_MAX);
    }
}

/* ---- the answer --------------------------------------------------------------------------------
 */

/* The node may create atoms, as by a message. */
static bool decode(ErlNifEnv *env, uint8_t *encoded, size_t length, ERL_NIF_TERM *term)
{
    const struct kv_term_limits limits = {
        .size = KV_SLOT_ROOM, .depth = KV_SLOT_ROOM, .zeros = KV_ZEROS_DIFFER};
    const struct kv_bytes bytes = kv_bytes(encoded + 1, length - 1);
    size_t end = 0;
    if (kv_nif_term(env, bytes, term)) {
        return true;
    }
    return bytes.length > 0 && kv_term_validate(bytes, &limits, &end) == KV_OK &&
           end == bytes.length && enif_binary_to_term(env, encoded, length, term, 0) == length;
}

/* A binary is copied from the slot to where it stays. */
static bool take_binary(ErlNifEnv *env, const uint8_t *data, size_t length, ERL_NIF_TERM *term)
{
    uint8_t header[KV_LONG_HEADER];
    if (length < sizeof header) {
        return false;
    }
    memcpy(header, data, sizeof header);
    if (header[0] != KV_TAG_BINARY || kv_get32(header + 1) != length - sizeof header) {
        return false;
    }
    uint8_t *copy = enif_make_new_binary(env, length - sizeof header, term);
    memcpy(copy, data + sizeof header, length - sizeof header);
    return true;
}

/* The node may write at any time, so nothing is looked at twice. */
static enum kv_nif_asked take_answer(ErlNifEnv *env, const struct kv_slot *slot,
                                     ERL_NIF_TERM *answer)
{
    uint8_t local[KV_NIF_LOCAL];
    const size_t length = atomic_load_explicit(&slot->length, memory_order_relaxed);
    if (length > KV_SLOT_ROOM) {
        return length == KV_SLOT_DECLINED ? KV_NIF_BY_MESSAGE : KV_NIF_BROKEN;
    }
    if (take_binary(env, slot->data, length, answer)) {
        return KV_NIF_ANSWERED;
    }
    uint8_t *copy = length < sizeof local ? local : kv_alloc(length + 1);
    copy[0] = KV_TERM_VERSION;
    memcpy(copy + 1, slot->data, length);
    const bool decoded = decode(env, copy, length + 1, answer);
    if (copy != local) {
        kv_free(copy);
    }
    return decoded ? KV_NIF_ANSWERED : KV_NIF_BROKEN;
}

static enum kv_nif_asked finish(ErlNifEnv *env, struct kv_slot *slot, ERL_NIF_TERM *answer)
{
    const enum kv_nif_asked result = take_answer(env, slot, answer);
    kv_slot_release(slot);
    return result;
}

enum kv_nif_asked kv_nif_lane_look(ErlNifEnv *env, struct kv_nif_lane *lane, struct kv_slot *slot,
                                   ERL_NIF_TERM *answer)
{
    if (kv_slot_is_done(slot)) {
        return finish(env, slot, answer);
    }
    if (!has_ended(lane)) {
        return KV_NIF_TAKEN;
    }
    kv_nif_lane_leave(slot);
    return KV_NIF_LOST;
}

void kv_nif_lane_leave(struct kv_slot *slot)
{
    if (!kv_slot_leave(slot)) {
        kv_slot_release(slot);
    }
}

/* ---- asking ------------------------------------------------------------------------------------
 */

/* Looks for an answer, so many times. */
static bool comes_within(const struct kv_slot *slot, unsigned looks)
{
    for (unsigned i = 0; i < looks; i++) {
        if (kv_slot_is_done(slot)) {
            return true;
        }
        kv_slot_relax();
    }
    return false;
}

/* Looks for an answer until the time `end`. */
static bool comes_before(const struct kv_slot *slot, uint64_t end)
{
    do {
        if (comes_within(slot, CLOCK_EACH)) {
            return true;
        }
    } while (time_now() < end);
    return kv_slot_is_done(slot);
}

/* KV_NIF_ANSWERED: the slot is done. The yield lets a node run that shares this processor. */
static enum kv_nif_asked wait_for(struct kv_slot *slot, uint64_t began)
{
    if (comes_before(slot, began + LOOK_NS)) {
        return KV_NIF_ANSWERED;
    }
    (void)sched_yield();
    if (comes_before(slot, time_now() + LOOK_NS)) {
        return KV_NIF_ANSWERED;
    }
    if (kv_slot_withdraw(slot)) {
        return KV_NIF_BY_MESSAGE;
    }
    return comes_before(slot, time_now() + TAKEN_NS) ? KV_NIF_ANSWERED : KV_NIF_TAKEN;
}

/* Returns a free slot of a group and sets *number to its number, or returns NULL. */
static struct kv_slot *free_slot(struct kv_nif_lane *lane, uint32_t group, uint32_t *number)
{
    for (uint32_t way = 0; way < KV_LANE_WAYS; way++) {
        *number = kv_lane_slot_number(lane->groups, group, way);
        struct kv_slot *slot = kv_lane_slot(lane->header, *number);
        if (kv_slot_is_free(slot)) {
            return slot;
        }
    }
    return NULL;
}

/* Lets the node look at a slot. */
static void use(struct kv_lane_header *header, uint32_t number)
{
    uint32_t used = atomic_load_explicit(&header->used, memory_order_relaxed);
    while (used <= number &&
           !atomic_compare_exchange_weak_explicit(&header->used, &used, number + 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

/* Writes the request into a slot. Returns NULL if there is no slot, or the request is none for a
 * lane. */
static struct kv_slot *prepare(ErlNifEnv *env, struct kv_nif_lane *lane, uint32_t group,
                               const struct kv_nif_tally *tally, ERL_NIF_TERM request)
{
    uint32_t number = 0;
    struct kv_slot *slot = free_slot(lane, group, &number);
    const size_t length =
        slot == NULL ? 0 : kv_nif_write(env, request, slot->data, KV_SLOT_REQUEST_MAX);
    if (length == 0) {
        return NULL;
    }
    use(lane->header, number);
    atomic_store_explicit(&slot->id, tally->id, memory_order_relaxed);
    atomic_store_explicit(&slot->serial, tally->serial, memory_order_relaxed);
    atomic_store_explicit(&slot->length, (uint32_t)length, memory_order_relaxed);
    return slot;
}

static enum kv_nif_asked ask(struct kv_nif_lane *lane, struct kv_nif_seat *seat, ErlNifEnv *env,
                             struct kv_slot *slot, ERL_NIF_TERM *answer, bool *declined)
{
    enum kv_nif_asked result = KV_NIF_ANSWERED;
    uint64_t waited = 0;
    kv_slot_ask(slot);
    if (!comes_within(slot, LOOKS_FIRST)) {
        const uint64_t began = time_now();
        result = wait_for(slot, began);
        waited = time_now() - began;
    }
    pay(env, seat, waited);
    if (result == KV_NIF_BY_MESSAGE) {
        note_miss(lane, seat);
        return result;
    }
    note_hit(seat);
    if (result == KV_NIF_ANSWERED) {
        result = finish(env, slot, answer);
        *declined = result == KV_NIF_BY_MESSAGE;
    }
    return result;
}

/* A process that declines one request after the other, such as a durable bucket that is only
 * written to, is not asked for a while. */
static bool is_spared(struct kv_nif_tally *tally)
{
    if (tally->messages == 0) {
        return false;
    }
    tally->messages--;
    return true;
}

static void note_answer(struct kv_nif_tally *tally, bool declined)
{
    tally->declined = declined ? tally->declined + 1 : 0;
    if (tally->declined >= DECLINED_MAX) {
        const uint32_t messages = tally->declined * MESSAGES;
        tally->messages = messages < MESSAGES_MAX ? messages : MESSAGES_MAX;
    }
}

enum kv_nif_asked kv_nif_lane_ask(struct kv_nif_pids *pids, ErlNifEnv *env,
                                  struct kv_nif_lane *lane, ERL_NIF_TERM pid, ERL_NIF_TERM request,
                                  ERL_NIF_TERM *answer, struct kv_slot **slot)
{
    const uint32_t group = kv_nif_thread(pids);
    struct kv_mapped_table table;
    struct kv_nif_tally *tally = NULL;
    if (group >= lane->groups || has_ended(lane) ||
        kv_nif_table(pids, env, lane->arena, KV_NIF_BUCKET, pid, &table, &tally) != KV_READ_FOUND ||
        is_spared(tally) || !is_worth_asking(lane, &lane->seats[group])) {
        return KV_NIF_BY_MESSAGE;
    }
    *slot = prepare(env, lane, group, tally, request);
    if (*slot == NULL) {
        return KV_NIF_BY_MESSAGE;
    }
    bool declined = false;
    const enum kv_nif_asked result = ask(lane, &lane->seats[group], env, *slot, answer, &declined);
    note_answer(tally, declined);
    return result;
}
