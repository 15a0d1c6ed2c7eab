#include "wire/altact.h"

#include "base/endian.h"
#include "wire/opcode.h"

/* Elements, with the opcode. */
enum { LEAST_ARITY = 4, ARITY_WITH_TOKEN = 5 };

/* The lowest byte of a validated integer of any size. Returns KV_EPROTOCOL if it is negative. All
 * flags that this node knows lie in this byte. */
static int lowest_byte(struct kv_bytes integer, uint8_t *byte)
{
    const uint8_t *data = integer.data;
    switch (data[0]) {
    case KV_TAG_SMALL_INTEGER:
        *byte = data[1];
        return KV_OK;
    case KV_TAG_INTEGER:
        *byte = data[4];
        return (data[1] & 0x80) == 0 ? KV_OK : KV_EPROTOCOL;
    case KV_TAG_SMALL_BIG:
        *byte = data[1] == 0 ? 0 : data[3];
        return data[2] == 0 ? KV_OK : KV_EPROTOCOL;
    case KV_TAG_LARGE_BIG:
        *byte = kv_get32(data + 1) == 0 ? 0 : data[6];
        return data[5] == 0 ? KV_OK : KV_EPROTOCOL;
    default:
        return KV_EPROTOCOL;
    }
}

static int read_flags(struct kv_reader *reader, uint8_t *flags)
{
    struct kv_bytes integer = {0};
    return kv_read_any(reader, &integer) == KV_OK ? lowest_byte(integer, flags) : KV_EPROTOCOL;
}

static int read_target(struct kv_reader *reader, uint8_t flags, struct kv_signal *signal)
{
    bool is_exit = (flags & KV_ALTACT_EXIT) != 0;
    switch (flags & (KV_ALTACT_ALIAS | KV_ALTACT_NAME)) {
    case KV_ALTACT_ALIAS:
        signal->kind = is_exit ? KV_SIGNAL_EXIT_ALIAS : KV_SIGNAL_MESSAGE_ALIAS;
        return kv_read_ref(reader, &signal->ref);
    case KV_ALTACT_NAME:
        signal->kind = is_exit ? KV_SIGNAL_EXIT : KV_SIGNAL_MESSAGE_NAME;
        signal->by_name = is_exit;
        return kv_read_atom(reader, &signal->name);
    case 0:
        signal->kind = is_exit ? KV_SIGNAL_EXIT : KV_SIGNAL_MESSAGE;
        return kv_read_pid(reader, &signal->to);
    default:
        return KV_EPROTOCOL;
    }
}

int kv_altact_read(struct kv_reader *reader, uint32_t arity, struct kv_signal *signal)
{
    uint8_t flags = 0;
    if (arity < LEAST_ARITY || read_flags(reader, &flags) != KV_OK ||
        ((flags & KV_ALTACT_TOKEN) != 0 && arity < ARITY_WITH_TOKEN)) {
        return KV_EPROTOCOL;
    }
    if (kv_read_pid(reader, &signal->from) != KV_OK ||
        read_target(reader, flags, signal) != KV_OK) {
        return KV_EPROTOCOL;
    }
    return KV_OK;
}

static uint8_t flags_of(const struct kv_signal *signal)
{
    switch (signal->kind) {
    case KV_SIGNAL_EXIT:
        return signal->by_name ? KV_ALTACT_EXIT | KV_ALTACT_NAME : KV_ALTACT_EXIT;
    case KV_SIGNAL_EXIT_ALIAS:
        return KV_ALTACT_EXIT | KV_ALTACT_ALIAS;
    case KV_SIGNAL_MESSAGE_ALIAS:
        return KV_ALTACT_ALIAS;
    case KV_SIGNAL_MESSAGE_NAME:
        return KV_ALTACT_NAME;
    default:
        return 0;
    }
}

void kv_altact_write(const struct kv_signal *signal, struct kv_buffer *to)
{
    uint8_t flags = flags_of(signal);
    kv_write_u64(to, flags);
    kv_write_pid(to, &signal->from);
    if ((flags & KV_ALTACT_ALIAS) != 0) {
        kv_write_ref(to, &signal->ref);
    } else if ((flags & KV_ALTACT_NAME) != 0) {
        kv_write_atom(to, signal->name);
    } else {
        kv_write_pid(to, &signal->to);
    }
}
