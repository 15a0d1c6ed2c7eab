/* An operation: what a bucket or a registry can be asked to do. Each stands once, in a table of its
 * family; calls, casts and Agent are doors to the same rows.
 *
 * An operation gets a request and writes an answer. It does not know who asked: whoever opened the
 * door sends the answer, or drops it. */
#ifndef KV_OPERATION_H
#define KV_OPERATION_H

#include "base/word.h"

#include <kv/process.h>

/* The most arguments of an operation. */
enum { KV_ARGUMENTS_MAX = 4 };

/* What an operation is given; all of it is borrowed. */
struct kv_asked {
    const struct kv_bytes *arguments; /* terms, as many as the operation's arity */
    uint64_t time;                    /* now, in milliseconds of kv_arena_time() */
    const struct kv_from *from;       /* for kv_park(); NULL: nobody waits for an answer */
};

/* What an operation writes: one term. */
struct kv_answer {
    struct kv_buffer *term; /* the term, or what comes before `value`; empty at first */
    struct kv_pinned value; /* of length 0: nothing comes behind `term`. Else borrowed until the
                             * table is next changed, or pinned */
    bool unheard;           /* nobody will read it: a value need not be kept */
    bool parked;            /* it will be given later; nothing has been written */
};

/* Who may ask. */
enum kv_door {
    KV_BY_CALL = 1,  /* {Name, Argument, ...} or Name, as a call */
    KV_BY_CAST = 2,  /* the same as a cast */
    KV_BY_AGENT = 4, /* {Module, Function, Arguments}, by kv_agent_functions */
};

/* What is to be known of an operation before it runs. */
enum kv_trait {
    KV_CHANGES = 1,   /* it may change what is held */
    KV_PARKS = 2,     /* its answer may come later */
    KV_BOUNDED = 4,   /* it knows that its answer fits in a message before it changes anything */
    KV_CONTINUES = 8, /* it may go on in the next turn: no one does yet */
};

/* KV_OK: it has done what it says. Else it has changed nothing, or not all, and the answer says
 * why; KV_ETYPE without an answer: the request is none that is understood. */
typedef int kv_operation_run(struct kv_process *self, const struct kv_asked *asked,
                             struct kv_answer *answer);

struct kv_operation {
    struct kv_bytes name; /* the text of an atom */
    uint32_t arity;       /* of arguments, without the name */
    unsigned doors;
    unsigned traits;
    kv_operation_run *run;
    const char *since; /* the version of the project that has it first */
};

/* A row of a table; the last row of each is KV_NO_OPERATION. */
#define KV_OPERATION(name, arity, doors, traits, run, since)                                       \
    {                                                                                              \
        {(const uint8_t *)(name), sizeof(name) - 1}, arity, doors, traits, run, since              \
    }
#define KV_NO_OPERATION                                                                            \
    {                                                                                              \
        {NULL, 0}, 0, 0, 0, NULL, NULL                                                             \
    }

/* ---- finding one -------------------------------------------------------------------------------
 * A hash table of pointers to rows: a look-up takes the same time however many there are. */

enum { KV_DISPATCH_SLOTS = 256, KV_OPERATIONS_MAX = KV_DISPATCH_SLOTS / 2 };

/* Zeroed, it is empty. */
struct kv_dispatch {
    const struct kv_operation *slots[KV_DISPATCH_SLOTS];
    unsigned count;
};

/* Adds the rows of a table, which is borrowed. Rows over KV_OPERATIONS_MAX are left out. Two rows
 * of one name and arity must differ in all their doors. */
void kv_dispatch_add(struct kv_dispatch *dispatch, const struct kv_operation *table);

static inline unsigned kv_dispatch_slot(struct kv_bytes name, uint32_t arity)
{
    const uint32_t shape = name.data[0] | (uint32_t)name.data[name.length - 1] << 8 |
                           (uint32_t)name.length << 16 | arity << 24;
    return shape * UINT32_C(0x9E3779B1) >> 24;
}

/* The operation of that name and arity, if the door leads to it; else NULL. */
static inline const struct kv_operation *kv_dispatch_find(const struct kv_dispatch *dispatch,
                                                          struct kv_bytes name, uint32_t arity,
                                                          enum kv_door door)
{
    const struct kv_operation *found = NULL;
    if (name.length == 0) {
        return NULL;
    }
    for (unsigned slot = kv_dispatch_slot(name, arity); (found = dispatch->slots[slot]) != NULL;
         slot = (slot + 1) % KV_DISPATCH_SLOTS) {
        if (found->arity == arity && found->name.length == name.length &&
            (found->doors & door) != 0 && kv_same(found->name.data, name.data, name.length)) {
            break;
        }
    }
    return found;
}

/* ---- answers -----------------------------------------------------------------------------------
 */

/* Each writes the whole answer and gives KV_OK. */
int kv_answer_atom(struct kv_answer *answer, const char *atom);
int kv_answer_bool(struct kv_answer *answer, bool value);
int kv_answer_number(struct kv_answer *answer, uint64_t value);

/* {error, {Kind, Detail}}; gives `error`. */
int kv_answer_error(struct kv_answer *answer, int error, const char *kind, struct kv_bytes detail);

/* {error, enomem}, of a put that finds no room; gives KV_ENOMEM. */
int kv_answer_no_memory(struct kv_answer *answer);

/* {error, {too_large, Bytes}}, of what would be too large for one message; gives KV_ESIZE. */
int kv_answer_too_large(struct kv_answer *answer, uint64_t bytes);

/* Bytes of an answer that still leave in one message. */
enum { KV_ANSWER_MAX = 1 << 28 };

/* Appends {error, {too_large, Bytes}}. */
void kv_write_too_large(struct kv_buffer *to, uint64_t bytes);

/* The value, if it is borrowed, becomes a copy behind the term: what it was borrowed from may go.
 */
void kv_answer_settle(struct kv_answer *answer);

/* Nothing has been written after it. */
void kv_answer_drop(struct kv_answer *answer);

#endif
