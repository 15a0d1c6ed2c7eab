/* An alarm: it wakes the loop once, at a time given in nanoseconds. The timers of libuv count
 * milliseconds. */
#ifndef KV_HOST_ALARM_H
#define KV_HOST_ALARM_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Lies at its place from kv_alarm_open() until the loop has closed its handle. */
struct kv_alarm {
    uv_poll_t poll;
    int fd;
    bool is_open; /* false: zeroed, or there was no handle for it */
    bool is_set;
};

/* If the system has no handle for it, the alarm is not open, and the other functions do nothing. */
void kv_alarm_open(struct kv_alarm *alarm, uv_loop_t *loop);

/* Wakes the loop in so many nanoseconds, which are not 0. An alarm that is set stays as it is. */
void kv_alarm_set(struct kv_alarm *alarm, uint64_t ns);

/* The loop need not be woken any more. */
void kv_alarm_unset(struct kv_alarm *alarm);

/* Ends the alarm. Its handle is still to be closed with those of the loop. Does nothing if the
 * alarm is not open. */
void kv_alarm_close(struct kv_alarm *alarm);

#endif
