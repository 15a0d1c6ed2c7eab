#include "support/fake_net.h"

#include "base/alloc.h"
#include "net/input.h"
#include "net/output.h"

#include <criterion/criterion.h>
#include <kv/process.h>
#include <sys/mman.h>
#include <unistd.h>

#define COOKIE "secret"
#define NODE   "kv@host"

enum { CREATION = 9, PEER_CREATION = 7, SEND_SENDER = 22, OUTPUT_MAX = 1 << 16 };

/* ---- the process ----------------------------------------------------------------------------- */

static const struct kv_behaviour behaviour;

static int init(struct kv_process *self, struct kv_bytes options, struct kv_buffer *reason)
{
    (void)self;
    (void)options;
    (void)reason;
    return KV_OK;
}

static void begin_process(struct kv_process *self)
{
    struct kv_pid pid;
    struct kv_buffer reason = KV_BUFFER_INIT;
    int error = kv_spawn(kv_process_runtime(self), &behaviour, kv_bytes(NULL, 0), &pid, &reason);
    cr_assert_eq(error, KV_OK);
    kv_buffer_free(&reason);
}

static void handle_info(struct kv_process *self, struct kv_bytes message)
{
    struct kv_reader reader = kv_reader(message);
    struct kv_pid pid;
    uint32_t size = 0;
    uint32_t arity = 0;
    if (kv_read_tuple(&reader, &arity) == KV_OK && arity >= 2 &&
        kv_read_pid(&reader, &pid) == KV_OK && kv_read_u32(&reader, &size) == KV_OK) {
        struct kv_buffer answer = KV_BUFFER_INIT;
        if (size == FAKE_SPAWN) {
            begin_process(self);
        }
        void *bytes = kv_zalloc(size + 1);
        kv_write_binary(&answer, kv_bytes(bytes, size));
        kv_send(self, &pid, kv_buffer_bytes(&answer));
        kv_buffer_free(&answer);
        kv_free(bytes);
    }
}

static const struct kv_behaviour behaviour = {
    .module = "echo",
    .init = init,
    .handle_info = handle_info,
};

/* ---- the net --------------------------------------------------------------------------------- */

static void sink_send(void *context, void *carrier, const struct kv_signal *signal)
{
    (void)context;
    kv_output_signal(carrier, signal);
}

static void sink_log(void *context, enum kv_log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

static void sink_now(void *context, struct kv_date *date)
{
    (void)context;
    *date = (struct kv_date){.year = 2026, .month = 1, .day = 1};
}

static uint64_t sink_clock(void *context)
{
    struct fake_net *net = context;
    return uv_now(&net->loop);
}

static void sink_rest(void *context)
{
    struct fake_net *net = context;
    kv_input_rest(&net->connections);
}

static void heard(void *context)
{
    struct fake_net *net = context;
    net->heard++;
}

static void hurry(void *context)
{
    struct fake_net *net = context;
    net->hurried++;
    kv_connections_write(&net->connections);
}

static void capture_output(struct fake_net *net)
{
    net->output = memfd_create("output", MFD_CLOEXEC);
    cr_assert(net->output >= 0 && dup2(net->output, STDOUT_FILENO) >= 0);
}

static void start_runtime(struct fake_net *net)
{
    struct kv_runtime_options options = {
        .node = kv_bytes_text(NODE),
        .creation = CREATION,
        .hash_key = {1, 2},
        .sink = {.context = net,
                 .send = sink_send,
                 .log = sink_log,
                 .now = sink_now,
                 .clock = sink_clock,
                 .rest = sink_rest},
    };
    struct kv_buffer reason = KV_BUFFER_INIT;
    net->net.runtime = kv_runtime_new(&options);
    int error = kv_spawn(net->net.runtime, &behaviour, kv_bytes(NULL, 0), &net->process, &reason);
    cr_assert_eq(error, KV_OK);
    kv_buffer_free(&reason);
}

struct fake_net *fake_net_new(void)
{
    struct fake_net *net = calloc(1, sizeof(*net));
    capture_output(net);
    cr_assert_eq(uv_loop_init(&net->loop), 0);
    kv_log_init(&net->log, &net->loop);
    net->log.level = KV_LOG_DEBUG;
    net->net = (struct kv_net){
        .loop = &net->loop,
        .log = &net->log,
        .limits = {.ticktime = 60,
                   .handshake_timeout = 7000,
                   .max_frame = 1 << 18,
                   .max_depth = 1000,
                   .max_peers = 8,
                   .max_pending = 1 << 21,
                   .max_queue = 1 << 20},
        .identity = {.name = kv_bytes_text(NODE),
                     .flags = KV_DFLAGS_OFFERED,
                     .creation = CREATION,
                     .cookie = kv_bytes_text(COOKIE)},
        .hash_key = {3, 4},
        .context = net,
        .heard = heard,
        .hurry = hurry,
    };
    kv_connections_init(&net->connections, &net->net);
    kv_ticks_init(&net->ticks, &net->connections);
    cr_assert_eq(kv_pending_init(&net->pending, &net->connections), 0);
    kv_ticks_start(&net->ticks);
    start_runtime(net);
    return net;
}

static void reap_all(struct fake_net *net)
{
    for (size_t i = 0; i < net->count; i++) {
        fake_reap(&net->fakes[i]);
    }
}

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    uv_close(handle, NULL);
}

void fake_net_free(struct fake_net *net)
{
    net->net.stopping = true;
    kv_connections_close(&net->connections);
    reap_all(net);
    kv_runtime_free(net->net.runtime);
    uv_walk(&net->loop, close_handle, NULL);
    (void)uv_run(&net->loop, UV_RUN_DEFAULT);
    kv_pending_finish(&net->pending);
    kv_connections_finish(&net->connections);
    kv_log_finish(&net->log);
    cr_assert_eq(uv_loop_close(&net->loop), 0);
    for (size_t i = 0; i < net->count; i++) {
        fake_free(&net->fakes[i]);
    }
    (void)close(net->output);
    free(net);
    cr_assert_eq(kv_alloc_outstanding(), 0, "something is left in memory");
}

void fake_net_turn(struct fake_net *net)
{
    kv_input_begin_turn(&net->connections);
    kv_ticks_judge(&net->ticks);
    (void)kv_runtime_step(net->net.runtime);
    do {
        kv_connections_close_doomed(&net->connections);
        kv_connections_write(&net->connections);
        (void)kv_input_resume(&net->connections);
    } while (kv_connections_are_unsettled(&net->connections));
    reap_all(net);
}

void fake_net_move_clock(struct fake_net *net, int64_t milliseconds)
{
    net->loop.time += (uint64_t)milliseconds;
}

void fake_net_fire(struct fake_net *net, uv_timer_t *timer)
{
    timer->timer_cb(timer);
    fake_net_turn(net);
}

static const char *log_lines(const struct fake_net *net)
{
    static char lines[OUTPUT_MAX];
    ssize_t length = pread(net->output, lines, sizeof(lines) - 1, 0);
    cr_assert(length >= 0);
    lines[length] = '\0';
    return lines;
}

bool fake_net_logged(const struct fake_net *net, const char *text)
{
    return strstr(log_lines(net), text) != NULL;
}

unsigned fake_net_logged_times(const struct fake_net *net, const char *text)
{
    unsigned times = 0;
    for (const char *at = strstr(log_lines(net), text); at != NULL; at = strstr(at + 1, text)) {
        times++;
    }
    return times;
}

/* ---- peers ----------------------------------------------------------------------------------- */

struct fake *fake_connect(struct fake_net *net)
{
    cr_assert(net->count < FAKES);
    struct fake *fake = &net->fakes[net->count++];
    fake_init(fake);
    cr_assert_eq(kv_pending_add(&net->pending, &fake->stream), 0);
    return fake;
}

struct kv_connection *fake_connection(const struct fake *fake)
{
    return fake->stream.user;
}

void fake_send_name(struct fake *fake, const char *name, size_t piece)
{
    struct kv_buffer message = KV_BUFFER_INIT;
    struct kv_bytes text = kv_bytes_text(name);
    kv_buffer_u16(&message, (uint16_t)(15 + text.length));
    kv_buffer_u8(&message, 'N');
    kv_buffer_u64(&message, KV_DFLAGS_OFFERED);
    kv_buffer_u32(&message, PEER_CREATION);
    kv_buffer_u16(&message, (uint16_t)text.length);
    kv_buffer_append(&message, text);
    (void)fake_send(fake, kv_buffer_bytes(&message), piece);
    kv_buffer_free(&message);
}

/* Behind the status is our challenge: length:16, $N, flags:64, challenge:32. */
static uint32_t challenge_of(const struct fake *fake)
{
    struct kv_bytes taken = kv_buffer_bytes(&fake->taken);
    cr_assert(taken.length > 20 && memcmp(taken.data + 2, "sok", 3) == 0);
    return kv_get32(taken.data + 5 + 2 + 1 + 8);
}

void fake_send_reply(struct fake *fake, const char *cookie, size_t piece)
{
    uint8_t digest[KV_DIGEST_SIZE];
    struct kv_buffer message = KV_BUFFER_INIT;
    cr_assert_eq(kv_handshake_digest(kv_bytes_text(cookie), challenge_of(fake), digest), KV_OK);
    kv_buffer_u16(&message, 5 + KV_DIGEST_SIZE);
    kv_buffer_u8(&message, 'r');
    kv_buffer_u32(&message, 4711);
    kv_buffer_append(&message, kv_bytes(digest, sizeof(digest)));
    (void)fake_send(fake, kv_buffer_bytes(&message), piece);
    kv_buffer_free(&message);
}

struct fake *fake_peer(struct fake_net *net, const char *name)
{
    struct fake *fake = fake_connect(net);
    fake_send_name(fake, name, ALL);
    fake_net_turn(net);
    fake_send_reply(fake, COOKIE, ALL);
    fake_net_turn(net);
    cr_assert(!fake->closed && fake_connection(fake)->peer != NULL, "%s is up", name);
    fake->seen = fake->taken.length;
    return fake;
}

void fake_request(struct kv_buffer *to, const struct fake_net *net, const char *peer, uint32_t n,
                  uint32_t size)
{
    struct kv_pid from = {
        .node = kv_bytes_text(peer), .id = n, .serial = 0, .creation = PEER_CREATION};
    struct kv_buffer content = KV_BUFFER_INIT;
    kv_buffer_u8(&content, KV_TERM_VERSION);
    kv_buffer_u8(&content, KV_FRAME_WHOLE);
    kv_buffer_u8(&content, 0);
    kv_write_tuple(&content, 3);
    kv_write_u64(&content, SEND_SENDER);
    kv_write_pid(&content, &from);
    kv_write_pid(&content, &net->process);
    kv_write_tuple(&content, 2);
    kv_write_pid(&content, &from);
    kv_write_u64(&content, size);
    kv_buffer_u32(to, (uint32_t)content.length);
    kv_buffer_append(to, kv_buffer_bytes(&content));
    kv_buffer_free(&content);
}

/* Returns the terms of a request with a list of so many pairs behind it. */
static struct kv_buffer long_terms(const struct fake_net *net, const char *peer, uint32_t n,
                                   uint32_t pairs, uint8_t last)
{
    const struct kv_pid from = {
        .node = kv_bytes_text(peer), .id = n, .serial = 0, .creation = PEER_CREATION};
    struct kv_buffer to = KV_BUFFER_INIT;
    kv_buffer_u8(&to, 0);
    kv_write_tuple(&to, 3);
    kv_write_u64(&to, SEND_SENDER);
    kv_write_pid(&to, &from);
    kv_write_pid(&to, &net->process);
    kv_write_tuple(&to, 3);
    kv_write_pid(&to, &from);
    kv_write_u64(&to, 1);
    kv_write_list(&to, pairs);
    for (uint32_t i = 0; i < pairs; i++) {
        kv_write_map(&to, 2);
        kv_write_u64(&to, i);
        kv_write_nil(&to);
        kv_write_atom_text(&to, "key");
        kv_write_u64(&to, 1);
    }
    kv_buffer_u8(&to, last);
    return to;
}

void fake_long_request(struct kv_buffer *to, const struct fake_net *net, const char *peer,
                       uint32_t n, uint32_t pairs, uint8_t last)
{
    struct kv_buffer terms = long_terms(net, peer, n, pairs, last);
    uint64_t id = (terms.length + KV_FRAGMENT_SIZE - 1) / KV_FRAGMENT_SIZE;
    for (size_t at = 0; at < terms.length; id--) {
        const size_t left = terms.length - at;
        const size_t length = left < KV_FRAGMENT_SIZE ? left : KV_FRAGMENT_SIZE;
        kv_buffer_u32(to, (uint32_t)(KV_FRAGMENT_HEADER + length));
        kv_buffer_u8(to, KV_TERM_VERSION);
        kv_buffer_u8(to, at == 0 ? KV_FRAME_FIRST : KV_FRAME_OTHER);
        kv_buffer_u64(to, n);
        kv_buffer_u64(to, id);
        kv_buffer_append(to, kv_bytes(terms.data + at, length));
        at += length;
    }
    kv_buffer_free(&terms);
}

void fake_long_frame(struct kv_buffer *to, const struct fake_net *net, const char *peer, uint32_t n,
                     uint32_t pairs, uint8_t last)
{
    struct kv_buffer terms = long_terms(net, peer, n, pairs, last);
    kv_buffer_u32(to, (uint32_t)(2 + terms.length));
    kv_buffer_u8(to, KV_TERM_VERSION);
    kv_buffer_u8(to, KV_FRAME_WHOLE);
    kv_buffer_append(to, kv_buffer_bytes(&terms));
    kv_buffer_free(&terms);
}

bool fake_frame(struct fake *fake, struct kv_bytes *frame)
{
    struct kv_bytes taken = kv_buffer_bytes(&fake->taken);
    struct kv_bytes rest = kv_bytes(taken.data + fake->seen, taken.length - fake->seen);
    size_t consumed = 0;
    if (kv_frame_next(rest, SIZE_MAX, frame, &consumed) != KV_OK) {
        return false;
    }
    fake->seen += consumed;
    return true;
}

size_t fake_messages(struct fake *fake)
{
    struct kv_bytes frame;
    size_t count = 0;
    while (fake_frame(fake, &frame)) {
        count += frame.length > 0;
    }
    return count;
}
