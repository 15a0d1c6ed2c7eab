/* The log of the node. */
#ifndef KV_LOG_H
#define KV_LOG_H

struct kv_runtime;

enum kv_log_level { KV_LOG_DEBUG, KV_LOG_INFO, KV_LOG_NOTICE, KV_LOG_WARNING, KV_LOG_ERROR };

/* Writes one line to the log. The format has no newline. The line is cut to 511 bytes. A process
 * passes kv_process_runtime(self). */
void kv_log_line(struct kv_runtime *runtime, enum kv_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
