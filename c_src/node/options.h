/* The options of the program, from the command line, a file (config.h) and standard input.
 *
 * One table in option_rows.c makes parsing, defaults and --help. Each value is checked when it is
 * set, by option_values.c; the error says which values are right. The cookie is never part of an
 * error. Of two values of one option, the first one counts. */
#ifndef KV_NODE_OPTIONS_H
#define KV_NODE_OPTIONS_H

#include "process/runtime.h"
#include "wire/handshake.h"

#include <stdio.h>

enum {
    KV_HOST_MAX = 255,
    KV_ADDRESS_MAX = 63,  /* "[IPv6]:PORT" */
    KV_FOLDER_MAX = 4000, /* of files, too */
    KV_TEXT_MAX = 4000,
    KV_OPTION_ERROR_MAX = 512, /* bytes of an error text, with its terminator */
};

/* TLS of connections. There is none without a certificate. The names are those of OTP's options. */
struct kv_tls_options {
    char certfile[KV_FOLDER_MAX + 1];
    char keyfile[KV_FOLDER_MAX + 1]; /* empty: the key is in certfile */
    char cacertfile[KV_FOLDER_MAX + 1];
    char dhfile[KV_FOLDER_MAX + 1];
    char password[KV_TEXT_MAX + 1]; /* of the key */
    char ciphers[KV_TEXT_MAX + 1];  /* OpenSSL's names, with ',' between them */
    char hosts[KV_TEXT_MAX + 1]; /* that certificates of peers may be for, with ',' between them */
    uint64_t depth;
    unsigned versions; /* KV_TLS_1_2, KV_TLS_1_3 or both */
    bool verify;
    bool fail_if_no_peer_cert;
};

struct kv_options {
    char name[KV_NODE_NAME_MAX + 1]; /* "alive@host"; empty until it is set */
    char bind[KV_HOST_MAX + 1];      /* empty: the address of the host of the name */
    char vm[KV_NODE_NAME_MAX + 1];   /* the node that holds the leash; empty: unknown */
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
    uint64_t max_memory;  /* bytes of the arena in use; 0: kv_mapping_default_limit() */
    uint64_t gather;      /* microseconds; 0: off */
    uint64_t spin;        /* microseconds; 0: off */
    bool follow;
    uint64_t checkpoint_log;            /* bytes */
    char data_dir[KV_FOLDER_MAX + 1];   /* empty: nothing is kept on disk */
    char backup_dir[KV_FOLDER_MAX + 1]; /* empty: no message may ask for a backup */
    char check[KV_FOLDER_MAX + 1];      /* empty: no such command; so the next two */
    char salvage[KV_FOLDER_MAX + 1];
    char to[KV_FOLDER_MAX + 1];
    bool check_config;
    char config[KV_FOLDER_MAX + 1]; /* empty: none; so the next one */
    char cookie_file[KV_FOLDER_MAX + 1];
    bool no_epmd;
    bool cores;                       /* core dumps are wanted */
    bool seccomp;                     /* kv_confine_start() */
    char metrics[KV_ADDRESS_MAX + 1]; /* kv_options_address(); empty: no figures over HTTP */
    struct kv_tls_options tls;
    enum kv_zeros zeros;
    enum kv_get_state get_state;
    enum kv_log_level log_level;
    bool leash;     /* end when standard input ends */
    uint64_t given; /* the options that have been set: a bit for each row of the table */
    bool has_cookie;
    size_t cookie_length;
    char cookie[KV_COOKIE_MAX + 1]; /* any bytes, and zeros behind them */
};

/* The text of an error; empty if there is none. */
struct kv_option_error {
    char text[KV_OPTION_ERROR_MAX];
};

/* Where an option comes from. */
enum kv_option_source { KV_FROM_ARGUMENT = 1, KV_FROM_FILE = 2, KV_FROM_LINE = 4 };

enum kv_command {
    KV_COMMAND_RUN,
    KV_COMMAND_VERSION,
    KV_COMMAND_HELP,
    KV_COMMAND_CHECK,
    KV_COMMAND_SALVAGE,
    KV_COMMAND_CHECK_CONFIG,
};

/* Sets the defaults. Returns false if the environment variable ERL_EPMD_PORT, the default of
 * --epmd-port, is not a port. */
bool kv_options_init(struct kv_options *options, struct kv_option_error *error);

/* Takes the options of the command line, "--option value" or "--option=value". Modifies `argv`.
 * Returns false at the first that is wrong. --version and --help set `command` and end the reading.
 */
bool kv_options_arguments(struct kv_options *options, int argc, char **argv,
                          enum kv_command *command, struct kv_option_error *error);

/* Takes one line of standard input that begins with "--", with a terminator and no newline.
 * Modifies the line. Returns false if it is wrong. The error never repeats an unknown line, because
 * it might be a cookie. */
bool kv_options_line(struct kv_options *options, char *line, struct kv_option_error *error);

/* Takes an option of a file. `value` is NULL if there is none. `is_private`: only the owner of the
 * file may read it. Returns false if it is wrong. */
bool kv_options_setting(struct kv_options *options, const char *name, const char *value,
                        bool is_private, struct kv_option_error *error);

/* Reads "--cookie=COOKIE" or "--cookie-hex=HEX", with a terminator and no newline. KV_OK: `cookie`
 * points into the line, which has been changed. KV_ENOENT: the line is something else.
 * KV_EPROTOCOL: COOKIE is empty, or HEX is not two hexadecimal digits for each byte. */
int kv_options_cookie_line(char *line, struct kv_bytes *cookie);

/* Sets the first cookie, a copy; it may be empty. KV_ESIZE: it is longer than KV_COOKIE_MAX;
 * KV_EEXIST: there already is a cookie. In both cases nothing has changed. */
int kv_options_cookie(struct kv_options *options, struct kv_bytes cookie);

/* Replaces the cookie, and wipes the old one. KV_OK; or KV_ESIZE, as above. */
int kv_options_new_cookie(struct kv_options *options, struct kv_bytes cookie);

/* Returns true if `name` is the VM that holds the leash. Always false without a leash. */
bool kv_options_is_vm(const struct kv_options *options, struct kv_bytes name);

/* Checks that nothing is missing, once all options are set. */
bool kv_options_complete(const struct kv_options *options, struct kv_option_error *error);

/* The two parts of the name. The host is terminated; both are borrowed from `options`. */
struct kv_bytes kv_options_alive(const struct kv_options *options);
const char *kv_options_host(const struct kv_options *options);

struct sockaddr_storage;

/* Reads "127.0.0.1:9568" or "[::1]:9568". Returns false if the text is neither. */
bool kv_options_address(const char *text, struct sockaddr_storage *address);

/* Writes the text of --help: every option with its bounds and its default. Returns false if a write
 * fails. */
bool kv_options_print_usage(FILE *out);

#endif
