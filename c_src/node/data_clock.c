/* The wall clock, which the log has, and the clock of the tables. */
#include "node/data_parts.h"

#include "host/shared_memory.h"

#include <time.h>

enum { EXPIRED_LONG_AGO = 2 }; /* the least time of an expiry: kv/durable.h */

uint64_t kv_data_clock(const struct kv_data *data)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t ms =
        now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    return ms > data->latest ? ms : data->latest;
}

/* A time before the recovery has only to be in the right order: behind those that are told apart no
 * later than the clock of the tables has begun. That clock may have begun a minute ago. */
static uint64_t before_recovery(const struct kv_data *data, uint64_t time)
{
    const struct kv_recovery_result *result = kv_recovery_result(data->recovery);
    const uint64_t oldest = result->began != 0 ? result->began : data->store.created;
    const uint64_t span = data->origin.wall > oldest ? data->origin.wall - oldest : 0;
    const uint64_t from = time > oldest ? time - oldest : 0;
    const uint64_t room =
        data->origin.arena > EXPIRED_LONG_AGO ? data->origin.arena - EXPIRED_LONG_AGO : 0;
    if (span <= room) {
        return EXPIRED_LONG_AGO + room - (span - from);
    }
    return EXPIRED_LONG_AGO + (uint64_t)((double)from / (double)span * (double)room);
}

uint64_t kv_data_from_wall(const struct kv_data *data, uint64_t time)
{
    return time < data->origin.wall ? before_recovery(data, time)
                                    : data->origin.arena + (time - data->origin.wall);
}

uint64_t kv_data_to_wall(const struct kv_data *data, uint64_t expiry)
{
    return expiry == KV_NEVER ? KV_NEVER : kv_data_clock(data) + expiry - kv_mapping_clock();
}
