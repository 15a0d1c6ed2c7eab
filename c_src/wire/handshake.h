/* The accepting side of the distribution handshake, version 6, without a socket.
 *
 *     feed bytes --> kv_handshake_feed() --> bytes to send are appended to `out`
 *
 * Happy path: NAME -> (the owner says whether that peer is connected already) -> status "ok" and
 * our challenge -> REPLY -> (the owner tears an older connection down) -> ack -> DONE.
 * Alternatives: a peer that is connected already is told "alive" and must answer "true"; the older
 * connection is to be torn down only in KV_HANDSHAKE_VERIFIED, when the digest has shown that the
 * newcomer knows the cookie. A peer that sends the old name message ('n') completes its flags with
 * a complement ('c'). A peer without a mandatory flag, with a bad name, or that asks to be given a
 * name, is told "not_allowed".
 * Failure modes: wrong version, missing flag, bad name, oversized or unexpected message, wrong
 * cookie: kv_handshake_feed() answers an error once and the connection is to be closed after `out`
 * has been sent. Silence is the owner's business: it holds one deadline over the whole handshake.
 *
 * OTP: lib/kernel/src/dist_util.erl, handshake_other_started/1 and what it calls. */
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

/* What MANDATORY_25_DIGEST stands for, and what we demand of every peer. */
#define KV_DFLAGS_MANDATORY_25 UINT64_C(0x1070F94)

/* What this node offers: all that callers use. Not PUBLISHED (we stay out of global and pg), no
 * atom cache (values stay byte-for-byte storable). */
#define KV_DFLAGS_OFFERED UINT64_C(0x2D07DF4FBC)

enum {
    KV_NODE_NAME_MAX = 255,         /* bytes of "alive@host" */
    KV_HANDSHAKE_MAX_MESSAGE = 512, /* bytes of one handshake message of a peer */
    KV_COOKIE_MAX = 255,
    KV_DIGEST_SIZE = 16,
};

/* Who we are. Borrowed by the handshake for as long as it lives. */
struct kv_identity {
    struct kv_bytes name; /* "alive@host" */
    uint64_t flags;
    uint32_t creation;
    struct kv_bytes cookie;
};

enum kv_handshake_step {
    KV_HANDSHAKE_AWAIT_NAME,
    KV_HANDSHAKE_NAMED,       /* the owner must call kv_handshake_answer_name() */
    KV_HANDSHAKE_AWAIT_ALIVE, /* for "true" or "false" after "alive" */
    KV_HANDSHAKE_AWAIT_REPLY, /* for the challenge reply, with the complement before it for 'n' */
    KV_HANDSHAKE_VERIFIED,    /* the owner must call kv_handshake_accept() */
    KV_HANDSHAKE_DONE,        /* bytes behind the handshake, if any, are frames */
    KV_HANDSHAKE_REFUSED,
};

struct kv_handshake {
    const struct kv_identity *self;
    enum kv_handshake_step step;
    uint32_t challenge; /* ours */
    bool old_name;      /* the peer sent 'n' */
    bool complemented;
    /* What the peer said: */
    uint64_t flags; /* as it sent them, MANDATORY_25_DIGEST expanded */
    uint32_t creation;
    uint32_t peer_challenge;
    uint8_t ack[KV_DIGEST_SIZE]; /* the answer to its challenge, from step VERIFIED on */
    size_t name_length;
    char name[KV_NODE_NAME_MAX + 1];
};

/* challenge: from a cryptographic source, new for each handshake. */
void kv_handshake_init(struct kv_handshake *handshake, const struct kv_identity *self,
                       uint32_t challenge);

/* Takes at most one handshake message from the front of `input`, if it is there whole, and steps.
 * *consumed says how many bytes were taken (0: wait for more). What must be sent is appended to
 * `out`. In the steps NAMED, VERIFIED, DONE and REFUSED nothing is taken.
 *
 * KV_OK, or why the connection is refused: KV_EPROTOCOL (an unexpected or misshapen message),
 * KV_ESIZE, KV_EVERSION, KV_EFLAGS, KV_ENAME, KV_ECOOKIE, KV_EDIGEST, KV_EEXIST (the peer answered
 * "alive" with "false": it does not want a second connection); the step is REFUSED then. */
int kv_handshake_feed(struct kv_handshake *handshake, struct kv_bytes input, size_t *consumed,
                      struct kv_buffer *out);

/* In step NAMED: sends the status, and the challenge if that is "ok". */
void kv_handshake_answer_name(struct kv_handshake *handshake, bool already_connected,
                              struct kv_buffer *out);

/* In step NAMED: sends "not_allowed"; the step is REFUSED then. */
void kv_handshake_refuse(struct kv_handshake *handshake, struct kv_buffer *out);

/* In step VERIFIED, when no older connection to that peer is left: sends the ack. */
void kv_handshake_accept(struct kv_handshake *handshake, struct kv_buffer *out);

/* The peer's "alive@host", from step NAMED on, and when it was refused for its flags; otherwise
 * empty. Valid while the handshake lives. */
struct kv_bytes kv_handshake_peer(const struct kv_handshake *handshake);

/* The flags both sides have. */
uint64_t kv_handshake_common_flags(const struct kv_handshake *handshake);

/* Whether `name` is one '@' with something before and behind it, of at most KV_NODE_NAME_MAX bytes,
 * all of them visible ASCII: the name is Latin-1 in the handshake and UTF-8 in terms, and it ends
 * up in log lines. */
bool kv_node_name_ok(struct kv_bytes name);

/* MD5 of the cookie and the challenge as decimal text; OTP: dist_util:gen_digest/2.
 * KV_OK, or KV_EDIGEST: libcrypto has no MD5 on this system (digest is not to be used then). */
int kv_handshake_digest(struct kv_bytes cookie, uint32_t challenge, uint8_t digest[KV_DIGEST_SIZE]);

#endif
