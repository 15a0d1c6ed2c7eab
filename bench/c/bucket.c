#include "bucket.h"

#include "base/endian.h"
#include "fail.h"

enum {
    REF_BYTES = 8, /* the part of a reference that tells a caller's calls apart */
    EXIT2 = 8,
    SEND_SENDER = 22,
    SPAWN_REQUEST = 29,
    SPAWN_REPLY = 31,
    ALIAS_SEND = 33,
};

static const uint8_t mark[REF_BYTES] = {0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed, 0xfa, 0xce};
static const char key_mark[BUCKET_KEY_BYTES + 1] = "key-################";

static erlang_pid pid_of(int caller)
{
    erlang_pid pid = {.num = (unsigned)caller + 1, .creation = LINK_CREATION};
    snprintf(pid.node, sizeof(pid.node), "%s", LINK_NODE);
    return pid;
}

static erlang_ref ref_of(int caller)
{
    erlang_ref ref = {.len = 3,
                      .n = {(unsigned)caller, kv_get32(mark), kv_get32(mark + 4)},
                      .creation = LINK_CREATION};
    snprintf(ref.node, sizeof(ref.node), "%s", LINK_NODE);
    return ref;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void begin(ei_x_buff *terms, int arity, long operation)
{
    ei_x_new(terms);
    ei_x_encode_tuple_header(terms, arity);
    ei_x_encode_long(terms, operation);
}

/* {'$gen_call', {From, [alias|Ref]}, and {'$kv_call', Ref, to which a request comes. */
static void begin_call(ei_x_buff *terms, const erlang_pid *bucket, enum bucket_form form,
                       int caller)
{
    const erlang_pid from = pid_of(caller);
    const erlang_ref ref = ref_of(caller);
    begin(terms, 3, SEND_SENDER);
    ei_x_encode_pid(terms, &from);
    ei_x_encode_pid(terms, bucket);
    ei_x_encode_tuple_header(terms, 3);
    if (form == BUCKET_KV_CALL) {
        ei_x_encode_atom(terms, "$kv_call");
        ei_x_encode_ref(terms, &ref);
        return;
    }
    ei_x_encode_atom(terms, "$gen_call");
    ei_x_encode_tuple_header(terms, 2);
    ei_x_encode_pid(terms, &from);
    ei_x_encode_list_header(terms, 1);
    ei_x_encode_atom(terms, "alias");
    ei_x_encode_ref(terms, &ref);
}

static void compile(struct template *template, ei_x_buff *terms)
{
    const size_t length = (size_t)terms->index;
    if (length > TEMPLATE_MAX) {
        FAIL("a message of %zu bytes", length);
    }
    *template = (struct template){.length = length};
    memcpy(template->terms, terms->buff, length);
    for (size_t at = 0; at + BUCKET_KEY_BYTES <= length; at++) {
        if (memcmp(template->terms + at, mark, REF_BYTES) == 0) {
            template->references[template->reference_count++] = at;
        }
        if (memcmp(template->terms + at, key_mark, BUCKET_KEY_BYTES) == 0) {
            template->key = at;
        }
    }
    if (memcmp(template->terms + length - REF_BYTES, mark, REF_BYTES) == 0) {
        template->references[template->reference_count++] = length - REF_BYTES;
    }
    ei_x_free(terms);
}

void bucket_call(struct template *template, const erlang_pid *bucket, enum bucket_form form,
                 int caller, const char *operation, const ei_x_buff *more, int count)
{
    ei_x_buff terms;
    begin_call(&terms, bucket, form, caller);
    ei_x_encode_tuple_header(&terms, 2 + count);
    ei_x_encode_atom(&terms, operation);
    ei_x_encode_binary(&terms, key_mark, BUCKET_KEY_BYTES);
    if (count > 0) {
        ei_x_append(&terms, more);
    }
    compile(template, &terms);
}

void bucket_monitor(struct template *template, const erlang_pid *bucket, int caller, long operation)
{
    const erlang_pid from = pid_of(caller);
    const erlang_ref ref = ref_of(caller);
    ei_x_buff terms;
    begin(&terms, 4, operation);
    ei_x_encode_pid(&terms, &from);
    ei_x_encode_pid(&terms, bucket);
    ei_x_encode_ref(&terms, &ref);
    compile(template, &terms);
}

void bucket_kill(struct link *link, const erlang_pid *bucket)
{
    const erlang_pid from = pid_of(0);
    ei_x_buff terms;
    begin(&terms, 4, EXIT2);
    ei_x_encode_pid(&terms, &from);
    ei_x_encode_pid(&terms, bucket);
    ei_x_encode_atom(&terms, "kill");
    link_queue(link, (uint8_t *)terms.buff, (size_t)terms.index);
    ei_x_free(&terms);
}

void bucket_queue(struct link *link, struct template *template, uint64_t number)
{
    for (int i = 0; i < template->reference_count; i++) {
        kv_set64(template->terms + template->references[i], number);
    }
    link_queue(link, template->terms, template->length);
}

void bucket_set_key(struct template *template, const char *key)
{
    memcpy(template->terms + template->key, key, BUCKET_KEY_BYTES);
}

void bucket_key(char *key, uint64_t number)
{
    static const char start[4] = {'k', 'e', 'y', '-'};
    memcpy(key, start, sizeof(start));
    for (int i = BUCKET_KEY_BYTES - 1; i >= 4; i--, number /= 10) {
        key[i] = (char)('0' + number % 10);
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Moves *at behind the node name of a pid or a reference whose tag was read. */
static bool skip_atom(struct kv_bytes frame, size_t *at)
{
    if (*at + 2 > frame.length || frame.data[*at] != 119) {
        return false;
    }
    *at += 2 + (size_t)frame.data[*at + 1];
    return *at < frame.length;
}

/* {33, From, Ref} in front, as it is on the wire. ei would take longer for this than the node for
 * the whole call. */
static bool read_reply(struct kv_bytes frame, uint32_t *caller, uint64_t *number)
{
    static const uint8_t head[] = {104, 3, 97, ALIAS_SEND, 88};
    size_t at = sizeof(head);
    if (frame.length < at || memcmp(frame.data, head, at) != 0 || !skip_atom(frame, &at)) {
        return false;
    }
    at += 12;
    if (at + 3 > frame.length || frame.data[at] != 90 || kv_get16(frame.data + at + 1) != 3) {
        return false;
    }
    at += 3;
    if (!skip_atom(frame, &at) || at + 16 > frame.length) {
        return false;
    }
    *caller = kv_get32(frame.data + at + 4);
    *number = kv_get64(frame.data + at + 8);
    return true;
}

void bucket_answered(struct kv_bytes frame, uint32_t *caller, uint64_t *number)
{
    if (!read_reply(frame, caller, number)) {
        FAIL("a message that is no answer");
    }
}

/* ---- a bucket -------------------------------------------------------------------------------- */

/* [{durable, commit}, {store, {<<>>, Name}}] */
static void encode_options(ei_x_buff *terms, const char *durable)
{
    if (durable != NULL) {
        ei_x_encode_list_header(terms, 2);
        ei_x_encode_tuple_header(terms, 2);
        ei_x_encode_atom(terms, "durable");
        ei_x_encode_atom(terms, "commit");
        ei_x_encode_tuple_header(terms, 2);
        ei_x_encode_atom(terms, "store");
        ei_x_encode_tuple_header(terms, 2);
        ei_x_encode_binary(terms, "", 0);
        ei_x_encode_binary(terms, durable, (int)strlen(durable));
    }
    ei_x_encode_empty_list(terms);
}

static void request_bucket(struct link *link, const char *durable)
{
    const erlang_pid self = pid_of(0);
    const erlang_ref ref = ref_of(0);
    ei_x_buff terms;
    begin(&terms, 6, SPAWN_REQUEST);
    ei_x_encode_ref(&terms, &ref);
    ei_x_encode_pid(&terms, &self);
    ei_x_encode_pid(&terms, &self);
    ei_x_encode_tuple_header(&terms, 3);
    ei_x_encode_atom(&terms, "kv_bucket");
    ei_x_encode_atom(&terms, "init");
    ei_x_encode_long(&terms, 1);
    ei_x_encode_empty_list(&terms);
    ei_x_encode_list_header(&terms, 1); /* the arguments: [Options] */
    encode_options(&terms, durable);
    ei_x_encode_empty_list(&terms);
    link_queue(link, (uint8_t *)terms.buff, (size_t)terms.index);
    ei_x_free(&terms);
}

void bucket_spawn(struct link *link, const char *durable, erlang_pid *bucket)
{
    struct kv_bytes frame;
    request_bucket(link, durable);
    link_flush(link);
    link_next(link, &frame);
    const char *bytes = (const char *)frame.data;
    int at = 0;
    int arity = 0;
    long operation = 0;
    /* {31, Ref, To, Flags, Pid}, from a program that we trust. */
    if (ei_decode_tuple_header(bytes, &at, &arity) != 0 || arity != 5 ||
        ei_decode_long(bytes, &at, &operation) != 0 || operation != SPAWN_REPLY) {
        FAIL("no answer to the request for a bucket");
    }
    for (int i = 0; i < 3; i++) {
        ei_skip_term(bytes, &at);
    }
    if (ei_decode_pid(bytes, &at, bucket) != 0) {
        FAIL("the node makes no bucket");
    }
}
