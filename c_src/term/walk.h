/* Going through a validated term and writing its canonical form, without recursion.
 *
 * What a map's pairs mean to the walk is its owner's: one that only wants to know their order
 * (order.c) and one that writes them in it (canonical.c). */
#ifndef KV_TERM_WALK_H
#define KV_TERM_WALK_H

#include <kv/term.h>

enum { KV_WALK_LOCAL_FRAMES = 12 };

/* A container of which not all terms have been walked. */
struct kv_frame {
    uint8_t kind;
    bool outer_quiet; /* what walk->quiet was outside */
    bool at_key;      /* of a map: whether its present term is a key */
    size_t remaining; /* terms to come, with the present one; of a map: pairs */
    size_t start;     /* where walk->out was when it was entered */
    size_t count;     /* of a list: elements so far */
    size_t index;     /* of a map: its owner's */
    size_t map;       /* of a map: its owner's */
};

struct kv_walk {
    const uint8_t *next;
    struct kv_buffer *out;
    enum kv_zeros zeros;
    bool quiet;     /* walk without writing */
    bool into_funs; /* walk the variables of funs, too */
    /* A map of two pairs or more is entered, or of one (see every_map): walk->next is its first
     * key, frame->remaining its pairs. An error ends the walk. */
    int (*enter_map)(struct kv_walk *walk, struct kv_frame *frame, const uint8_t *map);
    /* A key or a value has been walked: remaining is the owner's to count; 0 ends the map. */
    int (*next_in_map)(struct kv_walk *walk, struct kv_frame *frame);
    bool every_map; /* ask the owner about maps of one pair, too, where they are written */
    void *owner;

    struct kv_frame *frames;
    size_t depth;
    size_t capacity;
    struct kv_frame local[KV_WALK_LOCAL_FRAMES];
};

/* Walks the one term at walk->next. The fields above `frames` are the caller's. KV_OK, KV_ENOMEM or
 * what a function of the owner answered. */
int kv_walk(struct kv_walk *walk);

#endif
