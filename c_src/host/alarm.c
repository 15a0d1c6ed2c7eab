#include "host/alarm.h"

#include <sys/timerfd.h>
#include <unistd.h>

enum { NS_PER_S = 1000000000 };

static void on_time(uv_poll_t *poll, int status, int events)
{
    struct kv_alarm *alarm = poll->data;
    uint64_t times = 0;
    (void)status;
    (void)events;
    alarm->is_set = read(alarm->fd, &times, sizeof times) != (ssize_t)sizeof times && alarm->is_set;
}

void kv_alarm_open(struct kv_alarm *alarm, uv_loop_t *loop)
{
    *alarm = (struct kv_alarm){.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)};
    if (alarm->fd < 0) {
        return;
    }
    if (uv_poll_init(loop, &alarm->poll, alarm->fd) != 0) {
        (void)close(alarm->fd);
        return;
    }
    alarm->poll.data = alarm;
    alarm->is_open = true;
    (void)uv_poll_start(&alarm->poll, UV_READABLE, on_time);
}

static void set(struct kv_alarm *alarm, uint64_t ns)
{
    const struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)}};
    alarm->is_set = timerfd_settime(alarm->fd, 0, &at, NULL) == 0 && ns > 0;
}

void kv_alarm_set(struct kv_alarm *alarm, uint64_t ns)
{
    if (alarm->is_open && !alarm->is_set) {
        set(alarm, ns);
    }
}

void kv_alarm_unset(struct kv_alarm *alarm)
{
    if (alarm->is_set) {
        set(alarm, 0);
    }
}

void kv_alarm_close(struct kv_alarm *alarm)
{
    if (alarm->is_open) {
        (void)uv_poll_stop(&alarm->poll);
        (void)close(alarm->fd);
        alarm->is_open = false;
        alarm->is_set = false;
    }
}
