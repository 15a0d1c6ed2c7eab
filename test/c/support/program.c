#include "support/program.h"
#include "support/request.h"

#include "kv/bucket.h"
#include "process/inspect.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* ---- programs ----------------------------------------------------------------------------------
 */

static const struct book_rules option_sets[] = {
    {.evict = KV_EVICT_NONE},
    {.evict = KV_EVICT_NONE},
    {.evict = KV_EVICT_NONE, .max_memory = 6000},
    {.evict = KV_EVICT_LRU},
    {.evict = KV_EVICT_LRU, .max_memory = 6000},
    {.evict = KV_EVICT_TTL, .max_memory = 6000},
    {.evict = KV_EVICT_NONE, .ttl = 50},
    {.evict = KV_EVICT_TTL, .ttl = 50, .max_memory = 6000},
    {.evict = KV_EVICT_NONE, .ttl = 50, .touch_on_read = true},
    {.evict = KV_EVICT_LRU, .ttl = 50, .touch_on_read = true, .max_entries = 4},
    {.evict = KV_EVICT_NONE, .max_entries = 4},
    {.evict = KV_EVICT_LRU, .max_entries = 4},
    {.evict = KV_EVICT_TTL, .max_entries = 4},
    {.evict = KV_EVICT_NONE, .max_entries = 5, .max_memory = 6000},
};

struct program program_of(uint64_t number)
{
    struct draw draw = {.state = number * UINT64_C(0xD1342543DE82EF95)};
    struct program program = {.count = 1 + draw_below(&draw, PROGRAM_STEPS)};
    program.rules = option_sets[draw_below(&draw, sizeof option_sets / sizeof option_sets[0])];
    for (unsigned i = 0; i < program.count; i++) {
        program.steps[i] = draw_number(&draw);
    }
    return program;
}

/* ---- starting ----------------------------------------------------------------------------------
 */

static void write_pair(struct kv_buffer *to, const char *name)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, name);
}

static struct kv_bytes options_of(const struct book_rules *rules)
{
    static const char *const evict[] = {"none", "lru", "ttl"};
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"max_memory", rules->max_memory},
                   {"max_entries", rules->max_entries},
                   {"ttl", rules->ttl}};
    struct kv_buffer term = book_term();
    uint32_t count = 1 + (rules->touch_on_read ? 1 : 0);
    for (size_t i = 0; i < 3; i++) {
        count += numbers[i].value != 0;
    }
    kv_write_list(&term, count);
    write_pair(&term, "evict");
    kv_write_atom_text(&term, evict[rules->evict]);
    for (size_t i = 0; i < 3; i++) {
        if (numbers[i].value != 0) {
            write_pair(&term, numbers[i].name);
            kv_write_u64(&term, numbers[i].value);
        }
    }
    if (rules->touch_on_read) {
        write_pair(&term, "touch_on_read");
        kv_write_bool(&term, true);
    }
    kv_write_nil(&term);
    return book_keep(&term);
}

static void open_run(struct run *run, struct fixture *fixture, const struct program *program)
{
    book_forget();
    run->fixture = fixture;
    run->pid = feed_spawn(fixture, fixture->a, "kv_bucket", term_list(NONE, NONE, NONE),
                          options_of(&program->rules));
    run->pid.node = kv_bytes_text(FIXTURE_NODE);
    struct kv_process *process = kv_process_at(fixture->runtime, &run->pid);
    cr_assert_not_null(process, "the bucket has not started");
    run->table = ((struct kv_bucket *)kv_process_state(process))->contents.table;
    cr_assert_eq(kv_mapped_open(&run->mapped, fixture->memory.base, fixture->memory.reserve, NULL),
                 KV_OK);
    cr_assert_eq(kv_mapped_table_of(&run->mapped, run->pid.id, run->pid.serial, &run->mapped_table),
                 KV_READ_FOUND);
    book_open(&run->book, &program->rules, kv_arena_time(fixture->arena));
    book_open(&run->before, &program->rules, run->book.now);
    book_counts = (struct book_counts){.since = run->book.now};
    forget(fixture);
}

static void close_run(struct run *run)
{
    struct kv_pid killer = pid_a(1);
    feed_exit(run->fixture, run->fixture->a, KV_SIGNAL_EXIT, &killer, &run->pid, term_atom("kill"));
    forget(run->fixture);
    while (kv_arena_work(run->fixture->arena, 100)) {
    }
    book_close(&run->book);
    book_close(&run->before);
    kv_buffer_free(&run->expected);
}

/* ---- steps -------------------------------------------------------------------------------------
 */

static void suspend(struct run *run, const char *request)
{
    (void)system_call(run->fixture, &run->pid, term_atom(request));
    forget(run->fixture);
}

static void step_request(struct run *run, struct draw *draw)
{
    struct request request;
    const bool suspended = draw_once_in(draw, 30);
    request_draw(draw, run, &request);
    run_trace(run,
              request.by_cast ? "cast "
              : suspended     ? "call when suspended "
                              : "call ",
              request.term);
    request_run(run, &request);
    if (suspended) {
        suspend(run, "suspend");
    }
    request_send(run, &request);
    if (suspended && count_of(run->fixture, KV_SIGNAL_MESSAGE_ALIAS) != 0) {
        run_fail(run, "a suspended bucket answers");
    }
    if (suspended) {
        struct kv_bytes none = term_atom("resume");
        struct kv_pid from = pid_b(1);
        struct kv_ref alias = ref_b(7);
        feed_message(run->fixture, run->fixture->b, &run->pid,
                     term_tuple(term_atom("system"), term_from(&from, &alias), none, NONE));
    }
    if (suspended) {
        struct fixture *f = run->fixture;
        size_t kept = 0;
        for (size_t i = 0; i < f->sent_count; i++) { /* leave out the answer to b */
            if (f->sent[i].to[0] == 'a') {
                f->sent[kept++] = f->sent[i];
            } else {
                free(f->sent[i].bytes.data);
            }
        }
        f->sent_count = kept;
    }
    if (!request.by_cast) {
        run_trace(run, " -> ", request_answer(run, &request));
        request_judge(run, &request, request_answer(run, &request));
    } else if (count_of(run->fixture, KV_SIGNAL_MESSAGE_ALIAS) != 0) {
        run_fail(run, "a cast is answered");
    }
    forget(run->fixture);
}

/* To the expiry of an entry, to the millisecond before or after it, or somewhere. */
static void step_clock(struct run *run, struct draw *draw)
{
    const struct book_entry *entry = &run->book.entries[draw_below(draw, BOOK_KEYS)];
    uint64_t time = run->book.now + draw_below(draw, 40);
    if (entry->value != NULL && entry->expiry > run->book.now + 1 &&
        entry->expiry < run->book.now + 1000) {
        time = entry->expiry - 1 + draw_below(draw, 3);
    }
    if (run->trace != NULL) {
        (void)fprintf(run->trace, "clock +%llu", (unsigned long long)(time - run->book.now));
    }
    run->book.now = time;
    kv_arena_set_time(run->fixture->arena, time);
}

static void step(struct run *run, uint64_t number)
{
    struct draw draw = {.state = number};
    const unsigned kind = draw_below(&draw, 100);
    book_forget();
    book_copy(&run->before, &run->book);
    memset(run->book.named, 0, sizeof run->book.named);
    run->may_evict = false;
    run->several = false;
    if (draw_once_in(&draw, 200)) {
        run_step_long(run, &draw);
    } else if (kind < 84) {
        step_request(run, &draw);
    } else if (kind < 96) {
        step_clock(run, &draw);
    } else {
        run_trace(run, "work", NONE);
        (void)kv_arena_work(run->fixture->arena, 1 + draw_below(&draw, 20));
    }
    run_compare(run);
    run_note_walk(run);
    if (run->trace != NULL) {
        (void)fprintf(run->trace, "\n");
    }
}

const char *program_run(struct fixture *fixture, const struct program *program, FILE *trace)
{
    static struct run run;
    run = (struct run){.trace = trace};
    open_run(&run, fixture, program);
    run_trace(&run, "options ", trace == NULL ? NONE : options_of(&program->rules));
    run_trace(&run, "\n", NONE);
    for (unsigned i = 0; i < program->count && !run.failed; i++) {
        step(&run, program->steps[i]);
    }
    close_run(&run);
    return run.failed ? run.reason : NULL;
}

/* ---- shrinking ---------------------------------------------------------------------------------
 */

static struct program without(const struct program *program, unsigned from, unsigned count)
{
    struct program less = *program;
    less.count = program->count - count;
    memmove(less.steps + from, program->steps + from + count,
            (program->count - from - count) * sizeof less.steps[0]);
    return less;
}

static bool drop_some(struct fixture *fixture, struct program *program, unsigned count)
{
    bool dropped = false;
    for (unsigned from = 0; from + count <= program->count;) {
        const struct program less = without(program, from, count);
        if (program_run(fixture, &less, NULL) != NULL) {
            *program = less;
            dropped = true;
        } else {
            from++;
        }
    }
    return dropped;
}

void program_shrink(struct fixture *fixture, struct program *program)
{
    bool dropped = true;
    while (dropped) {
        dropped = false;
        for (unsigned count = program->count / 2; count > 0; count /= 2) {
            dropped |= drop_some(fixture, program, count);
        }
    }
}
