#include "dist/control.h"

#include "base/endian.h"
#include "dist/altact.h"
#include "dist/frame.h"
#include "dist/handshake.h"
#include "dist/quick.h"

/* OTP: erts/emulator/beam/dist.h, enum dop. */
enum opcode {
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
enum field {
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
    ALTACT,  /* several elements: dist/altact.h */
};

enum { MAX_FIELDS = 6 };

enum { SPAWN_FLAGS_LIMIT = 1 << 27 }; /* OTP: dist.c, DOP_SPAWN_REPLY in erts_net_message() */

struct form {
    bool payload; /* a second term follows the tuple */
    enum kv_signal_kind kind;
    enum field fields[MAX_FIELDS + 1]; /* behind the opcode, up to END */
};

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

/* Every control message, for both directions. */
static const struct form FORMS[OPCODE_LIMIT] = {
    [LINK] = PLAIN(LINK, SENDER, TO),
    [SEND] = WITH_PAYLOAD(MESSAGE, UNUSED, TO),
    [EXIT] = PLAIN(EXIT_LINK, SENDER, TO, REASON),
    [UNLINK] = PLAIN(UNLINK, SENDER, TO),
    [REG_SEND] = WITH_PAYLOAD(MESSAGE_NAME, FROM, UNUSED, NAME),
    [GROUP_LEADER] = PLAIN(GROUP_LEADER, FROM, TO),
    [EXIT2] = PLAIN(EXIT, SENDER, TO, REASON),
    [SEND_TT] = WITH_PAYLOAD(MESSAGE, UNUSED, TO, TOKEN),
    [EXIT_TT] = PLAIN(EXIT_LINK, SENDER, TO, TOKEN, REASON),
    [REG_SEND_TT] = WITH_PAYLOAD(MESSAGE_NAME, FROM, UNUSED, NAME, TOKEN),
    [EXIT2_TT] = PLAIN(EXIT, SENDER, TO, TOKEN, REASON),
    [MONITOR_P] = PLAIN(MONITOR, SENDER, TO_OR_NAME, REF),
    [DEMONITOR_P] = PLAIN(DEMONITOR, SENDER, TO_OR_NAME, REF),
    [MONITOR_P_EXIT] = PLAIN(DOWN, FROM_OR_NAME, TO, REF, REASON),
    [SEND_SENDER] = WITH_PAYLOAD(MESSAGE, FROM, TO),
    [SEND_SENDER_TT] = WITH_PAYLOAD(MESSAGE, FROM, TO, TOKEN),
    [PAYLOAD_EXIT] = WITH_PAYLOAD(EXIT_LINK, SENDER, TO),
    [PAYLOAD_EXIT_TT] = WITH_PAYLOAD(EXIT_LINK, SENDER, TO, TOKEN),
    [PAYLOAD_EXIT2] = WITH_PAYLOAD(EXIT, SENDER, TO),
    [PAYLOAD_EXIT2_TT] = WITH_PAYLOAD(EXIT, SENDER, TO, TOKEN),
    [PAYLOAD_MONITOR_P_EXIT] = WITH_PAYLOAD(DOWN, FROM_OR_NAME, TO, REF),
    [SPAWN_REQUEST] = WITH_PAYLOAD(SPAWN_REQUEST, REF, SENDER, LEADER, MFA, OPTIONS),
    [SPAWN_REQUEST_TT] = WITH_PAYLOAD(SPAWN_REQUEST, REF, SENDER, LEADER, MFA, OPTIONS, TOKEN),
    [SPAWN_REPLY] = PLAIN(SPAWN_REPLY, REF, TO, FLAGS, FROM_OR_NAME),
    [SPAWN_REPLY_TT] = PLAIN(SPAWN_REPLY, REF, TO, FLAGS, FROM_OR_NAME, TOKEN),
    [ALIAS_SEND] = WITH_PAYLOAD(MESSAGE_ALIAS, FROM, REF),
    [ALIAS_SEND_TT] = WITH_PAYLOAD(MESSAGE_ALIAS, FROM, REF, TOKEN),
    [UNLINK_ID] = PLAIN(UNLINK, ID, SENDER, TO),
    [UNLINK_ID_ACK] = PLAIN(UNLINK_ACK, ID, SENDER, TO),
    [ALTACT_SIG_SEND] = WITH_PAYLOAD(MESSAGE, ALTACT),
};

static uint32_t arity_of(const struct form *form)
{
    uint32_t arity = 1;
    for (const enum field *field = form->fields; *field != END; field++) {
        arity += *field == ALTACT ? KV_ALTACT_ELEMENTS : 1;
    }
    return arity;
}

/* ---- decoding ------------------------------------------------------------------------------- */

static int read_pid_or_name(struct kv_reader *reader, struct kv_signal *signal, struct kv_pid *pid)
{
    signal->by_name = kv_read_atom(reader, &signal->name) == KV_OK;
    return signal->by_name ? KV_OK : kv_read_pid(reader, pid);
}

static int read_sender(struct kv_reader *reader, struct kv_signal *signal, struct kv_bytes peer)
{
    int error = kv_read_pid(reader, &signal->from);
    if (error == KV_OK && !kv_bytes_equal(signal->from.node, peer)) {
        return KV_EPROTOCOL;
    }
    return error;
}

static int read_mfa(struct kv_reader *reader, struct kv_mfa *mfa)
{
    int error = kv_read_tuple_of(reader, 3);
    if (error == KV_OK) {
        error = kv_read_atom(reader, &mfa->module);
    }
    if (error == KV_OK) {
        error = kv_read_atom(reader, &mfa->function);
    }
    if (error == KV_OK) {
        error = kv_read_u32(reader, &mfa->arity);
    }
    return error;
}

/* The length of a proper list. A list of small integers may come as a string. */
static int list_length(struct kv_bytes list, uint32_t *length)
{
    struct kv_reader reader = kv_reader(list);
    if (kv_read_peek(&reader) == KV_TAG_STRING) {
        *length = kv_get16(list.data + 1);
        return KV_OK;
    }
    int error = kv_read_list(&reader, length);
    if (error != KV_OK || *length == 0) {
        return error;
    }
    for (uint32_t i = 0; i < *length && error == KV_OK; i++) {
        error = kv_read_any(&reader, NULL);
    }
    return error == KV_OK ? kv_read_nil(&reader) : error;
}

static int read_options(struct kv_reader *reader, struct kv_bytes *options)
{
    uint32_t length = 0;
    int error = kv_read_any(reader, options);
    return error == KV_OK ? list_length(*options, &length) : error;
}

static int read_unlink_id(struct kv_reader *reader, uint64_t *id)
{
    int error = kv_read_u64(reader, id);
    return error == KV_OK && *id == 0 ? KV_ERANGE : error;
}

static int read_spawn_flags(struct kv_reader *reader, uint32_t *flags)
{
    int error = kv_read_u32(reader, flags);
    return error == KV_OK && *flags >= SPAWN_FLAGS_LIMIT ? KV_ERANGE : error;
}

static int read_field(struct kv_reader *reader, enum field field, struct kv_bytes peer,
                      struct kv_signal *signal)
{
    switch (field) {
    case UNUSED:
    case TOKEN:
        return kv_read_any(reader, NULL);
    case SENDER:
        return read_sender(reader, signal, peer);
    case FROM:
        return kv_read_pid(reader, &signal->from);
    case FROM_OR_NAME:
        return read_pid_or_name(reader, signal, &signal->from);
    case TO:
        return kv_read_pid(reader, &signal->to);
    case TO_OR_NAME:
        return read_pid_or_name(reader, signal, &signal->to);
    case NAME:
        return kv_read_atom(reader, &signal->name);
    case REF:
        return kv_read_ref(reader, &signal->ref);
    case ID:
        return read_unlink_id(reader, &signal->unlink_id);
    case REASON:
        signal->payload_parts = 1;
        return kv_read_any(reader, &signal->payload[0]);
    case FLAGS:
        return read_spawn_flags(reader, &signal->spawn_flags);
    case LEADER:
        return kv_read_pid(reader, &signal->group_leader);
    case MFA:
        return read_mfa(reader, &signal->spawn);
    case OPTIONS:
        return read_options(reader, &signal->spawn_options);
    case ALTACT:
    case END:
        break; /* no fields that are read one by one */
    }
    return KV_EPROTOCOL;
}

/* What is left of a frame. */
struct rest {
    struct kv_bytes bytes;
    bool versions; /* 131 before each term */
};

static void skip(struct rest *rest, size_t count)
{
    rest->bytes = kv_bytes(rest->bytes.data + count, rest->bytes.length - count);
}

static int begin_frame(struct kv_bytes frame, uint64_t flags, struct rest *rest)
{
    static const uint8_t whole[KV_WHOLE_HEADER] = {KV_TERM_VERSION, KV_FRAME_WHOLE, 0};
    static const uint8_t pass_through[] = {KV_FRAME_PASS_THROUGH};
    bool has_header = (flags & KV_DFLAG_FRAGMENTS) != 0;
    struct kv_bytes start =
        has_header ? kv_bytes(whole, sizeof(whole)) : kv_bytes(pass_through, sizeof(pass_through));
    if (frame.length < start.length || memcmp(frame.data, start.data, start.length) != 0) {
        return KV_EPROTOCOL;
    }
    *rest = (struct rest){.bytes = frame, .versions = !has_header};
    skip(rest, start.length);
    return KV_OK;
}

static int next_term(struct rest *rest, const struct kv_term_limits *limits, struct kv_bytes *term)
{
    if (rest->versions) {
        if (rest->bytes.length == 0) {
            return KV_ETRUNCATED;
        }
        if (rest->bytes.data[0] != KV_TERM_VERSION) {
            return KV_EPROTOCOL;
        }
        skip(rest, 1);
    }
    size_t length = 0;
    int error = kv_term_validate(rest->bytes, limits, &length);
    if (error == KV_OK) {
        *term = kv_bytes(rest->bytes.data, length);
        skip(rest, length);
    }
    return error;
}

static int read_opcode(struct kv_reader *reader, uint32_t *arity, const struct form **form,
                       int *opcode)
{
    uint32_t number = 0;
    if (kv_read_tuple(reader, arity) != KV_OK || *arity == 0 ||
        kv_read_u32(reader, &number) != KV_OK || number > INT32_MAX) {
        return KV_EPROTOCOL;
    }
    *opcode = (int)number;
    if (number >= OPCODE_LIMIT || FORMS[number].fields[0] == END) {
        return KV_EOPCODE;
    }
    *form = &FORMS[number];
    return KV_OK;
}

static int read_control(struct kv_bytes control, struct kv_bytes peer, struct kv_signal *signal,
                        int *opcode, bool *payload)
{
    const struct form *form = NULL;
    uint32_t arity = 0;
    struct kv_reader reader = kv_reader(control);
    int error = read_opcode(&reader, &arity, &form, opcode);
    if (error != KV_OK) {
        return error;
    }
    *signal = (struct kv_signal){.kind = form->kind};
    *payload = form->payload;
    if (*opcode == ALTACT_SIG_SEND) {
        return kv_altact_read(&reader, arity, signal);
    }
    if (arity != arity_of(form)) {
        return KV_EPROTOCOL;
    }
    for (const enum field *field = form->fields; *field != END; field++) {
        if (read_field(&reader, *field, peer, signal) != KV_OK) {
            return KV_EPROTOCOL;
        }
    }
    return KV_OK;
}

/* OTP: a spawn request is refused when its arguments are not as many as its arity says. */
static int check_arguments(const struct kv_signal *signal)
{
    uint32_t length = 0;
    if (list_length(signal->payload[0], &length) != KV_OK || length != signal->spawn.arity) {
        return KV_EPROTOCOL;
    }
    return KV_OK;
}

int kv_control_decode_any(struct kv_bytes frame, uint64_t flags,
                          const struct kv_term_limits *limits, struct kv_bytes peer,
                          struct kv_signal *signal, int *opcode)
{
    struct rest rest = {0};
    struct kv_bytes control = {0};
    bool payload = false;
    *opcode = -1;
    int error = begin_frame(frame, flags, &rest);
    if (error == KV_OK) {
        error = next_term(&rest, limits, &control);
    }
    if (error == KV_OK) {
        error = read_control(control, peer, signal, opcode, &payload);
    }
    if (error == KV_OK && payload) {
        signal->payload_parts = 1;
        error = next_term(&rest, limits, &signal->payload[0]);
    }
    if (error == KV_OK && rest.bytes.length > 0) {
        return KV_EPROTOCOL;
    }
    if (error == KV_OK && signal->kind == KV_SIGNAL_SPAWN_REQUEST) {
        error = check_arguments(signal);
    }
    return error;
}

/* ---- encoding ------------------------------------------------------------------------------- */

/* OTP asks for both, too: dist.c, erts_dsig_send_monitor() and its kin. */
#define MONITOR_FLAGS (KV_DFLAG_DIST_MONITOR | KV_DFLAG_DIST_MONITOR_NAME)

static enum opcode down_opcode(uint64_t flags)
{
    if ((flags & MONITOR_FLAGS) != MONITOR_FLAGS) {
        return DROPPED;
    }
    return (flags & KV_DFLAG_EXIT_PAYLOAD) != 0 ? PAYLOAD_MONITOR_P_EXIT : MONITOR_P_EXIT;
}

/* OTP announces the end of ALIAS_SEND for peers that have the newer one. */
static enum opcode alias_opcode(uint64_t flags)
{
    if ((flags & KV_DFLAG_ALTACT_SIG) != 0) {
        return ALTACT_SIG_SEND;
    }
    return (flags & KV_DFLAG_ALIAS) != 0 ? ALIAS_SEND : DROPPED;
}

static enum opcode altact_opcode(uint64_t flags)
{
    return (flags & KV_DFLAG_ALTACT_SIG) != 0 ? ALTACT_SIG_SEND : DROPPED;
}

static enum opcode exit_opcode(const struct kv_signal *signal, uint64_t flags)
{
    if (signal->by_name) {
        return altact_opcode(flags);
    }
    return (flags & KV_DFLAG_EXIT_PAYLOAD) != 0 ? PAYLOAD_EXIT2 : EXIT2;
}

static enum opcode choose_opcode(const struct kv_signal *signal, uint64_t flags)
{
    switch (signal->kind) {
    case KV_SIGNAL_MESSAGE:
        return (flags & KV_DFLAG_SEND_SENDER) != 0 ? SEND_SENDER : SEND;
    case KV_SIGNAL_MESSAGE_NAME:
        return REG_SEND;
    case KV_SIGNAL_MESSAGE_ALIAS:
        return alias_opcode(flags);
    case KV_SIGNAL_LINK:
        return LINK;
    case KV_SIGNAL_UNLINK:
        return (flags & KV_DFLAG_UNLINK_ID) != 0 ? UNLINK_ID : UNLINK;
    case KV_SIGNAL_UNLINK_ACK:
        return (flags & KV_DFLAG_UNLINK_ID) != 0 ? UNLINK_ID_ACK : DROPPED;
    case KV_SIGNAL_EXIT_LINK:
        return (flags & KV_DFLAG_EXIT_PAYLOAD) != 0 ? PAYLOAD_EXIT : EXIT;
    case KV_SIGNAL_EXIT:
        return exit_opcode(signal, flags);
    case KV_SIGNAL_EXIT_ALIAS:
        return altact_opcode(flags);
    case KV_SIGNAL_MONITOR:
        return (flags & MONITOR_FLAGS) == MONITOR_FLAGS ? MONITOR_P : DROPPED;
    case KV_SIGNAL_DEMONITOR:
        return (flags & MONITOR_FLAGS) == MONITOR_FLAGS ? DEMONITOR_P : DROPPED;
    case KV_SIGNAL_DOWN:
        return down_opcode(flags);
    case KV_SIGNAL_GROUP_LEADER:
        return GROUP_LEADER;
    case KV_SIGNAL_SPAWN_REQUEST:
        return (flags & KV_DFLAG_SPAWN) != 0 ? SPAWN_REQUEST : DROPPED;
    case KV_SIGNAL_SPAWN_REPLY:
        return (flags & KV_DFLAG_SPAWN) != 0 ? SPAWN_REPLY : DROPPED;
    }
    return DROPPED;
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

static void write_field(const struct kv_signal *signal, enum field field, struct kv_buffer *to)
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
    CONTROL_ROOM = 256,    /* enough for most control tuples: one growth of the buffer at most */
    CONTROL_MAX = 1 << 16, /* more than any control tuple takes without the terms given to us */
};

/* The bytes of the terms that are copied as they are. */
static size_t terms_length(const struct kv_signal *signal)
{
    size_t length = signal->kind == KV_SIGNAL_SPAWN_REQUEST ? signal->spawn_options.length : 0;
    for (unsigned i = 0; i < signal->payload_parts; i++) {
        length += signal->payload[i].length;
    }
    return length;
}

static const struct form *form_for(const struct kv_signal *signal, uint64_t flags,
                                   enum opcode *opcode)
{
    *opcode = choose_opcode(signal, flags);
    if (*opcode == DROPPED || terms_length(signal) > UINT32_MAX - CONTROL_MAX) {
        return NULL;
    }
    return &FORMS[*opcode];
}

static void write_control(const struct kv_signal *signal, enum opcode opcode, struct kv_buffer *to)
{
    const struct form *form = &FORMS[opcode];
    kv_write_tuple(to, arity_of(form));
    kv_write_u64(to, opcode);
    for (const enum field *field = form->fields; *field != END; field++) {
        write_field(signal, *field, to);
    }
}

void kv_control_encode(const struct kv_signal *signal, uint64_t flags, struct kv_buffer *to)
{
    if (!kv_quick_encode(signal, flags, to)) {
        kv_control_encode_any(signal, flags, to);
    }
}

void kv_control_encode_any(const struct kv_signal *signal, uint64_t flags, struct kv_buffer *to)
{
    enum opcode opcode = DROPPED;
    const struct form *form = form_for(signal, flags, &opcode);
    if (form == NULL) {
        return;
    }
    size_t start = to->length;
    bool has_header = (flags & KV_DFLAG_FRAGMENTS) != 0;
    (void)kv_buffer_reserve(to, CONTROL_ROOM + terms_length(signal));
    to->length += KV_FRAME_HEADER; /* the length, when it is known */
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
}

size_t kv_control_encode_terms(const struct kv_signal *signal, uint64_t flags, struct kv_buffer *to)
{
    enum opcode opcode = DROPPED;
    const struct form *form = form_for(signal, flags, &opcode);
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
