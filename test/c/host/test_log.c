/* Log lines on standard output: levels, escapes, bounds, and readers that do not read. */
#include "support/log_pipe.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 18 };

static uv_loop_t loop;
static struct kv_log log_;
static int reader; /* of the pipe that is standard output */

static void set_up(void)
{
    reader = log_pipe_open(&loop, &log_);
}

static void tear_down(void)
{
    log_pipe_close(&loop, &log_, reader);
}

TestSuite(log, .init = set_up, .fini = tear_down, .timeout = 20);

/* Everything that is in the pipe. */
static const char *output(void)
{
    static char text[TEXT_MAX];
    size_t length = 0;
    ssize_t count = 0;
    while ((count = read(reader, text + length, sizeof(text) - 1 - length)) > 0) {
        length += (size_t)count;
    }
    text[length] = '\0';
    return text;
}

/* The reader has read, and the log tries again. */
static void retry(void)
{
    log_.retry.timer_cb(&log_.retry);
}

Test(log, a_line_has_its_level)
{
    kv_log(&log_, KV_LOG_WARNING, "%d and %s", 1, "two");
    cr_assert_str_eq(output(), "log warning 1 and two\n");
}

Test(log, a_line_below_the_level_is_not_written)
{
    kv_log(&log_, KV_LOG_INFO, "quiet");
    log_.level = KV_LOG_DEBUG;
    kv_log(&log_, KV_LOG_DEBUG, "loud");
    cr_assert_str_eq(output(), "log debug loud\n");
}

Test(log, an_event_is_written_at_any_level)
{
    log_.level = KV_LOG_ERROR;
    kv_log_event(&log_, "ready", "name=a@b");
    cr_assert_str_eq(output(), "ready name=a@b\n");
}

Test(log, no_line_follows_the_last)
{
    kv_log_last(&log_, "fatal internal", "enough");
    kv_log(&log_, KV_LOG_ERROR, "more");
    kv_log_event(&log_, "pong", "x");
    cr_assert_str_eq(output(), "fatal internal enough\n");
}

ParameterizedTestParameters(log, text_of_a_peer_stays_in_its_line)
{
    static char rows[][2][48] = {
        {"plain", "plain"},
        {"a\nb", "a\\x0ab"},
        {"\r\t\x1b[31m", "\\x0d\\x09\\x1b[31m"},
        {"\x7f", "\\x7f"},
        {"h\xc3\xa9", "h\xc3\xa9"},                   /* é */
        {"\xe2\x82\xac", "\xe2\x82\xac"},             /* the euro sign */
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},     /* outside of the basic plane */
        {"\xc3", "\\xc3"},                            /* cut */
        {"\xc0\x8a", "\\xc0\\x8a"},                   /* overlong newline */
        {"\xe0\x80\x8a", "\\xe0\\x80\\x8a"},          /* the same in three */
        {"\xf0\x80\x80\x8a", "\\xf0\\x80\\x80\\x8a"}, /* and in four */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* a surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond the last */
        {"\xc2\x85", "\\xc2\\x85"},                   /* next line */
        {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},          /* line separator */
        {"\xff\xfe", "\\xff\\xfe"},
    };
    return cr_make_param_array(char[2][48], rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(char row[2][48], log, text_of_a_peer_stays_in_its_line)
{
    char expected[64];
    kv_log_event(&log_, "text", row[0]);
    (void)snprintf(expected, sizeof(expected), "text %s\n", row[1]);
    cr_assert_str_eq(output(), expected);
}

Test(log, a_long_line_is_cut)
{
    static char text[2 * KV_LOG_LINE_MAX];
    memset(text, 'x', sizeof(text) - 1);
    kv_log_event(&log_, "long", text);
    cr_assert_eq(strlen(output()), strlen("long \n") + KV_LOG_LINE_MAX);
}

/* Writes lines until nobody reads any more of them. */
static size_t fill(void)
{
    size_t lines = 0;
    while (log_.dropped == 0) {
        kv_log(&log_, KV_LOG_ERROR, "line %zu", lines++);
    }
    return lines;
}

Test(log, lines_wait_for_a_reader_up_to_a_bound)
{
    size_t lines = fill();
    cr_assert_gt(lines, 1000);
    cr_assert_geq(log_.queue.length, KV_LOG_QUEUE_MAX);
    cr_assert_lt(log_.queue.length, KV_LOG_QUEUE_MAX + KV_LOG_LINE_MAX);
}

Test(log, an_event_and_the_last_line_have_room_when_log_lines_have_none)
{
    (void)fill();
    kv_log_event(&log_, "pong", "1");
    kv_log_last(&log_, "fatal internal", "enough");
    cr_assert_eq(log_.dropped, 1);
}

Test(log, dropped_lines_are_counted_and_told_of)
{
    (void)fill();
    kv_log(&log_, KV_LOG_ERROR, "one more");
    bool told = false;
    for (int i = 0; i < 10 && !told; i++) {
        const char *text = output();
        told = strstr(text, "log warning 2 log lines dropped because standard output was not "
                            "read\n") != NULL;
        retry();
    }
    told = told || strstr(output(), "log warning 2 log lines dropped") != NULL;
    cr_assert(told);
    cr_assert_eq(log_.dropped, 0);
}

Test(log, a_reader_that_is_gone_ends_the_log)
{
    (void)signal(SIGPIPE, SIG_IGN);
    (void)close(reader);
    kv_log(&log_, KV_LOG_ERROR, "nobody");
    cr_assert(log_.ended);
    cr_assert_eq(log_.queue.length, 0);
    reader = open("/dev/null", O_RDONLY);
}

Test(log, each_level_has_a_text)
{
    static const char *const texts[] = {"debug", "info", "notice", "warning", "error"};
    for (int level = KV_LOG_DEBUG; level <= KV_LOG_ERROR; level++) {
        cr_assert_str_eq(kv_log_level_text((enum kv_log_level)level), texts[level]);
    }
}
