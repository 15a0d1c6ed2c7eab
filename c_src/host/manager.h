/* The service manager that has started this process: systemd, or another one that takes the
 * messages of sd_notify(3).
 *
 * The messages are datagrams to the socket in NOTIFY_SOCKET, an interface that systemd keeps stable
 * and lets programs speak themselves (sd_notify(3), "Notes"). libsystemd would bring five libraries
 * more into every start, for the one function that is needed here. */
#ifndef KV_HOST_MANAGER_H
#define KV_HOST_MANAGER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { KV_MANAGER_TEXT = 1024 /* bytes of one message; a longer one is cut */ };

struct kv_manager {
    int fd; /* -1: there is no manager that listens */
    struct sockaddr_un address;
    socklen_t length;     /* of the address */
    uint64_t watchdog_us; /* it wants a sign of life within this time; 0: none */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and removes them from the environment. A
 * name that begins with '@' is an abstract one; anything that is neither that nor a path is
 * ignored. */
void kv_manager_open(struct kv_manager *manager);
void kv_manager_close(struct kv_manager *manager);

/* Sends lines such as "READY=1\nSTATUS=it serves". Never waits. Returns false if the manager misses
 * the message, because others wait for it: send it again. True without a manager, too. */
bool kv_manager_tell(const struct kv_manager *manager, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
