/* Agent's door. Agent.get(bucket, Map, :get, ["key"]) sends the name of a function and no code. A
 * bucket runs the operation that does the same as the function. */
#ifndef KV_AGENT_H
#define KV_AGENT_H

#include <kv/term.h>

/* How Agent asks. `get` and `get_and_update` answer what the operation answers; `update` and `cast`
 * answer `ok`, or the error. */
enum kv_agent_kind { KV_AGENT_GET, KV_AGENT_UPDATE, KV_AGENT_GET_AND_UPDATE };

/* A function of a map, and the operation that stands for it. */
struct kv_agent_function {
    const char *module;
    const char *function;
    enum kv_agent_kind kind;
    uint32_t arity;        /* without the map, which Agent puts in front */
    const char *operation; /* its name; it has the same arity */
};

/* The last row has no module. */
extern const struct kv_agent_function kv_agent_functions[];

#endif
