/* The requests of sys:log/2, sys:statistics/2 and their kin.
 *
 * OTP: lib/stdlib/src/sys.erl, debug_cmd/2. Traces and installed functions are accepted and do
 * nothing: a native process has no terminal to print on and no code to call. */
#include "server/debug.h"

#include "process/queue.h"

enum {
    LOG_LENGTH_DEFAULT = 10,
    LOG_LENGTH_MAX = 10000, /* the most events of one process, whatever the request */
    LOG_EVENT_MAX = 65536,  /* bytes; a larger term is left out of its event */
};

void kv_debug_init(struct kv_process *process)
{
    kv_list_init(&kv_server_of(process)->debug.log);
}

/* ---- the log --------------------------------------------------------------------------------- */

static void drop_oldest(struct kv_debug *debug)
{
    struct kv_list *oldest = debug->log.next;
    kv_list_remove(oldest);
    kv_kept_free(KV_LIST_OF(oldest, struct kv_kept, link));
    debug->log_length--;
}

static void limit_log(struct kv_debug *debug, uint64_t limit)
{
    debug->log_limit = limit < LOG_LENGTH_MAX ? limit : LOG_LENGTH_MAX;
    while (debug->log_length > debug->log_limit) {
        drop_oldest(debug);
    }
}

void kv_debug_free(struct kv_process *process)
{
    limit_log(&kv_server_of(process)->debug, 0);
    kv_recent_free(process);
}

static void keep_event(struct kv_process *process, struct kv_buffer *event)
{
    struct kv_debug *debug = &kv_server_of(process)->debug;
    struct kv_signal signal = {.payload = {kv_buffer_bytes(event)}, .payload_parts = 1};
    kv_list_append(&debug->log, &kv_signal_keep(&signal)->link);
    debug->log_length++;
    limit_log(debug, debug->log_limit);
}

static void write_bounded(struct kv_buffer *to, struct kv_bytes term)
{
    if (term.length > LOG_EVENT_MAX) {
        kv_write_atom_text(to, "too_large_to_log");
    } else {
        kv_write_term(to, term);
    }
}

/* {in, Message} */
void kv_debug_note_in(struct kv_process *process, struct kv_bytes message)
{
    struct kv_debug *debug = &kv_server_of(process)->debug;
    if (debug->recent != NULL) {
        kv_recent_note(process, message);
    }
    if (debug->log_limit > 0) {
        struct kv_buffer event = KV_BUFFER_INIT;
        kv_write_tuple(&event, 2);
        kv_write_atom_text(&event, "in");
        write_bounded(&event, message);
        keep_event(process, &event);
        kv_buffer_free(&event);
    }
}

/* {out, Reply, From} */
void kv_debug_note_out(struct kv_process *process, const struct kv_from *to, struct kv_bytes prefix,
                       struct kv_bytes rest)
{
    struct kv_buffer event = KV_BUFFER_INIT;
    kv_write_tuple(&event, 3);
    kv_write_atom_text(&event, "out");
    if (prefix.length + rest.length > LOG_EVENT_MAX) {
        kv_write_atom_text(&event, "too_large_to_log");
    } else {
        kv_buffer_append(&event, prefix);
        kv_buffer_append(&event, rest);
    }
    kv_write_term(&event, to->bytes);
    keep_event(process, &event);
    kv_buffer_free(&event);
}

/* {ok, [Event]} */
static void write_log(const struct kv_debug *debug, struct kv_buffer *to)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "ok");
    if (debug->log_length > 0) {
        kv_write_list(to, (uint32_t)debug->log_length);
    }
    KV_LIST_FOREACH (link, &debug->log) {
        kv_write_term(to, KV_LIST_OF(link, struct kv_kept, link)->signal.payload[0]);
    }
    kv_write_nil(to);
}

static bool read_log_length(struct kv_bytes what, uint64_t *length)
{
    struct kv_reader reader = kv_reader(what);
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "true") == KV_OK &&
           kv_read_u64(&reader, length) == KV_OK && *length > 0;
}

/* `true`, `false` and a number change the log; `get` and `print` show it. */
static bool log_request(struct kv_process *process, struct kv_bytes what, struct kv_buffer *answer)
{
    struct kv_debug *debug = &kv_server_of(process)->debug;
    uint64_t length = 0;
    if (kv_term_is_atom(what, "get")) {
        write_log(debug, answer);
        return true;
    }
    if (kv_term_is_atom(what, "true")) {
        limit_log(debug, LOG_LENGTH_DEFAULT);
    } else if (read_log_length(what, &length)) {
        limit_log(debug, length);
    } else if (kv_term_is_atom(what, "false")) {
        limit_log(debug, 0);
    } else if (!kv_term_is_atom(what, "print")) {
        return false;
    }
    kv_write_atom_text(answer, "ok");
    return true;
}

/* ---- statistics ------------------------------------------------------------------------------ */

static void write_numbers(struct kv_buffer *to, int a, int b, int c)
{
    kv_write_tuple(to, 3);
    kv_write_i64(to, a);
    kv_write_i64(to, b);
    kv_write_i64(to, c);
}

/* {Key, {{Year, Month, Day}, {Hour, Minute, Second}}} */
static void write_date(struct kv_buffer *to, const char *key, const struct kv_date *date)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, key);
    kv_write_tuple(to, 2);
    write_numbers(to, date->year, date->month, date->day);
    write_numbers(to, date->hour, date->minute, date->second);
}

static void write_count(struct kv_buffer *to, const char *key, uint64_t count)
{
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, key);
    kv_write_u64(to, count);
}

static void now(struct kv_process *process, struct kv_date *date)
{
    const struct kv_sink *sink = &process->runtime->sink;
    sink->now(sink->context, date);
}

static void write_statistics(struct kv_process *process, struct kv_buffer *to)
{
    const struct kv_debug *debug = &kv_server_of(process)->debug;
    struct kv_date date;
    kv_write_tuple(to, 2);
    kv_write_atom_text(to, "ok");
    if (!debug->statistics) {
        kv_write_atom_text(to, "no_statistics");
        return;
    }
    now(process, &date);
    kv_write_list(to, 5);
    write_date(to, "start_time", &debug->since);
    write_date(to, "current_time", &date);
    write_count(to, "reductions", process->reductions - debug->reductions_then);
    write_count(to, "messages_in", debug->messages_in);
    write_count(to, "messages_out", debug->messages_out);
    kv_write_nil(to);
}

static bool statistics_request(struct kv_process *process, struct kv_bytes what,
                               struct kv_buffer *answer)
{
    struct kv_debug *debug = &kv_server_of(process)->debug;
    if (kv_term_is_atom(what, "get")) {
        write_statistics(process, answer);
        return true;
    }
    bool on = kv_term_is_atom(what, "true");
    if (!on && !kv_term_is_atom(what, "false")) {
        return false;
    }
    if (on != debug->statistics) { /* switching on twice keeps the counts */
        debug->statistics = on;
        debug->messages_in = 0;
        debug->messages_out = 0;
        debug->reductions_then = process->reductions;
        now(process, &debug->since);
    }
    kv_write_atom_text(answer, "ok");
    return true;
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool log_to_file_request(struct kv_process *process, struct kv_bytes what,
                                struct kv_buffer *answer)
{
    (void)process;
    if (kv_term_is_atom(what, "false")) {
        kv_write_atom_text(answer, "ok");
    } else {
        kv_write_tuple(answer, 2);
        kv_write_atom_text(answer, "error");
        kv_write_atom_text(answer, "open_file");
    }
    return true;
}

static bool take_request(struct kv_process *process, struct kv_bytes what, struct kv_buffer *answer)
{
    (void)process;
    (void)what;
    kv_write_atom_text(answer, "ok");
    return true;
}

static bool trace_request(struct kv_process *process, struct kv_bytes what,
                          struct kv_buffer *answer)
{
    return (kv_term_is_atom(what, "true") || kv_term_is_atom(what, "false")) &&
           take_request(process, what, answer);
}

static const struct {
    const char *name;
    bool (*handle)(struct kv_process *process, struct kv_bytes what, struct kv_buffer *answer);
} requests[] = {
    {"trace", trace_request},
    {"log", log_request},
    {"log_to_file", log_to_file_request},
    {"statistics", statistics_request},
    {"install", take_request},
    {"remove", take_request},
};

void kv_debug_request(struct kv_process *process, struct kv_bytes what, struct kv_buffer *answer)
{
    struct kv_bytes argument = kv_bytes(NULL, 0);
    struct kv_bytes name = kv_bytes(NULL, 0);
    struct kv_reader reader = kv_reader(what);
    if (kv_term_is_atom(what, "no_debug")) {
        limit_log(&kv_server_of(process)->debug, 0);
        kv_server_of(process)->debug.statistics = false;
        kv_write_atom_text(answer, "ok");
        return;
    }
    if (kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_atom(&reader, &name) == KV_OK &&
        kv_read_any(&reader, &argument) == KV_OK) {
        for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
            if (kv_bytes_is(name, requests[i].name) &&
                requests[i].handle(process, argument, answer)) {
                return;
            }
        }
    }
    kv_write_atom_text(answer, "unknown_debug");
}
