/* A process to look into, and the tests' ways to have it do things. */
#ifndef KV_TEST_PROBE_H
#define KV_TEST_PROBE_H

#include "support/fixture.h"

/* Spawned with the atom `fail` its init fails, with `exit` it ends at once. It takes the calls
 * {monitor, Pid}, {own, Pid}: Pid is its owner, {demonitor, _}, {link, Pid}, {unlink, Pid},
 * {register, Name}, {exit, Reason}, {backs, _}: how often handle_back was called, and {leave,
 * Reason}, which it does not answer. */
extern const struct kv_behaviour probe_behaviour;

/* A fixture where process 1 of a@host may spawn probes. */
struct fixture *probe_fixture(void);

/* The pid of a new probe; what has been sent so far is forgotten. */
struct kv_pid spawn_probe(struct fixture *fixture);

/* Has a probe do something with a pid. */
void do_with_pid(struct fixture *fixture, const struct kv_pid *probe, const char *command,
                 const struct kv_pid *pid);

/* What get_state answers: how many DOWNs, the last one's reason, and how many messages and casts.
 */
struct kv_bytes expected_state(int64_t downs, const char *reason, int64_t infos, int64_t casts);

#endif
