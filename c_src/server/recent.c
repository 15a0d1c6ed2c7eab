/* The last requests to a process, for the window that shows it: their shapes, not their values.
 * They are kept only while a tool looks at the process. */
#include "base/alloc.h"
#include "server/debug.h"
#include "server/look.h"

enum {
    KEPT = 10,              /* requests of one process */
    NAME_KEPT = 40,         /* bytes of a request's name */
    WANTED = 10 * 60 * 1000 /* milliseconds after the last look */
};

struct note {
    const char *kind;
    uint64_t when; /* of the runtime's clock */
    uint32_t elements;
    uint8_t name_length;
    uint8_t name[NAME_KEPT];
};

struct kv_recent {
    uint64_t wanted_until;
    size_t count; /* of all notes ever; modulo KEPT the place of the next one */
    struct note notes[KEPT];
};

void kv_recent_want(struct kv_process *process)
{
    struct kv_debug *debug = &kv_server_of(process)->debug;
    if (process->behaviour->plain) {
        return; /* messages of a plain process do not pass here */
    }
    if (debug->recent == NULL) {
        debug->recent = kv_zalloc(sizeof *debug->recent);
    }
    debug->recent->wanted_until = kv_runtime_clock(process->runtime) + WANTED;
}

void kv_recent_free(struct kv_process *process)
{
    kv_free(kv_server_of(process)->debug.recent);
    kv_server_of(process)->debug.recent = NULL;
}

/* ---- noting ---------------------------------------------------------------------------------- */

/* Returns the Request of {'$gen_call', From, Request}, {'$kv_call', Alias, Request} or
 * {'$gen_cast', Request}; else the message itself. */
static struct kv_bytes request_of(struct kv_bytes message, const char **kind)
{
    struct kv_bytes request = message;
    struct kv_reader reader = kv_reader(message);
    uint32_t arity = 0;
    *kind = "message";
    (void)kv_read_tuple(&reader, &arity);
    if (arity == 3 && (kv_read_this_atom(&reader, "$gen_call") == KV_OK ||
                       kv_read_this_atom(&reader, "$kv_call") == KV_OK)) {
        *kind = "call";
        (void)kv_read_any(&reader, NULL);
        (void)kv_read_any(&reader, &request);
    } else if (arity == 2 && kv_read_this_atom(&reader, "$gen_cast") == KV_OK) {
        *kind = "cast";
        (void)kv_read_any(&reader, &request);
    }
    return request;
}

/* Name or {Name, ...}: a request of another shape has no name. */
static void note_request(struct note *note, struct kv_bytes request)
{
    struct kv_bytes name = kv_bytes(NULL, 0);
    uint32_t arity = 1;
    struct kv_reader reader = kv_reader(request);
    (void)kv_read_tuple(&reader, &arity);
    if (kv_read_atom(&reader, &name) == KV_OK && name.length <= NAME_KEPT && arity > 0) {
        note->name_length = (uint8_t)name.length;
        note->elements = arity - 1;
    }
    if (note->name_length > 0) {
        memcpy(note->name, name.data, name.length);
    }
}

void kv_recent_note(struct kv_process *process, struct kv_bytes message)
{
    struct kv_recent *recent = kv_server_of(process)->debug.recent;
    uint64_t now = kv_runtime_clock(process->runtime);
    if (now > recent->wanted_until) {
        kv_recent_free(process);
        return;
    }
    struct note *note = &recent->notes[recent->count++ % KEPT];
    *note = (struct note){.when = now};
    note_request(note, request_of(message, &note->kind));
}

/* ---- telling --------------------------------------------------------------------------------- */

void kv_recent_each(const struct kv_process *process,
                    void (*visit)(void *context, const struct kv_request *request), void *context)
{
    const struct kv_recent *recent = kv_const_server_of(process)->debug.recent;
    uint64_t now = kv_runtime_clock(process->runtime);
    size_t count = recent == NULL ? 0 : recent->count;
    for (size_t back = 1; back <= count && back <= KEPT; back++) {
        const struct note *note = &recent->notes[(count - back) % KEPT];
        struct kv_request request = {
            .kind = note->kind,
            .name = kv_bytes(note->name, note->name_length),
            .elements = note->elements,
            .age = now - note->when,
        };
        visit(context, &request);
    }
}
