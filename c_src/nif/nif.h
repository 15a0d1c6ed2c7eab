/* Reads the arena of a node of the same host from inside a VM: what the files of the library share.
 *
 *   nif.c    loading, the functions, reading        mapping.c  opening an arena
 *   keys.c   a term as the bytes of a key           pids.c     from a pid to its table
 *   values.c bytes as a term                        alloc.c    memory, for the rooms below
 *
 * All of it runs on scheduler threads, many at once: what they share is written only when an arena
 * is opened or closed. */
#ifndef KV_NIF_H
#define KV_NIF_H

#include "store/reader.h"

#include <kv/form.h>
#include <kv/term.h>

#include <erl_nif.h>
#include <stdatomic.h>

enum {
    KV_NIF_TRIES = 16,             /* times a value is copied anew before the owner is asked */
    KV_NIF_BINARY_MAX = 256 << 10, /* bytes of a binary that are copied on a scheduler */
    KV_NIF_TERM_MAX = 8 << 10,     /* bytes of a term that are decoded on a scheduler */
    KV_NIF_KEY_MAX = 4 << 10,      /* bytes of a key that are encoded and hashed on a scheduler */
    KV_NIF_DEPTH_MAX = 32,         /* tuples and lists inside each other in a key */
    KV_NIF_LOCAL = 512,            /* bytes of a key or a value that need no memory of their own */
};

/* ---- mapping.c ---------------------------------------------------------------------------------
 */

struct kv_nif_arena {
    struct kv_mapped mapped;
    void *base; /* NULL: not mapped */
    size_t length;
    uint64_t number; /* even; no other arena of this library has it */
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

/* Maps the arena of another process and sets mapped, base and length. NULL, or a word that says
 * what is wrong; nothing is mapped then. */
const char *kv_nif_map(const struct kv_nif_place *place, struct kv_nif_arena *arena);
void kv_nif_unmap(struct kv_nif_arena *arena);

/* ---- pids.c ------------------------------------------------------------------------------------
 * Each thread remembers the tables of the pids it has met: a pid of another node tells its numbers
 * only by being encoded. */

struct kv_nif_pids; /* of all threads */

/* What kind of table a process has: that of a bucket, or the names of a registry. */
enum kv_nif_kind { KV_NIF_BUCKET = 0, KV_NIF_NAMES = 1 };

/* NULL when there is no memory. */
struct kv_nif_pids *kv_nif_pids_new(void);
void kv_nif_pids_free(struct kv_nif_pids *pids);

/* The table of a process of the arena's node. As kv_mapped_table_of(); GONE also for any other
 * term. A table that was remembered may have ended since. */
enum kv_read kv_nif_table(struct kv_nif_pids *pids, ErlNifEnv *env,
                          const struct kv_nif_arena *arena, enum kv_nif_kind kind, ERL_NIF_TERM pid,
                          struct kv_mapped_table *table);

/* A value that is a pid which kv_nif_pid() has made before, without a copy of its bytes. False for
 * any other value, and when it has changed: then it is to be looked at as a term. */
bool kv_nif_pid_again(struct kv_nif_pids *pids, ErlNifEnv *env, const struct kv_nif_arena *arena,
                      const struct kv_mapped_value *value, ERL_NIF_TERM *pid);

/* A term that is a pid of the arena's node, behind its version byte; false for any other term. */
bool kv_nif_pid(struct kv_nif_pids *pids, ErlNifEnv *env, const struct kv_nif_arena *arena,
                struct kv_bytes encoded, ERL_NIF_TERM *pid);

/* ---- keys.c -----------------------------------------------------------------------------------
 */

struct kv_nif_key {
    struct kv_bytes bytes; /* of the term, of local, or of more */
    unsigned form;
    uint8_t local[KV_NIF_LOCAL];
    struct kv_buffer more;
};

/* A term as the store keeps it as a key. False when it is larger than KV_NIF_KEY_MAX. The key
 * borrows from the term; freed with kv_nif_key_free(). */
bool kv_nif_key(ErlNifEnv *env, ERL_NIF_TERM term, enum kv_zeros zeros, struct kv_nif_key *key);

/* The same, only as fast paths do it, or only as the room term does it: for the test that both
 * agree.
 */
bool kv_nif_key_direct(ErlNifEnv *env, ERL_NIF_TERM term, enum kv_zeros zeros,
                       struct kv_nif_key *key);
bool kv_nif_key_generic(ErlNifEnv *env, ERL_NIF_TERM term, enum kv_zeros zeros,
                        struct kv_nif_key *key);

static inline void kv_nif_key_free(struct kv_nif_key *key)
{
    if (key->more.data != NULL) {
        kv_buffer_free(&key->more);
    }
}

/* ---- values.c ----------------------------------------------------------------------------------
 */

enum kv_nif_copy {
    KV_NIF_COPIED,
    KV_NIF_CHANGED, /* it changed meanwhile: find it again */
    KV_NIF_LARGE,
    KV_NIF_UNKNOWN, /* an atom that this VM does not have, or no term at all */
};

/* Makes a term of a value that was found, if it still holds after it was copied. */
enum kv_nif_copy kv_nif_value(struct kv_nif_pids *pids, ErlNifEnv *env,
                              const struct kv_nif_arena *arena, const struct kv_mapped_value *value,
                              ERL_NIF_TERM *term);

#endif
