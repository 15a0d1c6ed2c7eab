/* How long the node lets a caller wait while a table of millions of entries comes and goes.
 *
 * One client, one thread, so that node and client have a processor each and nobody waits for one.
 * It grows a bucket entry by entry, with a few calls in flight, removes half of the entries, grows
 * it again, puts as many that expire while others are put, looks on while the rest expires, and
 * then kills the bucket while it asks another one. For each phase it prints the longest time
 * between a call and its answer, and, as a control, the longest that the machine kept a loop from
 * its work which only computes, for as long. */
#include "bucket.h"
#include "control.h"
#include "fail.h"
#include "program.h"

#include <getopt.h>
#include <inttypes.h>
#include <unistd.h>

enum {
    ENTRIES = 10 * 1000 * 1000,
    ENTRIES_MAX = 1000 * 1000 * 1000,
    IN_FLIGHT = 16,         /* a call waits for those before it: a few microseconds */
    LOOK_EACH = 200 * 1000, /* nanoseconds between two looks at who had to wait */
    TIMES = 1000 * 1000,    /* of a microsecond each; longer ones count as the longest */
    VALUE_BYTES = 32,
    AFTERMATH = 2, /* seconds for which the end of a bucket may be felt, */
    EXPIRY = 10,   /* and expiry */
    TTL_MS = 3000, /* so that some are gone while others are still put */
    CONTROL = 10,  /* seconds that the control of a phase takes at most */
};

#define NODE "kv_stall@" PROGRAM_HOST

struct bench {
    struct program program;
    struct link link;
    erlang_pid bucket, bystander;
    uint64_t number; /* of the last call */
    uint64_t asked[IN_FLIGHT];
    uint64_t answered;
    uint64_t longest, longest_own;
    uint32_t *times;
    int schedules[2];        /* of node and client */
    uint64_t looked, waited; /* when they were looked at, and what they had waited then */
};

struct phase {
    const char *name;
    struct template *message;
    uint64_t first, last; /* keys */
};

/* ---- who had to wait ------------------------------------------------------------------------- */

static uint64_t waited(const struct bench *bench)
{
    return schedule_waited(bench->schedules[0]) + schedule_waited(bench->schedules[1]);
}

static void look(struct bench *bench, uint64_t time)
{
    bench->waited = waited(bench);
    bench->looked = time;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void ask(struct bench *bench, struct template *message, uint64_t key)
{
    char text[BUCKET_KEY_BYTES];
    bucket_key(text, key);
    bucket_set_key(message, text);
    bench->number++;
    bench->asked[bench->number % IN_FLIGHT] = now();
    bucket_queue(&bench->link, message, bench->number);
}

/* Answers come in the order of the calls: all are one process's. */
static void take(struct bench *bench, struct kv_bytes frame, uint64_t expected, uint64_t time)
{
    uint32_t caller = 0;
    uint64_t number = 0;
    bucket_answered(frame, &caller, &number);
    if (number != expected) {
        FAIL("the answer to another call");
    }
    const uint64_t took = time - bench->asked[number % IN_FLIGHT];
    bench->times[took / 1000 < TIMES ? took / 1000 : TIMES - 1]++;
    bench->answered++;
    if (took > bench->longest) {
        bench->longest = took;
    }
    if (took <= bench->longest_own) {
        return;
    }
    const uint64_t others = waited(bench) - bench->waited;
    if (took > others && took - others > bench->longest_own) {
        bench->longest_own = took - others;
    }
}

/* ---- phases ---------------------------------------------------------------------------------- */

static void begin(struct bench *bench)
{
    memset(bench->times, 0, TIMES * sizeof(*bench->times));
    bench->answered = 0;
    bench->longest = 0;
    bench->longest_own = 0;
    look(bench, now());
}

static unsigned percentile(const struct bench *bench, double share)
{
    uint64_t left = (uint64_t)((double)bench->answered * share);
    unsigned at = 0;
    while (at + 1 < TIMES && left >= bench->times[at]) {
        left -= bench->times[at++];
    }
    return at;
}

static void end(const struct bench *bench, const char *name, uint64_t start)
{
    const double seconds = (double)(now() - start) / 1e9;
    const struct control control = control_compute(seconds < CONTROL ? seconds : CONTROL);
    printf("phase=%s calls=%" PRIu64 " calls_per_second=%.0f longest_us=%" PRIu64
           " longest_own_us=%" PRIu64 " p9999_us=%u p50_us=%u control_us=%" PRIu64
           " control_own_us=%" PRIu64 "\n",
           name, bench->answered, (double)bench->answered / seconds, bench->longest / 1000,
           bench->longest_own / 1000, percentile(bench, 0.9999), percentile(bench, 0.5),
           control.longest / 1000, control.longest_own / 1000);
    fflush(stdout);
}

static void tell_control(const char *name, struct control control)
{
    printf("control=%s longest_us=%" PRIu64 " longest_own_us=%" PRIu64 "\n", name,
           control.longest / 1000, control.longest_own / 1000);
    fflush(stdout);
}

/* One message for each key, with some in flight. */
static void run(struct bench *bench, const struct phase *phase)
{
    const uint64_t start = now();
    const uint64_t before = bench->number;
    struct kv_bytes frame;
    begin(bench);
    for (uint64_t key = phase->first;
         key < phase->last || bench->answered < bench->number - before;) {
        for (; key < phase->last && bench->number - before - bench->answered < IN_FLIGHT; key++) {
            ask(bench, phase->message, key);
        }
        link_flush(&bench->link);
        link_next(&bench->link, &frame);
        const uint64_t time = now();
        do {
            take(bench, frame, before + bench->answered + 1, time);
        } while (link_next_buffered(&bench->link, &frame));
        if (time - bench->looked > LOOK_EACH) {
            look(bench, time);
        }
    }
    end(bench, phase->name, start);
}

/* One call after the other, for so long. */
static void look_on(struct bench *bench, const char *name, struct template *message, double seconds)
{
    const uint64_t start = now();
    struct kv_bytes frame;
    begin(bench);
    do {
        ask(bench, message, 0);
        link_flush(&bench->link);
        link_next(&bench->link, &frame);
        const uint64_t time = now();
        take(bench, frame, bench->number, time);
        if (time - bench->looked > LOOK_EACH) {
            look(bench, time);
        }
    } while (now() - start < (uint64_t)(seconds * 1e9));
    end(bench, name, start);
}

struct templates {
    struct template put, put_expiring, delete, get;
};

static void make_templates(const struct bench *bench, struct templates *to)
{
    ei_x_buff value;
    ei_x_new(&value);
    ei_x_encode_binary(&value, "................................", VALUE_BYTES);
    bucket_call(&to->put, &bench->bucket, BUCKET_GEN_CALL, 0, "put", &value, 1);
    bucket_call(&to->delete, &bench->bucket, BUCKET_GEN_CALL, 0, "delete", NULL, 0);
    bucket_call(&to->get, &bench->bystander, BUCKET_GEN_CALL, 0, "get", NULL, 0);
    ei_x_encode_long(&value, TTL_MS);
    bucket_call(&to->put_expiring, &bench->bucket, BUCKET_GEN_CALL, 0, "put", &value, 2);
    ei_x_free(&value);
}

static void all_phases(struct bench *bench, uint64_t entries)
{
    static struct templates all;
    make_templates(bench, &all);
    tell_control("computes", control_compute(AFTERMATH));
    tell_control("sleeps", control_sleep(AFTERMATH));
    tell_control("touches_memory", control_touch(AFTERMATH));
    look_on(bench, "idle", &all.get, AFTERMATH);
    run(bench, &(struct phase){"grow", &all.put, 0, entries});
    run(bench, &(struct phase){"delete", &all.delete, 0, entries / 2});
    run(bench, &(struct phase){"grow_again", &all.put, 0, entries / 2});
    run(bench, &(struct phase){"expire", &all.put_expiring, entries, 2 * entries});
    look_on(bench, "expired", &all.get, EXPIRY);
    bucket_kill(&bench->link, &bench->bucket);
    look_on(bench, "drop", &all.get, AFTERMATH);
}

/* ---- options --------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    static const struct option options[] = {{"entries", required_argument, NULL, 'e'},
                                            {NULL, 0, NULL, 0}};
    static struct bench bench;
    uint64_t entries = ENTRIES;
    bool valid = true;
    for (int option; (option = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
        valid = valid && option == 'e';
        if (valid) {
            entries = (uint64_t)number_within(optarg, 1, ENTRIES_MAX);
        }
    }
    if (!valid || optind >= argc) {
        FAIL("usage: stall [--entries N] PROGRAM [ARGUMENT...]\n"
             "PROGRAM is a kv_node, ARGUMENTs are for it; needs an EPMD at ERL_EPMD_PORT");
    }
    bench.times = calloc(TIMES, sizeof(*bench.times));
    if (!bench.times) {
        FAIL("out of memory");
    }
    ei_init();
    program_start(&bench.program, argv[optind], NODE, argv + optind + 1);
    link_open(&bench.link, bench.program.port, NODE, PROGRAM_COOKIE);
    bench.schedules[0] = schedule_open(bench.program.pid);
    bench.schedules[1] = schedule_open(getpid());
    bucket_spawn(&bench.link, NULL, &bench.bucket);
    bucket_spawn(&bench.link, NULL, &bench.bystander);
    all_phases(&bench, entries);
    link_close(&bench.link);
    program_stop(&bench.program);
    free(bench.times);
    return 0;
}
