/* The figures of the program that tools ask for: see struct kv_world. */
#include "base/least.h"
#include "net/address.h"
#include "net/connection.h"
#include "node/data_parts.h"
#include "node/node.h"

#include "host/own_memory.h"
#include "store/arena.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { US_PER_SECOND = 1000000, NS_PER_US = 1000, NS_PER_MS = 1000000 };

static uint64_t microseconds(uv_timeval_t time)
{
    return (uint64_t)time.tv_sec * US_PER_SECOND + (uint64_t)time.tv_usec;
}

static uint64_t buffers_of(const struct kv_connections *connections)
{
    uint64_t bytes = KV_READ_CHUNK;
    KV_LIST_FOREACH (link, &connections->up) {
        const struct kv_connection *one = KV_LIST_OF(link, const struct kv_connection, link);
        bytes += one->input.capacity + one->writing.capacity + kv_connection_backlog(one);
    }
    return bytes;
}

/* One line for each kind of memory. They do not overlap: `arena` is what is left of the arena. A
 * new store adds its own. */
static void write_kinds(const struct kv_memory *memory, const struct kv_arena_stats *stores,
                        struct kv_stats *to)
{
    uint64_t taken = stores->reserved - stores->free;
    uint64_t resident = kv_mapping_resident(&memory->mapping);
    resident = resident > taken ? resident : stores->reserved;
    uint64_t others = stores->entries + stores->index;
    to->kinds[0] = (struct kv_memory_kind){"buckets", stores->live, stores->entries};
    to->kinds[1] = (struct kv_memory_kind){"index", stores->index, stores->index};
    to->kinds[2] = (struct kv_memory_kind){"arena", taken - others, resident - others};
    to->kinds[3] =
        (struct kv_memory_kind){"page_records", stores->records_used, stores->records_used};
    to->tables = stores->tables;
    to->counted = taken;
    to->memory_limit = stores->limit;
}

/* malloc has address space that nothing was written to. So its bytes are bounded by the memory that
 * the program has of its own. */
static void write_heap(const struct kv_arena_stats *stores, struct kv_stats *to)
{
    struct mallinfo2 heap = mallinfo2();
    uint64_t used = heap.uordblks + heap.hblkhd - kv_least(stores->records, heap.hblkhd);
    uint64_t reserved = heap.arena + heap.hblkhd - kv_least(stores->records, heap.hblkhd);
    uint64_t own = kv_process_private_memory();
    to->heap_reserved = own > 0 ? kv_least(reserved, own) : reserved;
    to->heap_used = kv_least(used, to->heap_reserved);
}

static void write_memory(const struct kv_memory *memory, struct kv_stats *to)
{
    struct kv_arena_stats stores = {0};
    if (memory->arena != NULL) {
        kv_arena_stats(memory->arena, &stores);
        write_kinds(memory, &stores, to);
    }
    write_heap(&stores, to);
}

static void write_times(struct kv_stats *to)
{
    uv_timeval64_t now = {0};
    (void)uv_gettimeofday(&now);
    to->monotonic_ns = uv_hrtime();
    to->system_ns = ((uint64_t)now.tv_sec * US_PER_SECOND + (uint64_t)now.tv_usec) * NS_PER_US;
}

static void stats(void *context, struct kv_stats *to)
{
    struct kv_node *node = context;
    uv_rusage_t usage;
    size_t resident = 0;
    (void)uv_getrusage(&usage);
    (void)uv_resident_set_memory(&resident);
    *to = (struct kv_stats){
        .uptime_ms = uv_now(&node->loop) - node->since,
        .cpu_us = microseconds(usage.ru_utime) + microseconds(usage.ru_stime),
        .resident = resident,
        .bytes_in = node->connections.bytes_in,
        .bytes_out = node->connections.bytes_out,
        .buffers = buffers_of(&node->connections),
        .connections = (uint32_t)node->connections.up_count,
        .connection_limit = (uint32_t)node->net.limits.max_peers,
        .processors = uv_available_parallelism(),
        .messages = node->net.pace.gather.seen,
        .context_switches = usage.ru_nvcsw + usage.ru_nivcsw,
        .os_pid = (uint64_t)uv_os_getpid(),
        .output_limit = node->options.max_queue,
        .machine = node->machine,
        .versions = node->versions,
    };
    write_times(to);
    write_memory(&node->memory, to);
}

static void visit_connection(const struct kv_connection *connection,
                             void (*visit)(void *visitor, const struct kv_connection_info *info),
                             void *visitor)
{
    int socket = connection->stream->socket;
    struct sockaddr_storage address;
    char local[KV_ADDRESS_TEXT];
    char remote[KV_ADDRESS_TEXT];
    (void)kv_address_here(socket, &address);
    kv_address_write(&address, local);
    (void)kv_address_there(socket, &address);
    kv_address_write(&address, remote);
    struct kv_connection_info info = {
        .peer = kv_handshake_peer(&connection->handshake),
        .local = local,
        .remote = remote,
        .fd = socket,
        .bytes_in = connection->bytes_in,
        .bytes_out = connection->bytes_out,
        .backlog = kv_connection_backlog(connection),
    };
    visit(visitor, &info);
}

static void each_connection(void *context,
                            void (*visit)(void *visitor, const struct kv_connection_info *info),
                            void *visitor)
{
    const struct kv_node *node = context;
    KV_LIST_FOREACH (link, &node->connections.up) {
        visit_connection(KV_LIST_OF(link, const struct kv_connection, link), visit, visitor);
    }
}

static bool shared_memory(void *context, struct kv_shared_memory *memory)
{
    const struct kv_node *node = context;
    if (node->memory.arena == NULL || node->memory.mapping.fd < 0) {
        return false;
    }
    const struct kv_arena_header *header = (const void *)node->memory.mapping.base;
    *memory = (struct kv_shared_memory){
        .os_pid = (uint64_t)uv_os_getpid(),
        .fd = node->memory.mapping.fd,
        .size = node->memory.mapping.size,
        .id = kv_bytes(header->id, sizeof(header->id)),
    };
    return true;
}

static const char *lane(void *context, struct kv_bytes peer, uint32_t schedulers,
                        struct kv_lane_offer *offer)
{
    struct kv_lane_place place;
    const char *why = kv_lanes_open(context, peer, schedulers, &place);
    if (why == NULL) {
        *offer = (struct kv_lane_offer){
            .os_pid = place.os_pid, .fd = place.fd, .size = place.size, .groups = place.groups};
        memcpy(offer->id, place.id, sizeof offer->id);
    }
    return why;
}

static bool disk(void *context, struct kv_disk_stats *to)
{
    const struct kv_node *node = context;
    const struct kv_data *data = &node->data;
    if (data->disk == NULL || data->wal == NULL) {
        return false;
    }
    const struct kv_disk_figures figures = kv_disk_figures(data->disk);
    const uint64_t size = data->store.segment_size;
    const uint64_t now = uv_hrtime();
    const uint64_t wall = kv_data_clock(data);
    *to = (struct kv_disk_stats){
        .folder = node->options.data_dir,
        .position = kv_wal_end(data->wal),
        .log = kv_wal_end(data->wal) - data->checkpoint.lsn,
        .files = figures.end - figures.first,
        .file_size = size,
        .waiting = kv_wal_open_bytes(data->wal) +
                   (kv_wal_is_writing(data->wal) ? data->write.bytes.length : 0),
        .written = figures.bytes,
        .syncs = figures.syncs,
        .has_synced = figures.synced_at > 0,
        .synced_ms = now > figures.synced_at ? (now - figures.synced_at) / NS_PER_MS : 0,
        .recovery_ms = node->recovery_ms,
        .checkpoint = data->checkpoint.size,
        .checkpoint_ms = wall > data->checkpoint.time ? wall - data->checkpoint.time : 0,
        .is_checkpoint_failing = data->checkpoint.is_failing,
        .is_full = data->room != KV_OK,
    };
    return true;
}

struct visiting {
    void (*visit)(void *visitor, const struct kv_durable_info *info);
    void *visitor;
};

static void visit_durable(void *visitor, const struct kv_durable *durable)
{
    const struct visiting *visiting = visitor;
    const bool is_registry = durable->kind == KV_JOURNAL_REGISTRY;
    struct kv_durable_info info = {
        .name = kv_durable_name(durable),
        .kind = is_registry ? "registry" : "bucket",
        .policy = durable->policy == KV_POLICY_COMMIT ? "commit" : "interval",
        .size = is_registry ? durable->names_count : kv_table_count(durable->table),
        .memory = is_registry ? 0 : kv_table_memory(durable->table),
        .is_dormant = durable->process == NULL,
    };
    if (durable->process != NULL) {
        info.pid = kv_process_pid(durable->process);
    }
    visiting->visit(visiting->visitor, &info);
}

static bool each_durable(void *context,
                         void (*visit)(void *visitor, const struct kv_durable_info *info),
                         void *visitor)
{
    const struct kv_node *node = context;
    struct visiting visiting = {visit, visitor};
    if (node->data.wal == NULL) {
        return false;
    }
    kv_durables_each(&node->data.durables, visit_durable, &visiting);
    return true;
}

/* With a leash, only the VM that holds it may be away, and that VM is told nothing here. */
static struct kv_facts facts(const struct kv_node *node)
{
    const struct kv_options *options = &node->options;
    return (struct kv_facts){
        .version = KV_VERSION,
        .port = node->listener.port,
        .max_frame = options->max_frame,
        .reconnect_timeout = options->leash ? 0 : options->reconnect_timeout,
    };
}

struct kv_world kv_node_world(struct kv_node *node)
{
    uv_utsname_t system = {.machine = "", .sysname = "", .release = ""};
    (void)uv_os_uname(&system);
    (void)snprintf(node->machine, sizeof(node->machine), "%.40s %.40s %.60s", system.machine,
                   system.sysname, system.release);
    (void)snprintf(node->versions, sizeof(node->versions), "kv %s, libuv %s, %s", KV_VERSION,
                   uv_version_string(), OpenSSL_version(OPENSSL_VERSION));
    return (struct kv_world){
        .hash_key = node->net.hash_key,
        .zeros = node->options.zeros,
        .facts = facts(node),
        .context = node,
        .stats = stats,
        .each_connection = each_connection,
        .disk = disk,
        .each_durable = each_durable,
        .shared_memory = shared_memory,
        .lane = lane,
    };
}
