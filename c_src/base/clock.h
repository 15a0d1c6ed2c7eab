/* The clock by which entries expire. The node and the VMs that read its memory must use the same.
 */
#ifndef KV_BASE_CLOCK_H
#define KV_BASE_CLOCK_H

/* A number of <time.h>. The clock goes on while the machine is suspended, and nobody can set it: a
 * session of an hour is over after an hour, even if the machine slept meanwhile. */
#define KV_EXPIRY_CLOCK CLOCK_BOOTTIME

#endif
