/* The forms of control messages: what control.c writes and decode.c reads. Nobody else includes
 * this. */
#ifndef KV_WIRE_FORMS_H
#define KV_WIRE_FORMS_H

#include "wire/altact.h"
#include "wire/opcode.h"

#include <kv/signal.h>

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
extern const struct kv_form kv_forms[KV_DOP_LIMIT];

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
