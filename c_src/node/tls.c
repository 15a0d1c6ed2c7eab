#include "node/tls.h"

#include "base/alloc.h"
#include "host/small_file.h"
#include "net/address.h"

#include <netinet/in.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>

enum { CERTIFICATES, KEY, AUTHORITIES, PARAMETERS };

static const char *path_of(const struct kv_tls_options *options, unsigned file)
{
    const char *const paths[KV_TLS_FILES] = {[CERTIFICATES] = options->certfile,
                                             [KEY] = options->keyfile,
                                             [AUTHORITIES] = options->cacertfile,
                                             [PARAMETERS] = options->dhfile};
    return paths[file];
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_there(const struct kv_tls_options *options, unsigned file)
{
    return path_of(options, file)[0] != '\0';
}

static bool read_all(const struct kv_tls_options *options, struct kv_buffer contents[KV_TLS_FILES],
                     char why[KV_OPTION_ERROR_MAX])
{
    for (unsigned i = 0; i < KV_TLS_FILES; i++) {
        const int error =
            is_there(options, i)
                ? kv_small_file_read(path_of(options, i), KV_TLS_FILE_MAX, &contents[i], NULL)
                : 0;
        if (error != 0) {
            (void)snprintf(why, KV_OPTION_ERROR_MAX, "cannot read %.400s: %s", path_of(options, i),
                           strerror(error));
            return false;
        }
    }
    return true;
}

/* The key stays in memory only where OpenSSL has it. */
static void forget(struct kv_buffer contents[KV_TLS_FILES])
{
    for (unsigned i = 0; i < KV_TLS_FILES; i++) {
        kv_small_file_forget(&contents[i]);
    }
}

/* ---- the context ----------------------------------------------------------------------------- */

/* Cuts a text at its commas, in place. Returns the number of pieces. */
static unsigned cut(char *text, const char *pieces[KV_TLS_HOSTS_MAX])
{
    unsigned count = 0;
    char *rest = NULL;
    for (char *piece = strtok_r(text, ",", &rest); piece != NULL && count < KV_TLS_HOSTS_MAX;
         piece = strtok_r(NULL, ",", &rest)) {
        pieces[count++] = piece;
    }
    return count;
}

static void join_by_colons(char *names)
{
    for (; *names != '\0'; names++) {
        if (*names == ',') {
            *names = ':';
        }
    }
}

static struct kv_tls_context *make(const struct kv_tls_options *options,
                                   const struct kv_buffer contents[KV_TLS_FILES],
                                   char why[KV_TLS_WHY_MAX])
{
    const char *hosts[KV_TLS_HOSTS_MAX];
    struct kv_tls_options *own = kv_alloc(sizeof *own); /* too large for a small stack */
    *own = *options;
    join_by_colons(own->ciphers);
    const struct kv_tls_settings settings = {
        .certificates = kv_buffer_bytes(&contents[CERTIFICATES]),
        .key = kv_buffer_bytes(&contents[KEY]),
        .authorities = kv_buffer_bytes(&contents[AUTHORITIES]),
        .dh = kv_buffer_bytes(&contents[PARAMETERS]),
        .password = own->password,
        .ciphers = own->ciphers,
        .versions = own->versions,
        .depth = (int)own->depth,
        .verify = own->verify,
        .must_have = own->fail_if_no_peer_cert,
        .hosts = hosts,
        .host_count = cut(own->hosts, hosts),
    };
    struct kv_tls_context *context = kv_tls_context_new(&settings, why);
    OPENSSL_cleanse(own, sizeof *own);
    kv_free(own);
    return context;
}

static struct kv_tls_context *load(const struct kv_tls_options *options,
                                   char why[KV_OPTION_ERROR_MAX])
{
    struct kv_buffer contents[KV_TLS_FILES] = {KV_BUFFER_INIT};
    struct kv_tls_context *context = NULL;
    char reason[KV_TLS_WHY_MAX] = "";
    if (read_all(options, contents, why)) {
        context = make(options, contents, reason);
        if (context == NULL) {
            (void)snprintf(why, KV_OPTION_ERROR_MAX, "%s (%.200s)", reason, options->certfile);
        }
    }
    forget(contents);
    return context;
}

/* ---- changes of the files -------------------------------------------------------------------- */

/* All zero for a file that is not there. */
static struct kv_tls_stamp stamp_of(const char *path)
{
    struct stat found;
    if (path[0] == '\0' || stat(path, &found) != 0) {
        return (struct kv_tls_stamp){0};
    }
    return (struct kv_tls_stamp){.device = (uint64_t)found.st_dev,
                                 .inode = (uint64_t)found.st_ino,
                                 .size = (uint64_t)found.st_size,
                                 .changed = (uint64_t)found.st_mtim.tv_sec * 1000000000 +
                                            (uint64_t)found.st_mtim.tv_nsec};
}

static bool is_same(const struct kv_tls_stamp *a, const struct kv_tls_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed == b->changed;
}

/* Looks at the files, and returns true if one has changed since the last look. */
static bool have_changed(struct kv_node_tls *tls)
{
    bool changed = false;
    for (unsigned i = 0; i < KV_TLS_FILES; i++) {
        const struct kv_tls_stamp now = stamp_of(path_of(tls->options, i));
        changed = changed || !is_same(&now, &tls->stamps[i]);
        tls->stamps[i] = now;
    }
    return changed;
}

/* The stamps are taken first: a change while the files are read is seen the next time. */
static void renew(struct kv_node_tls *tls)
{
    char why[KV_OPTION_ERROR_MAX] = "";
    struct kv_tls_context *context = load(tls->options, why);
    if (context == NULL) {
        kv_log(tls->log, KV_LOG_ERROR,
               "the files of TLS have changed and cannot be used: %s; the old ones stay in use",
               why);
        return;
    }
    kv_tls_context_drop(tls->context);
    tls->context = context;
    kv_log(tls->log, KV_LOG_NOTICE, "the files of TLS have changed: new ones are in use");
}

/* ---- coming and going ------------------------------------------------------------------------ */

bool kv_node_tls_start(struct kv_node_tls *tls, uv_loop_t *loop,
                       const struct kv_tls_options *options, struct kv_log *log,
                       char why[KV_OPTION_ERROR_MAX])
{
    *tls = (struct kv_node_tls){.options = options, .log = log};
    if (options->certfile[0] == '\0') {
        return true;
    }
    (void)have_changed(tls);
    tls->context = load(options, why);
    if (tls->context == NULL) {
        return false;
    }
    kv_tls_workshop_init(&tls->workshop, loop);
    return true;
}

bool kv_node_tls_check(const struct kv_tls_options *options, char why[KV_OPTION_ERROR_MAX])
{
    struct kv_tls_context *context = options->certfile[0] == '\0' ? NULL : load(options, why);
    const bool good = context != NULL || options->certfile[0] == '\0';
    if (context != NULL) {
        kv_tls_context_drop(context);
    }
    return good;
}

void kv_node_tls_finish(struct kv_node_tls *tls)
{
    if (tls->context != NULL) {
        kv_tls_workshop_finish(&tls->workshop);
        kv_tls_context_drop(tls->context);
        tls->context = NULL;
    }
}

static struct kv_bytes address_bytes(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        return kv_bytes((const uint8_t *)&((const struct sockaddr_in *)address)->sin_addr, 4);
    }
    if (address->ss_family == AF_INET6) {
        return kv_bytes((const uint8_t *)&((const struct sockaddr_in6 *)address)->sin6_addr, 16);
    }
    return kv_bytes(NULL, 0);
}

struct kv_stream *kv_node_tls_secure(struct kv_node_tls *tls, struct kv_stream *plain)
{
    struct sockaddr_storage peer;
    if (have_changed(tls)) {
        renew(tls);
    }
    (void)kv_address_there(plain->socket, &peer);
    struct kv_tls *session = kv_tls_new(tls->context, address_bytes(&peer));
    if (session == NULL) {
        plain->calls = NULL;
        plain->kind->close(plain);
        return NULL;
    }
    return kv_tls_stream_new(&tls->workshop, plain, session);
}
