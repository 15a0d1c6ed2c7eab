#include "node/node.h"

#include "node/config.h"
#include "node/footing.h"
#include "node/place.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { OLD_CREATIONS = 4 /* of nodes before OTP 23: 0 to 3 */ };

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
    if (node->net.stopping) {
        return;
    }
    node->net.stopping = true;
    node->status = status;
    kv_service_stopping(&node->service, NULL);
    kv_leash_stop(&node->leash);
    kv_node_metrics_stop(node);
    kv_lanes_close(&node->lanes);
    kv_memory_stop(&node->memory);
    kv_data_stop(&node->data);
    kv_connections_close(&node->connections);
    if (node->is_resolving) {
        (void)uv_cancel((uv_req_t *)&node->resolving);
    }
    kv_confine_stop(&node->confine);
    uv_walk(&node->loop, close_handle, NULL);
}

static void stop(struct kv_node *node)
{
    end(node, 0);
}

static void fail_with(struct kv_node *node, enum kv_fatal reason, const char *text)
{
    if (!node->net.stopping) {
        char kind[64];
        (void)snprintf(kind, sizeof(kind), "fatal %s", kv_fatal_word(reason));
        kv_log_last(&node->log, kind, text);
        kv_service_stopping(&node->service, text);
        end(node, (int)reason);
    }
}

static void fail_at(void *context, enum kv_fatal reason, const char *text)
{
    fail_with(context, reason, text);
}

static void fail(struct kv_node *node, enum kv_fatal reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Ends the program with a line that says why. Only the first call counts. */
static void fail(struct kv_node *node, enum kv_fatal reason, const char *format, ...)
{
    char text[KV_LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fail_with(node, reason, text);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    stop(handle->data);
}

/* Without a leash, SIGTERM and SIGINT stop the node in order; SIGQUIT ends it at once, with a core.
 */
static int watch_signals(struct kv_node *node)
{
    if (node->options.leash || uv_is_active((uv_handle_t *)&node->terminate)) {
        return 0;
    }
    (void)signal(SIGQUIT, SIG_DFL);
    int error = uv_signal_start(&node->terminate, on_signal, SIGTERM);
    return error != 0 ? error : uv_signal_start(&node->interrupt, on_signal, SIGINT);
}

/* ---- coming up ------------------------------------------------------------------------------- */

static void use_cookie(struct kv_node *node)
{
    node->net.identity.cookie = kv_bytes(node->options.cookie, node->options.cookie_length);
}

/* The last step: everything is there. */
static void serve(void *context)
{
    struct kv_node *node = context;
    char text[KV_LOG_LINE_MAX];
    node->recovery_ms = uv_now(&node->loop) - node->recovery_began;
    const int error = kv_node_start_runtime(node);
    if (error != KV_OK) {
        fail(node, KV_FATAL_INTERNAL, "cannot start the services: %s", kv_error_text(error));
        return;
    }
    (void)snprintf(text, sizeof(text), "name=%s port=%u creation=%lu version=%s",
                   node->options.name, node->listener.port,
                   (unsigned long)node->net.identity.creation, KV_VERSION);
    kv_log_event(&node->log, "ready", text);
    kv_pace_init(&node->net.pace, node->options.follow, node->options.gather, node->options.spin);
    kv_ticks_start(&node->ticks);
    kv_listener_open(&node->listener);
    kv_service_ready(&node->service, node->options.name, node->listener.port);
}

static void recovering(void *context, unsigned percent)
{
    struct kv_node *node = context;
    kv_service_recovering(&node->service, percent);
}

static void recover(struct kv_node *node)
{
    const struct kv_data_settings settings = {
        .loop = &node->loop,
        .log = &node->log,
        .memory = &node->memory,
        .folder = node->options.data_dir,
        .checkpoint_log = node->options.checkpoint_log,
        .tally = kv_node_metrics_tally(node),
        .zeros = node->options.zeros,
        .context = node,
        .recovering = recovering,
        .recovered = serve,
        .failed = fail_at,
    };
    node->recovery_began = uv_now(&node->loop);
    kv_data_start(&node->data, &settings);
}

/* The name is ours, with this creation. */
static void published(void *context, uint32_t creation)
{
    struct kv_node *node = context;
    node->net.identity = (struct kv_identity){
        .name = kv_bytes_text(node->options.name),
        .flags = KV_DFLAGS_OFFERED,
        .creation = creation,
        .over_tls = kv_node_tls_is_on(&node->tls),
    };
    use_cookie(node);
    const char *wrong = kv_memory_open(&node->memory, node->options.max_memory, &node->log);
    if (wrong != NULL) {
        fail(node, KV_FATAL_INTERNAL, "%s", wrong);
        return;
    }
    if (node->options.data_dir[0] != '\0') {
        recover(node);
    } else {
        serve(node);
    }
}

static void not_published(void *context, enum kv_epmd_failure failure, const char *text)
{
    static const enum kv_fatal reasons[] = {
        [KV_EPMD_UNREACHABLE] = KV_FATAL_NO_EPMD,
        [KV_EPMD_NAME_TAKEN] = KV_FATAL_NAME_TAKEN,
        [KV_EPMD_NO_SOCKET] = KV_FATAL_INTERNAL,
    };
    fail_with(context, reasons[failure], text);
}

/* Without EPMD the node makes its creation, as a BEAM does. OTP: erl_epmd.erl, register_node/3. */
static void publish_alone(struct kv_node *node)
{
    uint32_t creation = 0;
    do {
        if (RAND_bytes((unsigned char *)&creation, sizeof creation) != 1) {
            fail_with(node, KV_FATAL_INTERNAL, kv_error_text(KV_ERANDOM));
            return;
        }
    } while (creation < OLD_CREATIONS);
    published(node, creation);
}

static void register_name(struct kv_node *node, bool inet6)
{
    const struct kv_epmd_registration registration = {
        .alive = kv_options_alive(&node->options),
        .inet6 = inet6,
        .epmd_port = (unsigned)node->options.epmd_port,
        .port = node->listener.port,
        .context = node,
        .published = published,
        .failed = not_published,
    };
    kv_epmd_client_start(&node->epmd_client, &node->net, &registration);
}

static void resolved(struct kv_node *node, const struct addrinfo *chosen)
{
    struct sockaddr_storage address = {0};
    memcpy(&address, chosen->ai_addr, chosen->ai_addrlen);
    int error = kv_listener_start(&node->listener, &node->pending, (struct sockaddr *)&address);
    if (error != 0) {
        char text[KV_PLACE_SENTENCE];
        kv_place_cannot_listen(&node->options, error, text);
        fail_with(node, KV_FATAL_PORT_TAKEN, text);
        return;
    }
    if (node->options.no_epmd) {
        publish_alone(node);
    } else {
        register_name(node, chosen->ai_family == AF_INET6);
    }
}

static void on_resolved(uv_getaddrinfo_t *resolving, int status, struct addrinfo *found)
{
    struct kv_node *node = resolving->data;
    node->is_resolving = false;
    const struct addrinfo *chosen = kv_place_choose(found);
    if (chosen != NULL && !node->net.stopping) {
        resolved(node, chosen);
    } else {
        char text[KV_PLACE_SENTENCE];
        kv_place_unresolved(&node->options, status, text);
        fail_with(node, KV_FATAL_HOST_UNRESOLVED, text);
    }
    uv_freeaddrinfo(found);
}

static void set_limits(struct kv_net *net, const struct kv_options *options)
{
    net->limits = (struct kv_net_limits){
        .ticktime = options->ticktime,
        .handshake_timeout = options->handshake_timeout,
        .max_frame = options->max_frame,
        .max_depth = options->max_depth,
        .max_peers = options->max_peers,
        .max_pending = options->max_pending,
        .max_queue = options->max_queue,
        .zeros = options->zeros,
    };
    net->vm = kv_bytes_text(options->leash ? options->vm : "");
}

static struct kv_stream *secure(void *context, struct kv_stream *stream)
{
    struct kv_node *node = context;
    return kv_node_tls_secure(&node->tls, stream);
}

/* Before anything that peers may reach. */
static bool confine(struct kv_node *node)
{
    char why[KV_CONFINE_TEXT];
    const bool good =
        !node->options.seccomp || kv_confine_start(&node->confine, &node->loop, &node->log, why);
    if (!good) {
        fail_with(node, KV_FATAL_INTERNAL, why);
    }
    return good;
}

static bool start_tls(struct kv_node *node)
{
    char why[KV_OPTION_ERROR_MAX] = "";
    if (!kv_node_tls_start(&node->tls, &node->loop, &node->options.tls, &node->log, why)) {
        fail(node, KV_FATAL_TLS, "%s", why);
        return false;
    }
    node->net.secure = kv_node_tls_is_on(&node->tls) ? secure : NULL;
    return true;
}

static bool start_metrics(struct kv_node *node)
{
    char text[KV_OPTION_ERROR_MAX];
    const bool good = kv_node_metrics_start(node, text);
    if (!good) {
        fail_with(node, KV_FATAL_PORT_TAKEN, text);
    }
    return good;
}

static void configured(void *context)
{
    struct kv_node *node = context;
    set_limits(&node->net, &node->options);
    char port[sizeof("65535")];
    const struct addrinfo hints = kv_place_hints();
    node->log.level = node->options.log_level;
    kv_core_dump_decide(&node->core_dump, node->options.cores);
    (void)snprintf(port, sizeof(port), "%hu", (unsigned short)node->options.port);
    node->resolving.data = node;
    int error = watch_signals(node); /* the last lines may have said --no-leash */
    if (error != 0) {
        fail(node, KV_FATAL_INTERNAL, "cannot watch for signals: %s", uv_strerror(error));
        return;
    }
    if (!confine(node) || !start_tls(node) || !start_metrics(node)) {
        return;
    }
    error = uv_getaddrinfo(&node->loop, &node->resolving, on_resolved,
                           kv_place_host(&node->options), port, &hints);
    if (error != 0) {
        fail(node, KV_FATAL_HOST_UNRESOLVED, "%s: %s", kv_place_host(&node->options),
             uv_strerror(error));
        return;
    }
    node->is_resolving = true;
}

static void cookie_changed(void *context)
{
    use_cookie(context);
}

static void backup_wanted(void *context, const char *id, const char *folder)
{
    struct kv_node *node = context;
    kv_node_backups_ask(&node->backups, id, folder);
}

static void leash_ended(void *context)
{
    stop(context);
}

/* Returns false if the node ends, because of its cookie file. */
static bool take_cookie_file(struct kv_node *node)
{
    struct kv_option_error why = {{0}};
    if (node->options.cookie_file[0] == '\0' || kv_config_cookie(&node->options, &why)) {
        return true;
    }
    fail_with(node, KV_FATAL_NO_COOKIE, why.text);
    return false;
}

static void begin(struct kv_node *node)
{
    static const struct kv_leash_calls calls = {
        .configured = configured,
        .cookie_changed = cookie_changed,
        .backup = backup_wanted,
        .ended = leash_ended,
        .failed = fail_at,
    };
    kv_node_backups_init(&node->backups, &node->data, &node->log, &node->options);
    node->leash.loop = &node->loop;
    node->leash.log = &node->log;
    node->leash.options = &node->options;
    node->leash.calls = &calls;
    node->leash.context = node;
    if (take_cookie_file(node)) {
        kv_leash_start(&node->leash);
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void heard(void *context)
{
    struct kv_node *node = context;
    kv_memory_tick(&node->memory);
}

static void hurry(void *context)
{
    kv_turn_send(context);
}

static void lost(void *context, struct kv_bytes peer)
{
    struct kv_node *node = context;
    kv_lanes_lost(&node->lanes, peer);
}

/* Returns 0, or an error of libuv. */
static int init_parts(struct kv_node *node)
{
    kv_service_start(&node->service, &node->loop);
    uv_signal_init(&node->loop, &node->terminate);
    uv_signal_init(&node->loop, &node->interrupt);
    kv_list_init(&node->absences);
    node->terminate.data = node;
    node->interrupt.data = node;
    node->net = (struct kv_net){
        .loop = &node->loop,
        .log = &node->log,
        .context = node,
        .heard = heard,
        .hurry = hurry,
        .lost = lost,
    };
    kv_memory_init(&node->memory, &node->loop);
    kv_lanes_init(&node->lanes);
    kv_connections_init(&node->connections, &node->net);
    kv_ticks_init(&node->ticks, &node->connections);
    int error = kv_turn_init(node);
    return error != 0 ? error : kv_pending_init(&node->pending, &node->connections);
}

static void start(struct kv_node *node, bool options_ok, const struct kv_option_error *wrong)
{
    int error = init_parts(node);
    if (error == 0) {
        error = watch_signals(node);
    }
    if (error != 0) {
        fail(node, KV_FATAL_INTERNAL, "%s", uv_strerror(error));
    } else if (!options_ok) {
        fail(node, KV_FATAL_BAD_OPTION, "%s", wrong->text);
    } else {
        begin(node);
    }
}

static int finish(struct kv_node *node)
{
    int status = node->status;
    bool is_resolving = node->is_resolving;
    if (node->net.runtime != NULL) {
        kv_runtime_free(node->net.runtime);
    }
    kv_node_forget_vms(node);
    kv_lanes_finish(&node->lanes);
    kv_pending_finish(&node->pending);
    kv_connections_finish(&node->connections);
    kv_node_tls_finish(&node->tls);
    kv_data_finish(&node->data);
    kv_memory_close(&node->memory); /* late: output that waited had pinned some of it */
    kv_epmd_client_finish(&node->epmd_client);
    kv_leash_finish(&node->leash);
    kv_log_finish(&node->log);
    OPENSSL_cleanse(node->options.cookie, sizeof(node->options.cookie));
    OPENSSL_cleanse(node->options.tls.password, sizeof(node->options.tls.password));
    if (is_resolving) {
        _exit(status); /* closing the loop would wait for a resolver that waits for the network */
    }
    return uv_loop_close(&node->loop) == 0 ? status : (int)KV_FATAL_INTERNAL;
}

/* Before there is a log. */
static int fail_early(const char *text)
{
    (void)printf("fatal internal %s\n", text);
    return (int)KV_FATAL_INTERNAL;
}

int kv_node_run(struct kv_node *node, bool options_ok, const struct kv_option_error *wrong)
{
    char text[KV_FOOTING_TEXT_MAX];
    if (kv_footing_check(text) != NULL) {
        return fail_early(text);
    }
    int error = uv_loop_init(&node->loop);
    if (error != 0) {
        (void)snprintf(text, sizeof(text), "no event loop (%s)", uv_strerror(error));
        return fail_early(text);
    }
    kv_log_init(&node->log, &node->loop);
    start(node, options_ok, wrong);
    /* A resolver that works in its thread keeps the loop alive. Stopping does not wait for it. */
    while (kv_turn_run(node) && !(node->net.stopping && node->is_resolving)) {
    }
    return finish(node);
}
