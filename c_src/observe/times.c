/* The clocks of the node. OTP: erts/emulator/beam/erl_time_sup.c. */
#include "observe/figures.h"

#include "process/runtime.h"

enum { MEGA = 1000000, NS_PER_US = 1000 };
#define NS_PER_SECOND UINT64_C(1000000000)

/* Parts of a second: a number, or the name of a unit. The native unit is the nanosecond. KV_ETYPE
 * for other terms, and for more parts than nanoseconds. */
static int read_unit(struct kv_reader *reader, uint64_t *parts)
{
    static const struct {
        const char *name;
        uint64_t parts;
    } units[] = {
        {"second", 1},
        {"millisecond", 1000},
        {"microsecond", MEGA},
        {"nanosecond", NS_PER_SECOND},
        {"native", NS_PER_SECOND},
        {"perf_counter", NS_PER_SECOND},
        {"seconds", 1},
        {"milli_seconds", 1000},
        {"micro_seconds", MEGA},
        {"nano_seconds", NS_PER_SECOND},
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (kv_read_this_atom(reader, units[i].name) == KV_OK) {
            *parts = units[i].parts;
            return KV_OK;
        }
    }
    bool number = kv_read_u64(reader, parts) == KV_OK;
    return number && *parts > 0 && *parts <= NS_PER_SECOND ? KV_OK : KV_ETYPE;
}

static uint64_t in_parts(uint64_t ns, uint64_t parts)
{
    return ns / NS_PER_SECOND * parts + ns % NS_PER_SECOND * parts / NS_PER_SECOND;
}

enum clock { SYSTEM, MONOTONIC, OFFSET };

static uint64_t now(const struct kv_process *self, enum clock clock)
{
    struct kv_figures figures;
    static const struct kv_totals none = {0};
    kv_figures_take(self, &none, &figures);
    switch (clock) {
    case SYSTEM:
        return figures.stats.system_ns;
    case MONOTONIC:
        return figures.stats.monotonic_ns;
    default:
        return figures.stats.system_ns - figures.stats.monotonic_ns;
    }
}

/* Writes a time in the unit of the argument, or in nanoseconds if there is none. */
static int write_time(const struct kv_process *self, enum clock clock, struct kv_reader arguments,
                      struct kv_buffer *value)
{
    uint64_t parts = NS_PER_SECOND;
    if (!kv_reader_at_end(&arguments) && read_unit(&arguments, &parts) != KV_OK) {
        return KV_ETYPE;
    }
    kv_write_u64(value, in_parts(now(self, clock), parts));
    return KV_OK;
}

static int run_system(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    return write_time(self, SYSTEM, arguments, value);
}

static int run_monotonic(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    return write_time(self, MONOTONIC, arguments, value);
}

static int run_offset(struct kv_process *self, struct kv_reader arguments, struct kv_buffer *value)
{
    return write_time(self, OFFSET, arguments, value);
}

/* {MegaSeconds, Seconds, MicroSeconds} */
static int run_timestamp(struct kv_process *self, struct kv_reader arguments,
                         struct kv_buffer *value)
{
    uint64_t ns = now(self, SYSTEM);
    (void)arguments;
    kv_write_tuple(value, 3);
    kv_write_u64(value, ns / NS_PER_SECOND / MEGA);
    kv_write_u64(value, ns / NS_PER_SECOND % MEGA);
    kv_write_u64(value, ns % NS_PER_SECOND / NS_PER_US);
    return KV_OK;
}

const struct kv_function kv_time_functions[] = {
    {"erlang", "monotonic_time", run_monotonic, 0, NULL,
     "nanoseconds of a clock that never goes back"},
    {"erlang", "monotonic_time", run_monotonic, 1, NULL,
     "the same in a unit, or in parts of a second up to 10^9"},
    {"erlang", "system_time", run_system, 0, NULL, "nanoseconds since 1970"},
    {"erlang", "system_time", run_system, 1, NULL, "the same in a unit"},
    {"erlang", "time_offset", run_offset, 0, NULL, "nanoseconds from monotonic to system time"},
    {"erlang", "time_offset", run_offset, 1, NULL, "the same in a unit"},
    {"erlang", "timestamp", run_timestamp, 0, NULL,
     "`{MegaSeconds, Seconds, MicroSeconds}` since 1970"},
    {"os", "perf_counter", run_monotonic, 0, NULL, "as `erlang:monotonic_time/0`"},
    {"os", "perf_counter", run_monotonic, 1, NULL, "as `erlang:monotonic_time/1`"},
    {"os", "system_time", run_system, 0, NULL, "as `erlang:system_time/0`"},
    {"os", "system_time", run_system, 1, NULL, "as `erlang:system_time/1`"},
    {"os", "timestamp", run_timestamp, 0, NULL, "as `erlang:timestamp/0`"},
    {"Elixir.System", "monotonic_time", run_monotonic, 0, NULL, "as `erlang:monotonic_time/0`"},
    {"Elixir.System", "monotonic_time", run_monotonic, 1, NULL, "as `erlang:monotonic_time/1`"},
    {"Elixir.System", "os_time", run_system, 0, NULL, "as `erlang:system_time/0`"},
    {"Elixir.System", "os_time", run_system, 1, NULL, "as `erlang:system_time/1`"},
    {"Elixir.System", "system_time", run_system, 0, NULL, "as `erlang:system_time/0`"},
    {"Elixir.System", "system_time", run_system, 1, NULL, "as `erlang:system_time/1`"},
    {"Elixir.System", "time_offset", run_offset, 0, NULL, "as `erlang:time_offset/0`"},
    {"Elixir.System", "time_offset", run_offset, 1, NULL, "as `erlang:time_offset/1`"},
    {.module = NULL},
};
