/* A book of what a bucket should hold: a plain array, kept by the rules of docs/native-protocol.md
 * and docs/api.md alone. test_model.c runs random programs on a bucket and on its book, and
 * compares each answer and the contents. */
#ifndef KV_TEST_BOOK_H
#define KV_TEST_BOOK_H

#include <kv/table.h>
#include <kv/term.h>

enum {
    BOOK_KEYS = 12,       /* different keys, by =:= */
    BOOK_ENCODINGS = 3,   /* ways to write each */
    BOOK_SPACE = 32 << 20 /* bytes of terms in one step */
};

/* Milliseconds since 1970, which stand still. */
#define BOOK_UNIX_TIME INT64_C(1000000000000)

/* The options that a bucket was started with. */
struct book_rules {
    enum kv_evict evict;
    uint64_t max_memory;  /* 0: none */
    uint64_t max_entries; /* 0: none */
    uint64_t ttl;         /* milliseconds; 0: none */
    bool touch_on_read;
};

/* A value, shared by the books that hold it. Its bytes are those that the bucket was given. */
struct book_value;

struct book_entry {
    struct book_value *value; /* NULL: no entry */
    uint64_t expiry;          /* the entry is gone from then on; KV_NEVER */
};

/* The events since a run began. Nothing takes one back: a request that fails has looked, too. */
struct book_counts {
    uint64_t hits, misses;
    uint64_t unsure; /* more hits or misses that there may have been */
    uint64_t puts, deletes, evictions;
    uint64_t expired;         /* entries that went because their time had come, */
    uint64_t perhaps_expired; /* and those that another change may have removed first */
    uint64_t since;
};

extern struct book_counts book_counts;

struct book {
    struct book_rules rules;
    uint64_t now;
    bool in_transaction;   /* room is made at its end */
    bool unheard;          /* nobody waits for the old value */
    bool named[BOOK_KEYS]; /* by the request: it evicts none of them */
    struct book_entry entries[BOOK_KEYS];
};

/* ---- the book ----------------------------------------------------------------------------------
 */

void book_open(struct book *book, const struct book_rules *rules, uint64_t now);
void book_close(struct book *book);
/* `to` must be open. */
void book_copy(struct book *to, const struct book *from);

/* As book_copy(), except that it leaves `named`. */
void book_back(struct book *to, const struct book *from);

bool book_has(const struct book *book, unsigned key);
/* Returns the value of a key that is there. */
struct kv_bytes book_value(const struct book *book, unsigned key);
void book_put(struct book *book, unsigned key, struct kv_bytes value, uint64_t expiry);
void book_remove(struct book *book, unsigned key);
/* As book_remove(), by a request. */
void book_delete(struct book *book, unsigned key);
unsigned book_count(const struct book *book);
/* Milliseconds until the entry is gone, or KV_NEVER. */
uint64_t book_left(const struct book *book, unsigned key);

/* ---- terms -------------------------------------------------------------------------------------
 * Terms of a step live until book_forget(). */

void book_forget(void);
/* An empty buffer. Write the whole term before the next call, and then keep it. */
struct kv_buffer book_term(void);
struct kv_bytes book_keep(struct kv_buffer *term);

/* A key in one of its encodings. */
struct kv_bytes book_key(unsigned key, unsigned encoding);
/* Returns the number of a key, or BOOK_KEYS. */
unsigned book_find_key(struct kv_bytes term);
/* The bytes of a key in the form that the table keeps. */
struct kv_item book_key_item(unsigned key);

/* =:= */
bool book_equal(struct kv_bytes a, struct kv_bytes b);

/* The tag of a value, for the hash key of the fixture. */
uint64_t book_tag(struct kv_bytes value);

/* ---- operations --------------------------------------------------------------------------------
 */

/* Facts about a row. */
enum book_fact {
    BOOK_PUTS = 1,      /* may put, and so find no room or evict others */
    BOOK_UNORDERED = 2, /* answers a list in any order */
    BOOK_WALKS = 8,     /* answers a piece of a walk, which run_judge_scan() judges */
    BOOK_COUNTS = 16,   /* answers what has happened, which run_judge_stats() judges */
    BOOK_NET = 32,      /* needs the room of its result only */
    BOOK_SINGLE = 4,    /* may be part of a transaction */
};

/* An operation, as the book does it. */
struct book_row {
    const char *name;
    uint32_t arity;
    /* A letter for each argument:
     * k key, v value, d default, t time to live, l keys, e entries, o a value to compare with,
     * n step, i options of incr, g tag, m milliseconds, u milliseconds since 1970, x requests,
     * c cursor, s options of scan */
    const char *shape;
    unsigned facts;
    /* Does the operation on the book, and appends the answer. */
    void (*run)(struct book *book, const struct kv_bytes *arguments, struct kv_buffer *answer);
};

/* The last row has no name. */
extern const struct book_row book_rows[];

/* Returns NULL if there is none. */
const struct book_row *book_find_row(struct kv_bytes name, uint32_t arity);

#endif
