/* The door of callers that share memory with the node: docs/local.md. An operation runs here if it
 * is done in one piece and surely answers, with a term that fits. Whatever else comes by message.
 */
#include "kv/bucket.h"
#include "kv/going.h"
#include "kv/items.h"
#include "kv/kv.h"
#include "kv/requests.h"

#include <kv/table.h>

/* The number of elements of a list or a map. 0 for any other term, which the operation refuses. */
static uint32_t elements_of(struct kv_bytes term)
{
    struct kv_items items;
    uint32_t count = 0;
    if (kv_items_open_list(term, &items)) {
        return items.left;
    }
    struct kv_reader reader = kv_reader(term);
    return kv_read_map(&reader, &count) == KV_OK ? count : 0;
}

/* The bytes of the value that the operation shows, with its header. */
static size_t shown(struct kv_process *self, struct kv_bytes key)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    struct kv_item value;
    uint64_t expiry = KV_NEVER;
    const bool there =
        kv_contents_look(&bucket->contents, kv_bucket_key(self, key), &value, &expiry);
    return there ? KV_LONG_HEADER + value.bytes.length : 0;
}

/* Returns false if an operation may not be run: it may take more than one piece, or change
 * something and then have an answer that does not fit. */
static bool may_run(struct kv_process *self, const struct kv_operation *operation,
                    const struct kv_asked *asked, size_t request, size_t room)
{
    const unsigned traits = operation->traits;
    size_t most = request + KV_BRIEF_MAX;
    if ((traits & (KV_BRIEF | KV_SHOWS | KV_SIZED)) == 0 || (traits & KV_PARKS) != 0 ||
        ((traits & KV_CONTINUES) != 0 && operation->arity > 0 &&
         elements_of(asked->arguments[0]) > KV_PIECE_KEYS)) {
        return false;
    }
    if ((traits & (KV_SHOWS | KV_CHANGES)) == (KV_SHOWS | KV_CHANGES)) {
        most += shown(self, asked->arguments[0]);
    }
    return most <= room;
}

/* Returns false if the answer does not fit, or the operation takes no such arguments: then it has
 * changed nothing, and the call that follows counts. */
static bool run(struct kv_process *self, const struct kv_operation *operation,
                const struct kv_asked *asked, size_t room, struct kv_answer *written)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    const struct kv_counts before = *bucket->contents.counts;
    (void)operation->run(self, asked, written);
    const size_t length = written->term->length + written->value.bytes.length;
    if (length == 0 || length > room) {
        bucket->contents.counts->hits = before.hits;
        bucket->contents.counts->misses = before.misses;
        kv_answer_drop(written);
        return false;
    }
    return true;
}

bool kv_request_at_once(struct kv_process *self, const struct kv_dispatch *dispatch,
                        enum kv_at_once which, struct kv_bytes request, size_t room,
                        struct kv_bytes answer[2])
{
    struct kv_bytes arguments[KV_ARGUMENTS_MAX];
    const struct kv_operation *operation =
        kv_request_find(dispatch, request, KV_BY_CALL, arguments);
    const struct kv_asked asked = {
        .arguments = arguments, .time = kv_arena_time(kv_store_of(self)->arena), .room = room};
    if (operation == NULL || (which == KV_AT_ONCE_READS && (operation->traits & KV_CHANGES) != 0) ||
        !may_run(self, operation, &asked, request.length, room)) {
        return false;
    }
    struct kv_answer written = {.term = kv_process_scratch(self)};
    if (!run(self, operation, &asked, room, &written)) {
        return false;
    }
    answer[0] = kv_buffer_bytes(written.term);
    answer[1] = written.value.bytes; /* too few to be pinned */
    return true;
}
