/* Reasons that the runtime itself gives, as terms. */
#ifndef KV_PROCESS_ATOMS_H
#define KV_PROCESS_ATOMS_H

#include <kv/bytes.h>

extern const struct kv_bytes kv_atom_noproc;
extern const struct kv_bytes kv_atom_noconnection;

#endif
