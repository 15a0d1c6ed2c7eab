/* Standard output: one line each for the log, for "ready" and for "fatal".
 *
 * Never waits for a reader: a line that does not fit into the pipe is kept, up to a bound, and
 * written later; beyond the bound lines are dropped and counted, and the count is told. Control
 * characters and what is not UTF-8 are escaped, so that text from a peer stays within its line. */
#ifndef KV_HOST_LOG_H
#define KV_HOST_LOG_H

#include <kv/buffer.h>
#include <kv/log.h>

#include <uv.h>

enum {
    KV_LOG_LINE_MAX = 2048,       /* bytes of one line; a longer one is cut */
    KV_LOG_QUEUE_MAX = 64 * 1024, /* bytes kept for a reader that does not read */
};

struct kv_log {
    uv_timer_t retry;
    enum kv_log_level level; /* lines below it are not written */
    struct kv_buffer queue;
    size_t dropped;
    bool ended; /* the last line is written, or nobody can read any more */
};

/* "debug" for KV_LOG_DEBUG and so on. */
const char *kv_log_level_text(enum kv_log_level level);

void kv_log_init(struct kv_log *log, uv_loop_t *loop);

/* "log LEVEL TEXT" */
void kv_log(struct kv_log *log, enum kv_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void kv_log_text(struct kv_log *log, enum kv_log_level level, const char *text);

/* A line that is no log line; it takes room that log lines can not use up. */
void kv_log_event(struct kv_log *log, const char *event, const char *text);

/* As kv_log_event(); no line follows it. */
void kv_log_last(struct kv_log *log, const char *event, const char *text);

/* Writes what is kept and releases the memory; only for a last line a reader is waited for, a
 * bounded time. The timer is
 * closed by whoever closes the handles of the loop. */
void kv_log_finish(struct kv_log *log);

#endif
