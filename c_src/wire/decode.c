/* Decodes control messages: whole ones, and the beginnings of refused ones. Declared in control.h.
 */
#include "wire/control.h"

#include "base/endian.h"
#include "wire/altact.h"
#include "wire/forms.h"
#include "wire/frame.h"
#include "wire/handshake.h"

enum { SPAWN_FLAGS_LIMIT = 1 << 27 }; /* OTP: dist.c, DOP_SPAWN_REPLY in erts_net_message() */

/* ---- fields --------------------------------------------------------------------------------- */

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

static int read_options(struct kv_reader *reader, struct kv_bytes *options)
{
    uint32_t length = 0;
    int error = kv_read_any(reader, options);
    return error == KV_OK ? kv_read_list_length(*options, &length) : error;
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

static int read_field(struct kv_reader *reader, enum kv_field field, struct kv_bytes peer,
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
        break; /* never in a list of fields that is read one by one */
    }
    return KV_EPROTOCOL;
}

/* The rest of a frame. */
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

static int skip_version(struct rest *rest)
{
    if (!rest->versions) {
        return KV_OK;
    }
    if (rest->bytes.length == 0) {
        return KV_ETRUNCATED;
    }
    if (rest->bytes.data[0] != KV_TERM_VERSION) {
        return KV_EPROTOCOL;
    }
    skip(rest, 1);
    return KV_OK;
}

/* `verdict`: of the term; NULL: it has not been validated. */
static int next_term(struct rest *rest, const struct kv_term_limits *limits,
                     const struct kv_verdict *verdict, struct kv_bytes *term)
{
    size_t length = verdict != NULL ? verdict->length : 0;
    int error = skip_version(rest);
    if (error == KV_OK) {
        error = verdict != NULL ? verdict->error : kv_term_validate(rest->bytes, limits, &length);
    }
    if (error == KV_OK) {
        *term = kv_bytes(rest->bytes.data, length);
        skip(rest, length);
    }
    return error;
}

static int read_opcode(struct kv_reader *reader, uint32_t *arity, const struct kv_form **form,
                       int *opcode)
{
    uint32_t number = 0;
    if (kv_read_tuple(reader, arity) != KV_OK || *arity == 0 ||
        kv_read_u32(reader, &number) != KV_OK || number > INT32_MAX) {
        return KV_EPROTOCOL;
    }
    *opcode = (int)number;
    if (number >= KV_DOP_LIMIT || kv_forms[number].fields[0] == END) {
        return KV_EOPCODE;
    }
    *form = &kv_forms[number];
    return KV_OK;
}

static int read_control(struct kv_bytes control, struct kv_bytes peer, struct kv_signal *signal,
                        int *opcode, bool *payload)
{
    const struct kv_form *form = NULL;
    uint32_t arity = 0;
    struct kv_reader reader = kv_reader(control);
    int error = read_opcode(&reader, &arity, &form, opcode);
    if (error != KV_OK) {
        return error;
    }
    *signal = (struct kv_signal){.kind = form->kind};
    *payload = form->payload;
    if (*opcode == KV_DOP_ALTACT_SIG_SEND) {
        return kv_altact_read(&reader, arity, signal);
    }
    if (arity != kv_form_arity(form)) {
        return KV_EPROTOCOL;
    }
    for (const enum kv_field *field = form->fields; *field != END; field++) {
        if (read_field(&reader, *field, peer, signal) != KV_OK) {
            return KV_EPROTOCOL;
        }
    }
    return KV_OK;
}

/* As in OTP, the number of arguments of a spawn request must be its arity. */
static int check_arguments(const struct kv_signal *signal)
{
    uint32_t length = 0;
    if (kv_read_list_length(signal->payload[0], &length) != KV_OK ||
        length != signal->spawn.arity) {
        return KV_EPROTOCOL;
    }
    return KV_OK;
}

int kv_control_find_payload(struct kv_bytes frame, uint64_t flags,
                            const struct kv_term_limits *limits, struct kv_bytes *payload)
{
    struct rest rest = {0};
    struct kv_bytes control = {0};
    int error = begin_frame(frame, flags, &rest);
    if (error == KV_OK) {
        error = next_term(&rest, limits, NULL, &control);
    }
    if (error == KV_OK && rest.bytes.length > 0) {
        error = skip_version(&rest);
    }
    *payload = rest.bytes;
    return error;
}

int kv_control_decode(struct kv_bytes frame, uint64_t flags, const struct kv_term_limits *limits,
                      struct kv_bytes peer, struct kv_signal *signal, int *opcode)
{
    return kv_control_decode_validated(frame, flags, limits, peer, NULL, signal, opcode);
}

int kv_control_decode_validated(struct kv_bytes frame, uint64_t flags,
                                const struct kv_term_limits *limits, struct kv_bytes peer,
                                const struct kv_verdict *verdict, struct kv_signal *signal,
                                int *opcode)
{
    struct rest rest = {0};
    struct kv_bytes control = {0};
    bool payload = false;
    *opcode = -1;
    int error = begin_frame(frame, flags, &rest);
    if (error == KV_OK) {
        error = next_term(&rest, limits, NULL, &control);
    }
    if (error == KV_OK) {
        error = read_control(control, peer, signal, opcode, &payload);
    }
    if (error == KV_OK && payload) {
        signal->payload_parts = 1;
        error = next_term(&rest, limits, verdict, &signal->payload[0]);
    }
    if (error == KV_OK && rest.bytes.length > 0) {
        return KV_EPROTOCOL;
    }
    if (error == KV_OK && signal->kind == KV_SIGNAL_SPAWN_REQUEST) {
        error = check_arguments(signal);
    }
    return error;
}

/* ---- refused messages ------------------------------------------------------------------------ */

/* A control tuple whose end may be missing or refused. */
struct beginning {
    struct kv_reader reader; /* ends behind the validated elements */
    struct kv_bytes bytes;   /* all bytes that are there */
    bool cut;
    struct kv_term_limits limits; /* for one element */
};

static int open_tuple(struct beginning *tuple, uint32_t *arity)
{
    struct kv_bytes bytes = tuple->bytes;
    size_t header = bytes.length > 0 && bytes.data[0] == KV_TAG_SMALL_TUPLE ? 2 : 5;
    tuple->reader = kv_reader(kv_bytes(bytes.data, header));
    return bytes.length < header ? KV_EPROTOCOL : kv_read_tuple(&tuple->reader, arity);
}

/* Validates the next element, so that the reader may take it. */
static int admit(struct beginning *tuple)
{
    size_t at = tuple->reader.length;
    size_t length = 0;
    int error = kv_term_validate(kv_bytes(tuple->bytes.data + at, tuple->bytes.length - at),
                                 &tuple->limits, &length);
    tuple->reader.length += error == KV_OK ? length : 0;
    return error;
}

static bool is_missing(const struct beginning *tuple, int error)
{
    return kv_is_refusal(error) || (error == KV_ETRUNCATED && tuple->cut);
}

/* Identifiers, names and numbers are never too large or too deep. They can only be cut off. */
static bool may_be_refused(enum kv_field field)
{
    return field == UNUSED || field == TOKEN || field == REASON || field == OPTIONS;
}

/* Reads fields up to the first missing one. *count: the number of fields read. */
static int read_fields(struct beginning *tuple, const struct kv_form *form, struct kv_bytes peer,
                       struct kv_signal *signal, size_t *count)
{
    for (*count = 0; form->fields[*count] != END; ++*count) {
        enum kv_field field = form->fields[*count];
        int error = admit(tuple);
        if (is_missing(tuple, error) && (may_be_refused(field) || error == KV_ETRUNCATED)) {
            return KV_OK;
        }
        if (error != KV_OK) {
            return is_missing(tuple, error) ? KV_EPROTOCOL : error;
        }
        if (read_field(&tuple->reader, field, peer, signal) != KV_OK) {
            return KV_EPROTOCOL;
        }
    }
    return KV_OK;
}

static int read_altact(struct beginning *tuple, uint32_t arity, struct kv_signal *signal,
                       bool *known)
{
    for (size_t i = 0; i < KV_ALTACT_ELEMENTS; i++) {
        int error = admit(tuple);
        if (error != KV_OK) {
            return is_missing(tuple, error) ? KV_OK : error;
        }
    }
    int error = kv_altact_read(&tuple->reader, arity, signal);
    *known =
        error == KV_OK && (signal->kind == KV_SIGNAL_EXIT || signal->kind == KV_SIGNAL_EXIT_ALIAS);
    return error;
}

/* Returns true if so many fields suffice to act without a payload. */
static bool is_enough(enum kv_signal_kind kind, size_t fields)
{
    switch (kind) {
    case KV_SIGNAL_EXIT_LINK: /* from, to */
    case KV_SIGNAL_EXIT:
    case KV_SIGNAL_SPAWN_REQUEST: /* ref, from */
        return fields >= 2;
    case KV_SIGNAL_DOWN: /* from, to, ref */
        return fields >= 3;
    default:
        return false;
    }
}

static int read_beginning(struct beginning *tuple, struct kv_bytes peer, struct kv_signal *signal,
                          int *opcode, bool *known)
{
    const struct kv_form *form = NULL;
    uint32_t arity = 0;
    int error = open_tuple(tuple, &arity);
    if (error == KV_OK) {
        error = admit(tuple);
    }
    if (error != KV_OK) {
        return KV_EPROTOCOL;
    }
    tuple->reader.offset = 0;
    error = read_opcode(&tuple->reader, &arity, &form, opcode);
    if (error != KV_OK) {
        return error;
    }
    *signal = (struct kv_signal){.kind = form->kind};
    if (*opcode == KV_DOP_ALTACT_SIG_SEND) {
        return read_altact(tuple, arity, signal, known);
    }
    size_t fields = 0;
    error = arity == kv_form_arity(form) ? read_fields(tuple, form, peer, signal, &fields)
                                         : KV_EPROTOCOL;
    *known = error == KV_OK && is_enough(form->kind, fields);
    return error;
}

/* Takes the part of the payload that is there, without validating it. */
static int take_beginning(struct rest *rest, struct kv_signal *signal)
{
    if (rest->versions && rest->bytes.length > 0) {
        if (rest->bytes.data[0] != KV_TERM_VERSION) {
            return KV_EPROTOCOL;
        }
        skip(rest, 1);
    }
    signal->payload_parts = 1;
    signal->payload[0] = rest->bytes;
    return KV_OK;
}

int kv_control_decode_refused(struct kv_bytes head, bool cut, uint64_t flags,
                              const struct kv_term_limits *limits, struct kv_bytes peer,
                              struct kv_signal *signal, int *opcode, bool *known)
{
    const struct kv_term_limits all = {
        .size = SIZE_MAX, .depth = limits->depth, .zeros = limits->zeros};
    struct rest rest = {0};
    struct kv_bytes control = {0};
    bool payload = false;
    *opcode = -1;
    *known = false;
    int error = begin_frame(head, flags, &rest);
    if (error != KV_OK) {
        return error;
    }
    error = next_term(&rest, &all, NULL, &control);
    struct beginning tuple = {.bytes = rest.bytes, .cut = cut, .limits = all};
    if (is_missing(&tuple, error)) {
        tuple.limits.depth--;
        return read_beginning(&tuple, peer, signal, opcode, known);
    }
    if (error == KV_OK) {
        error = read_control(control, peer, signal, opcode, &payload);
    }
    *known = error == KV_OK;
    if (error == KV_OK && payload) {
        return take_beginning(&rest, signal);
    }
    return error == KV_OK && (cut || rest.bytes.length > 0) ? KV_EPROTOCOL : error;
}
