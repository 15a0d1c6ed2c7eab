/* The behaviour of a bucket: how it starts and ends, and its view for tools. */
#include "kv/adopt.h"
#include "kv/bucket.h"
#include "kv/durable.h"
#include "kv/going.h"
#include "kv/kv.h"
#include "kv/requests.h"
#include "kv/start.h"

#include <kv/log.h>

KV_STATE_GOES_ON(struct kv_bucket);

enum { DROPPED_EACH_MS = 1000 };

static int init(struct kv_process *self, struct kv_bytes list, struct kv_buffer *reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    struct kv_start_options options = {0};
    int error =
        kv_start(self, list, KV_BUCKET_OPTIONS, kv_bucket_open, &options, &bucket->owner, reason);
    bucket->generation = options.generation;
    bucket->adoptable = options.adoptable;
    if (error == KV_OK) {
        kv_store_of(self)->buckets++;
        kv_store_of(self)->durable_buckets += bucket->contents.durable != NULL;
    }
    return error;
}

static void terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    kv_adoptable_end(bucket->adoptable);
    kv_store_of(self)->buckets--;
    kv_store_of(self)->durable_buckets -= bucket->contents.durable != NULL;
    kv_going_stop(self, reason, bucket->contents.durable != NULL);
    kv_snapshots_close_all(&bucket->snapshots, self);
    kv_contents_close(&bucket->contents, self);
    kv_buffer_free(&bucket->key);
    kv_buffer_free(&bucket->value);
    kv_buffer_free(&bucket->label);
}

/* Returns true if so much waits for the disk that a durable bucket takes no request. */
static bool is_busy(const struct kv_process *self)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return bucket->contents.durable != NULL &&
           kv_durable_may(bucket->contents.durable, 0, 0) == KV_EBUSY;
}

/* Returns KV_OK, or why a durable bucket takes no request that may change it: too much waits for
 * the disk, or a full disk has no room even for what frees room. */
static int may_change(const struct kv_process *self, struct kv_bytes request, bool whole)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    return is_busy(self) ? KV_EBUSY
                         : kv_durable_may_free(bucket->contents.durable, request.length, 1, whole);
}

/* The answer tells of no change, so it need not wait for the disk. */
static void refuse(struct kv_process *self, const struct kv_from *from, int error)
{
    struct kv_buffer *term = kv_process_scratch(self);
    kv_write_tuple(term, 2);
    kv_write_atom_text(term, "error");
    kv_write_atom_text(term, kv_start_no_room(error));
    kv_process_hold_nothing(self, true);
    kv_reply(self, from, kv_buffer_bytes(term));
    kv_process_hold_nothing(self, false);
}

/* An answer of a durable bucket: for which changes it waits. */
struct waiting {
    bool by_key; /* for those of its keys; else for the last change of the bucket */
    bool latest; /* for none */
    bool busy;   /* it must not wait, since too much waits already */
};

static struct waiting waiting_of(const struct kv_process *self,
                                 const struct kv_operation *operation)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    const unsigned traits = operation == NULL ? KV_BY_KEY : operation->traits;
    return (struct waiting){
        .by_key = (traits & KV_BY_KEY) != 0,
        .latest = bucket->contents.durable->options.latest && (traits & KV_CHANGES) == 0,
        .busy = is_busy(self),
    };
}

/* Returns true if the answer to an operation would have to wait, as far as is known before. */
static bool would_wait(const struct kv_durable *durable, const struct kv_operation *operation,
                       const struct waiting *waiting)
{
    return operation != NULL && !waiting->latest &&
           ((operation->traits & KV_CHANGES) != 0 ||
            (!waiting->by_key && kv_durable_waits(durable, durable->batch)));
}

static void answer_durable(struct kv_process *self, const struct kv_from *from,
                           struct kv_bytes request, int result, const struct waiting *waiting,
                           struct kv_answer *answer)
{
    struct kv_bucket *bucket = kv_process_state(self);
    const struct kv_durable *durable = bucket->contents.durable;
    const uint64_t tells = waiting->latest ? 0 : durable->tells;
    if (waiting->busy && waiting->by_key && !answer->parked && kv_durable_waits(durable, tells)) {
        kv_answer_drop(answer);
        refuse(self, from, KV_EBUSY);
        return;
    }
    if (answer->parked && bucket->going != NULL) {
        bucket->going->latest = waiting->latest;
    }
    if (waiting->by_key || waiting->latest) {
        kv_process_hold_for(self, tells);
    }
    kv_request_answer(self, from, request, result, answer);
    kv_process_hold_all(self);
}

/* Returns KV_OK, or why the request is refused before it is looked at. */
static int judge(const struct kv_process *self, const struct kv_operation *operation,
                 struct kv_bytes request, const struct waiting *waiting)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    const unsigned traits = operation == NULL ? 0 : operation->traits;
    if (waiting->busy && would_wait(bucket->contents.durable, operation, waiting)) {
        return KV_EBUSY;
    }
    return (traits & KV_CHANGES) == 0 ? KV_OK
                                      : may_change(self, request, (traits & KV_BY_KEY) == 0);
}

/* Out of line, so that the call of a volatile bucket pays for one branch only. While too much waits
 * for the disk, requests that need not wait go on. */
__attribute__((noinline)) static void
call_durable(struct kv_process *self, const struct kv_from *from, struct kv_bytes request)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_bytes arguments[KV_ARGUMENTS_MAX];
    const struct kv_operation *operation =
        kv_request_find(&kv_store_of(self)->bucket, request, KV_BY_CALL, arguments);
    const struct waiting waiting = waiting_of(self, operation);
    const struct kv_asked asked = {
        .arguments = arguments, .time = kv_arena_time(kv_store_of(self)->arena), .from = from};
    struct kv_answer answer = {.term = kv_process_scratch(self)};
    const int error = judge(self, operation, request, &waiting);
    if (error != KV_OK) {
        refuse(self, from, error);
        return;
    }
    kv_durable_begin_answer(bucket->contents.durable);
    const int result = operation == NULL ? KV_ETYPE : operation->run(self, &asked, &answer);
    answer_durable(self, from, request, result, &waiting, &answer);
}

/* Says how many casts were dropped, at most once in a while, and why the last one. */
static void tell_dropped(const struct kv_process *self, struct kv_durables *set)
{
    const uint64_t now = kv_arena_time(set->arena);
    if (set->dropped > 0 && (set->told == 0 || now - set->told >= DROPPED_EACH_MS)) {
        kv_log_line(kv_process_runtime(self), KV_LOG_WARNING,
                    "casts that durable buckets dropped: %llu, since %s",
                    (unsigned long long)set->dropped, kv_error_text(set->why));
        set->dropped = 0;
        set->told = now;
    }
}

/* Returns true if a durable bucket drops a cast. */
__attribute__((noinline)) static bool drops(const struct kv_process *self, struct kv_bytes request)
{
    struct kv_durables *set = kv_store_of(self)->durables;
    const int error = may_change(self, request, false);
    if (error != KV_OK) {
        set->dropped++;
        set->why = error;
    }
    tell_dropped(self, set);
    return error != KV_OK;
}

static void handle_call(struct kv_process *self, const struct kv_from *from,
                        struct kv_bytes request)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    if (__builtin_expect(bucket->contents.durable != NULL, 0)) {
        call_durable(self, from, request);
        return;
    }
    kv_request_call(self, &kv_store_of(self)->bucket, from, request);
}

/* Answers of a durable bucket may have to wait for the disk, so only reads that need not are
 * answered here; a read that starts the life of an entry again is a change. */
static bool handle_at_once(struct kv_process *self, struct kv_bytes request, size_t room,
                           struct kv_bytes answer[2])
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    const struct kv_durable *durable = bucket->contents.durable;
    if (durable != NULL && (bucket->touch_on_read || (!durable->options.latest &&
                                                      kv_durable_waits(durable, durable->batch)))) {
        return false;
    }
    return kv_request_at_once(self, &kv_store_of(self)->bucket,
                              durable == NULL ? KV_AT_ONCE_ALL : KV_AT_ONCE_READS, request, room,
                              answer);
}

static void handle_cast(struct kv_process *self, struct kv_bytes request)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    if (__builtin_expect(bucket->contents.durable != NULL, 0) && drops(self, request)) {
        return;
    }
    if (!kv_request_cast(self, &kv_store_of(self)->bucket, request)) {
        kv_log_line(kv_process_runtime(self), KV_LOG_DEBUG, "a bucket ignored a cast");
    }
}

static void handle_down(struct kv_process *self, uint64_t monitor, struct kv_bytes reason)
{
    struct kv_bucket *bucket = kv_process_state(self);
    if (monitor == bucket->owner) {
        kv_process_exit(self, reason);
    } else {
        kv_snapshots_down(&bucket->snapshots, self, monitor);
    }
}

static void handle_suspend(struct kv_process *self, bool suspended)
{
    const struct kv_bucket *bucket = kv_process_state(self);
    if (bucket->contents.durable != NULL) {
        kv_durable_suspend(bucket->contents.durable, suspended);
    } else {
        kv_table_ask_owner(bucket->contents.table, suspended);
    }
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
           bucket->label.capacity + kv_snapshots_memory(&bucket->snapshots);
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
    const struct kv_durable *durable = bucket->contents.durable;
    return bucket->going == NULL &&
           (durable == NULL || kv_durable_may_free(durable, key.length, 1, false) == KV_OK) &&
           kv_bucket_delete(self, key);
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

static const char *view_kept(const struct kv_process *self)
{
    const enum kv_policy policy = kv_bucket_policy(kv_process_const_state(self));
    return policy == KV_POLICY_VOLATILE ? NULL : kv_start_policy_word(policy);
}

static const struct kv_view view = {
    .count = view_count,
    .scan = view_scan,
    .get = kv_bucket_find,
    .put = view_put,
    .delete = view_delete,
    .counted = view_counted,
    .limit = view_limit,
    .kept = view_kept,
};

const struct kv_behaviour kv_bucket_behaviour = {
    .module = "kv_bucket",
    .state_size = sizeof(struct kv_bucket),
    .init = init,
    .handle_call = handle_call,
    .handle_at_once = handle_at_once,
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
