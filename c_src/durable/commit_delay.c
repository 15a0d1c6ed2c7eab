#include "durable/commit_delay.h"

enum {
    OF_USUAL = 8,  /* the last commit is so much of the average */
    LATE = 8,      /* one of so many callers need not be waited for */
    OF_COMMIT = 2, /* the wait is so much of the time of a commit, at most */
    AWAY = 4,      /* more than one of so many that do not come back in time are too many */
};

void kv_commit_delay_begin(struct kv_commit_delay *delay, uint64_t now)
{
    delay->begun = now;
    delay->until = 0;
}

static void note(struct kv_commit_delay *delay, uint64_t took)
{
    delay->usual =
        delay->usual == 0 ? took : delay->usual - delay->usual / OF_USUAL + took / OF_USUAL;
}

static uint64_t longest(const struct kv_commit_delay *delay)
{
    const uint64_t part = delay->usual / OF_COMMIT;
    return part < KV_COMMIT_DELAY_MOST_NS ? part : (uint64_t)KV_COMMIT_DELAY_MOST_NS;
}

void kv_commit_delay_done(struct kv_commit_delay *delay, uint64_t now, size_t before, size_t after)
{
    if (delay->begun == 0) {
        return;
    }
    note(delay, now - delay->begun);
    delay->begun = 0;
    if (delay->skips > 0) {
        delay->skips--;
        return;
    }
    const size_t answered = before - after;
    delay->wanted = before - before / LATE;
    delay->least = before - answered / AWAY;
    delay->until = answered == 0 ? 0 : now + longest(delay);
}

/* The wait is over. */
static void judge(struct kv_commit_delay *delay, size_t waiting)
{
    delay->until = 0;
    if (waiting >= delay->least) {
        delay->skipped = 0;
    } else {
        delay->skipped = 2 * delay->skipped + 1;
        delay->skipped = delay->skipped < KV_COMMIT_SKIPS ? delay->skipped : KV_COMMIT_SKIPS;
        delay->skips = delay->skipped;
    }
}

uint64_t kv_commit_delay_left(struct kv_commit_delay *delay, uint64_t now, size_t waiting)
{
    if (delay->until == 0) {
        return 0;
    }
    if (waiting < delay->wanted && now < delay->until) {
        return delay->until - now;
    }
    judge(delay, waiting);
    return 0;
}
