#include "node/options.h"

#include "host/gather.h"
#include "wire/epmd.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const LEVELS[] = {"debug", "info", "notice", "warning", "error"};

/* The options whose value is a number. */
struct number_rule {
    const char *option;
    size_t field;
    uint64_t least;
    uint64_t most;
    uint64_t preset;
};

#define NUMBER(option, field, least, most, preset)                                                 \
    {                                                                                              \
        option, offsetof(struct kv_options, field), least, most, preset                            \
    }

static const struct number_rule NUMBERS[] = {
    NUMBER("port", port, 0, UINT16_MAX, 0),
    NUMBER("epmd-port", epmd_port, 1, UINT16_MAX, KV_EPMD_PORT),
    NUMBER("ticktime", ticktime, 1, 86400, 60),
    NUMBER("handshake-timeout", handshake_timeout, 10, 600000, 7000),
    NUMBER("max-frame", max_frame, 4096, INT32_MAX, (uint64_t)128 << 20),
    NUMBER("max-depth", max_depth, 16, 1 << 24, 1 << 20),
    NUMBER("max-peers", max_peers, 1, 65536, 1024),
    NUMBER("max-pending", max_pending, 1 << 20, (uint64_t)1 << 40, (uint64_t)1 << 30),
    NUMBER("max-memory", max_memory, 0, (uint64_t)1 << 43, 0),
    NUMBER("max-queue", max_queue, 1 << 20, (uint64_t)1 << 40, (uint64_t)512 << 20),
    NUMBER("gather", gather, 0, KV_GATHER_MOST_US, KV_GATHER_PRESET_US),
    NUMBER("reconnect-timeout", reconnect_timeout, 0, (uint64_t)1 << 31, 60000),
    NUMBER("spin", spin, 0, KV_SPIN_MOST_US, KV_SPIN_PRESET_US),
};

static const char USAGE[] =
    "usage: kv_node --name ALIVE@HOST [--option value ...]\n"
    "\n"
    "Reads more options, one --option=value a line, and then the cookie, a line by itself, from\n"
    "standard input. Ends when standard input ends (Ctrl-D at a terminal), and ignores SIGTERM,\n"
    "SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2; with --no-leash it ends at SIGTERM and SIGINT.\n"
    "\n"
    "  --name ALIVE@HOST        the name of this node; required\n"
    "  --bind ADDRESS           where to listen (what HOST resolves to)\n"
    "  --vm NAME                the node that holds standard input, and owns processes here\n"
    "  --reconnect-timeout MS   for which they are kept when the connection to it is lost (60000)\n"
    "  --port PORT              the TCP port to listen on (0: any free one)\n"
    "  --epmd-port PORT         the port of EPMD (ERL_EPMD_PORT, else 4369)\n"
    "  --ticktime SECONDS       after which a silent peer is given up (60)\n"
    "  --handshake-timeout MS   for a whole handshake (7000)\n"
    "  --max-frame BYTES        of one message (134217728)\n"
    "  --max-depth N            containers inside containers of one term (1048576)\n"
    "  --max-peers N            connections at once (1024)\n"
    "  --max-pending BYTES      of all messages a peer has sent in part (1073741824)\n"
    "  --max-queue BYTES        waiting for a peer that does not read (536870912)\n"
    "  --max-memory BYTES       of all buckets (0: three quarters of the machine's)\n"
    "  --follow true|false      where there are two processors, run on the one that callers send\n"
    "                           from while many are at work (true)\n"
    "  --gather US              else wait before the next read while many are at work (75; 0: "
    "off)\n"
    "  --spin US                look for more that long before sleeping, at most, while a few\n"
    "                           callers are at work (200; 0: off)\n"
    "  --zeros differ|same      whether 0.0 and -0.0 are one key (differ)\n"
    "  --get-state bare|tagged  what sys of peers before OTP 28 gets: a state, or {ok, State} "
    "(bare)\n"
    "  --log-level LEVEL        debug, info, notice, warning or error (notice)\n"
    "  --no-leash               keep running when standard input ends\n"
    "  --version, --help        print and end\n"
    "\n"
    "example: (echo secret; cat) | kv_node --name kv@127.0.0.1\n";

const char *kv_options_usage(void)
{
    return USAGE;
}

const char *kv_log_level_text(enum kv_log_level level)
{
    return LEVELS[level];
}

static bool fail(struct kv_option_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool fail(struct kv_option_error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return false;
}

/* Digits only: strtoull() would take signs, spaces and overflow. */
static bool parse_number(const char *text, uint64_t most, uint64_t *number)
{
    uint64_t value = 0;
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (!isdigit((unsigned char)*text)) {
            return false;
        }
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > most) {
            return false;
        }
    }
    *number = value;
    return true;
}

static bool set_number(struct kv_options *options, const struct number_rule *rule,
                       const char *value, struct kv_option_error *error)
{
    uint64_t number = 0;
    if (!parse_number(value, rule->most, &number) || number < rule->least) {
        return fail(error, "--%s: a number from %llu to %llu is wanted", rule->option,
                    (unsigned long long)rule->least, (unsigned long long)rule->most);
    }
    memcpy((char *)options + rule->field, &number, sizeof(number));
    return true;
}

/* ASCII only: a node name is Latin-1 on the wire and UTF-8 in pids, and the two agree there. */
static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~') {
            return false;
        }
    }
    return true;
}

static bool take_name(char name[KV_NODE_NAME_MAX + 1], const char *option, const char *value,
                      struct kv_option_error *error)
{
    if (!kv_node_name_ok(kv_bytes_text(value)) || !is_printable(value)) {
        return fail(error, "--%s: ALIVE@HOST is wanted, of at most %d ASCII characters", option,
                    KV_NODE_NAME_MAX);
    }
    (void)snprintf(name, KV_NODE_NAME_MAX + 1, "%s", value);
    return true;
}

static bool set_name(struct kv_options *options, const char *value, struct kv_option_error *error)
{
    return take_name(options->name, "name", value, error);
}

static bool set_vm(struct kv_options *options, const char *value, struct kv_option_error *error)
{
    return take_name(options->vm, "vm", value, error);
}

static bool set_bind(struct kv_options *options, const char *value, struct kv_option_error *error)
{
    if (*value == '\0' || strlen(value) > KV_HOST_MAX || !is_printable(value)) {
        return fail(error, "--bind: an address or a host name is wanted");
    }
    (void)snprintf(options->bind, sizeof(options->bind), "%s", value);
    return true;
}

static bool set_zeros(struct kv_options *options, const char *value, struct kv_option_error *error)
{
    if (strcmp(value, "differ") == 0) {
        options->zeros = KV_ZEROS_DIFFER;
    } else if (strcmp(value, "same") == 0) {
        options->zeros = KV_ZEROS_SAME;
    } else {
        return fail(error, "--zeros: differ or same is wanted");
    }
    return true;
}

static bool set_get_state(struct kv_options *options, const char *value,
                          struct kv_option_error *error)
{
    if (strcmp(value, "bare") == 0) {
        options->get_state = KV_GET_STATE_BARE;
    } else if (strcmp(value, "tagged") == 0) {
        options->get_state = KV_GET_STATE_TAGGED;
    } else {
        return fail(error, "--get-state: bare or tagged is wanted");
    }
    return true;
}

static bool set_follow(struct kv_options *options, const char *value, struct kv_option_error *error)
{
    options->follow = strcmp(value, "true") == 0;
    return options->follow || strcmp(value, "false") == 0 ||
           fail(error, "--follow: true or false is wanted");
}

static bool set_log_level(struct kv_options *options, const char *value,
                          struct kv_option_error *error)
{
    for (size_t i = 0; i < COUNT(LEVELS); i++) {
        if (strcmp(value, LEVELS[i]) == 0) {
            options->log_level = (enum kv_log_level)i;
            return true;
        }
    }
    return fail(error, "--log-level: debug, info, notice, warning or error is wanted");
}

/* The options whose value is not a number. */
static const struct text_rule {
    const char *option;
    bool (*set)(struct kv_options *options, const char *value, struct kv_option_error *error);
} TEXTS[] = {
    {"name", set_name},           {"vm", set_vm},
    {"bind", set_bind},           {"zeros", set_zeros},
    {"get-state", set_get_state}, {"log-level", set_log_level},
    {"follow", set_follow},
};

enum outcome { TAKEN, WRONG, UNKNOWN };

static enum outcome outcome(bool taken)
{
    return taken ? TAKEN : WRONG;
}

/* value: NULL when none was given. */
static enum outcome set(struct kv_options *options, const char *option, const char *value,
                        struct kv_option_error *error)
{
    if (strcmp(option, "no-leash") == 0) {
        options->leash = false;
        return outcome(value == NULL || fail(error, "--no-leash takes no value"));
    }
    for (size_t i = 0; i < COUNT(NUMBERS); i++) {
        if (strcmp(option, NUMBERS[i].option) == 0) {
            return outcome(value == NULL ? fail(error, "--%s needs a value", option)
                                         : set_number(options, &NUMBERS[i], value, error));
        }
    }
    for (size_t i = 0; i < COUNT(TEXTS); i++) {
        if (strcmp(option, TEXTS[i].option) == 0) {
            return outcome(value == NULL ? fail(error, "--%s needs a value", option)
                                         : TEXTS[i].set(options, value, error));
        }
    }
    return UNKNOWN;
}

bool kv_options_init(struct kv_options *options, struct kv_option_error *error)
{
    *options = (struct kv_options){.follow = true,
                                   .zeros = KV_ZEROS_DIFFER,
                                   .get_state = KV_GET_STATE_BARE,
                                   .log_level = KV_LOG_NOTICE,
                                   .leash = true};
    *error = (struct kv_option_error){{0}};
    for (size_t i = 0; i < COUNT(NUMBERS); i++) {
        memcpy((char *)options + NUMBERS[i].field, &NUMBERS[i].preset, sizeof(uint64_t));
    }
    const char *epmd_port = getenv("ERL_EPMD_PORT");
    if (epmd_port != NULL && set(options, "epmd-port", epmd_port, error) != TAKEN) {
        return fail(error, "the environment variable ERL_EPMD_PORT is not a port");
    }
    return true;
}

/* Splits "option=value" at the first '='; NULL when there is none. */
static char *split(char *option)
{
    char *equals = strchr(option, '=');
    if (equals == NULL) {
        return NULL;
    }
    *equals = '\0';
    return equals + 1;
}

static bool unknown_argument(const char *option, struct kv_option_error *error)
{
    if (strcmp(option, "cookie") == 0) {
        return fail(error, "--cookie is taken from standard input only: others can see the "
                           "command line");
    }
    return fail(error, "--%s is no option; --help lists them", option);
}

bool kv_options_arguments(struct kv_options *options, int argc, char **argv,
                          enum kv_command *command, struct kv_option_error *error)
{
    *command = KV_COMMAND_RUN;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--version") == 0 || strcmp(argv[i], "--help") == 0) {
            *command = argv[i][2] == 'v' ? KV_COMMAND_VERSION : KV_COMMAND_HELP;
            return true;
        }
        if (strncmp(argv[i], "--", 2) != 0) {
            return fail(error, "%s is no option; --help lists them", argv[i]);
        }
        char *option = argv[i] + 2;
        char *value = split(option);
        if (value == NULL && strcmp(option, "no-leash") != 0 && i + 1 < argc) {
            value = argv[++i];
        }
        switch (set(options, option, value, error)) {
        case TAKEN:
            break;
        case WRONG:
            return false;
        case UNKNOWN:
            return unknown_argument(option, error);
        }
    }
    return true;
}

bool kv_options_line(struct kv_options *options, char *line, struct kv_option_error *error)
{
    char *value = split(line + 2);
    enum outcome taken = set(options, line + 2, value, error);
    if (taken == UNKNOWN) {
        return fail(error, "a line of standard input is no option (a cookie that begins with -- "
                           "is given as --cookie=COOKIE and an empty line)");
    }
    return taken == TAKEN;
}

int kv_options_cookie(struct kv_options *options, const char *cookie)
{
    bool has_one = options->cookie_length > 0 && *cookie != '\0' && strlen(cookie) <= KV_COOKIE_MAX;
    return has_one ? KV_EEXIST : kv_options_new_cookie(options, cookie);
}

int kv_options_new_cookie(struct kv_options *options, const char *cookie)
{
    size_t length = strlen(cookie);
    if (length == 0) {
        return KV_ENOENT;
    }
    if (length > KV_COOKIE_MAX) {
        return KV_ESIZE;
    }
    memset(options->cookie, 0, sizeof(options->cookie)); /* of a longer one before */
    memcpy(options->cookie, cookie, length);
    options->cookie_length = length;
    return KV_OK;
}

bool kv_options_is_vm(const struct kv_options *options, struct kv_bytes name)
{
    return options->leash && options->vm[0] != '\0' && kv_bytes_is(name, options->vm);
}

bool kv_options_complete(const struct kv_options *options, struct kv_option_error *error)
{
    if (options->name[0] == '\0') {
        return fail(error, "--name is required: the name of this node, as ALIVE@HOST");
    }
    return true;
}

struct kv_bytes kv_options_alive(const struct kv_options *options)
{
    return kv_bytes(options->name, strcspn(options->name, "@"));
}

const char *kv_options_host(const struct kv_options *options)
{
    return options->name + strcspn(options->name, "@") + 1;
}
