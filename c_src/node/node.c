#include "node/node.h"

#include "observe/observe.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

enum { HEAP_KEPT = 8 << 20, MAPPED_FROM = 1 << 20 };

/* ---- ending ---------------------------------------------------------------------------------- */

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void end(struct kv_node *node, int status)
{
    if (node->stopping) {
        return;
    }
    node->stopping = true;
    node->status = status;
    kv_connections_close(&node->connections);
    if (node->is_resolving) {
        (void)uv_cancel((uv_req_t *)&node->resolving);
    }
    uv_walk(&node->loop, close_handle, NULL);
}

void kv_node_stop(struct kv_node *node)
{
    end(node, 0);
}

static const char *fatal_word(enum kv_fatal reason)
{
    switch (reason) {
#define KV_FATAL_WORD(name, word, status)                                                          \
    case KV_FATAL_##name:                                                                          \
        return word;
        KV_FATAL_MAP(KV_FATAL_WORD)
#undef KV_FATAL_WORD
    }
    return "internal";
}

void kv_node_fatal(struct kv_node *node, enum kv_fatal reason, const char *format, ...)
{
    if (node->stopping) {
        return;
    }
    char kind[64];
    char text[KV_LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)snprintf(kind, sizeof(kind), "fatal %s", fatal_word(reason));
    kv_log_last(&node->log, kind, text);
    end(node, (int)reason);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    kv_node_stop(handle->data);
}

/* On a leash a node ends when the leash does. A signal that goes to the whole of a container, a
 * service or a terminal is meant for the VM, whose processes still use ours while they stop.
 * Without a leash, too, these neither end it nor do anything else: there is no file to read again,
 * and SIGUSR1, with which a VM writes its crash dump, is best survived by whoever gets it as well.
 */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        (void)signal(ignored[i], SIG_IGN);
    }
}

/* Without a leash SIGTERM and SIGINT stop the node in order, and SIGQUIT at once, with a core. */
static int watch_signals(struct kv_node *node)
{
    if (node->options.leash || uv_is_active((uv_handle_t *)&node->terminate)) {
        return 0;
    }
    (void)signal(SIGQUIT, SIG_DFL);
    int error = uv_signal_start(&node->terminate, on_signal, SIGTERM);
    return error != 0 ? error : uv_signal_start(&node->interrupt, on_signal, SIGINT);
}

/* ---- the runtime ----------------------------------------------------------------------------- */

static void sink_send(void *context, void *carrier, const struct kv_signal *signal)
{
    (void)context;
    kv_output_signal(carrier, signal);
}

static bool sink_is_full(void *context, const void *carrier)
{
    const struct kv_connection *connection = carrier;
    (void)context;
    return (connection->held & KV_HELD_FOR_OUTPUT) != 0;
}

static void sink_log(void *context, enum kv_log_level level, const char *line)
{
    struct kv_node *node = context;
    kv_log_text(&node->log, level, line);
}

static void sink_now(void *context, struct kv_date *date)
{
    time_t seconds = time(NULL);
    struct tm local = {0};
    (void)context;
    (void)localtime_r(&seconds, &local);
    *date = (struct kv_date){
        .year = local.tm_year + 1900,
        .month = local.tm_mon + 1,
        .day = local.tm_mday,
        .hour = local.tm_hour,
        .minute = local.tm_min,
        .second = local.tm_sec,
    };
}

static uint64_t sink_clock(void *context)
{
    struct kv_node *node = context;
    return uv_now(&node->loop);
}

/* The VM whose processes may be away for a while. */
static struct kv_bytes kept_vm(const struct kv_options *options)
{
    bool keeps = options->leash && options->reconnect_timeout > 0;
    return kv_bytes_text(keeps ? options->vm : "");
}

/* What every node offers, and then what this program adds. */
static int start_services(struct kv_node *node)
{
    const struct kv_node_parts parts = {
        .runtime = node->runtime, .arena = node->arena, .zeros = node->options.zeros};
    int error = kv_services_start(node->runtime, &node->store);
    if (error == KV_OK) {
        error = kv_observe_start(node->runtime, &node->world);
    }
    if (error == KV_OK && node->setup->start != NULL) {
        error = node->setup->start(node->setup->context, &parts);
    }
    return error;
}

static bool start_runtime(struct kv_node *node, uint32_t creation)
{
    struct kv_runtime_options options = {
        .node = kv_bytes_text(node->options.name),
        .vm = kept_vm(&node->options),
        .creation = creation,
        .get_state = node->options.get_state,
        .sink = {.context = node,
                 .send = sink_send,
                 .log = sink_log,
                 .now = sink_now,
                 .clock = sink_clock,
                 .is_full = sink_is_full},
    };
    if (RAND_bytes((unsigned char *)&node->hash_key, sizeof(node->hash_key)) != 1) {
        kv_node_fatal(node, KV_FATAL_INTERNAL, "%s", kv_error_text(KV_ERANDOM));
        return false;
    }
    node->since = uv_now(&node->loop);
    options.hash_key = node->hash_key;
    node->store = (struct kv_store){
        .arena = node->arena, .zeros = node->options.zeros, .hash_key = node->hash_key};
    node->world = kv_node_world(node);
    node->runtime = kv_runtime_new(&options);
    int error = start_services(node);
    if (error != KV_OK) {
        kv_node_fatal(node, KV_FATAL_INTERNAL, "cannot start the services: %s",
                      kv_error_text(error));
        return false;
    }
    return true;
}

/* ---- coming up ------------------------------------------------------------------------------- */

void kv_node_cookie_changed(struct kv_node *node)
{
    node->identity.cookie = kv_bytes(node->options.cookie, node->options.cookie_length);
}

void kv_node_published(struct kv_node *node, uint32_t creation)
{
    node->identity = (struct kv_identity){
        .name = kv_bytes_text(node->options.name),
        .flags = KV_DFLAGS_OFFERED,
        .creation = creation,
    };
    kv_node_cookie_changed(node);
    if (!kv_node_open_arena(node) || !start_runtime(node, creation)) {
        return;
    }
    char text[KV_LOG_LINE_MAX];
    (void)snprintf(text, sizeof(text), "name=%s port=%u creation=%lu version=%s",
                   node->options.name, (unsigned)node->listener.port, (unsigned long)creation,
                   KV_VERSION);
    kv_log_event(&node->log, "ready", text);
    kv_pace_init(&node->connections.pace, node->options.follow, node->options.gather,
                 node->options.spin);
    kv_ticks_start(&node->connections);
    kv_listener_open(&node->listener);
}

static const char *listening_host(const struct kv_node *node)
{
    const struct kv_options *options = &node->options;
    return options->bind[0] != '\0' ? options->bind : kv_options_host(options);
}

/* IPv4 first: it is what a BEAM listens on unless it is told otherwise. */
static const struct addrinfo *choose(const struct addrinfo *found)
{
    for (const struct addrinfo *one = found; one != NULL; one = one->ai_next) {
        if (one->ai_family == AF_INET) {
            return one;
        }
    }
    return found;
}

static void resolved(struct kv_node *node, const struct addrinfo *chosen)
{
    struct sockaddr_storage address = {0};
    memcpy(&address, chosen->ai_addr, chosen->ai_addrlen);
    int error = kv_listener_start(&node->listener, node, (struct sockaddr *)&address);
    if (error != 0) {
        kv_node_fatal(node, KV_FATAL_PORT_TAKEN,
                      "cannot listen at %s port %u (%s): choose another --port, or an address of "
                      "this machine with --bind",
                      listening_host(node), (unsigned)node->options.port, uv_strerror(error));
        return;
    }
    kv_publication_start(&node->publication, node, node->listener.port);
}

static void on_resolved(uv_getaddrinfo_t *resolving, int status, struct addrinfo *found)
{
    struct kv_node *node = resolving->data;
    node->is_resolving = false;
    const struct addrinfo *chosen = choose(found);
    if (chosen != NULL && !node->stopping) {
        resolved(node, chosen);
    } else {
        kv_node_fatal(node, KV_FATAL_HOST_UNRESOLVED,
                      "%s has no address (%s): is the host part of --name right?",
                      listening_host(node), uv_strerror(status));
    }
    uv_freeaddrinfo(found);
}

void kv_node_configured(struct kv_node *node)
{
    char port[sizeof("65535")];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    node->log.level = node->options.log_level;
    (void)snprintf(port, sizeof(port), "%hu", (unsigned short)node->options.port);
    node->resolving.data = node;
    int error = watch_signals(node); /* the leash may have been let go of in the last lines */
    if (error != 0) {
        kv_node_fatal(node, KV_FATAL_INTERNAL, "cannot watch for signals: %s", uv_strerror(error));
        return;
    }
    error = uv_getaddrinfo(&node->loop, &node->resolving, on_resolved, listening_host(node), port,
                           &hints);
    if (error != 0) {
        kv_node_fatal(node, KV_FATAL_HOST_UNRESOLVED, "%s: %s", listening_host(node),
                      uv_strerror(error));
        return;
    }
    node->is_resolving = true;
}

/* ---- the process ----------------------------------------------------------------------------- */

/* Else a socket would get the number of a standard stream that was closed. */
static void open_standard_streams(void)
{
    int fd = 0;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* One peer is one file: the soft limit of 1024 is not ours. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void init_handles(struct kv_node *node)
{
    uv_signal_init(&node->loop, &node->terminate);
    uv_signal_init(&node->loop, &node->interrupt);
    uv_timer_init(&node->loop, &node->absence.timer);
    node->terminate.data = node;
    node->interrupt.data = node;
    node->absence.timer.data = node;
}

static void start(struct kv_node *node, bool options_ok, const struct kv_option_error *wrong)
{
    init_handles(node);
    int error = kv_connections_init(&node->connections, node);
    if (error == 0) {
        error = watch_signals(node);
    }
    if (error != 0) {
        kv_node_fatal(node, KV_FATAL_INTERNAL, "%s", uv_strerror(error));
    } else if (!options_ok) {
        kv_node_fatal(node, KV_FATAL_BAD_OPTION, "%s", wrong->text);
    } else {
        kv_leash_start(&node->leash, node);
    }
}

static int finish(struct kv_node *node)
{
    int status = node->status;
    bool is_resolving = node->is_resolving;
    if (node->runtime != NULL) {
        kv_runtime_free(node->runtime);
    }
    kv_connections_finish(&node->connections);
    kv_node_close_arena(node); /* last: what still waited to be sent had some of it pinned */
    kv_publication_finish(&node->publication);
    kv_leash_finish(&node->leash);
    kv_log_finish(&node->log);
    OPENSSL_cleanse(node->options.cookie, sizeof(node->options.cookie));
    if (is_resolving) {
        _exit(status); /* a resolver that waits for the network would keep us from ending */
    }
    return uv_loop_close(&node->loop) == 0 ? status : (int)KV_FATAL_INTERNAL;
}

/* False: nothing is left that could happen. */
static bool run_turn(struct kv_node *node)
{
    bool alive = uv_run(&node->loop, UV_RUN_ONCE) != 0;
    while (alive && kv_pace_is_worth_looking(&node->connections.pace)) {
        alive = uv_run(&node->loop, UV_RUN_NOWAIT) != 0;
    }
    return alive;
}

static int run(struct kv_node *node, bool options_ok, const struct kv_option_error *wrong)
{
    if (uv_loop_init(&node->loop) != 0) {
        (void)printf("fatal internal no event loop\n");
        return (int)KV_FATAL_INTERNAL;
    }
    kv_log_init(&node->log, &node->loop);
    start(node, options_ok, wrong);
    /* A resolver at work in its thread counts as alive: it is not waited for when we stop. */
    while (run_turn(node) && !(node->stopping && node->is_resolving)) {
    }
    return finish(node);
}

/* Without these settings malloc would return the memory of each large message to the system, and
 * ask for it again for the next one. */
static void keep_some_heap(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_FROM);
#endif
}

int kv_node_main(int argc, char **argv, const struct kv_node_setup *setup)
{
    keep_some_heap();
    ignore_signals();
    struct kv_node node = {.setup = setup};
    struct kv_option_error wrong = {{0}};
    enum kv_command command = KV_COMMAND_RUN;
    bool ok = kv_options_init(&node.options, &wrong);
    ok = kv_options_arguments(&node.options, argc, argv, &command, &wrong) && ok;
    if (command == KV_COMMAND_HELP) {
        return !kv_options_print_usage(stdout);
    }
    if (command == KV_COMMAND_VERSION) {
        return printf("kv_node %s\n", KV_VERSION) < 0;
    }
    open_standard_streams();
    raise_file_limit();
    return run(&node, ok, &wrong);
}
