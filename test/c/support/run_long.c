/* Requests that go on over several turns. While the bucket goes on with one, a reader of this host
 * finds the state before the request or has to ask, the clock moves, and other requests come: they
 * are answered in order, as if the long one had been done at once. */
#include "support/request.h"

#include "kv/bucket.h"
#include "kv/going.h"

#include <string.h>

enum {
    OTHERS = 3,
    OTHER_ALIAS = 20000,
    TURNS_MOST = 10000,
    TRACED_MOST = 400,
    LARGE = 100 * 1024, /* bytes of a value; three are more than KV_AT_ONCE_BYTES */
};

struct long_step {
    struct request first;
    struct request others[OTHERS];
    unsigned count;
    bool scans; /* one of the others does: its cursor is known before */
    unsigned turns;
    uint64_t time;
};

/* ---- the long request --------------------------------------------------------------------------
 */

static struct kv_bytes large_value(struct draw *draw)
{
    struct kv_buffer term = book_term();
    kv_buffer_u8(&term, KV_TAG_BINARY);
    kv_buffer_u32(&term, LARGE);
    memset(term.data + term.length, (int)('a' + draw_below(draw, 26)), LARGE);
    term.length += LARGE;
    return book_keep(&term);
}

static unsigned many(struct draw *draw)
{
    return KV_PIECE_KEYS + 1 + draw_below(draw, KV_PIECE_KEYS);
}

static void end_list(struct draw *draw, struct kv_buffer *term)
{
    if (draw_once_in(draw, 12)) {
        kv_write_atom_text(term, "improper");
    } else {
        kv_write_nil(term);
    }
}

static struct kv_bytes many_keys(struct draw *draw)
{
    const unsigned count = many(draw);
    struct kv_buffer term = book_term();
    kv_write_list(&term, count);
    for (unsigned i = 0; i < count; i++) {
        kv_write_term(&term, book_key(draw_below(draw, BOOK_KEYS), i % BOOK_ENCODINGS));
    }
    end_list(draw, &term);
    return book_keep(&term);
}

/* Many small entries of some of the keys, or some large ones. */
static struct kv_bytes many_entries(struct draw *draw)
{
    const bool large = draw_once_in(draw, 4);
    const struct kv_bytes value = large ? large_value(draw) : NONE;
    const unsigned count = large ? 3 + draw_below(draw, 3) : many(draw);
    const unsigned keys = 1 + draw_below(draw, BOOK_KEYS);
    const unsigned bad = draw_once_in(draw, 20) ? draw_below(draw, count) : count;
    struct kv_buffer term = book_term();
    kv_write_list(&term, count);
    for (unsigned i = 0; i < count; i++) {
        if (i == bad) {
            kv_write_atom_text(&term, "no_pair");
            continue;
        }
        kv_write_tuple(&term, 2);
        kv_write_term(&term, book_key(draw_below(draw, keys), i % BOOK_ENCODINGS));
        if (large) {
            kv_write_term(&term, value);
        } else {
            kv_write_u64(&term, i);
        }
    }
    end_list(draw, &term);
    return book_keep(&term);
}

static void draw_long(struct draw *draw, const struct run *run, struct request *request)
{
    static const struct {
        const char *name;
        uint32_t arity;
    } rows[] = {{"put_many", 1},     {"put_many", 2}, {"put_new_many", 1},
                {"put_new_many", 2}, {"get_many", 1}, {"get_many", 2},
                {"delete_many", 1},  {"to_map", 0},   {"keys", 0}};
    const bool whole = kv_table_bytes(run->table) > KV_AT_ONCE_BYTES;
    const unsigned row = draw_below(draw, whole ? 9 : 7);
    const bool limited = run->book.rules.max_memory != 0 || run->book.rules.max_entries != 0;
    *request = (struct request){
        .row = book_find_row(kv_bytes_text(rows[row].name), rows[row].arity),
        .number = OTHER_ALIAS + OTHERS,
        .without_monitor = draw_once_in(draw, 2),
        .by_cast = (row < 2 || row == 6) && !limited && draw_once_in(draw, 5),
    };
    if (request->row->arity > 0) {
        request->arguments[0] =
            request->row->shape[0] == 'l' ? many_keys(draw) : many_entries(draw);
    }
    if (request->row->arity > 1) {
        request->arguments[1] =
            draw_argument(draw, &run->book, request->row->shape[1], request->arguments);
    }
    request->term = request_plain(request);
}

/* ---- meanwhile ---------------------------------------------------------------------------------
 */

static bool goes_on(const struct run *run, const struct long_step *step)
{
    const struct kv_process *process = kv_process_at(run->fixture->runtime, &run->pid);
    const struct kv_bucket *bucket = kv_process_const_state(process);
    return bucket->going != NULL && request_answer(run, &step->first).length == 0;
}

static void move_clock(struct run *run, struct long_step *step, struct draw *draw)
{
    step->time += draw_below(draw, 40);
    run->before.now = step->time;
    run_trace(run, ", clock", NONE);
    kv_arena_set_time(run->fixture->arena, step->time);
}

static void send_other(struct run *run, struct long_step *step, struct draw *draw)
{
    struct request *other = &step->others[step->count];
    const struct run_walk walk = run->walk;
    request_draw(draw, run, other);
    if ((other->row->facts & BOOK_WALKS) != 0 && step->scans) {
        run->walk = walk;
        return;
    }
    step->scans |= (other->row->facts & BOOK_WALKS) != 0;
    other->number = OTHER_ALIAS + step->count++;
    run_trace(run, ", meanwhile ", other->term);
    request_send(run, other);
}

/* The book learns by comparing which entries were evicted, so only of one request at once. */
static bool may_send(const struct book_rules *rules)
{
    return rules->evict == KV_EVICT_NONE || (rules->max_memory == 0 && rules->max_entries == 0);
}

static void meanwhile(struct run *run, struct long_step *step, struct draw *draw)
{
    const bool reads_touch = run->book.rules.ttl != 0 && run->book.rules.touch_on_read;
    if (!reads_touch &&
        !(step->first.by_cast && step->count > 0)) { /* which may be the present one */
        run_compare_meanwhile(run);
    }
    if (may_send(&run->book.rules) && step->count < OTHERS && draw_once_in(draw, 2)) {
        send_other(run, step, draw);
    }
    /* The first turn checks a list. The moment of the request comes after it. Entries that are
     * evicted and those that expire would look alike. */
    if (!step->first.by_cast && !run->may_evict && step->turns > 0 && draw_once_in(draw, 4)) {
        move_clock(run, step, draw);
    }
    if (draw_once_in(draw, 4)) {
        (void)kv_arena_work(run->fixture->arena, 1 + draw_below(draw, 20));
    }
}

/* ---- the step ----------------------------------------------------------------------------------
 */

static void judge_one(struct run *run, const struct request *request)
{
    const struct kv_bytes answer = request_answer(run, request);
    if (!request->by_cast) {
        run_trace(run, " -> ", answer.length < TRACED_MOST ? answer : NONE);
        request_judge(run, request, answer);
    } else if (answer.length != 0) {
        run_fail(run, "a cast is answered");
    }
    run_note_walk(run);
}

/* The bucket was the one to find room for the other, at a time that is past. */
static void judge_other(struct run *run, const struct request *request)
{
    book_copy(&run->before, &run->book);
    memset(run->book.named, 0, sizeof run->book.named);
    request_run(run, request);
    run->may_evict = false;
    run->counted = UINT32_MAX;
    judge_one(run, request);
}

static void run_turns(struct run *run, struct long_step *step, struct draw *draw)
{
    struct fixture *fixture = run->fixture;
    fixture->stepwise = true;
    request_send(run, &step->first);
    do {
        if (goes_on(run, step)) {
            meanwhile(run, step, draw);
        }
    } while (kv_runtime_step(fixture->runtime) && ++step->turns < TURNS_MOST);
    fixture->stepwise = false;
    if (step->turns >= TURNS_MOST) {
        run_fail(run, "a request has no end");
    }
}

void run_step_long(struct run *run, struct draw *draw)
{
    static struct long_step step;
    step = (struct long_step){.time = run->book.now};
    draw_long(draw, run, &step.first);
    run_trace(run, step.first.by_cast ? "long cast " : "long call ",
              kv_bytes(step.first.term.data + 2, 2 + strlen(step.first.row->name)));
    request_run(run, &step.first);
    run_turns(run, &step, draw);
    judge_one(run, &step.first);
    run->book.now = step.time;
    run_note_walk(run);
    run->several = step.count > 0;
    for (unsigned i = 0; i < step.count && !run->failed; i++) {
        judge_other(run, &step.others[i]);
    }
    forget(run->fixture);
}
