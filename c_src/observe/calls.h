/* The processes that take calls by name. */
#ifndef KV_OBSERVE_CALLS_H
#define KV_OBSERVE_CALLS_H

#include <kv/process.h>

extern const struct kv_behaviour kv_erpc_call_behaviour;  /* erpc:execute_call/4 */
extern const struct kv_behaviour kv_erpc_cast_behaviour;  /* erpc:execute_cast/3 */
extern const struct kv_behaviour kv_rex_behaviour;        /* the process rex */
extern const struct kv_behaviour kv_rex_worker_behaviour; /* a call that rex was asked for */

#endif
