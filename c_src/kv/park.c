#include "kv/park.h"

#include "base/alloc.h"
#include "kv/kv.h"

#include <kv/table.h>

static size_t bytes_of(const struct kv_asked *asked, const struct kv_parking *parking)
{
    size_t bytes = asked->from == NULL ? 0 : asked->from->bytes.length;
    for (uint32_t i = 1; i < parking->arity; i++) {
        bytes += asked->arguments[i].length;
    }
    return bytes;
}

size_t kv_park_size(const struct kv_asked *asked, const struct kv_parking *parking)
{
    return sizeof(struct kv_parked) + bytes_of(asked, parking);
}

static void keep(struct kv_parked *parked, struct kv_bytes bytes)
{
    memcpy(parked->bytes + parked->length, bytes.data, bytes.length);
    parked->length += bytes.length;
}

void kv_park(const struct kv_asked *asked, const struct kv_parking *parking,
             struct kv_answer *answer, struct kv_list *queue)
{
    struct kv_parked *parked = kv_zalloc(kv_park_size(asked, parking));
    parked->run = parking->run;
    parked->question = parking->question;
    parked->arguments = parking->arity - 1;
    if (asked->from != NULL) {
        keep(parked, asked->from->bytes);
        parked->from_length = parked->length;
    }
    for (uint32_t i = 1; i < parking->arity; i++) {
        keep(parked, asked->arguments[i]);
    }
    kv_list_append(queue, &parked->link);
    answer->parked = true;
}

size_t kv_parked_size(const struct kv_parked *parked)
{
    return sizeof *parked + parked->length;
}

bool kv_parked_from(const struct kv_parked *parked, struct kv_from *from)
{
    return parked->from_length > 0 &&
           kv_from_read(kv_bytes(parked->bytes, parked->from_length), from) == KV_OK;
}

void kv_resume(struct kv_process *self, const struct kv_parked *parked, struct kv_bytes first)
{
    struct kv_from from;
    bool heard = kv_parked_from(parked, &from);
    struct kv_bytes arguments[KV_ARGUMENTS_MAX] = {first};
    struct kv_reader reader = kv_reader(
        kv_bytes(parked->bytes + parked->from_length, parked->length - parked->from_length));
    for (uint32_t i = 1; i <= parked->arguments; i++) {
        (void)kv_read_any(&reader, &arguments[i]);
    }
    const struct kv_asked asked = {.arguments = arguments,
                                   .time = kv_arena_time(kv_store_of(self)->arena),
                                   .from = heard ? &from : NULL};
    struct kv_answer answer = {.term = kv_process_scratch(self), .unheard = !heard};
    (void)parked->run(self, &asked, &answer);
    if (heard && !answer.parked) {
        kv_answer_settle(&answer);
        kv_reply(self, &from, kv_buffer_bytes(answer.term));
    }
    kv_answer_drop(&answer);
}

void kv_unpark(struct kv_parked *parked)
{
    kv_list_remove(&parked->link);
    kv_free(parked);
}
