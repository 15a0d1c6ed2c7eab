/* The text of --help. */
#include "node/option_rows.h"

#include <string.h>

enum {
    USAGE_WIDTH = 90,  /* columns of --help */
    USAGE_COLUMN = 27, /* where the texts begin */
    BOUNDS_MAX = 96,   /* bytes of the bounds and the default of one option, with a terminator */
};

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

static void print_name(FILE *out, const struct kv_option *option)
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
static void write_bounds(char bounds[BOUNDS_MAX], const struct kv_option *option)
{
    int length = 0;
    if (option->kind == KV_OPTION_NUMBER) {
        length = snprintf(bounds, BOUNDS_MAX, "; %llu to %llu", (unsigned long long)option->least,
                          (unsigned long long)option->most);
    }
    char *rest = bounds + length;
    size_t room = (size_t)(BOUNDS_MAX - length);
    if (option->preset_text != NULL) {
        (void)snprintf(rest, room, " (%s)", option->preset_text);
    } else if (option->kind == KV_OPTION_NUMBER) {
        (void)snprintf(rest, room, " (%llu)", (unsigned long long)option->preset);
    } else if (option->kind == KV_OPTION_WORD) {
        (void)snprintf(rest, room, " (%s)", option->words[option->preset]);
    }
}

static void print_option(FILE *out, const struct kv_option *option)
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
    size_t count = 0;
    const struct kv_option *rows = kv_option_rows(&count);
    (void)fputs(USAGE_HEAD, out);
    for (size_t i = 0; i < count; i++) {
        print_option(out, &rows[i]);
    }
    (void)fputs(USAGE_TAIL, out);
    return fflush(out) == 0 && ferror(out) == 0;
}
