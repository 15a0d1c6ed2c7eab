#include "support/program.h"
#include "support/run.h"

#include "kv/agent.h"
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

/* ---- requests ----------------------------------------------------------------------------------
 */

struct request {
    const struct book_row *row;
    const struct kv_agent_function *agent; /* NULL: the row's own request */
    struct kv_bytes arguments[KV_ARGUMENTS_MAX];
    struct kv_bytes term;
    bool by_cast;
};

static struct kv_bytes draw_requests(struct draw *draw, const struct run *run);

static void draw_arguments(struct draw *draw, const struct run *run, struct request *request)
{
    for (uint32_t i = 0; i < request->row->arity; i++) {
        const char letter = request->row->shape[i];
        request->arguments[i] = letter == 'x'
                                    ? draw_requests(draw, run)
                                    : draw_argument(draw, &run->book, letter, request->arguments);
    }
}

static struct kv_bytes plain_request(const struct request *request)
{
    struct kv_buffer term = book_term();
    if (request->row->arity > 0) {
        kv_write_tuple(&term, request->row->arity + 1);
    }
    kv_write_atom_text(&term, request->row->name);
    for (uint32_t i = 0; i < request->row->arity; i++) {
        kv_write_term(&term, request->arguments[i]);
    }
    return book_keep(&term);
}

/* {Kind, {Module, Function, Arguments}} */
static struct kv_bytes agent_request(const struct request *request)
{
    static const char *const kinds[] = {"get", "update", "get_and_update"};
    struct kv_buffer term = book_term();
    kv_write_tuple(&term, 2);
    kv_write_atom_text(&term, request->by_cast ? "cast" : kinds[request->agent->kind]);
    kv_write_tuple(&term, 3);
    kv_write_atom_text(&term, request->agent->module);
    kv_write_atom_text(&term, request->agent->function);
    if (request->row->arity > 0) {
        kv_write_list(&term, request->row->arity);
    }
    for (uint32_t i = 0; i < request->row->arity; i++) {
        kv_write_term(&term, request->arguments[i]);
    }
    kv_write_nil(&term);
    return book_keep(&term);
}

static const struct kv_operation *draw_operation(struct draw *draw, const struct run *run,
                                                 unsigned doors)
{
    const struct kv_dispatch *dispatch = &run->fixture->store.bucket;
    for (;;) {
        const struct kv_operation *operation = dispatch->slots[draw_below(draw, KV_DISPATCH_SLOTS)];
        if (operation != NULL && (operation->doors & doors) != 0 &&
            book_find_row(operation->name, operation->arity) != NULL) {
            return operation;
        }
    }
}

/* The list of a transaction; rarely with a request that is no part of one. */
static struct kv_bytes draw_requests(struct draw *draw, const struct run *run)
{
    enum { MOST = 6 };
    struct kv_bytes terms[MOST];
    const unsigned count = draw_below(draw, MOST + 1);
    for (unsigned i = 0; i < count; i++) {
        const bool odd = draw_once_in(draw, 40);
        const struct kv_operation *operation =
            draw_operation(draw, run, odd ? KV_BY_CAST : KV_BY_TRANSACTION);
        struct request request = {.row = book_find_row(operation->name, operation->arity)};
        draw_arguments(draw, run, &request);
        terms[i] = plain_request(&request);
    }
    struct kv_buffer list = book_term();
    if (count > 0) {
        kv_write_list(&list, count);
    }
    for (unsigned i = 0; i < count; i++) {
        kv_write_term(&list, terms[i]);
    }
    if (count == 0 && draw_once_in(draw, 2)) {
        kv_write_atom_text(&list, "no_list");
    } else {
        kv_write_nil(&list);
    }
    return book_keep(&list);
}

static bool draw_agent(struct draw *draw, struct request *request)
{
    unsigned count = 0;
    while (kv_agent_functions[count].module != NULL) {
        count++;
    }
    request->agent = &kv_agent_functions[draw_below(draw, count)];
    request->row = book_find_row(kv_bytes_text(request->agent->operation), request->agent->arity);
    return request->row != NULL;
}

/* A put that finds no room is told by its answer, so it is no cast. */
static bool may_cast(const struct run *run, const struct request *request)
{
    return (request->row->facts & BOOK_PUTS) == 0 ||
           (run->book.rules.max_memory == 0 && run->book.rules.max_entries == 0);
}

static void draw_request(struct draw *draw, struct run *run, struct request *request)
{
    const struct kv_operation *operation =
        draw_operation(draw, run, KV_BY_CALL | KV_BY_CAST | KV_BY_AGENT);
    *request = (struct request){.row = book_find_row(operation->name, operation->arity)};
    bool by_agent = (operation->doors & (KV_BY_CALL | KV_BY_CAST)) == 0 || draw_once_in(draw, 20);
    if (by_agent && draw_agent(draw, request)) {
        request->by_cast = request->agent->kind == KV_AGENT_UPDATE && draw_once_in(draw, 3) &&
                           may_cast(run, request);
    } else {
        request->by_cast =
            (operation->doors & KV_BY_CAST) != 0 && draw_once_in(draw, 4) && may_cast(run, request);
    }
    if ((request->row->facts & BOOK_WALKS) != 0) {
        run_draw_scan(draw, run, request->arguments);
    } else {
        draw_arguments(draw, run, request);
    }
    request->term = request->agent != NULL ? agent_request(request) : plain_request(request);
}

/* Sends a request. The signals that come back are kept by the fixture. */
static void send_request(struct run *run, const struct request *request, bool without_monitor)
{
    struct kv_pid from = pid_a(1);
    struct kv_ref alias = ref_a(12345);
    struct kv_buffer term = book_term();
    kv_write_tuple(&term, request->by_cast ? 2 : 3);
    kv_write_atom_text(&term, request->by_cast  ? "$gen_cast"
                              : without_monitor ? "$kv_call"
                                                : "$gen_call");
    if (without_monitor && !request->by_cast) {
        kv_write_ref(&term, &alias);
    } else if (!request->by_cast) {
        kv_write_term(&term, term_from(&from, &alias));
    }
    kv_write_term(&term, request->term);
    feed_message(run->fixture, run->fixture->a, &run->pid, book_keep(&term));
}

/* Returns the answer, or an empty term if there is not exactly one. */
static struct kv_bytes answer_of(struct run *run)
{
    struct kv_bytes answer = NONE;
    if (count_of(run->fixture, KV_SIGNAL_MESSAGE_ALIAS) == 1) {
        struct kv_reader reader =
            kv_reader(payload_of(sent_of(run->fixture, KV_SIGNAL_MESSAGE_ALIAS, 0)));
        (void)kv_read_tuple_of(&reader, 2);
        (void)kv_read_any(&reader, NULL);
        (void)kv_read_any(&reader, &answer);
    }
    return answer;
}

/* ---- judging an answer -------------------------------------------------------------------------
 */

/* The elements of two lists are the same, in any order. */
static bool same_elements(struct kv_bytes one, struct kv_bytes other)
{
    struct kv_bytes elements[BOOK_KEYS];
    uint32_t counts[2] = {0};
    uint32_t left = 0;
    struct kv_reader readers[2] = {kv_reader(one), kv_reader(other)};
    if (kv_read_list(&readers[0], &counts[0]) != KV_OK ||
        kv_read_list(&readers[1], &counts[1]) != KV_OK || counts[0] != counts[1] ||
        counts[0] > BOOK_KEYS) {
        return false;
    }
    for (; left < counts[0]; left++) {
        (void)kv_read_any(&readers[0], &elements[left]);
    }
    for (uint32_t i = 0; i < counts[1]; i++) {
        struct kv_bytes element;
        uint32_t at = 0;
        (void)kv_read_any(&readers[1], &element);
        while (at < left && !book_equal(elements[at], element)) {
            at++;
        }
        if (at == left) {
            return false;
        }
        elements[at] = elements[--left];
    }
    return true;
}

static bool is_error(struct kv_bytes term, const char *reason)
{
    struct kv_reader reader = kv_reader(term);
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "error") == KV_OK &&
           (reason == NULL || kv_read_this_atom(&reader, reason) == KV_OK);
}

/* {error, {Index, Reason}}, as a transaction answers. */
static bool is_step_error(struct kv_bytes term, const char *reason)
{
    struct kv_reader reader = kv_reader(term);
    return term.length > 0 && kv_read_tuple_of(&reader, 2) == KV_OK &&
           kv_read_this_atom(&reader, "error") == KV_OK && kv_read_tuple_of(&reader, 2) == KV_OK &&
           kv_read_any(&reader, NULL) == KV_OK && kv_read_this_atom(&reader, reason) == KV_OK;
}

static bool is_expected(const struct run *run, const struct request *request, struct kv_bytes got)
{
    const struct kv_bytes expected = kv_buffer_bytes(&run->expected);
    if (request->agent != NULL && request->agent->kind == KV_AGENT_UPDATE &&
        !is_error(expected, NULL)) {
        return kv_term_is_atom(got, "ok");
    }
    return book_equal(expected, got) ||
           (is_step_error(expected, "full") && is_step_error(got, "full")) ||
           ((request->row->facts & BOOK_UNORDERED) != 0 && same_elements(expected, got));
}

enum {
    INDEX_MOST = 2048, /* bytes of an index of so few entries */
    ENTRY_MORE = 40,   /* bytes of an entry besides key and value */
};

/* The most bytes of the result of a transaction, when all that may be evicted is gone. */
static uint64_t bytes_of_result(const struct book *book)
{
    uint64_t bytes = INDEX_MOST;
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        const bool goes =
            !book->named[i] &&
            (book->rules.evict == KV_EVICT_LRU ||
             (book->rules.evict == KV_EVICT_TTL && book->entries[i].expiry != KV_NEVER));
        if (book_has(book, i) && !goes) {
            bytes += book_key(i, 0).length + book_value(book, i).length + ENTRY_MORE;
        }
    }
    return bytes;
}

/* Returns true if a put may find no room: if there is not certainly enough when all goes that may
 * go. */
static bool may_find_no_room(const struct run *run, const struct request *request)
{
    const struct book_rules *rules = &run->book.rules;
    if (rules->max_memory == 0 || (request->row->facts & BOOK_PUTS) == 0) {
        return false;
    }
    if (is_step_error(kv_buffer_bytes(&run->expected), "full")) {
        return true; /* the bytes may be the first to find none */
    }
    return (request->row->facts & BOOK_NET) != 0
               ? bytes_of_result(&run->book) > rules->max_memory
               : run->counted + request->term.length + INDEX_MOST > rules->max_memory;
}

static void judge(struct run *run, const struct request *request, struct kv_bytes got)
{
    if (got.length == 0) {
        run_fail(run, "there is not one answer, but %zu",
                 count_of(run->fixture, KV_SIGNAL_MESSAGE_ALIAS));
    } else if ((is_error(got, "enomem") || is_step_error(got, "enomem")) &&
               may_find_no_room(run, request)) {
        book_back(&run->book, &run->before); /* nothing has changed, but for evictions */
    } else if ((request->row->facts & BOOK_OPEN) != 0) {
        if (is_error(got, NULL)) {
            run_fail(run, "an error");
        }
    } else if ((request->row->facts & BOOK_WALKS) != 0) {
        run_judge_scan(run, request->arguments, got);
    } else if (!is_expected(run, request, got)) {
        run_trace(run, "   SHOULD BE ", kv_buffer_bytes(&run->expected));
        run_fail(run, "another answer");
    }
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
    draw_request(draw, run, &request);
    run_trace(run,
              request.by_cast ? "cast "
              : suspended     ? "call when suspended "
                              : "call ",
              request.term);
    run->may_evict = run->book.rules.evict != KV_EVICT_NONE &&
                     (request.row->facts & BOOK_PUTS) != 0 &&
                     (run->book.rules.max_memory != 0 || run->book.rules.max_entries != 0);
    run->counted = kv_table_counted(run->table);
    kv_buffer_clear(&run->expected);
    request.row->run(&run->book, request.arguments, &run->expected);
    if (suspended) {
        suspend(run, "suspend");
    }
    send_request(run, &request, draw_once_in(draw, 3));
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
        run_trace(run, " -> ", answer_of(run));
        judge(run, &request, answer_of(run));
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
    if (kind < 84) {
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
