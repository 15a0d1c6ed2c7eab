#include "wire/epmd.h"

#include "base/endian.h"

enum {
    PORT2_RESP = 119,
    ALIVE2_REQ = 120,
    PORT_PLEASE2_REQ = 122,
    ALIVE2_X_RESP = 118,
    ALIVE2_RESP = 121,
    ALIVE2_REQ_SIZE = 13, /* without the name */
    NODE_TYPE_HIDDEN = 72,
    PROTOCOL_TCP = 0,
    DIST_VERSION = 6, /* announcing 5 would make OTP 23 and 24 send the old name message */
};

void kv_epmd_alive_request(struct kv_buffer *to, struct kv_bytes alive, uint16_t port)
{
    kv_buffer_u16(to, (uint16_t)(ALIVE2_REQ_SIZE + alive.length));
    kv_buffer_u8(to, ALIVE2_REQ);
    kv_buffer_u16(to, port);
    kv_buffer_u8(to, NODE_TYPE_HIDDEN);
    kv_buffer_u8(to, PROTOCOL_TCP);
    kv_buffer_u16(to, DIST_VERSION); /* highest */
    kv_buffer_u16(to, DIST_VERSION); /* lowest */
    kv_buffer_u16(to, (uint16_t)alive.length);
    kv_buffer_append(to, alive);
    kv_buffer_u16(to, 0); /* length of extra */
}

int kv_epmd_alive_response(struct kv_bytes input, uint32_t *creation)
{
    if (input.length == 0) {
        return KV_ETRUNCATED;
    }
    uint8_t tag = input.data[0];
    if (tag != ALIVE2_X_RESP && tag != ALIVE2_RESP) {
        return KV_EPROTOCOL;
    }
    size_t size = tag == ALIVE2_X_RESP ? 6 : 4; /* tag, result, and a creation of 4 or 2 bytes */
    if (input.length < size) {
        return KV_ETRUNCATED;
    }
    if (input.data[1] != 0) {
        return KV_EEXIST;
    }
    *creation = tag == ALIVE2_X_RESP ? kv_get32(input.data + 2) : kv_get16(input.data + 2);
    return KV_OK;
}

void kv_epmd_port_request(struct kv_buffer *to, struct kv_bytes alive)
{
    kv_buffer_u16(to, (uint16_t)(1 + alive.length));
    kv_buffer_u8(to, PORT_PLEASE2_REQ);
    kv_buffer_append(to, alive);
}

int kv_epmd_port_response(struct kv_bytes input)
{
    if (input.length > 0 && input.data[0] != PORT2_RESP) {
        return KV_EPROTOCOL;
    }
    if (input.length < 2) {
        return KV_ETRUNCATED;
    }
    return input.data[1] == 0 ? KV_OK : KV_ENOENT;
}
