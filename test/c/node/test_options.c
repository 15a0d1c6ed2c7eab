/* The options of the program: command line, lines of standard input, cookie and --help. */
#include "host/log.h"
#include "node/options.h"
#include "tls/context.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ARGUMENTS_MAX = 16,
    TEXT_MAX = 2 * KV_COOKIE_MAX + 64,
};

static struct kv_options options;
static struct kv_option_error error;
static enum kv_command command;

static void set_up(void)
{
    (void)unsetenv("ERL_EPMD_PORT");
    cr_assert(kv_options_init(&options, &error));
}

TestSuite(options, .init = set_up, .timeout = 20);

/* Splits `text` at its spaces, as a shell does, and takes the words as the command line. */
static bool arguments(const char *text)
{
    static char copy[TEXT_MAX];
    char *argv[ARGUMENTS_MAX] = {"kv_node"};
    int argc = 1;
    (void)snprintf(copy, sizeof(copy), "%s", text);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        cr_assert_lt(argc, ARGUMENTS_MAX);
        argv[argc++] = word;
    }
    return kv_options_arguments(&options, argc, argv, &command, &error);
}

static bool line(const char *text)
{
    static char copy[TEXT_MAX];
    (void)snprintf(copy, sizeof(copy), "%s", text);
    return kv_options_line(&options, copy, &error);
}

/* Takes --NAME=VALUE from the command line and as a line, which must agree. Replaces a value that
 * was set before. */
static bool set(const char *name, const char *value)
{
    char text[TEXT_MAX];
    (void)snprintf(text, sizeof(text), "--%s=%s", name, value);
    options.given = 0;
    bool taken = arguments(text);
    cr_assert_eq(line(text), taken, "%s", text);
    return taken;
}

static void assert_error(const char *text)
{
    cr_assert_str_eq(error.text, text);
}

/* ---- numbers ---- */

struct number {
    char name[20];
    size_t field;
    uint64_t least, most, preset;
};

#define NUMBER(name, field, least, most, preset)                                                   \
    {                                                                                              \
        name, offsetof(struct kv_options, field), least, most, preset                              \
    }

static struct number numbers[] = {
    NUMBER("port", port, 0, 65535, 0),
    NUMBER("epmd-port", epmd_port, 1, 65535, 4369),
    NUMBER("ticktime", ticktime, 1, 86400, 60),
    NUMBER("handshake-timeout", handshake_timeout, 10, 600000, 7000),
    NUMBER("reconnect-timeout", reconnect_timeout, 0, 2147483648, 60000),
    NUMBER("max-frame", max_frame, 4096, 2147483647, 134217728),
    NUMBER("max-depth", max_depth, 16, 16777216, 1048576),
    NUMBER("max-peers", max_peers, 1, 65536, 1024),
    NUMBER("max-pending", max_pending, 1048576, 1099511627776, 1073741824),
    NUMBER("max-queue", max_queue, 1048576, 1099511627776, 536870912),
    NUMBER("max-memory", max_memory, 0, 8796093022208, 0),
    NUMBER("checkpoint-log", checkpoint_log, 1048576, 1099511627776, 67108864),
    NUMBER("tls-depth", tls.depth, 0, 255, 10),
    NUMBER("gather", gather, 0, 1000, 75),
    NUMBER("spin", spin, 0, 1000, 200),
};

enum { NUMBERS = sizeof(numbers) / sizeof(numbers[0]) };

static uint64_t number(const struct number *of)
{
    uint64_t value = 0;
    memcpy(&value, (const char *)&options + of->field, sizeof(value));
    return value;
}

static bool set_number(const struct number *of, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return set(of->name, text);
}

ParameterizedTestParameters(options, a_number_has_a_default_and_two_bounds)
{
    return cr_make_param_array(struct number, numbers, NUMBERS);
}

ParameterizedTest(struct number *row, options, a_number_has_a_default_and_two_bounds)
{
    set_up();
    cr_assert_eq(number(row), row->preset);
    cr_assert(set_number(row, row->least));
    cr_assert_eq(number(row), row->least);
    cr_assert(set_number(row, row->most));
    cr_assert_eq(number(row), row->most);
    cr_assert_not(set_number(row, row->most + 1));
    cr_assert(row->least == 0 || !set_number(row, row->least - 1));
    cr_assert_eq(number(row), row->most, "a refused value changes nothing");
}

ParameterizedTestParameters(options, a_number_has_digits_and_nothing_else)
{
    return cr_make_param_array(struct number, numbers, NUMBERS);
}

ParameterizedTest(struct number *row, options, a_number_has_digits_and_nothing_else)
{
    static const char *const MALFORMED[] = {"",
                                            "-1",
                                            "+1",
                                            "1 ",
                                            "1k",
                                            "0x10",
                                            "1e3",
                                            "1.0",
                                            "ten",
                                            "18446744073709551616",
                                            "99999999999999999999999999999999"};
    set_up();
    for (size_t i = 0; i < sizeof(MALFORMED) / sizeof(MALFORMED[0]); i++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "--%s=%s", row->name, MALFORMED[i]);
        cr_assert_not(line(text), "%s", text);
    }
    cr_assert_eq(number(row), row->preset);
}

Test(options, an_error_names_the_option_and_its_bounds)
{
    cr_assert_not(arguments("--ticktime=0"));
    assert_error("--ticktime: a number from 1 to 86400 is wanted");
}

/* ---- words ---- */

Test(options, follow_is_true_or_false)
{
    cr_assert(options.follow);
    cr_assert(set("follow", "false"));
    cr_assert_not(options.follow);
    cr_assert(set("follow", "true"));
    cr_assert(options.follow);
    cr_assert_not(set("follow", "yes"));
    assert_error("--follow: true or false is wanted");
}

Test(options, zeros_are_two_keys_or_the_same)
{
    cr_assert_eq(options.zeros, KV_ZEROS_DIFFER);
    cr_assert(set("zeros", "same"));
    cr_assert_eq(options.zeros, KV_ZEROS_SAME);
    cr_assert(set("zeros", "differ"));
    cr_assert_eq(options.zeros, KV_ZEROS_DIFFER);
    cr_assert_not(set("zeros", "Same"));
    assert_error("--zeros: differ or same is wanted");
}

Test(options, get_state_is_bare_or_tagged)
{
    cr_assert_eq(options.get_state, KV_GET_STATE_BARE);
    cr_assert(set("get-state", "tagged"));
    cr_assert_eq(options.get_state, KV_GET_STATE_TAGGED);
    cr_assert(set("get-state", "bare"));
    cr_assert_eq(options.get_state, KV_GET_STATE_BARE);
    cr_assert_not(set("get-state", ""));
    assert_error("--get-state: bare or tagged is wanted");
}

Test(options, a_log_level_is_one_of_five)
{
    static const char *const LEVELS[] = {"debug", "info", "notice", "warning", "error"};
    cr_assert_eq(options.log_level, KV_LOG_NOTICE);
    for (size_t i = 0; i < 5; i++) {
        cr_assert(set("log-level", LEVELS[i]));
        cr_assert_eq((size_t)options.log_level, i);
        cr_assert_str_eq(kv_log_level_text(options.log_level), LEVELS[i]);
    }
    cr_assert_not(set("log-level", "critical"));
    assert_error("--log-level: debug, info, notice, warning or error is wanted");
}

/* ---- names and addresses ---- */

Test(options, the_name_is_required)
{
    cr_assert_not(kv_options_complete(&options, &error));
    assert_error("--name is required: the name of this node, as ALIVE@HOST");
    cr_assert(set("name", "kv@127.0.0.1"));
    cr_assert(kv_options_complete(&options, &error));
}

Test(options, a_name_has_two_parts)
{
    cr_assert(set("name", "kv@127.0.0.1"));
    cr_assert(kv_bytes_is(kv_options_alive(&options), "kv"));
    cr_assert_str_eq(kv_options_host(&options), "127.0.0.1");
}

Test(options, a_name_without_two_parts_is_refused)
{
    static const char *const MALFORMED[] = {
        "", "kv", "@", "kv@", "@host", "k\x01v@host", "k\xC3\xA4@host"};
    for (size_t i = 0; i < sizeof(MALFORMED) / sizeof(MALFORMED[0]); i++) {
        cr_assert_not(set("name", MALFORMED[i]), "%s", MALFORMED[i]);
        cr_assert_not(set("vm", MALFORMED[i]), "%s", MALFORMED[i]);
    }
    assert_error("--vm: ALIVE@HOST is wanted, of at most 255 ASCII characters");
    cr_assert_str_eq(options.name, "");
}

static const char *name_of(size_t length)
{
    static char name[KV_NODE_NAME_MAX + 2];
    memset(name, 'n', length);
    name[length - 2] = '@';
    name[length] = '\0';
    return name;
}

Test(options, a_name_has_at_most_255_characters)
{
    cr_assert(set("name", name_of(255)));
    cr_assert_eq(strlen(options.name), 255);
    cr_assert_not(set("name", name_of(256)));
}

Test(options, an_address_is_printable_and_not_empty)
{
    char text[KV_HOST_MAX + 2];
    cr_assert_str_eq(options.bind, "");
    cr_assert(set("bind", "::1"));
    cr_assert_str_eq(options.bind, "::1");
    cr_assert_not(set("bind", ""));
    cr_assert_not(line("--bind=a b"));
    memset(text, 'h', sizeof(text));
    text[KV_HOST_MAX + 1] = '\0';
    cr_assert_not(set("bind", text));
    assert_error("--bind: an address or a host name is wanted");
    text[KV_HOST_MAX] = '\0';
    cr_assert(set("bind", text));
}

Test(options, only_the_vm_that_holds_the_leash_is_the_vm)
{
    cr_assert_not(kv_options_is_vm(&options, kv_bytes_text("")));
    cr_assert(set("vm", "app@127.0.0.1"));
    cr_assert(kv_options_is_vm(&options, kv_bytes_text("app@127.0.0.1")));
    cr_assert_not(kv_options_is_vm(&options, kv_bytes_text("app@127.0.0.2")));
    cr_assert(arguments("--no-leash"));
    cr_assert_not(kv_options_is_vm(&options, kv_bytes_text("app@127.0.0.1")));
}

/* ---- the command line and the lines of standard input ---- */

Test(options, a_value_may_be_an_argument_of_its_own)
{
    cr_assert(arguments("--port 1234 --name kv@h"));
    cr_assert_eq(command, KV_COMMAND_RUN);
    cr_assert_eq(options.port, 1234);
    cr_assert_str_eq(options.name, "kv@h");
}

Test(options, the_first_of_two_values_counts)
{
    cr_assert(arguments("--port=1 --port=2 --zeros=same --zeros=differ --bind a --bind b"));
    cr_assert_eq(options.port, 1);
    cr_assert_eq(options.zeros, KV_ZEROS_SAME);
    cr_assert_str_eq(options.bind, "a");
    cr_assert(line("--port=3"));
    cr_assert_eq(options.port, 1);
}

Test(options, a_second_value_is_checked_all_the_same)
{
    cr_assert_not(arguments("--port=1 --port=x"));
    assert_error("--port: a number from 0 to 65535 is wanted");
    cr_assert_eq(options.port, 1);
}

Test(options, an_option_without_its_value_is_refused)
{
    static const char *const NAMES[] = {"name",   "vm",   "bind",      "port",
                                        "follow", "spin", "log-level", "get-state"};
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        char text[64], wanted[64];
        (void)snprintf(text, sizeof(text), "--%s", NAMES[i]);
        (void)snprintf(wanted, sizeof(wanted), "--%s needs a value", NAMES[i]);
        cr_assert_not(arguments(text));
        assert_error(wanted);
        cr_assert_not(line(text));
        assert_error(wanted);
    }
}

Test(options, no_leash_takes_no_value)
{
    cr_assert(options.leash);
    cr_assert_not(arguments("--no-leash=true"));
    assert_error("--no-leash takes no value");
    cr_assert(options.leash);
    cr_assert(arguments("--no-leash --port 5"));
    cr_assert_not(options.leash);
    cr_assert_eq(options.port, 5);
}

Test(options, an_unknown_option_is_named)
{
    cr_assert_not(arguments("--colour=red"));
    assert_error("--colour is no option; --help lists them");
    cr_assert_not(arguments("colour"));
    assert_error("colour is no option; --help lists them");
    cr_assert_not(arguments("--max_frame=4096"));
    cr_assert_not(arguments("--=1"));
    cr_assert_not(arguments("--"));
}

Test(options, a_line_that_is_no_option_is_not_repeated)
{
    cr_assert_not(line("--my-secret=x"));
    cr_assert_null(strstr(error.text, "secret"));
    cr_assert_not(line("--"));
    cr_assert_not(line("--help"));
    cr_assert_not(line("--version"));
}

Test(options, a_cookie_on_the_command_line_is_refused_and_not_repeated)
{
    cr_assert_not(arguments("--cookie=hush"));
    cr_assert_null(strstr(error.text, "hush"));
    cr_assert_not_null(strstr(error.text, "--cookie-file"));
    cr_assert_not(arguments("--cookie-hex=68757368"));
    cr_assert_null(strstr(error.text, "68757368"));
    cr_assert_eq(options.cookie_length, 0);
}

Test(options, the_password_of_a_key_comes_by_standard_input_only)
{
    char text[] = "--tls-password=hush";
    cr_assert_not(arguments("--tls-password=hush"));
    assert_error("the password is never taken from the command line, which others can see: use "
                 "standard input, or a --config that only its owner may read");
    cr_assert(kv_options_line(&options, text, &error));
    cr_assert_str_eq(options.tls.password, "hush");
}

Test(options, tls_has_the_defaults_of_an_accepting_node)
{
    cr_assert_str_eq(options.tls.certfile, "");
    cr_assert_not(options.tls.verify);
    cr_assert_not(options.tls.fail_if_no_peer_cert);
    cr_assert_eq(options.tls.versions, KV_TLS_1_2 | KV_TLS_1_3);
}

Test(options, tls_is_set_by_the_words_of_otp)
{
    cr_assert(arguments("--tls-certfile=a.crt --tls-verify=verify_peer "
                        "--tls-fail-if-no-peer-cert=true --tls-versions=tlsv1.3"));
    cr_assert_str_eq(options.tls.certfile, "a.crt");
    cr_assert(options.tls.verify);
    cr_assert(options.tls.fail_if_no_peer_cert);
    cr_assert_eq(options.tls.versions, KV_TLS_1_3);
    cr_assert_not(arguments("--tls-versions=sslv3"));
    cr_assert_not(arguments("--tls-certfile="));
}

Test(options, version_and_help_are_commands)
{
    cr_assert(arguments("--version"));
    cr_assert_eq(command, KV_COMMAND_VERSION);
    cr_assert(arguments("--port=1 --help --colour"));
    cr_assert_eq(command, KV_COMMAND_HELP);
}

Test(options, the_environment_names_the_port_of_epmd)
{
    cr_assert_eq(setenv("ERL_EPMD_PORT", "4400", 1), 0);
    cr_assert(kv_options_init(&options, &error));
    cr_assert_eq(options.epmd_port, 4400);
    cr_assert(arguments("--epmd-port=4500"));
    cr_assert_eq(options.epmd_port, 4500);
}

Test(options, an_environment_that_names_no_port_is_refused)
{
    cr_assert_eq(setenv("ERL_EPMD_PORT", "none", 1), 0);
    cr_assert_not(kv_options_init(&options, &error));
    assert_error("the environment variable ERL_EPMD_PORT is not a port");
}

/* ---- the cookie ---- */

Test(options, a_cookie_is_taken_once)
{
    cr_assert_eq(kv_options_cookie(&options, kv_bytes_text("first")), KV_OK);
    cr_assert_eq(kv_options_cookie(&options, kv_bytes_text("second")), KV_EEXIST);
    cr_assert_str_eq(options.cookie, "first");
    cr_assert_eq(options.cookie_length, 5);
}

Test(options, a_too_long_cookie_changes_nothing)
{
    char cookie[KV_COOKIE_MAX + 1];
    memset(cookie, 'c', sizeof(cookie));
    cr_assert_eq(kv_options_cookie(&options, kv_bytes_text("first")), KV_OK);
    cr_assert_eq(kv_options_new_cookie(&options, kv_bytes(cookie, KV_COOKIE_MAX + 1)), KV_ESIZE);
    cr_assert_str_eq(options.cookie, "first");
    cr_assert_eq(kv_options_new_cookie(&options, kv_bytes(cookie, KV_COOKIE_MAX)), KV_OK);
    cr_assert_eq(options.cookie_length, KV_COOKIE_MAX);
}

Test(options, an_empty_cookie_is_one)
{
    cr_assert_not(options.has_cookie);
    cr_assert_eq(kv_options_cookie(&options, kv_bytes("", 0)), KV_OK);
    cr_assert(options.has_cookie);
    cr_assert_eq(kv_options_cookie(&options, kv_bytes_text("second")), KV_EEXIST);
}

Test(options, nothing_stays_of_a_cookie_that_was_replaced)
{
    static const char NOTHING[KV_COOKIE_MAX + 1];
    cr_assert_eq(kv_options_cookie(&options, kv_bytes_text("a-long-cookie")), KV_OK);
    cr_assert_eq(kv_options_new_cookie(&options, kv_bytes_text("b")), KV_OK);
    cr_assert_str_eq(options.cookie, "b");
    cr_assert_arr_eq(options.cookie + 1, NOTHING, KV_COOKIE_MAX);
}

/* Returns what kv_options_cookie_line() says of `text`, and checks its cookie. */
static int cookie_line(const char *text, struct kv_bytes wanted)
{
    char copy[64];
    struct kv_bytes cookie = kv_bytes(NULL, 0);
    (void)snprintf(copy, sizeof(copy), "%s", text);
    int result = kv_options_cookie_line(copy, &cookie);
    cr_assert(result != KV_OK || kv_bytes_equal(cookie, wanted), "%s", text);
    return result;
}

Test(options, a_cookie_is_given_as_text_or_as_hexadecimal_digits)
{
    struct kv_bytes none = kv_bytes("", 0);
    cr_assert_eq(cookie_line("--cookie=a b=c", kv_bytes_text("a b=c")), KV_OK);
    cr_assert_eq(cookie_line("--cookie-hex=00097fFf", kv_bytes("\x00\x09\x7f\xff", 4)), KV_OK);
    cr_assert_eq(cookie_line("--cookie-hex=", none), KV_OK);
    cr_assert_eq(cookie_line("--cookie=", none), KV_EPROTOCOL);
    cr_assert_eq(cookie_line("--port=1", none), KV_ENOENT);
    cr_assert_eq(cookie_line("--cookiehex=00", none), KV_ENOENT);
}

Test(options, a_cookie_of_other_digits_is_refused)
{
    static const char *const MALFORMED[] = {"0", "000", "0g", "g0", "0x00", " 00", "00 "};
    for (size_t i = 0; i < sizeof(MALFORMED) / sizeof(MALFORMED[0]); i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "--cookie-hex=%s", MALFORMED[i]);
        cr_assert_eq(cookie_line(text, kv_bytes("", 0)), KV_EPROTOCOL, "%s", text);
    }
}

/* ---- --help ---- */

static char *usage(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    cr_assert(kv_options_print_usage(out));
    (void)fclose(out);
    return text;
}

Test(options, help_has_every_number_with_its_bounds_and_its_default)
{
    char *text = usage();
    for (size_t i = 0; i < NUMBERS; i++) {
        char name[32], bounds[64];
        (void)snprintf(name, sizeof(name), "\n  --%.19s ", numbers[i].name);
        (void)snprintf(bounds, sizeof(bounds), "%llu to %llu", (unsigned long long)numbers[i].least,
                       (unsigned long long)numbers[i].most);
        const char *row = strstr(text, name);
        cr_assert_not_null(row, "%s", name);
        cr_assert_not_null(strstr(row, bounds), "%s %s", name, bounds);
    }
    free(text);
}

Test(options, every_number_of_the_help_has_a_row_in_numbers)
{
    char *text = usage();
    regex_t bounds;
    regmatch_t match;
    unsigned found = 0;
    cr_assert_eq(regcomp(&bounds, "[0-9] to [0-9]", 0), 0);
    for (const char *rest = text; regexec(&bounds, rest, 1, &match, 0) == 0; rest += match.rm_eo) {
        found++;
    }
    cr_assert_eq(found, (unsigned)NUMBERS);
    regfree(&bounds);
    free(text);
}

Test(options, help_fits_into_a_terminal)
{
    char *text = usage();
    for (char *row = strtok(text, "\n"); row != NULL; row = strtok(NULL, "\n")) {
        cr_assert_leq(strlen(row), 100, "%s", row);
    }
    free(text);
}

Test(options, help_that_cannot_be_written_is_an_error)
{
    FILE *full = fopen("/dev/full", "w");
    cr_assert_not_null(full);
    cr_assert_not(kv_options_print_usage(full));
    (void)fclose(full);
}

/* ---- commands ---- */

Test(options, check_and_salvage_are_commands_of_the_command_line)
{
    cr_assert(arguments("--check /a") && command == KV_COMMAND_CHECK);
    cr_assert_str_eq(options.check, "/a");
    set_up();
    cr_assert(arguments("--salvage=/a --to /b --zeros same") && command == KV_COMMAND_SALVAGE);
    cr_assert_str_eq(options.salvage, "/a");
    cr_assert_str_eq(options.to, "/b");
    cr_assert(!line("--check=/a") && !line("--salvage=/a") && !line("--to=/a"));
}

Test(options, check_and_salvage_say_which_folders_they_need)
{
    cr_assert(!arguments("--salvage /a"));
    assert_error("--salvage needs --to: the new folder for what can be read");
    set_up();
    cr_assert(!arguments("--to /a"));
    assert_error("--to goes with --salvage, and --check with neither");
    set_up();
    cr_assert(!arguments("--check /a --salvage /a --to /b"));
    set_up();
    cr_assert(!arguments("--check"));
    assert_error("--check needs a value");
}
