/* A request and a reply over TCP, and nothing else: what is left of a call when nobody does
 * anything for it.
 *
 *     tcp_server PORT
 *
 * A message is a length of 4 bytes and what it counts. A request begins with 4 bytes that say how
 * long its reply is to be. */
#include "base/endian.h"
#include "fail.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 1024, /* also the highest file descriptor */
    EVENTS_MAX = 64,
    HEADER = 4,
    REQUEST_MIN = 8,
    MESSAGE_MAX = 64 * 1024 * 1024,
};

struct client {
    uint8_t *bytes;
    size_t length;
    size_t capacity;
};

static struct client clients[CLIENTS_MAX];
static uint8_t *reply;

static int listen_at(uint16_t port)
{
    const int yes = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, CLIENTS_MAX) != 0) {
        FAIL_ERRNO("listening");
    }
    return fd;
}

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        FAIL_ERRNO("epoll");
    }
}

static void let_in(int epoll, int listener)
{
    const int yes = 1;
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) {
        return;
    }
    if (fd >= CLIENTS_MAX) {
        FAIL("more than %d clients", CLIENTS_MAX);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    watch(epoll, fd);
}

static void let_go(int fd)
{
    free(clients[fd].bytes);
    clients[fd] = (struct client){0};
    close(fd);
}

/* Blocks until all of it is sent: who asked is waiting for it, and has asked nothing else. */
static bool answer(int fd, size_t length)
{
    kv_set32(reply, (uint32_t)length);
    for (size_t sent = 0; sent < HEADER + length;) {
        ssize_t more = send(fd, reply + sent, HEADER + length - sent, MSG_NOSIGNAL);
        if (more <= 0) {
            return false;
        }
        sent += (size_t)more;
    }
    return true;
}

static bool grow(struct client *client, size_t capacity)
{
    if (client->capacity >= capacity) {
        return true;
    }
    uint8_t *bytes = realloc(client->bytes, capacity);
    if (!bytes) {
        return false;
    }
    client->bytes = bytes;
    client->capacity = capacity;
    return true;
}

/* False when the client has gone or says what it must not. */
static bool serve(int fd)
{
    struct client *client = &clients[fd];
    if (!grow(client, client->length + 64 * 1024UL)) {
        return false;
    }
    ssize_t got = recv(fd, client->bytes + client->length, client->capacity - client->length, 0);
    if (got <= 0) {
        return false;
    }
    client->length += (size_t)got;
    if (client->length < REQUEST_MIN) {
        return true;
    }
    const size_t request = kv_get32(client->bytes);
    const size_t wanted = kv_get32(client->bytes + HEADER);
    if (request > MESSAGE_MAX || wanted > MESSAGE_MAX || !grow(client, HEADER + request)) {
        return false;
    }
    if (client->length < HEADER + request) {
        return true;
    }
    client->length = 0;
    return answer(fd, wanted);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        FAIL("usage: tcp_server PORT");
    }
    reply = calloc(1, HEADER + MESSAGE_MAX);
    int listener = listen_at((uint16_t)number_within(argv[1], 1, UINT16_MAX));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!reply || epoll < 0) {
        FAIL_ERRNO("starting");
    }
    watch(epoll, listener);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                let_in(epoll, listener);
            } else if (!serve(fd)) {
                let_go(fd);
            }
        }
    }
}
