/* The wall clock, which the log has, and the clock of the tables. */
#include "node/data_parts.h"

#include "host/shared_memory.h"

#include <time.h>

uint64_t kv_data_clock(const struct kv_data *data)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t ms =
        now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    return ms > data->latest ? ms : data->latest;
}

uint64_t kv_data_to_wall(const struct kv_data *data, uint64_t expiry)
{
    return expiry == KV_NEVER ? KV_NEVER : kv_data_clock(data) + expiry - kv_mapping_clock();
}
