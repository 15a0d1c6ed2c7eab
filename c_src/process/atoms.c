#include "process/atoms.h"

#include <kv/term.h>

static const uint8_t noproc[] = {KV_TAG_SMALL_ATOM_UTF8, 6, 'n', 'o', 'p', 'r', 'o', 'c'};
static const uint8_t noconnection[] = {
    KV_TAG_SMALL_ATOM_UTF8, 12, 'n', 'o', 'c', 'o', 'n', 'n', 'e', 'c', 't', 'i', 'o', 'n'};

const struct kv_bytes kv_atom_noproc = {noproc, sizeof noproc};
const struct kv_bytes kv_atom_noconnection = {noconnection, sizeof noconnection};
