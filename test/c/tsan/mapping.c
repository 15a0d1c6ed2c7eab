/* mmap() and munmap() of this program (ld: --wrap). ThreadSanitizer compares addresses, so that a
 * second mapping of a file that the program has mapped is the first one once more. */
#include "tsan/races.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { MAPPINGS = 64 };

static struct mapping {
    void *base;
    size_t length;
    ino_t file;
    unsigned uses;
} mappings[MAPPINGS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint shared;

void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t length);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *address, size_t length);

unsigned race_shared_mappings(void)
{
    return atomic_load(&shared);
}

/* NULL: of none. */
static struct mapping *mapping_of(ino_t file, const void *base)
{
    for (unsigned i = 0; i < MAPPINGS; i++) {
        if (mappings[i].uses > 0 && (mappings[i].file == file || mappings[i].base == base)) {
            return &mappings[i];
        }
    }
    return NULL;
}

static struct mapping *free_place(void)
{
    for (unsigned i = 0; i < MAPPINGS; i++) {
        if (mappings[i].uses == 0) {
            return &mappings[i];
        }
    }
    race_failed(__FILE__, __LINE__, "a free place");
}

static void *map_file(size_t length, int protection, int flags, int fd, ino_t file)
{
    struct mapping *mapping = mapping_of(file, NULL);
    if (mapping == NULL) {
        void *base = __real_mmap(NULL, length, protection, flags, fd, 0);
        if (base == MAP_FAILED) {
            return base;
        }
        mapping = free_place();
        *mapping = (struct mapping){.base = base, .length = length, .file = file};
    } else {
        atomic_fetch_add(&shared, 1);
    }
    mapping->uses++;
    return mapping->base;
}

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    struct stat status;
    if (fd < 0 || (flags & MAP_SHARED) == 0 || fstat(fd, &status) != 0) {
        return __real_mmap(address, length, protection, flags, fd, offset);
    }
    (void)pthread_mutex_lock(&lock);
    void *base = map_file(length, protection, flags, fd, status.st_ino);
    (void)pthread_mutex_unlock(&lock);
    return base;
}

int __wrap_munmap(void *address, size_t length)
{
    (void)pthread_mutex_lock(&lock);
    struct mapping *mapping = mapping_of(0, address);
    bool last = mapping == NULL || --mapping->uses == 0;
    (void)pthread_mutex_unlock(&lock);
    return last ? __real_munmap(address, length) : 0;
}
