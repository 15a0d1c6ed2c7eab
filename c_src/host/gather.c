#include "host/gather.h"

#include <sched.h>
#include <time.h>
#include <uv.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { NS_PER_US = 1000, NS_PER_S = 1000000000, SLACK_NS = 1000 };

void kv_gather_init(struct kv_gather *gather, uint64_t pause_us)
{
    *gather = (struct kv_gather){.pause_ns = pause_us * NS_PER_US};
    if (pause_us == 0) {
        return;
    }
#ifdef SCHED_BATCH
    const struct sched_param none = {0};
    (void)sched_setscheduler(0, SCHED_BATCH, &none);
#endif
#ifdef __linux__
    (void)prctl(PR_SET_TIMERSLACK, SLACK_NS); /* else a pause may take 50 microseconds longer */
#endif
}

static unsigned count(uint64_t bits)
{
    return (unsigned)__builtin_popcountll(bits);
}

bool kv_gather_has_many(const struct kv_gather *gather)
{
    return count(gather->senders | gather->before) >= KV_GATHER_SENDERS;
}

/* Forgets senders of whom nothing has come of late. */
static void forget_old(struct kv_gather *gather)
{
    uint64_t now = uv_hrtime();
    uint64_t elapsed = now - gather->began;
    if (elapsed >= (uint64_t)KV_GATHER_WINDOW_US * NS_PER_US) {
        bool is_old = elapsed >= 2 * (uint64_t)KV_GATHER_WINDOW_US * NS_PER_US;
        gather->before = is_old ? 0 : gather->senders;
        gather->senders = 0;
        gather->began = now;
    }
}

void kv_gather_wait(struct kv_gather *gather)
{
    unsigned messages = gather->messages;
    gather->messages = 0;
    if (messages == 0) {
        return;
    }
    bool many = kv_gather_has_many(gather);
    forget_old(gather);
    if (gather->pause_ns == 0 || messages >= KV_GATHER_PLENTY || !many ||
        (gather->senders | gather->before) == 0) {
        return;
    }
    struct timespec pause = {.tv_sec = (time_t)(gather->pause_ns / NS_PER_S),
                             .tv_nsec = (long)(gather->pause_ns % NS_PER_S)};
    (void)nanosleep(&pause, NULL);
}
