/* The opcodes of control messages and the flags of ALTACT_SIG_SEND.
 *
 * OTP: erts/emulator/beam/dist.h, enum dop and ERTS_DOP_ALTACT_SIG_FLG_*. */
#ifndef KV_WIRE_OPCODE_H
#define KV_WIRE_OPCODE_H

enum kv_opcode {
    KV_DOP_NONE = 0, /* no opcode: the signal is not sent */
    KV_DOP_LINK = 1,
    KV_DOP_SEND = 2,
    KV_DOP_EXIT = 3,
    KV_DOP_UNLINK = 4,
    KV_DOP_REG_SEND = 6,
    KV_DOP_GROUP_LEADER = 7,
    KV_DOP_EXIT2 = 8,
    KV_DOP_SEND_TT = 12,
    KV_DOP_EXIT_TT = 13,
    KV_DOP_REG_SEND_TT = 16,
    KV_DOP_EXIT2_TT = 18,
    KV_DOP_MONITOR_P = 19,
    KV_DOP_DEMONITOR_P = 20,
    KV_DOP_MONITOR_P_EXIT = 21,
    KV_DOP_SEND_SENDER = 22,
    KV_DOP_SEND_SENDER_TT = 23,
    KV_DOP_PAYLOAD_EXIT = 24,
    KV_DOP_PAYLOAD_EXIT_TT = 25,
    KV_DOP_PAYLOAD_EXIT2 = 26,
    KV_DOP_PAYLOAD_EXIT2_TT = 27,
    KV_DOP_PAYLOAD_MONITOR_P_EXIT = 28,
    KV_DOP_SPAWN_REQUEST = 29,
    KV_DOP_SPAWN_REQUEST_TT = 30,
    KV_DOP_SPAWN_REPLY = 31,
    KV_DOP_SPAWN_REPLY_TT = 32,
    KV_DOP_ALIAS_SEND = 33,
    KV_DOP_ALIAS_SEND_TT = 34,
    KV_DOP_UNLINK_ID = 35,
    KV_DOP_UNLINK_ID_ACK = 36,
    KV_DOP_ALTACT_SIG_SEND = 37,
    KV_DOP_LIMIT,
};

enum {
    KV_ALTACT_TOKEN = 2,
    KV_ALTACT_ALIAS = 4,
    KV_ALTACT_NAME = 8,
    KV_ALTACT_EXIT = 16,
};

#endif
