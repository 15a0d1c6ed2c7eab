/* The node alone: how many calls a second it answers when the caller costs almost nothing.
 *
 * Starts a kv_node, connects to it as a BEAM node would, fills one bucket, and then keeps `depth`
 * calls in flight, each from a process of its own: MONITOR_P, {'$gen_call', {Pid, [alias|Ref]},
 * {get, Key, nil}}, the reply, DEMONITOR_P: what gen_server:call/2 puts on the wire. A caller that
 * has its reply makes its next call at once; what belongs to replies that came together leaves in
 * one write. */
#include "base/endian.h"
#include "fail.h"
#include "link.h"
#include "program.h"

#include <ei.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <unistd.h>

enum {
    DEPTH_MAX = 4096,
    KEY_BYTES = 20,
    TERMS_MAX = 512,
    REF_BYTES = 8,          /* the part of a reference that tells a caller's calls apart */
    LATENCIES = 100 * 1000, /* of a microsecond each; longer ones count as the longest */
    ALIAS_SEND = 33,
    SEND = 2,
    SEND_SENDER = 22,
    SPAWN_REPLY = 31,
};

#define NODE "kv_alone@" PROGRAM_HOST

static const uint8_t mark[REF_BYTES] = {0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed, 0xfa, 0xce};
static const char key_mark[KEY_BYTES + 1] = "key-################";

/* A message that is always the same but for its reference and its key. */
struct template
{
    uint8_t terms[TERMS_MAX];
    size_t length;
    size_t references[3];
    int reference_count;
    size_t key;
};

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
    uint32_t keys;
    size_t value_bytes;
    bool monitors;
};

struct bench {
    struct settings settings;
    struct program program;
    struct link link;
    erlang_pid bucket;
    ei_x_buff value; /* encoded */
    char (*keys)[KEY_BYTES];
    uint64_t random;
    uint64_t answered;
    uint32_t *latencies;
    struct caller callers[DEPTH_MAX];
};

static void name_self(const char **node, int *creation)
{
    *node = LINK_NODE;
    *creation = LINK_CREATION;
}

static erlang_pid pid_of(int caller)
{
    erlang_pid pid = {.num = (unsigned)caller + 1};
    const char *node = NULL;
    int creation = 0;
    name_self(&node, &creation);
    pid.creation = (unsigned)creation;
    snprintf(pid.node, sizeof(pid.node), "%s", node);
    return pid;
}

static erlang_ref ref_of(int caller)
{
    erlang_ref ref = {.len = 3, .n = {(unsigned)caller, kv_get32(mark), kv_get32(mark + 4)}};
    const char *node = NULL;
    int creation = 0;
    name_self(&node, &creation);
    ref.creation = (unsigned)creation;
    snprintf(ref.node, sizeof(ref.node), "%s", node);
    return ref;
}

/* ---- what is sent ---------------------------------------------------------------------------- */

static void begin(ei_x_buff *terms, int arity, long operation)
{
    ei_x_new(terms);
    ei_x_encode_tuple_header(terms, arity);
    ei_x_encode_long(terms, operation);
}

/* The part of a message that says what is asked of whom, up to the arguments. */
static void begin_call(ei_x_buff *terms, const struct bench *bench, int caller, int arity,
                       const char *operation)
{
    const erlang_pid from = pid_of(caller);
    const erlang_ref ref = ref_of(caller);
    begin(terms, 3, SEND_SENDER);
    ei_x_encode_pid(terms, &from);
    ei_x_encode_pid(terms, &bench->bucket);
    ei_x_encode_tuple_header(terms, 3);
    ei_x_encode_atom(terms, "$gen_call");
    ei_x_encode_tuple_header(terms, 2);
    ei_x_encode_pid(terms, &from);
    ei_x_encode_list_header(terms, 1);
    ei_x_encode_atom(terms, "alias");
    ei_x_encode_ref(terms, &ref);
    ei_x_encode_tuple_header(terms, arity);
    ei_x_encode_atom(terms, operation);
}

static void compile(struct template *template, ei_x_buff *terms)
{
    const size_t length = (size_t)terms->index;
    if (length > TERMS_MAX)
        FAIL("a message of %zu bytes", length);
    *template = (struct template){.length = length};
    memcpy(template->terms, terms->buff, length);
    for (size_t at = 0; at + KEY_BYTES <= length; at++) {
        if (memcmp(template->terms + at, mark, REF_BYTES) == 0)
            template->references[template->reference_count++] = at;
        if (memcmp(template->terms + at, key_mark, KEY_BYTES) == 0)
            template->key = at;
    }
    if (memcmp(template->terms + length - REF_BYTES, mark, REF_BYTES) == 0)
        template->references[template->reference_count++] = length - REF_BYTES;
    ei_x_free(terms);
}

static void compile_monitor(struct template *template, const struct bench *bench, int caller,
                            long operation)
{
    const erlang_pid from = pid_of(caller);
    const erlang_ref ref = ref_of(caller);
    ei_x_buff terms;
    begin(&terms, 4, operation);
    ei_x_encode_pid(&terms, &from);
    ei_x_encode_pid(&terms, &bench->bucket);
    ei_x_encode_ref(&terms, &ref);
    compile(template, &terms);
}

static void compile_caller(struct bench *bench, int caller)
{
    struct caller *templates = &bench->callers[caller];
    ei_x_buff terms;
    begin_call(&terms, bench, caller, 3, "get");
    ei_x_encode_binary(&terms, key_mark, KEY_BYTES);
    ei_x_encode_atom(&terms, "nil");
    compile(&templates->call, &terms);
    compile_monitor(&templates->monitor, bench, caller, 19);
    compile_monitor(&templates->demonitor, bench, caller, 20);
}

static void queue(struct bench *bench, struct template *template, uint64_t number)
{
    for (int i = 0; i < template->reference_count; i++)
        kv_set64(template->terms + template->references[i], number);
    link_queue(&bench->link, template->terms, template->length);
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
    caller->calls++;
    caller->asked = time;
    memcpy(caller->call.terms + caller->call.key, bench->keys[any_key(bench)], KEY_BYTES);
    if (bench->settings.monitors)
        queue(bench, &caller->monitor, caller->calls);
    queue(bench, &caller->call, caller->calls);
}

/* ---- what comes ------------------------------------------------------------------------------ */

/* Moves *at behind the node name of a pid or a reference whose tag was read. */
static bool skip_atom(struct kv_bytes frame, size_t *at)
{
    if (*at + 2 > frame.length || frame.data[*at] != 119)
        return false;
    *at += 2 + (size_t)frame.data[*at + 1];
    return *at < frame.length;
}

/* {33, From, Ref} in front, as it is on the wire. ei would take longer for this than the node for
 * the whole call. */
static bool read_reply(struct kv_bytes frame, uint32_t *caller, uint64_t *number)
{
    static const uint8_t head[] = {104, 3, 97, ALIAS_SEND, 88};
    size_t at = sizeof(head);
    if (frame.length < at || memcmp(frame.data, head, at) != 0 || !skip_atom(frame, &at))
        return false;
    at += 12;
    if (at + 3 > frame.length || frame.data[at] != 90 || kv_get16(frame.data + at + 1) != 3)
        return false;
    at += 3;
    if (!skip_atom(frame, &at) || at + 16 > frame.length)
        return false;
    *caller = kv_get32(frame.data + at + 4);
    *number = kv_get64(frame.data + at + 8);
    return true;
}

static bool ends_with_value(const struct bench *bench, struct kv_bytes frame)
{
    const size_t length = (size_t)bench->value.index;
    return frame.length > length &&
           memcmp(frame.data + frame.length - length, bench->value.buff, length) == 0;
}

static struct caller *answered(struct bench *bench, struct kv_bytes frame)
{
    uint32_t index = 0;
    uint64_t number = 0;
    if (!read_reply(frame, &index, &number) || index >= DEPTH_MAX ||
        number != bench->callers[index].calls)
        FAIL("an answer that was not asked for");
    return &bench->callers[index];
}

/* ---- the bucket ------------------------------------------------------------------------------ */

static void request_bucket(struct bench *bench)
{
    const erlang_pid self = pid_of(0);
    const erlang_ref ref = ref_of(0);
    ei_x_buff terms;
    begin(&terms, 6, 29);
    ei_x_encode_ref(&terms, &ref);
    ei_x_encode_pid(&terms, &self);
    ei_x_encode_pid(&terms, &self);
    ei_x_encode_tuple_header(&terms, 3);
    ei_x_encode_atom(&terms, "kv_bucket");
    ei_x_encode_atom(&terms, "init");
    ei_x_encode_long(&terms, 1);
    ei_x_encode_empty_list(&terms);
    ei_x_encode_list_header(&terms, 1); /* the arguments: [[]] */
    ei_x_encode_empty_list(&terms);
    ei_x_encode_empty_list(&terms);
    link_queue(&bench->link, (uint8_t *)terms.buff, (size_t)terms.index);
    ei_x_free(&terms);
}

static void spawn_bucket(struct bench *bench)
{
    struct kv_bytes frame;
    request_bucket(bench);
    link_flush(&bench->link);
    link_next(&bench->link, &frame);
    const char *bytes = (const char *)frame.data;
    int at = 0;
    int arity = 0;
    long operation = 0;
    /* {31, Ref, To, Flags, Pid}, from a program that we trust. */
    if (ei_decode_tuple_header(bytes, &at, &arity) != 0 || arity != 5 ||
        ei_decode_long(bytes, &at, &operation) != 0 || operation != SPAWN_REPLY)
        FAIL("no answer to the request for a bucket");
    for (int i = 0; i < 3; i++)
        ei_skip_term(bytes, &at);
    if (ei_decode_pid(bytes, &at, &bench->bucket) != 0)
        FAIL("the node makes no bucket");
}

static void fill_bucket(struct bench *bench)
{
    struct kv_bytes frame;
    struct caller *caller = &bench->callers[0];
    for (uint32_t i = 0; i < bench->settings.keys; i++) {
        ei_x_buff terms;
        begin_call(&terms, bench, 0, 3, "put");
        ei_x_encode_binary(&terms, bench->keys[i], KEY_BYTES);
        ei_x_append(&terms, &bench->value);
        /* The marks stand for call number `calls`: made equal, so that the answer is known. */
        caller->calls = kv_get64(mark);
        link_queue(&bench->link, (uint8_t *)terms.buff, (size_t)terms.index);
        ei_x_free(&terms);
        link_flush(&bench->link);
        link_next(&bench->link, &frame);
        answered(bench, frame);
    }
    caller->calls = 0;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void next_call(struct bench *bench, struct kv_bytes frame, uint64_t time, bool more)
{
    struct caller *caller = answered(bench, frame);
    if (!ends_with_value(bench, frame))
        FAIL("another value than was put");
    uint64_t microseconds = (time - caller->asked) / 1000;
    bench->latencies[microseconds < LATENCIES ? microseconds : LATENCIES - 1]++;
    bench->answered++;
    if (bench->settings.monitors)
        queue(bench, &caller->demonitor, caller->calls);
    if (more)
        call(bench, caller, time);
}

/* Runs for that long and lets the calls come to their end. Answers nanoseconds. */
static uint64_t run(struct bench *bench, double seconds)
{
    struct kv_bytes frame;
    const uint64_t start = now();
    const uint64_t end = start + (uint64_t)(seconds * 1e9);
    uint64_t time = start;
    int in_flight = bench->settings.depth;
    memset(bench->latencies, 0, LATENCIES * sizeof(*bench->latencies));
    bench->answered = 0;
    for (int i = 0; i < bench->settings.depth; i++)
        call(bench, &bench->callers[i], time);
    while (in_flight > 0) {
        link_flush(&bench->link);
        link_next(&bench->link, &frame);
        time = now();
        do {
            next_call(bench, frame, time, time < end);
            in_flight -= time < end ? 0 : 1;
        } while (link_next_buffered(&bench->link, &frame));
    }
    link_flush(&bench->link);
    return time - start;
}

static unsigned percentile(const struct bench *bench, double share)
{
    uint64_t left = (uint64_t)((double)bench->answered * share);
    unsigned at = 0;
    while (at + 1 < LATENCIES && left >= bench->latencies[at])
        left -= bench->latencies[at++];
    return at;
}

static void round_trip(struct bench *bench, int number)
{
    const uint64_t node = processor_time(bench->program.pid);
    const uint64_t self = processor_time(getpid());
    const double elapsed = (double)run(bench, bench->settings.seconds);
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
    FAIL("usage: node_alone [--depth N] [--seconds S] [--rounds N] [--keys N] [--value-bytes N]\n"
         "                  [--no-monitors] PROGRAM [ARGUMENT...]\n"
         "PROGRAM is a kv_node, ARGUMENTs are for it; needs an EPMD at ERL_EPMD_PORT");
}

static struct settings read_settings(int argc, char **argv)
{
    static const struct option options[] = {{"depth", required_argument, NULL, 'd'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"keys", required_argument, NULL, 'k'},
                                            {"value-bytes", required_argument, NULL, 'v'},
                                            {"no-monitors", no_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    struct settings settings = {
        .depth = 256, .rounds = 5, .seconds = 2, .keys = 1000, .value_bytes = 10, .monitors = true};
    /* '+': what comes behind the program is for the program. */
    for (int option; (option = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
        switch (option) {
        case 'd':
            settings.depth = atoi(optarg);
            break;
        case 's':
            settings.seconds = atof(optarg);
            break;
        case 'r':
            settings.rounds = atoi(optarg);
            break;
        case 'k':
            settings.keys = (uint32_t)atoi(optarg);
            break;
        case 'v':
            settings.value_bytes = (size_t)atoi(optarg);
            break;
        case 'n':
            settings.monitors = false;
            break;
        default:
            usage();
        }
    }
    if (optind >= argc || settings.depth < 1 || settings.depth > DEPTH_MAX || settings.keys < 1 ||
        settings.rounds < 1)
        usage();
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
    if (!bench->latencies || !bench->keys || !value)
        FAIL("out of memory");
    for (uint32_t i = 0; i < settings->keys; i++) {
        char text[KEY_BYTES + 1];
        snprintf(text, sizeof(text), "key-%016u", i);
        memcpy(bench->keys[i], text, KEY_BYTES);
    }
    memset(value, 'v', settings->value_bytes);
    ei_x_new(&bench->value);
    ei_x_encode_binary(&bench->value, value, (int)settings->value_bytes);
    free(value);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    bench.settings = read_settings(argc, argv);
    ei_init();
    prepare(&bench);
    program_start(&bench.program, bench.settings.program, NODE, bench.settings.extra);
    link_open(&bench.link, bench.program.port, NODE, PROGRAM_COOKIE);
    spawn_bucket(&bench);
    for (int i = 0; i < bench.settings.depth; i++)
        compile_caller(&bench, i);
    fill_bucket(&bench);
    run(&bench, bench.settings.seconds / 4);
    for (int i = 1; i <= bench.settings.rounds; i++)
        round_trip(&bench, i);
    link_close(&bench.link);
    program_stop(&bench.program);
    free(bench.keys);
    free(bench.latencies);
    ei_x_free(&bench.value);
    return 0;
}
