/* Takes messages apart into the request and its From. All parts borrow from the message. */
#ifndef KV_SERVER_REQUEST_H
#define KV_SERVER_REQUEST_H

#include "term/call_shape.h"

#include <kv/process.h>

/* Reads {Kind, From, Request}. Returns false if it is another term, or if From is that of a
 * $kv_call. */
bool kv_request_read(struct kv_bytes message, const char *kind, struct kv_from *from,
                     struct kv_bytes *request);

/* Reads {'$kv_call', Alias, Request}. Returns false if it is another term. */
bool kv_request_read_kv_call(struct kv_bytes message, struct kv_from *from,
                             struct kv_bytes *request);

/* Reads {'$gen_cast', Request}. Returns false if it is another term. */
bool kv_request_read_cast(struct kv_bytes message, struct kv_bytes *request);

/* Reads a $gen_call or a $kv_call in the one encoding that a BEAM writes. Returns false for any
 * other message, and for these in another encoding. */
bool kv_request_read_usual(const struct kv_signal *signal, enum kv_call_shape shape,
                           struct kv_from *from, struct kv_bytes *request);

/* Reads the From of a $kv_call, a reference that is an alias. Returns false if it is another term.
 */
bool kv_from_read_alias(struct kv_bytes term, struct kv_from *from);

#endif
