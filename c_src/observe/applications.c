/* Observer's tab Applications. Each viewer has a process, which sends it the tree whenever the tree
 * changes.
 *
 * OTP: lib/runtime_tools/src/appmon_info.erl, of which one process serves each viewer. */
#include "observe/functions.h"
#include "observe/tree.h"
#include "process/runtime.h"

enum { POLL = 2000 }; /* milliseconds between two looks, as OTP has it */

/* ---- the process that serves a viewer -------------------------------------------------------- */

struct appmon {
    struct kv_buffer viewer; /* a pid as a term */
    bool lists;              /* the viewer wants the list of applications */
    bool draws;              /* the viewer shows the tree of kv */
    bool asked;              /* send the tree even if it has not changed */
    struct kv_tree tree;     /* a tree at work */
    struct kv_buffer last;   /* the last tree sent */
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

static void deliver_tree(struct kv_process *self)
{
    struct appmon *appmon = kv_process_state(self);
    struct kv_buffer tree = KV_BUFFER_INIT;
    kv_tree_write(&appmon->tree, &tree);
    kv_tree_end(&appmon->tree);
    if (appmon->asked || !kv_bytes_equal(kv_buffer_bytes(&tree), kv_buffer_bytes(&appmon->last))) {
        deliver(self, "app", kv_bytes_text("kv"), kv_buffer_bytes(&tree));
    }
    appmon->asked = false;
    kv_buffer_free(&appmon->last);
    appmon->last = tree;
}

/* Works at the tree for one turn. */
static void draw(struct kv_process *self)
{
    struct appmon *appmon = kv_process_state(self);
    if (appmon->tree.runtime == NULL) {
        struct kv_pid own = kv_process_pid(self);
        const struct kv_world *world = kv_process_context(self);
        kv_tree_begin(&appmon->tree, kv_process_runtime(self), &world->hash_key, &own);
    }
    if (kv_tree_step(&appmon->tree)) {
        kv_process_set_timer(self, 0);
    } else {
        deliver_tree(self);
        kv_process_set_timer(self, POLL);
    }
}

/* Any other application has an empty tree. */
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
            appmon->asked = true;
            draw(self);
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

static void appmon_timer(struct kv_process *self, uint64_t tag)
{
    (void)tag;
    struct appmon *appmon = kv_process_state(self);
    if (appmon->draws) {
        draw(self);
    } else {
        kv_tree_end(&appmon->tree);
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
    kv_tree_end(&appmon->tree);
    kv_buffer_free(&appmon->viewer);
    kv_buffer_free(&appmon->last);
}

const struct kv_behaviour kv_appmon_behaviour = {
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
    bool found;
    struct kv_pid server;
};

static void find_server(void *context, const struct kv_process *process)
{
    struct search *search = context;
    struct kv_process_info info;
    kv_process_inspect(process, &info);
    if (kv_bytes_is(kv_bytes_text(info.module), kv_appmon_behaviour.module)) {
        search->found = true;
        search->server = info.pid;
    }
}

/* start_link2(Starter, Viewer, Options) answers {ok, Pid}. The pid is the same each time a viewer
 * asks, because a viewer does not say when it leaves the tab of a hidden node. */
static int run_start_link(struct kv_process *self, struct kv_reader arguments,
                          struct kv_buffer *value)
{
    struct kv_pid viewer;
    struct search search = {.found = false};
    struct kv_buffer argument = KV_BUFFER_INIT;
    struct kv_buffer reason = KV_BUFFER_INIT;
    if (kv_read_any(&arguments, NULL) != KV_OK || kv_read_pid(&arguments, &viewer) != KV_OK) {
        return KV_ETYPE;
    }
    kv_runtime_each_linked(kv_process_runtime(self), &viewer, find_server, &search);
    kv_write_pid(&argument, &viewer);
    int error = search.found ? KV_OK
                             : kv_spawn(kv_process_runtime(self), &kv_appmon_behaviour,
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
    {"appmon_info", "start_link2", run_start_link, 3, NULL,
     "a process that draws the tab Applications"},
    {.module = NULL},
};
