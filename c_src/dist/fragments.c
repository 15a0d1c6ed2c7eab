#include "dist/fragments.h"

#include "base/alloc.h"
#include "base/endian.h"
#include "dist/frame.h"

struct sequence {
    struct kv_map_node by_number;
    uint64_t number;
    uint64_t awaited;       /* the id of the next fragment */
    struct kv_buffer frame; /* what has come, with the header of a whole frame */
};

struct fragment {
    bool first;
    uint64_t sequence;
    uint64_t id;
    struct kv_bytes content;
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

/* No sequence has the number 0, and ids end with 1. */
static int read_fragment(struct kv_bytes frame, struct fragment *fragment)
{
    if (frame.length < KV_FRAGMENT_HEADER) {
        return KV_ETRUNCATED;
    }
    fragment->first = frame.data[1] == KV_FRAME_FIRST;
    fragment->sequence = kv_get64(frame.data + 2);
    fragment->id = kv_get64(frame.data + 10);
    fragment->content =
        kv_bytes(frame.data + KV_FRAGMENT_HEADER, frame.length - KV_FRAGMENT_HEADER);
    return fragment->sequence == 0 || fragment->id == 0 ? KV_EPROTOCOL : KV_OK;
}

/* The first fragment holds the control message, whole, behind the number of cache references. */
static int check_first(const struct kv_fragments *fragments, struct kv_bytes content)
{
    if (content.length == 0) {
        return KV_ETRUNCATED;
    }
    if (content.data[0] != 0) {
        return KV_EPROTOCOL;
    }
    return kv_term_validate(kv_bytes(content.data + 1, content.length - 1), &fragments->limits.term,
                            NULL);
}

static int begin(struct kv_fragments *fragments, const struct fragment *fragment,
                 struct sequence **sequence)
{
    if (find(fragments, fragment->sequence) != NULL) {
        return KV_EPROTOCOL;
    }
    int error = check_first(fragments, fragment->content);
    if (error != KV_OK) {
        return error;
    }
    if (fragments->sequences.count >= KV_SEQUENCES_MAX) {
        return KV_ESIZE;
    }
    *sequence = add(fragments, fragment->sequence, fragment->id);
    return KV_OK;
}

static int append(struct kv_fragments *fragments, struct sequence *sequence, struct kv_bytes bytes)
{
    if (bytes.length > fragments->limits.message - sequence->frame.length ||
        bytes.length > fragments->limits.pending - fragments->pending) {
        return KV_ESIZE;
    }
    int error = kv_buffer_try_reserve(&sequence->frame, bytes.length);
    if (error == KV_OK) {
        kv_buffer_append(&sequence->frame, bytes);
        fragments->pending += bytes.length;
    }
    return error;
}

static int take_fragment(struct kv_fragments *fragments, const struct fragment *fragment,
                         struct kv_bytes *whole)
{
    static const uint8_t header[] = {KV_TERM_VERSION, KV_FRAME_WHOLE};
    struct sequence *sequence = NULL;
    int error = KV_OK;
    if (fragment->first) {
        error = begin(fragments, fragment, &sequence);
        if (error == KV_OK) {
            error = append(fragments, sequence, kv_bytes(header, sizeof(header)));
        }
    } else {
        sequence = find(fragments, fragment->sequence);
        error = sequence == NULL || fragment->id != sequence->awaited ? KV_EPROTOCOL : KV_OK;
    }
    if (error == KV_OK) {
        error = append(fragments, sequence, fragment->content);
    }
    if (error == KV_OK && --sequence->awaited == 0) {
        *whole = kv_buffer_bytes(&sequence->frame);
        fragments->finished = sequence->frame;
        fragments->pending -= sequence->frame.length;
        sequence->frame = (struct kv_buffer)KV_BUFFER_INIT;
        drop(fragments, sequence);
    }
    return error;
}

int kv_fragments_take(struct kv_fragments *fragments, struct kv_bytes frame, struct kv_bytes *whole)
{
    struct fragment fragment;
    kv_fragments_release(fragments);
    if (!kv_is_fragment(frame)) {
        *whole = frame;
        return KV_OK;
    }
    *whole = kv_bytes(NULL, 0);
    int error = read_fragment(frame, &fragment);
    return error == KV_OK ? take_fragment(fragments, &fragment, whole) : error;
}
