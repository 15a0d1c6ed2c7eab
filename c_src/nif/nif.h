/* Reads the arena of a node on the same host from inside a VM. This header is for the files of the
 * library only.
 *
 *   nif.c    loading, the functions, reading        mapping.c  opening an arena
 *   keys.c   a term as the bytes of a key           pids.c     from a pid to its table
 *   values.c a value as a term                      terms.c    a decoder of small terms
 *   lane.c   a call by shared memory                lane_nif.c the functions of lanes
 *   alloc.c  memory, for the rooms below
 *
 * All functions run on scheduler threads, many at once. Shared data is written only when an arena
 * is opened or closed. */
#ifndef KV_NIF_H
#define KV_NIF_H

#include "lane/layout.h"
#include "store/reader.h"

#include <kv/form.h>
#include <kv/term.h>

#include <erl_nif.h>
#include <stdatomic.h>

enum {
    KV_NIF_TRIES = 16, /* times a value is copied before the caller must ask the owner */
    KV_NIF_BINARY_MAX = 256 << 10, /* bytes of a binary that are copied on a scheduler */
    KV_NIF_TERM_MAX = 8 << 10,     /* bytes of a term that are decoded on a scheduler */
    KV_NIF_KEY_MAX = 4 << 10,      /* bytes of a key that are encoded and hashed on a scheduler */
    KV_NIF_DEPTH_MAX = 32,         /* nested tuples and lists in a key */
    KV_NIF_LOCAL = 512,            /* bytes of a key or a value that fit on the stack */
    KV_NIF_TALLIES = 1024,         /* buckets whose reads a thread counts, at most */
};

/* ---- mapping.c ---------------------------------------------------------------------------------
 */

struct kv_nif_arena {
    struct kv_mapped mapped;
    void *base; /* NULL: not mapped */
    size_t length;
    uint64_t number; /* even, and unique within this load of the library */
    atomic_bool closed;
    enum kv_zeros zeros;
    uint32_t creation;
    uint8_t node[KV_ATOM_MAX_BYTES];
    size_t node_length;
};

struct kv_nif_place {
    unsigned os_pid;
    unsigned fd;
    const uint8_t *id; /* KV_ARENA_ID_SIZE bytes */
    uint64_t size;
};

/* Maps the arena of another process and sets mapped, base and length. Returns NULL, or a word that
 * names the problem; then nothing is mapped. */
const char *kv_nif_map(const struct kv_nif_place *place, struct kv_nif_arena *arena);
void kv_nif_unmap(struct kv_nif_arena *arena);

/* Maps a lane of `groups` schedulers for reading and writing, and sets *base. Returns as
 * kv_nif_map(). Unmapped with munmap(). */
const char *kv_nif_map_lane(const struct kv_nif_place *place, uint32_t groups, void **base);

/* ---- pids.c ------------------------------------------------------------------------------------
 * Each thread caches the tables of the pids it has seen, since the numbers of a pid of another node
 * can be had only by encoding the pid. */

struct kv_nif_pids; /* of all threads */

/* The kind of table that a process has: the items of a bucket, or the names of a registry. */
enum kv_nif_kind { KV_NIF_BUCKET = 0, KV_NIF_NAMES = 1 };

/* Returns NULL if there is no memory. Freed with kv_nif_pids_free(). */
struct kv_nif_pids *kv_nif_pids_new(void);
void kv_nif_pids_free(struct kv_nif_pids *pids);

/* The knowledge of one thread about one table: the reads that it has made. Only that thread writes.
 */
struct kv_nif_tally {
    uint64_t arena; /* its number, one more for names; 0 = free */
    uint32_t id;
    uint32_t serial;
    atomic_uint_fast64_t hits;
    atomic_uint_fast64_t misses;
    /* Of this thread alone: requests that the process has declined in a row, and how many more are
     * messages before it is asked again. */
    uint32_t declined;
    uint32_t messages;
};

/* Finds the table of a process of the arena's node, as kv_mapped_table_of(). GONE also for any
 * other term. A cached table may have ended since. `tally`: set to the tally of this thread for the
 * table, valid until the thread next calls this function. */
enum kv_read kv_nif_table(struct kv_nif_pids *pids, ErlNifEnv *env,
                          const struct kv_nif_arena *arena, enum kv_nif_kind kind, ERL_NIF_TERM pid,
                          struct kv_mapped_table *table, struct kv_nif_tally **tally);

/* Returns the number of this thread, from 0 on: one for each thread that has called. UINT32_MAX: no
 * memory. */
uint32_t kv_nif_thread(struct kv_nif_pids *pids);

/* Counts a read. */
static inline void kv_nif_count(struct kv_nif_tally *tally, bool found)
{
    atomic_uint_fast64_t *counter = found ? &tally->hits : &tally->misses;
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Adds up the tallies of all threads for a bucket. A thread that has met more than KV_NIF_TALLIES
 * tables has forgotten some. Both are 0 if the term is no pid of the arena's node. */
void kv_nif_reads(struct kv_nif_pids *pids, ErlNifEnv *env, const struct kv_nif_arena *arena,
                  ERL_NIF_TERM term, uint64_t *hits, uint64_t *misses);

/* ---- proxies -----------------------------------------------------------------------------------
 * A thread also caches which tables belong to local proxies, until any proxy gets another native
 * process or ends: the epoch then is another one. */

uint64_t kv_nif_epoch(const struct kv_nif_pids *pids);
void kv_nif_next_epoch(struct kv_nif_pids *pids);

/* The knowledge of a thread about a proxy. */
struct kv_nif_proxy {
    ERL_NIF_TERM proxy; /* a local pid; 0: free */
    ERL_NIF_TERM node;  /* an atom */
    uint64_t epoch;
    uint64_t arena; /* its number */
    struct kv_mapped_table table;
    struct kv_nif_tally *tally;
};

/* Remembers that a proxy of `epoch` stands for a native process on that node, if the process has a
 * table in the arena. */
void kv_nif_meet(struct kv_nif_pids *pids, ErlNifEnv *env, const struct kv_nif_arena *arena,
                 ERL_NIF_TERM native, ERL_NIF_TERM proxy, ERL_NIF_TERM node, uint64_t epoch);

/* `server`: a proxy, or its local name. Returns NULL if this thread does not know the proxy, or if
 * the process has ended. Valid until the thread next calls a function of pids.c. */
const struct kv_nif_proxy *kv_nif_met(struct kv_nif_pids *pids, ErlNifEnv *env,
                                      ERL_NIF_TERM server);

/* Decodes a pid of the arena's node: a version byte and a term. Returns false for any other term.
 */
bool kv_nif_pid(struct kv_nif_pids *pids, ErlNifEnv *env, const struct kv_nif_arena *arena,
                struct kv_bytes encoded, ERL_NIF_TERM *pid);

/* ---- keys.c -----------------------------------------------------------------------------------
 */

struct kv_nif_key {
    struct kv_bytes bytes; /* of the term, of local, of more, or of the thread */
    unsigned form;
    uint8_t local[KV_NIF_LOCAL];
    struct kv_buffer more;
};

/* Encodes a term as the store keeps keys. Returns false if the term has more than KV_NIF_KEY_MAX
 * bytes, is too deep or holds a fun. The key borrows from the term. Freed with kv_nif_key_free(),
 * also after false. */
bool kv_nif_key(ErlNifEnv *env, ERL_NIF_TERM term, enum kv_zeros zeros, struct kv_nif_key *key);

/* As kv_nif_key(), but with the fast path only, or with the room term only. A test compares both.
 */
bool kv_nif_key_direct(ErlNifEnv *env, ERL_NIF_TERM term, enum kv_zeros zeros,
                       struct kv_nif_key *key);
bool kv_nif_key_generic(ErlNifEnv *env, ERL_NIF_TERM term, enum kv_zeros zeros,
                        struct kv_nif_key *key);

/* Writes a value without version byte into a request. Returns its length; 0 if it takes more than
 * `size` bytes, is nested deeper than KV_NIF_DEPTH_MAX, or holds what is not known here: a pid, a
 * reference, a fun, an integer of more than 64 bits, an atom with characters above 255. */
size_t kv_nif_write(ErlNifEnv *env, ERL_NIF_TERM value, uint8_t *at, size_t size);

static inline void kv_nif_key_free(struct kv_nif_key *key)
{
    if (key->more.data != NULL) {
        kv_buffer_free(&key->more);
    }
}

/* ---- terms.c -----------------------------------------------------------------------------------
 */

/* Makes a term of a whole external term, without a version byte. Accepts only what
 * kv_term_validate() accepts, and makes no atoms. Returns false for anything else, for atoms that
 * this VM does not have, and for terms that are large, deep or of other kinds: the caller then
 * validates the term and lets the VM decode it. */
bool kv_nif_term(ErlNifEnv *env, struct kv_bytes external, ERL_NIF_TERM *term);

/* ---- lane.c ------------------------------------------------------------------------------------
 * One call of a thread goes through one slot of the thread: lane/slot.h. */

/* The knowledge of a thread about a lane. Only that thread uses it. */
struct kv_nif_seat {
    uint64_t until; /* the lane is left alone, if the last call has waited in vain: `missed`, */
    uint64_t pause; /* and for how many nanoseconds that was */
    uint64_t saved; /* nanoseconds, by answers: pays for waits in vain */
    uint64_t owed;  /* nanoseconds that were not paid as reductions yet */
    uint32_t beat;  /* of the node when the thread last waited in vain */
    bool missed;
    uint8_t apart[KV_LANE_LINE]; /* from what other threads write */
};

struct kv_nif_lane {
    struct kv_lane_header *header; /* NULL: not mapped */
    struct kv_nif_arena *arena;    /* kept; only read */
    const void *library; /* the load of the library that has opened it: threads have its numbers */
    uint32_t groups;
    atomic_bool closed;
    struct kv_nif_seat seats[KV_LANE_GROUPS_MAX];
};

enum kv_nif_asked {
    KV_NIF_ANSWERED,
    KV_NIF_BY_MESSAGE, /* nothing was done, and nothing will be */
    KV_NIF_TAKEN,      /* the node is at it; *slot must be looked at again, or left */
    KV_NIF_BROKEN,     /* the answer is none, so the node cannot be trusted */
    KV_NIF_LOST,       /* the lane has ended; nobody knows whether the request was done */
};

/* Maps the lane for a library. `lane` is zeroed. Returns as kv_nif_map(). */
const char *kv_nif_lane_open(const struct kv_nif_place *place, uint32_t groups,
                             struct kv_nif_lane *lane);
void kv_nif_lane_unmap(struct kv_nif_lane *lane);

/* No request is asked, and no answer taken, from now on. Tells the node, too. */
void kv_nif_lane_close(struct kv_nif_lane *lane);

/* Asks a process of the node, and waits some microseconds. */
enum kv_nif_asked kv_nif_lane_ask(struct kv_nif_pids *pids, ErlNifEnv *env,
                                  struct kv_nif_lane *lane, ERL_NIF_TERM pid, ERL_NIF_TERM request,
                                  ERL_NIF_TERM *answer, struct kv_slot **slot);

/* Looks once at a slot that was taken. The caller has the slot no more unless the result is
 * KV_NIF_TAKEN. */
enum kv_nif_asked kv_nif_lane_look(ErlNifEnv *env, struct kv_nif_lane *lane, struct kv_slot *slot,
                                   ERL_NIF_TERM *answer);

/* Nobody waits for the answer any more. */
void kv_nif_lane_leave(struct kv_slot *slot);

/* ---- values.c ----------------------------------------------------------------------------------
 */

enum kv_nif_copy {
    KV_NIF_COPIED,
    KV_NIF_CHANGED, /* the value changed during the copy: find it again */
    KV_NIF_LARGE,
    KV_NIF_UNKNOWN, /* an atom that this VM does not have, or no term at all */
};

/* Copies a value and makes a term of the copy, if the value still holds after it was copied. */
enum kv_nif_copy kv_nif_value(struct kv_nif_pids *pids, ErlNifEnv *env,
                              const struct kv_nif_arena *arena, const struct kv_mapped_value *value,
                              ERL_NIF_TERM *term);

#endif
