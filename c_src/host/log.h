/* Lines on standard output: log lines, "ready", "pong" and "fatal".
 *
 * The log never waits for a reader. A line that does not fit into the pipe is kept, up to a bound,
 * and written later. Beyond the bound, lines are dropped and counted, and a later line tells the
 * count. Control characters and bytes that are not UTF-8 are written as \xHH, so that text from a
 * peer cannot end its line. */
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
    bool ended; /* the last line is written, or the reader is gone */
};

/* "debug" for KV_LOG_DEBUG and so on. */
const char *kv_log_level_text(enum kv_log_level level);

void kv_log_init(struct kv_log *log, uv_loop_t *loop);

/* Writes "log LEVEL TEXT". */
void kv_log(struct kv_log *log, enum kv_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void kv_log_text(struct kv_log *log, enum kv_log_level level, const char *text);

/* Writes "EVENT TEXT", at any level, in room that log lines cannot use up. */
void kv_log_event(struct kv_log *log, const char *event, const char *text);

/* As kv_log_event(). No line follows. */
void kv_log_last(struct kv_log *log, const char *event, const char *text);

/* Writes the lines that were kept, and frees the memory. Waits for a reader, at most a second, only
 * if there was a last line. The owner of the loop closes the timer. */
void kv_log_finish(struct kv_log *log);

#endif
