/* The runtime of a node, with its way to the outside: signals to peers, log lines, clocks. And the
 * services that run in it. */
#include "net/input.h"
#include "net/output.h"
#include "node/node.h"
#include "observe/observe.h"
#include "server/server.h"

#include <openssl/rand.h>
#include <time.h>

static void sink_send(void *context, void *carrier, const struct kv_signal *signal)
{
    (void)context;
    kv_output_signal(carrier, signal);
}

static bool sink_is_full(void *context, const void *carrier)
{
    const struct kv_connection *connection = carrier;
    (void)context;
    return (connection->paused & KV_PAUSED_FOR_OUTPUT) != 0;
}

static void sink_rest(void *context)
{
    struct kv_node *node = context;
    kv_input_rest(&node->connections);
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

/* The wall clock, which people set, for requests that name a date. */
static uint64_t unix_time(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The VM whose processes may be away for a while; empty: there is none. Without a leash it may be
 * any VM. */
static struct kv_bytes kept_vm(const struct kv_options *options)
{
    bool keeps = options->leash && options->reconnect_timeout > 0;
    return kv_bytes_text(keeps ? options->vm : "");
}

/* Starts the services of every node, and then those that this program adds. */
static int start_services(struct kv_node *node)
{
    const struct kv_node_parts parts = {
        .runtime = node->net.runtime, .arena = node->memory.arena, .zeros = node->options.zeros};
    int error = kv_services_start(node->net.runtime, &node->store);
    if (error == KV_OK) {
        error = kv_observe_start(node->net.runtime, &node->world);
    }
    if (error == KV_OK && node->setup->start != NULL) {
        error = node->setup->start(node->setup->context, &parts);
    }
    return error;
}

int kv_node_start_runtime(struct kv_node *node)
{
    struct kv_runtime_options options = {
        .node = kv_bytes_text(node->options.name),
        .vm = kept_vm(&node->options),
        .keeps_all = !node->options.leash && node->options.reconnect_timeout > 0,
        .creation = node->net.identity.creation,
        .get_state = node->options.get_state,
        .generic = &kv_server,
        .sink = {.context = node,
                 .send = sink_send,
                 .log = sink_log,
                 .now = sink_now,
                 .clock = sink_clock,
                 .is_full = sink_is_full,
                 .rest = sink_rest},
    };
    if (RAND_bytes((unsigned char *)&node->net.hash_key, sizeof(node->net.hash_key)) != 1) {
        return KV_ERANDOM;
    }
    node->since = uv_now(&node->loop);
    options.hash_key = node->net.hash_key;
    node->store =
        (struct kv_store){.arena = node->memory.arena,
                          .zeros = node->options.zeros,
                          .hash_key = node->net.hash_key,
                          .unix_time = unix_time,
                          .durables = node->data.wal == NULL ? NULL : &node->data.durables,
                          .tally = kv_node_metrics_tally(node),
                          .backups = kv_node_backups_by_message(&node->backups)};
    node->world = kv_node_world(node);
    node->net.runtime = kv_runtime_new(&options);
    node->data.runtime = node->net.runtime;
    return start_services(node);
}
