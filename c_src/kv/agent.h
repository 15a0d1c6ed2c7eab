/* Agent's door: Agent.get(bucket, Map, :get, ["key"]) and the like, functions of maps by name,
 * which a bucket can do without their code. */
#ifndef KV_AGENT_H
#define KV_AGENT_H

#include <kv/term.h>

/* What Agent makes of a function's answer: `get` and `get_and_update` hand it out; `update` hands
 * out `ok`, or what went wrong. */
enum kv_agent_kind { KV_AGENT_GET, KV_AGENT_UPDATE, KV_AGENT_GET_AND_UPDATE };

/* Which operation a function of a map is. */
struct kv_agent_function {
    const char *module;
    const char *function;
    enum kv_agent_kind kind;
    uint32_t arity;        /* without the map, which Agent puts in front of the arguments */
    const char *operation; /* of the same arity */
};

/* The last row has no module. */
extern const struct kv_agent_function kv_agent_functions[];

#endif
