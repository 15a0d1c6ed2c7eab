#include "node/options.h"

#include "base/alloc.h"
#include "node/option_values.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdlib.h>

static const struct kv_option *find_option(const char *name)
{
    size_t count = 0;
    const struct kv_option *rows = kv_option_rows(&count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, rows[i].name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

enum outcome { TAKEN, WRONG, UNKNOWN };

/* Says whether an option may have this value. Options are too large for the stack: the system may
 * allow no more than 40 KiB, and the program is to say so then. */
static bool check_value(const struct kv_option *option, const char *value,
                        struct kv_option_error *error)
{
    struct kv_options *ignored = kv_zalloc(sizeof *ignored);
    bool good = kv_option_set(ignored, option, value, error);
    OPENSSL_cleanse(ignored, sizeof *ignored); /* it may be a password */
    kv_free(ignored);
    return good;
}

/* A second value is checked, and then ignored. */
static bool set_first(struct kv_options *options, const struct kv_option *option, const char *value,
                      struct kv_option_error *error)
{
    size_t count = 0;
    uint64_t bit = (uint64_t)1 << (option - kv_option_rows(&count));
    bool first = (options->given & bit) == 0;
    bool good =
        first ? kv_option_set(options, option, value, error) : check_value(option, value, error);
    options->given |= good ? bit : 0;
    return good;
}

static bool may_come_from(const struct kv_option *option, enum kv_option_source source)
{
    return option->kind != KV_OPTION_ENDS &&
           (option->sources == 0 || (option->sources & source) != 0);
}

/* value: NULL if there is none. */
static enum outcome set(struct kv_options *options, const char *name, const char *value,
                        enum kv_option_source source, struct kv_option_error *error)
{
    const struct kv_option *option = find_option(name);
    if (option == NULL || !may_come_from(option, source)) {
        return UNKNOWN;
    }
    if (option->kind == KV_OPTION_FLAG && value == NULL) {
        option->choose(options, 0);
        return TAKEN;
    }
    if (option->value != NULL && value == NULL) {
        (void)kv_option_fail(error, "--%s needs a value", name);
        return WRONG;
    }
    return set_first(options, option, value, error) ? TAKEN : WRONG;
}

static void set_preset(struct kv_options *options, const struct kv_option *option)
{
    if (option->kind == KV_OPTION_NUMBER) {
        memcpy((char *)options + option->field, &option->preset, sizeof(option->preset));
    } else if (option->kind == KV_OPTION_WORD) {
        option->choose(options, (size_t)option->preset);
    }
}

bool kv_options_init(struct kv_options *options, struct kv_option_error *error)
{
    *options = (struct kv_options){.leash = true};
    *error = (struct kv_option_error){{0}};
    size_t count = 0;
    const struct kv_option *rows = kv_option_rows(&count);
    for (size_t i = 0; i < count; i++) {
        set_preset(options, &rows[i]);
    }
    const char *epmd_port = getenv("ERL_EPMD_PORT");
    if (epmd_port != NULL && set(options, "epmd-port", epmd_port, KV_FROM_LINE, error) != TAKEN) {
        return kv_option_fail(error, "the environment variable ERL_EPMD_PORT is not a port");
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
    const bool is_cookie = strcmp(option, "cookie") == 0 || strcmp(option, "cookie-hex") == 0;
    if (is_cookie || find_option(option) != NULL) {
        return kv_option_fail(
            error,
            "the %s is never taken from the command line, which others can see: use "
            "standard input, or %s",
            is_cookie ? "cookie" : "password",
            is_cookie ? "--cookie-file" : "a --config that only its owner may read");
    }
    return kv_option_fail(error, "--%s is no option; --help lists them", option);
}

static bool choose_command(const struct kv_options *options, enum kv_command *command,
                           struct kv_option_error *error)
{
    bool check = options->check[0] != '\0';
    bool salvage = options->salvage[0] != '\0';
    bool to = options->to[0] != '\0';
    if (salvage && !to) {
        return kv_option_fail(error, "--salvage needs --to: the new folder for what can be read");
    }
    if ((to && !salvage) || (check && salvage)) {
        return kv_option_fail(error, "--to goes with --salvage, and --check with neither");
    }
    if (options->check_config && (check || salvage)) {
        return kv_option_fail(error, "--check-config goes neither with --check nor with --salvage");
    }
    *command = check                   ? KV_COMMAND_CHECK
               : salvage               ? KV_COMMAND_SALVAGE
               : options->check_config ? KV_COMMAND_CHECK_CONFIG
                                       : KV_COMMAND_RUN;
    return true;
}

/* Returns true if the next argument is the value of this option. */
static bool takes_next(const char *name)
{
    const struct kv_option *option = find_option(name);
    return option == NULL || option->kind != KV_OPTION_FLAG;
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
            return kv_option_fail(error, "%s is no option; --help lists them", argv[i]);
        }
        char *option = argv[i] + 2;
        char *value = split(option);
        if (value == NULL && takes_next(option) && i + 1 < argc) {
            value = argv[++i];
        }
        switch (set(options, option, value, KV_FROM_ARGUMENT, error)) {
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
    enum outcome taken = set(options, line + 2, value, KV_FROM_LINE, error);
    if (taken == UNKNOWN) {
        return kv_option_fail(error,
                              "a line of standard input is no option (a cookie that begins with -- "
                              "is given as --cookie=COOKIE and an empty line)");
    }
    return taken == TAKEN;
}

static bool not_in_a_file(const char *name, struct kv_option_error *error)
{
    if (strcmp(name, "cookie") == 0 || strcmp(name, "cookie-hex") == 0) {
        return kv_option_fail(error, "the cookie has a file of its own: cookie-file FILE");
    }
    if (strncmp(name, "--", 2) == 0) {
        return kv_option_fail(error, "NAME VALUE is wanted, without the -- of the command line");
    }
    const bool there_is = find_option(name) != NULL;
    return kv_option_fail(error,
                          there_is ? "--%.60s is for the command line only"
                                   : "%.60s is no option; kv_node --help lists them",
                          name);
}

bool kv_options_setting(struct kv_options *options, const char *name, const char *value,
                        bool is_private, struct kv_option_error *error)
{
    const struct kv_option *option = find_option(name);
    const bool is_secret =
        option != NULL && option->sources != 0 && (option->sources & KV_FROM_ARGUMENT) == 0;
    if (is_secret && !is_private) {
        return kv_option_fail(error, "--%s: others than the owner may read this file: chmod 600",
                              name);
    }
    const enum outcome taken = set(options, name, value, KV_FROM_FILE, error);
    return taken == UNKNOWN ? not_in_a_file(name, error) : taken == TAKEN;
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
        return kv_option_fail(error, "--name is required: the name of this node, as ALIVE@HOST");
    }
    if (options->no_epmd && options->port == 0) {
        return kv_option_fail(error,
                              "--no-epmd needs --port: the PORT of -erl_epmd_port of all nodes");
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
