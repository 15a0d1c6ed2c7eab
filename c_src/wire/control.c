#include "wire/control.h"

#include "base/endian.h"
#include "wire/altact.h"
#include "wire/forms.h"
#include "wire/frame.h"
#include "wire/handshake.h"

#define PLAIN(kind, ...)                                                                           \
    {                                                                                              \
        false, KV_SIGNAL_##kind,                                                                   \
        {                                                                                          \
            __VA_ARGS__, END                                                                       \
        }                                                                                          \
    }
#define WITH_PAYLOAD(kind, ...)                                                                    \
    {                                                                                              \
        true, KV_SIGNAL_##kind,                                                                    \
        {                                                                                          \
            __VA_ARGS__, END                                                                       \
        }                                                                                          \
    }

const struct kv_form kv_forms[KV_DOP_LIMIT] = {
    [KV_DOP_LINK] = PLAIN(LINK, SENDER, TO),
    [KV_DOP_SEND] = WITH_PAYLOAD(MESSAGE, UNUSED, TO),
    [KV_DOP_EXIT] = PLAIN(EXIT_LINK, SENDER, TO, REASON),
    [KV_DOP_UNLINK] = PLAIN(UNLINK, SENDER, TO),
    [KV_DOP_REG_SEND] = WITH_PAYLOAD(MESSAGE_NAME, FROM, UNUSED, NAME),
    [KV_DOP_GROUP_LEADER] = PLAIN(GROUP_LEADER, FROM, TO),
    [KV_DOP_EXIT2] = PLAIN(EXIT, SENDER, TO, REASON),
    [KV_DOP_SEND_TT] = WITH_PAYLOAD(MESSAGE, UNUSED, TO, TOKEN),
    [KV_DOP_EXIT_TT] = PLAIN(EXIT_LINK, SENDER, TO, TOKEN, REASON),
    [KV_DOP_REG_SEND_TT] = WITH_PAYLOAD(MESSAGE_NAME, FROM, UNUSED, NAME, TOKEN),
    [KV_DOP_EXIT2_TT] = PLAIN(EXIT, SENDER, TO, TOKEN, REASON),
    [KV_DOP_MONITOR_P] = PLAIN(MONITOR, SENDER, TO_OR_NAME, REF),
    [KV_DOP_DEMONITOR_P] = PLAIN(DEMONITOR, SENDER, TO_OR_NAME, REF),
    [KV_DOP_MONITOR_P_EXIT] = PLAIN(DOWN, FROM_OR_NAME, TO, REF, REASON),
    [KV_DOP_SEND_SENDER] = WITH_PAYLOAD(MESSAGE, FROM, TO),
    [KV_DOP_SEND_SENDER_TT] = WITH_PAYLOAD(MESSAGE, FROM, TO, TOKEN),
    [KV_DOP_PAYLOAD_EXIT] = WITH_PAYLOAD(EXIT_LINK, SENDER, TO),
    [KV_DOP_PAYLOAD_EXIT_TT] = WITH_PAYLOAD(EXIT_LINK, SENDER, TO, TOKEN),
    [KV_DOP_PAYLOAD_EXIT2] = WITH_PAYLOAD(EXIT, SENDER, TO),
    [KV_DOP_PAYLOAD_EXIT2_TT] = WITH_PAYLOAD(EXIT, SENDER, TO, TOKEN),
    [KV_DOP_PAYLOAD_MONITOR_P_EXIT] = WITH_PAYLOAD(DOWN, FROM_OR_NAME, TO, REF),
    [KV_DOP_SPAWN_REQUEST] = WITH_PAYLOAD(SPAWN_REQUEST, REF, SENDER, LEADER, MFA, OPTIONS),
    [KV_DOP_SPAWN_REQUEST_TT] =
        WITH_PAYLOAD(SPAWN_REQUEST, REF, SENDER, LEADER, MFA, OPTIONS, TOKEN),
    [KV_DOP_SPAWN_REPLY] = PLAIN(SPAWN_REPLY, REF, TO, FLAGS, FROM_OR_NAME),
    [KV_DOP_SPAWN_REPLY_TT] = PLAIN(SPAWN_REPLY, REF, TO, FLAGS, FROM_OR_NAME, TOKEN),
    [KV_DOP_ALIAS_SEND] = WITH_PAYLOAD(MESSAGE_ALIAS, FROM, REF),
    [KV_DOP_ALIAS_SEND_TT] = WITH_PAYLOAD(MESSAGE_ALIAS, FROM, REF, TOKEN),
    [KV_DOP_UNLINK_ID] = PLAIN(UNLINK, ID, SENDER, TO),
    [KV_DOP_UNLINK_ID_ACK] = PLAIN(UNLINK_ACK, ID, SENDER, TO),
    [KV_DOP_ALTACT_SIG_SEND] = WITH_PAYLOAD(MESSAGE, ALTACT),
};

/* ---- encoding ------------------------------------------------------------------------------- */

/* OTP also requires both: dist.c, erts_dsig_send_monitor() and the like. */
#define MONITOR_FLAGS (KV_DFLAG_DIST_MONITOR | KV_DFLAG_DIST_MONITOR_NAME)

static enum kv_opcode down_opcode(uint64_t flags)
{
    if ((flags & MONITOR_FLAGS) != MONITOR_FLAGS) {
        return KV_DOP_NONE;
    }
    return (flags & KV_DFLAG_EXIT_PAYLOAD) != 0 ? KV_DOP_PAYLOAD_MONITOR_P_EXIT
                                                : KV_DOP_MONITOR_P_EXIT;
}

/* OTP will remove ALIAS_SEND, so peers that know the newer message get it. */
static enum kv_opcode alias_opcode(uint64_t flags)
{
    if ((flags & KV_DFLAG_ALTACT_SIG) != 0) {
        return KV_DOP_ALTACT_SIG_SEND;
    }
    return (flags & KV_DFLAG_ALIAS) != 0 ? KV_DOP_ALIAS_SEND : KV_DOP_NONE;
}

static enum kv_opcode altact_opcode(uint64_t flags)
{
    return (flags & KV_DFLAG_ALTACT_SIG) != 0 ? KV_DOP_ALTACT_SIG_SEND : KV_DOP_NONE;
}

static enum kv_opcode exit_opcode(const struct kv_signal *signal, uint64_t flags)
{
    if (signal->by_name) {
        return altact_opcode(flags);
    }
    return (flags & KV_DFLAG_EXIT_PAYLOAD) != 0 ? KV_DOP_PAYLOAD_EXIT2 : KV_DOP_EXIT2;
}

static enum kv_opcode choose_opcode(const struct kv_signal *signal, uint64_t flags)
{
    switch (signal->kind) {
    case KV_SIGNAL_MESSAGE:
        return (flags & KV_DFLAG_SEND_SENDER) != 0 ? KV_DOP_SEND_SENDER : KV_DOP_SEND;
    case KV_SIGNAL_MESSAGE_NAME:
        return KV_DOP_REG_SEND;
    case KV_SIGNAL_MESSAGE_ALIAS:
        return alias_opcode(flags);
    case KV_SIGNAL_LINK:
        return KV_DOP_LINK;
    case KV_SIGNAL_UNLINK:
        return (flags & KV_DFLAG_UNLINK_ID) != 0 ? KV_DOP_UNLINK_ID : KV_DOP_UNLINK;
    case KV_SIGNAL_UNLINK_ACK:
        return (flags & KV_DFLAG_UNLINK_ID) != 0 ? KV_DOP_UNLINK_ID_ACK : KV_DOP_NONE;
    case KV_SIGNAL_EXIT_LINK:
        return (flags & KV_DFLAG_EXIT_PAYLOAD) != 0 ? KV_DOP_PAYLOAD_EXIT : KV_DOP_EXIT;
    case KV_SIGNAL_EXIT:
        return exit_opcode(signal, flags);
    case KV_SIGNAL_EXIT_ALIAS:
        return altact_opcode(flags);
    case KV_SIGNAL_MONITOR:
        return (flags & MONITOR_FLAGS) == MONITOR_FLAGS ? KV_DOP_MONITOR_P : KV_DOP_NONE;
    case KV_SIGNAL_DEMONITOR:
        return (flags & MONITOR_FLAGS) == MONITOR_FLAGS ? KV_DOP_DEMONITOR_P : KV_DOP_NONE;
    case KV_SIGNAL_DOWN:
        return down_opcode(flags);
    case KV_SIGNAL_GROUP_LEADER:
        return KV_DOP_GROUP_LEADER;
    case KV_SIGNAL_SPAWN_REQUEST:
        return (flags & KV_DFLAG_SPAWN) != 0 ? KV_DOP_SPAWN_REQUEST : KV_DOP_NONE;
    case KV_SIGNAL_SPAWN_REPLY:
        return (flags & KV_DFLAG_SPAWN) != 0 ? KV_DOP_SPAWN_REPLY : KV_DOP_NONE;
    }
    return KV_DOP_NONE;
}

static void write_payload(const struct kv_signal *signal, struct kv_buffer *to)
{
    for (unsigned i = 0; i < signal->payload_parts; i++) {
        kv_buffer_append(to, signal->payload[i]);
    }
}

static void write_pid_or_name(const struct kv_signal *signal, const struct kv_pid *pid,
                              struct kv_buffer *to)
{
    if (signal->by_name) {
        kv_write_atom(to, signal->name);
    } else {
        kv_write_pid(to, pid);
    }
}

static void write_mfa(const struct kv_mfa *mfa, struct kv_buffer *to)
{
    kv_write_tuple(to, 3);
    kv_write_atom(to, mfa->module);
    kv_write_atom(to, mfa->function);
    kv_write_u64(to, mfa->arity);
}

static void write_field(const struct kv_signal *signal, enum kv_field field, struct kv_buffer *to)
{
    switch (field) {
    case SENDER:
    case FROM:
        kv_write_pid(to, &signal->from);
        break;
    case FROM_OR_NAME:
        write_pid_or_name(signal, &signal->from, to);
        break;
    case TO:
        kv_write_pid(to, &signal->to);
        break;
    case TO_OR_NAME:
        write_pid_or_name(signal, &signal->to, to);
        break;
    case NAME:
        kv_write_atom(to, signal->name);
        break;
    case REF:
        kv_write_ref(to, &signal->ref);
        break;
    case ID:
        kv_write_u64(to, signal->unlink_id);
        break;
    case REASON:
        write_payload(signal, to);
        break;
    case FLAGS:
        kv_write_u64(to, signal->spawn_flags);
        break;
    case LEADER:
        kv_write_pid(to, &signal->group_leader);
        break;
    case MFA:
        write_mfa(&signal->spawn, to);
        break;
    case OPTIONS:
        kv_write_term(to, signal->spawn_options);
        break;
    case ALTACT:
        kv_altact_write(signal, to);
        break;
    case UNUSED:
    case TOKEN:
    case END:
        kv_write_atom_text(to, "");
        break;
    }
}

enum {
    CONTROL_ROOM = 256,    /* enough for most control tuples, so the buffer grows once at most */
    CONTROL_MAX = 1 << 16, /* more than any control tuple needs without the terms in it */
};

/* The length of the terms that are copied into the frame. */
static size_t terms_length(const struct kv_signal *signal)
{
    size_t options = signal->kind == KV_SIGNAL_SPAWN_REQUEST ? signal->spawn_options.length : 0;
    return options + kv_signal_payload_length(signal);
}

static const struct kv_form *form_for(const struct kv_signal *signal, uint64_t flags,
                                      enum kv_opcode *opcode)
{
    *opcode = choose_opcode(signal, flags);
    if (*opcode == KV_DOP_NONE || terms_length(signal) > UINT32_MAX - CONTROL_MAX) {
        return NULL;
    }
    return &kv_forms[*opcode];
}

static void write_control(const struct kv_signal *signal, enum kv_opcode opcode,
                          struct kv_buffer *to)
{
    const struct kv_form *form = &kv_forms[opcode];
    kv_write_tuple(to, kv_form_arity(form));
    kv_write_u64(to, opcode);
    for (const enum kv_field *field = form->fields; *field != END; field++) {
        write_field(signal, *field, to);
    }
}

bool kv_control_encode(const struct kv_signal *signal, uint64_t flags, struct kv_buffer *to)
{
    enum kv_opcode opcode = KV_DOP_NONE;
    const struct kv_form *form = form_for(signal, flags, &opcode);
    if (form == NULL) {
        return false;
    }
    size_t start = to->length;
    bool has_header = (flags & KV_DFLAG_FRAGMENTS) != 0;
    (void)kv_buffer_reserve(to, CONTROL_ROOM + terms_length(signal));
    to->length += KV_FRAME_HEADER; /* filled in below */
    if (has_header) {
        kv_buffer_u8(to, KV_TERM_VERSION);
        kv_buffer_u8(to, KV_FRAME_WHOLE);
        kv_buffer_u8(to, 0);
    } else {
        kv_buffer_u8(to, KV_FRAME_PASS_THROUGH);
        kv_buffer_u8(to, KV_TERM_VERSION);
    }
    write_control(signal, opcode, to);
    if (form->payload) {
        if (!has_header) {
            kv_buffer_u8(to, KV_TERM_VERSION);
        }
        write_payload(signal, to);
    }
    kv_set32(to->data + start, (uint32_t)(to->length - start - KV_FRAME_HEADER));
    return true;
}

size_t kv_control_encode_terms(const struct kv_signal *signal, uint64_t flags, struct kv_buffer *to)
{
    enum kv_opcode opcode = KV_DOP_NONE;
    const struct kv_form *form = form_for(signal, flags, &opcode);
    if (form == NULL || !form->payload) {
        return 0;
    }
    size_t start = to->length;
    (void)kv_buffer_reserve(to, CONTROL_ROOM + terms_length(signal));
    write_control(signal, opcode, to);
    size_t length = to->length - start;
    write_payload(signal, to);
    return length;
}
