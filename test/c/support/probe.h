/* A process for tests, and ways to make it act. */
#ifndef KV_TEST_PROBE_H
#define KV_TEST_PROBE_H

#include "support/fixture.h"

/* With the option `fail` its init fails; with `exit` the process ends at once. Its calls are
 * {monitor, Pid}, {own, Pid} (Pid becomes its owner), {demonitor, _}, {link, Pid}, {unlink, Pid},
 * {register, Name}, {exit, Reason}, {backs, _} (how often handle_back was called), and {leave,
 * Reason}, which it does not answer. */
extern const struct kv_behaviour probe_behaviour;

/* A fixture where process 1 of a@host may spawn probes. */
struct fixture *probe_fixture(void);

/* Returns the pid of a new probe. Forgets the signals sent so far. */
struct kv_pid spawn_probe(struct fixture *fixture);

/* Makes a probe run a command with a pid. */
void do_with_pid(struct fixture *fixture, const struct kv_pid *probe, const char *command,
                 const struct kv_pid *pid);

/* The answer of get_state: the number of DOWNs, the last one's reason, the numbers of messages and
 * casts. */
struct kv_bytes expected_state(int64_t downs, const char *reason, int64_t infos, int64_t casts);

#endif
