#include "node/option_values.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <uv.h>

/* Bytes of "debug, info, notice, warning or error", with a terminator. */
enum { WORDS_MAX = 64 };

bool kv_option_fail(struct kv_option_error *error, const char *format, ...)
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

static bool set_number(struct kv_options *options, const struct kv_option *option,
                       const char *value, struct kv_option_error *error)
{
    uint64_t number = 0;
    if (!parse_number(value, option->most, &number) || number < option->least) {
        return kv_option_fail(error, "--%s: a number from %llu to %llu is wanted", option->name,
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

static bool set_name(struct kv_options *options, const struct kv_option *option, const char *value,
                     struct kv_option_error *error)
{
    if (!kv_node_name_ok(kv_bytes_text(value)) || !is_printable(value)) {
        return kv_option_fail(error, "--%s: ALIVE@HOST is wanted, of at most %d ASCII characters",
                              option->name, KV_NODE_NAME_MAX);
    }
    (void)snprintf((char *)options + option->field, KV_NODE_NAME_MAX + 1, "%s", value);
    return true;
}

static bool set_host(struct kv_options *options, const struct kv_option *option, const char *value,
                     struct kv_option_error *error)
{
    if (*value == '\0' || strlen(value) > KV_HOST_MAX || !is_printable(value)) {
        return kv_option_fail(error, "--%s: an address or a host name is wanted", option->name);
    }
    (void)snprintf((char *)options + option->field, KV_HOST_MAX + 1, "%s", value);
    return true;
}

static bool set_address(struct kv_options *options, const struct kv_option *option,
                        const char *value, struct kv_option_error *error)
{
    struct sockaddr_storage address;
    if (!kv_options_address(value, &address)) {
        return kv_option_fail(
            error, "--%s: an address and a port are wanted, as 127.0.0.1:9568 or [::1]:9568",
            option->name);
    }
    (void)snprintf((char *)options + option->field, KV_ADDRESS_MAX + 1, "%s", value);
    return true;
}

/* The bytes of a folder, a file or a text. */
_Static_assert(KV_TEXT_MAX == KV_FOLDER_MAX, "set_text() is for both");

static bool set_text(struct kv_options *options, const struct kv_option *option, const char *value,
                     struct kv_option_error *error)
{
    const char *kind = option->kind == KV_OPTION_FILE   ? "file"
                       : option->kind == KV_OPTION_TEXT ? "text"
                                                        : "folder";
    if (*value == '\0' || strlen(value) > KV_TEXT_MAX) {
        return kv_option_fail(error, "--%s: a %s is wanted, of at most %d bytes", option->name,
                              kind, KV_TEXT_MAX);
    }
    (void)snprintf((char *)options + option->field, KV_TEXT_MAX + 1, "%s", value);
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

static bool set_word(struct kv_options *options, const struct kv_option *option, const char *value,
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
    return kv_option_fail(error, "--%s: %s is wanted", option->name, words);
}

bool kv_option_set(struct kv_options *options, const struct kv_option *option, const char *value,
                   struct kv_option_error *error)
{
    switch (option->kind) {
    case KV_OPTION_NUMBER:
        return set_number(options, option, value, error);
    case KV_OPTION_WORD:
        return set_word(options, option, value, error);
    case KV_OPTION_NODE_NAME:
        return set_name(options, option, value, error);
    case KV_OPTION_HOST:
        return set_host(options, option, value, error);
    case KV_OPTION_ADDRESS:
        return set_address(options, option, value, error);
    case KV_OPTION_FOLDER:
    case KV_OPTION_FILE:
    case KV_OPTION_TEXT:
        return set_text(options, option, value, error);
    case KV_OPTION_FLAG:
    case KV_OPTION_ENDS:
        break;
    }
    return kv_option_fail(error, "--%s takes no value", option->name);
}

bool kv_options_address(const char *text, struct sockaddr_storage *address)
{
    char host[KV_ADDRESS_MAX + 1];
    uint64_t port = 0;
    const char *colon = strrchr(text, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - text);
    const bool is_bracketed = length > 2 && text[0] == '[' && text[length - 1] == ']';
    if (length == 0 || strlen(text) > KV_ADDRESS_MAX ||
        !parse_number(colon + 1, UINT16_MAX, &port) || port == 0) {
        return false;
    }
    length -= is_bracketed ? 2 : 0;
    memcpy(host, text + is_bracketed, length);
    host[length] = '\0';
    *address = (struct sockaddr_storage){0};
    return is_bracketed ? uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)address) == 0
                        : uv_ip4_addr(host, (int)port, (struct sockaddr_in *)address) == 0;
}
