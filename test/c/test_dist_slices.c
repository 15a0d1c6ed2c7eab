/* Pinned bytes leave from where they lie, and are released exactly once. */
#include "base/endian.h"
#include "dist/frame.h"
#include "dist/handshake.h"
#include "dist/outgoing.h"

#include "test_dist_signals.h"
#include "test_dist_support.h"

#include <criterion/criterion.h>

static const struct kv_hash_key KEY = {3, 4};

enum { VALUE_SIZE = 300000 };

static unsigned released;

static void release(void *owner, struct kv_bytes bytes)
{
    cr_assert_eq(owner, (void *)&released);
    cr_assert_eq(bytes.length, VALUE_SIZE);
    released++;
}

static uint8_t *value(void)
{
    static uint8_t bytes[VALUE_SIZE];
    for (size_t i = 0; i < VALUE_SIZE; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    }
    bytes[0] = KV_TAG_BINARY;
    kv_set32(bytes + 1, VALUE_SIZE - 5);
    return bytes;
}

static struct kv_pinned pinned(void)
{
    released = 0;
    return (struct kv_pinned){
        .bytes = kv_bytes(value(), VALUE_SIZE), .release = release, .owner = &released};
}

/* {Tag, Value} */
static struct kv_signal answer(struct kv_pinned *value)
{
    return (struct kv_signal){
        .kind = KV_SIGNAL_MESSAGE_ALIAS,
        .from = OURS,
        .ref = REF,
        .payload = {BYTES("\x68\x02"), BYTES("\x61\x01"), value->bytes},
        .payload_parts = 3,
        .pinned = value,
    };
}

static void join(const struct kv_slices *slices, struct kv_bytes buffer, size_t skip,
                 struct kv_buffer *to)
{
    struct kv_bytes runs[KV_SLICES_RUNS];
    unsigned count = kv_slices_runs(slices, buffer, skip, runs);
    for (unsigned i = 0; i < count; i++) {
        cr_assert_gt(runs[i].length, 0);
        kv_buffer_append(to, runs[i]);
    }
}

/* The same without anything pinned. */
static struct kv_buffer copied(void)
{
    struct kv_outgoing outgoing;
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_pinned bytes = pinned();
    struct kv_signal signal = answer(&bytes);
    signal.pinned = NULL;
    kv_outgoing_init(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    cr_assert(kv_outgoing_signal(&outgoing, &signal, &ready));
    kv_outgoing_fill(&outgoing, SIZE_MAX, &ready, NULL);
    kv_outgoing_free(&outgoing);
    return ready;
}

Test(slices, what_is_pinned_leaves_as_a_copy_would_and_is_released_with_the_last_slice)
{
    struct kv_outgoing outgoing;
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_buffer joined = KV_BUFFER_INIT;
    struct kv_buffer expected = copied();
    struct kv_slices slices = {.count = 0};
    struct kv_pinned bytes = pinned();
    struct kv_signal signal = answer(&bytes);
    kv_outgoing_init(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    cr_assert(kv_outgoing_signal(&outgoing, &signal, &ready));
    cr_assert_null(bytes.release, "taken over");
    cr_assert_geq(kv_outgoing_length(&outgoing), VALUE_SIZE);
    while (kv_outgoing_length(&outgoing) > 0) {
        kv_outgoing_fill(&outgoing, 1, &ready, &slices);
        cr_assert_lt(ready.length, 1000, "nothing of it was copied");
        cr_assert_eq(released, 0);
        join(&slices, kv_buffer_bytes(&ready), 0, &joined);
        kv_buffer_clear(&ready);
        kv_slices_clear(&slices);
    }
    cr_assert_eq(released, 1);
    cr_assert(kv_bytes_equal(kv_buffer_bytes(&joined), kv_buffer_bytes(&expected)));
    kv_outgoing_free(&outgoing);
    cr_assert_eq(released, 1);
    kv_buffer_free(&ready);
    kv_buffer_free(&joined);
    kv_buffer_free(&expected);
}

Test(slices, a_small_frame_stays_behind_the_slices_that_were_there)
{
    struct kv_outgoing outgoing;
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_buffer joined = KV_BUFFER_INIT;
    struct kv_buffer expected = copied();
    struct kv_slices slices = {.count = 0};
    struct kv_pinned bytes = pinned();
    struct kv_signal signal = answer(&bytes);
    kv_outgoing_init(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    cr_assert(kv_outgoing_signal(&outgoing, &signal, &ready));
    kv_outgoing_fill(&outgoing, SIZE_MAX, &ready, &slices);
    kv_buffer_u32(&ready, 0);
    kv_buffer_u32(&expected, 0);
    for (size_t skip = 0; skip <= expected.length; skip += skip < 200 ? 1 : 9973) {
        kv_buffer_clear(&joined);
        join(&slices, kv_buffer_bytes(&ready), skip, &joined);
        cr_assert_eq(joined.length, expected.length - skip);
        cr_assert_eq(memcmp(joined.data, expected.data + skip, joined.length), 0, "%zu", skip);
    }
    kv_slices_clear(&slices);
    cr_assert_eq(released, 1);
    kv_outgoing_free(&outgoing);
    kv_buffer_free(&ready);
    kv_buffer_free(&joined);
    kv_buffer_free(&expected);
}

Test(slices, a_connection_that_is_lost_releases_what_has_left_in_part)
{
    struct kv_outgoing outgoing;
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_slices slices = {.count = 0};
    struct kv_pinned bytes = pinned();
    struct kv_signal signal = answer(&bytes);
    kv_outgoing_init(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    cr_assert(kv_outgoing_signal(&outgoing, &signal, &ready));
    kv_outgoing_fill(&outgoing, 1, &ready, &slices);
    cr_assert_eq(slices.count, 1);
    kv_outgoing_free(&outgoing);
    cr_assert_eq(released, 0, "the slice is still to be written");
    kv_slices_clear(&slices);
    cr_assert_eq(released, 1);
    kv_buffer_free(&ready);
}

Test(slices, no_more_slices_than_there_is_room_for_are_made_at_once)
{
    struct kv_outgoing outgoing;
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_slices slices = {.count = 0};
    struct kv_pinned many[8];
    kv_outgoing_init(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        many[i] = pinned();
        struct kv_signal signal = answer(&many[i]);
        cr_assert(kv_outgoing_signal(&outgoing, &signal, &ready));
    }
    while (kv_outgoing_length(&outgoing) > 0) {
        kv_outgoing_fill(&outgoing, SIZE_MAX, &ready, &slices);
        cr_assert_leq(slices.count, KV_SLICES_MAX);
        cr_assert_gt(slices.count, 0);
        kv_slices_clear(&slices);
        kv_buffer_clear(&ready);
    }
    cr_assert_eq(released, sizeof many / sizeof *many);
    kv_outgoing_free(&outgoing);
    kv_buffer_free(&ready);
}

Test(slices, what_is_copied_or_dropped_stays_with_who_sent_it)
{
    const uint64_t flags[] = {
        KV_DFLAGS_OFFERED & ~KV_DFLAG_FRAGMENTS,
        KV_DFLAGS_OFFERED & ~(KV_DFLAG_ALIAS | KV_DFLAG_ALTACT_SIG),
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        struct kv_outgoing outgoing;
        struct kv_buffer ready = KV_BUFFER_INIT;
        struct kv_pinned bytes = pinned();
        struct kv_signal signal = answer(&bytes);
        kv_outgoing_init(&outgoing, flags[i], &KEY);
        (void)kv_outgoing_signal(&outgoing, &signal, &ready);
        cr_assert_eq(released, 0);
        kv_pinned_release(&bytes);
        cr_assert_eq(released, 1);
        kv_pinned_release(&bytes);
        cr_assert_eq(released, 1);
        kv_outgoing_free(&outgoing);
        kv_buffer_free(&ready);
    }
}
