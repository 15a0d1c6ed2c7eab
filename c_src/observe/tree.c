/* OTP: lib/observer/src/observer_app_wx.erl, build_tree/2. It crashes, and Observer with it, if a
 * name in a line has no box. A box is only ever put below an existing box or the root, so there is
 * no loop, whatever ancestors peers claim. */
#include "observe/tree.h"

#include "base/alloc.h"
#include "observe/characters.h"
#include "process/runtime.h"

#include <inttypes.h>
#include <stdio.h>

#define ROOT_NAME "kv"

enum { NAME_SIZE = 2400 }; /* a registered name, and a pid with the name of its node */

struct box {
    struct kv_map_node by_pid;
    struct kv_map_node by_name;
    struct kv_list of_tree;
    struct kv_bytes pid;  /* as a term */
    struct kv_bytes name; /* UTF-8 */
    uint8_t bytes[];
};

/* ---- boxes ----------------------------------------------------------------------------------- */

static struct kv_bytes pid_term(const struct kv_pid *pid, struct kv_buffer *to)
{
    kv_buffer_clear(to);
    kv_write_pid(to, pid);
    return kv_buffer_bytes(to);
}

static bool has_pid(const struct kv_map_node *node, const void *key)
{
    return kv_bytes_equal(KV_MAP_OF(node, const struct box, by_pid)->pid,
                          *(const struct kv_bytes *)key);
}

static bool has_name(const struct kv_map_node *node, const void *key)
{
    return kv_bytes_equal(KV_MAP_OF(node, const struct box, by_name)->name,
                          *(const struct kv_bytes *)key);
}

static uint64_t hash_of(const struct kv_tree *tree, struct kv_bytes bytes)
{
    return kv_siphash(tree->key, bytes);
}

static struct box *find(const struct kv_tree *tree, const struct kv_pid *pid)
{
    struct kv_buffer term = KV_BUFFER_INIT;
    struct kv_bytes key = pid_term(pid, &term);
    struct kv_map_node *found = kv_map_find(&tree->by_pid, hash_of(tree, key), has_pid, &key);
    kv_buffer_free(&term);
    return found == NULL ? NULL : KV_MAP_OF(found, struct box, by_pid);
}

static bool is_taken(const struct kv_tree *tree, struct kv_bytes name)
{
    return kv_map_find(&tree->by_name, hash_of(tree, name), has_name, &name) != NULL;
}

static struct box *new_box(struct kv_tree *tree, struct kv_bytes pid, struct kv_bytes name)
{
    struct box *box = kv_zalloc(sizeof *box + pid.length + name.length);
    memcpy(box->bytes, pid.data, pid.length);
    memcpy(box->bytes + pid.length, name.data, name.length);
    box->pid = kv_bytes(box->bytes, pid.length);
    box->name = kv_bytes(box->bytes + pid.length, name.length);
    kv_map_insert(&tree->by_pid, &box->by_pid, hash_of(tree, pid));
    kv_map_insert(&tree->by_name, &box->by_name, hash_of(tree, name));
    kv_list_append(&tree->list, &box->of_tree);
    return box;
}

static void write_box(struct kv_tree *tree, struct kv_bytes pid, struct kv_bytes name)
{
    struct kv_buffer *to = &tree->boxes.elements;
    tree->boxes.count++;
    kv_write_tuple(to, 2);
    kv_write_term(to, pid);
    kv_write_characters(to, name);
}

static void write_line(struct kv_tree *tree, struct kv_bytes from, struct kv_bytes name)
{
    struct kv_buffer *to = &tree->lines.elements;
    tree->lines.count++;
    kv_write_tuple(to, 2);
    kv_write_characters(to, from);
    kv_write_characters(to, name);
}

/* Adds a box. `above` is NULL for the root. If another box has the name already, the pid is
 * appended. */
static struct box *add(struct kv_tree *tree, const struct kv_pid *pid, const char *wanted,
                       const struct box *above)
{
    char name[NAME_SIZE];
    struct kv_buffer term = KV_BUFFER_INIT;
    (void)snprintf(name, sizeof name, "%s", wanted);
    if (is_taken(tree, kv_bytes_text(name))) {
        (void)snprintf(name, sizeof name, "%.1100s <%" PRIu32 ".%" PRIu32 ".%" PRIu32 "> %.*s",
                       wanted, pid->id, pid->serial, pid->creation, (int)pid->node.length,
                       (const char *)pid->node.data);
    }
    if (is_taken(tree, kv_bytes_text(name))) {
        return tree->root;
    }
    struct box *box = new_box(tree, pid_term(pid, &term), kv_bytes_text(name));
    write_box(tree, box->pid, box->name);
    if (above != NULL) {
        write_line(tree, above->name, box->name);
    }
    kv_buffer_free(&term);
    return box;
}

/* ---- processes of other nodes ---------------------------------------------------------------- */

/* Observer shows a name that begins with < as if it were a pid. */
static void remote_name(const struct kv_pid *pid, char *to, size_t size)
{
    (void)snprintf(to, size, "<%" PRIu32 ".%" PRIu32 "> %.*s", pid->id, pid->serial,
                   (int)pid->node.length, (const char *)pid->node.data);
}

/* A pid, or {Name, Pid}. */
static struct box *ancestor_box(struct kv_tree *tree, struct kv_bytes term, const struct box *above)
{
    char text[NAME_SIZE];
    struct kv_pid pid;
    struct kv_bytes name = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(term);
    if (kv_read_tuple_of(&reader, 2) == KV_OK) {
        (void)kv_read_atom(&reader, &name);
    }
    (void)kv_read_pid(&reader, &pid);
    struct box *box = find(tree, &pid);
    if (box != NULL) {
        return box;
    }
    if (name.length > 0) {
        (void)snprintf(text, sizeof text, "%.*s", (int)name.length, (const char *)name.data);
    } else {
        remote_name(&pid, text, sizeof text);
    }
    return add(tree, &pid, text, above);
}

/* Returns the box of the nearest ancestor, below the root. The others would push the names of
 * buckets out of sight; the tree of their own node shows them. The list has the nearest first. */
static struct box *lineage_box(struct kv_tree *tree, struct kv_bytes ancestors)
{
    struct kv_bytes nearest = kv_bytes(NULL, 0);
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(ancestors);
    if (kv_read_list(&reader, &count) != KV_OK || count == 0 ||
        kv_read_any(&reader, &nearest) != KV_OK) {
        return tree->root;
    }
    return ancestor_box(tree, nearest, tree->root);
}

/* ---- processes of this node ------------------------------------------------------------------ */

/* A number makes the name of a process unique. Quotes keep a bucket's name from looking like a pid
 * or a port, which Observer treats in ways of its own. */
static void native_name(const struct kv_process_info *info, char *to, size_t size)
{
    if (info->name.length > 0) {
        (void)snprintf(to, size, "%.*s", (int)info->name.length, (const char *)info->name.data);
    } else if (info->label.length > 0) {
        (void)snprintf(to, size, "\"%.*s\" (%" PRIu32 ".%" PRIu32 ")", (int)info->label.length,
                       (const char *)info->label.data, info->pid.id, info->pid.serial);
    } else {
        (void)snprintf(to, size, "%s (%" PRIu32 ".%" PRIu32 ")", info->module, info->pid.id,
                       info->pid.serial);
    }
}

struct owner {
    bool found;
    struct kv_pid pid;
};

static void take_owner(void *context, const struct kv_pid *pid)
{
    struct owner *owner = context;
    owner->found = true;
    owner->pid = *pid;
}

/* Buckets and registries monitor their owner before anything else. One without an owner may be
 * linked to the process that spawned it. */
static void find_owner(const struct kv_process *process, struct owner *owner)
{
    kv_process_each(process, KV_RELATION_MONITOR, 1, take_owner, owner);
    if (!owner->found) {
        kv_process_each(process, KV_RELATION_LINK, 1, take_owner, owner);
    }
}

/* Returns the box above a process: its owner, below the owner's nearest ancestor. */
static const struct box *box_above(struct kv_tree *tree, const struct kv_process *process,
                                   const struct kv_process_info *info)
{
    char name[NAME_SIZE];
    struct owner owner = {.found = false};
    find_owner(process, &owner);
    struct box *box = lineage_box(tree, info->ancestors);
    struct box *of_owner = owner.found ? find(tree, &owner.pid) : NULL;
    if (of_owner != NULL) {
        return of_owner;
    }
    if (!owner.found || kv_bytes_equal(owner.pid.node, info->pid.node)) {
        return box; /* an owner of this node without a box is a younger process */
    }
    remote_name(&owner.pid, name, sizeof name);
    return add(tree, &owner.pid, name, box);
}

/* Leaves out the processes that serve a viewer: they come and go. The list of processes has them.
 */
static bool is_of_a_viewer(const struct kv_process_info *info)
{
    static const char *const modules[] = {"erpc", "rex", "observer_backend", "appmon_info"};
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        if (kv_bytes_is(kv_bytes_text(info->module), modules[i])) {
            return info->name.length == 0;
        }
    }
    return false;
}

static void add_process(void *context, const struct kv_process *process)
{
    struct kv_tree *tree = context;
    struct kv_process_info info;
    char name[NAME_SIZE];
    kv_process_inspect(process, &info);
    if (is_of_a_viewer(&info)) {
        return;
    }
    if (tree->boxes.count >= KV_TREE_MAX - 1) {
        tree->left_out++;
        return;
    }
    const struct box *above = box_above(tree, process, &info);
    native_name(&info, name, sizeof name);
    if (find(tree, &info.pid) == NULL) {
        (void)add(tree, &info.pid, name, above);
    }
}

/* ---- the tree -------------------------------------------------------------------------------- */

void kv_tree_begin(struct kv_tree *tree, struct kv_runtime *runtime, const struct kv_hash_key *key,
                   const struct kv_pid *root)
{
    *tree = (struct kv_tree){.runtime = runtime, .key = key, .root_pid = *root};
    kv_list_init(&tree->list);
    tree->root = add(tree, root, ROOT_NAME, NULL);
    kv_walk_begin(&tree->walk, runtime);
}

bool kv_tree_step(struct kv_tree *tree)
{
    enum { SLICE = 128 };
    return kv_walk_step(&tree->walk, SLICE, add_process, tree);
}

void kv_tree_write(struct kv_tree *tree, struct kv_buffer *to)
{
    if (tree->left_out > 0) {
        char more[64];
        (void)snprintf(more, sizeof more, "(and %" PRIu64 " more)", tree->left_out);
        (void)add(tree, &tree->root_pid, more, tree->root);
    }
    kv_write_tuple(to, 4);
    kv_write_characters(to, tree->root->name);
    kv_term_list_close(&tree->boxes, to);
    kv_term_list_close(&tree->lines, to);
    kv_write_nil(to);
    tree->boxes = (struct kv_term_list){0};
    tree->lines = (struct kv_term_list){0};
}

void kv_tree_end(struct kv_tree *tree)
{
    if (tree->runtime == NULL) {
        return;
    }
    kv_walk_end(&tree->walk);
    KV_LIST_FOREACH (link, &tree->list) {
        kv_free(KV_LIST_OF(link, struct box, of_tree));
    }
    kv_map_free(&tree->by_pid);
    kv_map_free(&tree->by_name);
    kv_buffer_free(&tree->boxes.elements);
    kv_buffer_free(&tree->lines.elements);
    tree->runtime = NULL;
}
