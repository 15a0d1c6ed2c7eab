/* What the runtime's tools ask of the program around it: see struct kv_world. */
#include "node/node.h"

#include "store/arena.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <sys/resource.h>

enum { US_PER_SECOND = 1000000, ADDRESS_TEXT = 80 };

static uint64_t microseconds(uv_timeval_t time)
{
    return (uint64_t)time.tv_sec * US_PER_SECOND + (uint64_t)time.tv_usec;
}

static uint64_t buffers_of(const struct kv_connections *connections)
{
    uint64_t bytes = KV_READ_CHUNK;
    KV_LIST_FOREACH (link, &connections->up) {
        const struct kv_connection *one = KV_LIST_OF(link, const struct kv_connection, link);
        bytes += one->input.capacity + one->writing.capacity + kv_output_backlog(one);
    }
    return bytes;
}

/* A line each: a store adds its own. */
static void write_kinds(const struct kv_arena *arena, struct kv_memory_kind kinds[KV_MEMORY_KINDS])
{
    struct kv_arena_stats stores;
    kv_arena_stats(arena, &stores);
    kinds[0] = (struct kv_memory_kind){"arena", stores.reserved - stores.free, stores.reserved};
    kinds[1] = (struct kv_memory_kind){"entries", stores.live, stores.entries};
    kinds[2] = (struct kv_memory_kind){"index", stores.index, stores.index};
}

static void stats(void *context, struct kv_stats *to)
{
    struct kv_node *node = context;
    uv_rusage_t usage;
    struct mallinfo2 heap = mallinfo2();
    size_t resident = 0;
    (void)uv_getrusage(&usage);
    (void)uv_resident_set_memory(&resident);
    *to = (struct kv_stats){
        .uptime_ms = uv_now(&node->loop) - node->since,
        .cpu_us = microseconds(usage.ru_utime) + microseconds(usage.ru_stime),
        .resident = resident,
        .heap_used = heap.uordblks + heap.hblkhd,
        .heap_reserved = heap.arena + heap.hblkhd,
        .bytes_in = node->connections.bytes_in,
        .bytes_out = node->connections.bytes_out,
        .buffers = buffers_of(&node->connections),
        .connections = (uint32_t)node->connections.up_count,
        .connection_limit = (uint32_t)node->options.max_peers,
        .processors = uv_available_parallelism(),
        .output_limit = node->options.max_queue,
        .machine = node->machine,
        .versions = node->versions,
    };
    if (node->arena != NULL) {
        write_kinds(node->arena, to->kinds);
    }
}

static void write_address(const struct sockaddr_storage *address, char *to, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "";
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
        (void)uv_ip6_name(six, host, sizeof(host));
        (void)snprintf(to, size, "[%s]:%u", host, (unsigned)ntohs(six->sin6_port));
    } else {
        const struct sockaddr_in *four = (const struct sockaddr_in *)address;
        (void)uv_ip4_name(four, host, sizeof(host));
        (void)snprintf(to, size, "%s:%u", host, (unsigned)ntohs(four->sin_port));
    }
}

static void visit_connection(const struct kv_connection *connection,
                             void (*visit)(void *visitor, const struct kv_connection_info *info),
                             void *visitor)
{
    struct sockaddr_storage address = {0};
    char local[ADDRESS_TEXT];
    char remote[ADDRESS_TEXT];
    int length = sizeof(address);
    uv_os_fd_t fd = -1;
    (void)uv_fileno((const uv_handle_t *)&connection->tcp, &fd);
    (void)uv_tcp_getsockname(&connection->tcp, (struct sockaddr *)&address, &length);
    write_address(&address, local, sizeof(local));
    length = sizeof(address);
    (void)uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&address, &length);
    write_address(&address, remote, sizeof(remote));
    struct kv_connection_info info = {
        .peer = kv_handshake_peer(&connection->handshake),
        .local = local,
        .remote = remote,
        .fd = fd,
        .bytes_in = connection->bytes_in,
        .bytes_out = connection->bytes_out,
        .backlog = kv_output_backlog(connection),
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
    if (node->arena == NULL || node->mapping.fd < 0) {
        return false;
    }
    const struct kv_arena_header *header = (const void *)node->mapping.base;
    *memory = (struct kv_shared_memory){
        .os_pid = (uint64_t)uv_os_getpid(),
        .fd = node->mapping.fd,
        .size = node->mapping.size,
        .id = kv_bytes(header->id, sizeof(header->id)),
    };
    return true;
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
        .hash_key = node->hash_key,
        .zeros = node->options.zeros,
        .context = node,
        .stats = stats,
        .each_connection = each_connection,
        .shared_memory = shared_memory,
    };
}

/* ---- timers of processes --------------------------------------------------------------------- */

static void on_process_timer(uv_timer_t *timer)
{
    (void)timer; /* the turn that it ends runs what is due */
}

void kv_node_run_timers(struct kv_node *node)
{
    if (node->runtime == NULL || node->stopping) {
        return;
    }
    uint64_t next = kv_runtime_run_timers(node->runtime);
    next = kv_runtime_step(node->runtime) ? 0 : next;
    if (next == KV_NO_TIMER) {
        uv_timer_stop(&node->process_timer);
    } else {
        uv_timer_start(&node->process_timer, on_process_timer, next, 0);
    }
}
