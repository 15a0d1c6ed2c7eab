/* A viewer, like Observer: process 1 of a@host, which calls functions by name and gets messages. */
#ifndef KV_TEST_VIEWER_H
#define KV_TEST_VIEWER_H

#include "support/fixture.h"

/* A fixture with the services, the functions that may be called by name, and a bucket with the
 * label "shop" and no owner. */
struct fixture *viewer_fixture(struct kv_pid *bucket);

/* Starts a bucket with these options, a list, and returns its pid. */
struct kv_pid viewer_bucket(struct fixture *fixture, struct kv_bytes options);

/* Spawns Module:Function/Arity with arguments, a list, and one option: `link` or `monitor`. */
void viewer_spawn(struct fixture *fixture, const char *module, const char *function, uint32_t arity,
                  struct kv_bytes arguments, const char *option);

/* Returns the result of rpc:call/4: {Res, return, Value} or {Res, error, Reason, Stack}. Valid
 * until the next call. Forgets the signals sent before. */
struct kv_bytes viewer_outcome(struct fixture *fixture, const char *module, const char *function,
                               struct kv_bytes arguments);

/* Returns the Value; there must be one. */
struct kv_bytes viewer_call(struct fixture *fixture, const char *module, const char *function,
                            struct kv_bytes arguments);

bool is_error(struct kv_bytes outcome, const char *reason);

/* Runs timers until no process has one that is due at once. */
void run_turns(struct fixture *fixture);

/* Returns the value of an atom in a list of pairs; of length 0 if it is not there. */
struct kv_bytes value_at(struct kv_bytes list, const char *key);

/* Returns true if a term has a shape. A shape is a term with these instead of parts:
 *   i  an integer that is not negative    n  one greater than 0    0 to 9  that number
 *   a  an atom    o  a boolean
 *   b  a binary    p  a pid    s  a string, of characters    _  any term
 *   [x]  a list of any number of x    [x+]  of at least one    [x,y]  of these
 * Other words are atoms: {ok,p}. No blanks. */
bool has_shape(struct kv_bytes term, const char *shape);

#define assert_shape(term, shape)                                                                  \
    cr_assert(has_shape((term), (shape)), "%s is not %s", #term, (shape))

#endif
