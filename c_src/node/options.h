/* The options of the program: one table for the command line and for standard input.
 *
 * docs/native-protocol.md lists them. Each value is checked when it is set, with an error that says
 * what would have been right; the cookie is never part of an error. */
#ifndef KV_NODE_OPTIONS_H
#define KV_NODE_OPTIONS_H

#include "process/runtime.h"
#include "wire/handshake.h"

#include <stdio.h>

enum {
    KV_HOST_MAX = 255,
    KV_OPTION_ERROR_MAX = 512, /* bytes of an error text, with its terminator */
};

struct kv_options {
    char name[KV_NODE_NAME_MAX + 1]; /* "alive@host"; empty until it is given */
    char bind[KV_HOST_MAX + 1];      /* empty: where the host of the name resolves to */
    char vm[KV_NODE_NAME_MAX + 1];   /* the node that holds the leash; empty: not known */
    uint64_t reconnect_timeout;      /* milliseconds */
    uint64_t port;
    uint64_t epmd_port;
    uint64_t ticktime;          /* seconds */
    uint64_t handshake_timeout; /* milliseconds */
    uint64_t max_frame;         /* bytes */
    uint64_t max_depth;
    uint64_t max_peers;
    uint64_t max_pending; /* bytes */
    uint64_t max_queue;   /* bytes */
    uint64_t max_memory;  /* bytes of the arena in use; 0: a part of the memory of the machine */
    uint64_t gather;      /* microseconds; 0: off */
    uint64_t spin;        /* microseconds; 0: off */
    bool follow;
    enum kv_zeros zeros;
    enum kv_get_state get_state;
    enum kv_log_level log_level;
    bool leash;           /* end when standard input does */
    size_t cookie_length; /* 0 until it is given */
    char cookie[KV_COOKIE_MAX + 1];
};

/* An error text; empty while there is none. */
struct kv_option_error {
    char text[KV_OPTION_ERROR_MAX];
};

enum kv_command { KV_COMMAND_RUN, KV_COMMAND_VERSION, KV_COMMAND_HELP };

/* The defaults. False when ERL_EPMD_PORT, which is one of them, is no port. */
bool kv_options_init(struct kv_options *options, struct kv_option_error *error);

/* Takes the options of the command line, "--option value" or "--option=value". */
bool kv_options_arguments(struct kv_options *options, int argc, char **argv,
                          enum kv_command *command, struct kv_option_error *error);

/* Takes one line of standard input that begins with "--", with a terminator and no newline. The
 * line is never repeated in the error: it might be a cookie. */
bool kv_options_line(struct kv_options *options, char *line, struct kv_option_error *error);

/* Sets the cookie. KV_ENOENT: it is empty; KV_ESIZE: longer than KV_COOKIE_MAX; KV_EEXIST: there is
 * one already. */
int kv_options_cookie(struct kv_options *options, const char *cookie);

/* Sets another one in its place. KV_OK, KV_ENOENT or KV_ESIZE: nothing has changed then. */
int kv_options_new_cookie(struct kv_options *options, const char *cookie);

/* Whether `name` is that of the VM that holds the leash. Never without a leash. */
bool kv_options_is_vm(const struct kv_options *options, struct kv_bytes name);

/* What only holds for all options together, once the last is set. */
bool kv_options_complete(const struct kv_options *options, struct kv_option_error *error);

/* The two parts of the name. */
struct kv_bytes kv_options_alive(const struct kv_options *options);
const char *kv_options_host(const struct kv_options *options);

/* Writes the text of --help: every option with its bounds and its default. False when it could not
 * be written. */
bool kv_options_print_usage(FILE *out);

#endif
