#include "kv/going.h"

#include "base/alloc.h"
#include "base/later.h"
#include "kv/bucket.h"

/* The state of the process begins with it. */
static struct kv_going **going_of(struct kv_process *self)
{
    return kv_process_state(self);
}

/* A long message is kept as it is, a short one copied. */
static void keep_arguments(struct kv_process *self, struct kv_going *going,
                           const struct kv_asked *asked, unsigned count)
{
    size_t at = 0;
    going->message = count > 0 ? kv_message_keep(self, asked->arguments[0]) : NULL;
    for (unsigned i = 0; i < count && going->message == NULL; i++) {
        kv_buffer_append(&going->copies, asked->arguments[i]);
    }
    for (unsigned i = 0; i < count; i++) { /* the copies do not move any more */
        const size_t length = asked->arguments[i].length;
        going->arguments[i] = going->message != NULL ? asked->arguments[i]
                                                     : kv_bytes(going->copies.data + at, length);
        at += length;
    }
}

struct kv_going *kv_go_on(struct kv_process *self, const struct kv_asked *asked, unsigned count,
                          struct kv_answer *answer, kv_piece *piece, size_t work_size)
{
    struct kv_going *going = kv_zalloc(sizeof *going);
    keep_arguments(self, going, asked, count);
    if (asked->from != NULL) {
        kv_buffer_append(&going->from, asked->from->bytes);
        answer->parked = true;
    }
    going->work = kv_zalloc(work_size);
    going->piece = piece;
    *going_of(self) = going;
    kv_process_go_on(self);
    return going;
}

static void free_going(struct kv_process *self)
{
    struct kv_going *going = *going_of(self);
    *going_of(self) = NULL;
    kv_buffer_free_later(&going->answer);
    kv_buffer_free_later(&going->copies);
    kv_message_drop(going->message);
    kv_buffer_free(&going->from);
    kv_free(going->work);
    kv_free(going);
}

static void free_answer(void *owner, struct kv_bytes bytes)
{
    kv_free_later(owner, 1 + bytes.length);
}

/* A large answer leaves from where it was written. */
static void reply(struct kv_process *self, struct kv_going *going)
{
    struct kv_from from = {0};
    const struct kv_bytes whole = kv_buffer_bytes(&going->answer);
    (void)kv_from_read(kv_buffer_bytes(&going->from), &from);
    if (whole.length < KV_PINNED_MIN) {
        kv_reply(self, &from, whole);
        return;
    }
    struct kv_pinned pinned = {
        .bytes = kv_bytes(whole.data + 1, whole.length - 1),
        .owner = going->answer.data,
        .release = free_answer,
    };
    going->answer = (struct kv_buffer)KV_BUFFER_INIT;
    const uint8_t tag = whole.data[0];
    kv_reply_pinned(self, &from, kv_bytes(&tag, 1), &pinned);
}

bool kv_going_more(struct kv_process *self)
{
    struct kv_going *going = *going_of(self);
    struct kv_answer answer = {.term = &going->answer, .unheard = going->from.length == 0};
    if (going->piece(self, going, &answer)) {
        return true;
    }
    if (going->latest) {
        kv_process_hold_for(self, 0);
    }
    if (!answer.unheard) {
        reply(self, going);
    }
    kv_process_hold_all(self);
    free_going(self);
    return false;
}

void kv_going_stop(struct kv_process *self, struct kv_bytes reason, bool finish)
{
    struct kv_going *going = *going_of(self);
    struct kv_from from = {0};
    struct kv_answer ignored = {.unheard = true};
    if (going == NULL) {
        return;
    }
    ignored.term = &going->answer;
    while (finish && going->piece(self, going, &ignored)) {
    }
    if (kv_from_read(kv_buffer_bytes(&going->from), &from) == KV_OK) {
        kv_abandon(self, &from, reason);
    }
    free_going(self);
}
