#include "host/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum {
    RETRY_MS = 50,
    FINISH_MS = 1000,
    /* A pipe takes this much without blocking if poll(2) calls it writable. */
    WRITE_MAX = PIPE_BUF,
    EVENT_ROOM = 4 * KV_LOG_LINE_MAX, /* a log line that began below the bound, and pongs */
    LAST_ROOM = 2 * KV_LOG_LINE_MAX,
};

/* ---- escaping -------------------------------------------------------------------------------- */

/* Returns the length of the printable UTF-8 character at the front of `bytes`; 0: there is none. */
static size_t printable(struct kv_bytes bytes)
{
    const uint8_t *p = bytes.data;
    if (p[0] < 0x80) {
        return p[0] >= 0x20 && p[0] != 0x7f ? 1 : 0;
    }
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || length > bytes.length) {
        return 0;
    }
    uint32_t character = p[0] & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        character = (character << 6) | (p[i] & 0x3fU);
    }
    bool overlong = (length == 3 && character < 0x800) || (length == 4 && character < 0x10000);
    bool surrogate = character >= 0xd800 && character <= 0xdfff;
    bool control = character < 0xa0 || character == 0x2028 || character == 0x2029;
    return overlong || surrogate || control || character > 0x10ffff ? 0 : length;
}

static void append_escaped(struct kv_buffer *to, const char *text)
{
    struct kv_bytes rest = kv_bytes_text(text);
    size_t bound = to->length + KV_LOG_LINE_MAX;
    while (rest.length > 0 && to->length < bound) {
        size_t length = printable(rest);
        if (length > 0) {
            kv_buffer_append(to, kv_bytes(rest.data, length));
        } else {
            char escape[sizeof("\\xHH")];
            (void)snprintf(escape, sizeof(escape), "\\x%02x", rest.data[0]);
            kv_buffer_append(to, kv_bytes_text(escape));
            length = 1;
        }
        rest = kv_bytes(rest.data + length, rest.length - length);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool is_writable(int timeout_ms)
{
    struct pollfd standard_output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&standard_output, 1, timeout_ms) > 0;
}

/* Writes until standard output would block. Uses poll(2) before each write, not O_NONBLOCK: that
 * flag belongs to the open file, which may be the terminal of a shell. */
static void drain(struct kv_log *log, int timeout_ms)
{
    size_t done = 0;
    while (done < log->queue.length && is_writable(timeout_ms)) {
        size_t rest = log->queue.length - done;
        ssize_t written =
            write(STDOUT_FILENO, log->queue.data + done, rest < WRITE_MAX ? rest : WRITE_MAX);
        if (written > 0) {
            done += (size_t)written;
        } else if (errno != EINTR && errno != EAGAIN) {
            log->ended = true; /* the reader is gone */
            done = log->queue.length;
        }
    }
    kv_buffer_consume(&log->queue, done);
}

static void on_retry(uv_timer_t *timer);

static void wait_for_reader(struct kv_log *log)
{
    if (log->queue.length > 0 && !uv_is_closing((uv_handle_t *)&log->retry)) {
        uv_timer_start(&log->retry, on_retry, RETRY_MS, 0);
    }
}

static void append_line(struct kv_log *log, const char *kind, const char *text)
{
    kv_buffer_append(&log->queue, kv_bytes_text(kind));
    kv_buffer_append(&log->queue, kv_bytes_text(" "));
    append_escaped(&log->queue, text);
    kv_buffer_append(&log->queue, kv_bytes_text("\n"));
}

static void tell_dropped(struct kv_log *log)
{
    if (log->dropped > 0 && log->queue.length == 0) {
        char text[KV_LOG_LINE_MAX];
        (void)snprintf(text, sizeof(text),
                       "%zu log lines dropped because standard output was not read", log->dropped);
        log->dropped = 0;
        append_line(log, "log warning", text);
        drain(log, 0);
    }
}

static void on_retry(uv_timer_t *timer)
{
    struct kv_log *log = timer->data;
    drain(log, 0);
    tell_dropped(log);
    wait_for_reader(log);
}

static void add_line(struct kv_log *log, const char *kind, const char *text, size_t bound)
{
    if (log->ended) {
        return;
    }
    if (log->queue.length > bound) {
        log->dropped++;
        return;
    }
    append_line(log, kind, text);
    drain(log, 0);
    wait_for_reader(log);
}

/* ---- the interface --------------------------------------------------------------------------- */

const char *kv_log_level_text(enum kv_log_level level)
{
    static const char *const texts[] = {"debug", "info", "notice", "warning", "error"};
    return texts[level];
}

void kv_log_init(struct kv_log *log, uv_loop_t *loop)
{
    *log = (struct kv_log){.level = KV_LOG_NOTICE, .queue = KV_BUFFER_INIT};
    uv_timer_init(loop, &log->retry);
    log->retry.data = log;
}

void kv_log_text(struct kv_log *log, enum kv_log_level level, const char *text)
{
    if (level >= log->level) {
        char kind[sizeof("log warning")];
        (void)snprintf(kind, sizeof(kind), "log %s", kv_log_level_text(level));
        add_line(log, kind, text, KV_LOG_QUEUE_MAX);
    }
}

void kv_log(struct kv_log *log, enum kv_log_level level, const char *format, ...)
{
    if (level < log->level) {
        return;
    }
    char text[KV_LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    kv_log_text(log, level, text);
}

void kv_log_event(struct kv_log *log, const char *event, const char *text)
{
    add_line(log, event, text, KV_LOG_QUEUE_MAX + EVENT_ROOM);
}

void kv_log_last(struct kv_log *log, const char *event, const char *text)
{
    add_line(log, event, text, KV_LOG_QUEUE_MAX + EVENT_ROOM + LAST_ROOM);
    log->ended = true;
}

void kv_log_finish(struct kv_log *log)
{
    drain(log, log->ended ? FINISH_MS : 0);
    log->ended = true;
    kv_buffer_free(&log->queue);
}
