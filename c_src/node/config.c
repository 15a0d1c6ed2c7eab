#include "node/config.h"

#include "host/small_file.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <unistd.h>

enum {
    SHOWN = 400,                     /* bytes of a path in a text; a longer one is cut */
    COOKIE_FILE = KV_COOKIE_MAX + 64 /* bytes, with ends of lines behind the cookie */
};

#define BLANKS " \t\r"

/* ---- options --------------------------------------------------------------------------------- */

static void tell(const struct kv_config_reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void tell(const struct kv_config_reader *reader, const char *format, ...)
{
    char text[KV_CONFIG_TEXT];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    reader->wrong(reader->context, text);
}

/* Cuts the blanks off both ends, in place. */
static char *trimmed(char *text)
{
    text += strspn(text, BLANKS);
    size_t length = strlen(text);
    while (length > 0 && strchr(BLANKS, text[length - 1]) != NULL) {
        length--;
    }
    text[length] = '\0';
    return text;
}

static bool take_setting(struct kv_options *options, char *line, bool is_private,
                         struct kv_option_error *error)
{
    char *name = trimmed(line);
    if (name[0] == '\0' || name[0] == '#') {
        return true;
    }
    char *value = name + strcspn(name, BLANKS);
    if (*value != '\0') {
        *value++ = '\0';
        value += strspn(value, BLANKS);
    }
    return kv_options_setting(options, name, *value == '\0' ? NULL : value, is_private, error);
}

static bool take_line(struct kv_options *options, struct kv_bytes bytes, bool is_private,
                      struct kv_option_error *error)
{
    char line[KV_CONFIG_LINE + 1];
    if (bytes.length > KV_CONFIG_LINE || memchr(bytes.data, '\0', bytes.length) != NULL) {
        (void)snprintf(error->text, sizeof error->text,
                       "a line has no zero byte, and at most %d bytes", KV_CONFIG_LINE);
        return false;
    }
    memcpy(line, bytes.data, bytes.length);
    line[bytes.length] = '\0';
    const bool good = take_setting(options, line, is_private, error);
    OPENSSL_cleanse(line, sizeof line); /* it may be a password */
    return good;
}

bool kv_config_take(struct kv_options *options, const char *path, struct kv_bytes content,
                    bool is_private, const struct kv_config_reader *reader)
{
    struct kv_option_error error;
    bool good = true;
    unsigned number = 1;
    for (size_t at = 0; at < content.length; number++) {
        const uint8_t *line = content.data + at;
        const uint8_t *newline = memchr(line, '\n', content.length - at);
        const size_t length = newline == NULL ? content.length - at : (size_t)(newline - line);
        if (!take_line(options, kv_bytes(line, length), is_private, &error)) {
            tell(reader, "%.*s:%u: %s", SHOWN, path, number, error.text);
            good = false;
        }
        at += length + 1;
    }
    return good;
}

bool kv_config_read(struct kv_options *options, const char *path,
                    const struct kv_config_reader *reader)
{
    struct kv_small_file about = {.mode = 0};
    struct kv_buffer content = KV_BUFFER_INIT;
    const int error = kv_small_file_read(path, KV_CONFIG_MAX, &content, &about);
    bool good = error == 0;
    if (error == EFBIG) {
        tell(reader, "%.*s: a file of options has at most %d bytes", SHOWN, path, KV_CONFIG_MAX);
    } else if (error != 0) {
        tell(reader, "cannot read %.*s: %s", SHOWN, path, strerror(error));
    } else {
        good = kv_config_take(options, path, kv_buffer_bytes(&content), about.is_private, reader);
    }
    kv_small_file_forget(&content);
    return good;
}

/* ---- the cookie ------------------------------------------------------------------------------ */

static bool refuse(struct kv_option_error *why, const struct kv_options *options,
                   const char *format, ...) __attribute__((format(printf, 3, 4)));

static bool refuse(struct kv_option_error *why, const struct kv_options *options,
                   const char *format, ...)
{
    va_list arguments;
    int length = snprintf(why->text, sizeof why->text, "the cookie file %.*s ", SHOWN / 2,
                          options->cookie_file);
    va_start(arguments, format);
    (void)vsnprintf(why->text + length, sizeof why->text - (size_t)length, format, arguments);
    va_end(arguments);
    return false;
}

static bool may_be_used(const struct kv_options *options, const struct kv_small_file *about,
                        struct kv_option_error *why)
{
    if (!about->is_regular) {
        return refuse(why, options, "is no regular file");
    }
    if ((about->mode & 077) != 0) {
        return refuse(why, options,
                      "has mode %04o: only its owner may read and write it; chmod 400 it",
                      about->mode);
    }
    if (!about->is_private) {
        return refuse(why, options,
                      "belongs to user %llu, and this program runs as user %llu: change the owner",
                      (unsigned long long)about->owner, (unsigned long long)geteuid());
    }
    return true;
}

/* OTP: lib/kernel/src/auth.erl, check_cookie/2 and check_cookie1/2. */
static bool take_cookie(struct kv_options *options, struct kv_bytes content,
                        struct kv_option_error *why)
{
    size_t length = 0;
    while (length < content.length && content.data[length] >= ' ' && content.data[length] <= '~') {
        length++;
    }
    for (size_t i = length; i < content.length; i++) {
        const uint8_t one = content.data[i];
        if (one != '\n' && one != '\r' && one != ' ') {
            return refuse(why, options,
                          "has a character that no cookie has: the cookie is one "
                          "line of visible ASCII characters");
        }
    }
    if (length == 0) {
        return refuse(why, options, "has no cookie in its first line");
    }
    if (kv_options_new_cookie(options, kv_bytes(content.data, length)) != KV_OK) {
        return refuse(why, options, "has a cookie of more than %d bytes", KV_COOKIE_MAX);
    }
    return true;
}

bool kv_config_cookie(struct kv_options *options, struct kv_option_error *why)
{
    struct kv_small_file about = {.mode = 0};
    struct kv_buffer content = KV_BUFFER_INIT;
    const int error = kv_small_file_read(options->cookie_file, COOKIE_FILE, &content, &about);
    bool good = false;
    if (error == EFBIG) {
        (void)refuse(why, options, "has more than %d bytes", COOKIE_FILE);
    } else if (error != 0) {
        (void)refuse(why, options, "cannot be read: %s", strerror(error));
    } else {
        good = may_be_used(options, &about, why) &&
               take_cookie(options, kv_buffer_bytes(&content), why);
    }
    kv_small_file_forget(&content);
    return good;
}
