/* Pinned bytes leave without a copy and are released exactly once. */
#include "base/endian.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/outgoing.h"

#include "support/checks.h"
#include "support/signals.h"

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

static void release_small(void *owner, struct kv_bytes bytes)
{
    (void)owner;
    (void)bytes;
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

/* The same message without pinned bytes. */
static struct kv_buffer copied(void)
{
    struct kv_outgoing outgoing;
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_pinned bytes = pinned();
    struct kv_signal signal = answer(&bytes);
    signal.pinned = NULL;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    cr_assert(kv_outgoing_signal(&outgoing, &signal, &ready));
    kv_outgoing_fill(&outgoing, SIZE_MAX, &ready, NULL);
    kv_outgoing_free(&outgoing);
    return ready;
}

Test(slices, pinned_bytes_leave_as_a_copy_would_and_are_released_with_the_last_slice)
{
    struct kv_outgoing outgoing;
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_buffer joined = KV_BUFFER_INIT;
    struct kv_buffer expected = copied();
    struct kv_slices slices = {.count = 0};
    struct kv_pinned bytes = pinned();
    struct kv_signal signal = answer(&bytes);
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
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
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
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

Test(slices, a_lost_connection_releases_payloads_that_have_left_in_part)
{
    struct kv_outgoing outgoing;
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_slices slices = {.count = 0};
    struct kv_pinned bytes = pinned();
    struct kv_signal signal = answer(&bytes);
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
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
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_pinned one = pinned();
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        many[i] = one;
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

/* ---- one payload for many -------------------------------------------------------------------- */

static struct kv_signal down(uint32_t watcher, struct kv_pinned *reason)
{
    struct kv_signal signal = {
        .kind = KV_SIGNAL_DOWN,
        .from = OURS,
        .to = OURS,
        .ref = REF,
        .payload = {reason->bytes},
        .payload_parts = 1,
        .pinned = reason,
    };
    signal.to.id = watcher;
    return signal;
}

static size_t send_downs(struct kv_outgoing *outgoing, unsigned count, struct kv_pinned *reasons)
{
    struct kv_buffer ready = KV_BUFFER_INIT;
    for (unsigned i = 0; i < count; i++) {
        struct kv_signal signal = down(i, &reasons[i]);
        cr_assert(kv_outgoing_signal(outgoing, &signal, &ready));
        cr_assert_null(reasons[i].release, "taken over");
    }
    cr_assert_eq(ready.length, 0);
    return kv_outgoing_length(outgoing);
}

enum { MANY = 1000, OWN_MOST = 1024 };

Test(slices, pinned_bytes_count_once_for_all_messages_that_end_with_them)
{
    static struct kv_pinned reasons[MANY];
    struct kv_outgoing outgoing;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_pinned one = pinned();
    for (unsigned i = 0; i < MANY; i++) {
        reasons[i] = one;
    }
    cr_assert_lt(send_downs(&outgoing, MANY, reasons), VALUE_SIZE + MANY * OWN_MOST);
    cr_assert_eq(released, MANY - 1);
    kv_outgoing_free(&outgoing);
    cr_assert_eq(released, MANY);
    cr_assert_eq(kv_outgoing_length(&outgoing), 0);
}

Test(slices, equal_reasons_of_several_processes_count_once_when_they_are_shared)
{
    static uint8_t copies[2][VALUE_SIZE];
    struct kv_outgoing outgoing;
    struct kv_pinned reasons[3];
    for (unsigned i = 0; i < 3; i++) {
        memcpy(copies[i % 2], value(), VALUE_SIZE);
        reasons[i] = pinned();
        reasons[i].bytes.data = copies[i % 2];
        reasons[i].shared = true;
    }
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    cr_assert_lt(send_downs(&outgoing, 2, reasons), VALUE_SIZE + 2 * OWN_MOST);
    copies[1][VALUE_SIZE - 1]++; /* released, so another reason may be there */
    reasons[2].bytes.data = copies[1];
    cr_assert_gt(send_downs(&outgoing, 1, &reasons[2]), 2 * VALUE_SIZE);
    kv_outgoing_free(&outgoing);
    cr_assert_eq(released, 3);
}

Test(slices, other_bytes_count_for_themselves)
{
    static uint8_t other[VALUE_SIZE];
    struct kv_outgoing outgoing;
    struct kv_pinned reasons[3] = {pinned(), pinned(), pinned()};
    reasons[1].bytes.data = other;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    cr_assert_gt(send_downs(&outgoing, 3, reasons), 3 * VALUE_SIZE);
    kv_outgoing_free(&outgoing);
    cr_assert_eq(released, 3);
}

/* Also a message that fits one fragment: it is sent like a large one. */
Test(slices, a_small_payload_that_is_shared_is_one_fragment)
{
    enum { SMALL = 2000 };
    struct kv_outgoing outgoing;
    struct kv_buffer ready = KV_BUFFER_INIT;
    struct kv_slices slices = {.count = 0};
    struct kv_pinned reason = pinned();
    uint8_t *bytes = value();
    kv_set32(bytes + 1, SMALL - 5);
    reason.release = release_small;
    reason.bytes.length = SMALL;
    reason.shared = true;
    init_outgoing(&outgoing, KV_DFLAGS_OFFERED, &KEY);
    struct kv_signal signal = down(1, &reason);
    cr_assert(kv_outgoing_signal(&outgoing, &signal, &ready));
    kv_outgoing_fill(&outgoing, SIZE_MAX, &ready, &slices);
    cr_assert_eq(slices.count, 1);
    cr_assert_eq(slices.length, SMALL);
    struct kv_bytes rest = kv_buffer_bytes(&ready);
    cr_assert_eq(kv_get32(rest.data), rest.length - KV_FRAME_HEADER + SMALL);
    cr_assert_eq(rest.data[KV_FRAME_HEADER + 1], KV_FRAME_FIRST);
    cr_assert_eq(kv_get64(rest.data + KV_FRAME_HEADER + 10), 1, "the last fragment");
    cr_assert_eq(kv_outgoing_length(&outgoing), 0);
    kv_slices_clear(&slices);
    cr_assert_eq(released, 1);
    kv_outgoing_free(&outgoing);
    kv_buffer_free(&ready);
}

Test(slices, pinned_bytes_of_a_copied_or_dropped_signal_stay_with_the_sender)
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
        init_outgoing(&outgoing, flags[i], &KEY);
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
