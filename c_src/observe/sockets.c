/* Connections as Observer's tabs Sockets and Ports show them.
 *
 * OTP: lib/runtime_tools/src/observer_backend.erl, get_socket_list/0; lib/observer/src/
 * observer_sock_wx.erl reads every key that is written here. */
#include "observe/functions.h"
#include "observe/list.h"
#include "process/inspect.h"

static void write_key(struct kv_buffer *to, const char *key)
{
    kv_write_atom_text(to, key);
}

static void write_statistics(struct kv_buffer *to, const struct kv_connection_info *info)
{
    struct kv_term_list list = {0};
    kv_term_list_number(&list, "read_byte", info->bytes_in);
    kv_term_list_number(&list, "write_byte", info->bytes_out);
    kv_term_list_number(&list, "write_waits", info->backlog);
    kv_term_list_close(&list, to);
}

static void write_state_list(struct kv_buffer *to, const char *state)
{
    kv_write_list(to, 1);
    kv_write_atom_text(to, state);
    kv_write_nil(to);
}

static void write_options(struct kv_buffer *to, const struct kv_connection_info *info)
{
    kv_write_list(to, 1);
    kv_write_tuple(to, 2);
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "otp");
    kv_write_atom_text(to, "node");
    kv_write_atom(to, info->peer);
    kv_write_nil(to);
}

static void add_socket(void *context, const struct kv_connection_info *info)
{
    enum { KEYS = 15 };
    struct kv_term_list *list = context;
    struct kv_buffer *to = &list->elements;
    list->count++;
    kv_write_map(to, KEYS);
    write_key(to, "id");
    kv_write_u64(to, (uint64_t)info->fd);
    write_key(to, "id_str");
    kv_write_string(to, info->remote);
    write_key(to, "kind");
    kv_write_atom_text(to, "tcp");
    write_key(to, "fd");
    kv_write_u64(to, (uint64_t)info->fd);
    write_key(to, "owner");
    kv_write_atom(to, info->peer);
    write_key(to, "domain");
    kv_write_atom_text(to, info->remote[0] == '[' ? "inet6" : "inet");
    write_key(to, "type");
    kv_write_atom_text(to, "stream");
    write_key(to, "protocol");
    kv_write_atom_text(to, "tcp");
    write_key(to, "rstates");
    write_state_list(to, "selected");
    write_key(to, "wstates");
    write_state_list(to, info->backlog > 0 ? "selected" : "idle");
    write_key(to, "monitored_by");
    kv_write_nil(to);
    write_key(to, "statistics");
    write_statistics(to, info);
    write_key(to, "options");
    write_options(to, info);
    write_key(to, "laddress");
    kv_write_string(to, info->local);
    write_key(to, "raddress");
    kv_write_string(to, info->remote);
}

static int run_get_socket_list(struct kv_process *self, struct kv_reader arguments,
                               struct kv_buffer *value)
{
    const struct kv_world *world = kv_process_context(self);
    struct kv_term_list list = {0};
    (void)arguments;
    world->each_connection(world->context, add_socket, &list);
    kv_term_list_close(&list, value);
    return KV_OK;
}

static int run_socket_info(struct kv_process *self, struct kv_reader arguments,
                           struct kv_buffer *value)
{
    const struct kv_world *world = kv_process_context(self);
    struct kv_stats stats = {0};
    struct kv_term_list list = {0};
    (void)arguments;
    world->stats(world->context, &stats);
    kv_term_list_number(&list, "iov_max", 1);
    kv_term_list_number(&list, "num_monitors", 0);
    kv_term_list_number(&list, "num_sockets", stats.connections);
    kv_term_list_number(&list, "num_tcp", stats.connections);
    kv_term_list_close(&list, value);
    return KV_OK;
}

/* The list of sockets has the connections. As ports they would not do: Observer would try to close
 * a port on its own node. */
static int run_get_port_list(struct kv_process *self, struct kv_reader arguments,
                             struct kv_buffer *value)
{
    (void)self;
    (void)arguments;
    kv_write_nil(value);
    return KV_OK;
}

const struct kv_function kv_socket_functions[] = {
    {"observer_backend", "get_port_list", run_get_port_list, 0, NULL, "`[]`"},
    {"observer_backend", "get_socket_list", run_get_socket_list, 0, NULL, "the connections"},
    {"observer_backend", "socket_info", run_socket_info, 0, NULL, "figures of the connections"},
    {.module = NULL},
};
