/* The behaviour of a bucket: how it starts and ends, and its view for tools. */
#include "kv/bucket.h"
#include "kv/going.h"
#include "kv/kv.h"
#include "kv/requests.h"
#include "kv/start.h"

#include <kv/log.h>

KV_STATE_GOES_ON(struct kv_bucket);

static int open_bucket(struct kv_process *self, const struct kv_start_options *options,
                       struct kv_buffer *reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_table_options table = options->table;
    table.touch = options->touch_on_read ? options->ttl : 0;
    bucket->ttl = options->ttl;
    bucket->evict = options->table.evict;
    bucket->touch_on_read = options->touch_on_read;
    int error = kv_contents_open(&bucket->contents, self, false, &table, reason);
    if (error == KV_OK) {
        kv_buffer_append(&bucket->label, options->label);
    }
    return error;
}

static int init(struct kv_process *self, struct kv_bytes list, struct kv_buffer *reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_start_options options = {0};
    int error =
        kv_start(self, list, KV_BUCKET_OPTIONS, open_bucket, &options, &bucket->owner, reason);
    bucket->generation = options.generation;
    if (error == KV_OK) {
        kv_store_of(self)->buckets++;
    }
    return error;
}

static void terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    kv_store_of(self)->buckets--;
    kv_going_stop(self, reason);
    kv_contents_close(&bucket->contents);
    kv_buffer_free(&bucket->key);
    kv_buffer_free(&bucket->value);
    kv_buffer_free(&bucket->label);
}

static void handle_call(struct kv_process *self, const struct kv_from *from,
                        struct kv_bytes request)
{
    kv_request_call(self, &kv_store_of(self)->bucket, from, request);
}

static void handle_cast(struct kv_process *self, struct kv_bytes request)
{
    if (!kv_request_cast(self, &kv_store_of(self)->bucket, request)) {
        kv_log_line(kv_process_runtime(self), KV_LOG_DEBUG, "a bucket ignored a cast");
    }
}

static void handle_down(struct kv_process *self, uint64_t monitor, struct kv_bytes reason)
{
    const struct kv_bucket *bucket = kv_process_state(self);
    if (monitor == bucket->owner) {
        kv_process_exit(self, reason);
    }
}

static void handle_suspend(struct kv_process *self, bool suspended)
{
    const struct kv_bucket *bucket = kv_process_state(self);
    kv_table_ask_owner(bucket->contents.table, suspended);
}

/* ---- for tools ----------------------------------------------------------------------------
 */

static void write_state(const struct kv_process *self, struct kv_buffer *to)
{
    (void)kv_bucket_write(self, KV_BUCKET_MAP, to);
}

static size_t memory(const struct kv_process *self)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return kv_table_memory(bucket->contents.table) + bucket->key.capacity + bucket->value.capacity +
           bucket->label.capacity;
}

static struct kv_bytes label(const struct kv_process *self)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return kv_buffer_bytes(&bucket->label);
}

static size_t view_count(const struct kv_process *self)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return kv_table_count_seen(bucket->contents.table);
}

struct view_walk {
    void (*visit)(void *context, struct kv_bytes key, struct kv_bytes value);
    void *context;
    struct kv_buffer key;
    struct kv_buffer value;
};

static void visit_row(void *context, struct kv_item key, struct kv_item value)
{
    struct view_walk *walk = context;
    walk->visit(walk->context, kv_item_term(key, &walk->key), kv_item_term(value, &walk->value));
}

static void view_scan(const struct kv_process *self, uint64_t *cursor,
                      void (*visit)(void *context, struct kv_bytes key, struct kv_bytes value),
                      void *context)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct view_walk walk = {.visit = visit, .context = context};
    kv_table_scan(bucket->contents.table, cursor, visit_row, &walk);
    kv_buffer_free(&walk.key);
    kv_buffer_free(&walk.value);
}

static int view_put(struct kv_process *self, struct kv_bytes key, struct kv_bytes value)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return bucket->going != NULL ? KV_ENOMEM : kv_bucket_put(self, key, value, KV_NEVER);
}

static bool view_delete(struct kv_process *self, struct kv_bytes key)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return bucket->going == NULL && kv_bucket_delete(self, key);
}

static uint64_t view_counted(const struct kv_process *self)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return kv_table_counted(bucket->contents.table);
}

static uint64_t view_limit(const struct kv_process *self)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return kv_table_limit(bucket->contents.table);
}

static const struct kv_view view = {
    .count = view_count,
    .scan = view_scan,
    .get = kv_bucket_find,
    .put = view_put,
    .delete = view_delete,
    .counted = view_counted,
    .limit = view_limit,
};

const struct kv_behaviour kv_bucket_behaviour = {
    .module = "kv_bucket",
    .state_size = sizeof(struct kv_bucket),
    .init = init,
    .handle_call = handle_call,
    .handle_cast = handle_cast,
    .handle_more = kv_going_more,
    .handle_down = handle_down,
    .handle_suspend = handle_suspend,
    .memory = memory,
    .label = label,
    .view = &view,
    .write_state = write_state,
    .terminate = terminate,
};
