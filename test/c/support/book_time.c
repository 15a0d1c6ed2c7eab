/* Times to live, as the book does them. */
#include "support/book_parts.h"

#define TTL_MAX (UINT64_C(1) << 46)

void book_run_ttl(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    unsigned key;
    if (!book_there(book, arguments[0], &key)) {
        kv_write_atom_text(answer, "error");
        return;
    }
    kv_write_tuple(answer, 2);
    kv_write_atom_text(answer, "ok");
    if (book_left(book, key) == KV_NEVER) {
        kv_write_atom_text(answer, "infinity");
    } else {
        kv_write_u64(answer, book_left(book, key));
    }
}

static void end_at(struct book *book, struct kv_bytes term, uint64_t expiry,
                   struct kv_buffer *answer)
{
    unsigned key;
    const bool there = book_there(book, term, &key);
    if (there) {
        book->entries[key].expiry = expiry;
    }
    kv_write_bool(answer, there);
}

void book_run_expire(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    if (kv_term_is_atom(arguments[1], "keep")) {
        book_refuse_term(answer, "bad_ttl", arguments[1]);
    } else if (book_accepts_ttl(&arguments[1], answer)) {
        end_at(book, arguments[0], book_expiry(book, 0, &arguments[1]), answer);
    }
}

void book_run_expire_at(struct book *book, const struct kv_bytes *arguments,
                        struct kv_buffer *answer)
{
    int64_t at = 0;
    unsigned key;
    struct kv_reader reader = kv_reader(arguments[1]);
    if (kv_read_i64(&reader, &at) != KV_OK) {
        book_refuse_term(answer, "bad_time", arguments[1]);
    } else if (at <= BOOK_UNIX_TIME) {
        const bool there = book_there(book, arguments[0], &key);
        if (there) {
            book_delete(book, key);
        }
        kv_write_bool(answer, there);
    } else if ((uint64_t)(at - BOOK_UNIX_TIME) > TTL_MAX) {
        book_refuse_term(answer, "bad_time", arguments[1]);
    } else {
        end_at(book, arguments[0], book->now + (uint64_t)(at - BOOK_UNIX_TIME), answer);
    }
}

void book_run_persist(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    end_at(book, arguments[0], KV_NEVER, answer);
}

void book_run_touch(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer)
{
    unsigned key;
    if (book_finds(book, arguments[0], &key) && book->rules.ttl != 0 &&
        book->entries[key].expiry != KV_NEVER) {
        book->entries[key].expiry = book_expiry(book, key, NULL);
    }
    kv_write_bool(answer, book_there(book, arguments[0], &key));
}
