#include "term/order.h"

#include "base/alloc.h"
#include "base/least.h"
#include "term/token.h"
#include "term/walk.h"

#include <openssl/evp.h>

enum {
    /* Marks the digest of a map inside a key. No tag of the external format is 0. */
    DIGEST_TAG = 0,
    DIGEST_SIZE = 32,
    INSERTION_MAX = 8, /* pairs up to which insertion beats merging */
    FIRST_CAPACITY = 64,
    STEP_BYTES = 16, /* of a term that are walked in the time of a step of sorting */
};

/* A pair of a map that is being walked. order->forms has the form of the key; if the map is inside
 * a key itself, the form of the value follows. */
struct pair {
    uint32_t form;
    uint32_t key_length;
    uint32_t length;
    uint32_t offset; /* of the key in the term */
};

/* How far the sort of a map's pairs has come. */
struct sorting {
    size_t run;    /* the length of each sorted run but the last; 0: no sort is under way */
    size_t sorted; /* pairs in the first runs so far */
    size_t at;     /* where the next two runs are that will be merged */
    bool is_merging;
    size_t first;  /* while they are merged: the next pair of the first one, */
    size_t second; /* of the second one, */
    size_t end;    /* where that one ends, */
    size_t to;     /* and where the next pair goes */
};

struct order {
    const uint8_t *term;
    struct kv_buffer forms;
    struct pair *pairs; /* of all maps being walked, innermost last */
    size_t pair_count;
    size_t pair_capacity;
    struct pair *spare; /* for merging */
    size_t spare_capacity;
    struct sorting sorting;
    size_t steps;       /* of sorting that may still be done now: about one for each pair moved */
    bool has_duplicate; /* two keys of a map are equal */
    struct kv_orders *orders; /* may be NULL */
    EVP_MD_CTX *digest;       /* NULL until needed */
};

/* Grows an array to hold `count` items of `size` bytes. */
static int grow(void **array, size_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity) {
        return KV_OK;
    }
    size_t wanted = *capacity + *capacity / 2;
    if (wanted < FIRST_CAPACITY) {
        wanted = FIRST_CAPACITY;
    }
    if (wanted < count) {
        wanted = count;
    }
    void *moved = kv_try_realloc(*array, wanted * size);
    if (moved == NULL) {
        return KV_ENOMEM;
    }
    *array = moved;
    *capacity = wanted;
    return KV_OK;
}

/* ---- sorting --------------------------------------------------------------------------------- */

/* No form is a prefix of another one, so comparing the common length decides. */
static int compare(const struct order *order, const struct pair *a, const struct pair *b)
{
    size_t common = a->key_length < b->key_length ? a->key_length : b->key_length;
    return memcmp(order->forms.data + a->form, order->forms.data + b->form, common);
}

/* Like every sort, this one compares all keys that come next to each other, and so finds those that
 * are equal. */
static void insertion_sort(struct order *order, struct pair *pairs, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct pair moving = pairs[i];
        size_t to = i;
        for (; to > 0; to--) {
            int compared = compare(order, &moving, &pairs[to - 1]);
            order->has_duplicate |= compared == 0;
            if (compared >= 0) {
                break;
            }
            pairs[to] = pairs[to - 1];
        }
        pairs[to] = moving;
    }
}

/* Runs so short that insertion sorts them, and so long that the first one of the last two to be
 * merged is little more than half of all. */
static int begin_sort(struct order *order, size_t count)
{
    size_t run = count;
    while (run > INSERTION_MAX) {
        run = (run + 1) / 2;
    }
    size_t first = run;
    while (2 * first < count) {
        first *= 2;
    }
    order->sorting = (struct sorting){.run = run};
    return grow((void **)&order->spare, &order->spare_capacity, first, sizeof(struct pair));
}

/* Sorts the first runs. Returns true if there is more to do. */
static bool sort_runs(struct order *order, struct pair *pairs, size_t count)
{
    struct sorting *sorting = &order->sorting;
    while (sorting->sorted < count) {
        const size_t run = kv_least(sorting->run, count - sorting->sorted);
        if (order->steps == 0) {
            return true;
        }
        insertion_sort(order, pairs + sorting->sorted, run);
        order->steps -= kv_least(order->steps, run);
        sorting->sorted += run;
    }
    return false;
}

/* Of the two runs at `at`. order->spare holds the first one meanwhile. */
static void begin_merge(struct order *order, const struct pair *pairs, size_t count)
{
    struct sorting *sorting = &order->sorting;
    const size_t second = sorting->at + sorting->run;
    const int compared = compare(order, &pairs[second - 1], &pairs[second]);
    order->has_duplicate |= compared == 0;
    if (compared <= 0) {
        return; /* they are in order */
    }
    sorting->is_merging = true;
    sorting->first = 0;
    sorting->second = second;
    sorting->to = sorting->at;
    sorting->end = second + kv_least(sorting->run, count - second);
    memcpy(order->spare, pairs + sorting->at, sorting->run * sizeof(struct pair));
}

/* Returns true if there is more to do. */
static bool merge(struct order *order, struct pair *pairs)
{
    struct sorting *sorting = &order->sorting;
    const struct pair *run = order->spare;
    size_t a = sorting->first;
    size_t b = sorting->second;
    size_t to = sorting->to;
    size_t steps = order->steps;
    for (; steps > 0 && a < sorting->run && b < sorting->end; steps--) {
        const int compared = compare(order, &pairs[b], &run[a]);
        order->has_duplicate |= compared == 0;
        pairs[to++] = compared < 0 ? pairs[b++] : run[a++];
    }
    order->steps = steps;
    sorting->is_merging = a < sorting->run && b < sorting->end;
    if (!sorting->is_merging) {
        memcpy(pairs + to, run + a, (sorting->run - a) * sizeof(struct pair));
    }
    sorting->first = a;
    sorting->second = b;
    sorting->to = to;
    return sorting->is_merging;
}

/* Merges runs until one is left. Returns true if there is more to do. */
static bool merge_runs(struct order *order, struct pair *pairs, size_t count)
{
    struct sorting *sorting = &order->sorting;
    while (sorting->run < count) {
        if (order->steps == 0) {
            return true;
        }
        if (!sorting->is_merging) {
            order->steps--;
            begin_merge(order, pairs, count);
        }
        if (sorting->is_merging && merge(order, pairs)) {
            return true;
        }
        sorting->at += 2 * sorting->run;
        if (sorting->at >= count || count - sorting->at <= sorting->run) {
            sorting->at = 0;
            sorting->run *= 2;
        }
    }
    return false;
}

/* Returns KV_WALK_UNFINISHED once order->steps are used up: call it again then. */
static int sort(struct order *order, struct pair *pairs, size_t count)
{
    struct sorting *sorting = &order->sorting;
    if (count <= INSERTION_MAX) {
        insertion_sort(order, pairs, count);
        return KV_OK;
    }
    if (sorting->run == 0 && begin_sort(order, count) != KV_OK) {
        return KV_ENOMEM;
    }
    if (sort_runs(order, pairs, count) || merge_runs(order, pairs, count)) {
        return KV_WALK_UNFINISHED;
    }
    sorting->run = 0;
    return KV_OK;
}

/* ---- the end of a map ------------------------------------------------------------------------ */

static int digest_pairs(struct order *order, const struct pair *pairs, size_t count,
                        uint8_t digest[DIGEST_SIZE])
{
    if (order->digest == NULL) {
        order->digest = EVP_MD_CTX_new();
    }
    if (order->digest == NULL || EVP_DigestInit_ex(order->digest, EVP_sha256(), NULL) != 1) {
        return KV_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        (void)EVP_DigestUpdate(order->digest, order->forms.data + pairs[i].form, pairs[i].length);
    }
    return EVP_DigestFinal_ex(order->digest, digest, NULL) == 1 ? KV_OK : KV_ENOMEM;
}

/* Replaces the forms of the pairs of a map by its digest. */
static int write_digest(struct order *order, const struct pair *pairs, size_t count, size_t start)
{
    uint8_t digest[DIGEST_SIZE];
    if (digest_pairs(order, pairs, count, digest) != KV_OK) {
        return KV_ENOMEM;
    }
    order->forms.length = start;
    if (kv_buffer_try_reserve(&order->forms, 1 + DIGEST_SIZE) != KV_OK) {
        return KV_ENOMEM;
    }
    kv_buffer_u8(&order->forms, DIGEST_TAG);
    kv_buffer_append(&order->forms, kv_bytes(digest, DIGEST_SIZE));
    return KV_OK;
}

static int record(struct kv_orders *orders, size_t map, uint32_t end, const struct pair *pairs,
                  size_t count)
{
    if (grow((void **)&orders->keys, &orders->key_capacity, orders->key_count + count,
             sizeof(uint32_t)) != KV_OK) {
        return KV_ENOMEM;
    }
    orders->maps[map].end = end;
    orders->maps[map].first = (uint32_t)orders->key_count;
    for (size_t i = 0; i < count; i++) {
        orders->keys[orders->key_count++] = pairs[i].offset;
    }
    return KV_OK;
}

static int end_map(struct kv_walk *walk, struct kv_frame *frame)
{
    struct order *order = walk->owner;
    struct pair *pairs = order->pairs + frame->index;
    size_t count = order->pair_count - frame->index;
    int error = sort(order, pairs, count);
    if (error == KV_OK && order->orders == NULL && order->has_duplicate) {
        error = KV_EDUPLICATE;
    }
    if (error == KV_OK && order->orders != NULL && count > 1) {
        uint32_t end = (uint32_t)(walk->next - order->term);
        error = record(order->orders, frame->map, end, pairs, count);
    }
    if (error != KV_OK) {
        return error;
    }
    order->pair_count = frame->index;
    if (!frame->outer_quiet) {
        return write_digest(order, pairs, count, frame->start);
    }
    order->forms.length = frame->start;
    return KV_OK;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static int begin_key(struct kv_walk *walk, struct kv_frame *frame)
{
    struct order *order = walk->owner;
    if (grow((void **)&order->pairs, &order->pair_capacity, order->pair_count + 1,
             sizeof(struct pair)) != KV_OK) {
        return KV_ENOMEM;
    }
    order->pairs[order->pair_count++] = (struct pair){
        .form = (uint32_t)order->forms.length,
        .offset = (uint32_t)(walk->next - order->term),
    };
    frame->at_key = true;
    walk->quiet = false;
    return KV_OK;
}

static int enter_map(struct kv_walk *walk, struct kv_frame *frame, const uint8_t *map)
{
    struct order *order = walk->owner;
    struct kv_orders *orders = order->orders;
    frame->index = order->pair_count;
    if (orders != NULL && frame->remaining > 1) {
        if (grow((void **)&orders->maps, &orders->map_capacity, orders->map_count + 1,
                 sizeof(struct kv_map_order)) != KV_OK) {
            return KV_ENOMEM;
        }
        frame->map = orders->map_count++;
        orders->maps[frame->map].offset = (uint32_t)(map - order->term);
    }
    return begin_key(walk, frame);
}

static int next_in_map(struct kv_walk *walk, struct kv_frame *frame)
{
    struct order *order = walk->owner;
    if (frame->remaining == 0) {
        return end_map(walk, frame); /* goes on with the sort */
    }
    struct pair *pair = &order->pairs[order->pair_count - 1];
    pair->length = (uint32_t)(order->forms.length - pair->form);
    if (frame->at_key) {
        pair->key_length = pair->length;
        frame->at_key = false;
        walk->quiet = frame->outer_quiet;
        return KV_OK;
    }
    frame->remaining--;
    return frame->remaining > 0 ? begin_key(walk, frame) : end_map(walk, frame);
}

static void begin(struct order *order, struct kv_walk *walk, struct kv_bytes term,
                  enum kv_zeros zeros, struct kv_orders *orders)
{
    *order = (struct order){
        .term = term.data, .forms = KV_BUFFER_INIT, .steps = SIZE_MAX, .orders = orders};
    walk->next = term.data;
    walk->out = &order->forms;
    walk->zeros = zeros;
    walk->quiet = true;
    walk->into_funs = orders == NULL;
    walk->every_map = true;
    walk->enter_map = enter_map;
    walk->next_in_map = next_in_map;
    walk->owner = order;
}

static void end(struct order *order)
{
    EVP_MD_CTX_free(order->digest);
    kv_free(order->spare);
    kv_free(order->pairs);
    kv_buffer_free(&order->forms);
}

int kv_order_maps(struct kv_bytes term, enum kv_zeros zeros, struct kv_orders *orders)
{
    struct order order;
    struct kv_walk walk;
    begin(&order, &walk, term, zeros, orders);
    int error = kv_walk(&walk);
    end(&order);
    return error;
}

struct kv_maps_check {
    struct order order;
    struct kv_walk walk;
};

struct kv_maps_check *kv_maps_check_new(struct kv_bytes term, enum kv_zeros zeros)
{
    struct kv_maps_check *check = kv_alloc(sizeof *check);
    begin(&check->order, &check->walk, term, zeros, NULL);
    kv_walk_from(&check->walk);
    return check;
}

bool kv_maps_check_go_on(struct kv_maps_check *check, size_t bytes, int *error)
{
    check->order.steps = 1 + bytes / STEP_BYTES;
    const int result = kv_walk_up_to(&check->walk, check->walk.next + bytes);
    if (result == KV_WALK_UNFINISHED) {
        return true;
    }
    *error = result;
    return false;
}

void kv_maps_check_free(struct kv_maps_check *check)
{
    if (check != NULL) {
        kv_walk_free_frames(&check->walk);
        end(&check->order);
        kv_free(check);
    }
}

const struct kv_map_order *kv_orders_find(const struct kv_orders *orders, uint32_t offset)
{
    size_t low = 0;
    size_t high = orders->map_count - 1;
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (orders->maps[middle].offset <= offset) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return &orders->maps[low];
}

void kv_orders_free(struct kv_orders *orders)
{
    kv_free(orders->maps);
    kv_free(orders->keys);
}
