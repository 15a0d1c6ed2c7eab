/* The accepting side of the distribution handshake, version 6, without a socket.
 *
 *     bytes received --> kv_handshake_feed() --> bytes to send, appended to `out`
 *
 * Usual course: NAME -> (the owner tells if the peer is connected already) -> status "ok" and our
 * challenge -> REPLY -> (the owner closes an older connection) -> ack -> DONE.
 *
 * Other courses: a peer that is connected already gets "alive" and must answer "true". The owner
 * must not close the older connection before KV_HANDSHAKE_VERIFIED, when the digest has proved that
 * the newcomer knows the cookie. A peer that sends the old name message ('n') completes its flags
 * with a complement ('c'). A peer gets "not_allowed" if it lacks a mandatory flag, has a bad name,
 * or asks for a name.
 *
 * Failures: wrong version, missing flag, bad name, oversized or unexpected message, wrong cookie.
 * kv_handshake_feed() returns an error once; the owner must send `out` and close the connection.
 * The owner also sets a deadline for the whole handshake, since a peer may stay silent.
 *
 * Over TCP the length before each message has two bytes, and over TLS four; OTP:
 * lib/ssl/src/inet_tls_dist.erl, {packet, 4}.
 *
 * OTP: lib/kernel/src/dist_util.erl, handshake_other_started/1 and the functions that it calls. */
#ifndef KV_WIRE_HANDSHAKE_H
#define KV_WIRE_HANDSHAKE_H

#include <kv/buffer.h>
#include <kv/bytes.h>
#include <kv/error.h>

/* Capability flags, OTP: erts/emulator/beam/dist.h. */
#define KV_DFLAG_PUBLISHED           UINT64_C(0x1)
#define KV_DFLAG_ATOM_CACHE          UINT64_C(0x2)
#define KV_DFLAG_EXTENDED_REFERENCES UINT64_C(0x4)
#define KV_DFLAG_DIST_MONITOR        UINT64_C(0x8)
#define KV_DFLAG_FUN_TAGS            UINT64_C(0x10)
#define KV_DFLAG_DIST_MONITOR_NAME   UINT64_C(0x20)
#define KV_DFLAG_NEW_FUN_TAGS        UINT64_C(0x80)
#define KV_DFLAG_EXTENDED_PIDS_PORTS UINT64_C(0x100)
#define KV_DFLAG_EXPORT_PTR_TAG      UINT64_C(0x200)
#define KV_DFLAG_BIT_BINARIES        UINT64_C(0x400)
#define KV_DFLAG_NEW_FLOATS          UINT64_C(0x800)
#define KV_DFLAG_UNICODE_IO          UINT64_C(0x1000)
#define KV_DFLAG_DIST_HDR_ATOM_CACHE UINT64_C(0x2000)
#define KV_DFLAG_SMALL_ATOM_TAGS     UINT64_C(0x4000)
#define KV_DFLAG_UTF8_ATOMS          UINT64_C(0x10000)
#define KV_DFLAG_MAP_TAG             UINT64_C(0x20000)
#define KV_DFLAG_BIG_CREATION        UINT64_C(0x40000)
#define KV_DFLAG_SEND_SENDER         UINT64_C(0x80000)
#define KV_DFLAG_BIG_SEQTRACE_LABELS UINT64_C(0x100000)
#define KV_DFLAG_EXIT_PAYLOAD        UINT64_C(0x400000)
#define KV_DFLAG_FRAGMENTS           UINT64_C(0x800000)
#define KV_DFLAG_HANDSHAKE_23        UINT64_C(0x1000000)
#define KV_DFLAG_UNLINK_ID           UINT64_C(0x2000000)
#define KV_DFLAG_MANDATORY_25_DIGEST UINT64_C(0x4000000)
#define KV_DFLAG_SPAWN               (UINT64_C(1) << 32)
#define KV_DFLAG_NAME_ME             (UINT64_C(1) << 33)
#define KV_DFLAG_V4_NC               (UINT64_C(1) << 34)
#define KV_DFLAG_ALIAS               (UINT64_C(1) << 35)
#define KV_DFLAG_ALTACT_SIG          (UINT64_C(1) << 37)

/* The flags that MANDATORY_25_DIGEST stands for, and that every peer must have. */
#define KV_DFLAGS_MANDATORY_25 UINT64_C(0x1070F94)

/* The flags that this node offers: all that callers use. Not PUBLISHED, to stay out of global and
 * pg. No atom cache: values are stored byte for byte as they arrive. */
#define KV_DFLAGS_OFFERED UINT64_C(0x2D07DF4FBC)

enum {
    KV_NODE_NAME_MAX = 255,         /* bytes of "alive@host" */
    KV_HANDSHAKE_MAX_MESSAGE = 512, /* bytes of one handshake message of a peer, */
    KV_HANDSHAKE_MAX_LENGTH = 4,    /* and of the length before it */
    KV_COOKIE_MAX = 255,
    KV_DIGEST_SIZE = 16,
};

/* The identity of this node. Must outlive every handshake that uses it. */
struct kv_identity {
    struct kv_bytes name; /* "alive@host" */
    uint64_t flags;
    uint32_t creation;
    struct kv_bytes cookie;
    bool over_tls;
};

enum kv_handshake_step {
    KV_HANDSHAKE_AWAIT_NAME,
    KV_HANDSHAKE_NAMED,       /* the owner must call kv_handshake_answer_name() */
    KV_HANDSHAKE_AWAIT_ALIVE, /* for "true" or "false" after "alive" */
    KV_HANDSHAKE_AWAIT_REPLY, /* for the challenge reply; after 'n', for the complement before it */
    KV_HANDSHAKE_VERIFIED,    /* the owner must call kv_handshake_accept() */
    KV_HANDSHAKE_DONE,        /* further bytes are frames */
    KV_HANDSHAKE_REFUSED,
};

struct kv_handshake {
    const struct kv_identity *self;
    enum kv_handshake_step step;
    uint32_t challenge; /* ours */
    bool old_name;      /* the peer sent 'n' */
    bool complemented;
    /* From the peer: */
    uint64_t flags; /* as it sent them, MANDATORY_25_DIGEST expanded */
    uint32_t creation;
    uint32_t peer_challenge;
    uint8_t ack[KV_DIGEST_SIZE]; /* our answer to its challenge, from step VERIFIED on */
    size_t name_length;
    char name[KV_NODE_NAME_MAX + 1];
};

/* challenge: from a cryptographic random source, a new one for each handshake. */
void kv_handshake_init(struct kv_handshake *handshake, const struct kv_identity *self,
                       uint32_t challenge);

/* Takes at most one whole handshake message from the front of `input` and goes on to the next step.
 * Sets *consumed to the number of bytes taken; 0: wait for more. Appends the bytes to send to
 * `out`. Takes nothing in the steps NAMED, VERIFIED, DONE and REFUSED.
 *
 * Returns KV_OK, or the reason for refusing the connection, in step REFUSED: KV_EPROTOCOL
 * (unexpected or malformed message), KV_ESIZE, KV_ETLS, KV_EFLAGS, KV_ENAME, KV_ENAMELESS (the peer
 * asks for a name), KV_ECOOKIE, KV_EDIGEST, KV_EEXIST (the peer answered "alive" with "false": it
 * wants no second connection). */
int kv_handshake_feed(struct kv_handshake *handshake, struct kv_bytes input, size_t *consumed,
                      struct kv_buffer *out);

/* In step NAMED: sends the status "ok" and the challenge, or "alive" if already_connected. */
void kv_handshake_answer_name(struct kv_handshake *handshake, bool already_connected,
                              struct kv_buffer *out);

/* In step NAMED: sends "not_allowed". The step becomes REFUSED. */
void kv_handshake_refuse(struct kv_handshake *handshake, struct kv_buffer *out);

/* In step VERIFIED: sends the ack. No older connection to the peer may be left. */
void kv_handshake_accept(struct kv_handshake *handshake, struct kv_buffer *out);

/* The peer's "alive@host", from step NAMED on and after a refusal for its flags; else empty. Valid
 * while the handshake exists. */
struct kv_bytes kv_handshake_peer(const struct kv_handshake *handshake);

/* The flags that both sides have. */
uint64_t kv_handshake_common_flags(const struct kv_handshake *handshake);

/* Returns true if `name` has exactly one '@' with at least one byte on each side, at most
 * KV_NODE_NAME_MAX bytes, and only visible ASCII: names are Latin-1 in the handshake, UTF-8 in
 * terms, and appear in log lines. */
bool kv_node_name_ok(struct kv_bytes name);

/* The MD5 of the cookie and the challenge as decimal text; OTP: dist_util:gen_digest/2. Returns
 * KV_OK, or KV_EDIGEST if libcrypto has no MD5 on this system: `digest` is invalid then. */
int kv_handshake_digest(struct kv_bytes cookie, uint32_t challenge, uint8_t digest[KV_DIGEST_SIZE]);

#endif
