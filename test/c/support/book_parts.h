/* Parts that the operations of the book share. */
#ifndef KV_TEST_BOOK_PARTS_H
#define KV_TEST_BOOK_PARTS_H

#include "support/book.h"

typedef void book_run(struct book *book, const struct kv_bytes *arguments,
                      struct kv_buffer *answer);

/* Append {error, Reason}; {error, {Reason, Detail}}; {ok, Term}. */
void book_refuse(struct kv_buffer *answer, const char *reason);
void book_refuse_term(struct kv_buffer *answer, const char *reason, struct kv_bytes detail);
void book_answer_ok(struct kv_buffer *answer, struct kv_bytes term);

/* The atom nil. */
extern const struct kv_bytes book_nil;

/* Sets *number. Returns false if the key is not there. */
bool book_there(const struct book *book, struct kv_bytes key, unsigned *number);
/* The same for a request that counts as a look at the key. */
bool book_finds(const struct book *book, struct kv_bytes key, unsigned *number);

/* Returns true if the time to live is one, or NULL. Otherwise appends the answer. */
bool book_accepts_ttl(const struct kv_bytes *ttl, struct kv_buffer *answer);
/* The expiry of an entry that is put now; `ttl` NULL: the request has none. */
uint64_t book_expiry(const struct book *book, unsigned key, const struct kv_bytes *ttl);

/* Returns true if these keys can be put, when all is gone that may be evicted. Otherwise appends
 * the answer. */
bool book_has_room(const struct book *book, const bool these[BOOK_KEYS], struct kv_buffer *answer);

/* ---- book_many.c */

book_run book_run_get_or;
book_run book_run_get_many, book_run_get_many_or, book_run_delete_many;
book_run book_run_put_many, book_run_put_many_for, book_run_put_new_many, book_run_put_new_many_for;

/* ---- book_number.c */

book_run book_run_incr, book_run_incr_with, book_run_decr, book_run_decr_with;

/* ---- book_time.c */

book_run book_run_ttl, book_run_expire, book_run_expire_at, book_run_persist, book_run_touch;

/* ---- book_transaction.c */

book_run book_run_check, book_run_check_absent, book_run_transaction;

#endif
