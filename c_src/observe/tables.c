/* Buckets as tables, for Observer's Table Viewer with edit and delete.
 *
 * OTP: lib/runtime_tools/src/observer_backend.erl, get_table_list/2 and get_table/3;
 * lib/observer/src/ observer_tv_table.erl. The identifier of a table is [Pid, Label]: labels need
 * not be unique, and no atom is made from one. */
#include "observe/characters.h"
#include "observe/functions.h"
#include "process/runtime.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    SHOWN_MEMORY_MAX = 64 << 20, /* bytes of a table that a viewer may fetch whole */
    CHUNK_BYTES = 64 << 10,      /* of rows in one message */
    LISTED_MAX = 5000,           /* tables in the list, whose answer is one message of up to 2 MB */
    LABEL_MAX = 256,             /* bytes of a label in the list */
    WORD = 8,
};

/* ---- identity -------------------------------------------------------------------------------- */

/* [Pid, Label]. The list of tables shows it as "shopping <0.4.0>": observer_lib:to_str/1. */
static void write_id(struct kv_buffer *to, const struct kv_process_info *info)
{
    size_t length = info->label.length < LABEL_MAX ? info->label.length : LABEL_MAX;
    kv_write_list(to, 2);
    kv_write_pid(to, &info->pid);
    kv_write_characters(to, kv_bytes(info->label.data, length));
    kv_write_nil(to);
}

/* Returns the process of the table [Pid, Label] or Pid. NULL if the process is dead or no table. */
static struct kv_process *read_table(struct kv_process *self, struct kv_reader *arguments,
                                     struct kv_process_info *info)
{
    struct kv_bytes term;
    struct kv_pid pid;
    uint32_t count;
    if (kv_read_any(arguments, &term) != KV_OK) {
        return NULL;
    }
    struct kv_reader reader = kv_reader(term);
    (void)kv_read_list(&reader, &count);
    if (kv_read_pid(&reader, &pid) != KV_OK) {
        return NULL;
    }
    struct kv_process *process = kv_process_at(kv_process_runtime(self), &pid);
    if (process != NULL) {
        kv_process_inspect(process, info);
    }
    return process != NULL && info->view != NULL ? process : NULL;
}

static bool is_shown(const struct kv_process_info *info)
{
    return info->memory <= SHOWN_MEMORY_MAX;
}

/* ---- the list -------------------------------------------------------------------------------- */

static void write_reg_name(struct kv_buffer *to, struct kv_bytes name)
{
    if (name.length > 0) {
        kv_write_atom(to, name);
    } else {
        kv_write_atom_text(to, "ignore");
    }
}

/* Properties that all tables share. */
static void add_constants(struct kv_term_list *table)
{
    kv_term_list_atom(table, "type", "set");
    kv_term_list_number(table, "keypos", 1);
    kv_term_list_atom(table, "heir", "none");
    kv_term_list_atom(table, "compressed", "false");
    kv_term_list_atom(table, "fixed", "false");
}

static void add_table(void *context, const struct kv_process *process)
{
    struct kv_findings *findings = context;
    struct kv_term_list table = {0};
    struct kv_process_info info;
    kv_process_inspect(process, &info);
    if (info.view == NULL) {
        return;
    }
    if (findings->list.count >= LISTED_MAX) {
        findings->left_out++;
        return;
    }
    kv_term_list_atom(&table, "name", info.module);
    write_id(kv_term_list_item(&table, "id"), &info);
    kv_term_list_atom(&table, "protection", is_shown(&info) ? "public" : "private");
    kv_write_pid(kv_term_list_item(&table, "owner"), &info.pid);
    kv_term_list_number(&table, "size", info.view->count(process));
    write_reg_name(kv_term_list_item(&table, "reg_name"), info.name);
    kv_term_list_number(&table, "memory", info.memory);
    add_constants(&table);
    findings->list.count++;
    kv_term_list_close(&table, &findings->list.elements);
}

/* One row for all tables that are left out. It is private, so it cannot be opened; its size is
 * their number. Its name is always the same atom. */
static void add_the_rest(const struct kv_process *self, struct kv_findings *findings)
{
    struct kv_term_list table = {0};
    struct kv_pid own = kv_process_pid(self);
    char text[64];
    (void)snprintf(text, sizeof text, "%" PRIu64 " more", findings->left_out);
    kv_term_list_atom(&table, "name", "not_listed");
    kv_term_list_string(&table, "id", text);
    kv_term_list_atom(&table, "protection", "private");
    kv_write_pid(kv_term_list_item(&table, "owner"), &own);
    kv_term_list_number(&table, "size", findings->left_out);
    kv_term_list_atom(&table, "reg_name", "ignore");
    kv_term_list_number(&table, "memory", 0);
    add_constants(&table);
    findings->list.count++;
    kv_term_list_close(&table, &findings->list.elements);
}

static void finish_table_list(struct kv_process *self, struct kv_findings *findings,
                              struct kv_buffer *value)
{
    if (findings->left_out > 0) {
        add_the_rest(self, findings);
    }
    kv_term_list_close(&findings->list, value);
}

static const struct kv_survey table_list = {
    .subject = "ets", .visit = add_table, .finish = finish_table_list};

/* Other kinds of tables. */
static int run_get_table_list(struct kv_process *self, struct kv_reader arguments,
                              struct kv_buffer *value)
{
    (void)self;
    if (kv_read_this_atom(&arguments, "mnesia") != KV_OK) {
        return KV_ETYPE;
    }
    kv_write_tuple(value, 2);
    kv_write_atom_text(value, "error");
    kv_write_string(value, "Mnesia does not run on a native node");
    return KV_OK;
}

/* ---- one table ------------------------------------------------------------------------------- */

static int run_info(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_process_info info;
    struct kv_bytes item;
    const struct kv_process *process = read_table(self, &arguments, &info);
    if (kv_read_atom(&arguments, &item) != KV_OK) {
        return KV_ETYPE;
    }
    if (process == NULL) {
        kv_write_atom_text(value, "undefined");
    } else if (kv_bytes_is(item, "keypos")) {
        kv_write_u64(value, 1);
    } else if (kv_bytes_is(item, "size")) {
        kv_write_u64(value, info.view->count(process));
    } else if (kv_bytes_is(item, "memory")) {
        kv_write_u64(value, info.memory / WORD);
    } else if (kv_bytes_is(item, "owner")) {
        kv_write_pid(value, &info.pid);
    } else {
        return KV_ETYPE;
    }
    return KV_OK;
}

/* Reads Table and {Key, Value}. Returns false if there is no such table, or it is suspended. */
static bool read_edit(struct kv_process *self, struct kv_reader *arguments,
                      struct kv_process **process, struct kv_process_info *info,
                      struct kv_bytes *key, struct kv_bytes *row_value)
{
    *process = read_table(self, arguments, info);
    return *process != NULL && !info->suspended && kv_read_tuple_of(arguments, 2) == KV_OK &&
           kv_read_any(arguments, key) == KV_OK && kv_read_any(arguments, row_value) == KV_OK;
}

/* Compares values, not bytes: a viewer encodes anew what it was sent. */
static bool is_same(const struct kv_process *self, struct kv_bytes one, struct kv_bytes other)
{
    const struct kv_world *world = kv_process_context(self);
    struct kv_buffer canonical[2] = {KV_BUFFER_INIT, KV_BUFFER_INIT};
    if (kv_bytes_equal(one, other)) {
        return true;
    }
    kv_term_canonical(one, world->zeros, &canonical[0]);
    kv_term_canonical(other, world->zeros, &canonical[1]);
    bool same = kv_bytes_equal(kv_buffer_bytes(&canonical[0]), kv_buffer_bytes(&canonical[1]));
    kv_buffer_free(&canonical[0]);
    kv_buffer_free(&canonical[1]);
    return same;
}

/* ets:delete_object/2 deletes a row only if key and value match. */
static int run_delete_object(struct kv_process *self, struct kv_reader arguments,
                             struct kv_buffer *value)
{
    struct kv_process *process = NULL;
    struct kv_process_info info;
    struct kv_bytes key;
    struct kv_bytes wanted;
    struct kv_bytes present;
    bool done = read_edit(self, &arguments, &process, &info, &key, &wanted);
    if (done && info.view->get(process, key, &present) && is_same(self, present, wanted)) {
        (void)info.view->delete (process, key);
    }
    kv_write_bool(value, done);
    return KV_OK;
}

static int run_insert(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    struct kv_process *process = NULL;
    struct kv_process_info info;
    struct kv_bytes key;
    struct kv_bytes row_value;
    bool done = read_edit(self, &arguments, &process, &info, &key, &row_value);
    if (done) {
        (void)info.view->put(process, key, row_value);
    }
    kv_write_bool(value, done);
    return KV_OK;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* A process that sends the rows of a table to a viewer, a chunk a turn, and ends. It is linked to
 * the viewer. */
struct reader {
    struct kv_buffer viewer; /* a pid as a term */
    struct kv_pid table;     /* of this node */
    uint64_t cursor;
    struct kv_term_list rows;
};

static int reader_init(struct kv_process *self, struct kv_bytes argument, struct kv_buffer *reason)
{
    struct reader *reader = kv_process_state(self);
    struct kv_pid viewer;
    struct kv_reader arguments = kv_reader(argument);
    struct kv_pid own = kv_process_pid(self);
    (void)reason;
    (void)kv_read_tuple_of(&arguments, 2);
    (void)kv_read_pid(&arguments, &viewer);
    (void)kv_read_pid(&arguments, &reader->table);
    reader->table.node = own.node;
    kv_write_pid(&reader->viewer, &viewer);
    kv_link(self, &viewer);
    kv_process_set_timer(self, 0);
    return KV_OK;
}

/* [{Key, Value}]: a row is a list with one object. */
static void add_row(void *context, struct kv_bytes key, struct kv_bytes value)
{
    struct kv_term_list *rows = context;
    rows->count++;
    kv_write_list(&rows->elements, 1);
    kv_write_tuple(&rows->elements, 2);
    kv_write_term(&rows->elements, key);
    kv_write_term(&rows->elements, value);
    kv_write_nil(&rows->elements);
}

/* {Self, Rows} or {Self, '$end_of_table'} */
static void send_to_viewer(struct kv_process *self, struct reader *reader, bool end)
{
    struct kv_pid own = kv_process_pid(self);
    struct kv_buffer message = KV_BUFFER_INIT;
    kv_write_tuple(&message, 2);
    kv_write_pid(&message, &own);
    if (end) {
        kv_write_atom_text(&message, "$end_of_table");
    } else {
        kv_term_list_close(&reader->rows, &message);
        reader->rows = (struct kv_term_list){0};
    }
    kv_send_to(self, kv_buffer_bytes(&reader->viewer), kv_buffer_bytes(&message));
    kv_buffer_free(&message);
}

static void reader_timer(struct kv_process *self, uint64_t tag)
{
    (void)tag;
    struct reader *reader = kv_process_state(self);
    struct kv_process_info info;
    const struct kv_process *table = kv_process_at(kv_process_runtime(self), &reader->table);
    reader->cursor = table == NULL ? 0 : reader->cursor;
    if (table != NULL) {
        kv_process_inspect(table, &info);
        do {
            info.view->scan(table, &reader->cursor, add_row, &reader->rows);
        } while (reader->cursor != 0 && reader->rows.elements.length < CHUNK_BYTES);
    }
    if (reader->rows.count > 0) {
        send_to_viewer(self, reader, false);
    }
    if (reader->cursor == 0) {
        send_to_viewer(self, reader, true);
        kv_process_exit_atom(self, "normal");
    } else {
        kv_process_set_timer(self, 0);
    }
}

static void reader_exit(struct kv_process *self, const struct kv_pid *from, struct kv_bytes reason)
{
    (void)from;
    kv_process_exit(self, reason);
}

static void reader_terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct reader *reader = kv_process_state(self);
    (void)reason;
    kv_buffer_free(&reader->viewer);
    kv_buffer_free(&reader->rows.elements);
}

static const struct kv_behaviour reader_behaviour = {
    .module = "observer_backend",
    .function = "get_table",
    .state_size = sizeof(struct reader),
    .init = reader_init,
    .handle_call = kv_reply_bad_request,
    .handle_timer = reader_timer,
    .handle_exit = reader_exit,
    .terminate = reader_terminate,
};

/* get_table(Viewer, Table, ets) answers the pid of the process that sends the rows. */
static int run_get_table(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    struct kv_pid viewer;
    struct kv_pid pid;
    struct kv_process_info info;
    struct kv_buffer reason = KV_BUFFER_INIT;
    struct kv_buffer argument = KV_BUFFER_INIT;
    if (kv_read_pid(&arguments, &viewer) != KV_OK || read_table(self, &arguments, &info) == NULL ||
        !is_shown(&info)) {
        return KV_ETYPE;
    }
    kv_write_tuple(&argument, 2);
    kv_write_pid(&argument, &viewer);
    kv_write_pid(&argument, &info.pid);
    int error = kv_spawn(kv_process_runtime(self), &reader_behaviour, kv_buffer_bytes(&argument),
                         &pid, &reason);
    if (error == KV_OK) {
        kv_write_pid(value, &pid);
    }
    kv_buffer_free(&argument);
    kv_buffer_free(&reason);
    return error == KV_OK ? KV_OK : KV_ETYPE;
}

const struct kv_function kv_table_functions[] = {
    {"observer_backend", "get_table_list", run_get_table_list, 2, &table_list,
     "the tables: one for each bucket"},
    {"observer_backend", "get_table", run_get_table, 3, NULL,
     "sends the rows of a table to a process"},
    {"ets", "info", run_info, 2, NULL, "`keypos`, `size` and other items of a table"},
    {"ets", "delete_object", run_delete_object, 2, NULL,
     "deletes a key that has this value; Observer edits so"},
    {"ets", "insert", run_insert, 2, NULL, "puts a value; Observer edits so"},
    {.module = NULL},
};
