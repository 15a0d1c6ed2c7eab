/* The figures of the node for Prometheus: gathers them, and serves them where --metrics says. */
#ifndef KV_NODE_METRICS_H
#define KV_NODE_METRICS_H

#include "kv/tally.h"
#include "metrics/histogram.h"
#include "metrics/http.h"
#include "node/options.h"

struct kv_node;

/* Zeroed: off. */
struct kv_node_metrics {
    struct kv_http http;
    struct kv_histogram turns;
    bool measures;     /* the turns */
    uint64_t messages; /* handled until the end of the last turn; */
    uint64_t ended;    /* when that was, */
    uint64_t idle;     /* and how long the loop had slept until then: nanoseconds */
    struct kv_tally tally;
    uv_idle_t walk; /* adds up the tables that a scrape has left */
};

/* Begins to serve, if the options say so. Must come before the first turn of the loop. Returns
 * false if it cannot listen; `text` says why. */
bool kv_node_metrics_start(struct kv_node *node, char text[KV_OPTION_ERROR_MAX]);
void kv_node_metrics_stop(struct kv_node *node);

/* The tally in which the tables of the node are entered; NULL: there are no metrics. */
struct kv_tally *kv_node_metrics_tally(struct kv_node *node);

/* The sentence for an address at which it cannot be listened. */
void kv_node_metrics_refused(const struct kv_options *options, int error,
                             char text[KV_OPTION_ERROR_MAX]);

/* The end of a turn. */
void kv_node_metrics_turn(struct kv_node *node);

#endif
