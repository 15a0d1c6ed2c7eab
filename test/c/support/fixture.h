/* A runtime without a network: two peers, and every signal that leaves is kept to be looked at. */
#ifndef KV_TEST_FIXTURE_H
#define KV_TEST_FIXTURE_H

#include "kv/kv.h"
#include "observe/world.h"
#include "process/runtime.h"
#include "store/arena.h"

enum { FIXTURE_MAX_SENT = 4096 };

struct sent {
    const char *to; /* the peer's name */
    struct kv_signal signal;
    struct kv_buffer bytes; /* the payload, name and node names that the signal borrows */
};

struct fixture {
    struct kv_runtime *runtime;
    struct kv_store store; /* the context of kv/ */
    struct kv_world world; /* the context of observe/ */
    struct kv_arena_memory memory;
    struct kv_arena *arena; /* a test may move its clock on */
    struct kv_peer *a;      /* "a@host", creation 7 */
    struct kv_peer *b;      /* "b@host", creation 8 */
    uint64_t clock;         /* milliseconds; a test moves it on */
    bool stepwise; /* a test calls kv_runtime_step() itself; else it is called after each signal */
    const struct kv_peer *full; /* its calls wait because it has much to read; or NULL */
    /* Also called for each signal that leaves; or NULL. */
    void (*look)(const struct kv_signal *signal);
    size_t sent_count;
    struct sent sent[FIXTURE_MAX_SENT];
};

#define FIXTURE_NODE     "kv@host"
#define FIXTURE_CREATION 100

struct fixture *fixture_new(void);
/* As fixture_new(), with this answer to get_state. */
struct fixture *fixture_answering(enum kv_get_state get_state);
/* As fixture_new(), with a VM that may be away: kv_runtime_peer_down(). */
struct fixture *fixture_with_vm(const char *vm);
/* Any node whose processes own some of ours may be away. */
struct fixture *fixture_keeping_all(void);
/* Also checks that no memory is left behind. */
void fixture_free(struct fixture *fixture);

/* Process number n of peer "a@host" or "b@host". */
struct kv_pid pid_a(uint32_t n);
struct kv_pid pid_b(uint32_t n);
struct kv_ref ref_a(uint32_t n);
struct kv_ref ref_b(uint32_t n);

/* An empty buffer of 64 KiB to write a term in, which lives as long as the terms below. */
struct kv_buffer *term_buffer(void);

/* A term, valid until the next 256 calls of these. */
struct kv_bytes term_atom(const char *text);
struct kv_bytes term_binary(const char *text);
struct kv_bytes term_integer(int64_t value);
struct kv_bytes term_pid(const struct kv_pid *pid);
/* A tuple of the terms given, at most 4, ending with one of length 0. */
struct kv_bytes term_tuple(struct kv_bytes a, struct kv_bytes b, struct kv_bytes c,
                           struct kv_bytes d);
struct kv_bytes term_list(struct kv_bytes a, struct kv_bytes b, struct kv_bytes c);
#define NONE kv_bytes(NULL, 0)
/* {Pid, Tag} with Tag = [alias | Ref], as gen:call/4 makes it. */
struct kv_bytes term_from(const struct kv_pid *pid, const struct kv_ref *alias);

/* Feeds one signal of `peer`; must be KV_OK. */
void feed(struct fixture *fixture, struct kv_peer *peer, const struct kv_signal *signal);

void feed_message(struct fixture *fixture, struct kv_peer *peer, const struct kv_pid *to,
                  struct kv_bytes message);
void feed_link(struct fixture *fixture, struct kv_peer *peer, const struct kv_pid *from,
               const struct kv_pid *to);
void feed_unlink(struct fixture *fixture, struct kv_peer *peer, const struct kv_pid *from,
                 const struct kv_pid *to, uint64_t id);
void feed_monitor(struct fixture *fixture, struct kv_peer *peer, const struct kv_pid *from,
                  const struct kv_pid *to, const struct kv_ref *ref);
void feed_exit(struct fixture *fixture, struct kv_peer *peer, enum kv_signal_kind kind,
               const struct kv_pid *from, const struct kv_pid *to, struct kv_bytes reason);
/* Spawns Module:init/1 with the argument `options`; returns the pid of the reply. */
struct kv_pid feed_spawn(struct fixture *fixture, struct kv_peer *peer, const char *module,
                         struct kv_bytes spawn_options, struct kv_bytes options);
/* Spawns Module:Function/Arity from process 1 of a@host, with a list of spawn options and a list of
 * arguments. Returns the spawn reply. Forgets the signals sent before. */
const struct sent *feed_spawn_of(struct fixture *fixture, const char *module, const char *function,
                                 uint32_t arity, struct kv_bytes spawn_options,
                                 struct kv_bytes arguments);
/* As fixture_new(), with the services of kv/. */
struct fixture *fixture_with_services(void);
/* Spawns a registry with one option, or NONE. */
struct kv_pid feed_registry(struct fixture *fixture, struct kv_bytes option);
/* A fixture with the services and a bucket without options. */
struct fixture *bucket_fixture(struct kv_pid *bucket);
/* A gen_server call of process 1 of a@host; returns the reply, without its tag. */
struct kv_bytes call(struct fixture *fixture, const struct kv_pid *to, struct kv_bytes request);
struct kv_bytes system_call(struct fixture *fixture, const struct kv_pid *to,
                            struct kv_bytes request);
void cast(struct fixture *fixture, const struct kv_pid *to, struct kv_bytes request);

/* Forgets the signals sent so far. */
void forget(struct fixture *fixture);

/* The n-th signal of this kind since forget(), or NULL. */
const struct sent *sent_of(const struct fixture *fixture, enum kv_signal_kind kind, size_t n);
size_t count_of(const struct fixture *fixture, enum kv_signal_kind kind);

/* Sends a call of process 1 of a@host, without waiting for the answer, which goes to the alias `n`.
 * `tag` is the atom before From: "$gen_call" or "system". */
void feed_call(struct fixture *fixture, const struct kv_pid *to, const char *tag, uint32_t n,
               struct kv_bytes request);
/* The answer that went to the alias `n`, without its tag; or NONE. */
struct kv_bytes answer_at(const struct fixture *fixture, uint32_t n);
/* Of a fixture that is `stepwise`: runs all turns that there are, and returns their number. */
unsigned run_to_the_end(const struct fixture *fixture);

/* The pid in a term, as one of this node. */
struct kv_pid pid_in(struct kv_bytes term);
/* Finds a number in [{Name, Number}, ...]; UINT64_MAX if another term stands there. Returns false
 * if there is no such name. */
bool figure_in(struct kv_bytes figures, const char *name, uint64_t *figure);

/* The payload of a signal. */
struct kv_bytes payload_of(const struct sent *sent);

/* Asserts that two terms are equal, byte by byte. */
#define assert_term(actual, expected) cr_assert(kv_bytes_equal((actual), (expected)))

#endif
