#include "observe/collector.h"

#include "observe/functions.h"

enum { CHUNK_ROWS = 1024 }; /* processes in one message */

int kv_collector_init(struct kv_process *self, struct kv_bytes target, const struct kv_rows *rows,
                      struct kv_buffer *reason)
{
    struct kv_collector *collector = kv_process_state(self);
    struct kv_pid pid;
    struct kv_reader reader = kv_reader(target);
    if (kv_read_pid(&reader, &pid) != KV_OK) {
        kv_write_atom_text(reason, "badarg");
        return KV_ETYPE;
    }
    collector->self = self;
    collector->rows = rows;
    kv_write_term(&collector->target, target);
    kv_walk_begin(&collector->walk, kv_process_runtime(self));
    kv_process_set_timer(self, 0);
    return KV_OK;
}

static void add_row(void *context, const struct kv_process *process)
{
    struct kv_collector *collector = context;
    struct kv_process_info info;
    if (process == collector->self && !collector->rows->with_self) {
        return;
    }
    kv_process_inspect(process, &info);
    collector->chunk.count++;
    collector->rows->write(&info, &collector->chunk.elements);
}

/* {Tag, Self, Rows} */
static void send_chunk(struct kv_process *self, struct kv_collector *collector)
{
    struct kv_pid own = kv_process_pid(self);
    struct kv_buffer message = KV_BUFFER_INIT;
    kv_write_tuple(&message, 3);
    kv_write_atom_text(&message, collector->rows->tag);
    kv_write_pid(&message, &own);
    kv_term_list_close(&collector->chunk, &message);
    collector->chunk = (struct kv_term_list){0};
    kv_send_to(self, kv_buffer_bytes(&collector->target), kv_buffer_bytes(&message));
    kv_buffer_free(&message);
}

/* Runs once a turn, so that the node goes on serving meanwhile. */
void kv_collector_timer(struct kv_process *self, uint64_t tag)
{
    (void)tag;
    struct kv_collector *collector = kv_process_state(self);
    bool more = kv_walk_step(&collector->walk, KV_SURVEY_SLICE, add_row, collector);
    if (!more || collector->chunk.count >= CHUNK_ROWS) {
        send_chunk(self, collector);
    }
    if (more) {
        kv_process_set_timer(self, 0);
    } else {
        kv_process_exit_atom(self, "normal");
    }
}

void kv_collector_terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct kv_collector *collector = kv_process_state(self);
    (void)reason;
    kv_walk_end(&collector->walk);
    kv_buffer_free(&collector->target);
    kv_buffer_free(&collector->chunk.elements);
}
