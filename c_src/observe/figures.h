/* Figures of the whole node, for the tabs System, Memory Allocators and Load Charts. */
#ifndef KV_OBSERVE_FIGURES_H
#define KV_OBSERVE_FIGURES_H

#include "observe/functions.h"

/* The OTP release for a person, in the tab System. */
#define KV_NO_OTP "none: a native node"

/* The OTP release for a program, which reads a number and expects the functions of that release:
 * the oldest release that kv supports. */
#define KV_OTP_RELEASE "25"

/* The name of the operating system in os:type/0. */
#if defined(__linux__)
#define KV_OS_NAME "linux"
#elif defined(__APPLE__)
#define KV_OS_NAME "darwin"
#else
#define KV_OS_NAME "freebsd"
#endif

struct kv_figures {
    struct kv_stats stats;
    struct kv_totals totals;
};

/* Combines the totals of a survey with the present figures of the program. */
void kv_figures_take(const struct kv_process *self, const struct kv_totals *totals,
                     struct kv_figures *figures);

/* Adds the keys of erlang:memory/0 that the Load Charts read. Their order gives them their colours.
 */
void kv_figures_write_memory(const struct kv_figures *figures, struct kv_term_list *list);

#endif
