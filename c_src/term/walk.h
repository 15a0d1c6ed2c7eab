/* Walks a validated term and writes its canonical form, without recursion.
 *
 * The owner of a walk decides how maps are walked. order.c only finds the order of their pairs;
 * canonical.c writes the pairs in this order. */
#ifndef KV_TERM_WALK_H
#define KV_TERM_WALK_H

#include <kv/term.h>

enum { KV_WALK_LOCAL_FRAMES = 12 };

/* A container with terms that are still to be walked. */
struct kv_frame {
    uint8_t kind;
    bool outer_quiet; /* walk->quiet outside the container */
    bool at_key;      /* map: the present term is a key */
    size_t remaining; /* terms to come, with the present one; map: pairs */
    size_t start;     /* length of walk->out when the container was entered */
    size_t count;     /* list: elements so far */
    size_t index;     /* map: for the owner */
    size_t map;       /* map: for the owner */
};

struct kv_walk {
    const uint8_t *next;
    struct kv_buffer *out;
    enum kv_zeros zeros;
    bool quiet;     /* do not write */
    bool into_funs; /* also walk the variables of funs */
    /* Called when a map of two pairs or more is entered, and see every_map. walk->next is the first
     * key and frame->remaining the number of pairs. An error ends the walk. */
    int (*enter_map)(struct kv_walk *walk, struct kv_frame *frame, const uint8_t *map);
    /* Called after each key and each value. The owner must count frame->remaining down; 0 ends the
     * map. KV_WALK_UNFINISHED with 0: the owner has more to do, and is called again with 0 when the
     * walk goes on. */
    int (*next_in_map)(struct kv_walk *walk, struct kv_frame *frame);
    bool every_map; /* call enter_map for maps of one pair, too, unless the walk is quiet */
    void *owner;

    struct kv_frame *frames;
    size_t depth;
    size_t capacity;
    bool is_ending; /* next_in_map has more to do */
    struct kv_frame local[KV_WALK_LOCAL_FRAMES];
};

/* Walks the one term at walk->next. The caller sets the fields above `frames`. Returns KV_OK,
 * KV_ENOMEM or the error that a function of the owner returned. */
int kv_walk(struct kv_walk *walk);

/* The same in pieces: kv_walk_from(), then kv_walk_up_to() while it returns KV_WALK_UNFINISHED: it
 * stops behind `stop`, an address within the term; NULL: it does not stop. An owner may stop it,
 * too. The walk must not move in between. kv_walk_free_frames() frees the frames. */
enum { KV_WALK_UNFINISHED = -1 };
void kv_walk_from(struct kv_walk *walk);
int kv_walk_up_to(struct kv_walk *walk, const uint8_t *stop);
void kv_walk_free_frames(struct kv_walk *walk);

#endif
