#include "node/options.h"

#include "base/alloc.h"
#include "host/pace.h"
#include "wire/epmd.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
    USAGE_WIDTH = 90,  /* columns of --help */
    USAGE_COLUMN = 27, /* where the texts begin */
    BOUNDS_MAX = 96,   /* bytes of the bounds and the default of one option, with a terminator */
    WORDS_MAX = 64,    /* bytes of "debug, info, notice, warning or error", with a terminator */
};

enum kind {
    NUMBER,    /* field: a uint64_t */
    WORD,      /* one of `words`; choose() gets its index */
    NODE_NAME, /* field: KV_NODE_NAME_MAX + 1 characters */
    HOST,      /* field: KV_HOST_MAX + 1 characters */
    FOLDER,    /* field: KV_FOLDER_MAX + 1 characters */
    NO_LEASH,  /* takes no value */
    COMMAND,   /* as FOLDER; instead of a node, and only on the command line */
    ENDS,      /* --version, --help: only on the command line */
};

/* One option: how it is parsed, and its text in --help. */
struct option {
    const char *name;
    const char *value; /* placeholder in --help; NULL: the option takes no value */
    const char *text;  /* for --help, which indents each line but the first */
    const char *preset_text;
    enum kind kind;
    size_t field;
    uint64_t least, most, preset;
    const char *const *words; /* ends with NULL */
    void (*choose)(struct kv_options *options, size_t word);
};

static const char *const LEVELS[] = {"debug", "info", "notice", "warning", "error", NULL};
static const char *const BOOLEANS[] = {"true", "false", NULL};
static const char *const ZEROS[] = {"differ", "same", NULL};
static const char *const GET_STATES[] = {"bare", "tagged", NULL};

static void choose_level(struct kv_options *options, size_t word)
{
    options->log_level = (enum kv_log_level)word;
}

static void choose_follow(struct kv_options *options, size_t word)
{
    options->follow = word == 0;
}

static void choose_zeros(struct kv_options *options, size_t word)
{
    options->zeros = word == 0 ? KV_ZEROS_DIFFER : KV_ZEROS_SAME;
}

static void choose_get_state(struct kv_options *options, size_t word)
{
    options->get_state = word == 0 ? KV_GET_STATE_BARE : KV_GET_STATE_TAGGED;
}

#define FIELD(member)           .field = offsetof(struct kv_options, member)
#define RANGE(low, high, value) .kind = NUMBER, .least = (low), .most = (high), .preset = (value)
#define WORDS(list, function, value)                                                               \
    .kind = WORD, .words = (list), .choose = (function), .preset = (value)

#define MIB(n) ((uint64_t)(n) << 20)

/* To add an option, add a row here and a field to struct kv_options. Parsing, defaults and --help
 * follow from the row. An option that users of the OTP side set also needs a row in
 * src/kv_node_options.erl. test/kv/options_test.exs compares the two. */
static const struct option OPTIONS[] = {
    {.name = "name",
     .value = "ALIVE@HOST",
     .text = "the name of this node",
     .preset_text = "required",
     .kind = NODE_NAME,
     FIELD(name)},
    {.name = "bind",
     .value = "ADDRESS",
     .text = "the address to listen on",
     .preset_text = "what HOST resolves to",
     .kind = HOST,
     FIELD(bind)},
    {.name = "port",
     .value = "PORT",
     .text = "the TCP port to listen on; 0 is any free one",
     FIELD(port),
     RANGE(0, UINT16_MAX, 0)},
    {.name = "epmd-port",
     .value = "PORT",
     .text = "the port of EPMD",
     .preset_text = "ERL_EPMD_PORT, else 4369",
     FIELD(epmd_port),
     RANGE(1, UINT16_MAX, KV_EPMD_PORT)},
    {.name = "vm",
     .value = "ALIVE@HOST",
     .text = "the node that holds standard input and owns processes here",
     .preset_text = "none",
     .kind = NODE_NAME,
     FIELD(vm)},
    {.name = "reconnect-timeout",
     .value = "MS",
     .text = "how long its processes are kept when the connection to --vm is lost",
     FIELD(reconnect_timeout),
     RANGE(0, (uint64_t)1 << 31, 60000)},
    {.name = "ticktime",
     .value = "SECONDS",
     .text = "a peer that is silent for so long is given up",
     FIELD(ticktime),
     RANGE(1, 86400, 60)},
    {.name = "handshake-timeout",
     .value = "MS",
     .text = "the time for a whole handshake",
     FIELD(handshake_timeout),
     RANGE(10, 600000, 7000)},
    {.name = "max-frame",
     .value = "BYTES",
     .text = "the largest message",
     FIELD(max_frame),
     RANGE(4096, INT32_MAX, MIB(128))},
    {.name = "max-depth",
     .value = "LEVELS",
     .text = "how deep one term may be nested",
     FIELD(max_depth),
     RANGE(16, 1 << 24, 1 << 20)},
    {.name = "max-peers",
     .value = "N",
     .text = "connections at once",
     FIELD(max_peers),
     RANGE(1, 65536, 1024)},
    {.name = "max-pending",
     .value = "BYTES",
     .text = "all messages that one peer has sent in part",
     FIELD(max_pending),
     RANGE(MIB(1), (uint64_t)1 << 40, (uint64_t)1 << 30)},
    {.name = "max-queue",
     .value = "BYTES",
     .text = "what may wait for a peer that does not read",
     FIELD(max_queue),
     RANGE(MIB(1), (uint64_t)1 << 40, MIB(512))},
    {.name = "max-memory",
     .value = "BYTES",
     .text = "all buckets; 0 is 3/4 of the machine's or the container's memory",
     FIELD(max_memory),
     RANGE(0, (uint64_t)1 << 43, 0)},
    {.name = "data-dir",
     .value = "FOLDER",
     .text = "where durable buckets are kept, made if it is missing",
     .preset_text = "none, and no bucket is durable",
     .kind = FOLDER,
     FIELD(data_dir)},
    {.name = "checkpoint-log",
     .value = "BYTES",
     .text = "the log of durable buckets since the last checkpoint, before the next one",
     FIELD(checkpoint_log),
     RANGE(MIB(1), (uint64_t)1 << 40, MIB(64))},
    {.name = "backup-dir",
     .value = "FOLDER",
     .text = "where messages of other nodes may make backups of --data-dir",
     .preset_text = "none, and no message may",
     .kind = FOLDER,
     FIELD(backup_dir)},
    {.name = "follow",
     .value = "true|false",
     .text = "with two processors, run on the one that callers send from\nwhile many are at work",
     WORDS(BOOLEANS, choose_follow, 0)},
    {.name = "gather",
     .value = "US",
     .text = "else wait before the next read while many are at work; 0 is off",
     FIELD(gather),
     RANGE(0, KV_GATHER_MOST_US, KV_GATHER_PRESET_US)},
    {.name = "spin",
     .value = "US",
     .text =
         "look for more at most so long before sleeping, while a few\ncallers are at work; 0 is "
         "off",
     FIELD(spin),
     RANGE(0, KV_SPIN_MOST_US, KV_SPIN_PRESET_US)},
    {.name = "zeros",
     .value = "differ|same",
     .text = "whether 0.0 and -0.0 are one key",
     WORDS(ZEROS, choose_zeros, 0)},
    {.name = "get-state",
     .value = "bare|tagged",
     .text = "sys:get_state of peers before OTP 28: State, or {ok, State}",
     WORDS(GET_STATES, choose_get_state, 0)},
    {.name = "log-level",
     .value = "LEVEL",
     .text = "debug, info, notice, warning or error",
     WORDS(LEVELS, choose_level, KV_LOG_NOTICE)},
    {.name = "no-leash", .text = "keep running when standard input ends", .kind = NO_LEASH},
    {.name = "check",
     .value = "FOLDER",
     .text = "say what is in a data folder that no node uses, and end;\nstatus 0: whole, 1: "
             "damaged, 66: not checked",
     .preset_text = "no",
     .kind = COMMAND,
     FIELD(check)},
    {.name = "salvage",
     .value = "FOLDER",
     .text = "make a new data folder of what can be read of a damaged one,\nand end; status 0: "
             "nothing is lost, 1: a part, 66: no folder",
     .preset_text = "no",
     .kind = COMMAND,
     FIELD(salvage)},
    {.name = "to",
     .value = "FOLDER",
     .text = "the new folder of --salvage, which must not be there yet",
     .preset_text = "none",
     .kind = COMMAND,
     FIELD(to)},
    {.name = "version", .text = "print the version and end", .kind = ENDS},
    {.name = "help", .text = "print this and end", .kind = ENDS},
};

_Static_assert(COUNT(OPTIONS) <= 64, "kv_options.given has a bit for each");

static const char USAGE_HEAD[] =
    "usage: kv_node --name ALIVE@HOST [--option value ...]\n"
    "       kv_node --check FOLDER\n"
    "       kv_node --salvage FOLDER --to FOLDER\n"
    "\n"
    "Reads more options, one --option=value a line, and then the cookie, a line by itself, from\n"
    "standard input. Ends when standard input ends (Ctrl-D at a terminal), and ignores SIGTERM,\n"
    "SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2; with --no-leash it ends at SIGTERM and SIGINT.\n"
    "A cookie that begins with -- is given as --cookie=COOKIE, and any other bytes as\n"
    "--cookie-hex=HEX; an empty line then ends the options. The first of two values of one option\n"
    "counts. Defaults are in parentheses.\n"
    "\n";

static const char USAGE_TAIL[] = "\n"
                                 "example: (echo secret; cat) | kv_node --name kv@127.0.0.1\n";

static void print_name(FILE *out, const struct option *option)
{
    int width = fprintf(out, "  --%s%s%s", option->name, option->value == NULL ? "" : " ",
                        option->value == NULL ? "" : option->value);
    (void)fprintf(out, "%*s", width < USAGE_COLUMN ? USAGE_COLUMN - width : 1, "");
}

static void print_line_break(FILE *out)
{
    (void)fprintf(out, "\n%*s", USAGE_COLUMN, "");
}

/* Returns the width of the last line. */
static int print_text(FILE *out, const char *text)
{
    int width = USAGE_COLUMN;
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            print_line_break(out);
            width = USAGE_COLUMN;
        } else {
            (void)fputc(*text, out);
            width++;
        }
    }
    return width;
}

/* "; 1 to 86400 (60)" */
static void write_bounds(char bounds[BOUNDS_MAX], const struct option *option)
{
    int length = 0;
    if (option->kind == NUMBER) {
        length = snprintf(bounds, BOUNDS_MAX, "; %llu to %llu", (unsigned long long)option->least,
                          (unsigned long long)option->most);
    }
    char *rest = bounds + length;
    size_t room = (size_t)(BOUNDS_MAX - length);
    if (option->preset_text != NULL) {
        (void)snprintf(rest, room, " (%s)", option->preset_text);
    } else if (option->kind == NUMBER) {
        (void)snprintf(rest, room, " (%llu)", (unsigned long long)option->preset);
    } else if (option->kind == WORD) {
        (void)snprintf(rest, room, " (%s)", option->words[option->preset]);
    }
}

static void print_option(FILE *out, const struct option *option)
{
    char bounds[BOUNDS_MAX] = "";
    write_bounds(bounds, option);
    print_name(out, option);
    int width = print_text(out, option->text);
    if (width + (int)strlen(bounds) <= USAGE_WIDTH) {
        (void)fputs(bounds, out);
    } else {
        print_line_break(out);
        (void)fputs(bounds + strspn(bounds, "; "), out);
    }
    (void)fputc('\n', out);
}

bool kv_options_print_usage(FILE *out)
{
    (void)fputs(USAGE_HEAD, out);
    for (size_t i = 0; i < COUNT(OPTIONS); i++) {
        print_option(out, &OPTIONS[i]);
    }
    (void)fputs(USAGE_TAIL, out);
    return fflush(out) == 0 && ferror(out) == 0;
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

static bool set_number(struct kv_options *options, const struct option *option, const char *value,
                       struct kv_option_error *error)
{
    uint64_t number = 0;
    if (!parse_number(value, option->most, &number) || number < option->least) {
        return fail(error, "--%s: a number from %llu to %llu is wanted", option->name,
                    (unsigned long long)option->least, (unsigned long long)option->most);
    }
    memcpy((char *)options + option->field, &number, sizeof(number));
    return true;
}

/* ASCII only, because a node name is Latin-1 in the handshake and UTF-8 in pids. */
static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~') {
            return false;
        }
    }
    return true;
}

static bool set_name(struct kv_options *options, const struct option *option, const char *value,
                     struct kv_option_error *error)
{
    if (!kv_node_name_ok(kv_bytes_text(value)) || !is_printable(value)) {
        return fail(error, "--%s: ALIVE@HOST is wanted, of at most %d ASCII characters",
                    option->name, KV_NODE_NAME_MAX);
    }
    (void)snprintf((char *)options + option->field, KV_NODE_NAME_MAX + 1, "%s", value);
    return true;
}

static bool set_host(struct kv_options *options, const struct option *option, const char *value,
                     struct kv_option_error *error)
{
    if (*value == '\0' || strlen(value) > KV_HOST_MAX || !is_printable(value)) {
        return fail(error, "--%s: an address or a host name is wanted", option->name);
    }
    (void)snprintf((char *)options + option->field, KV_HOST_MAX + 1, "%s", value);
    return true;
}

static bool set_folder(struct kv_options *options, const struct option *option, const char *value,
                       struct kv_option_error *error)
{
    if (*value == '\0' || strlen(value) > KV_FOLDER_MAX) {
        return fail(error, "--%s: a folder is wanted, of at most %d bytes", option->name,
                    KV_FOLDER_MAX);
    }
    (void)snprintf((char *)options + option->field, KV_FOLDER_MAX + 1, "%s", value);
    return true;
}

/* "debug, info or notice" */
static void list_words(char text[WORDS_MAX], const char *const *words)
{
    size_t length = 0;
    for (size_t i = 0; words[i] != NULL; i++) {
        const char *separator = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
        length += (size_t)snprintf(text + length, WORDS_MAX - length, "%s%s", separator, words[i]);
    }
}

static bool set_word(struct kv_options *options, const struct option *option, const char *value,
                     struct kv_option_error *error)
{
    for (size_t i = 0; option->words[i] != NULL; i++) {
        if (strcmp(value, option->words[i]) == 0) {
            option->choose(options, i);
            return true;
        }
    }
    char words[WORDS_MAX];
    list_words(words, option->words);
    return fail(error, "--%s: %s is wanted", option->name, words);
}

static const struct option *find_option(const char *name)
{
    for (size_t i = 0; i < COUNT(OPTIONS); i++) {
        if (strcmp(name, OPTIONS[i].name) == 0) {
            return &OPTIONS[i];
        }
    }
    return NULL;
}

static bool set_value(struct kv_options *options, const struct option *option, const char *value,
                      struct kv_option_error *error)
{
    switch (option->kind) {
    case NUMBER:
        return set_number(options, option, value, error);
    case WORD:
        return set_word(options, option, value, error);
    case NODE_NAME:
        return set_name(options, option, value, error);
    case HOST:
        return set_host(options, option, value, error);
    case FOLDER:
    case COMMAND:
        return set_folder(options, option, value, error);
    case NO_LEASH:
    case ENDS:
        break;
    }
    return fail(error, "--%s takes no value", option->name);
}

enum outcome { TAKEN, WRONG, UNKNOWN };

/* Says whether an option may have this value. Options are too large for the stack: the system may
 * allow no more than 40 KiB, and the program is to say so then. */
static bool check_value(const struct option *option, const char *value,
                        struct kv_option_error *error)
{
    struct kv_options *ignored = kv_zalloc(sizeof *ignored);
    bool good = set_value(ignored, option, value, error);
    kv_free(ignored);
    return good;
}

/* A second value is checked, and then ignored. */
static bool set_first(struct kv_options *options, const struct option *option, const char *value,
                      struct kv_option_error *error)
{
    uint64_t bit = (uint64_t)1 << (option - OPTIONS);
    bool first = (options->given & bit) == 0;
    bool good =
        first ? set_value(options, option, value, error) : check_value(option, value, error);
    options->given |= good ? bit : 0;
    return good;
}

/* value: NULL if there is none. */
static enum outcome set(struct kv_options *options, const char *name, const char *value,
                        bool may_command, struct kv_option_error *error)
{
    const struct option *option = find_option(name);
    if (option == NULL || option->kind == ENDS || (option->kind == COMMAND && !may_command)) {
        return UNKNOWN;
    }
    if (option->kind == NO_LEASH && value == NULL) {
        options->leash = false;
        return TAKEN;
    }
    if (option->value != NULL && value == NULL) {
        (void)fail(error, "--%s needs a value", name);
        return WRONG;
    }
    return set_first(options, option, value, error) ? TAKEN : WRONG;
}

static void set_preset(struct kv_options *options, const struct option *option)
{
    if (option->kind == NUMBER) {
        memcpy((char *)options + option->field, &option->preset, sizeof(option->preset));
    } else if (option->kind == WORD) {
        option->choose(options, (size_t)option->preset);
    }
}

bool kv_options_init(struct kv_options *options, struct kv_option_error *error)
{
    *options = (struct kv_options){.leash = true};
    *error = (struct kv_option_error){{0}};
    for (size_t i = 0; i < COUNT(OPTIONS); i++) {
        set_preset(options, &OPTIONS[i]);
    }
    const char *epmd_port = getenv("ERL_EPMD_PORT");
    if (epmd_port != NULL && set(options, "epmd-port", epmd_port, false, error) != TAKEN) {
        return fail(error, "the environment variable ERL_EPMD_PORT is not a port");
    }
    options->given = 0;
    return true;
}

/* Splits "option=value" at the first '=', and returns the value; NULL if there is no '='. */
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
    if (strcmp(option, "cookie") == 0 || strcmp(option, "cookie-hex") == 0) {
        return fail(error, "the cookie is taken from standard input only: others can see the "
                           "command line");
    }
    return fail(error, "--%s is no option; --help lists them", option);
}

static bool choose_command(const struct kv_options *options, enum kv_command *command,
                           struct kv_option_error *error)
{
    bool check = options->check[0] != '\0';
    bool salvage = options->salvage[0] != '\0';
    bool to = options->to[0] != '\0';
    if (salvage && !to) {
        return fail(error, "--salvage needs --to: the new folder for what can be read");
    }
    if ((to && !salvage) || (check && salvage)) {
        return fail(error, "--to goes with --salvage, and --check with neither");
    }
    *command = check ? KV_COMMAND_CHECK : salvage ? KV_COMMAND_SALVAGE : KV_COMMAND_RUN;
    return true;
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
        switch (set(options, option, value, true, error)) {
        case TAKEN:
            break;
        case WRONG:
            return false;
        case UNKNOWN:
            return unknown_argument(option, error);
        }
    }
    return choose_command(options, command, error);
}

bool kv_options_line(struct kv_options *options, char *line, struct kv_option_error *error)
{
    char *value = split(line + 2);
    enum outcome taken = set(options, line + 2, value, false, error);
    if (taken == UNKNOWN) {
        return fail(error, "a line of standard input is no option (a cookie that begins with -- "
                           "is given as --cookie=COOKIE and an empty line)");
    }
    return taken == TAKEN;
}

/* Returns -1 if `digit` is none. */
static int hex_digit(char digit)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = strchr(digits, tolower((unsigned char)digit));
    return digit == '\0' || found == NULL ? -1 : (int)(found - digits);
}

/* Writes the bytes over the digits. */
static int decode_hex(char *text, struct kv_bytes *bytes)
{
    size_t length = 0;
    for (; text[2 * length] != '\0'; length++) {
        int high = hex_digit(text[2 * length]);
        int low = high < 0 ? -1 : hex_digit(text[2 * length + 1]);
        if (low < 0) {
            return KV_EPROTOCOL;
        }
        text[length] = (char)(high * 16 + low);
    }
    *bytes = kv_bytes(text, length);
    return KV_OK;
}

int kv_options_cookie_line(char *line, struct kv_bytes *cookie)
{
    static const char plain[] = "--cookie=";
    static const char hex[] = "--cookie-hex=";
    if (strncmp(line, hex, strlen(hex)) == 0) {
        return decode_hex(line + strlen(hex), cookie);
    }
    if (strncmp(line, plain, strlen(plain)) != 0) {
        return KV_ENOENT;
    }
    *cookie = kv_bytes_text(line + strlen(plain));
    return cookie->length == 0 ? KV_EPROTOCOL : KV_OK;
}

int kv_options_cookie(struct kv_options *options, struct kv_bytes cookie)
{
    bool another = options->has_cookie && cookie.length <= KV_COOKIE_MAX;
    return another ? KV_EEXIST : kv_options_new_cookie(options, cookie);
}

int kv_options_new_cookie(struct kv_options *options, struct kv_bytes cookie)
{
    if (cookie.length > KV_COOKIE_MAX) {
        return KV_ESIZE;
    }
    memset(options->cookie, 0, sizeof(options->cookie)); /* the old one may be longer */
    memcpy(options->cookie, cookie.data, cookie.length);
    options->cookie_length = cookie.length;
    options->has_cookie = true;
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
