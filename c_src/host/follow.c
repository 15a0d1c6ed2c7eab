#include "host/follow.h"

#ifdef __linux__

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

enum { PROCESSORS = 2 };

bool kv_follow_init(struct kv_follow *follow, bool wanted)
{
    *follow = (struct kv_follow){.processor = -1, .socket = -1};
    follow->able = wanted && sched_getaffinity(0, sizeof(follow->allowed), &follow->allowed) == 0 &&
                   CPU_COUNT(&follow->allowed) == PROCESSORS &&
                   sched_setaffinity(0, sizeof(follow->allowed), &follow->allowed) == 0;
    return follow->able;
}

bool kv_follow_is_local(int socket)
{
    struct sockaddr_storage here = {0};
    struct sockaddr_storage there = {0};
    socklen_t length = sizeof(here);
    if (getsockname(socket, (struct sockaddr *)&here, &length) != 0) {
        return false;
    }
    length = sizeof(there);
    if (getpeername(socket, (struct sockaddr *)&there, &length) != 0) {
        return false;
    }
    if (here.ss_family == AF_INET6) {
        return memcmp(&((struct sockaddr_in6 *)&here)->sin6_addr,
                      &((struct sockaddr_in6 *)&there)->sin6_addr, sizeof(struct in6_addr)) == 0;
    }
    return here.ss_family == AF_INET && ((struct sockaddr_in *)&here)->sin_addr.s_addr ==
                                            ((struct sockaddr_in *)&there)->sin_addr.s_addr;
}

static void release(struct kv_follow *follow)
{
    follow->processor = -1;
    if (sched_setaffinity(0, sizeof(follow->allowed), &follow->allowed) != 0) {
        follow->able = false;
    }
}

static void move_to(struct kv_follow *follow, int processor)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)processor, &one);
    if (sched_setaffinity(0, sizeof(one), &one) == 0) {
        follow->processor = processor;
    } else {
        release(follow); /* the processor was taken from this process */
    }
}

/* The processor on which the last message was sent: if both ends are this host, the sender's thread
 * also does the receiver's part of TCP. -1: not known, or not one that this process may use. */
static int processor_of(const struct kv_follow *follow)
{
    int processor = -1;
    socklen_t length = sizeof(processor);
    if (getsockopt(follow->socket, SOL_SOCKET, SO_INCOMING_CPU, &processor, &length) != 0 ||
        processor < 0 || processor >= CPU_SETSIZE ||
        !CPU_ISSET((unsigned)processor, &follow->allowed)) {
        return -1;
    }
    return processor;
}

void kv_follow_tend(struct kv_follow *follow, bool many, uint64_t messages, uint64_t now)
{
    if (!follow->able || now == follow->looked || (!many && follow->processor < 0)) {
        return;
    }
    bool is_flooded = messages - follow->seen > KV_FOLLOW_MOST * (now - follow->looked);
    int processor = many && !is_flooded && follow->socket >= 0 ? processor_of(follow) : -1;
    if (processor >= 0 && processor != follow->processor) {
        move_to(follow, processor);
    } else if (processor < 0 && follow->processor >= 0) {
        release(follow);
    }
    follow->looked = now;
    follow->seen = messages;
    follow->socket = -1;
}

#else

bool kv_follow_init(struct kv_follow *follow, bool wanted)
{
    (void)wanted;
    *follow = (struct kv_follow){.processor = -1, .socket = -1};
    return false;
}

bool kv_follow_is_local(int socket)
{
    (void)socket;
    return false;
}

void kv_follow_tend(struct kv_follow *follow, bool many, uint64_t messages, uint64_t now)
{
    (void)follow;
    (void)many;
    (void)messages;
    (void)now;
}

#endif
