#include "wire/fragments.h"

#include "base/alloc.h"
#include "base/endian.h"
#include "base/least.h"
#include "wire/frame.h"

struct sequence {
    struct kv_map_node by_number;
    uint64_t number;
    uint64_t awaited;       /* the id of the next fragment */
    struct kv_buffer frame; /* the bytes kept so far, with the header of a whole frame */
    uint64_t length;        /* the bytes received so far, kept or not */
    int error;              /* the reason for a refusal, or KV_OK */
    bool cut;               /* some bytes were not kept */
};

struct fragment {
    bool first;
    uint64_t sequence;
    uint64_t id;
    struct kv_bytes content;
    size_t length; /* of the whole fragment; content may be only its beginning */
};

void kv_fragments_init(struct kv_fragments *fragments, const struct kv_fragment_limits *limits,
                       const struct kv_hash_key *key)
{
    *fragments = (struct kv_fragments){.limits = *limits, .key = *key};
}

void kv_fragments_release(struct kv_fragments *fragments)
{
    kv_buffer_free(&fragments->finished);
}

/* ---- sequences ------------------------------------------------------------------------------- */

static uint64_t hash_of(const struct kv_fragments *fragments, uint64_t number)
{
    return kv_siphash(&fragments->key, kv_bytes(&number, sizeof(number)));
}

static bool has_number(const struct kv_map_node *node, const void *key)
{
    return KV_MAP_OF(node, const struct sequence, by_number)->number == *(const uint64_t *)key;
}

static struct sequence *find(const struct kv_fragments *fragments, uint64_t number)
{
    struct kv_map_node *found =
        kv_map_find(&fragments->sequences, hash_of(fragments, number), has_number, &number);
    return found == NULL ? NULL : KV_MAP_OF(found, struct sequence, by_number);
}

static struct sequence *add(struct kv_fragments *fragments, uint64_t number, uint64_t id)
{
    struct sequence *sequence = kv_zalloc(sizeof(*sequence));
    sequence->number = number;
    sequence->awaited = id;
    kv_map_insert(&fragments->sequences, &sequence->by_number, hash_of(fragments, number));
    return sequence;
}

static void free_sequence(void *context, struct kv_map_node *node)
{
    struct sequence *sequence = KV_MAP_OF(node, struct sequence, by_number);
    (void)context;
    kv_buffer_free(&sequence->frame);
    kv_free(sequence);
}

static void drop(struct kv_fragments *fragments, struct sequence *sequence)
{
    fragments->pending -= sequence->frame.length;
    kv_map_remove(&fragments->sequences, &sequence->by_number);
    free_sequence(fragments, &sequence->by_number);
}

void kv_fragments_free(struct kv_fragments *fragments)
{
    kv_map_drain(&fragments->sequences, free_sequence, fragments);
    fragments->pending = 0;
    kv_fragments_release(fragments);
}

/* ---- fragments ------------------------------------------------------------------------------- */

/* Sequence numbers are never 0, and ids count down to 1. */
static int read_fragment(struct kv_bytes frame, size_t length, struct fragment *fragment)
{
    if (frame.length < KV_FRAGMENT_HEADER) {
        return KV_ETRUNCATED;
    }
    fragment->first = frame.data[1] == KV_FRAME_FIRST;
    fragment->sequence = kv_get64(frame.data + 2);
    fragment->id = kv_get64(frame.data + 10);
    fragment->content =
        kv_bytes(frame.data + KV_FRAGMENT_HEADER, frame.length - KV_FRAGMENT_HEADER);
    fragment->length = length - KV_FRAGMENT_HEADER;
    return fragment->sequence == 0 || fragment->id == 0 ? KV_EPROTOCOL : KV_OK;
}

/* The first fragment must have the whole control message, behind the number of cache references. */
static int check_first(const struct kv_fragments *fragments, const struct fragment *fragment)
{
    struct kv_bytes content = fragment->content;
    if (content.length == 0) {
        return KV_ETRUNCATED;
    }
    if (content.data[0] != 0) {
        return KV_EPROTOCOL;
    }
    int error = kv_term_validate(kv_bytes(content.data + 1, content.length - 1),
                                 &fragments->limits.term, NULL);
    bool cut = fragment->length > content.length;
    return error == KV_ETRUNCATED && cut ? KV_ESIZE : error;
}

static int begin(struct kv_fragments *fragments, const struct fragment *fragment,
                 struct sequence **sequence)
{
    if (find(fragments, fragment->sequence) != NULL) {
        return KV_EPROTOCOL;
    }
    int error = check_first(fragments, fragment);
    if (error != KV_OK && !kv_is_refusal(error)) {
        return error;
    }
    if (fragments->sequences.count >= KV_SEQUENCES_MAX) {
        return KV_ESIZE;
    }
    *sequence = add(fragments, fragment->sequence, fragment->id);
    (*sequence)->error = error;
    return KV_OK;
}

static size_t room(const struct kv_fragments *fragments)
{
    size_t pending = fragments->limits.pending;
    return fragments->pending < pending ? pending - fragments->pending : 0;
}

/* Returns KV_OK, or the reason why a message cannot grow by so many bytes. */
static int check_more(const struct kv_fragments *fragments, struct sequence *sequence,
                      struct kv_bytes bytes, size_t length)
{
    if (sequence->length > fragments->limits.message || length > bytes.length) {
        return KV_ESIZE;
    }
    return bytes.length > room(fragments) ||
                   kv_buffer_try_reserve(&sequence->frame, bytes.length) != KV_OK
               ? KV_EPENDING
               : KV_OK;
}

/* Refuses a message from now on: frees all but its beginning. */
static void refuse(struct kv_fragments *fragments, struct sequence *sequence, int error)
{
    struct kv_buffer head = KV_BUFFER_INIT;
    struct kv_bytes all = kv_buffer_bytes(&sequence->frame);
    kv_buffer_append(&head, kv_bytes(all.data, kv_least(all.length, KV_HEAD_MAX)));
    fragments->pending -= all.length - head.length;
    kv_buffer_free(&sequence->frame);
    sequence->frame = head;
    sequence->error = error;
    sequence->cut = head.length < all.length;
}

/* Keeps the bytes of a refused message that belong to its beginning, as long as there is room. */
static void keep_beginning(struct kv_fragments *fragments, struct sequence *sequence,
                           struct kv_bytes bytes, size_t length)
{
    size_t have = sequence->frame.length;
    size_t most = kv_least(have + room(fragments), KV_HEAD_MAX);
    most = most < KV_HEAD_LEAST ? KV_HEAD_LEAST : most;
    size_t kept = sequence->cut || most < have ? 0 : kv_least(bytes.length, most - have);
    if (kept > 0) {
        kv_buffer_append(&sequence->frame, kv_bytes(bytes.data, kept));
        fragments->pending += kept;
    }
    sequence->cut = sequence->cut || kept < length;
}

static void append(struct kv_fragments *fragments, struct sequence *sequence, struct kv_bytes bytes,
                   size_t length)
{
    sequence->length += length;
    if (sequence->error == KV_OK) {
        int error = check_more(fragments, sequence, bytes, length);
        if (error == KV_OK) {
            kv_buffer_append(&sequence->frame, bytes);
            fragments->pending += bytes.length;
            return;
        }
        refuse(fragments, sequence, error);
    }
    keep_beginning(fragments, sequence, bytes, length);
}

static void finish(struct kv_fragments *fragments, struct sequence *sequence,
                   struct kv_arrived *message)
{
    fragments->pending -= sequence->frame.length;
    fragments->finished = sequence->frame;
    sequence->frame = (struct kv_buffer)KV_BUFFER_INIT;
    *message = (struct kv_arrived){.bytes = kv_buffer_bytes(&fragments->finished),
                                   .length = sequence->length,
                                   .error = sequence->error};
    drop(fragments, sequence);
}

static int take_fragment(struct kv_fragments *fragments, const struct fragment *fragment,
                         struct kv_arrived *message)
{
    static const uint8_t header[] = {KV_TERM_VERSION, KV_FRAME_WHOLE};
    struct sequence *sequence = NULL;
    if (fragment->first) {
        int error = begin(fragments, fragment, &sequence);
        if (error != KV_OK) {
            return error;
        }
        append(fragments, sequence, kv_bytes(header, sizeof(header)), sizeof(header));
    } else {
        sequence = find(fragments, fragment->sequence);
        if (sequence == NULL || fragment->id != sequence->awaited) {
            return KV_EPROTOCOL;
        }
    }
    append(fragments, sequence, fragment->content, fragment->length);
    if (--sequence->awaited == 0) {
        finish(fragments, sequence, message);
    }
    return KV_OK;
}

int kv_fragments_take(struct kv_fragments *fragments, struct kv_bytes frame, size_t length,
                      struct kv_arrived *message)
{
    struct fragment fragment;
    kv_fragments_release(fragments);
    if (!kv_is_fragment(frame)) {
        int error = length > frame.length ? KV_ESIZE : KV_OK;
        *message = (struct kv_arrived){.bytes = frame, .length = length, .error = error};
        return KV_OK;
    }
    *message = (struct kv_arrived){.bytes = {NULL, 0}};
    int error = read_fragment(frame, length, &fragment);
    return error == KV_OK ? take_fragment(fragments, &fragment, message) : error;
}

struct kv_bytes kv_fragments_keep(struct kv_fragments *fragments, struct kv_bytes message)
{
    kv_fragments_release(fragments);
    if (kv_buffer_try_reserve(&fragments->finished, message.length) == KV_OK) {
        kv_buffer_append(&fragments->finished, message);
    }
    return kv_buffer_bytes(&fragments->finished);
}
