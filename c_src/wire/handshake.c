#include "wire/handshake.h"

#include "base/endian.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>

enum {
    NAME_FIXED = 15,                 /* 'N', flags:8, creation:4, name length:2 */
    OLD_NAME_FIXED = 7,              /* 'n', version:2, flags:4 */
    CHALLENGE_FIXED = 19,            /* 'N', flags:8, challenge:4, creation:4, name length:2 */
    COMPLEMENT_SIZE = 9,             /* 'c', the high half of the flags:4, creation:4 */
    REPLY_SIZE = 5 + KV_DIGEST_SIZE, /* 'r', challenge:4, digest */
    CHALLENGE_DIGITS = sizeof "4294967295",
};

/* The flags that an old name message has room for. */
#define LOW_FLAGS UINT64_C(0xFFFFFFFF)

bool kv_node_name_ok(struct kv_bytes name)
{
    size_t at = 0;
    size_t count = 0;
    for (size_t i = 0; i < name.length; i++) {
        if (name.data[i] < '!' || name.data[i] > '~') {
            return false;
        }
        if (name.data[i] == '@') {
            at = i;
            count++;
        }
    }
    return count == 1 && at > 0 && at + 1 < name.length && name.length <= KV_NODE_NAME_MAX;
}

int kv_handshake_digest(struct kv_bytes cookie, uint32_t challenge, uint8_t digest[KV_DIGEST_SIZE])
{
    char text[CHALLENGE_DIGITS];
    int digits = snprintf(text, sizeof text, "%u", challenge);
    /* MD5 is what the protocol says, not a choice: where a system-wide policy asks for approved
     * algorithms only, it is fetched all the same, if a provider has it. */
    EVP_MD *md5 = EVP_MD_fetch(NULL, "MD5", "-fips");
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = md5 != NULL && context != NULL && EVP_DigestInit_ex2(context, md5, NULL) == 1 &&
                EVP_DigestUpdate(context, cookie.data, cookie.length) == 1 &&
                EVP_DigestUpdate(context, text, (size_t)digits) == 1 &&
                EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    EVP_MD_free(md5);
    return done ? KV_OK : KV_EDIGEST;
}

void kv_handshake_init(struct kv_handshake *handshake, const struct kv_identity *self,
                       uint32_t challenge)
{
    *handshake = (struct kv_handshake){
        .self = self, .step = KV_HANDSHAKE_AWAIT_NAME, .challenge = challenge};
}

/* ---- sending -------------------------------------------------------------------------------- */

static void send_length(const struct kv_handshake *handshake, struct kv_buffer *out, size_t length)
{
    if (handshake->self->over_tls) {
        kv_buffer_u32(out, (uint32_t)length);
    } else {
        kv_buffer_u16(out, (uint16_t)length);
    }
}

static void send_status(const struct kv_handshake *handshake, struct kv_buffer *out,
                        const char *status)
{
    struct kv_bytes text = kv_bytes_text(status);
    send_length(handshake, out, 1 + text.length);
    kv_buffer_u8(out, 's');
    kv_buffer_append(out, text);
}

/* The peer compares our name byte for byte with the one that it dialled; OTP: recv_challenge_new/2.
 */
static void send_challenge(struct kv_handshake *handshake, struct kv_buffer *out)
{
    const struct kv_identity *self = handshake->self;
    send_length(handshake, out, CHALLENGE_FIXED + self->name.length);
    kv_buffer_u8(out, 'N');
    kv_buffer_u64(out, self->flags);
    kv_buffer_u32(out, handshake->challenge);
    kv_buffer_u32(out, self->creation);
    kv_buffer_u16(out, (uint16_t)self->name.length);
    kv_buffer_append(out, self->name);
    handshake->step = KV_HANDSHAKE_AWAIT_REPLY;
}

void kv_handshake_answer_name(struct kv_handshake *handshake, bool already_connected,
                              struct kv_buffer *out)
{
    if (handshake->step != KV_HANDSHAKE_NAMED) {
        return;
    }
    if (already_connected) {
        send_status(handshake, out, "alive");
        handshake->step = KV_HANDSHAKE_AWAIT_ALIVE;
    } else {
        send_status(handshake, out, "ok");
        send_challenge(handshake, out);
    }
}

void kv_handshake_refuse(struct kv_handshake *handshake, struct kv_buffer *out)
{
    if (handshake->step == KV_HANDSHAKE_NAMED) {
        send_status(handshake, out, "not_allowed");
        handshake->step = KV_HANDSHAKE_REFUSED;
    }
}

void kv_handshake_accept(struct kv_handshake *handshake, struct kv_buffer *out)
{
    if (handshake->step != KV_HANDSHAKE_VERIFIED) {
        return;
    }
    send_length(handshake, out, 1 + KV_DIGEST_SIZE);
    kv_buffer_u8(out, 'a');
    kv_buffer_append(out, kv_bytes(handshake->ack, KV_DIGEST_SIZE));
    handshake->step = KV_HANDSHAKE_DONE;
}

/* ---- receiving -------------------------------------------------------------------------------
 * Each takes the message of one step, without its length, and returns KV_OK or the reason for a
 * refusal. */

/* OTP: dist_util.erl expand_mandatory_25_flag/1. */
static uint64_t expanded(uint64_t flags)
{
    return (flags & KV_DFLAG_MANDATORY_25_DIGEST) != 0 ? flags | KV_DFLAGS_MANDATORY_25 : flags;
}

static bool lacks(uint64_t flags, uint64_t mandatory)
{
    return (flags & mandatory) != mandatory;
}

/* Takes over the content of a name message, if the peer may go on. */
static int named(struct kv_handshake *handshake, struct kv_bytes name, uint64_t mandatory)
{
    if ((handshake->flags & KV_DFLAG_NAME_ME) != 0) {
        return KV_ENAMELESS;
    }
    if (!kv_node_name_ok(name) || kv_bytes_equal(name, handshake->self->name)) {
        return KV_ENAME;
    }
    memcpy(handshake->name, name.data, name.length);
    handshake->name_length = name.length;
    if (lacks(handshake->flags, mandatory)) {
        return KV_EFLAGS;
    }
    handshake->step = KV_HANDSHAKE_NAMED;
    return KV_OK;
}

/* Ignores bytes behind the name: later versions may add some; OTP: dist_util.erl recv_name_new/2.
 */
static int recv_name(struct kv_handshake *handshake, struct kv_bytes message)
{
    if (message.length < NAME_FIXED) {
        return KV_EPROTOCOL;
    }
    size_t length = kv_get16(message.data + 13);
    if (length > message.length - NAME_FIXED) {
        return KV_EPROTOCOL;
    }
    handshake->flags = expanded(kv_get64(message.data + 1));
    handshake->creation = kv_get32(message.data + 9);
    handshake->complemented = true;
    return named(handshake, kv_bytes(message.data + NAME_FIXED, length), KV_DFLAGS_MANDATORY_25);
}

/* The old name message, which OTP 23 and 24 send if EPMD did not tell them our version. Ignores its
 * version field, as OTP does; the flags say more. */
static int recv_old_name(struct kv_handshake *handshake, struct kv_bytes message)
{
    if (message.length < OLD_NAME_FIXED) {
        return KV_EPROTOCOL;
    }
    handshake->old_name = true;
    handshake->flags = expanded(kv_get32(message.data + 3));
    return named(handshake,
                 kv_bytes(message.data + OLD_NAME_FIXED, message.length - OLD_NAME_FIXED),
                 KV_DFLAGS_MANDATORY_25 & LOW_FLAGS);
}

static int recv_any_name(struct kv_handshake *handshake, struct kv_bytes message,
                         struct kv_buffer *out)
{
    int error = KV_EPROTOCOL;
    if (message.data[0] == 'N') {
        error = recv_name(handshake, message);
    } else if (message.data[0] == 'n') {
        error = recv_old_name(handshake, message);
    }
    if (error == KV_ENAME || error == KV_ENAMELESS || error == KV_EFLAGS) {
        send_status(handshake, out, "not_allowed");
    }
    return error;
}

/* "false": the peer does not want this connection any more, which is no fault; OTP: dist_util.erl
 * recv_status/1 at "alive". */
static int recv_alive(struct kv_handshake *handshake, struct kv_bytes message,
                      struct kv_buffer *out)
{
    if (!kv_bytes_is(message, "strue")) {
        return kv_bytes_is(message, "sfalse") ? KV_EEXIST : KV_EPROTOCOL;
    }
    send_challenge(handshake, out);
    return KV_OK;
}

static int recv_complement(struct kv_handshake *handshake, struct kv_bytes message)
{
    if (message.length != COMPLEMENT_SIZE || message.data[0] != 'c') {
        return KV_EPROTOCOL;
    }
    handshake->flags |= (uint64_t)kv_get32(message.data + 1) << 32;
    handshake->creation = kv_get32(message.data + 5);
    handshake->complemented = true;
    if ((handshake->flags & KV_DFLAG_NAME_ME) != 0) {
        return KV_ENAMELESS;
    }
    return lacks(handshake->flags, KV_DFLAGS_MANDATORY_25) ? KV_EFLAGS : KV_OK;
}

static int recv_reply(struct kv_handshake *handshake, struct kv_bytes message)
{
    if (message.length != REPLY_SIZE || message.data[0] != 'r') {
        return KV_EPROTOCOL;
    }
    uint8_t expected[KV_DIGEST_SIZE];
    struct kv_bytes cookie = handshake->self->cookie;
    int error = kv_handshake_digest(cookie, handshake->challenge, expected);
    if (error != KV_OK) {
        return error;
    }
    if (CRYPTO_memcmp(expected, message.data + 5, KV_DIGEST_SIZE) != 0) {
        return KV_ECOOKIE;
    }
    handshake->peer_challenge = kv_get32(message.data + 1);
    error = kv_handshake_digest(cookie, handshake->peer_challenge, handshake->ack);
    if (error == KV_OK) {
        handshake->step = KV_HANDSHAKE_VERIFIED;
    }
    return error;
}

static int recv_message(struct kv_handshake *handshake, struct kv_bytes message,
                        struct kv_buffer *out)
{
    if (handshake->step == KV_HANDSHAKE_AWAIT_NAME) {
        return recv_any_name(handshake, message, out);
    }
    if (handshake->step == KV_HANDSHAKE_AWAIT_ALIVE) {
        return recv_alive(handshake, message, out);
    }
    return handshake->complemented ? recv_reply(handshake, message)
                                   : recv_complement(handshake, message);
}

static bool awaits_message(const struct kv_handshake *handshake)
{
    return handshake->step == KV_HANDSHAKE_AWAIT_NAME ||
           handshake->step == KV_HANDSHAKE_AWAIT_ALIVE ||
           handshake->step == KV_HANDSHAKE_AWAIT_REPLY;
}

/* The head of a TLS record with a handshake, of any version of TLS; RFC 8446, 5.1. As a length it
 * is far over the limit. */
static bool is_tls(struct kv_bytes input)
{
    return input.data[0] == 22 && input.data[1] == 3;
}

static size_t length_size(const struct kv_handshake *handshake)
{
    return handshake->self->over_tls ? sizeof(uint32_t) : sizeof(uint16_t);
}

/* Finds the first message in `input`. Returns KV_OK with an empty one until it is there whole. */
static int next_message(const struct kv_handshake *handshake, struct kv_bytes input,
                        struct kv_bytes *message)
{
    const size_t head = length_size(handshake);
    *message = kv_bytes(NULL, 0);
    if (input.length < head) {
        return KV_OK;
    }
    size_t length = handshake->self->over_tls ? kv_get32(input.data) : kv_get16(input.data);
    if (length == 0) {
        return KV_EPROTOCOL;
    }
    if (length > KV_HANDSHAKE_MAX_MESSAGE) {
        return is_tls(input) && !handshake->self->over_tls ? KV_ETLS : KV_ESIZE;
    }
    if (input.length - head >= length) {
        *message = kv_bytes(input.data + head, length);
    }
    return KV_OK;
}

int kv_handshake_feed(struct kv_handshake *handshake, struct kv_bytes input, size_t *consumed,
                      struct kv_buffer *out)
{
    *consumed = 0;
    if (!awaits_message(handshake)) {
        return KV_OK;
    }
    struct kv_bytes message;
    int error = next_message(handshake, input, &message);
    if (error == KV_OK && message.length > 0) {
        *consumed = length_size(handshake) + message.length;
        error = recv_message(handshake, message, out);
    }
    if (error != KV_OK) {
        handshake->step = KV_HANDSHAKE_REFUSED;
    }
    return error;
}

struct kv_bytes kv_handshake_peer(const struct kv_handshake *handshake)
{
    return kv_bytes(handshake->name, handshake->name_length);
}

uint64_t kv_handshake_common_flags(const struct kv_handshake *handshake)
{
    return handshake->flags & handshake->self->flags;
}
