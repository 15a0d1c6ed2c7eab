#include "host/manager.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* sd_notify(3): '@' stands for the zero byte of an abstract address. */
static bool read_address(struct kv_manager *manager, const char *name)
{
    const size_t length = name == NULL ? 0 : strlen(name);
    if (length < 2 || length >= sizeof manager->address.sun_path ||
        (name[0] != '/' && name[0] != '@')) {
        return false;
    }
    manager->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(manager->address.sun_path, name, length);
    if (name[0] == '@') {
        manager->address.sun_path[0] = '\0';
    }
    manager->length =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (name[0] == '@' ? 0 : 1));
    return true;
}

/* A number of the environment; 0 if there is none, or something else. */
static uint64_t number(const char *name)
{
    const char *text = getenv(name);
    char *end = NULL;
    errno = 0;
    const unsigned long long value =
        text == NULL || text[0] < '0' || text[0] > '9' ? 0 : strtoull(text, &end, 10);
    return errno != 0 || (end != NULL && *end != '\0') ? 0 : value;
}

/* sd_watchdog_enabled(3): WATCHDOG_PID, if it is there, says for which process the other is. */
static uint64_t watchdog(void)
{
    const bool is_ours =
        getenv("WATCHDOG_PID") == NULL || number("WATCHDOG_PID") == (uint64_t)getpid();
    return is_ours ? number("WATCHDOG_USEC") : 0;
}

void kv_manager_open(struct kv_manager *manager)
{
    *manager = (struct kv_manager){.fd = -1};
    if (read_address(manager, getenv("NOTIFY_SOCKET"))) {
        manager->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        manager->watchdog_us = watchdog();
    }
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
}

void kv_manager_close(struct kv_manager *manager)
{
    if (manager->fd >= 0) {
        (void)close(manager->fd);
        manager->fd = -1;
    }
}

bool kv_manager_tell(const struct kv_manager *manager, const char *format, ...)
{
    char text[KV_MANAGER_TEXT];
    va_list arguments;
    if (manager->fd < 0) {
        return true;
    }
    va_start(arguments, format);
    const int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const size_t size = length < 0                     ? 0
                        : (size_t)length < sizeof text ? (size_t)length
                                                       : sizeof text - 1;
    return sendto(manager->fd, text, size, MSG_NOSIGNAL, (const struct sockaddr *)&manager->address,
                  manager->length) >= 0 ||
           (errno != EAGAIN && errno != ENOBUFS);
}
