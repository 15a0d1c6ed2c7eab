/* The node alone: how many calls a second it answers when the caller costs almost nothing.
 *
 * Starts a kv_node, connects to it as a BEAM node would, fills one bucket, and then keeps `depth`
 * calls in flight, each from a process of its own: MONITOR_P, {'$gen_call', {Pid, [alias|Ref]},
 * {get, Key, nil}}, the reply, DEMONITOR_P: what gen_server:call/2 puts on the wire. A caller that
 * has its reply makes its next call at once; what belongs to replies that came together leaves in
 * one write, or in several if there is so much of it that the node, on a processor of its own,
 * could begin with it. */
#include "bucket.h"
#include "fail.h"
#include "program.h"

#include <getopt.h>
#include <unistd.h>

enum {
    DEPTH_MAX = 4096,
    KEYS_MAX = 10 * 1000 * 1000,
    VALUE_MAX = 32 * 1024,  /* larger ones come in fragments */
    LATENCIES = 100 * 1000, /* of a microsecond each; longer ones count as the longest */
    PLENTY = 32 * 1024,     /* bytes of calls that are not kept back until all replies are read */
    MONITOR = 19,
    DEMONITOR = 20,
};

#define NODE "kv_alone@" PROGRAM_HOST

struct caller {
    struct template monitor, call, demonitor;
    uint64_t calls;
    uint64_t asked;
};

struct settings {
    const char *program;
    char **extra;
    int depth;
    int rounds;
    double seconds;
    uint64_t calls; /* of a round; 0: a round lasts as long as `seconds` says */
    uint32_t keys;
    size_t value_bytes;
    bool monitors;
    bool puts;
    bool durable;
    enum bucket_form form;
};

struct bench {
    struct settings settings;
    struct program program;
    struct link link;
    erlang_pid bucket;
    ei_x_buff value;  /* encoded */
    ei_x_buff answer; /* the end of an answer */
    char (*keys)[BUCKET_KEY_BYTES];
    uint64_t random;
    uint64_t asked; /* in this round, */
    uint64_t answered;
    uint32_t *latencies;
    struct caller callers[DEPTH_MAX];
};

static void prepare_caller(struct bench *bench, int caller)
{
    struct caller *templates = &bench->callers[caller];
    const enum bucket_form form = bench->settings.form;
    ei_x_buff nil;
    ei_x_new(&nil);
    ei_x_encode_atom(&nil, "nil");
    if (bench->settings.puts) {
        bucket_call(&templates->call, &bench->bucket, form, caller, "put", &bench->value, 1);
    } else {
        bucket_call(&templates->call, &bench->bucket, form, caller, "get", &nil, 1);
    }
    bucket_monitor(&templates->monitor, &bench->bucket, caller, MONITOR);
    bucket_monitor(&templates->demonitor, &bench->bucket, caller, DEMONITOR);
    ei_x_free(&nil);
}

static uint32_t any_key(struct bench *bench)
{
    bench->random ^= bench->random << 13;
    bench->random ^= bench->random >> 7;
    bench->random ^= bench->random << 17;
    return (uint32_t)(bench->random % bench->settings.keys);
}

static void call(struct bench *bench, struct caller *caller, uint64_t time)
{
    bench->asked++;
    caller->calls++;
    caller->asked = time;
    bucket_set_key(&caller->call, bench->keys[any_key(bench)]);
    if (bench->settings.monitors) {
        bucket_queue(&bench->link, &caller->monitor, caller->calls);
    }
    bucket_queue(&bench->link, &caller->call, caller->calls);
}

static struct caller *answered(struct bench *bench, struct kv_bytes frame)
{
    uint32_t index = 0;
    uint64_t number = 0;
    bucket_answered(frame, &index, &number);
    if (index >= DEPTH_MAX || number != bench->callers[index].calls) {
        FAIL("an answer that was not asked for");
    }
    return &bench->callers[index];
}

static bool is_right(const struct bench *bench, struct kv_bytes frame)
{
    const size_t length = (size_t)bench->answer.index;
    return frame.length > length &&
           memcmp(frame.data + frame.length - length, bench->answer.buff, length) == 0;
}

static void fill_bucket(struct bench *bench)
{
    static struct template put;
    struct kv_bytes frame;
    bucket_call(&put, &bench->bucket, bench->settings.form, 0, "put", &bench->value, 1);
    for (uint32_t i = 0; i < bench->settings.keys; i++) {
        bucket_set_key(&put, bench->keys[i]);
        bucket_queue(&bench->link, &put, ++bench->callers[0].calls);
        link_flush(&bench->link);
        link_next(&bench->link, &frame);
        answered(bench, frame);
    }
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void next_call(struct bench *bench, struct kv_bytes frame, uint64_t time, bool more)
{
    struct caller *caller = answered(bench, frame);
    if (!is_right(bench, frame)) {
        FAIL("another answer than was expected");
    }
    uint64_t microseconds = (time - caller->asked) / 1000;
    bench->latencies[microseconds < LATENCIES ? microseconds : LATENCIES - 1]++;
    bench->answered++;
    if (bench->settings.monitors) {
        bucket_queue(&bench->link, &caller->demonitor, caller->calls);
    }
    if (more) {
        call(bench, caller, time);
    }
}

/* How long a round is: the first of the two that is reached ends it. */
struct extent {
    double seconds;
    uint64_t calls;
};

static struct extent share_of_round(const struct bench *bench, unsigned divisor)
{
    const struct settings *settings = &bench->settings;
    return settings->calls > 0 ? (struct extent){1e9, settings->calls / divisor}
                               : (struct extent){settings->seconds / divisor, UINT64_MAX};
}

/* Runs for so long and lets the calls come to their end. Returns nanoseconds. */
static uint64_t run(struct bench *bench, struct extent extent)
{
    struct kv_bytes frame;
    const uint64_t start = now();
    const uint64_t end = start + (uint64_t)(extent.seconds * 1e9);
    uint64_t time = start;
    int in_flight = bench->settings.depth;
    memset(bench->latencies, 0, LATENCIES * sizeof(*bench->latencies));
    bench->answered = 0;
    bench->asked = 0;
    for (int i = 0; i < bench->settings.depth; i++) {
        call(bench, &bench->callers[i], time);
    }
    while (in_flight > 0) {
        link_flush(&bench->link);
        link_next(&bench->link, &frame);
        time = now();
        do {
            const bool more = time < end && bench->asked < extent.calls;
            next_call(bench, frame, time, more);
            in_flight -= more ? 0 : 1;
            if (bench->link.is_apart && bench->link.queued >= PLENTY) {
                link_flush(&bench->link);
            }
        } while (link_next_buffered(&bench->link, &frame));
    }
    link_flush(&bench->link);
    return time - start;
}

static unsigned percentile(const struct bench *bench, double share)
{
    uint64_t left = (uint64_t)((double)bench->answered * share);
    unsigned at = 0;
    while (at + 1 < LATENCIES && left >= bench->latencies[at]) {
        left -= bench->latencies[at++];
    }
    return at;
}

static void round_trip(struct bench *bench, int number)
{
    const uint64_t node = processor_time(bench->program.pid);
    const uint64_t self = processor_time(getpid());
    const double elapsed = (double)run(bench, share_of_round(bench, 1));
    const double calls = (double)bench->answered;
    printf("round=%d calls_per_second=%.0f node_ns_per_call=%.0f client_ns_per_call=%.0f p50_us=%u "
           "p99_us=%u\n",
           number, calls / elapsed * 1e9,
           (double)(processor_time(bench->program.pid) - node) / calls,
           (double)(processor_time(getpid()) - self) / calls, percentile(bench, 0.5),
           percentile(bench, 0.99));
    fflush(stdout);
}

/* ---- options --------------------------------------------------------------------------------- */

static void usage(void)
{
    FAIL(
        "usage: node_alone [--depth N] [--seconds S | --calls N] [--rounds N] [--keys N]\n"
        "                  [--value-bytes N] [--no-monitors | --kv-calls] [--puts] [--durable]\n"
        "                  PROGRAM [ARGUMENT...]\n"
        "PROGRAM is a kv_node, ARGUMENTs are for it (--durable needs --data-dir); needs an EPMD at "
        "ERL_EPMD_PORT");
}

static struct settings read_settings(int argc, char **argv)
{
    static const struct option options[] = {{"depth", required_argument, NULL, 'd'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"keys", required_argument, NULL, 'k'},
                                            {"value-bytes", required_argument, NULL, 'v'},
                                            {"no-monitors", no_argument, NULL, 'n'},
                                            {"kv-calls", no_argument, NULL, 'c'},
                                            {"calls", required_argument, NULL, 'C'},
                                            {"puts", no_argument, NULL, 'p'},
                                            {"durable", no_argument, NULL, 'D'},
                                            {NULL, 0, NULL, 0}};
    struct settings settings = {
        .depth = 256, .rounds = 5, .seconds = 2, .keys = 1000, .value_bytes = 10, .monitors = true};
    /* '+': what comes behind the program is for the program. */
    for (int option; (option = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
        switch (option) {
        case 'd':
            settings.depth = (int)number_within(optarg, 1, DEPTH_MAX);
            break;
        case 's':
            settings.seconds = strtod(optarg, NULL);
            break;
        case 'C':
            settings.calls = (uint64_t)number_within(optarg, 1, 1000L * 1000 * 1000);
            break;
        case 'r':
            settings.rounds = (int)number_within(optarg, 1, 1000);
            break;
        case 'k':
            settings.keys = (uint32_t)number_within(optarg, 1, KEYS_MAX);
            break;
        case 'v':
            settings.value_bytes = (size_t)number_within(optarg, 0, VALUE_MAX);
            break;
        case 'n':
            settings.monitors = false;
            break;
        case 'c':
            settings.monitors = false;
            settings.form = BUCKET_KV_CALL;
            break;
        case 'p':
            settings.puts = true;
            break;
        case 'D':
            settings.durable = true;
            break;
        default:
            usage();
        }
    }
    if (optind >= argc || !(settings.seconds > 0)) {
        usage();
    }
    settings.program = argv[optind];
    settings.extra = argv + optind + 1;
    return settings;
}

static void prepare(struct bench *bench)
{
    const struct settings *settings = &bench->settings;
    bench->random = 88172645463325252U;
    bench->latencies = calloc(LATENCIES, sizeof(*bench->latencies));
    bench->keys = calloc(settings->keys, sizeof(*bench->keys));
    char *value = calloc(1, settings->value_bytes + 1);
    if (!bench->latencies || !bench->keys || !value) {
        FAIL("out of memory");
    }
    for (uint32_t i = 0; i < settings->keys; i++) {
        bucket_key(bench->keys[i], i);
    }
    memset(value, 'v', settings->value_bytes);
    ei_x_new(&bench->value);
    ei_x_encode_binary(&bench->value, value, (int)settings->value_bytes);
    free(value);
    ei_x_new(&bench->answer);
    if (settings->puts) {
        ei_x_encode_atom(&bench->answer, "ok");
    } else {
        ei_x_append(&bench->answer, &bench->value);
    }
}

int main(int argc, char **argv)
{
    static struct bench bench;
    bench.settings = read_settings(argc, argv);
    ei_init();
    prepare(&bench);
    program_start(&bench.program, bench.settings.program, NODE, bench.settings.extra);
    link_open(&bench.link, bench.program.port, NODE, PROGRAM_COOKIE);
    bucket_spawn(&bench.link, bench.settings.durable ? "bench" : NULL, &bench.bucket);
    for (int i = 0; i < bench.settings.depth; i++) {
        prepare_caller(&bench, i);
    }
    fill_bucket(&bench);
    run(&bench, share_of_round(&bench, 4));
    for (int i = 1; i <= bench.settings.rounds; i++) {
        round_trip(&bench, i);
    }
    link_close(&bench.link);
    program_stop(&bench.program);
    free(bench.keys);
    free(bench.latencies);
    ei_x_free(&bench.value);
    ei_x_free(&bench.answer);
    return 0;
}
