#include "node/leash.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <unistd.h>

static void fail(struct kv_leash *leash, enum kv_fatal reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct kv_leash *leash, enum kv_fatal reason, const char *format, ...)
{
    char text[KV_LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    leash->stopped = true;
    leash->calls->failed(leash->context, reason, text);
}

#define BAD_COOKIE                                                                                 \
    "--cookie=COOKIE has at least one byte, and --cookie-hex=HEX two hexadecimal digits a byte"

/* ---- settings -------------------------------------------------------------------------------- */

static void configured(struct kv_leash *leash)
{
    struct kv_option_error error = {{0}};
    leash->done = true;
    if (kv_options_complete(leash->options, &error)) {
        leash->calls->configured(leash->context);
    } else {
        fail(leash, KV_FATAL_BAD_OPTION, "%s", error.text);
    }
}

static void take_cookie(struct kv_leash *leash, struct kv_bytes cookie)
{
    int error = kv_options_cookie(leash->options, cookie);
    if (error == KV_ESIZE) {
        fail(leash, KV_FATAL_NO_COOKIE, "the cookie is longer than %d bytes", KV_COOKIE_MAX);
    } else if (error == KV_EEXIST) {
        fail(leash, KV_FATAL_NO_COOKIE,
             "--cookie=COOKIE must be followed by options and an empty line");
    }
}

static void take_option(struct kv_leash *leash)
{
    struct kv_option_error error = {{0}};
    struct kv_bytes cookie;
    switch (kv_options_cookie_line(leash->line, &cookie)) {
    case KV_OK:
        take_cookie(leash, cookie);
        return;
    case KV_ENOENT:
        if (!kv_options_line(leash->options, leash->line, &error)) {
            fail(leash, KV_FATAL_BAD_OPTION, "%s", error.text);
        }
        return;
    default:
        fail(leash, KV_FATAL_NO_COOKIE, BAD_COOKIE);
    }
}

static void take_setting(struct kv_leash *leash)
{
    if (strncmp(leash->line, "--", 2) == 0) {
        take_option(leash);
        return;
    }
    if (leash->length > 0) {
        take_cookie(leash, kv_bytes(leash->line, leash->length));
    } else if (!leash->options->has_cookie) {
        fail(leash, KV_FATAL_NO_COOKIE, "the line for the cookie is empty");
    }
    if (!leash->stopped) {
        configured(leash);
    }
}

/* ---- requests, once the node is configured --------------------------------------------------- */

/* The log never repeats the line, which may hold a cookie. */
static void ignore(struct kv_leash *leash, const char *why)
{
    kv_log(leash->log, KV_LOG_WARNING, "a line of standard input is ignored: %s", why);
}

static void change_cookie(struct kv_leash *leash, struct kv_bytes cookie)
{
    if (kv_options_new_cookie(leash->options, cookie) == KV_OK) {
        leash->calls->cookie_changed(leash->context);
    } else {
        ignore(leash, "a cookie has at most 255 bytes");
    }
}

/* "backup ID FOLDER", from the ID on. */
static void take_backup(struct kv_leash *leash, char *id)
{
    static const char ids[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const size_t length = strspn(id, ids);
    if (length == 0 || length > KV_LEASH_ID_MAX || id[length] != ' ' || id[length + 1] == '\0') {
        ignore(leash, "backup ID FOLDER is wanted");
        return;
    }
    id[length] = '\0';
    leash->calls->backup(leash->context, id, id + length + 1);
}

static void take_request(struct kv_leash *leash)
{
    static const char ping[] = "ping ";
    static const char backup[] = "backup ";
    char *line = leash->line;
    struct kv_bytes cookie;
    if (strncmp(line, ping, strlen(ping)) == 0 &&
        leash->length - strlen(ping) <= KV_LEASH_PING_MAX) {
        kv_log_event(leash->log, "pong", line + strlen(ping));
        return;
    }
    if (strncmp(line, backup, strlen(backup)) == 0) {
        take_backup(leash, line + strlen(backup));
        return;
    }
    switch (kv_options_cookie_line(leash->line, &cookie)) {
    case KV_OK:
        change_cookie(leash, cookie);
        return;
    case KV_ENOENT:
        if (leash->length > 0) {
            ignore(leash, "ping TEXT, --cookie=COOKIE or backup ID FOLDER is wanted");
        }
        return;
    default:
        ignore(leash, BAD_COOKIE);
    }
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void end_line(struct kv_leash *leash)
{
    size_t length = leash->length;
    if (length > 0 && leash->line[length - 1] == '\r') {
        leash->length--;
    }
    leash->line[leash->length] = '\0';
    if (!leash->done) {
        take_setting(leash);
    } else if (!leash->skips) {
        take_request(leash);
    }
    OPENSSL_cleanse(leash->line, length);
    leash->length = 0;
    leash->skips = false;
}

static void refuse_line(struct kv_leash *leash)
{
    if (!leash->done) {
        fail(leash, KV_FATAL_BAD_OPTION,
             "a line of standard input has a zero byte or more than %d bytes", KV_LEASH_LINE_MAX);
    } else if (!leash->skips) {
        leash->skips = true;
        ignore(leash, "it has a zero byte or is too long");
    }
}

static void take_bytes(struct kv_leash *leash, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length && !leash->stopped; i++) {
        if (leash->done && !leash->options->leash) {
            return; /* the options say that standard input is no leash */
        }
        if (bytes[i] == '\n') {
            end_line(leash);
        } else if (bytes[i] == '\0' || leash->length == KV_LEASH_LINE_MAX) {
            refuse_line(leash);
        } else {
            leash->line[leash->length++] = bytes[i];
        }
    }
}

static void take_end(struct kv_leash *leash)
{
    if (!leash->done && leash->length > 0) {
        end_line(leash); /* the last line of a file may have no newline */
    }
    if (!leash->done && !leash->stopped) {
        fail(leash, KV_FATAL_NO_COOKIE, "standard input ended before the line with the cookie");
    }
    if (leash->options->leash) {
        leash->calls->ended(leash->context);
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static void stop_reading(struct kv_leash *leash)
{
    if (leash->reading) {
        leash->reading = false;
        uv_close((uv_handle_t *)&leash->input, NULL);
    }
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct kv_leash *leash = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(leash->chunk, sizeof(leash->chunk));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct kv_leash *leash = stream->data;
    if (count < 0) {
        stop_reading(leash);
        take_end(leash);
        return;
    }
    take_bytes(leash, buffer->base, (size_t)count);
    OPENSSL_cleanse(leash->chunk, (size_t)count);
    if (leash->done && !leash->options->leash) {
        stop_reading(leash);
    }
}

/* A file, or a device like /dev/null: there is nothing to wait for. A folder cannot be read. */
static void read_file(struct kv_leash *leash)
{
    ssize_t count = 0;
    do {
        count = read(STDIN_FILENO, leash->chunk, sizeof(leash->chunk));
        if (count > 0) {
            take_bytes(leash, leash->chunk, (size_t)count);
            OPENSSL_cleanse(leash->chunk, (size_t)count);
        }
    } while (!leash->done && !leash->stopped && (count > 0 || (count < 0 && errno == EINTR)));
    if (count < 0 && !leash->stopped) {
        fail(leash, KV_FATAL_INTERNAL, "cannot read standard input: %s", strerror(errno));
    } else if (!leash->stopped) {
        take_end(leash);
    }
}

static int open_stream(struct kv_leash *leash, uv_handle_type type)
{
    uv_loop_t *loop = leash->loop;
    int error = 0;
    leash->reading = true;
    switch (type) {
    case UV_TTY:
        return uv_tty_init(loop, &leash->input.tty, STDIN_FILENO, 0);
    case UV_TCP:
        error = uv_tcp_init(loop, &leash->input.tcp);
        return error != 0 ? error : uv_tcp_open(&leash->input.tcp, STDIN_FILENO);
    default:
        error = uv_pipe_init(loop, &leash->input.pipe, 0);
        return error != 0 ? error : uv_pipe_open(&leash->input.pipe, STDIN_FILENO);
    }
}

static void start_reading(struct kv_leash *leash)
{
    leash->flags = fcntl(STDIN_FILENO, F_GETFL);
    uv_handle_type type = uv_guess_handle(STDIN_FILENO);
    if (type == UV_FILE || type == UV_UNKNOWN_HANDLE) {
        read_file(leash);
        return;
    }
    int error = open_stream(leash, type);
    if (error == 0) {
        leash->input.stream.data = leash;
        error = uv_read_start(&leash->input.stream, on_allocate, on_read);
    }
    if (error != 0) {
        fail(leash, KV_FATAL_INTERNAL, "cannot read standard input: %s", uv_strerror(error));
    }
}

void kv_leash_start(struct kv_leash *leash)
{
    leash->flags = -1;
    if (leash->options->has_cookie) {
        configured(leash);
    }
    if (!leash->stopped && (!leash->done || leash->options->leash)) {
        start_reading(leash);
    }
}

void kv_leash_stop(struct kv_leash *leash)
{
    leash->stopped = true;
}

void kv_leash_finish(struct kv_leash *leash)
{
    /* libuv has made the open file non-blocking, but a shell may go on using it. */
    if (leash->flags != -1) {
        (void)fcntl(STDIN_FILENO, F_SETFL, leash->flags);
    }
    OPENSSL_cleanse(leash->line, sizeof(leash->line));
    OPENSSL_cleanse(leash->chunk, sizeof(leash->chunk));
}
