/* Taking messages apart: what is asked, and by whom. All parts borrow from the message. */
#ifndef KV_SERVER_REQUEST_H
#define KV_SERVER_REQUEST_H

#include "term/call_shape.h"

#include <kv/process.h>

/* {Kind, From, Request}, where From is not that of a $kv_call. */
bool kv_request_read(struct kv_bytes message, const char *kind, struct kv_from *from,
                     struct kv_bytes *request);

/* {'$kv_call', Alias, Request} */
bool kv_request_read_kv_call(struct kv_bytes message, struct kv_from *from,
                             struct kv_bytes *request);

/* {'$gen_cast', Request} */
bool kv_request_read_cast(struct kv_bytes message, struct kv_bytes *request);

/* A $gen_call or a $kv_call in the one encoding in which a BEAM writes it; false: it is another
 * message, or the same in another encoding. */
bool kv_request_read_usual(const struct kv_signal *signal, enum kv_call_shape shape,
                           struct kv_from *from, struct kv_bytes *request);

/* The From of a $kv_call: a reference, which is an alias. */
bool kv_from_read_alias(struct kv_bytes term, struct kv_from *from);

#endif
