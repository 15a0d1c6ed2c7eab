/* The figures as Prometheus reads them. */
#include "metrics/text.h"

#include <criterion/criterion.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

static struct kv_histogram turns;
static struct kv_buffer text;

static void set_up(void)
{
    turns = (struct kv_histogram){.ns = 0};
    text = (struct kv_buffer)KV_BUFFER_INIT;
}

static void tear_down(void)
{
    kv_buffer_free(&text);
}

TestSuite(metrics_text, .init = set_up, .fini = tear_down, .timeout = 20);

static const char *written(const struct kv_metrics_figures *figures)
{
    kv_metrics_write(figures, &text);
    kv_buffer_u8(&text, 0);
    return (const char *)text.data;
}

static void assert_line(const char *all, const char *line)
{
    char wanted[256];
    (void)snprintf(wanted, sizeof wanted, "\n%s\n", line);
    cr_assert_not_null(strstr(all, wanted), "%s in %s", line, all);
}

Test(metrics_text, a_figure_has_a_sentence_a_kind_and_a_value)
{
    const struct kv_metrics_figures figures = {.version = "1.2.3", .peers = 7, .turns = &turns};
    const char *all = written(&figures);
    assert_line(all, "kv_build_info{version=\"1.2.3\"} 1");
    assert_line(all,
                "# HELP kv_peers Nodes that are connected.\n# TYPE kv_peers gauge\nkv_peers 7");
}

Test(metrics_text, times_are_seconds)
{
    const struct kv_metrics_figures figures = {
        .version = "", .uptime_ms = 12005, .cpu_us = 3000004, .turns = &turns};
    const char *all = written(&figures);
    assert_line(all, "kv_uptime_seconds 12.005");
    assert_line(all, "kv_cpu_seconds_total 3.000004");
}

Test(metrics_text, figures_of_the_disk_are_there_if_it_is)
{
    struct kv_metrics_figures figures = {.version = "", .syncs = 5, .turns = &turns};
    cr_assert_null(strstr(written(&figures), "kv_log_syncs_total"));
    text.length = 0;
    figures.has_disk = true;
    assert_line(written(&figures), "kv_log_syncs_total 5");
}

Test(metrics_text, events_are_there_once_they_are_added_up)
{
    struct kv_metrics_figures figures = {.version = "", .hits = 5, .evictions = 6, .turns = &turns};
    cr_assert_null(strstr(written(&figures), "kv_hits_total"));
    text.length = 0;
    figures.has_events = true;
    const char *all = written(&figures);
    assert_line(all, "kv_hits_total 5");
    assert_line(all, "kv_evictions_total 6");
}

Test(metrics_text, durations_are_counted_below_each_bound)
{
    static const uint64_t US = 1000;
    const struct kv_metrics_figures figures = {.version = "", .turns = &turns};
    kv_histogram_add(&turns, 10 * US);
    kv_histogram_add(&turns, 10 * US + 1);
    kv_histogram_add(&turns, 1000 * US);
    kv_histogram_add(&turns, 2000000 * US);
    const char *all = written(&figures);
    assert_line(all, "kv_turn_seconds_bucket{le=\"1e-05\"} 1");
    assert_line(all, "kv_turn_seconds_bucket{le=\"2.5e-05\"} 2");
    assert_line(all, "kv_turn_seconds_bucket{le=\"0.001\"} 3");
    assert_line(all, "kv_turn_seconds_bucket{le=\"1\"} 3");
    assert_line(all, "kv_turn_seconds_bucket{le=\"+Inf\"} 4");
    assert_line(all, "kv_turn_seconds_sum 2.001020001\nkv_turn_seconds_count 4");
}

Test(metrics_text, the_longest_text_fits)
{
    struct kv_metrics_figures figures;
    memset(&figures, 0xff, sizeof figures);
    memset(&turns, 0x7f, sizeof turns);
    figures.version = "1234.1234.1234-with-a-long-name-of-a-release";
    figures.has_disk = true;
    figures.has_events = true;
    figures.turns = &turns;
    cr_assert_lt(strlen(written(&figures)), KV_METRICS_TEXT_MAX);
}

Test(metrics_text, every_line_is_of_the_format)
{
    regex_t format;
    const struct kv_metrics_figures figures = {
        .version = "1", .has_disk = true, .has_events = true, .turns = &turns};
    cr_assert_eq(regcomp(&format,
                         "^(# HELP kv_[a-z_]+ [A-Z0-9][^\n]*[.]"
                         "|# TYPE kv_[a-z_]+ (gauge|counter|histogram)"
                         "|kv_[a-z_]+([{][a-z]+=\"[^\"]+\"[}])? [0-9]+([.][0-9]+)?)$",
                         REG_EXTENDED | REG_NOSUB),
                 0);
    (void)written(&figures);
    for (char *line = strtok((char *)text.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        cr_assert_eq(regexec(&format, line, 0, NULL, 0), 0, "%s", line);
    }
    regfree(&format);
}
