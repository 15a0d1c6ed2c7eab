/* What gen_server does on a BEAM: the generic part of processes that are not plain.
 *
 * Calls, casts and system messages are taken apart and handed to the behaviour; while a process is
 * suspended by sys, its messages wait. */
#ifndef KV_SERVER_SERVER_H
#define KV_SERVER_SERVER_H

#include "process/generic.h"

/* For kv_runtime_options. */
extern const struct kv_generic kv_server;

#endif
