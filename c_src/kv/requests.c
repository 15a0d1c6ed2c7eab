#include "kv/requests.h"
#include "kv/kv.h"

#include <kv/table.h>

/* Takes Name or {Name, Argument, ...} apart. Returns false if the request is neither. */
static bool read_request(struct kv_bytes request, struct kv_bytes *name,
                         struct kv_bytes arguments[KV_ARGUMENTS_MAX], uint32_t *count)
{
    uint32_t arity = 1;
    struct kv_reader reader = kv_reader(request);
    const uint8_t *at = request.data;
    if (at[0] == KV_TAG_SMALL_TUPLE && at[1] >= 2 && at[1] <= KV_ARGUMENTS_MAX + 1 &&
        at[2] == KV_TAG_SMALL_ATOM_UTF8) { /* the usual encoding */
        arity = at[1];
        *name = kv_bytes(at + 4, at[3]);
        reader.offset = 4 + name->length;
    } else {
        bool tuple = kv_read_tuple(&reader, &arity) == KV_OK;
        if ((tuple && (arity < 2 || arity > KV_ARGUMENTS_MAX + 1)) ||
            kv_read_atom(&reader, name) != KV_OK) {
            return false;
        }
    }
    *count = arity - 1;
    for (uint32_t i = 0; i + 1 < *count; i++) {
        (void)kv_read_any(&reader, &arguments[i]);
    }
    if (*count > 0) { /* the last argument is the rest: its size need not be computed */
        arguments[*count - 1] =
            kv_bytes(request.data + reader.offset, request.length - reader.offset);
    }
    return true;
}

/* Returns the operation of a request, or NULL, and puts its arguments into `arguments`. */
static const struct kv_operation *find(const struct kv_dispatch *dispatch, struct kv_bytes request,
                                       enum kv_door door,
                                       struct kv_bytes arguments[KV_ARGUMENTS_MAX])
{
    struct kv_bytes name;
    uint32_t count = 0;
    return read_request(request, &name, arguments, &count)
               ? kv_dispatch_find(dispatch, name, count, door)
               : NULL;
}

static uint64_t time_of(const struct kv_process *self)
{
    return kv_arena_time(kv_store_of(self)->arena);
}

static void reply(struct kv_process *self, const struct kv_from *from, struct kv_answer *answer)
{
    if (answer->value.bytes.length == 0) {
        kv_reply(self, from, kv_buffer_bytes(answer->term));
    } else if (answer->term->length == 0 && answer->value.release == NULL) {
        kv_reply(self, from, answer->value.bytes);
    } else {
        kv_reply_pinned(self, from, kv_buffer_bytes(answer->term), &answer->value);
    }
}

static inline void answer_call(struct kv_process *self, const struct kv_from *from,
                               struct kv_bytes request, int result, struct kv_answer *answer)
{
    if (result == KV_ETYPE && answer->term->length == 0) {
        kv_reply_bad_request(self, from, request);
    } else if (!answer->parked) {
        reply(self, from, answer);
    }
}

void kv_request_answer(struct kv_process *self, const struct kv_from *from, struct kv_bytes request,
                       int result, struct kv_answer *answer)
{
    answer_call(self, from, request, result, answer);
}

void kv_request_call(struct kv_process *self, const struct kv_dispatch *dispatch,
                     const struct kv_from *from, struct kv_bytes request)
{
    struct kv_bytes arguments[KV_ARGUMENTS_MAX];
    const struct kv_operation *operation = find(dispatch, request, KV_BY_CALL, arguments);
    if (operation == NULL) {
        kv_reply_bad_request(self, from, request);
        return;
    }
    const struct kv_asked asked = {.arguments = arguments, .time = time_of(self), .from = from};
    struct kv_answer answer = {.term = kv_process_scratch(self)};
    const int result = operation->run(self, &asked, &answer);
    answer_call(self, from, request, result, &answer);
}

bool kv_request_cast(struct kv_process *self, const struct kv_dispatch *dispatch,
                     struct kv_bytes request)
{
    struct kv_bytes arguments[KV_ARGUMENTS_MAX];
    const struct kv_operation *operation = find(dispatch, request, KV_BY_CAST, arguments);
    if (operation == NULL) {
        return false;
    }
    const struct kv_asked asked = {.arguments = arguments, .time = time_of(self)};
    struct kv_answer answer = {.term = kv_process_scratch(self), .unheard = true};
    int error = operation->run(self, &asked, &answer);
    kv_answer_drop(&answer);
    return error == KV_OK;
}

const struct kv_operation *kv_request_find(const struct kv_dispatch *dispatch,
                                           struct kv_bytes request, enum kv_door door,
                                           struct kv_bytes arguments[KV_ARGUMENTS_MAX])
{
    return find(dispatch, request, door, arguments);
}
