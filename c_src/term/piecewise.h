/* kv_term_validate() in pieces, for a term that is too long for one turn of the loop. */
#ifndef KV_TERM_PIECEWISE_H
#define KV_TERM_PIECEWISE_H

#include <kv/term.h>

struct kv_piecewise;

/* Begins to validate the term at the front of `bytes`, which are borrowed until
 * kv_piecewise_free(). */
struct kv_piecewise *kv_piecewise_new(struct kv_bytes bytes, const struct kv_term_limits *limits);

/* Validates some `bytes` more. A leaf, and a map with its keys' order, is done at once. Returns
 * true if there is more to do. */
bool kv_piecewise_go_on(struct kv_piecewise *piecewise, size_t bytes);

/* After the last piece: returns what kv_term_validate() would have returned. *length is the length
 * of the term if that is KV_OK. */
int kv_piecewise_result(const struct kv_piecewise *piecewise, size_t *length);

/* `piecewise` may be NULL. */
void kv_piecewise_free(struct kv_piecewise *piecewise);

#endif
