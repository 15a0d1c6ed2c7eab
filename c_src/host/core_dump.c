#include "host/core_dump.h"

#include "base/alloc.h"

#include <string.h>
#include <sys/mman.h>

/* Linux: a limit of 0 keeps a core from a file, but not from a program to which the kernel pipes
 * it, as core(5) says of kernel.core_pattern with '|'. 1 keeps it from both: fs/coredump.c. */
enum { NO_CORE = 1 };

void kv_core_dump_hold(struct kv_core_dump *dump)
{
    dump->known = getrlimit(RLIMIT_CORE, &dump->before) == 0;
    if (dump->known) {
        const struct rlimit held = {.rlim_cur = NO_CORE, .rlim_max = dump->before.rlim_max};
        (void)setrlimit(RLIMIT_CORE, &held); /* fails if the limit is 0 for good */
    }
}

void kv_core_dump_decide(const struct kv_core_dump *dump, bool wanted)
{
    static const struct rlimit none = {.rlim_cur = NO_CORE, .rlim_max = NO_CORE};
    if (!wanted) {
        (void)setrlimit(RLIMIT_CORE, &none);
    } else if (dump->known) {
        (void)setrlimit(RLIMIT_CORE, &dump->before);
    }
}

void *kv_secret_alloc(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        kv_out_of_memory(size);
    }
#ifdef MADV_DONTDUMP
    (void)madvise(pages, size, MADV_DONTDUMP);
#endif
    return pages;
}

void kv_secret_free(void *secret, size_t size)
{
    explicit_bzero(secret, size);
    (void)munmap(secret, size);
}
