#include "node/metrics.h"

#include "metrics/text.h"
#include "net/connection.h"
#include "node/node.h"

#include <sys/resource.h>

/* ---- figures --------------------------------------------------------------------------------- */

static void take_stats(const struct kv_node *node, struct kv_metrics_figures *to)
{
    struct kv_stats stats;
    node->world.stats(node->world.context, &stats);
    to->uptime_ms = stats.uptime_ms;
    to->cpu_us = stats.cpu_us;
    to->resident = stats.resident;
    to->context_switches = stats.context_switches;
    to->memory = stats.counted;
    to->memory_limit = stats.memory_limit;
    to->entry_bytes = stats.kinds[0].used;
    to->index_bytes = stats.kinds[1].used;
    to->heap_bytes = stats.heap_used;
    to->buffer_bytes = stats.buffers;
    to->tables = stats.tables;
    to->peers = stats.connections;
    to->peers_limit = stats.connection_limit;
    to->messages = stats.messages;
    to->bytes_in = stats.bytes_in;
    to->bytes_out = stats.bytes_out;
    to->output_limit = stats.output_limit;
}

static void take_output(const struct kv_node *node, struct kv_metrics_figures *to)
{
    KV_LIST_FOREACH (link, &node->connections.up) {
        const uint64_t backlog =
            kv_connection_backlog(KV_LIST_OF(link, const struct kv_connection, link));
        to->output += backlog;
        to->output_largest = backlog > to->output_largest ? backlog : to->output_largest;
    }
}

static void take_disk(const struct kv_node *node, struct kv_metrics_figures *to)
{
    struct kv_disk_stats disk;
    to->has_disk = node->world.disk(node->world.context, &disk);
    if (to->has_disk) {
        to->log_bytes = disk.log;
        to->log_files = disk.files;
        to->log_waiting = disk.waiting;
        to->log_written = disk.written;
        to->syncs = disk.syncs;
        to->recovery_ms = disk.recovery_ms;
        to->checkpoint_bytes = disk.checkpoint;
        to->checkpoint_ms = disk.checkpoint > 0 ? disk.checkpoint_ms : 0;
        to->checkpoint_failing = disk.is_checkpoint_failing;
        to->disk_full = disk.is_full;
    }
}

/* Tables of which one turn adds up the events: so a scrape takes no longer with 100,000 buckets. */
enum { TABLES_EACH_TURN = 2048 };

static void walk_on(uv_idle_t *walk);

/* Begins to add up, or goes on. What is left comes in the next turns. */
static void add_up(struct kv_node_metrics *metrics)
{
    if (kv_tally_walk(&metrics->tally, TABLES_EACH_TURN)) {
        (void)uv_idle_stop(&metrics->walk);
    } else {
        (void)uv_idle_start(&metrics->walk, walk_on);
    }
}

static void walk_on(uv_idle_t *walk)
{
    add_up(walk->data);
}

static void take_events(struct kv_node_metrics *metrics, struct kv_metrics_figures *to)
{
    const struct kv_counts *told = &metrics->tally.told;
    add_up(metrics);
    to->has_events = metrics->tally.has_told;
    to->hits = told->hits;
    to->misses = told->misses;
    to->puts = told->puts;
    to->deletes = told->deletes;
    to->expirations = told->expirations;
    to->evictions = told->evictions;
}

static bool serves(const struct kv_node *node)
{
    return node->net.runtime != NULL && node->listener.is_open && !node->net.stopping;
}

static bool write_metrics(void *context, struct kv_buffer *to)
{
    struct kv_node *node = context;
    struct rlimit files = {.rlim_cur = 0};
    if (!serves(node)) {
        return false;
    }
    (void)getrlimit(RLIMIT_NOFILE, &files);
    struct kv_metrics_figures figures = {
        .version = KV_VERSION,
        .open_files_limit = files.rlim_cur,
        .processes = kv_runtime_process_count(node->net.runtime),
        .buckets = node->store.buckets,
        .durable_buckets = node->store.durable_buckets,
        .registries = node->store.registries,
        .waiting = kv_runtime_waiting(node->net.runtime),
        .waiting_bytes = kv_runtime_waiting_bytes(node->net.runtime),
        .turns = &node->metrics.turns,
    };
    take_stats(node, &figures);
    take_output(node, &figures);
    take_disk(node, &figures);
    take_events(&node->metrics, &figures);
    kv_metrics_write(&figures, to);
    return true;
}

static const char *health(void *context)
{
    const struct kv_node *node = context;
    return serves(node)          ? NULL
           : node->net.stopping  ? "stopping\n"
           : node->data.recovery ? "reading durable buckets\n"
                                 : "starting\n";
}

/* ---- turns ----------------------------------------------------------------------------------- */

/* libuv measures how long the loop sleeps: the rest is work. */
void kv_node_metrics_turn(struct kv_node *node)
{
    struct kv_node_metrics *metrics = &node->metrics;
    if (!metrics->measures) {
        return;
    }
    const uint64_t messages = node->net.pace.gather.seen;
    const uint64_t now = uv_hrtime();
    const uint64_t idle = uv_metrics_idle_time(&node->loop);
    const uint64_t slept = idle - metrics->idle;
    const uint64_t passed = now - metrics->ended;
    if (messages != metrics->messages) {
        kv_histogram_add(&metrics->turns, passed > slept ? passed - slept : 0);
    }
    metrics->messages = messages;
    metrics->ended = now;
    metrics->idle = idle;
}

/* ---- coming and going ------------------------------------------------------------------------ */

void kv_node_metrics_refused(const struct kv_options *options, int error,
                             char text[KV_OPTION_ERROR_MAX])
{
    if (error == UV_ENOSYS) {
        (void)snprintf(text, KV_OPTION_ERROR_MAX,
                       "--metrics needs the library " KV_MHD_LIBRARY ": install libmicrohttpd12");
        return;
    }
    (void)snprintf(text, KV_OPTION_ERROR_MAX,
                   "cannot listen at %s for --metrics (%s): choose another address or port",
                   options->metrics, uv_strerror(error));
}

bool kv_node_metrics_start(struct kv_node *node, char text[KV_OPTION_ERROR_MAX])
{
    const struct kv_http_source source = {
        .metrics = write_metrics, .health = health, .context = node};
    struct sockaddr_storage address;
    if (!kv_options_address(node->options.metrics, &address)) {
        return true; /* it is empty: every other value was checked when it was set */
    }
    kv_tally_init(&node->metrics.tally);
    const int error =
        kv_http_start(&node->metrics.http, &node->loop, (const struct sockaddr *)&address, &source);
    if (error != 0) {
        kv_node_metrics_refused(&node->options, error, text);
        return false;
    }
    (void)uv_idle_init(&node->loop, &node->metrics.walk);
    node->metrics.walk.data = &node->metrics;
    node->metrics.measures = uv_loop_configure(&node->loop, UV_METRICS_IDLE_TIME) == 0;
    node->metrics.ended = uv_hrtime();
    return true;
}

void kv_node_metrics_stop(struct kv_node *node)
{
    kv_http_stop(&node->metrics.http);
}

struct kv_tally *kv_node_metrics_tally(struct kv_node *node)
{
    return node->metrics.walk.data == NULL ? NULL : &node->metrics.tally;
}
