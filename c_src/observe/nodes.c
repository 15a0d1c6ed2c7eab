/* The node, its peers and its processes, as the BIFs and Elixir's Node and Process show them. */
#include "observe/functions.h"
#include "observe/process_terms.h"
#include "process/runtime.h"

enum { HOST_MAX = 255 }; /* bytes */

static int run_node(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    (void)arguments;
    kv_write_atom(value, kv_runtime_node(kv_process_runtime(self)));
    return KV_OK;
}

static void add_pid(void *context, const struct kv_process *process)
{
    struct kv_findings *findings = context;
    struct kv_pid pid = kv_process_pid(process);
    kv_write_pid(&findings->list.elements, &pid);
    findings->list.count++;
}

static void add_name(void *context, const struct kv_process *process)
{
    struct kv_findings *findings = context;
    struct kv_bytes name = kv_process_name(process);
    if (name.length > 0) {
        kv_write_atom(&findings->list.elements, name);
        findings->list.count++;
    }
}

static void finish_list(struct kv_process *self, struct kv_findings *findings,
                        struct kv_buffer *value)
{
    (void)self;
    kv_term_list_close(&findings->list, value);
}

static const struct kv_survey processes = {.visit = add_pid, .finish = finish_list};
static const struct kv_survey registered = {.visit = add_name, .finish = finish_list};

/* ---- nodes ----------------------------------------------------------------------------------- */

enum { WANT_VISIBLE = 1, WANT_HIDDEN = 2, WANT_THIS = 4 };

struct nodes {
    struct kv_term_list list;
    unsigned wanted;
};

static void add_peer(void *context, struct kv_bytes name, bool hidden)
{
    struct nodes *nodes = context;
    if ((nodes->wanted & (hidden ? WANT_HIDDEN : WANT_VISIBLE)) != 0) {
        kv_write_atom(&nodes->list.elements, name);
        nodes->list.count++;
    }
}

static void write_nodes(const struct kv_process *self, unsigned wanted, struct kv_buffer *value)
{
    struct nodes nodes = {.wanted = wanted};
    const struct kv_runtime *runtime = kv_process_runtime(self);
    if ((wanted & WANT_THIS) != 0) {
        kv_write_atom(&nodes.list.elements, kv_runtime_node(runtime));
        nodes.list.count++;
    }
    kv_runtime_each_peer(runtime, add_peer, &nodes);
    kv_term_list_close(&nodes.list, value);
}

static int run_nodes(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    (void)arguments;
    write_nodes(self, WANT_VISIBLE, value);
    return KV_OK;
}

static int read_kind_of_node(struct kv_reader *reader, unsigned *wanted)
{
    static const struct {
        const char *name;
        unsigned wanted;
    } kinds[] = {{"visible", WANT_VISIBLE},
                 {"hidden", WANT_HIDDEN},
                 {"connected", WANT_VISIBLE | WANT_HIDDEN},
                 {"this", WANT_THIS},
                 {"known", WANT_VISIBLE | WANT_HIDDEN | WANT_THIS}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kv_read_this_atom(reader, kinds[i].name) == KV_OK) {
            *wanted |= kinds[i].wanted;
            return KV_OK;
        }
    }
    return KV_ETYPE;
}

static int run_nodes_of(struct kv_process *self, struct kv_reader arguments,
                        struct kv_buffer *value)
{
    enum { MOST = 16 };
    uint32_t count = 0;
    unsigned wanted = 0;
    int error = KV_OK;
    if (kv_read_list(&arguments, &count) != KV_OK) {
        error = read_kind_of_node(&arguments, &wanted);
    } else if (count > MOST) {
        error = KV_ETYPE;
    }
    for (uint32_t i = 0; i < count && error == KV_OK; i++) {
        error = read_kind_of_node(&arguments, &wanted);
    }
    if (error == KV_OK && count > 0) {
        error = kv_read_nil(&arguments);
    }
    if (error == KV_OK) {
        write_nodes(self, wanted, value);
    }
    return error;
}

/* The node of a pid, a reference or a port. */
static int run_node_of(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_pid pid;
    struct kv_ref ref;
    struct kv_bytes node = kv_bytes(NULL, 0);
    uint8_t tag = kv_read_peek(&arguments);
    (void)self;
    if (kv_read_pid(&arguments, &pid) == KV_OK) {
        node = pid.node;
    } else if (kv_read_ref(&arguments, &ref) == KV_OK) {
        node = ref.node;
    } else if (tag == KV_TAG_V4_PORT || tag == KV_TAG_NEW_PORT || tag == KV_TAG_PORT) {
        arguments.offset++;
        (void)kv_read_atom(&arguments, &node);
    }
    if (node.length == 0) {
        return KV_ETYPE;
    }
    kv_write_atom(value, node);
    return KV_OK;
}

/* true for a node that is connected, or this one. The node connects to nobody by itself. */
static bool is_reached(const struct kv_process *self, struct kv_bytes node)
{
    const struct kv_runtime *runtime = kv_process_runtime(self);
    return kv_bytes_equal(node, kv_runtime_node(runtime)) || kv_runtime_has_peer(runtime, node);
}

static int run_ping(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_bytes node = kv_bytes(NULL, 0);
    int error = kv_read_atom(&arguments, &node);
    if (error == KV_OK) {
        kv_write_atom_text(value, is_reached(self, node) ? "pong" : "pang");
    }
    return error;
}

static int run_true(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    (void)self;
    (void)arguments;
    kv_write_bool(value, true);
    return KV_OK;
}

static int run_nil_list(struct kv_process *self, struct kv_reader arguments,
                        struct kv_buffer *value)
{
    (void)self;
    (void)arguments;
    kv_write_nil(value);
    return KV_OK;
}

/* The part of the node's name behind @, as a string. */
static void write_host(const struct kv_process *self, struct kv_buffer *value)
{
    char host[HOST_MAX + 1];
    struct kv_bytes name = kv_runtime_node(kv_process_runtime(self));
    const uint8_t *at = memchr(name.data, '@', name.length);
    size_t length = at == NULL ? 0 : (size_t)(name.data + name.length - at - 1);
    length = length < HOST_MAX ? length : HOST_MAX;
    if (length > 0) {
        memcpy(host, at + 1, length);
    }
    host[length] = '\0';
    kv_write_string(value, host);
}

static int run_localhost(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    (void)arguments;
    write_host(self, value);
    return KV_OK;
}

static int run_self(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_pid pid = kv_process_pid(self);
    (void)arguments;
    kv_write_pid(value, &pid);
    return KV_OK;
}

/* ---- processes ------------------------------------------------------------------------------- */

static int run_whereis(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_bytes name = kv_bytes(NULL, 0);
    struct kv_pid pid;
    int error = kv_read_atom(&arguments, &name);
    if (error == KV_OK && kv_whereis(kv_process_runtime(self), name, &pid)) {
        kv_write_pid(value, &pid);
    } else if (error == KV_OK) {
        kv_write_atom_text(value, "undefined");
    }
    return error;
}

static int run_elixir_whereis(struct kv_process *self, struct kv_reader arguments,
                              struct kv_buffer *value)
{
    return kv_run_or_nil(self, run_whereis, arguments, value);
}

static int run_is_process_alive(struct kv_process *self, struct kv_reader arguments,
                                struct kv_buffer *value)
{
    struct kv_pid pid;
    const struct kv_runtime *runtime = kv_process_runtime(self);
    int error = kv_read_pid(&arguments, &pid);
    if (error == KV_OK && !kv_bytes_equal(pid.node, kv_runtime_node(runtime))) {
        return KV_ETYPE; /* OTP, too, answers badarg for a process of another node */
    }
    if (error == KV_OK) {
        kv_write_bool(value, kv_is_alive(runtime, &pid));
    }
    return error;
}

const struct kv_function kv_node_functions[] = {
    {"erlang", "is_alive", run_true, 0, NULL, "`true`"},
    {"erlang", "is_process_alive", run_is_process_alive, 1, NULL,
     "whether a process of this node lives"},
    {"erlang", "node", run_node, 0, NULL, "the name of this node"},
    {"erlang", "node", run_node_of, 1, NULL, "the node of a pid, a reference or a port"},
    {"erlang", "nodes", run_nodes, 0, NULL, "the connected visible nodes"},
    {"erlang", "nodes", run_nodes_of, 1, NULL,
     "the nodes of a kind: `visible`, `hidden`, `connected`, `this`, `known`, or a list of these"},
    {"erlang", "ports", run_nil_list, 0, NULL, "`[]`: the node has no ports"},
    {"erlang", "processes", NULL, 0, &processes, "the pids of all processes of this node"},
    {"erlang", "registered", NULL, 0, &registered, "the names of this node's registered processes"},
    {"erlang", "self", run_self, 0, NULL, "the process that answers"},
    {"erlang", "whereis", run_whereis, 1, NULL, "the process with that name, or `undefined`"},
    {"net_adm", "localhost", run_localhost, 0, NULL, "the host in the node's name, a charlist"},
    {"net_adm", "ping", run_ping, 1, NULL,
     "`pong` for this node and for nodes that are connected, `pang` for others: the node connects "
     "to nobody"},
    {"Elixir.Kernel", "node", run_node, 0, NULL, "as `erlang:node/0`"},
    {"Elixir.Kernel", "node", run_node_of, 1, NULL, "as `erlang:node/1`"},
    {"Elixir.Kernel", "self", run_self, 0, NULL, "as `erlang:self/0`"},
    {"Elixir.Node", "alive?", run_true, 0, NULL, "`true`"},
    {"Elixir.Node", "list", run_nodes, 0, NULL, "as `erlang:nodes/0`"},
    {"Elixir.Node", "list", run_nodes_of, 1, NULL, "as `erlang:nodes/1`"},
    {"Elixir.Node", "ping", run_ping, 1, NULL, "as `net_adm:ping/1`"},
    {"Elixir.Node", "self", run_node, 0, NULL, "as `erlang:node/0`"},
    {"Elixir.Port", "list", run_nil_list, 0, NULL, "as `erlang:ports/0`"},
    {"Elixir.Process", "alive?", run_is_process_alive, 1, NULL, "as `erlang:is_process_alive/1`"},
    {"Elixir.Process", "list", NULL, 0, &processes, "as `erlang:processes/0`"},
    {"Elixir.Process", "registered", NULL, 0, &registered, "as `erlang:registered/0`"},
    {"Elixir.Process", "whereis", run_elixir_whereis, 1, NULL,
     "the process with that name, or `nil`"},
    {.module = NULL},
};
