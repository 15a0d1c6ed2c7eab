/* The functions that may be called by name. Everything that is not in the list does not exist. */
#ifndef KV_FUNCTIONS_H
#define KV_FUNCTIONS_H

#include <kv/process.h>

struct kv_call {
    struct kv_bytes module;
    struct kv_bytes function;
    struct kv_bytes arguments; /* a proper list, or a string */
};

/* Runs a function and appends its value. KV_OK; KV_ENOENT: there is none of that name and arity;
 * KV_ETYPE: not with these arguments (badarg); KV_ECLOSURE: the call is of a fun. Nothing is
 * appended unless it is KV_OK. */
int kv_function_apply(struct kv_process *self, const struct kv_call *call, struct kv_buffer *value);

#endif
