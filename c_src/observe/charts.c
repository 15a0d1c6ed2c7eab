/* Observer's tab Load Charts.
 *
 * OTP: lib/runtime_tools/src/observer_backend.erl, fetch_stats/2; lib/observer/src/
 * observer_perf_wx.erl, calc_delta/2. */
#include "observe/figures.h"

#include "process/runtime.h"

enum { SHORTEST_PERIOD = 100, LONGEST_PERIOD = 24 * 3600 * 1000 }; /* milliseconds */

/* Sends figures to a chart until it gets any message, or the chart is gone. */
struct charted {
    struct kv_buffer chart; /* a pid as a term */
    uint64_t period;        /* milliseconds */
    uint64_t last_total;
    struct kv_walk walk; /* at work while the next figures are gathered */
    struct kv_findings findings;
};

static int stats_init(struct kv_process *self, struct kv_bytes arguments, struct kv_buffer *reason)
{
    struct charted *charted = kv_process_state(self);
    struct kv_pid pid;
    struct kv_bytes chart;
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(arguments);
    (void)kv_read_list(&reader, &count);
    if (kv_read_any(&reader, &chart) != KV_OK || kv_read_u64(&reader, &charted->period) != KV_OK) {
        kv_write_atom_text(reason, "badarg");
        return KV_ETYPE;
    }
    struct kv_reader pid_reader = kv_reader(chart);
    if (kv_read_pid(&pid_reader, &pid) != KV_OK) {
        kv_write_atom_text(reason, "badarg");
        return KV_ETYPE;
    }
    kv_write_term(&charted->chart, chart);
    charted->period = charted->period < SHORTEST_PERIOD ? SHORTEST_PERIOD : charted->period;
    charted->period = charted->period > LONGEST_PERIOD ? LONGEST_PERIOD : charted->period;
    kv_process_set_timer(self, charted->period);
    return KV_OK;
}

static void write_io(struct kv_buffer *to, const char *key, uint64_t bytes)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, key);
    kv_write_u64(to, bytes);
}

/* {stats, 1, [{1, Active, Total}], {{input, In}, {output, Out}}, Memory}. Total must have grown
 * since the last time, or Observer divides by 0. */
static void write_stats(struct charted *charted, const struct kv_figures *figures,
                        struct kv_buffer *to)
{
    enum { US_PER_MS = 1000 };
    struct kv_term_list list = {0};
    uint64_t total = figures->stats.uptime_ms * US_PER_MS;
    total = total > charted->last_total ? total : charted->last_total + 1;
    charted->last_total = total;
    kv_write_tuple(to, 5);
    kv_write_atom_text(to, "stats");
    kv_write_u64(to, 1);
    kv_write_list(to, 1);
    kv_write_tuple(to, 3);
    kv_write_u64(to, 1);
    kv_write_u64(to, figures->stats.cpu_us);
    kv_write_u64(to, total);
    kv_write_nil(to);
    kv_write_tuple(to, 2);
    write_io(to, "input", figures->stats.bytes_in);
    write_io(to, "output", figures->stats.bytes_out);
    kv_figures_write_memory(figures, &list);
    kv_term_list_close(&list, to);
}

static void send_stats(struct kv_process *self, struct charted *charted)
{
    struct kv_figures figures;
    struct kv_buffer message = KV_BUFFER_INIT;
    kv_figures_take(self, &charted->findings.totals, &figures);
    write_stats(charted, &figures, &message);
    kv_send_to(self, kv_buffer_bytes(&charted->chart), kv_buffer_bytes(&message));
    kv_buffer_free(&message);
}

/* Runs once in a period, and once a turn while figures are gathered. */
static void stats_timer(struct kv_process *self, uint64_t tag)
{
    (void)tag;
    struct charted *charted = kv_process_state(self);
    if (charted->walk.runtime == NULL) {
        charted->findings = (struct kv_findings){.left_out = 0};
        kv_walk_begin(&charted->walk, kv_process_runtime(self));
    }
    bool more =
        kv_walk_step(&charted->walk, KV_SURVEY_SLICE, kv_findings_count, &charted->findings);
    if (!more) {
        send_stats(self, charted);
    }
    kv_process_set_timer(self, more ? 0 : charted->period);
}

static void stats_info(struct kv_process *self, struct kv_bytes message)
{
    (void)message;
    kv_process_exit_atom(self, "normal");
}

static void stats_exit(struct kv_process *self, const struct kv_pid *from, struct kv_bytes reason)
{
    (void)from;
    (void)reason;
    kv_process_exit_atom(self, "normal");
}

static void stats_terminate(struct kv_process *self, struct kv_bytes reason)
{
    struct charted *charted = kv_process_state(self);
    (void)reason;
    kv_walk_end(&charted->walk);
    kv_buffer_free(&charted->chart);
}

const struct kv_behaviour kv_fetch_stats_behaviour = {
    .module = "observer_backend",
    .function = "fetch_stats",
    .arity = 2,
    .state_size = sizeof(struct charted),
    .init = stats_init,
    .handle_call = kv_reply_bad_request,
    .handle_info = stats_info,
    .handle_timer = stats_timer,
    .handle_exit = stats_exit,
    .terminate = stats_terminate,
};
