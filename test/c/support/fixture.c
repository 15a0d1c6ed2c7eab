#include "support/fixture.h"
#include "support/store_model.h"

#include "base/alloc.h"
#include "kv/durable.h"
#include "server/server.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { RING = 256, ARENA_SIZE = 1 << 29 };

static size_t outstanding_before;

/* ---- terms -------------------------------------------------------------------------------------
 */

struct kv_buffer *term_buffer(void)
{
    static struct kv_buffer terms[RING];
    static size_t next;
    struct kv_buffer *term = &terms[next++ % RING];
    /* Not through kv_alloc(): memory of the tests is no leak of the runtime. */
    kv_buffer_clear(term);
    if (term->capacity == 0) {
        term->capacity = 1 << 16;
        term->data = malloc(term->capacity);
    }
    return term;
}

struct kv_bytes term_atom(const char *text)
{
    struct kv_buffer *term = term_buffer();
    kv_write_atom_text(term, text);
    return kv_buffer_bytes(term);
}

struct kv_bytes term_binary(const char *text)
{
    struct kv_buffer *term = term_buffer();
    kv_write_binary_text(term, text);
    return kv_buffer_bytes(term);
}

struct kv_bytes term_integer(int64_t value)
{
    struct kv_buffer *term = term_buffer();
    kv_write_i64(term, value);
    return kv_buffer_bytes(term);
}

struct kv_bytes term_pid(const struct kv_pid *pid)
{
    struct kv_buffer *term = term_buffer();
    kv_write_pid(term, pid);
    return kv_buffer_bytes(term);
}

static uint32_t write_elements(struct kv_buffer *to, const struct kv_bytes *elements,
                               uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        kv_write_term(to, elements[i]);
    }
    return count;
}

static uint32_t count_elements(const struct kv_bytes *elements, uint32_t most)
{
    uint32_t count = 0;
    while (count < most && elements[count].length > 0) {
        count++;
    }
    return count;
}

struct kv_bytes term_tuple(struct kv_bytes a, struct kv_bytes b, struct kv_bytes c,
                           struct kv_bytes d)
{
    struct kv_bytes elements[] = {a, b, c, d};
    uint32_t count = count_elements(elements, 4);
    struct kv_buffer *term = term_buffer();
    kv_write_tuple(term, count);
    write_elements(term, elements, count);
    return kv_buffer_bytes(term);
}

struct kv_bytes term_list(struct kv_bytes a, struct kv_bytes b, struct kv_bytes c)
{
    struct kv_bytes elements[] = {a, b, c};
    uint32_t count = count_elements(elements, 3);
    struct kv_buffer *term = term_buffer();
    if (count > 0) {
        kv_write_list(term, count);
        write_elements(term, elements, count);
    }
    kv_write_nil(term);
    return kv_buffer_bytes(term);
}

struct kv_bytes term_from(const struct kv_pid *pid, const struct kv_ref *alias)
{
    struct kv_buffer *term = term_buffer();
    kv_write_tuple(term, 2);
    kv_write_pid(term, pid);
    kv_write_list(term, 1);
    kv_write_atom_text(term, "alias");
    kv_write_ref(term, alias);
    return kv_buffer_bytes(term);
}

/* ---- identifiers -------------------------------------------------------------------------------
 */

struct kv_pid pid_a(uint32_t n)
{
    return (struct kv_pid){.node = kv_bytes_text("a@host"), .id = n, .creation = 7};
}

struct kv_pid pid_b(uint32_t n)
{
    return (struct kv_pid){.node = kv_bytes_text("b@host"), .id = n, .creation = 8};
}

struct kv_ref ref_a(uint32_t n)
{
    return (struct kv_ref){
        .node = kv_bytes_text("a@host"), .creation = 7, .count = 3, .words = {n, 1, 2}};
}

struct kv_ref ref_b(uint32_t n)
{
    return (struct kv_ref){
        .node = kv_bytes_text("b@host"), .creation = 8, .count = 3, .words = {n, 1, 2}};
}

/* ---- what leaves -------------------------------------------------------------------------------
 */

static struct kv_bytes keep(struct kv_buffer *to, struct kv_bytes bytes)
{
    size_t start = to->length;
    cr_assert_leq(start + bytes.length, to->capacity);
    if (bytes.length > 0) {
        memcpy(to->data + start, bytes.data, bytes.length);
        to->length += bytes.length;
    }
    return kv_bytes(to->data + start, bytes.length);
}

static void record(void *context, void *carrier, const struct kv_signal *signal)
{
    struct fixture *fixture = context;
    if (fixture->look != NULL) {
        fixture->look(signal);
    }
    cr_assert_lt(fixture->sent_count, (size_t)FIXTURE_MAX_SENT);
    struct sent *sent = &fixture->sent[fixture->sent_count++];
    size_t length = signal->name.length + signal->from.node.length + signal->to.node.length +
                    signal->ref.node.length;
    for (unsigned i = 0; i < signal->payload_parts; i++) {
        length += signal->payload[i].length;
    }
    sent->to = carrier;
    sent->signal = *signal;
    sent->bytes = (struct kv_buffer){.data = malloc(length + 1), .capacity = length + 1};
    size_t start = sent->bytes.length;
    for (unsigned i = 0; i < signal->payload_parts; i++) {
        (void)keep(&sent->bytes, signal->payload[i]);
    }
    sent->signal.payload[0] = kv_bytes(sent->bytes.data, sent->bytes.length - start);
    sent->signal.payload_parts = 1;
    sent->signal.name = keep(&sent->bytes, signal->name);
    sent->signal.from.node = keep(&sent->bytes, signal->from.node);
    sent->signal.to.node = keep(&sent->bytes, signal->to.node);
    sent->signal.ref.node = keep(&sent->bytes, signal->ref.node);
}

static void ignore_log(void *context, enum kv_log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

static void fixed_date(void *context, struct kv_date *date)
{
    (void)context;
    *date = (struct kv_date){2026, 11, 21, 9, 30, 59};
}

static uint64_t clock_of_test(void *context)
{
    return ((struct fixture *)context)->clock;
}

static void fixed_stats(void *context, struct kv_stats *stats)
{
    (void)context;
    *stats = (struct kv_stats){.uptime_ms = 1000,
                               .cpu_us = 20,
                               .resident = 3000,
                               .heap_used = 400,
                               .heap_reserved = 500,
                               .bytes_in = 60,
                               .bytes_out = 70,
                               .buffers = 80,
                               .connections = 2,
                               .connection_limit = 9,
                               .processors = 4,
                               .kinds = {{"entries", 5, 6}},
                               .monotonic_ns = UINT64_C(5000000000),
                               .system_ns = UINT64_C(1800000000000000000),
                               .output_limit = 90,
                               .machine = "test machine",
                               .versions = "kv test"};
}

static void one_connection(void *context,
                           void (*visit)(void *visitor, const struct kv_connection_info *info),
                           void *visitor)
{
    (void)context;
    struct kv_connection_info info = {.peer = kv_bytes_text("a@host"),
                                      .local = "127.0.0.1:1",
                                      .remote = "127.0.0.1:2",
                                      .fd = 7,
                                      .bytes_in = 11,
                                      .bytes_out = 12};
    visit(visitor, &info);
}

void forget(struct fixture *fixture)
{
    for (size_t i = 0; i < fixture->sent_count; i++) {
        free(fixture->sent[i].bytes.data);
    }
    fixture->sent_count = 0;
}

const struct sent *sent_of(const struct fixture *fixture, enum kv_signal_kind kind, size_t n)
{
    for (size_t i = 0; i < fixture->sent_count; i++) {
        if (fixture->sent[i].signal.kind == kind && n-- == 0) {
            return &fixture->sent[i];
        }
    }
    return NULL;
}

size_t count_of(const struct fixture *fixture, enum kv_signal_kind kind)
{
    size_t count = 0;
    while (sent_of(fixture, kind, count) != NULL) {
        count++;
    }
    return count;
}

struct kv_bytes payload_of(const struct sent *sent)
{
    cr_assert_not_null(sent, "no such signal has been sent");
    return sent->signal.payload[0];
}

/* ---- what comes in -----------------------------------------------------------------------------
 */

void feed(struct fixture *fixture, struct kv_peer *peer, const struct kv_signal *signal)
{
    const struct kv_incoming incoming = {.signal = *signal};
    cr_assert_eq(kv_runtime_receive(fixture->runtime, peer, &incoming), KV_OK);
    while (!fixture->stepwise && kv_runtime_step(fixture->runtime)) {
    }
}

void feed_message(struct fixture *fixture, struct kv_peer *peer, const struct kv_pid *to,
                  struct kv_bytes message)
{
    struct kv_signal signal = {
        .kind = KV_SIGNAL_MESSAGE, .to = *to, .payload = {message}, .payload_parts = 1};
    feed(fixture, peer, &signal);
}

void feed_link(struct fixture *fixture, struct kv_peer *peer, const struct kv_pid *from,
               const struct kv_pid *to)
{
    struct kv_signal signal = {.kind = KV_SIGNAL_LINK, .from = *from, .to = *to};
    feed(fixture, peer, &signal);
}

void feed_unlink(struct fixture *fixture, struct kv_peer *peer, const struct kv_pid *from,
                 const struct kv_pid *to, uint64_t id)
{
    struct kv_signal signal = {.kind = KV_SIGNAL_UNLINK, .from = *from, .to = *to, .unlink_id = id};
    feed(fixture, peer, &signal);
}

void feed_monitor(struct fixture *fixture, struct kv_peer *peer, const struct kv_pid *from,
                  const struct kv_pid *to, const struct kv_ref *ref)
{
    struct kv_signal signal = {.kind = KV_SIGNAL_MONITOR, .from = *from, .to = *to, .ref = *ref};
    feed(fixture, peer, &signal);
}

void feed_exit(struct fixture *fixture, struct kv_peer *peer, enum kv_signal_kind kind,
               const struct kv_pid *from, const struct kv_pid *to, struct kv_bytes reason)
{
    struct kv_signal signal = {
        .kind = kind, .from = *from, .to = *to, .payload = {reason}, .payload_parts = 1};
    feed(fixture, peer, &signal);
}

struct kv_pid feed_spawn(struct fixture *fixture, struct kv_peer *peer, const char *module,
                         struct kv_bytes spawn_options, struct kv_bytes options)
{
    size_t before = count_of(fixture, KV_SIGNAL_SPAWN_REPLY);
    struct kv_signal signal = {
        .kind = KV_SIGNAL_SPAWN_REQUEST,
        .from = peer == fixture->a ? pid_a(1) : pid_b(1),
        .ref = peer == fixture->a ? ref_a(99) : ref_b(99),
        .group_leader = pid_a(2),
        .spawn = {.module = kv_bytes_text(module), .function = kv_bytes_text("init"), .arity = 1},
        .spawn_options = spawn_options,
        .payload = {term_list(options, NONE, NONE)},
        .payload_parts = 1,
    };
    feed(fixture, peer, &signal);
    const struct sent *reply = sent_of(fixture, KV_SIGNAL_SPAWN_REPLY, before);
    cr_assert_not_null(reply);
    return reply->signal.by_name ? (struct kv_pid){0} : reply->signal.from;
}

const struct sent *feed_spawn_of(struct fixture *fixture, const char *module, const char *function,
                                 uint32_t arity, struct kv_bytes spawn_options,
                                 struct kv_bytes arguments)
{
    struct kv_signal request = {
        .kind = KV_SIGNAL_SPAWN_REQUEST,
        .from = pid_a(1),
        .ref = ref_a(98),
        .group_leader = pid_a(2),
        .spawn = {kv_bytes_text(module), kv_bytes_text(function), arity},
        .spawn_options = spawn_options,
        .payload = {arguments},
        .payload_parts = 1,
    };
    forget(fixture);
    feed(fixture, fixture->a, &request);
    const struct sent *reply = sent_of(fixture, KV_SIGNAL_SPAWN_REPLY, 0);
    cr_assert_not_null(reply);
    return reply;
}

struct fixture *fixture_with_services(void)
{
    struct fixture *fixture = fixture_new();
    cr_assert_eq(kv_services_start(fixture->runtime, &fixture->store), KV_OK);
    return fixture;
}

struct kv_pid feed_registry(struct fixture *fixture, struct kv_bytes option)
{
    struct kv_pid pid = feed_spawn(fixture, fixture->a, "kv_registry", term_list(NONE, NONE, NONE),
                                   term_list(option, NONE, NONE));
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

struct fixture *bucket_fixture(struct kv_pid *bucket)
{
    struct fixture *fixture = fixture_with_services();
    struct kv_bytes none = term_list(NONE, NONE, NONE);
    *bucket = feed_spawn(fixture, fixture->a, "kv_bucket", none, none);
    bucket->node = kv_bytes_text(FIXTURE_NODE);
    return fixture;
}

static struct kv_bytes ask(struct fixture *fixture, const char *kind, const struct kv_pid *to,
                           struct kv_bytes request)
{
    size_t before = count_of(fixture, KV_SIGNAL_MESSAGE_ALIAS);
    struct kv_pid from = pid_a(1);
    struct kv_ref alias = ref_a(12345);
    struct kv_bytes from_term = term_from(&from, &alias);
    feed_message(fixture, fixture->a, to, term_tuple(term_atom(kind), from_term, request, NONE));
    const struct sent *reply = sent_of(fixture, KV_SIGNAL_MESSAGE_ALIAS, before);
    if (reply == NULL) {
        return NONE;
    }
    struct kv_bytes tag = NONE;
    struct kv_bytes answer = NONE;
    struct kv_reader reader = kv_reader(payload_of(reply));
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &tag), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &answer), KV_OK);
    cr_assert(kv_ref_equal(&reply->signal.ref, &alias));
    return answer;
}

struct kv_bytes call(struct fixture *fixture, const struct kv_pid *to, struct kv_bytes request)
{
    return ask(fixture, "$gen_call", to, request);
}

struct kv_bytes system_call(struct fixture *fixture, const struct kv_pid *to,
                            struct kv_bytes request)
{
    return ask(fixture, "system", to, request);
}

void feed_call(struct fixture *fixture, const struct kv_pid *to, const char *tag, uint32_t n,
               struct kv_bytes request)
{
    struct kv_buffer message = KV_BUFFER_INIT;
    struct kv_pid caller = pid_a(1);
    struct kv_ref alias = ref_a(n);
    kv_write_tuple(&message, 3);
    kv_write_atom_text(&message, tag);
    kv_write_term(&message, term_from(&caller, &alias));
    kv_write_term(&message, request);
    feed_message(fixture, fixture->a, to, kv_buffer_bytes(&message));
    kv_buffer_free(&message);
}

struct kv_bytes answer_at(const struct fixture *fixture, uint32_t n)
{
    const struct sent *sent;
    struct kv_ref alias = ref_a(n);
    for (size_t i = 0; (sent = sent_of(fixture, KV_SIGNAL_MESSAGE_ALIAS, i)) != NULL; i++) {
        struct kv_bytes answer = NONE;
        struct kv_reader reader = kv_reader(payload_of(sent));
        if (kv_ref_equal(&sent->signal.ref, &alias)) {
            (void)kv_read_tuple_of(&reader, 2);
            (void)kv_read_any(&reader, NULL);
            (void)kv_read_any(&reader, &answer);
            return answer;
        }
    }
    return NONE;
}

unsigned run_to_the_end(const struct fixture *fixture)
{
    enum { TURNS_MAX = 1000 };
    unsigned turns = 0;
    while (kv_runtime_step(fixture->runtime)) {
        turns++;
        cr_assert_lt(turns, (unsigned)TURNS_MAX);
    }
    return turns;
}

struct kv_pid pid_in(struct kv_bytes term)
{
    struct kv_pid pid = {0};
    struct kv_reader reader = kv_reader(term);
    cr_assert_eq(kv_read_pid(&reader, &pid), KV_OK);
    pid.node = kv_bytes_text(FIXTURE_NODE);
    return pid;
}

bool figure_in(struct kv_bytes figures, const char *name, uint64_t *figure)
{
    uint32_t count = 0;
    struct kv_reader list = kv_reader(figures);
    (void)kv_read_list(&list, &count);
    for (uint32_t i = 0; i < count; i++) {
        (void)kv_read_tuple_of(&list, 2);
        if (kv_read_this_atom(&list, name) == KV_OK) {
            *figure = UINT64_MAX;
            (void)kv_read_u64(&list, figure);
            return true;
        }
        (void)kv_read_any(&list, NULL);
        (void)kv_read_any(&list, NULL);
    }
    return false;
}

void cast(struct fixture *fixture, const struct kv_pid *to, struct kv_bytes request)
{
    feed_message(fixture, fixture->a, to, term_tuple(term_atom("$gen_cast"), request, NONE, NONE));
}

static bool is_full(void *context, const void *carrier)
{
    const struct fixture *fixture = context;
    return fixture->full != NULL &&
           kv_bytes_equal(kv_runtime_peer_name(fixture->full), kv_bytes_text(carrier));
}

/* ---- the fixture -------------------------------------------------------------------------------
 */

static struct fixture *make(enum kv_get_state get_state, const char *vm, bool keeps_all)
{
    static char name_a[] = "a@host";
    static char name_b[] = "b@host";
    outstanding_before = kv_alloc_outstanding();
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->memory = model_memory(ARENA_SIZE);
    fixture->arena = kv_arena_new(&fixture->memory, &(struct kv_arena_options){.max_memory = 0});
    struct kv_runtime_options options = {
        .node = kv_bytes_text(FIXTURE_NODE),
        .vm = kv_bytes_text(vm),
        .keeps_all = keeps_all,
        .creation = FIXTURE_CREATION,
        .hash_key = {.k0 = 1, .k1 = 2},
        .get_state = get_state,
        .generic = &kv_server,
        .sink = {.context = fixture,
                 .send = record,
                 .log = ignore_log,
                 .now = fixed_date,
                 .clock = clock_of_test,
                 .is_full = is_full},
    };
    fixture->store = (struct kv_store){.arena = fixture->arena, .hash_key = options.hash_key};
    fixture->world = (struct kv_world){.hash_key = options.hash_key,
                                       .facts = {.version = "0.1.0",
                                                 .port = 4711,
                                                 .max_frame = 1 << 20,
                                                 .reconnect_timeout = 60000},
                                       .context = fixture,
                                       .stats = fixed_stats,
                                       .each_connection = one_connection};
    fixture->runtime = kv_runtime_new(&options);
    fixture->a = kv_runtime_peer_up(fixture->runtime, kv_bytes_text(name_a), 7, name_a);
    fixture->b = kv_runtime_peer_up(fixture->runtime, kv_bytes_text(name_b), 8, name_b);
    return fixture;
}

struct fixture *fixture_new(void)
{
    return make(KV_GET_STATE_BARE, "", false);
}

struct fixture *fixture_answering(enum kv_get_state get_state)
{
    return make(get_state, "", false);
}

struct fixture *fixture_with_vm(const char *vm)
{
    return make(KV_GET_STATE_BARE, vm, false);
}

struct fixture *fixture_keeping_all(void)
{
    return make(KV_GET_STATE_BARE, "", true);
}

void fixture_free(struct fixture *fixture)
{
    forget(fixture);
    kv_runtime_free(fixture->runtime);
    if (fixture->store.durables != NULL) {
        kv_durables_free(fixture->store.durables);
    }
    kv_arena_free(fixture->arena);
    model_memory_free(&fixture->memory);
    free(fixture);
    if (kv_alloc_outstanding() != outstanding_before) {
        /* An assertion in a tear-down does not fail the test. */
        (void)fprintf(stderr, "%zu blocks were left behind\n",
                      kv_alloc_outstanding() - outstanding_before);
        abort();
    }
}
