/* The limits of memory, for a text that tells a person which one to raise. */
#ifndef KV_HOST_EXHAUSTED_H
#define KV_HOST_EXHAUSTED_H

/* Returns those that are set for this process, as the options of ulimit: "ulimit -v" (addresses),
 * "ulimit -d" (data), "ulimit -v and -d"; and "ulimit -v" if none is. Static; never fails, and
 * needs no memory. */
const char *kv_limits_of_memory(void);

#endif
