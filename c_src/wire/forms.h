/* The table of control messages, shared by control.c, which writes them, and decode.c, which reads
 * them. No other file includes this. */
#ifndef KV_WIRE_FORMS_H
#define KV_WIRE_FORMS_H

#include "wire/altact.h"
#include "wire/opcode.h"

#include <kv/signal.h>

/* The kinds of elements in a control tuple. */
enum kv_field {
    END,
    UNUSED, /* anything; this node sends the empty atom */
    TOKEN,  /* of seq_trace; never sent */
    SENDER, /* from: must be a process of the peer */
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
    enum kv_field fields[MAX_FIELDS + 1]; /* behind the opcode; END is the last */
};

/* Every control message, by opcode, for both directions. Unused opcodes have no fields. */
extern const struct kv_form kv_forms[KV_DOP_LIMIT];

/* The number of elements of the tuple, with the opcode. */
static inline uint32_t kv_form_arity(const struct kv_form *form)
{
    uint32_t arity = 1;
    for (const enum kv_field *field = form->fields; *field != END; field++) {
        arity += *field == ALTACT ? KV_ALTACT_ELEMENTS : 1;
    }
    return arity;
}

#endif
