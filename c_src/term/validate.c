/* Validates terms: refuses every term that a BEAM's decoder would refuse, because a stored term
 * that a reader cannot decode closes the reader's connection. OTP: erts/emulator/beam/external.c,
 * decoded_size() and dec_term(). The rules are those of OTP unless a comment says otherwise. */
#include "term/validate.h"

#include "base/alloc.h"
#include "base/endian.h"
#include "term/order.h"
#include "term/piecewise.h"
#include "term/plain.h"
#include "term/token.h"
#include <kv/stride.h>

enum {
    /* The index of libei is an int, and offsets are kept in 32 bits. */
    SIZE_MAX_EVER = 1 << 30,
    LOCAL_LEVELS = 16,
    MANY = 8, /* pending terms from which on looking for runs of leaves pays */
    FUN_MAX_FREE = 255,
    UNFINISHED = -1, /* no error is negative */
};

/* A container with terms still to be read. */
struct level {
    size_t around;      /* pending terms of the container around it */
    const uint8_t *end; /* fun: the end according to its Size; else NULL */
};

struct check {
    struct kv_raw raw;
    size_t pending; /* terms of the innermost level */
    struct level *levels;
    size_t depth;
    size_t capacity;
    size_t limit;
    bool has_pairs; /* a map of two pairs or more was seen */
    struct level local[LOCAL_LEVELS];
};

/* ---- containers ------------------------------------------------------------------------------ */

static int grow_levels(struct check *check)
{
    size_t capacity = check->capacity * 2;
    bool local = check->levels == check->local;
    struct level *levels =
        kv_try_realloc(local ? NULL : check->levels, capacity * sizeof(struct level));
    if (levels == NULL) {
        return KV_ENOMEM;
    }
    if (local) {
        memcpy(levels, check->local, sizeof(check->local));
    }
    check->levels = levels;
    check->capacity = capacity;
    return KV_OK;
}

/* Goes one level down, to `pending` terms. Each term has at least one byte, so a count that exceeds
 * the bytes left is refused here, before memory is spent on it. */
static inline int enter(struct check *check, size_t pending, const uint8_t *end)
{
    if (pending > kv_raw_left(&check->raw)) {
        return KV_ETRUNCATED;
    }
    if (pending == 0) {
        return KV_OK;
    }
    if (check->depth >= check->limit) {
        return KV_EDEPTH;
    }
    if (check->depth == check->capacity && grow_levels(check) != KV_OK) {
        return KV_ENOMEM;
    }
    check->levels[check->depth++] = (struct level){.around = check->pending, .end = end};
    check->pending = pending;
    return KV_OK;
}

static int enter_counted(struct check *check, uint8_t tag)
{
    const uint8_t *count = kv_raw_take(&check->raw, 4);
    if (count == NULL) {
        return KV_ETRUNCATED;
    }
    size_t terms = kv_get32(count);
    if (terms > kv_raw_left(&check->raw)) {
        return KV_ETRUNCATED;
    }
    if (tag == KV_TAG_LIST) {
        return enter(check, terms + 1, NULL);
    }
    if (tag == KV_TAG_MAP) {
        check->has_pairs = check->has_pairs || terms > 1;
        return enter(check, 2 * terms, NULL);
    }
    return enter(check, terms, NULL);
}

static int enter_small_tuple(struct check *check)
{
    const uint8_t *arity = kv_raw_take(&check->raw, 1);
    return arity == NULL ? KV_ETRUNCATED : enter(check, *arity, NULL);
}

/* Stricter than a BEAM, which ignores Size: the parts must fill Size exactly, because
 * kv_term_size() skips a fun by it. */
static int enter_fun(struct check *check)
{
    const uint8_t *header = kv_raw_take(&check->raw, KV_FUN_HEADER - 1);
    if (header == NULL) {
        return KV_ETRUNCATED;
    }
    size_t size = kv_get32(header);
    if (size > (size_t)(check->raw.end - header)) {
        return KV_ETRUNCATED;
    }
    size_t variables = kv_get32(header + KV_FUN_FREE_OFFSET - 1);
    if (variables > FUN_MAX_FREE) {
        return KV_EMALFORMED;
    }
    int error = kv_raw_atom(&check->raw);
    if (error == KV_OK) {
        error = kv_raw_small(&check->raw, KV_SMALL_MIN);
    }
    if (error == KV_OK) {
        error = kv_raw_small(&check->raw, KV_SMALL_MIN);
    }
    if (error == KV_OK) {
        error = kv_raw_pid(&check->raw);
    }
    if (error != KV_OK) {
        return error;
    }
    if (variables == 0 && check->raw.next != header + size) {
        return KV_EMALFORMED;
    }
    return enter(check, variables, header + size);
}

/* ---- all together ---------------------------------------------------------------------------- */

static int check_term(struct check *check)
{
    const uint8_t *tag = kv_raw_take(&check->raw, 1);
    if (tag == NULL) {
        return KV_ETRUNCATED;
    }
    switch (*tag) {
    case KV_TAG_SMALL_TUPLE:
        return enter_small_tuple(check);
    case KV_TAG_LARGE_TUPLE:
    case KV_TAG_LIST:
    case KV_TAG_MAP:
        return enter_counted(check, *tag);
    case KV_TAG_NEW_FUN:
        return enter_fun(check);
    default:
        return kv_raw_leaf(&check->raw, *tag);
    }
}

/* `past`: the end of a leaf, or NULL. Then check_term() takes the general way, or finds the error.
 */
static inline int check_leaf(struct check *check, const uint8_t *past)
{
    if (past == NULL) {
        return check_term(check);
    }
    check->raw.next = past;
    return KV_OK;
}

/* A map is tried the short way as long as no map needed the general one: that one looks at the keys
 * of all maps again. So a term costs at most one attempt in vain. */
static int check_map(struct check *check)
{
    const uint8_t *past = check->has_pairs ? NULL
                                           : kv_past_plain(check->raw.next, check->raw.end,
                                                           check->limit - check->depth);
    return check_leaf(check, past);
}

/* check_term() with short ways for the terms that most messages consist of. */
static inline int check_next(struct check *check)
{
    const uint8_t *p = check->raw.next;
    const uint8_t *end = check->raw.end;
    size_t room = (size_t)(end - p);
    switch (room >= KV_LONG_HEADER ? *p : 0) { /* near the end: check lengths first */
    case KV_TAG_SMALL_ATOM_UTF8:
        return check_leaf(check, kv_past_atom(p, end, 0));
    case KV_TAG_BINARY:
        return check_leaf(check, kv_past_binary(p, end));
    case KV_TAG_SMALL_INTEGER:
        return check_leaf(check, p + 2);
    case KV_TAG_INTEGER:
        return check_leaf(check, p + 5);
    case KV_TAG_NIL:
        return check_leaf(check, p + 1);
    case KV_TAG_NEW_PID:
        return check_leaf(check, kv_past_pid(p, end));
    case KV_TAG_NEWER_REFERENCE:
        return check_leaf(check, kv_past_ref(p, end));
    case KV_TAG_SMALL_TUPLE:
        check->raw.next = p + 2;
        return enter(check, p[1], NULL);
    case KV_TAG_MAP:
        return check_map(check);
    default:
        return check_term(check);
    }
}

/* The end of a pair of leaves. */
static inline const uint8_t *past_pair(const uint8_t *p, const uint8_t *end)
{
    if ((size_t)(end - p) < 2 || p[1] != 2) {
        return NULL;
    }
    p = kv_past_leaf(p + 2, end);
    return p == NULL ? NULL : kv_past_leaf(p, end);
}

/* Skips leaves and pairs of leaves, of which long lists and maps consist, up to a term of another
 * kind, the last term of the level or `stop`. */
static void skip_many(struct check *check, const uint8_t *stop)
{
    const bool is_pair_allowed = check->depth < check->limit;
    const uint8_t *end = check->raw.end;
    const uint8_t *p = check->raw.next;
    size_t pending = check->pending;
    struct kv_stride stride = {0};
    for (; pending > 0 && p < stop; pending--) {
        if (kv_stride_fits(&stride, p, end)) {
            p += stride.size;
            continue;
        }
        const bool is_pair = *p == KV_TAG_SMALL_TUPLE && is_pair_allowed;
        const uint8_t *past = is_pair ? past_pair(p, end) : kv_past_leaf(p, end);
        if (past == NULL) {
            break;
        }
        kv_stride_take(&stride, p, past, end);
        p = past;
    }
    check->raw.next = p;
    check->pending = pending;
}

/* Runs until no term is pending: KV_OK. Or until it is behind `stop`: UNFINISHED; then it goes on
 * when it is called again. After each term, leaves the containers that are complete. */
__attribute__((always_inline)) static inline int check_up_to(struct check *check,
                                                             const uint8_t *stop, bool in_pieces)
{
    for (;;) {
        if (in_pieces && check->raw.next >= stop && stop != check->raw.end) {
            return UNFINISHED;
        }
        int error = check_next(check);
        if (error != KV_OK) {
            return error;
        }
        while (check->pending == 0) {
            if (check->depth == 0) {
                return KV_OK;
            }
            const struct level *level = &check->levels[--check->depth];
            if (level->end != NULL && level->end != check->raw.next) {
                return KV_EMALFORMED;
            }
            check->pending = level->around;
        }
        check->pending--;
        if (check->pending >= MANY) {
            skip_many(check, stop);
        }
    }
}

static int check_all(struct check *check)
{
    return check_up_to(check, check->raw.end, false);
}

/* The end of a flat tuple, such as {get, Key, Default}: most requests are one. */
static inline const uint8_t *past_flat_tuple(const uint8_t *p, const uint8_t *end)
{
    if (end - p < 2 || p[0] != KV_TAG_SMALL_TUPLE) {
        return NULL;
    }
    unsigned rest = p[1];
    for (p += 2; p != NULL && rest > 0; rest--) {
        p = kv_past_leaf(p, end);
    }
    return p;
}

/* The end of a term that needs neither levels nor an order of its pairs, as most requests and
 * values do. */
static inline const uint8_t *past_usual(const uint8_t *p, const uint8_t *end, size_t levels)
{
    const uint8_t *flat = levels > 0 ? past_flat_tuple(p, end) : NULL;
    return flat != NULL ? flat : kv_past_plain(p, end, levels);
}

static size_t bytes_given(struct kv_bytes bytes, const struct kv_term_limits *limits)
{
    size_t most = limits->size < SIZE_MAX_EVER ? limits->size : SIZE_MAX_EVER;
    return bytes.length < most ? bytes.length : most;
}

static void begin_check(struct check *check, const uint8_t *bytes, size_t given, size_t limit)
{
    check->raw.next = bytes;
    check->raw.end = bytes + given;
    check->levels = check->local;
    check->capacity = LOCAL_LEVELS;
    check->depth = 0;
    check->pending = 0;
    check->limit = limit;
    check->has_pairs = false;
}

static void end_check(struct check *check)
{
    if (check->levels != check->local) {
        kv_free(check->levels);
    }
}

int kv_term_validate(struct kv_bytes bytes, const struct kv_term_limits *limits, size_t *length)
{
    size_t given = bytes_given(bytes, limits);
    const uint8_t *past = past_usual(bytes.data, bytes.data + given, limits->depth);
    if (past != NULL) {
        if (length != NULL) {
            *length = (size_t)(past - bytes.data);
        }
        return KV_OK;
    }
    struct check check;
    begin_check(&check, bytes.data, given, limits->depth);
    int error = check_all(&check);
    if (error == KV_ETRUNCATED && given < bytes.length) {
        error = KV_ESIZE;
    }
    size_t size = (size_t)(check.raw.next - bytes.data);
    if (error == KV_OK && check.has_pairs) {
        error = kv_order_maps(kv_bytes(bytes.data, size), limits->zeros, NULL);
    }
    end_check(&check);
    if (error == KV_OK && length != NULL) {
        *length = size;
    }
    return error;
}

/* ---- in pieces ------------------------------------------------------------------------------- */

struct kv_piecewise {
    struct kv_bytes bytes;
    struct kv_term_limits limits;
    struct check check;
    struct kv_maps_check *maps; /* the second half, if there are maps of two pairs or more */
    int error;                  /* UNFINISHED while there is more to do */
};

struct kv_piecewise *kv_piecewise_new(struct kv_bytes bytes, const struct kv_term_limits *limits)
{
    struct kv_piecewise *piecewise = kv_alloc(sizeof *piecewise);
    piecewise->bytes = bytes;
    piecewise->limits = *limits;
    piecewise->maps = NULL;
    piecewise->error = UNFINISHED;
    begin_check(&piecewise->check, bytes.data, bytes_given(bytes, limits), limits->depth);
    return piecewise;
}

static size_t taken(const struct kv_piecewise *piecewise)
{
    return (size_t)(piecewise->check.raw.next - piecewise->bytes.data);
}

/* The structure of the next bytes. */
static void go_on_with_structure(struct kv_piecewise *piecewise, size_t bytes)
{
    struct check *check = &piecewise->check;
    const size_t left = kv_raw_left(&check->raw);
    const uint8_t *stop = left > bytes ? check->raw.next + bytes : check->raw.end;
    const int error = check_up_to(check, stop, true);
    if (error == KV_OK && check->has_pairs) {
        const struct kv_bytes term = kv_bytes(piecewise->bytes.data, taken(piecewise));
        piecewise->maps = kv_maps_check_new(term, piecewise->limits.zeros);
        return;
    }
    const size_t given = (size_t)(check->raw.end - piecewise->bytes.data);
    piecewise->error = error == KV_ETRUNCATED && given < piecewise->bytes.length ? KV_ESIZE : error;
}

bool kv_piecewise_go_on(struct kv_piecewise *piecewise, size_t bytes)
{
    if (piecewise->maps == NULL && piecewise->error == UNFINISHED) {
        go_on_with_structure(piecewise, bytes);
    } else if (piecewise->error == UNFINISHED) {
        (void)kv_maps_check_go_on(piecewise->maps, bytes, &piecewise->error);
    }
    return piecewise->error == UNFINISHED;
}

int kv_piecewise_result(const struct kv_piecewise *piecewise, size_t *length)
{
    *length = taken(piecewise);
    return piecewise->error;
}

void kv_piecewise_free(struct kv_piecewise *piecewise)
{
    if (piecewise != NULL) {
        kv_maps_check_free(piecewise->maps);
        end_check(&piecewise->check);
        kv_free(piecewise);
    }
}
