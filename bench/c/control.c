#include "control.h"

#include "fail.h"
#include "program.h"

#include <pthread.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    ROUNDS = 500, /* of computing between two looks */
    SLEEP_NS = 50000,
    LOOK_FROM = 100000, /* nanoseconds that may have been somebody else's */
    PAGE = 4096,
    FRESH = 1 << 30, /* bytes, until they are given back */
};

struct watch {
    struct control control;
    int schedule;
    uint64_t last, waited;
};

static struct watch watch_start(void)
{
    struct watch watch = {.schedule = schedule_open(gettid()), .last = now()};
    watch.waited = schedule_waited(watch.schedule);
    return watch;
}

static void look(struct watch *watch)
{
    const uint64_t time = now();
    const uint64_t took = time - watch->last;
    watch->last = time;
    if (took > watch->control.longest) {
        watch->control.longest = took;
    }
    if (took >= LOOK_FROM) {
        const uint64_t waited = schedule_waited(watch->schedule);
        const uint64_t others = waited - watch->waited;
        watch->waited = waited;
        if (took > others && took - others > watch->control.longest_own) {
            watch->control.longest_own = took - others;
        }
        watch->last = now(); /* to read that took its time */
    }
}

static struct control watch_end(const struct watch *watch)
{
    close(watch->schedule);
    return watch->control;
}

static uint64_t end_of(double seconds)
{
    return now() + (uint64_t)(seconds * 1e9);
}

struct computer {
    uint64_t end;
    struct control control;
};

static void *compute(void *argument)
{
    struct computer *computer = argument;
    volatile uint64_t sum = 0;
    struct watch watch = watch_start();
    while (watch.last < computer->end) {
        for (unsigned i = 0; i < ROUNDS; i++) {
            sum = sum * i + 1;
        }
        look(&watch);
    }
    computer->control = watch_end(&watch);
    return NULL;
}

static uint64_t longer(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

struct control control_compute(double seconds)
{
    pthread_t thread;
    struct computer client = {.end = end_of(seconds)};
    struct computer node = client;
    if (pthread_create(&thread, NULL, compute, &node) != 0) {
        FAIL("a thread is wanted");
    }
    (void)compute(&client);
    (void)pthread_join(thread, NULL);
    return (struct control){.longest = longer(client.control.longest, node.control.longest),
                            .longest_own =
                                longer(client.control.longest_own, node.control.longest_own)};
}

struct control control_sleep(double seconds)
{
    const uint64_t end = end_of(seconds);
    const struct timespec pause = {.tv_nsec = SLEEP_NS};
    struct watch watch = watch_start();
    while (watch.last < end) {
        nanosleep(&pause, NULL);
        look(&watch);
    }
    return watch_end(&watch);
}

static uint8_t *fresh_memory(int *file)
{
    *file = memfd_create("control", MFD_CLOEXEC);
    if (*file < 0 || ftruncate(*file, FRESH) != 0) {
        FAIL_ERRNO("memfd_create");
    }
    uint8_t *memory =
        mmap(NULL, FRESH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, *file, 0);
    if (memory == MAP_FAILED) {
        FAIL_ERRNO("mmap");
    }
    return memory;
}

struct control control_touch(double seconds)
{
    const uint64_t end = end_of(seconds);
    int file = -1;
    uint8_t *memory = fresh_memory(&file);
    struct watch watch = watch_start();
    for (size_t at = 0; watch.last < end; at += PAGE) {
        if (at == FRESH) {
            at = 0;
            madvise(memory, FRESH, MADV_REMOVE);
            watch.last = now();
        }
        *(volatile uint8_t *)(memory + at) = 1;
        look(&watch);
    }
    munmap(memory, FRESH);
    close(file);
    return watch_end(&watch);
}
