/* Lanes over a stub of the VM, with a thread or the test itself as the node: every call is
 * answered, withdrawn or held, and no lie of the node harms the VM. */
#include "base/alloc.h"
#include "host/shared_memory.h"
#include "lane/layout.h"
#include "nif/enif_stub.h"
#include "nif/nif.h"
#include "store/arena.h"
#include "store/table.h"

#include <criterion/criterion.h>
#include <kv/error.h>
#include <pthread.h>
#include <unistd.h>

enum { OWNER = 100, BUCKET = 5, CREATION = 3, GROUPS = 2 };

#define ARENA_SIZE (UINT64_C(4) << 20)
static const char node_name[] = "kv@host";
static const uint8_t lane_id[KV_LANE_ID_SIZE] = "lane";

static struct kv_mapping mapping;
static struct kv_mapping shared;
static struct kv_lane_header *header;
static struct kv_arena_options options = {.hash_key = {1, 2}, .id = "nif"};
static struct kv_arena *arena;
static struct kv_table *table;
static void *library;
static ErlNifEnv *env;
static size_t outstanding;

static void setup(void)
{
    outstanding = kv_alloc_outstanding();
    cr_assert(kv_mapping_open(&mapping, ARENA_SIZE));
    struct kv_arena_memory memory = {.base = mapping.base, .reserve = mapping.size};
    arena = kv_arena_new(&memory, &options);
    table = kv_table_new(arena, NULL);
    cr_assert_eq(kv_arena_publish(arena, BUCKET, 1, KV_PUBLISHED_VALUES, table), KV_OK);
    cr_assert(kv_mapping_open_file(&shared, "kv_lane", kv_lane_size(GROUPS)));
    header = (void *)shared.base;
    header->magic = KV_LANE_MAGIC;
    header->version = KV_LANE_VERSION;
    header->groups = GROUPS;
    memcpy(header->id, lane_id, sizeof header->id);
    atomic_store(&header->looking, 1);
    library = stub_load();
    env = stub_env(library, OWNER);
}

static void teardown(void)
{
    enif_free_env(env);
    cr_expect_eq(stub_resources(), 0);
    stub_unload(library);
    kv_table_free(table);
    kv_arena_free(arena);
    kv_mapping_close(&mapping);
    kv_mapping_close(&shared);
    cr_expect_eq(kv_alloc_outstanding(), outstanding);
}

TestSuite(nif_lane, .init = setup, .fini = teardown, .timeout = 20);

/* ---- what calls are made of -------------------------------------------------------------------
 */

static ERL_NIF_TERM second_of(ERL_NIF_TERM pair, const char *first)
{
    int arity;
    const ERL_NIF_TERM *parts;
    cr_assert(enif_get_tuple(env, pair, &arity, &parts));
    cr_assert_eq(arity, 2);
    cr_assert(stub_is_atom(parts[0], first));
    return parts[1];
}

static ERL_NIF_TERM place_of(int fd, const uint8_t *id, size_t id_size, uint64_t size)
{
    return stub_tuple(env, 4, enif_make_uint(env, (unsigned)getpid()),
                      enif_make_uint(env, (unsigned)fd), stub_binary(env, kv_bytes(id, id_size)),
                      enif_make_uint64(env, size));
}

static ERL_NIF_TERM open_arena(void)
{
    return second_of(stub_call(env, "open_arena", 4,
                               place_of(mapping.fd, options.id, KV_ARENA_ID_SIZE, mapping.size),
                               stub_binary(env, kv_bytes_text(node_name)),
                               enif_make_uint(env, CREATION), enif_make_atom(env, "same")),
                     "ok");
}

static ERL_NIF_TERM try_open(ERL_NIF_TERM place, unsigned groups)
{
    return stub_call(env, "open_lane", 3, open_arena(), place, enif_make_uint(env, groups));
}

static ERL_NIF_TERM open_lane(void)
{
    return second_of(try_open(place_of(shared.fd, lane_id, sizeof lane_id, shared.size), GROUPS),
                     "ok");
}

static ERL_NIF_TERM bucket(void)
{
    return stub_pid(env, node_name, BUCKET, 1, CREATION);
}

static ERL_NIF_TERM request(void)
{
    return stub_tuple(env, 2, enif_make_atom(env, "fetch"), enif_make_uint(env, 7));
}

static ERL_NIF_TERM ask(ERL_NIF_TERM lane)
{
    return stub_call(env, "ask", 3, lane, bucket(), request());
}

static ERL_NIF_TERM look(ERL_NIF_TERM held)
{
    return stub_call(env, "look", 1, held);
}

static struct kv_slot *slot_at(uint32_t number)
{
    return kv_lane_slot(shared.base, number);
}

static void answer(struct kv_slot *slot, struct kv_bytes term)
{
    if (term.length > 0) {
        memcpy(slot->data, term.data, term.length);
    }
    atomic_store(&slot->length, (uint32_t)term.length);
}

/* ---- a node -----------------------------------------------------------------------------------
 */

/* The node and the first request of its slot 0 or 1: it takes the request, and perhaps writes. */
struct node {
    pthread_t thread;
    bool finishes;
    struct kv_bytes term;
    uint32_t instead; /* of the length of the term, if not 0 */
    uint8_t request[64];
    uint32_t length;
    struct kv_slot *slot;
    atomic_bool stop;
};

static void serve(struct node *node, struct kv_slot *slot)
{
    node->slot = slot;
    node->length = atomic_load(&slot->length);
    memcpy(node->request, slot->data, sizeof node->request);
    if (node->finishes) {
        answer(slot, node->term);
        if (node->instead != 0) {
            atomic_store(&slot->length, node->instead);
        }
        cr_assert(kv_slot_finish(slot));
    }
}

static void *run_node(void *context)
{
    struct node *node = context;
    while (!atomic_load(&node->stop)) {
        for (uint32_t i = 0; i < GROUPS; i++) {
            if (kv_slot_is_asked(slot_at(i)) && kv_slot_take(slot_at(i))) {
                serve(node, slot_at(i));
                return NULL;
            }
        }
    }
    return NULL;
}

/* Asks until the node, which runs when the system lets it, has taken a request. */
static ERL_NIF_TERM ask_until_taken(struct node *node, ERL_NIF_TERM lane)
{
    ERL_NIF_TERM result;
    atomic_init(&node->stop, false);
    cr_assert_eq(pthread_create(&node->thread, NULL, run_node, node), 0);
    do {
        atomic_fetch_add(&header->beat, 1);
        result = ask(lane);
    } while (stub_is_atom(result, "call") && node->slot == NULL);
    atomic_store(&node->stop, true);
    cr_assert_eq(pthread_join(node->thread, NULL), 0);
    return result;
}

/* The result of a call that the node has finished, whether it was waited for or held. */
static ERL_NIF_TERM ask_and_look(struct node *node, ERL_NIF_TERM lane)
{
    ERL_NIF_TERM result = ask_until_taken(node, lane);
    int arity;
    const ERL_NIF_TERM *parts;
    return enif_get_tuple(env, result, &arity, &parts) && stub_is_atom(parts[0], "taken")
               ? look(parts[1])
               : result;
}

/* Holds a request that the node has taken and does not finish. */
static ERL_NIF_TERM hold(struct node *node, ERL_NIF_TERM lane)
{
    return second_of(ask_until_taken(node, lane), "taken");
}

/* ---- opening ----------------------------------------------------------------------------------
 */

Test(nif_lane, a_place_without_the_lane_is_refused_with_the_reason)
{
    static const uint8_t another[KV_LANE_ID_SIZE] = "another";
    cr_expect(stub_is_error(
        env, try_open(place_of(9999, lane_id, sizeof lane_id, shared.size), GROUPS), "no_access"));
    cr_expect(stub_is_error(
        env, try_open(place_of(shared.fd, another, sizeof another, shared.size), GROUPS),
        "another_lane"));
    cr_expect(stub_is_error(
        env, try_open(place_of(shared.fd, lane_id, sizeof lane_id, shared.size), GROUPS + 1),
        "another_size"));
    cr_expect(stub_is_error(env,
                            try_open(place_of(shared.fd, lane_id, sizeof lane_id, shared.size), 0),
                            "another_size"));
    cr_expect(stub_is_error(
        env, try_open(place_of(mapping.fd, lane_id, sizeof lane_id, mapping.size), GROUPS),
        "another_size"));
    cr_expect(stub_is_atom(
        stub_call(env, "open_lane", 3, open_arena(), request(), enif_make_uint(env, 1)), "badarg"));
}

/* ---- calls ------------------------------------------------------------------------------------
 */

Test(nif_lane, the_node_gets_the_request_and_the_caller_its_answer)
{
    static const uint8_t fetch_7[] = "\x68\x02\x77\x05"
                                     "fetch\x61\x07";
    struct node node = {.finishes = true, .term = kv_bytes("\x61\x2a", 2)};
    ERL_NIF_TERM result = second_of(ask_and_look(&node, open_lane()), "reply");
    cr_expect(kv_bytes_equal(stub_external(result), kv_bytes("\x61\x2a", 2)));
    cr_expect(
        kv_bytes_equal(kv_bytes(node.request, node.length), kv_bytes(fetch_7, sizeof fetch_7 - 1)));
    cr_expect_eq(atomic_load(&node.slot->id), (uint32_t)BUCKET);
    cr_expect_eq(atomic_load(&node.slot->serial), 1U);
    cr_expect(kv_slot_is_free(node.slot));
}

Test(nif_lane, a_declined_request_goes_by_message)
{
    struct node node = {.finishes = true, .instead = KV_SLOT_DECLINED};
    cr_expect(stub_is_atom(ask_and_look(&node, open_lane()), "call"));
    cr_expect(kv_slot_is_free(node.slot));
}

Test(nif_lane, a_request_that_nobody_takes_is_withdrawn)
{
    cr_expect(stub_is_atom(ask(open_lane()), "call"));
    for (uint32_t i = 0; i < GROUPS * KV_LANE_WAYS; i++) {
        cr_expect(kv_slot_is_free(slot_at(i)));
    }
}

Test(nif_lane, a_node_that_sleeps_is_not_waited_for_and_told)
{
    ERL_NIF_TERM lane = open_lane();
    atomic_store(&header->looking, 0);
    cr_expect(stub_is_atom(ask(lane), "call"));
    cr_expect(stub_is_atom(ask(lane), "call"));
    cr_expect_eq(atomic_load(&header->wanted), 2U);
    cr_expect_eq(atomic_load(&header->used), 0U);
}

Test(nif_lane, a_node_that_has_not_run_since_a_wait_in_vain_is_not_waited_for)
{
    ERL_NIF_TERM lane = open_lane();
    cr_expect(stub_is_atom(ask(lane), "call"));
    for (uint32_t i = 0; i < GROUPS * KV_LANE_WAYS; i++) { /* would make the thread wait */
        atomic_store(&slot_at(i)->length, 0);
    }
    cr_expect(stub_is_atom(ask(lane), "call"));
    for (uint32_t i = 0; i < GROUPS * KV_LANE_WAYS; i++) {
        cr_expect_eq(atomic_load(&slot_at(i)->length), 0U, "a request is written");
    }
}

/* Asks until the thread has been answered so often. */
static void earn(ERL_NIF_TERM lane, unsigned answers)
{
    for (unsigned i = 0; i < answers; i++) {
        struct node node = {.finishes = true, .term = kv_bytes("\x61\x07", 2)};
        (void)second_of(ask_and_look(&node, lane), "reply");
    }
}

static bool waits_in_vain(ERL_NIF_TERM lane)
{
    atomic_fetch_add(&header->beat, 1);
    atomic_store(&slot_at(0)->length, 0);
    cr_assert(stub_is_atom(ask(lane), "call"));
    return atomic_load(&slot_at(0)->length) != 0;
}

/* A busy machine may let the thread wait in vain while it earns, too, and that costs as much. */
Test(nif_lane, after_many_answers_a_wait_in_vain_is_followed_by_no_pause)
{
    ERL_NIF_TERM lane = open_lane();
    unsigned waits = 0;
    for (unsigned attempt = 0; attempt < 100 && waits < 4; attempt++) {
        earn(lane, 40);
        for (waits = 0; waits < 4 && waits_in_vain(lane); waits++) {
        }
    }
    cr_expect_eq(waits, 4U);
}

Test(nif_lane, a_term_that_is_none_for_a_lane_goes_by_message)
{
    ERL_NIF_TERM lane = open_lane();
    ERL_NIF_TERM with_pid = stub_tuple(env, 2, enif_make_atom(env, "fetch"), bucket());
    cr_expect(stub_is_atom(stub_call(env, "ask", 3, lane, bucket(), with_pid), "call"));
    cr_expect(stub_is_atom(
        stub_call(env, "ask", 3, lane, stub_pid(env, "other@host", BUCKET, 1, CREATION), request()),
        "call"));
    cr_expect_eq(atomic_load(&header->used), 0U);
}

/* ---- requests that were taken -----------------------------------------------------------------
 */

Test(nif_lane, a_request_that_was_taken_is_waited_for)
{
    struct node node = {.finishes = false};
    ERL_NIF_TERM held = hold(&node, open_lane());
    cr_expect(stub_is_atom(look(held), "wait"));
    answer(node.slot, kv_bytes("\x61\x07", 2));
    cr_assert(kv_slot_finish(node.slot));
    cr_expect(
        kv_bytes_equal(stub_external(second_of(look(held), "reply")), kv_bytes("\x61\x07", 2)));
    cr_expect(kv_slot_is_free(node.slot));
    cr_expect(stub_is_atom(look(held), "lost"), "an answer is taken twice");
}

Test(nif_lane, a_slot_that_is_held_is_used_for_nothing_else)
{
    ERL_NIF_TERM lane = open_lane();
    struct node node = {.finishes = false};
    (void)hold(&node, lane);
    cr_expect(stub_is_atom(ask(lane), "call"));
    cr_expect_gt(atomic_load(&header->used), (uint32_t)GROUPS);
    cr_expect_eq(atomic_load(&node.slot->state), (uint32_t)KV_SLOT_TAKEN);
}

Test(nif_lane, a_process_that_ends_leaves_its_slot_to_the_node)
{
    struct node node = {.finishes = false};
    (void)hold(&node, open_lane());
    enif_clear_env(env);
    cr_expect_eq(atomic_load(&node.slot->state), (uint32_t)KV_SLOT_LEFT);
    cr_expect_not(kv_slot_finish(node.slot));
}

Test(nif_lane, a_request_that_was_taken_is_lost_with_the_lane)
{
    struct node node = {.finishes = false};
    ERL_NIF_TERM lane = open_lane();
    ERL_NIF_TERM held = hold(&node, lane);
    cr_assert(stub_is_atom(stub_call(env, "close_lane", 1, lane), "ok"));
    cr_expect(stub_is_atom(look(held), "lost"));
    cr_expect(stub_is_atom(look(held), "lost"));
}

Test(nif_lane, a_lane_that_has_ended_is_not_used_by_either_side)
{
    ERL_NIF_TERM lane = open_lane();
    cr_assert(stub_is_atom(stub_call(env, "close_lane", 1, lane), "ok"));
    cr_expect(stub_is_atom(ask(lane), "call"));
    cr_expect(kv_lane_is_dead(header));
    cr_expect_eq(atomic_load(&header->used), 0U);
}

Test(nif_lane, a_lane_ends_with_the_process_that_has_opened_it)
{
    ERL_NIF_TERM lane = open_lane();
    stub_process_ends(OWNER);
    cr_expect(kv_lane_is_dead(header));
    cr_expect(stub_is_atom(ask(lane), "call"));
}

/* ---- lies -------------------------------------------------------------------------------------
 */

Test(nif_lane, an_answer_that_is_a_lie_ends_the_lane)
{
    const struct {
        struct kv_bytes term;
        uint32_t length;
    } lies[] = {
        {kv_bytes("\x61", 1), 0},                 /* cut off */
        {kv_bytes("\x61\x07\x07", 3), 0},         /* with more behind it */
        {kv_bytes("\x6d\xff\xff\xff\xff", 5), 0}, /* a length beyond the slot */
        {kv_bytes("\x6d\0\0\0\x09", 5), 0},
        {kv_bytes("\x61\x07", 2), KV_SLOT_DECLINED - 1},
        {kv_bytes("\x61\x07", 2), KV_SLOT_ROOM + 1},
        {{NULL, 0}, 0},
    };
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct node node = {.finishes = true, .term = lies[i].term, .instead = lies[i].length};
        atomic_store(&header->dead, 0);
        cr_expect(stub_is_atom(ask_and_look(&node, open_lane()), "lost"), "lie %u", i);
        cr_expect(kv_lane_is_dead(header));
    }
}
