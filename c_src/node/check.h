/* `kv_node --check FOLDER`: reads a data folder as a recovery does, and says what is in it. Writes
 * nothing there, and waits for no peer. A node that uses the folder must have ended. */
#ifndef KV_NODE_CHECK_H
#define KV_NODE_CHECK_H

#include "durable/recovery.h"
#include "host/folder.h"
#include "node/findings.h"

/* Prints lines as node/findings.h has them. Returns an exit status. */
enum kv_finding kv_check(const char *folder, FILE *out);

/* Used by --salvage as well: a folder as a disk, whose context is a struct kv_folder. */
struct kv_disk_view kv_check_view(struct kv_folder *folder);

#endif
