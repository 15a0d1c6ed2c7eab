/* The forms of control messages: what control.c writes and decode.c reads. Nobody else includes
 * this. */
#ifndef KV_FORMS_H
#define KV_FORMS_H

#include "wire/altact.h"

#include <kv/signal.h>

/* OTP: erts/emulator/beam/dist.h, enum dop. */
enum kv_opcode {
    LINK = 1,
    SEND = 2,
    EXIT = 3,
    UNLINK = 4,
    REG_SEND = 6,
    GROUP_LEADER = 7,
    EXIT2 = 8,
    SEND_TT = 12,
    EXIT_TT = 13,
    REG_SEND_TT = 16,
    EXIT2_TT = 18,
    MONITOR_P = 19,
    DEMONITOR_P = 20,
    MONITOR_P_EXIT = 21,
    SEND_SENDER = 22,
    SEND_SENDER_TT = 23,
    PAYLOAD_EXIT = 24,
    PAYLOAD_EXIT_TT = 25,
    PAYLOAD_EXIT2 = 26,
    PAYLOAD_EXIT2_TT = 27,
    PAYLOAD_MONITOR_P_EXIT = 28,
    SPAWN_REQUEST = 29,
    SPAWN_REQUEST_TT = 30,
    SPAWN_REPLY = 31,
    SPAWN_REPLY_TT = 32,
    ALIAS_SEND = 33,
    ALIAS_SEND_TT = 34,
    UNLINK_ID = 35,
    UNLINK_ID_ACK = 36,
    ALTACT_SIG_SEND = 37,
    OPCODE_LIMIT,
    DROPPED = 0, /* no opcode: the signal is not sent */
};

/* What an element of a control tuple is. */
enum kv_field {
    END,
    UNUSED, /* anything; we send the empty atom there */
    TOKEN,  /* of seq_trace; never sent */
    SENDER, /* from: a process of the peer */
    FROM,   /* from: any pid */
    FROM_OR_NAME,
    TO,
    TO_OR_NAME,
    NAME,
    REF,
    ID,      /* of an unlink */
    REASON,  /* the payload, inside the tuple */
    FLAGS,   /* of a spawn reply */
    LEADER,  /* the group leader of a new process */
    MFA,     /* {Module, Function, Arity} */
    OPTIONS, /* of a spawn request */
    ALTACT,  /* several elements: wire/altact.h */
};

enum { MAX_FIELDS = 6 };

struct kv_form {
    bool payload; /* a second term follows the tuple */
    enum kv_signal_kind kind;
    enum kv_field fields[MAX_FIELDS + 1]; /* behind the opcode, up to END */
};

/* Every control message, by its opcode, for both directions; one without fields is none. */
extern const struct kv_form kv_forms[OPCODE_LIMIT];

/* How many elements the tuple has, with the opcode. */
static inline uint32_t kv_form_arity(const struct kv_form *form)
{
    uint32_t arity = 1;
    for (const enum kv_field *field = form->fields; *field != END; field++) {
        arity += *field == ALTACT ? KV_ALTACT_ELEMENTS : 1;
    }
    return arity;
}

#endif
