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
    (void)prctl(PR_SET_TIMERSLACK, SLACK_NS); /* default: 50 us, which a pause may take longer */
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

/* Forgets senders that have sent nothing of late. */
static void forget_old(struct kv_gather *gather, uint64_t now)
{
    uint64_t elapsed = now - gather->began;
    if (elapsed >= (uint64_t)KV_GATHER_WINDOW_US * NS_PER_US) {
        bool is_old = elapsed >= 2 * (uint64_t)KV_GATHER_WINDOW_US * NS_PER_US;
        gather->before = is_old ? 0 : gather->senders;
        gather->senders = 0;
        gather->began = now;
    }
}

uint64_t kv_gather_pause(struct kv_gather *gather, uint64_t now)
{
    unsigned messages = gather->messages;
    bool many = kv_gather_has_many(gather);
    gather->messages = 0;
    forget_old(gather, now);
    if (messages >= KV_GATHER_PLENTY || !many || (gather->senders | gather->before) == 0) {
        return 0;
    }
    return gather->pause_ns;
}

void kv_gather_wait(struct kv_gather *gather)
{
    if (gather->messages == 0) {
        return;
    }
    uint64_t length = kv_gather_pause(gather, uv_hrtime());
    if (length > 0) {
        struct timespec pause = {.tv_sec = (time_t)(length / NS_PER_S),
                                 .tv_nsec = (long)(length % NS_PER_S)};
        (void)nanosleep(&pause, NULL);
    }
}
