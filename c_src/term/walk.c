#include "term/walk.h"

#include "base/alloc.h"
#include "base/endian.h"
#include "term/leaf.h"
#include "term/token.h"

enum frame_kind { SEQUENCE, LIST, MAP };

/* A BEAM writes no longer list as a string; OTP: external.c, MAX_STRING_LEN. */
enum { STRING_MAX = 65535 };

static int grow(struct kv_walk *walk)
{
    bool local = walk->frames == walk->local;
    size_t capacity = walk->capacity * 2;
    struct kv_frame *frames =
        kv_try_realloc(local ? NULL : walk->frames, capacity * sizeof(struct kv_frame));
    if (frames == NULL) {
        return KV_ENOMEM;
    }
    if (local) {
        memcpy(frames, walk->local, sizeof(walk->local));
    }
    walk->frames = frames;
    walk->capacity = capacity;
    return KV_OK;
}

/* A new frame for a container. Returns NULL if there is no memory. */
static struct kv_frame *push(struct kv_walk *walk, enum frame_kind kind, size_t remaining)
{
    if (walk->depth == walk->capacity && grow(walk) != KV_OK) {
        return NULL;
    }
    struct kv_frame *frame = &walk->frames[walk->depth++];
    frame->kind = (uint8_t)kind;
    frame->outer_quiet = walk->quiet;
    frame->at_key = false;
    frame->remaining = remaining;
    frame->start = walk->out->length;
    frame->count = 0;
    frame->index = 0;
    frame->map = 0;
    return frame;
}

static void pop(struct kv_walk *walk)
{
    walk->quiet = walk->frames[--walk->depth].outer_quiet;
}

static int room(struct kv_walk *walk, size_t size)
{
    return walk->quiet ? KV_OK : kv_buffer_try_reserve(walk->out, size);
}

/* ---- entering -------------------------------------------------------------------------------- */

static int walk_leaf(struct kv_walk *walk, size_t size)
{
    const uint8_t *term = walk->next;
    walk->next += size;
    if (walk->quiet) {
        return KV_OK;
    }
    if (kv_buffer_try_reserve(walk->out, KV_LEAF_MAX(size)) != KV_OK) {
        return KV_ENOMEM;
    }
    kv_leaf_canonical(term, size, walk->zeros, walk->out);
    return KV_OK;
}

static int enter_tuple(struct kv_walk *walk, struct kv_token token)
{
    if (room(walk, KV_LONG_HEADER) != KV_OK || push(walk, SEQUENCE, token.children) == NULL) {
        return KV_ENOMEM;
    }
    if (!walk->quiet) {
        kv_write_tuple(walk->out, (uint32_t)token.children);
    }
    walk->next += token.size;
    return KV_OK;
}

/* Writes a count that is corrected at the end of the list: its tail may be another list. */
static int enter_list(struct kv_walk *walk, struct kv_token token)
{
    size_t elements = token.children - 1;
    struct kv_frame *frame = push(walk, LIST, elements);
    if (frame == NULL || room(walk, KV_LONG_HEADER) != KV_OK) {
        return KV_ENOMEM;
    }
    frame->count = elements;
    if (!walk->quiet) {
        kv_write_list(walk->out, (uint32_t)elements);
    }
    walk->next += token.size;
    return KV_OK;
}

static int enter_map(struct kv_walk *walk, struct kv_token token)
{
    const uint8_t *map = walk->next;
    size_t pairs = token.children / 2;
    walk->next += token.size;
    if (pairs > 1 || (walk->every_map && !walk->quiet)) {
        struct kv_frame *frame = push(walk, MAP, pairs);
        if (frame == NULL) {
            return KV_ENOMEM;
        }
        frame->at_key = true;
        return walk->enter_map(walk, frame, map);
    }
    if (room(walk, KV_LONG_HEADER) != KV_OK || push(walk, SEQUENCE, 2) == NULL) {
        return KV_ENOMEM;
    }
    if (!walk->quiet) {
        kv_write_map(walk->out, 1);
    }
    return KV_OK;
}

/* Writes a fun as it is. Only a walk into funs visits its variables, to find maps in them. */
static int enter_fun(struct kv_walk *walk, struct kv_token token)
{
    const uint8_t *fun = walk->next;
    size_t variables = kv_get32(fun + KV_FUN_FREE_OFFSET);
    int error = walk_leaf(walk, token.size);
    if (error != KV_OK || !walk->into_funs || variables == 0) {
        return error;
    }
    if (push(walk, SEQUENCE, variables) == NULL) {
        return KV_ENOMEM;
    }
    walk->quiet = true;
    walk->next = fun + KV_FUN_HEADER;
    for (int part = 0; part < 4; part++) { /* module, index, uniq, pid */
        walk->next += kv_token(walk->next).size;
    }
    return KV_OK;
}

/* Walks a leaf, or enters a container. */
static int begin(struct kv_walk *walk)
{
    /* A list of no elements is equal to its tail: external.c, dec_term(), LIST_EXT. */
    while (walk->next[0] == KV_TAG_LIST && kv_get32(walk->next + 1) == 0) {
        walk->next += KV_LONG_HEADER;
    }
    struct kv_token token = kv_token(walk->next);
    if (walk->next[0] == KV_TAG_NEW_FUN) {
        return enter_fun(walk, token);
    }
    if (token.children == 0) {
        return walk_leaf(walk, token.size);
    }
    switch (walk->next[0]) {
    case KV_TAG_LIST:
        return enter_list(walk, token);
    case KV_TAG_MAP:
        return enter_map(walk, token);
    default:
        return enter_tuple(walk, token);
    }
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* Returns true if all elements of the list written from `start` on are bytes. */
static bool is_string(const struct kv_buffer *out, const struct kv_frame *list)
{
    size_t at = list->start + KV_LONG_HEADER;
    if (list->count > STRING_MAX || out->length - at != 2 * list->count) {
        return false;
    }
    for (; at < out->length; at += 2) {
        if (out->data[at] != KV_TAG_SMALL_INTEGER) {
            return false;
        }
    }
    return true;
}

static void make_string(struct kv_buffer *out, const struct kv_frame *list)
{
    uint8_t *to = out->data + list->start;
    const uint8_t *from = to + KV_LONG_HEADER;
    to[0] = KV_TAG_STRING;
    kv_set16(to + 1, (uint16_t)list->count);
    to += 3;
    for (size_t i = 0; i < list->count; i++) {
        to[i] = from[2 * i + 1];
    }
    out->length = list->start + 3 + list->count;
}

static int end_proper_list(struct kv_walk *walk, struct kv_frame *list)
{
    list->remaining = 0;
    if (walk->quiet) {
        return KV_OK;
    }
    if (is_string(walk->out, list)) {
        make_string(walk->out, list);
        return KV_OK;
    }
    if (room(walk, 1) != KV_OK) {
        return KV_ENOMEM;
    }
    kv_set32(walk->out->data + list->start + 1, (uint32_t)list->count);
    kv_write_nil(walk->out);
    return KV_OK;
}

/* The tail of a list is a string: its bytes are further elements. */
static int append_string(struct kv_walk *walk, struct kv_frame *list)
{
    size_t length = kv_get16(walk->next + 1);
    const uint8_t *text = walk->next + 3;
    walk->next += 3 + length;
    list->count += length;
    if (room(walk, 2 * length) != KV_OK) {
        return KV_ENOMEM;
    }
    for (size_t i = 0; i < length && !walk->quiet; i++) {
        kv_buffer_u8(walk->out, KV_TAG_SMALL_INTEGER);
        kv_buffer_u8(walk->out, text[i]);
    }
    return end_proper_list(walk, list);
}

/* Called after the elements. If the tail is a list, its elements continue this list. */
static int walk_tail(struct kv_walk *walk, struct kv_frame *list)
{
    while (walk->next[0] == KV_TAG_LIST && kv_get32(walk->next + 1) == 0) {
        walk->next += KV_LONG_HEADER;
    }
    switch (walk->next[0]) {
    case KV_TAG_LIST:
        list->remaining = kv_get32(walk->next + 1);
        list->count += list->remaining;
        walk->next += KV_LONG_HEADER;
        return KV_OK;
    case KV_TAG_STRING:
        return append_string(walk, list);
    case KV_TAG_NIL:
        walk->next++;
        return end_proper_list(walk, list);
    default: /* improper list: walk the tail as one more term */
        if (!walk->quiet) {
            kv_set32(walk->out->data + list->start + 1, (uint32_t)list->count);
        }
        list->kind = SEQUENCE;
        list->remaining = 1;
        return KV_OK;
    }
}

/* ---- all together ---------------------------------------------------------------------------- */

/* Called after each term of the innermost frame. */
static int step(struct kv_walk *walk, struct kv_frame *frame)
{
    if (frame->kind == MAP) {
        return walk->next_in_map(walk, frame);
    }
    frame->remaining--;
    if (frame->kind == LIST && frame->remaining == 0) {
        return walk_tail(walk, frame);
    }
    return KV_OK;
}

int kv_walk_up_to(struct kv_walk *walk, const uint8_t *stop)
{
    do {
        if (stop != NULL && walk->next >= stop && !walk->is_ending) {
            return KV_WALK_UNFINISHED;
        }
        size_t depth = walk->depth;
        int error = walk->is_ending ? KV_OK : begin(walk);
        walk->is_ending = false;
        /* A container that ends is a term less of the frame around it. */
        while (error == KV_OK && walk->depth > 0 && walk->depth <= depth) {
            struct kv_frame *frame = &walk->frames[walk->depth - 1];
            error = step(walk, frame);
            if (error != KV_OK || frame->remaining > 0) {
                break;
            }
            pop(walk);
            depth = walk->depth;
        }
        if (error != KV_OK) {
            walk->is_ending = error == KV_WALK_UNFINISHED;
            return error;
        }
    } while (walk->depth > 0);
    return KV_OK;
}

void kv_walk_from(struct kv_walk *walk)
{
    walk->frames = walk->local;
    walk->capacity = KV_WALK_LOCAL_FRAMES;
    walk->depth = 0;
    walk->is_ending = false;
}

void kv_walk_free_frames(struct kv_walk *walk)
{
    if (walk->frames != walk->local) {
        kv_free(walk->frames);
    }
}

int kv_walk(struct kv_walk *walk)
{
    kv_walk_from(walk);
    int error = kv_walk_up_to(walk, NULL);
    kv_walk_free_frames(walk);
    return error;
}
