/* `kv_node --check-config`: everything that would keep a node with these options from starting, and
 * all of it at once. Starts nothing, registers no name, and changes no file. */
#ifndef KV_NODE_CHECK_CONFIG_H
#define KV_NODE_CHECK_CONFIG_H

#include "node/options.h"

#include <stdio.h>

/* Reads the files of the options, and prints a line for each thing that it looks at:
 *
 *     epmd        ok: EPMD answers at 127.0.0.1:4369
 *     address     would fail (port_taken): cannot listen at ...
 *
 * Returns 0, or the exit status with which the node would end. */
int kv_check_config(struct kv_options *options, FILE *out);

#endif
