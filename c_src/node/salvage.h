/* `kv_node --salvage FOLDER --to NEW-FOLDER`: makes a new store of all that can be read of a
 * damaged one. FOLDER is not written to. NEW-FOLDER gets its name once it is whole: until then it
 * is NEW-FOLDER.tmp. */
#ifndef KV_NODE_SALVAGE_H
#define KV_NODE_SALVAGE_H

#include "node/findings.h"

#include <kv/term.h>

/* Prints lines as node/findings.h has them: what is lost, and then what the new folder holds.
 * `zeros` counts if the file `store` of the old one cannot be read. Returns KV_FOUND_WHOLE: nothing
 * is lost; KV_FOUND_DAMAGED: the new folder has the rest; or KV_FOUND_NOTHING: there is no new
 * folder. */
enum kv_finding kv_salvage_folder(const char *folder, const char *to, enum kv_zeros zeros,
                                  FILE *out);

#endif
