#include "host/confine.h"

#include "host/confine_calls.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <ucontext.h>

/* Where the result of a system call is while a signal is handled. */
#if defined(__x86_64__)
#define RESULT(context) ((context)->uc_mcontext.gregs[REG_RAX])
#elif defined(__aarch64__)
#define RESULT(context) ((context)->uc_mcontext.regs[0])
#endif

enum {
    CALLS = 1024, /* numbers of system calls; a larger one counts as the last */
    NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                 CLONE_NEWPID | CLONE_NEWNET
};

enum { UNSEEN, SEEN, TOLD };

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* of the header of the kernel, which does not go with those of glibc */
#endif

/* The handler of a signal has no context: these are the one exception to "no global state". */
static atomic_int bell = -1;
static atomic_uchar calls[CALLS];

/* ---- a call outside the list ----------------------------------------------------------------- */

#ifdef RESULT
static void note(unsigned number)
{
    unsigned char unseen = UNSEEN;
    if (atomic_compare_exchange_strong(&calls[number < CALLS ? number : CALLS - 1], &unseen,
                                       SEEN)) {
        (void)eventfd_write(atomic_load(&bell), 1);
    }
}

/* Runs in the thread that wanted the call. */
static void on_refused(int signal, siginfo_t *about, void *context)
{
    const int saved = errno;
    (void)signal;
    if (about->si_code == SYS_SECCOMP) {
        note((unsigned)about->si_syscall);
        RESULT((ucontext_t *)context) = -EPERM;
    }
    errno = saved;
}

static bool handle_refusals(void)
{
    struct sigaction action = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO};
    (void)sigemptyset(&action.sa_mask);
    return sigaction(SIGSYS, &action, NULL) == 0;
}

static const uint32_t OTHERS = SCMP_ACT_TRAP;
#else
/* Elsewhere such a call fails without a line in the log. */
static bool handle_refusals(void)
{
    return true;
}

static const uint32_t OTHERS = SCMP_ACT_ERRNO(EPERM);
#endif

static void tell(const struct kv_confine *confine, unsigned number)
{
    char *name = confine->library.syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)number);
    kv_log(confine->log, KV_LOG_WARNING,
           "the system call %s (%u) was refused, because of --seccomp: report it, and leave "
           "--seccomp out if something does not work",
           name == NULL ? "without a name" : name, number);
    free(name); /* NOLINT: it is memory of the C library */
}

static void heard(void *context)
{
    const struct kv_confine *confine = context;
    for (unsigned number = 0; number < CALLS; number++) {
        unsigned char seen = SEEN;
        if (atomic_compare_exchange_strong(&calls[number], &seen, TOLD)) {
            tell(confine, number);
        }
    }
}

/* ---- the filter ------------------------------------------------------------------------------ */

/* Returns 0, or an errno. Names that this processor has no call for are passed over. */
static int add(const struct kv_seccomp *library, scmp_filter_ctx filter, uint32_t action,
               const char *name, const struct scmp_arg_cmp *argument)
{
    const int number = library->syscall_resolve_name(name);
    return number < 0 ? 0
                      : -library->rule_add_array(filter, action, number, argument == NULL ? 0 : 1,
                                                 argument);
}

static int add_all(const struct kv_seccomp *library, scmp_filter_ctx filter, uint32_t action,
                   const char *const *names)
{
    int error = 0;
    for (; *names != NULL && error == 0; names++) {
        error = add(library, filter, action, *names, NULL);
    }
    return error;
}

/* Sockets of four families, and threads that make no namespaces. */
static int add_with_arguments(const struct kv_seccomp *library, scmp_filter_ctx filter)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    const struct scmp_arg_cmp flags = SCMP_A0(SCMP_CMP_MASKED_EQ, (uint64_t)NAMESPACES, 0);
    int error = add(library, filter, SCMP_ACT_ALLOW, "clone", &flags);
    for (size_t i = 0; i < sizeof families / sizeof families[0] && error == 0; i++) {
        const struct scmp_arg_cmp family = SCMP_A0(SCMP_CMP_EQ, (uint64_t)families[i]);
        error = add(library, filter, SCMP_ACT_ALLOW, "socket", &family);
    }
    return error;
}

static int fill(const struct kv_seccomp *library, scmp_filter_ctx filter)
{
    int error = -library->attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (error == 0) {
        error = -library->attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
    }
    if (error == 0) {
        error = add_all(library, filter, SCMP_ACT_ALLOW, kv_confine_allowed);
    }
    if (error == 0) {
        error = add_all(library, filter, SCMP_ACT_ERRNO(ENOSYS), kv_confine_absent);
    }
    if (error == 0) {
        error = add_all(library, filter, SCMP_ACT_ERRNO(EPERM), kv_confine_refused);
    }
    return error == 0 ? add_with_arguments(library, filter) : error;
}

/* Returns 0, or an errno. */
static int install(const struct kv_seccomp *library)
{
    scmp_filter_ctx filter = library->init(OTHERS);
    if (filter == NULL) {
        return ENOMEM;
    }
    /* A tree of comparisons instead of a chain; libseccomp before 2.5 has none. */
    (void)library->attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    int error = fill(library, filter);
    if (error == 0) {
        error = -library->load(filter);
    }
    library->release(filter);
    return error;
}

/* ---- the interface --------------------------------------------------------------------------- */

static bool refuse(char why[KV_CONFINE_TEXT], const char *what, const char *reason)
{
    (void)snprintf(why, KV_CONFINE_TEXT, "--seccomp %s%s", what, reason);
    return false;
}

static bool load(struct kv_seccomp *library, char why[KV_CONFINE_TEXT])
{
    return kv_seccomp_load(library) ||
           refuse(why, "needs the library " KV_SECCOMP_LIBRARY ": install libseccomp2", "");
}

bool kv_confine_start(struct kv_confine *confine, uv_loop_t *loop, struct kv_log *log,
                      char why[KV_CONFINE_TEXT])
{
    int none = -1;
    *confine = (struct kv_confine){.log = log};
    if (!load(&confine->library, why)) {
        return false;
    }
    if (!kv_bell_open(&confine->bell, loop, heard, confine)) {
        kv_seccomp_unload(&confine->library);
        return refuse(why, "has no event: ", strerror(EMFILE));
    }
    confine->is_on = true;
    if (!atomic_compare_exchange_strong(&bell, &none, confine->bell.fd)) {
        return refuse(why, "is in force already", "");
    }
    const int error = handle_refusals() ? install(&confine->library) : errno;
    return error == 0 || refuse(why, "cannot be put in force by this system: ", strerror(error));
}

void kv_confine_stop(struct kv_confine *confine)
{
    if (confine->is_on) {
        confine->is_on = false;
        atomic_store(&bell, -1);
        kv_bell_close(&confine->bell, NULL);
        kv_seccomp_unload(&confine->library);
    }
}

bool kv_confine_check(char why[KV_CONFINE_TEXT])
{
    struct kv_seccomp library;
    const bool good = load(&library, why);
    kv_seccomp_unload(&library);
    return good;
}
