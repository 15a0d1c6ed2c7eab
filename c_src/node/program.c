/* The program around the node: what the process needs before there is a node, and the commands of
 * the command line. */
#include "node/check.h"
#include "node/check_config.h"
#include "node/config.h"
#include "node/node.h"
#include "node/salvage.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

enum {
    HEAP_KEPT = 8 << 20,
    MAPPED_FROM = 4 << 20 /* a message of some MiB is no reason to ask the system for memory */
};

/* ---- the process ----------------------------------------------------------------------------- */

/* Otherwise a socket would get the number of a standard stream that is closed. */
static void open_standard_streams(void)
{
    int fd = 0;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* Every peer needs a file descriptor: the usual soft limit of 1024 is too low. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* A node on a leash ends when the leash does. A signal to a whole container, service or terminal is
 * meant for the VM, whose processes still use ours while they stop. Without a leash, most of these
 * signals are ignored, too: there is no file to read again on SIGHUP, and a SIGUSR1, by which a VM
 * writes its crash dump, must not end a node that gets it as well. A reader that is gone, or a file
 * that may not grow (ulimit -f), ends the log and not the node: write(2) fails. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGTERM, SIGINT,  SIGHUP,  SIGQUIT,
                                  SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ};
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        (void)signal(ignored[i], SIG_IGN);
    }
}

/* Without the first two settings malloc would return the memory of each large message to the
 * system, and ask for it again for the next one. Without the last it would keep small blocks apart,
 * and join all of them when a large block is taken or freed: tens of milliseconds once 100,000
 * processes have ended. */
static void keep_some_heap(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_FROM);
    (void)mallopt(M_MXFAST, 0);
#endif
}

/* ---- commands -------------------------------------------------------------------------------- */

static int flushed(int status)
{
    return fflush(stdout) == 0 ? status : (int)KV_FATAL_INTERNAL;
}

/* Keeps the first. */
static void keep_wrong(void *context, const char *text)
{
    struct kv_option_error *wrong = context;
    if (wrong->text[0] == '\0') {
        (void)snprintf(wrong->text, sizeof wrong->text, "%s", text);
    }
}

static bool read_config(struct kv_options *options, struct kv_option_error *wrong)
{
    const struct kv_config_reader reader = {.wrong = keep_wrong, .context = wrong};
    return options->config[0] == '\0' || kv_config_read(options, options->config, &reader);
}

static int main_of(struct kv_node *node, int argc, char **argv)
{
    keep_some_heap();
    ignore_signals();
    kv_core_dump_hold(&node->core_dump);
    struct kv_option_error wrong = {{0}};
    enum kv_command command = KV_COMMAND_RUN;
    bool ok = kv_options_init(&node->options, &wrong);
    ok = kv_options_arguments(&node->options, argc, argv, &command, &wrong) && ok;
    if (command == KV_COMMAND_HELP) {
        return !kv_options_print_usage(stdout);
    }
    if (command == KV_COMMAND_VERSION) {
        return printf("kv_node %s\n", KV_VERSION) < 0 || fflush(stdout) != 0;
    }
    open_standard_streams();
    if (ok && command == KV_COMMAND_CHECK) {
        return flushed((int)kv_check(node->options.check, stdout));
    }
    if (ok && command == KV_COMMAND_SALVAGE) {
        return flushed((int)kv_salvage_folder(node->options.salvage, node->options.to,
                                              node->options.zeros, stdout));
    }
    raise_file_limit();
    if (ok && command == KV_COMMAND_CHECK_CONFIG) {
        return flushed(kv_check_config(&node->options, stdout));
    }
    ok = ok && read_config(&node->options, &wrong);
    return kv_node_run(node, ok, &wrong);
}

/* The node has the cookie and the password of a key; and it is too large for a stack that
 * kv_footing_check() is to refuse. */
int kv_node_main(int argc, char **argv, const struct kv_node_setup *setup)
{
    struct kv_node *node = kv_secret_alloc(sizeof(*node));
    node->setup = setup;
    int status = main_of(node, argc, argv);
    kv_secret_free(node, sizeof(*node));
    return status;
}
