/* Transactions, as the book does them. */
#include "support/book_parts.h"

static void answer_check(struct kv_buffer *answer, bool holds)
{
    if (holds) {
        kv_write_atom_text(answer, "ok");
    } else {
        book_refuse(answer, "check_failed");
    }
}

void book_run_check(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    unsigned key;
    answer_check(answer, book_finds(book, arguments[0], &key) &&
                             book_equal(book_value(book, key), arguments[1]));
}

void book_run_check_absent(struct book *book, const struct kv_bytes *arguments,
                           struct kv_buffer *answer)
{
    unsigned key;
    answer_check(answer, !book_finds(book, arguments[0], &key));
}

static void note_key(struct book *book, struct kv_bytes key)
{
    const unsigned number = book_find_key(key);
    if (number < BOOK_KEYS) {
        book->named[number] = true;
    }
}

/* Runs a request of a transaction. Appends {error, Reason} if it fails. */
static void run_request(struct book *book, struct kv_bytes request, struct kv_buffer *answer)
{
    struct kv_bytes arguments[8];
    struct kv_bytes name = {NULL, 0};
    uint32_t arity = 1;
    struct kv_reader reader = kv_reader(request);
    (void)kv_read_tuple(&reader, &arity);
    (void)kv_read_atom(&reader, &name);
    for (uint32_t i = 0; i + 1 < arity && i < 8; i++) {
        (void)kv_read_any(&reader, &arguments[i]);
    }
    const struct book_row *row = book_find_row(name, arity - 1);
    if (row == NULL || (row->facts & BOOK_SINGLE) == 0) {
        book_refuse_term(answer, "bad_request", request);
    } else {
        note_key(book, arguments[0]);
        row->run(book, arguments, answer);
    }
}

/* Appends the reason of {error, Reason}. Returns false for other terms. */
static bool write_reason(struct kv_bytes term, struct kv_buffer *to)
{
    struct kv_bytes reason;
    struct kv_reader reader = kv_reader(term);
    if (kv_read_tuple_of(&reader, 2) != KV_OK || kv_read_this_atom(&reader, "error") != KV_OK) {
        return false;
    }
    (void)kv_read_any(&reader, &reason);
    kv_write_term(to, reason);
    return true;
}

/* {error, {Index, Reason}}, if `term` is {error, Reason}. */
static bool has_failed(struct kv_bytes term, unsigned index, struct kv_buffer *answer)
{
    struct kv_buffer reason = KV_BUFFER_INIT;
    const bool failed = write_reason(term, &reason);
    if (failed) {
        kv_buffer_clear(answer);
        kv_write_tuple(answer, 2);
        kv_write_atom_text(answer, "error");
        kv_write_tuple(answer, 2);
        kv_write_u64(answer, index);
        kv_write_term(answer, kv_buffer_bytes(&reason));
    }
    kv_buffer_free(&reason);
    return failed;
}

/* Returns false, with the answer, if one fails. */
static bool run_requests(struct book *book, struct kv_reader *list, uint32_t count,
                         struct kv_buffer *answer)
{
    bool failed = false;
    kv_write_tuple(answer, 2);
    kv_write_atom_text(answer, "ok");
    if (count > 0) {
        kv_write_list(answer, count);
    }
    for (uint32_t i = 0; i < count && !failed; i++) {
        struct kv_buffer one = KV_BUFFER_INIT;
        struct kv_bytes request = {NULL, 0};
        (void)kv_read_any(list, &request);
        run_request(book, request, &one);
        failed = has_failed(kv_buffer_bytes(&one), i, answer);
        if (!failed) {
            kv_write_term(answer, kv_buffer_bytes(&one));
        }
        kv_buffer_free(&one);
    }
    if (!failed) {
        kv_write_nil(answer);
    }
    return !failed;
}

/* The result has to fit in, without what may be evicted. Which of the puts finds no room is open:
 * the index is 0. */
static bool all_fit_in(const struct book *before, const struct book *after,
                       struct kv_buffer *answer)
{
    struct kv_buffer full = KV_BUFFER_INIT;
    struct book room;
    bool these[BOOK_KEYS];
    book_open(&room, &before->rules, before->now);
    book_copy(&room, before);
    for (unsigned i = 0; i < BOOK_KEYS; i++) {
        const struct book_entry *old = &before->entries[i];
        const struct book_entry *new = &after->entries[i];
        room.named[i] = after->named[i];
        these[i] = new->value != NULL && (old->value != new->value || old->expiry != new->expiry);
        if (new->value == NULL) {
            book_remove(&room, i);
        }
    }
    const bool fit =
        book_has_room(&room, these, &full) || !has_failed(kv_buffer_bytes(&full), 0, answer);
    kv_buffer_free(&full);
    book_close(&room);
    return fit;
}

void book_run_transaction(struct book *book, const struct kv_bytes *arguments,
                          struct kv_buffer *answer)
{
    struct book before;
    uint32_t count = 0;
    struct kv_reader list = kv_reader(arguments[0]);
    if (kv_read_list(&list, &count) != KV_OK) {
        kv_write_tuple(answer, 2);
        kv_write_atom_text(answer, "error");
        kv_write_tuple(answer, 2);
        kv_write_atom_text(answer, "bad_request");
        kv_write_tuple(answer, 2);
        kv_write_atom_text(answer, "transaction");
        kv_write_term(answer, arguments[0]);
        return;
    }
    book_open(&before, &book->rules, book->now);
    book_copy(&before, book);
    book->in_transaction = true;
    if (!run_requests(book, &list, count, answer) || !all_fit_in(&before, book, answer)) {
        book_back(book, &before);
    }
    book->in_transaction = false;
    book_close(&before);
}
