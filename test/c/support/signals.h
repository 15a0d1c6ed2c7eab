/* Signals for the tests of control messages, and every control message with its bytes. */
#ifndef KV_TEST_SIGNALS_H
#define KV_TEST_SIGNALS_H

#include "support/checks.h"
#include "wire/control.h"
#include "wire/outgoing.h"

#include <criterion/criterion.h>

#define BYTES(text)                                                                                \
    {                                                                                              \
        .data = (const uint8_t *)(text), .length = sizeof(text) - 1                                \
    }

/* The peer is q@vm and this node is kv@h. Both in hex and as structs of include/kv/term.h: */
#define PEER_HEX "58 77 04 7140766d 00000009 00000000 6b0073f1"
#define PEER                                                                                       \
    {                                                                                              \
        .node = BYTES("q@vm"), .id = 9, .serial = 0, .creation = 0x6b0073f1                        \
    }
#define OURS_HEX "58 77 04 6b764068 00000007 00000001 0000002a"
#define OURS                                                                                       \
    {                                                                                              \
        .node = BYTES("kv@h"), .id = 7, .serial = 1, .creation = 42                                \
    }
#define REF_HEX "5a 0003 77 04 7140766d 6b0073f1 00000001 00000002 00000003"
#define REF                                                                                        \
    {                                                                                              \
        .node = BYTES("q@vm"), .creation = 0x6b0073f1, .count = 3, .words = { 1, 2, 3 }            \
    }
#define EMPTY_HEX "77 00"
#define NAME_HEX  "77 02 6b76"
#define NAME      BYTES("kv")
#define TOKEN_HEX "68 02 61 05 6a"
#define TERM_HEX  "77 02 6162"
#define TERM                                                                                       \
    {                                                                                              \
        BYTES("\x77\x02"                                                                           \
              "ab")                                                                                \
    }
#define ARGS_HEX "6c 00000001 61 07 6a"
#define ARGS                                                                                       \
    {                                                                                              \
        BYTES("\x6c\x00\x00\x00\x01\x61\x07\x6a")                                                  \
    }
#define MFA_HEX "68 03 77 01 6d 77 01 66 61 01"
#define MFA                                                                                        \
    {                                                                                              \
        .module = BYTES("m"), .function = BYTES("f"), .arity = 1                                   \
    }
#define OPTS_HEX "6c 00000001 77 04 6c696e6b 6a"
#define OPTS                                                                                       \
    BYTES("\x6c\x00\x00\x00\x01\x77\x04"                                                           \
          "link\x6a")

/* The terms that an element accepts. The tests try all kinds of terms there. */
enum place {
    ANY,
    PEER_PID,
    PID,
    PID_OR_NAME,
    ATOM,
    REFERENCE,
    UNLINK_NUMBER,
    SPAWN_FLAGS,
    CALL,
    OPTIONS
};

struct control_message {
    const char *name;
    int opcode;
    const char *control; /* the elements behind the opcode */
    const char *payload; /* NULL: none */
    enum place places[6];
    unsigned elements;
    struct kv_signal signal;
};

#define PARTS(term) .payload = term, .payload_parts = 1

static const struct control_message CONTROL_MESSAGES[] = {
    {"LINK",
     1,
     PEER_HEX OURS_HEX,
     NULL,
     {PEER_PID, PID},
     2,
     {.kind = KV_SIGNAL_LINK, .from = PEER, .to = OURS}},
    {"SEND",
     2,
     EMPTY_HEX OURS_HEX,
     TERM_HEX,
     {ANY, PID},
     2,
     {.kind = KV_SIGNAL_MESSAGE, .to = OURS, PARTS(TERM)}},
    {"EXIT",
     3,
     PEER_HEX OURS_HEX TERM_HEX,
     NULL,
     {PEER_PID, PID, ANY},
     3,
     {.kind = KV_SIGNAL_EXIT_LINK, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"UNLINK",
     4,
     PEER_HEX OURS_HEX,
     NULL,
     {PEER_PID, PID},
     2,
     {.kind = KV_SIGNAL_UNLINK, .from = PEER, .to = OURS, .unlink_id = 0}},
    {"REG_SEND",
     6,
     PEER_HEX EMPTY_HEX NAME_HEX,
     TERM_HEX,
     {PID, ANY, ATOM},
     3,
     {.kind = KV_SIGNAL_MESSAGE_NAME, .from = PEER, .name = NAME, PARTS(TERM)}},
    {"GROUP_LEADER",
     7,
     PEER_HEX OURS_HEX,
     NULL,
     {PID, PID},
     2,
     {.kind = KV_SIGNAL_GROUP_LEADER, .from = PEER, .to = OURS}},
    {"EXIT2",
     8,
     PEER_HEX OURS_HEX TERM_HEX,
     NULL,
     {PEER_PID, PID, ANY},
     3,
     {.kind = KV_SIGNAL_EXIT, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"SEND_TT",
     12,
     EMPTY_HEX OURS_HEX TOKEN_HEX,
     TERM_HEX,
     {ANY, PID, ANY},
     3,
     {.kind = KV_SIGNAL_MESSAGE, .to = OURS, PARTS(TERM)}},
    {"EXIT_TT",
     13,
     PEER_HEX OURS_HEX TOKEN_HEX TERM_HEX,
     NULL,
     {PEER_PID, PID, ANY, ANY},
     4,
     {.kind = KV_SIGNAL_EXIT_LINK, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"REG_SEND_TT",
     16,
     PEER_HEX EMPTY_HEX NAME_HEX TOKEN_HEX,
     TERM_HEX,
     {PID, ANY, ATOM, ANY},
     4,
     {.kind = KV_SIGNAL_MESSAGE_NAME, .from = PEER, .name = NAME, PARTS(TERM)}},
    {"EXIT2_TT",
     18,
     PEER_HEX OURS_HEX TOKEN_HEX TERM_HEX,
     NULL,
     {PEER_PID, PID, ANY, ANY},
     4,
     {.kind = KV_SIGNAL_EXIT, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"MONITOR_P of a pid",
     19,
     PEER_HEX OURS_HEX REF_HEX,
     NULL,
     {PEER_PID, PID_OR_NAME, REFERENCE},
     3,
     {.kind = KV_SIGNAL_MONITOR, .from = PEER, .to = OURS, .ref = REF}},
    {"MONITOR_P of a name",
     19,
     PEER_HEX NAME_HEX REF_HEX,
     NULL,
     {PEER_PID, PID_OR_NAME, REFERENCE},
     3,
     {.kind = KV_SIGNAL_MONITOR, .by_name = true, .from = PEER, .name = NAME, .ref = REF}},
    {"DEMONITOR_P of a pid",
     20,
     PEER_HEX OURS_HEX REF_HEX,
     NULL,
     {PEER_PID, PID_OR_NAME, REFERENCE},
     3,
     {.kind = KV_SIGNAL_DEMONITOR, .from = PEER, .to = OURS, .ref = REF}},
    {"DEMONITOR_P of a name",
     20,
     PEER_HEX NAME_HEX REF_HEX,
     NULL,
     {PEER_PID, PID_OR_NAME, REFERENCE},
     3,
     {.kind = KV_SIGNAL_DEMONITOR, .by_name = true, .from = PEER, .name = NAME, .ref = REF}},
    {"MONITOR_P_EXIT of a pid",
     21,
     PEER_HEX OURS_HEX REF_HEX TERM_HEX,
     NULL,
     {PID_OR_NAME, PID, REFERENCE, ANY},
     4,
     {.kind = KV_SIGNAL_DOWN, .from = PEER, .to = OURS, .ref = REF, PARTS(TERM)}},
    {"MONITOR_P_EXIT of a name",
     21,
     NAME_HEX OURS_HEX REF_HEX TERM_HEX,
     NULL,
     {PID_OR_NAME, PID, REFERENCE, ANY},
     4,
     {.kind = KV_SIGNAL_DOWN, .by_name = true, .name = NAME, .to = OURS, .ref = REF, PARTS(TERM)}},
    {"SEND_SENDER",
     22,
     PEER_HEX OURS_HEX,
     TERM_HEX,
     {PID, PID},
     2,
     {.kind = KV_SIGNAL_MESSAGE, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"SEND_SENDER_TT",
     23,
     PEER_HEX OURS_HEX TOKEN_HEX,
     TERM_HEX,
     {PID, PID, ANY},
     3,
     {.kind = KV_SIGNAL_MESSAGE, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"PAYLOAD_EXIT",
     24,
     PEER_HEX OURS_HEX,
     TERM_HEX,
     {PEER_PID, PID},
     2,
     {.kind = KV_SIGNAL_EXIT_LINK, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"PAYLOAD_EXIT_TT",
     25,
     PEER_HEX OURS_HEX TOKEN_HEX,
     TERM_HEX,
     {PEER_PID, PID, ANY},
     3,
     {.kind = KV_SIGNAL_EXIT_LINK, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"PAYLOAD_EXIT2",
     26,
     PEER_HEX OURS_HEX,
     TERM_HEX,
     {PEER_PID, PID},
     2,
     {.kind = KV_SIGNAL_EXIT, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"PAYLOAD_EXIT2_TT",
     27,
     PEER_HEX OURS_HEX TOKEN_HEX,
     TERM_HEX,
     {PEER_PID, PID, ANY},
     3,
     {.kind = KV_SIGNAL_EXIT, .from = PEER, .to = OURS, PARTS(TERM)}},
    {"PAYLOAD_MONITOR_P_EXIT of a pid",
     28,
     PEER_HEX OURS_HEX REF_HEX,
     TERM_HEX,
     {PID_OR_NAME, PID, REFERENCE},
     3,
     {.kind = KV_SIGNAL_DOWN, .from = PEER, .to = OURS, .ref = REF, PARTS(TERM)}},
    {"PAYLOAD_MONITOR_P_EXIT of a name",
     28,
     NAME_HEX OURS_HEX REF_HEX,
     TERM_HEX,
     {PID_OR_NAME, PID, REFERENCE},
     3,
     {.kind = KV_SIGNAL_DOWN, .by_name = true, .name = NAME, .to = OURS, .ref = REF, PARTS(TERM)}},
    {"SPAWN_REQUEST",
     29,
     REF_HEX PEER_HEX PEER_HEX MFA_HEX OPTS_HEX,
     ARGS_HEX,
     {REFERENCE, PEER_PID, PID, CALL, OPTIONS},
     5,
     {.kind = KV_SIGNAL_SPAWN_REQUEST,
      .from = PEER,
      .ref = REF,
      .group_leader = PEER,
      .spawn = MFA,
      .spawn_options = OPTS,
      PARTS(ARGS)}},
    {"SPAWN_REQUEST_TT",
     30,
     REF_HEX PEER_HEX PEER_HEX MFA_HEX OPTS_HEX TOKEN_HEX,
     ARGS_HEX,
     {REFERENCE, PEER_PID, PID, CALL, OPTIONS, ANY},
     6,
     {.kind = KV_SIGNAL_SPAWN_REQUEST,
      .from = PEER,
      .ref = REF,
      .group_leader = PEER,
      .spawn = MFA,
      .spawn_options = OPTS,
      PARTS(ARGS)}},
    {"SPAWN_REPLY with a pid",
     31,
     REF_HEX OURS_HEX "61 03" PEER_HEX,
     NULL,
     {REFERENCE, PID, SPAWN_FLAGS, PID_OR_NAME},
     4,
     {.kind = KV_SIGNAL_SPAWN_REPLY, .from = PEER, .to = OURS, .ref = REF, .spawn_flags = 3}},
    {"SPAWN_REPLY with an error",
     31,
     REF_HEX OURS_HEX "61 00" NAME_HEX,
     NULL,
     {REFERENCE, PID, SPAWN_FLAGS, PID_OR_NAME},
     4,
     {.kind = KV_SIGNAL_SPAWN_REPLY, .by_name = true, .name = NAME, .to = OURS, .ref = REF}},
    {"SPAWN_REPLY_TT",
     32,
     REF_HEX OURS_HEX "61 02" PEER_HEX TOKEN_HEX,
     NULL,
     {REFERENCE, PID, SPAWN_FLAGS, PID_OR_NAME, ANY},
     5,
     {.kind = KV_SIGNAL_SPAWN_REPLY, .from = PEER, .to = OURS, .ref = REF, .spawn_flags = 2}},
    {"ALIAS_SEND",
     33,
     PEER_HEX REF_HEX,
     TERM_HEX,
     {PID, REFERENCE},
     2,
     {.kind = KV_SIGNAL_MESSAGE_ALIAS, .from = PEER, .ref = REF, PARTS(TERM)}},
    {"ALIAS_SEND_TT",
     34,
     PEER_HEX REF_HEX TOKEN_HEX,
     TERM_HEX,
     {PID, REFERENCE, ANY},
     3,
     {.kind = KV_SIGNAL_MESSAGE_ALIAS, .from = PEER, .ref = REF, PARTS(TERM)}},
    {"UNLINK_ID",
     35,
     "6e 08 00 ffffffffffffffff" PEER_HEX OURS_HEX,
     NULL,
     {UNLINK_NUMBER, PEER_PID, PID},
     3,
     {.kind = KV_SIGNAL_UNLINK, .from = PEER, .to = OURS, .unlink_id = UINT64_MAX}},
    {"UNLINK_ID_ACK",
     36,
     "61 05" PEER_HEX OURS_HEX,
     NULL,
     {UNLINK_NUMBER, PEER_PID, PID},
     3,
     {.kind = KV_SIGNAL_UNLINK_ACK, .from = PEER, .to = OURS, .unlink_id = 5}},
};

enum { CONTROL_MESSAGE_COUNT = sizeof CONTROL_MESSAGES / sizeof *CONTROL_MESSAGES };

static inline bool same_payload(const struct kv_signal *a, const struct kv_signal *b)
{
    return a->payload_parts == b->payload_parts && kv_bytes_equal(a->payload[0], b->payload[0]);
}

static inline bool same_spawn(const struct kv_signal *a, const struct kv_signal *b)
{
    return kv_bytes_equal(a->spawn.module, b->spawn.module) &&
           kv_bytes_equal(a->spawn.function, b->spawn.function) &&
           a->spawn.arity == b->spawn.arity && kv_bytes_equal(a->spawn_options, b->spawn_options) &&
           kv_pid_equal(&a->group_leader, &b->group_leader) && a->spawn_flags == b->spawn_flags;
}

/* The content of its frame, for a peer with fragments. */
static inline struct kv_buffer whole_frame(const struct control_message *message)
{
    struct kv_buffer elements = from_hex(message->control);
    struct kv_buffer frame = from_hex("83 44 00 68");
    kv_buffer_u8(&frame, (uint8_t)(message->elements + 1));
    kv_buffer_u8(&frame, KV_TAG_SMALL_INTEGER);
    kv_buffer_u8(&frame, (uint8_t)message->opcode);
    kv_buffer_append(&frame, kv_buffer_bytes(&elements));
    if (message->payload != NULL) {
        append_hex(&frame, message->payload);
    }
    kv_buffer_free(&elements);
    return frame;
}

/* Compares every field. Fields that the kind does not use are zero in a zeroed signal. */
static inline void assert_signal(const struct kv_signal *signal, const struct kv_signal *expected,
                                 const char *name)
{
    cr_assert_eq(signal->kind, expected->kind, "%s: kind", name);
    cr_assert_eq(signal->by_name, expected->by_name, "%s: by_name", name);
    cr_assert(kv_pid_equal(&signal->from, &expected->from), "%s: from", name);
    cr_assert(kv_pid_equal(&signal->to, &expected->to), "%s: to", name);
    cr_assert(kv_bytes_equal(signal->name, expected->name), "%s: name", name);
    cr_assert(kv_ref_equal(&signal->ref, &expected->ref), "%s: ref", name);
    cr_assert_eq(signal->unlink_id, expected->unlink_id, "%s: unlink_id", name);
    cr_assert(same_payload(signal, expected), "%s: payload", name);
    cr_assert(same_spawn(signal, expected), "%s: spawn", name);
}

/* The codec of this node for the peer. */
static inline struct kv_codec codec_with(uint64_t flags)
{
    static const struct kv_term_limits limits = {.size = 4096, .depth = 16};
    struct kv_codec codec;
    kv_codec_init(&codec, flags, &limits, kv_bytes_text("kv@h"), kv_bytes_text("q@vm"));
    return codec;
}

/* For one struct at a time: all use the same codec. */
static inline void init_outgoing(struct kv_outgoing *outgoing, uint64_t flags,
                                 const struct kv_hash_key *key)
{
    static struct kv_codec codec;
    codec = codec_with(flags);
    kv_outgoing_init(outgoing, &codec, key);
}

#endif
