#include "link.h"

#include "base/endian.h"
#include "fail.h"
#include "wire/frame.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* The flags that OTP 25 offers. */
#define FLAGS     0xD07DF7FBCULL
#define CHALLENGE 4711U

enum {
    DIGEST = 16,
    HANDSHAKE_MAX = 512,
    INPUT_CAPACITY = 256 * 1024,
    FRAME_LIMIT = 64 * 1024 * 1024,
    LOOKS_MAX = 100, /* for more input before the process sleeps: some tens of microseconds */
};

static void write_all(int fd, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            FAIL_ERRNO("writing to the node");
        }
        bytes += written;
        length -= (size_t)written;
    }
}

static void read_all(int fd, uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t got = read(fd, bytes, length);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            FAIL("the node closed the connection in the handshake");
        }
        bytes += got;
        length -= (size_t)got;
    }
}

/* ---- handshake: OTP, lib/kernel/src/dist_util.erl -------------------------------------------- */

static void send_message(int fd, const uint8_t *message, size_t length)
{
    uint8_t framed[2 + HANDSHAKE_MAX];
    kv_set16(framed, (uint16_t)length);
    memcpy(framed + 2, message, length);
    write_all(fd, framed, 2 + length);
}

static size_t receive_message(int fd, uint8_t tag, uint8_t *message)
{
    uint8_t header[2];
    read_all(fd, header, sizeof(header));
    size_t length = kv_get16(header);
    if (length == 0 || length > HANDSHAKE_MAX) {
        FAIL("a handshake message of %zu bytes", length);
    }
    read_all(fd, message, length);
    if (message[0] != tag) {
        FAIL("a handshake message '%c' where '%c' was due", message[0], tag);
    }
    return length;
}

static void digest(const char *cookie, uint32_t challenge, uint8_t *to)
{
    char text[HANDSHAKE_MAX];
    int length = snprintf(text, sizeof(text), "%s%u", cookie, challenge);
    if (EVP_Digest(text, (size_t)length, to, NULL, EVP_md5(), NULL) != 1) {
        FAIL("no MD5");
    }
}

static void send_name(int fd)
{
    const size_t length = sizeof(LINK_NODE) - 1;
    uint8_t message[HANDSHAKE_MAX] = {'N'};
    kv_set64(message + 1, FLAGS);
    kv_set32(message + 9, LINK_CREATION);
    kv_set16(message + 13, (uint16_t)length);
    memcpy(message + 15, LINK_NODE, length);
    send_message(fd, message, 15 + length);
}

static void shake_hands(int fd, const char *node, const char *cookie)
{
    uint8_t message[HANDSHAKE_MAX] = {0};
    uint8_t reply[5 + DIGEST] = {'r'};
    uint8_t expected[DIGEST];
    send_name(fd);
    size_t length = receive_message(fd, 's', message);
    if (length != 3 || memcmp(message + 1, "ok", 2) != 0) {
        FAIL("%s refuses: %.*s", node, (int)length - 1, (const char *)message + 1);
    }
    length = receive_message(fd, 'N', message);
    if (length < 19) {
        FAIL("a challenge of %zu bytes", length);
    }
    kv_set32(reply + 1, CHALLENGE);
    digest(cookie, kv_get32(message + 9), reply + 5);
    send_message(fd, reply, sizeof(reply));
    receive_message(fd, 'a', message);
    digest(cookie, CHALLENGE, expected);
    if (memcmp(message + 1, expected, DIGEST) != 0) {
        FAIL("%s has another cookie", node);
    }
}

void link_open(struct link *link, uint16_t port, const char *node, const char *cookie)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int yes = 1;
    *link = (struct link){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (link->fd < 0 || connect(link->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        FAIL_ERRNO("connecting to the node");
    }
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    shake_hands(link->fd, node, cookie);
    link->capacity = INPUT_CAPACITY;
    link->input = malloc(link->capacity);
    if (!link->input) {
        FAIL("out of memory");
    }
}

void link_close(struct link *link)
{
    close(link->fd);
    free(link->input);
    free(link->output);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void reserve(struct link *link, size_t more)
{
    if (link->queued + more <= link->room) {
        return;
    }
    link->room = 2 * (link->queued + more);
    link->output = realloc(link->output, link->room);
    if (!link->output) {
        FAIL("out of memory");
    }
}

void link_queue(struct link *link, const uint8_t *terms, size_t length)
{
    reserve(link, KV_FRAME_HEADER + KV_WHOLE_HEADER + length);
    uint8_t *to = link->output + link->queued;
    kv_set32(to, (uint32_t)(KV_WHOLE_HEADER + length));
    to[4] = KV_TERM_VERSION;
    to[5] = KV_FRAME_WHOLE;
    to[6] = 0;
    memcpy(to + KV_FRAME_HEADER + KV_WHOLE_HEADER, terms, length);
    link->queued += KV_FRAME_HEADER + KV_WHOLE_HEADER + length;
}

void link_flush(struct link *link)
{
    write_all(link->fd, link->output, link->queued);
    link->queued = 0;
}

static void tick(struct link *link)
{
    static const uint8_t nothing[KV_FRAME_HEADER] = {0};
    write_all(link->fd, nothing, sizeof(nothing));
}

/* Large messages, which come in fragments, are not for this peer. */
static bool is_whole(struct kv_bytes frame)
{
    return frame.length > KV_WHOLE_HEADER && frame.data[0] == KV_TERM_VERSION &&
           frame.data[1] == KV_FRAME_WHOLE && frame.data[2] == 0;
}

int link_next_buffered(struct link *link, struct kv_bytes *frame)
{
    for (;;) {
        const struct kv_bytes input = {link->input + link->start, link->end - link->start};
        size_t consumed = 0;
        int status = kv_frame_next(input, FRAME_LIMIT, frame, &consumed);
        if (status == KV_ETRUNCATED) {
            return 0;
        }
        if (status != KV_OK) {
            FAIL("a frame that is too large");
        }
        link->start += consumed;
        if (frame->length == 0) {
            tick(link);
            continue;
        }
        if (!is_whole(*frame)) {
            FAIL("a frame of another form than was asked for");
        }
        frame->data += KV_WHOLE_HEADER;
        frame->length -= KV_WHOLE_HEADER;
        return 1;
    }
}

/* True if the node seems to run on another processor. A sender carries its bytes to the socket of a
 * receiver on the same host, so the processor that did so is the node's. */
static bool node_runs_elsewhere(const struct link *link)
{
    int processor = -1;
    socklen_t length = sizeof(processor);
    return getsockopt(link->fd, SOL_SOCKET, SO_INCOMING_CPU, &processor, &length) == 0 &&
           processor != sched_getcpu();
}

/* To be woken takes longer than the node needs for some of its answers, and it would have to do it.
 * So more is looked for for a while, unless that would keep the node from its processor. */
static ssize_t read_soon(struct link *link, uint8_t *to, size_t room)
{
    const int looks = link->is_apart ? LOOKS_MAX : 0;
    for (int i = 0; i < looks; i++) {
        ssize_t got = recv(link->fd, to, room, MSG_DONTWAIT);
        if (got >= 0 || (errno != EAGAIN && errno != EINTR)) {
            return got;
        }
    }
    return read(link->fd, to, room);
}

static void fill(struct link *link)
{
    memmove(link->input, link->input + link->start, link->end - link->start);
    link->end -= link->start;
    link->start = 0;
    if (link->end == link->capacity) {
        link->capacity *= 2;
        link->input = realloc(link->input, link->capacity);
        if (!link->input) {
            FAIL("out of memory");
        }
    }
    ssize_t got = read_soon(link, link->input + link->end, link->capacity - link->end);
    if (got < 0 && errno == EINTR) {
        return;
    }
    if (got <= 0) {
        FAIL("the node closed the connection");
    }
    link->end += (size_t)got;
    link->is_apart = node_runs_elsewhere(link);
}

void link_next(struct link *link, struct kv_bytes *frame)
{
    while (!link_next_buffered(link, frame)) {
        fill(link);
    }
}
