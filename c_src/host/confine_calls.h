/* The system calls that a confined process may make. */
#ifndef KV_HOST_CONFINE_CALLS_H
#define KV_HOST_CONFINE_CALLS_H

/* Names, of which a processor may lack some. Each list ends with NULL. */

/* Made, whatever the arguments are. */
extern const char *const kv_confine_allowed[];

/* Not made, with ENOSYS and without a line: the C library then goes another way. */
extern const char *const kv_confine_absent[];

/* Not made, with EPERM and without a line: libraries try them, and do without. */
extern const char *const kv_confine_refused[];

#endif
