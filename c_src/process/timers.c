#include "process/timers.h"

#include "base/alloc.h"
#include "process/state.h"

enum { LEAST_CAPACITY = 16 };

struct kv_timer {
    struct kv_list of_process;
    struct kv_list of_due; /* in due, or alone */
    struct kv_map_node by_number;
    struct kv_process *process;
    uint64_t number;
    uint64_t tag;
    uint64_t due;
    size_t place; /* in the heap, unless it is in due */
};

/* ---- the heap -------------------------------------------------------------------------------- */

/* Timers for the same time fire in the order of their start. */
static bool is_before(const struct kv_timer *a, const struct kv_timer *b)
{
    return a->due < b->due || (a->due == b->due && a->number < b->number);
}

static void place(struct kv_timers *timers, struct kv_timer *timer, size_t at)
{
    timers->heap[at] = timer;
    timer->place = at;
}

static void rise(struct kv_timers *timers, struct kv_timer *timer, size_t at)
{
    while (at > 0 && is_before(timer, timers->heap[(at - 1) / 2])) {
        place(timers, timers->heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    place(timers, timer, at);
}

static void sink(struct kv_timers *timers, struct kv_timer *timer, size_t at)
{
    for (size_t below = 2 * at + 1; below < timers->count; below = 2 * at + 1) {
        if (below + 1 < timers->count && is_before(timers->heap[below + 1], timers->heap[below])) {
            below++;
        }
        if (!is_before(timers->heap[below], timer)) {
            break;
        }
        place(timers, timers->heap[below], at);
        at = below;
    }
    place(timers, timer, at);
}

static void add(struct kv_timers *timers, struct kv_timer *timer)
{
    if (timers->count == timers->capacity) {
        timers->capacity = timers->capacity == 0 ? LEAST_CAPACITY : 2 * timers->capacity;
        timers->heap = kv_realloc(timers->heap, timers->capacity * sizeof(struct kv_timer *));
    }
    rise(timers, timer, timers->count++);
}

/* Puts the last timer into the free place, and moves it to where it belongs. */
static void take_out(struct kv_timers *timers, const struct kv_timer *timer)
{
    struct kv_timer *last = timers->heap[--timers->count];
    if (last != timer) {
        sink(timers, last, timer->place);
        rise(timers, last, last->place);
    }
}

/* ---- timers ---------------------------------------------------------------------------------- */

static bool has_number(const struct kv_map_node *node, const void *key)
{
    return KV_MAP_OF(node, const struct kv_timer, by_number)->number == *(const uint64_t *)key;
}

static void drop(struct kv_timers *timers, struct kv_timer *timer)
{
    if (kv_list_is_empty(&timer->of_due)) {
        take_out(timers, timer);
    }
    kv_list_remove(&timer->of_due);
    kv_list_remove(&timer->of_process);
    kv_map_remove(&timers->by_number, &timer->by_number);
    kv_free(timer);
}

uint64_t kv_timer_start(struct kv_process *self, uint64_t delay, uint64_t tag)
{
    struct kv_timers *timers = &self->runtime->timers;
    uint64_t now = kv_runtime_clock(self->runtime);
    struct kv_timer *timer = kv_zalloc(sizeof *timer);
    timer->process = self;
    timer->number = ++timers->last;
    timer->tag = tag;
    timer->due = delay < UINT64_MAX - now ? now + delay : UINT64_MAX;
    kv_list_init(&timer->of_due);
    kv_list_append(&self->timers, &timer->of_process);
    kv_map_insert(&timers->by_number, &timer->by_number, timer->number);
    add(timers, timer);
    return timer->number;
}

bool kv_timer_cancel(struct kv_process *self, uint64_t number)
{
    struct kv_timers *timers = &self->runtime->timers;
    struct kv_map_node *found = kv_map_find(&timers->by_number, number, has_number, &number);
    struct kv_timer *timer = found == NULL ? NULL : KV_MAP_OF(found, struct kv_timer, by_number);
    if (timer == NULL || timer->process != self) {
        return false;
    }
    drop(timers, timer);
    return true;
}

void kv_process_set_timer(struct kv_process *self, uint64_t delay)
{
    (void)kv_timer_cancel(self, self->usual_timer);
    self->usual_timer = kv_timer_start(self, delay, 0);
}

/* ---- the runtime's side ---------------------------------------------------------------------- */

uint64_t kv_runtime_clock(const struct kv_runtime *runtime)
{
    return runtime->sink.clock(runtime->sink.context);
}

void kv_timers_init(struct kv_timers *timers)
{
    kv_list_init(&timers->due);
}

void kv_timers_free(struct kv_timers *timers)
{
    kv_free(timers->heap);
    kv_map_free(&timers->by_number);
}

void kv_timers_collect(struct kv_timers *timers, uint64_t now)
{
    while (timers->count > 0 && timers->heap[0]->due <= now) {
        struct kv_timer *timer = timers->heap[0];
        take_out(timers, timer);
        kv_list_append(&timers->due, &timer->of_due);
    }
}

struct kv_process *kv_timers_next(struct kv_timers *timers, uint64_t *tag)
{
    if (kv_list_is_empty(&timers->due)) {
        return NULL;
    }
    struct kv_timer *timer = KV_LIST_OF(timers->due.next, struct kv_timer, of_due);
    struct kv_process *process = timer->process;
    *tag = timer->tag;
    drop(timers, timer);
    return process;
}

uint64_t kv_timers_wait(const struct kv_timers *timers, uint64_t now)
{
    if (timers->count == 0) {
        return KV_NO_TIMER;
    }
    uint64_t due = timers->heap[0]->due;
    return due > now ? due - now : 0;
}

void kv_timers_drop(struct kv_process *process)
{
    KV_LIST_FOREACH (link, &process->timers) {
        drop(&process->runtime->timers, KV_LIST_OF(link, struct kv_timer, of_process));
    }
}
