/* The generic part of processes that are not plain: it does what gen_server does on a BEAM.
 *
 * It takes calls, casts and system messages apart and hands them to the behaviour. While sys has
 * suspended a process, its messages wait. */
#ifndef KV_SERVER_SERVER_H
#define KV_SERVER_SERVER_H

#include "process/generic.h"

/* For kv_runtime_options. */
extern const struct kv_generic kv_server;

#endif
