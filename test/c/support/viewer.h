/* A viewer, as Observer is one: process 1 of a@host, which calls functions by name and is sent to.
 */
#ifndef KV_TEST_VIEWER_H
#define KV_TEST_VIEWER_H

#include "support/fixture.h"

/* A fixture with the services, the functions that may be called by name, and a bucket that is
 * labelled "shop", owned by nobody. */
struct fixture *viewer_fixture(struct kv_pid *bucket);

/* One more bucket with these options, a list; its pid. */
struct kv_pid viewer_bucket(struct fixture *fixture, struct kv_bytes options);

/* Spawns Module:Function/Arity with arguments, a list, and one option: `link` or `monitor`. */
void viewer_spawn(struct fixture *fixture, const char *module, const char *function, uint32_t arity,
                  struct kv_bytes arguments, const char *option);

/* What rpc:call/4 gets: {Res, return, Value} or {Res, error, Reason, Stack}. Valid until the next
 * call; what has been sent before is forgotten. */
struct kv_bytes viewer_outcome(struct fixture *fixture, const char *module, const char *function,
                               struct kv_bytes arguments);

/* The Value; there must be one. */
struct kv_bytes viewer_call(struct fixture *fixture, const char *module, const char *function,
                            struct kv_bytes arguments);

bool is_error(struct kv_bytes outcome, const char *reason);

/* Runs timers until no process has one that is due at once. */
void run_turns(struct fixture *fixture);

/* The value under an atom in a list of pairs; of length 0 when there is none. */
struct kv_bytes value_at(struct kv_bytes list, const char *key);

/* Whether a term has a shape. A shape is a term with these in place of parts:
 *   i  an integer that is not negative    n  one greater than 0    0 to 9  that number
 *   a  an atom    o  a boolean
 *   b  a binary    p  a pid    s  a string, of characters    _  any term
 *   [x]  a list of any number of x    [x+]  of at least one    [x,y]  of these
 * Other words are atoms: {ok,p}. No blanks. */
bool has_shape(struct kv_bytes term, const char *shape);

#define assert_shape(term, shape)                                                                  \
    cr_assert(has_shape((term), (shape)), "%s is not %s", #term, (shape))

#endif
