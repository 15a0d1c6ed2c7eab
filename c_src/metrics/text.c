#include "metrics/text.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { LINE = 512, US = 1000000, MS = 1000, NS_PER_S = 1000000000 };

struct row {
    const char *name;
    const char *kind;
    const char *help;
    size_t field;
    uint32_t divisor; /* of the field, for the unit of the name */
    size_t only;      /* the field that must be true; 0: none */
};

#define GAUGE(metric, member, text)                                                                \
    {                                                                                              \
        .name = (metric), .kind = "gauge", .help = (text),                                         \
        .field = offsetof(struct kv_metrics_figures, member), .divisor = 1                         \
    }
#define COUNTER(metric, member, text)                                                              \
    {                                                                                              \
        .name = (metric), .kind = "counter", .help = (text),                                       \
        .field = offsetof(struct kv_metrics_figures, member), .divisor = 1                         \
    }
#define SECONDS(metric, type, member, unit, text)                                                  \
    {                                                                                              \
        .name = (metric), .kind = (type), .help = (text),                                          \
        .field = offsetof(struct kv_metrics_figures, member), .divisor = (unit)                    \
    }
#define DISK_GAUGE(metric, member, unit, text)                                                     \
    {                                                                                              \
        .name = (metric), .kind = "gauge", .help = (text),                                         \
        .field = offsetof(struct kv_metrics_figures, member), .divisor = (unit),                   \
        .only = offsetof(struct kv_metrics_figures, has_disk)                                      \
    }
#define COUNTER_OF(condition, metric, member, text)                                                \
    {                                                                                              \
        .name = (metric), .kind = "counter", .help = (text),                                       \
        .field = offsetof(struct kv_metrics_figures, member), .divisor = 1,                        \
        .only = offsetof(struct kv_metrics_figures, condition)                                     \
    }
#define DISK_COUNTER(metric, member, text) COUNTER_OF(has_disk, metric, member, text)
#define EVENTS(metric, member, text)       COUNTER_OF(has_events, metric, member, text)

/* To add a figure, add a row and a field. docs/metrics.md follows by `make metrics`. */
static const struct row ROWS[] = {
    SECONDS("kv_uptime_seconds", "gauge", uptime_ms, MS, "Time since the node began to serve."),
    SECONDS("kv_cpu_seconds_total", "counter", cpu_us, US,
            "Processor time of the program, of all its threads."),
    GAUGE("kv_resident_memory_bytes", resident, "Memory that the program takes of the machine."),
    COUNTER("kv_context_switches_total", context_switches, "Context switches of the program."),
    GAUGE("kv_open_files_limit", open_files_limit, "Files and connections that may be open."),
    GAUGE("kv_processes", processes, "Native processes: buckets, registries and services."),
    GAUGE("kv_buckets", buckets, "Buckets with a process."),
    GAUGE("kv_durable_buckets", durable_buckets, "Of them, those that are kept on disk."),
    GAUGE("kv_registries", registries, "Registries that are not kept on disk."),
    GAUGE("kv_tables", tables, "Tables in memory, those without a process included."),
    EVENTS("kv_hits_total", hits, "Keys that operations of all tables have looked for and found."),
    EVENTS("kv_misses_total", misses, "Keys that they have looked for and not found."),
    EVENTS("kv_puts_total", puts, "Entries that were put."),
    EVENTS("kv_deletes_total", deletes, "Entries that were deleted one by one, by their keys."),
    EVENTS("kv_expirations_total", expirations, "Entries that have expired."),
    EVENTS("kv_evictions_total", evictions, "Entries that were evicted for want of room."),
    GAUGE("kv_memory_bytes", memory, "Memory of all tables that counts against the limit."),
    GAUGE("kv_memory_limit_bytes", memory_limit, "The limit, max_memory."),
    GAUGE("kv_entries_bytes", entry_bytes, "Memory of all entries."),
    GAUGE("kv_index_bytes", index_bytes, "Memory of the indexes of all tables."),
    GAUGE("kv_heap_bytes", heap_bytes, "Memory of everything beside the tables."),
    GAUGE("kv_buffers_bytes", buffer_bytes, "Memory for the input and output of connections."),
    GAUGE("kv_peers", peers, "Nodes that are connected."),
    GAUGE("kv_peers_limit", peers_limit, "The limit, max_peers."),
    COUNTER("kv_messages_total", messages, "Messages that processes of peers have sent."),
    COUNTER("kv_received_bytes_total", bytes_in, "Bytes that peers have sent."),
    COUNTER("kv_sent_bytes_total", bytes_out, "Bytes that peers have taken."),
    GAUGE("kv_output_queue_bytes", output, "Output that peers have not taken yet."),
    GAUGE("kv_output_queue_largest_bytes", output_largest, "Of it, that for one peer."),
    GAUGE("kv_output_queue_limit_bytes", output_limit,
          "The limit of the largest, max_queue: the node gives up a peer beyond it."),
    GAUGE("kv_answers_waiting", waiting, "Answers that wait until a change is on disk."),
    GAUGE("kv_answers_waiting_bytes", waiting_bytes, "Memory of these answers."),
    DISK_GAUGE("kv_log_bytes", log_bytes, 1, "The log that a start would read."),
    DISK_GAUGE("kv_log_files", log_files, 1, "Files of the log."),
    DISK_GAUGE("kv_log_waiting_bytes", log_waiting, 1, "Changes that are not on disk yet."),
    DISK_COUNTER("kv_log_written_bytes_total", log_written, "Bytes written to the log."),
    DISK_COUNTER("kv_log_syncs_total", syncs, "How often the log was made durable."),
    DISK_GAUGE("kv_recovery_seconds", recovery_ms, MS,
               "Time that the start took to read the data."),
    DISK_GAUGE("kv_checkpoint_bytes", checkpoint_bytes, 1,
               "The last checkpoint; 0: there is none."),
    DISK_GAUGE("kv_checkpoint_age_seconds", checkpoint_ms, MS, "Time since it was begun."),
    DISK_GAUGE("kv_checkpoint_failing", checkpoint_failing, 1,
               "1 if the last checkpoint was given up."),
    DISK_GAUGE("kv_disk_full", disk_full, 1, "1 if puts are refused for want of space."),
};

static void append(struct kv_buffer *to, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void append(struct kv_buffer *to, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf((char *)kv_buffer_reserve(to, LINE), LINE, format, arguments);
    va_end(arguments);
    kv_assert(length > 0 && length < LINE);
    to->length += (size_t)length;
}

static void write_head(struct kv_buffer *to, const char *name, const char *kind, const char *help)
{
    append(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void write_row(const struct kv_metrics_figures *figures, const struct row *row,
                      struct kv_buffer *to)
{
    uint64_t value = 0;
    memcpy(&value, (const char *)figures + row->field, sizeof value);
    write_head(to, row->name, row->kind, row->help);
    if (row->divisor == 1) {
        append(to, "%s %" PRIu64 "\n", row->name, value);
    } else {
        append(to, "%s %" PRIu64 ".%0*" PRIu64 "\n", row->name, value / row->divisor,
               row->divisor == US ? 6 : 3, value % row->divisor);
    }
}

/* The counts of Prometheus add up: each has those of all smaller bounds. */
static void write_turns(const struct kv_histogram *turns, struct kv_buffer *to)
{
    static const char name[] = "kv_turn_seconds";
    uint64_t sum = 0;
    write_head(to, name, "histogram",
               "How long turns of the loop took that handled messages, without the time asleep.");
    for (unsigned i = 0; i < KV_HISTOGRAM_BOUNDS; i++) {
        sum += turns->counts[i];
        append(to, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, kv_histogram_bounds[i] / (double)US,
               sum);
    }
    sum += turns->counts[KV_HISTOGRAM_BOUNDS];
    append(to, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, sum);
    append(to, "%s_sum %" PRIu64 ".%09" PRIu64 "\n%s_count %" PRIu64 "\n", name,
           turns->ns / NS_PER_S, turns->ns % NS_PER_S, name, sum);
}

static bool is_there(const struct kv_metrics_figures *figures, const struct row *row)
{
    bool there = true;
    if (row->only != 0) {
        memcpy(&there, (const char *)figures + row->only, sizeof there);
    }
    return there;
}

void kv_metrics_write(const struct kv_metrics_figures *figures, struct kv_buffer *to)
{
    write_head(to, "kv_build_info", "gauge", "1, with the version of the program.");
    append(to, "kv_build_info{version=\"%s\"} 1\n", figures->version);
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        if (is_there(figures, &ROWS[i])) {
            write_row(figures, &ROWS[i], to);
        }
    }
    write_turns(figures->turns, to);
}
