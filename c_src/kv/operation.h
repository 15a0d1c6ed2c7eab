/* Operations of buckets and registries. Each operation is one row in the table of its family.
 * Calls, casts and Agent's functions are doors to the same rows.
 *
 * To add an operation, write its function and its row in operations_*.c, and a row in `shapes` of
 * test/c/kv/test_doors.c. An operation reads a request and writes an answer. It does not know who
 * asked: the door sends the answer or drops it (requests.c, agent.c). */
#ifndef KV_OPERATION_H
#define KV_OPERATION_H

#include "base/word.h"

#include <kv/process.h>

/* The most arguments of an operation. */
enum { KV_ARGUMENTS_MAX = 4 };

/* The request, as an operation sees it. All of it is borrowed. */
struct kv_asked {
    const struct kv_bytes *arguments; /* validated terms, as many as the operation's arity */
    uint64_t time;                    /* now, in milliseconds of kv_arena_time() */
    const struct kv_from *from;       /* the caller, for kv_park(); NULL: nobody waits */
    size_t room; /* bytes that an answer of a KV_SIZED operation may have; 0: those of a message */
};

/* The answer: one term. */
struct kv_answer {
    struct kv_buffer *term; /* the term, or the part before `value`; begins empty */
    struct kv_pinned value; /* bytes that follow the term; length 0: none. Borrowed until the table
                             * next changes, or pinned */
    bool unheard;           /* nobody reads the answer, so a value need not be kept */
    bool parked;            /* set by kv_park(): the answer comes later, and the term is empty */
};

/* The ways in. */
enum kv_door {
    KV_BY_CALL = 1,        /* a call {Name, Argument, ...}, or Name without arguments */
    KV_BY_CAST = 2,        /* the same term as a cast */
    KV_BY_AGENT = 4,       /* {Module, Function, Arguments}, mapped by kv_agent_functions */
    KV_BY_TRANSACTION = 8, /* an element of {transaction, [Request, ...]}: one key only */
};

/* Facts that a door needs before it runs the operation. */
enum kv_trait {
    KV_CHANGES = 1,   /* may change the table */
    KV_PARKS = 2,     /* may answer later */
    KV_BOUNDED = 4,   /* knows that its answer fits into a message before it changes anything */
    KV_CONTINUES = 8, /* may go on in the next turn: kv/going.h */
    KV_BY_KEY = 16, /* the answer tells of some keys only, all of which it has looked at or changed
                     * through kv/contents.h or kv/bucket.h */
    /* May be run by kv_request_at_once(), for one of three reasons: */
    KV_BRIEF = 32,  /* the answer has at most KV_BRIEF_MAX bytes more than the request */
    KV_SHOWS = 64,  /* besides that, it has the value of the first argument's key, from before */
    KV_SIZED = 128, /* it has at most the bytes of `room`, else it is empty and nothing changed */
};

/* Room of an answer besides the bytes that it repeats of the request or the table: numbers of up to
 * 1,024 bits, and the words around. */
enum { KV_BRIEF_MAX = 512 };

/* Runs an operation. Returns KV_OK if it was done. Any other result means that it was not done, or
 * only in part, and the answer says why. KV_ETYPE with an empty answer stands for {error,
 * {bad_request, Request}}. */
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

/* A row of a table. Each table ends with KV_NO_OPERATION. */
#define KV_OPERATION(name, arity, doors, traits, run, since)                                       \
    {                                                                                              \
        {(const uint8_t *)(name), sizeof(name) - 1}, arity, doors, traits, run, since              \
    }
#define KV_NO_OPERATION                                                                            \
    {                                                                                              \
        {NULL, 0}, 0, 0, 0, NULL, NULL                                                             \
    }

/* ---- finding one -------------------------------------------------------------------------------
 * A hash table of pointers to rows, so that a look-up takes the same time however many there are.
 */

enum { KV_DISPATCH_SLOTS = 256, KV_OPERATIONS_MAX = KV_DISPATCH_SLOTS / 2 };

/* Empty if zeroed. */
struct kv_dispatch {
    const struct kv_operation *slots[KV_DISPATCH_SLOTS];
    unsigned count;
};

/* Adds the rows of a table. The table is borrowed. Leaves rows out once there are
 * KV_OPERATIONS_MAX. Two rows with the same name and arity must not share a door. */
void kv_dispatch_add(struct kv_dispatch *dispatch, const struct kv_operation *table);

static inline unsigned kv_dispatch_slot(struct kv_bytes name, uint32_t arity)
{
    const uint32_t shape = name.data[0] | (uint32_t)name.data[name.length - 1] << 8 |
                           (uint32_t)name.length << 16 | arity << 24;
    return shape * UINT32_C(0x9E3779B1) >> 24;
}

/* Returns the operation with that name and arity, or NULL if there is none or if the door does not
 * lead to it. */
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

/* ---- options -----------------------------------------------------------------------------------
 */

/* Takes an option. `again`: another one with this name came before and counts; this one is only
 * checked. Returns false if the name is unknown or the value is wrong. */
typedef bool kv_take_option(void *context, struct kv_bytes name, struct kv_bytes value, bool again);

/* Reads a proper list of pairs {Name, Value}. `names` ends with NULL and has up to 32. Returns
 * false if the list or one of the options is wrong, and sets *bad to it. */
bool kv_options_read(struct kv_bytes list, const char *const *names, kv_take_option *take,
                     void *context, struct kv_bytes *bad);

/* ---- answers -----------------------------------------------------------------------------------
 */

/* Each writes the whole answer and returns KV_OK. */
int kv_answer_atom(struct kv_answer *answer, const char *atom);
int kv_answer_bool(struct kv_answer *answer, bool value);
int kv_answer_number(struct kv_answer *answer, uint64_t value);

/* Writes {error, Reason} with an atom, instead of anything written before, and returns `error`. */
int kv_answer_refusal(struct kv_answer *answer, int error, const char *reason);

/* Writes {error, {Kind, Detail}}, instead of anything written before, and returns `error`. */
int kv_answer_error(struct kv_answer *answer, int error, const char *kind, struct kv_bytes detail);

/* Writes the answer to a put that finds no room, and returns `error`: {error, enomem} for
 * KV_ENOMEM, {error, full} for KV_EFULL. */
int kv_answer_no_room(struct kv_answer *answer, int error);

/* Writes {error, {Kind, Number}}, for a number over a limit, instead of anything written before.
 * Returns KV_ESIZE. */
int kv_answer_excess(struct kv_answer *answer, const char *kind, uint64_t number);

/* Writes {error, {too_large, Bytes}}, for an answer of more than KV_ANSWER_MAX bytes, instead of
 * anything written before. Returns KV_ESIZE. */
int kv_answer_too_large(struct kv_answer *answer, uint64_t bytes);

/* The most bytes of keys and values in one answer. */
enum { KV_ANSWER_MAX = 1 << 28 };

/* Appends {error, {too_large, Bytes}}. */
void kv_write_too_large(struct kv_buffer *to, uint64_t bytes);

/* Copies a borrowed value behind the term, so that its owner may change or free it. A pinned value
 * stays as it is. */
void kv_answer_settle(struct kv_answer *answer);

/* Empties the answer and releases its value. */
void kv_answer_drop(struct kv_answer *answer);

#endif
