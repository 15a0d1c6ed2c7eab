/* A node made of what libei offers, as its documentation shows it: one connection, one loop, one
 * table.
 *
 *     ei_node NAME@HOST PORT
 *
 * The first line of standard input is the cookie. The node answers {get, Key}
 * and {put, Key, Value} sent to {bucket, 'NAME@HOST'}; keys are binaries. EPMD knows the node. The
 * monitor of a call has no effect: libei has no monitors. */
#include "fail.h"

#include <arpa/inet.h>
#include <ei.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

enum { SLOTS = 4096, KEY_MAX = 255 };

struct entry {
    struct entry *next;
    char key[KEY_MAX];
    long key_length;
    char *value;
    int value_length;
};

static struct entry *table[SLOTS];

static struct entry **find(const char *key, long length)
{
    uint32_t hash = 2166136261U;
    for (long i = 0; i < length; i++) {
        hash = (hash ^ (uint8_t)key[i]) * 16777619U;
    }
    struct entry **at = &table[hash % SLOTS];
    while (*at && ((*at)->key_length != length || memcmp((*at)->key, key, (size_t)length) != 0)) {
        at = &(*at)->next;
    }
    return at;
}

static void store(const char *key, long key_length, const char *value, int value_length)
{
    struct entry **at = find(key, key_length);
    if (!*at) {
        *at = calloc(1, sizeof(**at));
    }
    if (!*at) {
        FAIL("out of memory");
    }
    struct entry *entry = *at;
    memcpy(entry->key, key, (size_t)key_length);
    entry->key_length = key_length;
    entry->value = realloc(entry->value, (size_t)value_length);
    if (!entry->value) {
        FAIL("out of memory");
    }
    memcpy(entry->value, value, (size_t)value_length);
    entry->value_length = value_length;
}

/* {Operation, Key ...}: appends the answer. */
static bool perform(const char *bytes, int *at, ei_x_buff *reply)
{
    char operation[MAXATOMLEN_UTF8];
    char key[KEY_MAX];
    long key_length = 0;
    int arity = 0;
    int type = 0;
    int size = 0;
    if (ei_decode_tuple_header(bytes, at, &arity) != 0 || arity < 2 ||
        ei_decode_atom(bytes, at, operation) != 0 || ei_get_type(bytes, at, &type, &size) != 0 ||
        type != ERL_BINARY_EXT || size > KEY_MAX ||
        ei_decode_binary(bytes, at, key, &key_length) != 0) {
        return false;
    }
    if (strcmp(operation, "put") == 0) {
        int end = *at;
        ei_skip_term(bytes, &end);
        store(key, key_length, bytes + *at, end - *at);
        return ei_x_encode_atom(reply, "ok") == 0;
    }
    struct entry *entry = *find(key, key_length);
    if (!entry) {
        return ei_x_encode_atom(reply, "nil") == 0;
    }
    return ei_x_append_buf(reply, entry->value, entry->value_length) == 0;
}

/* {'$gen_call', {Pid, Tag}, Request} */
static void answer(int fd, const char *bytes, ei_x_buff *reply)
{
    char atom[MAXATOMLEN_UTF8];
    erlang_pid from;
    int at = 0;
    int version = 0;
    int arity = 0;
    if (ei_decode_version(bytes, &at, &version) != 0 ||
        ei_decode_tuple_header(bytes, &at, &arity) != 0 || arity != 3 ||
        ei_decode_atom(bytes, &at, atom) != 0 || strcmp(atom, "$gen_call") != 0 ||
        ei_decode_tuple_header(bytes, &at, &arity) != 0 || ei_decode_pid(bytes, &at, &from) != 0) {
        return;
    }
    int tag = at;
    ei_skip_term(bytes, &at);
    reply->index = 0;
    ei_x_encode_version(reply);
    ei_x_encode_tuple_header(reply, 2);
    ei_x_append_buf(reply, bytes + tag, at - tag);
    if (perform(bytes, &at, reply)) {
        ei_send(fd, &from, reply->buff, reply->index);
    }
}

static void serve(int fd)
{
    ei_x_buff message;
    ei_x_buff reply;
    ei_x_new(&message);
    ei_x_new(&reply);
    for (;;) {
        erlang_msg what;
        message.index = 0;
        int status = ei_xreceive_msg(fd, &what, &message);
        if (status == ERL_ERROR && erl_errno != EAGAIN) {
            break;
        }
        if (status == ERL_MSG && (what.msgtype == ERL_SEND || what.msgtype == ERL_REG_SEND)) {
            answer(fd, message.buff, &reply);
        }
    }
    ei_x_free(&message);
    ei_x_free(&reply);
    close(fd);
}

int main(int argc, char **argv)
{
    static char name[MAXNODELEN + 1];
    static ei_cnode node;
    char cookie[256];
    struct in_addr loopback = {.s_addr = htonl(INADDR_LOOPBACK)};
    char *host = argc == 3 ? strchr(argv[1], '@') : NULL;
    if (!host || !fgets(cookie, sizeof(cookie), stdin)) {
        FAIL("usage: ei_node NAME@HOST PORT, and the cookie on standard input");
    }
    cookie[strcspn(cookie, "\n")] = '\0';
    int port = (int)number_within(argv[2], 1, UINT16_MAX);
    snprintf(name, sizeof(name), "%.*s", (int)(host - argv[1]), argv[1]);
    ei_init();
    if (ei_connect_xinit(&node, host + 1, name, argv[1], &loopback, cookie, 4) != 0) {
        FAIL("the node cannot be made");
    }
    int listener = ei_xlisten(&node, &loopback, &port, 5);
    if (listener < 0 || ei_publish(&node, port) < 0) {
        FAIL("listening or EPMD: %s", strerror(erl_errno));
    }
    for (;;) {
        ErlConnect peer;
        int fd = ei_accept(&node, listener, &peer);
        if (fd >= 0) {
            serve(fd);
        }
    }
}
