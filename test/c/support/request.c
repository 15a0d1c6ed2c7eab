/* Requests of a program: drawn, sent and judged. */
#include "support/request.h"

#include "kv/agent.h"
#include "kv/bucket.h"

#include <string.h>

enum { FIRST_ALIAS = 12345 };

/* ---- requests ----------------------------------------------------------------------------------
 */

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

struct kv_bytes request_plain(const struct request *request)
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
        terms[i] = request_plain(&request);
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

void request_draw(struct draw *draw, struct run *run, struct request *request)
{
    const struct kv_operation *operation =
        draw_operation(draw, run, KV_BY_CALL | KV_BY_CAST | KV_BY_AGENT);
    *request = (struct request){.row = book_find_row(operation->name, operation->arity),
                                .number = FIRST_ALIAS,
                                .without_monitor = draw_once_in(draw, 3)};
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
    request->term = request->agent != NULL ? agent_request(request) : request_plain(request);
}

void request_send(struct run *run, const struct request *request)
{
    struct kv_pid from = pid_a(1);
    struct kv_ref alias = ref_a(request->number);
    struct kv_buffer term = book_term();
    kv_write_tuple(&term, request->by_cast ? 2 : 3);
    kv_write_atom_text(&term, request->by_cast           ? "$gen_cast"
                              : request->without_monitor ? "$kv_call"
                                                         : "$gen_call");
    if (request->without_monitor && !request->by_cast) {
        kv_write_ref(&term, &alias);
    } else if (!request->by_cast) {
        kv_write_term(&term, term_from(&from, &alias));
    }
    kv_write_term(&term, request->term);
    feed_message(run->fixture, run->fixture->a, &run->pid, book_keep(&term));
}

struct kv_bytes request_answer(const struct run *run, const struct request *request)
{
    struct kv_bytes answer = NONE;
    unsigned count = 0;
    const struct kv_ref alias = ref_a(request->number);
    const struct sent *sent;
    for (size_t i = 0; (sent = sent_of(run->fixture, KV_SIGNAL_MESSAGE_ALIAS, i)) != NULL; i++) {
        struct kv_reader reader = kv_reader(payload_of(sent));
        if (kv_ref_equal(&sent->signal.ref, &alias)) {
            (void)kv_read_tuple_of(&reader, 2);
            (void)kv_read_any(&reader, NULL);
            (void)kv_read_any(&reader, &answer);
            count++;
        }
    }
    return count == 1 ? answer : NONE;
}

/* ---- the book ----------------------------------------------------------------------------------
 */

void request_run(struct run *run, const struct request *request)
{
    const struct book_rules *rules = &run->book.rules;
    run->may_evict = rules->evict != KV_EVICT_NONE && (request->row->facts & BOOK_PUTS) != 0 &&
                     (rules->max_memory != 0 || rules->max_entries != 0);
    run->counted = kv_table_counted(run->table);
    run->puts = book_counts.puts;
    run->book.unheard =
        request->by_cast || (request->agent != NULL && request->agent->kind == KV_AGENT_UPDATE);
    kv_buffer_clear(&run->expected);
    request->row->run(&run->book, request->arguments, &run->expected);
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

void request_judge(struct run *run, const struct request *request, struct kv_bytes got)
{
    if (got.length == 0) {
        run_fail(run, "there is not one answer, but %zu",
                 count_of(run->fixture, KV_SIGNAL_MESSAGE_ALIAS));
    } else if ((is_error(got, "enomem") || is_step_error(got, "enomem")) &&
               may_find_no_room(run, request)) {
        book_back(&run->book, &run->before); /* nothing has changed, but for evictions */
        if ((request->row->facts & BOOK_NET) == 0) {
            book_counts.puts = run->puts; /* those of a transaction count even so */
        }
    } else if ((request->row->facts & BOOK_COUNTS) != 0) {
        run_judge_stats(run, got);
    } else if ((request->row->facts & BOOK_WALKS) != 0) {
        run_judge_scan(run, request->arguments, got);
    } else if (!is_expected(run, request, got)) {
        run_trace(run, "   SHOULD BE ", kv_buffer_bytes(&run->expected));
        run_fail(run, "another answer");
    }
}
