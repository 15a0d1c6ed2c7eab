#include "node/check_config.h"

#include "host/confine.h"
#include "host/folder.h"
#include "host/shared_memory.h"
#include "net/epmd_client.h"
#include "node/config.h"
#include "node/data_parts.h"
#include "node/fatal.h"
#include "node/findings.h"
#include "node/footing.h"
#include "node/metrics.h"
#include "node/place.h"
#include "node/tls.h"
#include "store/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum { TEXT = KV_LOG_LINE_MAX, FILES_BESIDE_PEERS = 64, SHOWN = 400 };

struct check {
    struct kv_options *options;
    FILE *out;
    unsigned wrong; /* things that would keep the node from starting */
    int status;     /* of the first */
};

static void good(const struct check *check, const char *word, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void good(const struct check *check, const char *word, const char *format, ...)
{
    char text[TEXT];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    kv_findings_line(check->out, word, "ok%s%s", text[0] == '\0' ? "" : ": ", text);
}

static void bad(struct check *check, const char *word, enum kv_fatal reason, const char *format,
                ...) __attribute__((format(printf, 4, 5)));

static void bad(struct check *check, const char *word, enum kv_fatal reason, const char *format,
                ...)
{
    char text[TEXT];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    kv_findings_line(check->out, word, "would fail (%s): %s", kv_fatal_word(reason), text);
    check->status = check->wrong == 0 ? (int)reason : check->status;
    check->wrong++;
}

/* ---- options and cookie ---------------------------------------------------------------------- */

static void wrong_option(void *context, const char *text)
{
    bad(context, "options", KV_FATAL_BAD_OPTION, "%s", text);
}

/* Returns true if the options are complete. */
static bool check_options(struct check *check)
{
    const struct kv_config_reader reader = {.wrong = wrong_option, .context = check};
    struct kv_option_error error = {{0}};
    struct kv_options *options = check->options;
    const bool read =
        options->config[0] == '\0' || kv_config_read(options, options->config, &reader);
    const bool complete = kv_options_complete(options, &error);
    if (!complete) {
        wrong_option(check, error.text);
    }
    if (read && complete) {
        good(check, "options", "%s", options->config);
    }
    return complete;
}

static void check_cookie(struct check *check)
{
    struct kv_option_error why = {{0}};
    if (check->options->cookie_file[0] == '\0') {
        kv_findings_line(check->out, "cookie", "not checked: it comes by standard input");
    } else if (kv_config_cookie(check->options, &why)) {
        good(check, "cookie", "%.*s", SHOWN, check->options->cookie_file);
    } else {
        bad(check, "cookie", KV_FATAL_NO_COOKIE, "%s", why.text);
    }
}

/* ---- limits and memory ----------------------------------------------------------------------- */

static void check_limits(struct check *check)
{
    char text[KV_FOOTING_TEXT_MAX];
    struct rlimit files;
    if (kv_footing_check(text) != NULL) {
        bad(check, "limits", KV_FATAL_INTERNAL, "%s", text);
        return;
    }
    const uint64_t wanted = check->options->max_peers + FILES_BESIDE_PEERS;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max < wanted) {
        good(check, "limits",
             "but at most %" PRIu64 " files can be open, too few for --max-peers %" PRIu64
             ": raise the hard limit (ulimit -Hn)",
             (uint64_t)files.rlim_max, check->options->max_peers);
        return;
    }
    good(check, "limits", "%s", "");
}

static void check_seccomp(struct check *check)
{
    char why[KV_CONFINE_TEXT];
    if (!check->options->seccomp) {
        return;
    }
    if (kv_confine_check(why)) {
        good(check, "seccomp", "%s", "");
    } else {
        bad(check, "seccomp", KV_FATAL_INTERNAL, "%s", why);
    }
}

static void check_memory(struct check *check)
{
    struct kv_mapping mapping = {.fd = -1};
    char of[SHOWN] = "";
    const uint64_t limit = check->options->max_memory > 0 ? check->options->max_memory
                                                          : kv_mapping_default_limit(of, sizeof of);
    if (!kv_mapping_open(&mapping, kv_mapping_reserve(limit, KV_ARENA_RESERVE_MAX))) {
        bad(check, "memory", KV_FATAL_INTERNAL,
            "no address space for %" PRIu64 " bytes of buckets: raise the limit (ulimit -v)",
            limit);
        return;
    }
    if (mapping.fd < 0) {
        good(check, "memory", "%" PRIu64 " bytes, which no other process can read: %s: %s", limit,
             mapping.flaw, strerror(mapping.error));
    } else if (mapping.size < limit) {
        good(check, "memory", "but only %" PRIu64 " of %" PRIu64 " bytes (ulimit -v, ulimit -f)",
             mapping.size, limit);
    } else {
        good(check, "memory", "%" PRIu64 " bytes%s%s", limit,
             of[0] == '\0' ? "" : ", three quarters of ", of);
    }
    kv_mapping_close(&mapping);
}

/* ---- folders --------------------------------------------------------------------------------- */

static bool may_use(const char *folder)
{
    return faccessat(AT_FDCWD, folder, R_OK | W_OK | X_OK, AT_EACCESS) == 0;
}

/* It would be made, if the folder above lets this user do so. */
static void check_new_folder(struct check *check, const char *path)
{
    char copy[KV_FOLDER_MAX + 1];
    (void)snprintf(copy, sizeof copy, "%s", path);
    if (may_use(dirname(copy))) {
        good(check, "data-dir", "%.*s will be made", SHOWN, path);
    } else {
        bad(check, "data-dir", KV_FATAL_DATA_DIR, "data folder %.*s: cannot make it: %s%s", SHOWN,
            path, strerror(errno), kv_folder_advice(errno));
    }
}

static void check_store(struct check *check, struct kv_folder *folder, const char *path)
{
    uint8_t block[KV_FOLDER_BLOCK];
    char text[KV_DATA_TEXT_MAX];
    struct kv_store_block store;
    const int error = kv_folder_read_store(folder, block);
    if (error == KV_OK && !kv_data_store_fits(block, path, check->options->zeros, &store, text)) {
        bad(check, "data-dir", KV_FATAL_DATA_DIR, "%s", text);
    } else if (error == KV_OK || error == KV_ENOENT) {
        good(check, "data-dir", "%.*s (kv_node --check looks into it)", SHOWN, path);
    } else {
        bad(check, "data-dir", KV_FATAL_DATA_DIR, "%s", folder->text);
    }
}

static void check_data_dir(struct check *check)
{
    const char *path = check->options->data_dir;
    struct kv_folder folder;
    struct stat found;
    if (path[0] == '\0') {
        return;
    }
    if (stat(path, &found) != 0 && errno == ENOENT) {
        check_new_folder(check, path);
        return;
    }
    const int error = kv_folder_open_to_read(&folder, path);
    if (error != KV_OK) {
        bad(check, "data-dir", KV_FATAL_DATA_DIR, "%s", folder.text);
    } else if (!may_use(path)) {
        bad(check, "data-dir", KV_FATAL_DATA_DIR, "data folder %.*s: cannot use it: %s%s", SHOWN,
            path, strerror(errno), kv_folder_advice(errno));
    } else {
        check_store(check, &folder, path);
    }
    kv_folder_close(&folder);
}

/* A node starts without it, and then makes no backup. */
static void check_backup_dir(const struct check *check)
{
    const char *path = check->options->backup_dir;
    if (path[0] != '\0' && may_use(path)) {
        good(check, "backup-dir", "%.*s", SHOWN, path);
    } else if (path[0] != '\0') {
        good(check, "backup-dir", "but no backup can be made in %.*s: %s%s", SHOWN, path,
             strerror(errno), kv_folder_advice(errno));
    }
}

/* ---- TLS and network ------------------------------------------------------------------------- */

static void check_tls(struct check *check)
{
    char why[KV_OPTION_ERROR_MAX] = "";
    if (!kv_node_tls_check(&check->options->tls, why)) {
        bad(check, "tls", KV_FATAL_TLS, "%s", why);
    } else if (check->options->tls.certfile[0] != '\0') {
        good(check, "tls", "%.*s", SHOWN, check->options->tls.certfile);
    }
}

/* As libuv does it. Returns 0, or an error of libuv. */
static int try_to_listen(const struct sockaddr *address, socklen_t size)
{
    const int yes = 1;
    const int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    const bool listens = bind(fd, address, size) == 0 && listen(fd, 1) == 0;
    const int error = listens ? 0 : -errno;
    (void)close(fd);
    return error;
}

/* Sets *inet6. Returns false if there is no address. */
static bool check_address(struct check *check, bool *inet6)
{
    const struct kv_options *options = check->options;
    const struct addrinfo hints = kv_place_hints();
    struct addrinfo *found = NULL;
    uv_getaddrinfo_t lookup;
    char port[sizeof "65535"];
    char text[KV_PLACE_SENTENCE];
    uv_loop_t loop;
    if (uv_loop_init(&loop) != 0) {
        return false;
    }
    (void)snprintf(port, sizeof port, "%u", (unsigned)(uint16_t)options->port);
    const int unknown = uv_getaddrinfo(&loop, &lookup, NULL, kv_place_host(options), port, &hints);
    (void)uv_loop_close(&loop);
    found = unknown == 0 ? lookup.addrinfo : NULL;
    const struct addrinfo *place = kv_place_choose(found);
    if (place == NULL) {
        kv_place_unresolved(options, unknown, text);
        bad(check, "address", KV_FATAL_HOST_UNRESOLVED, "%s", text);
        return false;
    }
    *inet6 = place->ai_family == AF_INET6;
    const int error = try_to_listen(place->ai_addr, place->ai_addrlen);
    if (error != 0) {
        kv_place_cannot_listen(options, error, text);
        bad(check, "address", KV_FATAL_PORT_TAKEN, "%s", text);
    } else {
        good(check, "address", "%s port %u", kv_place_host(options), (unsigned)options->port);
    }
    uv_freeaddrinfo(found);
    return true;
}

static void check_metrics(struct check *check)
{
    char text[KV_OPTION_ERROR_MAX];
    struct sockaddr_storage address;
    if (!kv_options_address(check->options->metrics, &address)) {
        return;
    }
    const bool inet6 = address.ss_family == AF_INET6;
    struct kv_mhd mhd;
    const int error = !kv_mhd_load(&mhd) ? UV_ENOSYS
                                         : try_to_listen((const struct sockaddr *)&address,
                                                         inet6 ? sizeof(struct sockaddr_in6)
                                                               : sizeof(struct sockaddr_in));
    kv_mhd_unload(&mhd);
    if (error != 0) {
        kv_node_metrics_refused(check->options, error, text);
        bad(check, "metrics", KV_FATAL_PORT_TAKEN, "%s", text);
    } else {
        good(check, "metrics", "%s", check->options->metrics);
    }
}

/* Connects to EPMD. Returns a socket that waits for a bounded time, or -1 with errno. */
static int connect_to_epmd(const struct kv_options *options, bool inet6)
{
    struct sockaddr_storage address = {0};
    const struct timeval patience = {.tv_sec = KV_EPMD_ANSWER_MS / 1000};
    const int fd = socket(inet6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    kv_epmd_where(inet6, (unsigned)options->epmd_port, &address);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&address,
                inet6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in)) != 0) {
        const int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Asks for the name. Returns as kv_epmd_port_response(), with KV_ETRUNCATED for no answer. */
static int ask_epmd(const struct kv_options *options, int fd)
{
    struct kv_buffer request = KV_BUFFER_INIT;
    uint8_t answer[KV_EPMD_ANSWER_MAX];
    size_t length = 0;
    int result = KV_ETRUNCATED;
    kv_epmd_port_request(&request, kv_options_alive(options));
    ssize_t count = send(fd, request.data, request.length, MSG_NOSIGNAL);
    kv_buffer_free(&request);
    while (count > 0 && result == KV_ETRUNCATED && length < sizeof answer) {
        count = recv(fd, answer + length, sizeof answer - length, 0);
        length += count > 0 ? (size_t)count : 0;
        result = kv_epmd_port_response(kv_bytes(answer, length));
    }
    return result;
}

static void check_epmd(struct check *check, bool inet6)
{
    const struct kv_options *options = check->options;
    const unsigned port = (unsigned)options->epmd_port;
    const struct kv_bytes alive = kv_options_alive(options);
    if (options->no_epmd) {
        good(check, "epmd", "not needed");
        return;
    }
    const int fd = connect_to_epmd(options, inet6);
    const int error = errno;
    const int answer = fd < 0 ? KV_OK : ask_epmd(options, fd);
    if (fd < 0) {
        bad(check, "epmd", KV_FATAL_NO_EPMD, KV_EPMD_NOT_THERE, kv_epmd_address(inet6), port,
            strerror(error));
    } else if (answer == KV_OK) {
        bad(check, "epmd", KV_FATAL_NAME_TAKEN, KV_EPMD_TAKEN, port, (int)alive.length,
            (const char *)alive.data);
    } else if (answer != KV_ENOENT) {
        bad(check, "epmd", KV_FATAL_NO_EPMD, KV_EPMD_NOT_THERE, kv_epmd_address(inet6), port,
            answer == KV_ETRUNCATED ? "no answer" : "what answers there is no EPMD");
    } else {
        good(check, "epmd", "EPMD answers at %s:%u", kv_epmd_address(inet6), port);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

int kv_check_config(struct kv_options *options, FILE *out)
{
    struct check check = {.options = options, .out = out};
    bool inet6 = false;
    const bool complete = check_options(&check);
    check_cookie(&check);
    check_limits(&check);
    check_seccomp(&check);
    check_memory(&check);
    check_data_dir(&check);
    check_backup_dir(&check);
    check_tls(&check);
    check_metrics(&check);
    if (complete && check_address(&check, &inet6)) {
        check_epmd(&check, inet6);
    }
    if (check.wrong == 0) {
        kv_findings_line(out, "result", "the node would start");
    } else {
        kv_findings_line(out, "result", "the node would not start: %u thing%s to mend", check.wrong,
                         check.wrong == 1 ? "" : "s");
    }
    return check.status;
}
