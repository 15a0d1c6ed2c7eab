/* A library that stands before some system calls of the program (LD_PRELOAD). Files in the folder
 * that KV_SHIM names tell it what to do, and a test writes and removes them at any time:
 *
 *     pwrite, fdatasync    the number of an errno: the next such call fails with it, once
 *     checkpoint           the number of an errno: no checkpoint gets its name
 *     named                a checkpoint that has got its name waits until the file is gone
 *     stand                writes and syncs wait until the file is gone
 *     slow                 milliseconds, that each read takes more
 *     slow_backup          milliseconds, that each write to a file below a folder backup* takes more
 *     clock                seconds, to be added to the wall clock
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PATH = 512, TEXT = 32, STEP_NS = 5000000 };

static const char *path_of(const char *name, char path[PATH])
{
    const char *folder = getenv("KV_SHIM");
    (void)snprintf(path, PATH, "%s/%s", folder == NULL ? "/nonexistent" : folder, name);
    return path;
}

/* The number in a file; 0: there is no such file. */
static long number_in(const char *name)
{
    char path[PATH];
    char text[TEXT] = "";
    int fd = open(path_of(name, path), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    if (read(fd, text, sizeof text - 1) < 0) {
        text[0] = '\0';
    }
    (void)close(fd);
    return strtol(text, NULL, 10);
}

static void stand(const char *name)
{
    char path[PATH];
    const struct timespec step = {.tv_nsec = STEP_NS};
    while (access(path_of(name, path), F_OK) == 0) {
        (void)nanosleep(&step, NULL);
    }
}

static void be_slow(int fd)
{
    char link[TEXT];
    char path[PATH] = "";
    const long ms = number_in("slow_backup");
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (ms > 0 && readlink(link, path, sizeof path - 1) > 0 && strstr(path, "/backup") != NULL) {
        const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
        (void)nanosleep(&pause, NULL);
    }
}

/* Sets errno, and returns true, if the call must fail. */
static int fails(const char *name)
{
    char path[PATH];
    stand("stand");
    int error = (int)number_in(name);
    if (error != 0) {
        (void)unlink(path_of(name, path));
        errno = error;
    }
    return error != 0;
}

ssize_t pread(int fd, void *to, size_t length, off_t offset)
{
    ssize_t (*next)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, "pread");
    (void)usleep((useconds_t)number_in("slow") * 1000);
    return next(fd, to, length, offset);
}

ssize_t pwrite(int fd, const void *from, size_t length, off_t offset)
{
    ssize_t (*next)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite");
    be_slow(fd);
    return fails("pwrite") ? -1 : next(fd, from, length, offset);
}

int fdatasync(int fd)
{
    int (*next)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return fails("fdatasync") ? -1 : next(fd);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    int (*next)(int, const char *, int, const char *) = dlsym(RTLD_NEXT, "renameat");
    const int names = strncmp(to, "checkpoint", sizeof "checkpoint" - 1) == 0;
    const int error = names ? (int)number_in("checkpoint") : 0;
    if (error != 0) {
        errno = error;
        return -1;
    }
    const int result = next(from_folder, from, to_folder, to);
    if (names) {
        stand("named");
    }
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int (*next)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = next(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) {
        now->tv_sec += number_in("clock");
    }
    return result;
}
