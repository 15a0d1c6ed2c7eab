/* Requests in the slots of a lane: answered as a call is, or declined before anything changes. */
#include "support/fixture.h"

#include "kv/kv.h"
#include "lane/layout.h"
#include "server/slots.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { GROUPS = 2, SLOTS = GROUPS * KV_LANE_WAYS, MAX_FRAME = 1 << 20, LIES = 20000 };

static struct fixture *f;
static struct kv_pid bucket;
static struct kv_lane_header *lane;
static uint8_t copy[KV_SLOT_ROOM];
static struct kv_slots slots;

static void set_up(void)
{
    f = bucket_fixture(&bucket);
    forget(f);
    lane = aligned_alloc(KV_LANE_PAGE, kv_lane_size(GROUPS));
    cr_assert_not_null(lane);
    memset(lane, 0, kv_lane_size(GROUPS));
    atomic_store(&lane->used, SLOTS);
    slots = (struct kv_slots){
        .runtime = f->runtime, .limits = {.size = MAX_FRAME, .depth = 1024}, .copy = copy};
}

static void tear_down(void)
{
    free(lane);
    fixture_free(f);
}

TestSuite(slots, .init = set_up, .fini = tear_down, .timeout = 60);

static struct kv_slot *slot_at(uint32_t number)
{
    return kv_lane_slot(lane, number);
}

static void ask_process(uint32_t number, uint32_t id, struct kv_bytes request)
{
    struct kv_slot *slot = slot_at(number);
    cr_assert(kv_slot_is_free(slot));
    memcpy(slot->data, request.data, request.length);
    atomic_store(&slot->id, id);
    atomic_store(&slot->serial, bucket.serial);
    atomic_store(&slot->length, (uint32_t)request.length);
    kv_slot_ask(slot);
}

static void ask(uint32_t number, struct kv_bytes request)
{
    ask_process(number, bucket.id, request);
}

static unsigned serve(void)
{
    return kv_slots_serve(&slots, lane, GROUPS);
}

/* The answer in a slot, which is free afterwards; NONE if it was declined. */
static struct kv_bytes answer_in(uint32_t number)
{
    struct kv_slot *slot = slot_at(number);
    cr_assert(kv_slot_is_done(slot));
    struct kv_bytes answer = NONE;
    const uint32_t length = atomic_load(&slot->length);
    if (length != KV_SLOT_DECLINED) {
        struct kv_buffer *kept = term_buffer();
        kv_buffer_append(kept, kv_bytes(slot->data, length));
        answer = kv_buffer_bytes(kept);
    }
    kv_slot_release(slot);
    return answer;
}

static struct kv_bytes asked(struct kv_bytes request)
{
    ask(0, request);
    cr_assert_eq(serve(), 1U);
    return answer_in(0);
}

static struct kv_bytes put(const char *key, struct kv_bytes value)
{
    return term_tuple(term_atom("put"), term_atom(key), value, NONE);
}

static struct kv_bytes fetch(const char *key)
{
    return term_tuple(term_atom("fetch"), term_atom(key), NONE, NONE);
}

static struct kv_bytes found(struct kv_bytes value)
{
    return term_tuple(term_atom("ok"), value, NONE, NONE);
}

#define assert_declined(request) cr_assert_eq(asked(request).length, 0)

/* ---- answered ---------------------------------------------------------------------------------
 */

Test(slots, a_request_is_answered_as_a_call_is)
{
    assert_term(asked(put("a", term_integer(1))), term_atom("ok"));
    assert_term(asked(fetch("a")), found(term_integer(1)));
    assert_term(call(f, &bucket, fetch("a")), found(term_integer(1)));
    assert_term(asked(fetch("b")), term_atom("error"));
    assert_term(asked(term_atom("size")), term_integer(1));
}

Test(slots, all_requests_are_served_that_are_there)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        ask(i, term_tuple(term_atom("put"), term_integer(i), term_integer(i), NONE));
    }
    cr_assert_eq(serve(), (unsigned)SLOTS);
    for (uint32_t i = 0; i < SLOTS; i++) {
        assert_term(answer_in(i), term_atom("ok"));
    }
    cr_assert_eq(serve(), 0U);
    assert_term(call(f, &bucket, term_atom("size")), term_integer(SLOTS));
}

Test(slots, slots_that_were_never_used_are_not_looked_at)
{
    atomic_store(&lane->used, 1);
    ask(1, put("a", term_integer(1)));
    cr_assert_eq(serve(), 0U);
    cr_assert(kv_slot_withdraw(slot_at(1)));
}

Test(slots, a_request_that_was_withdrawn_is_not_done)
{
    ask(0, put("a", term_integer(1)));
    cr_assert(kv_slot_withdraw(slot_at(0)));
    cr_assert_eq(serve(), 0U);
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
}

Test(slots, nothing_is_served_once_the_lane_has_ended)
{
    ask(0, put("a", term_integer(1)));
    kv_lane_end(lane);
    cr_assert_eq(serve(), 0U);
    cr_assert(kv_slot_withdraw(slot_at(0)));
}

static void tell_time(void *arena)
{
    kv_arena_set_time(arena, kv_arena_time(arena) + 1);
}

Test(slots, an_entry_that_has_expired_when_the_request_is_taken_is_absent)
{
    const struct kv_bytes put_for_two =
        term_tuple(term_atom("put"), term_atom("a"), term_integer(1), term_integer(2));
    slots.taken = tell_time;
    slots.context = f->arena;
    assert_term(asked(put_for_two), term_atom("ok"));
    assert_term(asked(fetch("a")), found(term_integer(1)));
    assert_term(asked(fetch("a")), term_atom("error"));
}

Test(slots, a_request_counts_in_the_statistics_as_a_call_does)
{
    const struct kv_bytes on =
        term_tuple(term_atom("debug"),
                   term_tuple(term_atom("statistics"), term_atom("true"), NONE, NONE), NONE, NONE);
    const struct kv_bytes get =
        term_tuple(term_atom("debug"),
                   term_tuple(term_atom("statistics"), term_atom("get"), NONE, NONE), NONE, NONE);
    uint64_t messages = 0;
    struct kv_bytes figures;
    assert_term(system_call(f, &bucket, on), term_atom("ok"));
    (void)asked(put("a", term_integer(1)));
    struct kv_reader answer = kv_reader(system_call(f, &bucket, get));
    cr_assert_eq(kv_read_tuple_of(&answer, 2), KV_OK);
    cr_assert_eq(kv_read_any(&answer, NULL), KV_OK);
    cr_assert_eq(kv_read_any(&answer, &figures), KV_OK);
    cr_assert(figure_in(figures, "messages_in", &messages));
    cr_assert_eq(messages, 1U);
}

/* ---- declined ---------------------------------------------------------------------------------
 */

Test(slots, a_process_that_is_not_there_is_not_asked)
{
    ask_process(0, bucket.id + 1000, put("a", term_integer(1)));
    cr_assert_eq(serve(), 1U);
    cr_assert_eq(answer_in(0).length, 0);
    struct kv_pid killer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, &bucket, term_atom("kill"));
    assert_declined(put("a", term_integer(1)));
}

Test(slots, a_process_of_another_kind_is_not_asked)
{
    const struct kv_pid registry = feed_registry(f, NONE);
    ask_process(0, registry.id, term_atom("names"));
    cr_assert_eq(serve(), 1U);
    cr_assert_eq(answer_in(0).length, 0);
}

Test(slots, a_suspended_process_is_not_asked_until_it_has_handled_what_waits)
{
    assert_term(system_call(f, &bucket, term_atom("suspend")), term_atom("ok"));
    assert_declined(put("a", term_integer(1)));
    f->stepwise = true;
    cast(f, &bucket, put("a", term_integer(2)));
    feed_call(f, &bucket, "system", 9, term_atom("resume"));
    assert_declined(put("a", term_integer(3)));
    (void)run_to_the_end(f);
    assert_term(asked(fetch("a")), found(term_integer(2)));
}

Test(slots, a_process_that_sys_logs_is_asked_by_message)
{
    const struct kv_bytes log =
        term_tuple(term_atom("debug"), term_tuple(term_atom("log"), term_atom("true"), NONE, NONE),
                   NONE, NONE);
    assert_term(system_call(f, &bucket, log), term_atom("ok"));
    assert_declined(put("a", term_integer(1)));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
}

Test(slots, a_request_that_is_long_is_declined)
{
    struct kv_buffer request = KV_BUFFER_INIT;
    kv_write_tuple(&request, 2);
    kv_write_atom_text(&request, "put_many");
    kv_write_list(&request, 1100);
    for (unsigned i = 0; i < 1100; i++) {
        kv_write_tuple(&request, 2);
        kv_write_u64(&request, i);
        kv_write_u64(&request, 1);
    }
    kv_write_nil(&request);
    assert_declined(kv_buffer_bytes(&request));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
    kv_buffer_free(&request);
}

/* Puts a value that does not fit into a slot. */
static void put_large(const char *key)
{
    static const uint8_t value[2 * KV_SLOT_ROOM];
    struct kv_buffer request = KV_BUFFER_INIT;
    kv_write_tuple(&request, 3);
    kv_write_atom_text(&request, "put");
    kv_write_atom_text(&request, key);
    kv_write_binary(&request, kv_bytes(value, sizeof value));
    cast(f, &bucket, kv_buffer_bytes(&request));
    kv_buffer_free(&request);
}

Test(slots, all_entries_are_shown_if_the_bucket_fits)
{
    assert_term(asked(put("a", term_integer(1))), term_atom("ok"));
    assert_term(asked(term_atom("keys")), term_list(term_atom("a"), NONE, NONE));
    put_large("b");
    assert_declined(term_atom("keys"));
    assert_declined(term_atom("to_map"));
}

Test(slots, a_change_whose_answer_may_not_fit_is_declined_before_it_is_made)
{
    static const char *const takers[] = {"delete", "pop"};
    put_large("a");
    for (unsigned i = 0; i < 2; i++) {
        assert_declined(term_tuple(term_atom(takers[i]), term_atom("a"), NONE, NONE));
    }
    assert_declined(term_tuple(term_atom("swap"), term_atom("a"), term_integer(1), NONE));
    assert_term(call(f, &bucket, term_atom("size")), term_integer(1));
    assert_term(asked(put("a", term_integer(1))), term_atom("ok"));
    assert_term(asked(term_tuple(term_atom("pop"), term_atom("a"), NONE, NONE)),
                found(term_integer(1)));
}

Test(slots, a_read_that_does_not_fit_counts_once_by_the_message_that_follows)
{
    uint64_t hits = 0;
    put_large("a");
    assert_declined(fetch("a"));
    cr_assert(figure_in(call(f, &bucket, term_atom("stats")), "hits", &hits));
    cr_assert_eq(hits, 0U);
}

Test(slots, an_unknown_request_is_declined)
{
    assert_declined(term_atom("frobnicate"));
    assert_declined(term_tuple(term_atom("take"), term_atom("a"), NONE, NONE));
}

Test(slots, a_request_over_a_limit_of_messages_is_declined)
{
    slots.limits.size = 4096;
    struct kv_buffer request = KV_BUFFER_INIT;
    static const uint8_t value[4096];
    kv_write_tuple(&request, 3);
    kv_write_atom_text(&request, "put");
    kv_write_atom_text(&request, "a");
    kv_write_binary(&request, kv_bytes(value, sizeof value));
    assert_declined(kv_buffer_bytes(&request));
    kv_buffer_free(&request);
}

/* ---- lies -------------------------------------------------------------------------------------
 */

Test(slots, a_length_that_is_a_lie_is_not_believed)
{
    const uint32_t lengths[] = {0, 1, KV_SLOT_REQUEST_MAX + 1, KV_SLOT_ROOM, UINT32_MAX};
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        ask(0, put("a", term_integer(1)));
        atomic_store(&slot_at(0)->length, lengths[i]);
        cr_assert_eq(serve(), 1U);
        cr_assert_eq(answer_in(0).length, 0);
    }
    assert_term(call(f, &bucket, term_atom("size")), term_integer(0));
}

Test(slots, bytes_that_are_no_term_are_declined)
{
    const struct kv_bytes good = put("a", term_integer(1));
    for (size_t length = 1; length < good.length; length++) {
        ask(0, kv_bytes(good.data, length));
        cr_assert_eq(serve(), 1U);
        cr_assert_eq(answer_in(0).length, 0, "the first %zu bytes", length);
    }
}

Test(slots, nobody_is_harmed_by_memory_that_is_full_of_lies)
{
    const struct kv_bytes good = put("a", term_integer(1));
    struct kv_slot *slot = slot_at(0);
    uint64_t random = 1;
    for (unsigned i = 0; i < LIES; i++) {
        memcpy(slot->data, good.data, good.length);
        atomic_store(&slot->id, bucket.id);
        atomic_store(&slot->serial, bucket.serial);
        atomic_store(&slot->length, (uint32_t)good.length);
        for (unsigned j = 0; j < 3; j++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            uint8_t *header = (uint8_t *)lane;
            const size_t at = (size_t)(random >> 40) % (good.length + KV_SLOT_HEAD);
            ((uint8_t *)slot)[at] ^= (uint8_t)(random >> 32);
            header[sizeof lane->magic + (random >> 20) % 40] = (uint8_t)random;
        }
        atomic_store(&slot->state, KV_SLOT_ASKED);
        (void)serve();
    }
    memset(lane, 0, kv_lane_size(GROUPS));
    atomic_store(&lane->used, UINT32_MAX);
    assert_term(asked(put("b", term_integer(2))), term_atom("ok"));
    assert_term(call(f, &bucket, fetch("b")), found(term_integer(2)));
}
