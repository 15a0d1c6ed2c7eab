/* The figures of a node as Prometheus reads them: the text format 0.0.4. */
#ifndef KV_METRICS_TEXT_H
#define KV_METRICS_TEXT_H

#include "metrics/histogram.h"

#include <kv/buffer.h>
#include <stdbool.h>

/* Times are milliseconds or, where a name says so, microseconds; sizes are bytes. */
struct kv_metrics_figures {
    const char *version;
    uint64_t uptime_ms;
    uint64_t cpu_us;
    uint64_t resident;
    uint64_t context_switches;
    uint64_t open_files_limit;
    /* Its contents. */
    uint64_t processes, buckets, durable_buckets, registries, tables;
    uint64_t memory, memory_limit; /* of the tables */
    uint64_t entry_bytes, index_bytes, heap_bytes, buffer_bytes;
    /* Peers. */
    uint64_t peers, peers_limit;
    uint64_t messages, bytes_in, bytes_out;
    uint64_t output, output_largest, output_limit; /* that peers have not taken yet */
    uint64_t waiting, waiting_bytes;               /* answers that wait for the disk */
    /* The log on disk. */
    bool has_disk;
    uint64_t log_bytes, log_files, log_waiting, log_written, syncs;
    uint64_t recovery_ms, checkpoint_bytes, checkpoint_ms;
    uint64_t checkpoint_failing, disk_full; /* 1 or 0 */
    /* The events in all tables. */
    bool has_events;
    uint64_t hits, misses, puts, deletes, expirations, evictions;
    const struct kv_histogram *turns;
};

/* Appends a text of less than KV_METRICS_TEXT_MAX bytes. */
enum { KV_METRICS_TEXT_MAX = 16 << 10 };
void kv_metrics_write(const struct kv_metrics_figures *figures, struct kv_buffer *to);

#endif
