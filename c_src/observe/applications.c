/* The tree that Observer's tab Applications draws: the native processes, under the processes of
 * other nodes that own them.
 *
 * OTP: lib/runtime_tools/src/appmon_info.erl, of which one process serves each viewer;
 * lib/observer/ src/observer_app_wx.erl, build_tree/2: names are strings, each of them once, and
 * every name in a line must have a box. */
#include "observe/functions.h"
#include "observe/list.h"
#include "process/inspect.h"
#include "process/runtime.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    POLL = 2000,     /* milliseconds between two looks, as OTP has it */
    TREE_MAX = 2000, /* native processes that are drawn */
    NAME_MAX_TEXT = 1400,
};

#define ROOT_NAME "kv"

/* ---- names ----------------------------------------------------------------------------------- */

/* A string of the characters of UTF-8 text; bytes that are none stand for themselves. */
static void write_characters(struct kv_buffer *to, const char *text)
{
    struct kv_term_list list = {0};
    const uint8_t *p = (const uint8_t *)text;
    while (*p != 0) {
        uint32_t character = *p++;
        if (character >= 0xc0) {
            int more = character >= 0xf0 ? 3 : character >= 0xe0 ? 2 : 1;
            character &= 0x3fU >> more;
            for (; more > 0 && (*p & 0xc0) == 0x80; more--) {
                character = (character << 6) | (*p++ & 0x3fU);
            }
        }
        kv_write_u64(&list.elements, character);
        list.count++;
    }
    kv_term_list_close(&list, to);
}

/* A number makes every name the only one of its kind; quotes keep a bucket's name from looking like
 * a pid or a port, which Observer treats in ways of its own. */
static void native_name(const struct kv_process_info *info, char *to, size_t size)
{
    if (info->name.length > 0) {
        (void)snprintf(to, size, "%.*s", (int)info->name.length, (const char *)info->name.data);
    } else if (info->label.length > 0) {
        int length =
            info->label.length < NAME_MAX_TEXT / 2 ? (int)info->label.length : NAME_MAX_TEXT / 2;
        (void)snprintf(to, size, "\"%.*s\" (%" PRIu32 ")", length, (const char *)info->label.data,
                       info->pid.id);
    } else {
        (void)snprintf(to, size, "%s (%" PRIu32 ".%" PRIu32 ")", info->module, info->pid.id,
                       info->pid.serial);
    }
}

static void remote_name(const struct kv_pid *pid, char *to, size_t size)
{
    (void)snprintf(to, size, "<%" PRIu32 ".%" PRIu32 "> %.*s", pid->id, pid->serial,
                   (int)pid->node.length, (const char *)pid->node.data);
}

/* ---- the tree -------------------------------------------------------------------------------- */

struct tree {
    const struct kv_runtime *runtime;
    struct kv_term_list boxes;  /* {Pid, Name} */
    struct kv_term_list lines;  /* {From, To} */
    struct kv_term_list owners; /* {Pid, Name} of those on other nodes, drawn already */
    uint32_t drawn;
    uint32_t left_out;
};

static void add_box(struct kv_term_list *boxes, const struct kv_pid *pid, const char *name)
{
    boxes->count++;
    kv_write_tuple(&boxes->elements, 2);
    kv_write_pid(&boxes->elements, pid);
    write_characters(&boxes->elements, name);
}

static void add_line(struct tree *tree, const char *from, const char *to)
{
    tree->lines.count++;
    kv_write_tuple(&tree->lines.elements, 2);
    write_characters(&tree->lines.elements, from);
    write_characters(&tree->lines.elements, to);
}

static bool is_drawn(const struct kv_term_list *owners, const struct kv_pid *pid)
{
    struct kv_reader reader = kv_reader(kv_buffer_bytes(&owners->elements));
    for (uint32_t i = 0; i < owners->count; i++) {
        struct kv_pid owner;
        if (kv_read_pid(&reader, &owner) != KV_OK) {
            return false;
        }
        if (kv_pid_equal(&owner, pid)) {
            return true;
        }
    }
    return false;
}

struct owner {
    bool found;
    struct kv_pid pid;
};

/* The first process that is monitored: buckets and registries monitor their owner first of all. */
static void first_monitored(void *context, const struct kv_pid *pid)
{
    struct owner *owner = context;
    if (!owner->found) {
        owner->found = true;
        owner->pid = *pid;
    }
}

/* The name of what is above a process; a process of another node gets a box of its own. */
static void name_above(struct tree *tree, const struct kv_process *process, char *to, size_t size)
{
    struct owner owner = {0};
    (void)snprintf(to, size, "%s", ROOT_NAME);
    kv_process_each(process, KV_RELATION_MONITOR, first_monitored, &owner);
    if (!owner.found) {
        return;
    }
    const struct kv_process *above = kv_process_at(tree->runtime, &owner.pid);
    if (above != NULL) {
        struct kv_process_info info;
        kv_process_inspect(above, &info);
        native_name(&info, to, size);
    } else {
        remote_name(&owner.pid, to, size);
        if (!is_drawn(&tree->owners, &owner.pid)) {
            tree->owners.count++;
            kv_write_pid(&tree->owners.elements, &owner.pid);
            add_box(&tree->boxes, &owner.pid, to);
            add_line(tree, ROOT_NAME, to);
        }
    }
}

static void add_process(void *context, const struct kv_process *process)
{
    struct tree *tree = context;
    struct kv_process_info info;
    char name[NAME_MAX_TEXT];
    char above[NAME_MAX_TEXT];
    kv_process_inspect(process, &info);
    if (tree->drawn >= TREE_MAX) {
        tree->left_out++;
        return;
    }
    tree->drawn++;
    native_name(&info, name, sizeof name);
    name_above(tree, process, above, sizeof above);
    add_box(&tree->boxes, &info.pid, name);
    add_line(tree, above, name);
}

/* {Root, Boxes, Lines, []} */
static void write_tree(const struct kv_process *self, struct kv_buffer *to)
{
    struct tree tree = {.runtime = kv_process_runtime(self)};
    struct kv_pid own = kv_process_pid(self);
    add_box(&tree.boxes, &own, ROOT_NAME);
    kv_runtime_each_process(tree.runtime, add_process, &tree);
    if (tree.left_out > 0) {
        char more[64];
        (void)snprintf(more, sizeof more, "and %" PRIu32 " more", tree.left_out);
        add_box(&tree.boxes, &own, more);
        add_line(&tree, ROOT_NAME, more);
    }
    kv_write_tuple(to, 4);
    write_characters(to, ROOT_NAME);
    kv_term_list_close(&tree.boxes, to);
    kv_term_list_close(&tree.lines, to);
    kv_write_nil(to);
    kv_buffer_free(&tree.owners.elements);
}

/* ---- the process that serves a viewer -------------------------------------------------------- */

struct appmon {
    struct kv_buffer viewer; /* a pid as a term */
    bool lists;              /* it wants to know of applications */
    bool draws;              /* it draws the tree of kv */
    struct kv_buffer last;   /* the tree that was sent last */
};

/* [{Self, kv, {kv, Description, Version}}] */
static void write_applications(const struct kv_process *self, struct kv_buffer *to)
{
    struct kv_pid own = kv_process_pid(self);
    kv_write_list(to, 1);
    kv_write_tuple(to, 3);
    kv_write_pid(to, &own);
    kv_write_atom_text(to, "kv");
    kv_write_tuple(to, 3);
    kv_write_atom_text(to, "kv");
    kv_write_string(to, "native buckets and registries");
    kv_write_string(to, KV_VERSION);
    kv_write_nil(to);
}

/* {delivery, Self, Kind, About, Data} to the viewer. */
static void deliver(struct kv_process *self, const char *kind, struct kv_bytes about,
                    struct kv_bytes data)
{
    const struct appmon *appmon = kv_process_state(self);
    struct kv_pid own = kv_process_pid(self);
    struct kv_buffer message = KV_BUFFER_INIT;
    kv_write_tuple(&message, 5);
    kv_write_atom_text(&message, "delivery");
    kv_write_pid(&message, &own);
    kv_write_atom_text(&message, kind);
    kv_write_atom(&message, about);
    kv_write_term(&message, data);
    kv_send_to(self, kv_buffer_bytes(&appmon->viewer), kv_buffer_bytes(&message));
    kv_buffer_free(&message);
}

static void deliver_tree(struct kv_process *self, bool always)
{
    struct appmon *appmon = kv_process_state(self);
    struct kv_buffer tree = KV_BUFFER_INIT;
    write_tree(self, &tree);
    if (always || !kv_bytes_equal(kv_buffer_bytes(&tree), kv_buffer_bytes(&appmon->last))) {
        deliver(self, "app", kv_bytes_text("kv"), kv_buffer_bytes(&tree));
    }
    kv_buffer_free(&appmon->last);
    appmon->last = tree;
}

/* An application that is not here has an empty tree. */
static void deliver_nothing(struct kv_process *self, struct kv_bytes application)
{
    struct kv_buffer *nothing = kv_process_scratch(self);
    kv_write_tuple(nothing, 4);
    for (int i = 0; i < 4; i++) {
        kv_write_nil(nothing);
    }
    deliver(self, "app", application, kv_buffer_bytes(nothing));
}

static void switch_list(struct kv_process *self, struct kv_bytes about, bool on)
{
    struct appmon *appmon = kv_process_state(self);
    appmon->lists = on;
    if (on) {
        struct kv_buffer applications = KV_BUFFER_INIT;
        write_applications(self, &applications);
        deliver(self, "app_ctrl", about, kv_buffer_bytes(&applications));
        kv_buffer_free(&applications);
    }
}

static void switch_tree(struct kv_process *self, struct kv_bytes application, bool on)
{
    struct appmon *appmon = kv_process_state(self);
    if (kv_bytes_is(application, "kv")) {
        appmon->draws = on;
        if (on) {
            deliver_tree(self, true);
            kv_process_set_timer(self, POLL);
        }
    } else if (on) {
        deliver_nothing(self, application);
    }
}

/* {From, Kind, About, OnOff, Options} */
static void appmon_cast(struct kv_process *self, struct kv_bytes request)
{
    struct kv_bytes kind;
    struct kv_bytes about;
    struct kv_reader reader = kv_reader(request);
    if (kv_read_tuple_of(&reader, 5) != KV_OK || kv_read_any(&reader, NULL) != KV_OK ||
        kv_read_atom(&reader, &kind) != KV_OK || kv_read_atom(&reader, &about) != KV_OK) {
        return;
    }
    bool on = kv_read_this_atom(&reader, "true") == KV_OK;
    if (kv_bytes_is(kind, "app_ctrl")) {
        switch_list(self, about, on);
    } else if (kv_bytes_is(kind, "app")) {
        switch_tree(self, about, on);
    }
}

static void appmon_timer(struct kv_process *self)
{
    const struct appmon *appmon = kv_process_state(self);
    if (appmon->draws) {
        deliver_tree(self, false);
        kv_process_set_timer(self, POLL);
    }
}

static int appmon_init(struct kv_process *self, struct kv_bytes argument, struct kv_buffer *reason)
{
    struct appmon *appmon = kv_process_state(self);
    struct kv_pid viewer;
    struct kv_reader reader = kv_reader(argument);
    if (kv_read_pid(&reader, &viewer) != KV_OK) {
        kv_write_atom_text(reason, "badarg");
        return KV_ETYPE;
    }
    kv_write_term(&appmon->viewer, argument);
    kv_link(self, &viewer);
    return KV_OK;
}

/* The viewer is gone, or has left the tab. */
static void appmon_exit(struct kv_process *self, const struct kv_pid *from, struct kv_bytes reason)
{
    (void)from;
    (void)reason;
    kv_process_exit_atom(self, "normal");
}

static void appmon_terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct appmon *appmon = kv_process_state(self);
    (void)reason;
    kv_buffer_free(&appmon->viewer);
    kv_buffer_free(&appmon->last);
}

static const struct kv_behaviour appmon_behaviour = {
    .module = "appmon_info",
    .state_size = sizeof(struct appmon),
    .init = appmon_init,
    .handle_call = kv_reply_bad_request,
    .handle_cast = appmon_cast,
    .handle_timer = appmon_timer,
    .handle_exit = appmon_exit,
    .terminate = appmon_terminate,
};

/* ---- start ----------------------------------------------------------------------------------- */

struct search {
    struct kv_pid viewer;
    struct kv_pid server;
    bool of_viewer;
    bool found;
};

static void compare_viewer(void *context, const struct kv_pid *linked)
{
    struct search *search = context;
    search->of_viewer = search->of_viewer || kv_pid_equal(linked, &search->viewer);
}

static void find_server(void *context, const struct kv_process *process)
{
    struct search *search = context;
    struct kv_process_info info;
    kv_process_inspect(process, &info);
    if (!search->found && kv_bytes_is(kv_bytes_text(info.module), "appmon_info")) {
        search->of_viewer = false;
        kv_process_each(process, KV_RELATION_LINK, compare_viewer, search);
        search->found = search->of_viewer;
        search->server = info.pid;
    }
}

/* start_link2(Starter, Viewer, Options) answers {ok, Pid}: the same for each viewer, however often
 * it asks, since it does not say when it leaves the tab of a hidden node. */
static int run_start_link(struct kv_process *self, struct kv_reader arguments,
                          struct kv_buffer *value)
{
    struct search search = {.found = false};
    struct kv_buffer argument = KV_BUFFER_INIT;
    struct kv_buffer reason = KV_BUFFER_INIT;
    if (kv_read_any(&arguments, NULL) != KV_OK ||
        kv_read_pid(&arguments, &search.viewer) != KV_OK) {
        return KV_ETYPE;
    }
    kv_runtime_each_process(kv_process_runtime(self), find_server, &search);
    kv_write_pid(&argument, &search.viewer);
    int error = search.found ? KV_OK
                             : kv_spawn(kv_process_runtime(self), &appmon_behaviour,
                                        kv_buffer_bytes(&argument), &search.server, &reason);
    if (error == KV_OK) {
        kv_write_tuple(value, 2);
        kv_write_atom_text(value, "ok");
        kv_write_pid(value, &search.server);
    }
    kv_buffer_free(&argument);
    kv_buffer_free(&reason);
    return error == KV_OK ? KV_OK : KV_ETYPE;
}

const struct kv_function kv_app_functions[] = {
    {"appmon_info", "start_link2", run_start_link, 3},
    {NULL, NULL, NULL, 0},
};
