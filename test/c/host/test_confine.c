/* A process that makes only the system calls of a list, with the filter of the real kernel: each
 * test has a process of its own. */
#include "host/confine.h"
#include "host/worker.h"
#include "support/log_pipe.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 16 };

#define ONLY_ASK 0xffffffffUL

static uv_loop_t loop;
static struct kv_log log_;
static struct kv_confine confine;
static char why[KV_CONFINE_TEXT];
static int reader; /* of the pipe that is standard output */

static void set_up(void)
{
    reader = log_pipe_open(&loop, &log_);
}

static void tear_down(void)
{
    kv_confine_stop(&confine);
    log_pipe_close(&loop, &log_, reader);
}

TestSuite(confine, .init = set_up, .fini = tear_down, .timeout = 20);

static void start(void)
{
    cr_assert(kv_confine_start(&confine, &loop, &log_, why), "%s", why);
}

/* No node needs personality(2). */
static void assert_refused(void)
{
    errno = 0;
    cr_assert_eq(personality(ONLY_ASK), -1);
    cr_assert_eq(errno, EPERM);
}

/* The lines that the loop has written. */
static const char *lines(void)
{
    static char text[TEXT_MAX];
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    const ssize_t count = read(reader, text, sizeof text - 1);
    text[count < 0 ? 0 : count] = '\0';
    return text;
}

Test(confine, a_call_outside_the_list_fails_and_is_named_once)
{
    start();
    assert_refused();
    assert_refused();
    const char *said = lines();
    cr_assert_eq(strncmp(said, "log warning the system call personality (", 41), 0, "%s", said);
    cr_assert_eq(strchr(said, '\n') - said + 1, (ptrdiff_t)strlen(said), "%s", said);
    assert_refused();
    cr_assert_str_eq(lines(), "");
}

Test(confine, what_a_node_does_goes_on_without_a_line)
{
    start();
    const int fd = memfd_create("confined", MFD_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "x", 1), 1);
    cr_assert_eq(fsync(fd), 0);
    (void)close(fd);
    static const struct sched_param none = {0};
    cr_assert_eq(sched_setscheduler(0, SCHED_BATCH, &none), 0);
    static const int families[] = {AF_UNIX, AF_INET, AF_NETLINK};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        const int made = socket(families[i], SOCK_DGRAM, 0);
        cr_assert_geq(made, 0);
        (void)close(made);
    }
    cr_assert_str_eq(lines(), "");
}

Test(confine, a_socket_of_another_family_is_refused)
{
    start();
    cr_assert_eq(socket(AF_VSOCK, SOCK_STREAM, 0), -1);
    cr_assert_eq(errno, EPERM);
    cr_assert_not_null(strstr(lines(), "the system call socket ("));
}

Test(confine, a_program_that_is_started_is_refused)
{
    char *const none[] = {NULL};
    start();
    cr_assert_eq(execve("/bin/true", none, none), -1);
    cr_assert_eq(errno, EPERM);
    cr_assert_not_null(strstr(lines(), "the system call execve ("));
}

Test(confine, no_namespace_is_made)
{
    start();
    const long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        _exit(0);
    }
    cr_assert_eq(child, -1);
    cr_assert_eq(errno, EPERM);
    cr_assert_not_null(strstr(lines(), "the system call clone ("));
}

/* ---- threads --------------------------------------------------------------------------------- */

static uv_sem_t go;

static void ask(void *context)
{
    (void)context;
    uv_sem_wait(&go);
    assert_refused();
}

static void assert_thread_is_refused(struct kv_worker *worker)
{
    uv_sem_post(&go);
    kv_worker_join(worker);
    kv_worker_free(worker);
    cr_assert_not_null(strstr(lines(), "personality"));
}

Test(confine, a_thread_that_was_there_is_confined_too)
{
    struct kv_worker worker;
    cr_assert_eq(uv_sem_init(&go, 0), 0);
    cr_assert(kv_worker_start(&worker, ask, NULL));
    start();
    assert_thread_is_refused(&worker);
    uv_sem_destroy(&go);
}

Test(confine, a_thread_that_comes_later_is_confined_too)
{
    struct kv_worker worker;
    start();
    cr_assert_eq(uv_sem_init(&go, 0), 0);
    cr_assert(kv_worker_start(&worker, ask, NULL));
    assert_thread_is_refused(&worker);
    uv_sem_destroy(&go);
}

/* ---- without a filter ------------------------------------------------------------------------ */

Test(confine, a_second_filter_is_refused_in_words)
{
    static struct kv_confine second;
    start();
    cr_assert_not(kv_confine_start(&second, &loop, &log_, why));
    cr_assert_str_eq(why, "--seccomp is in force already");
    (void)close(second.bell.fd);
    kv_seccomp_unload(&second.library);
}

Test(confine, a_check_changes_nothing)
{
    cr_assert(kv_confine_check(why), "%s", why);
    cr_assert_neq(personality(ONLY_ASK), -1);
}
