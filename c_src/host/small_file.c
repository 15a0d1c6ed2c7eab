#include "host/small_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PERMISSIONS = 07777, OF_OTHERS = 077 };

static void look(int fd, struct kv_small_file *about)
{
    struct stat found;
    if (fstat(fd, &found) != 0) {
        return;
    }
    const bool is_ours = found.st_uid == geteuid() || found.st_uid == 0;
    *about = (struct kv_small_file){
        .is_regular = S_ISREG(found.st_mode),
        .is_private = is_ours && (found.st_mode & OF_OTHERS) == 0,
        .mode = (unsigned)found.st_mode & PERMISSIONS,
        .owner = (uint64_t)found.st_uid,
    };
}

/* Asks for one byte more than there may be. The buffer never grows: growing would leave a copy. */
static int read_open(int fd, size_t most, struct kv_buffer *to)
{
    const size_t end = to->length + most;
    (void)kv_buffer_reserve(to, most + 1);
    for (;;) {
        const ssize_t count = read(fd, to->data + to->length, end + 1 - to->length);
        if (count > 0) {
            to->length += (size_t)count;
        }
        if (to->length > end) {
            return EFBIG;
        }
        if (count == 0 || (count < 0 && errno != EINTR)) {
            return count == 0 ? 0 : errno;
        }
    }
}

int kv_small_file_read(const char *path, size_t most, struct kv_buffer *to,
                       struct kv_small_file *about)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return errno;
    }
    if (about != NULL) {
        look(fd, about);
    }
    const int error = read_open(fd, most, to);
    (void)close(fd);
    return error;
}

void kv_small_file_forget(struct kv_buffer *content)
{
    if (content->data != NULL) {
        explicit_bzero(content->data, content->capacity);
    }
    kv_buffer_free(content);
}
