/* An intrusive doubly linked list: each element has the link as a field. A list is circular and
 * begins with a link of its own. */
#ifndef KV_BASE_LIST_H
#define KV_BASE_LIST_H

#include "base/assert.h"

#include <stdbool.h>
#include <stddef.h>

struct kv_list {
    struct kv_list *next;
    struct kv_list *previous;
};

/* Returns the struct of `type` whose field `field` is the link `link`. */
#define KV_LIST_OF(link, type, field) ((type *)(void *)((char *)(link)-offsetof(type, field)))

/* Iterates over the links of a list. The body may remove the current link, and no other. */
#define KV_LIST_FOREACH(link, list)                                                                \
    for (struct kv_list *link = (list)->next, *link##_next = link->next; link != (list);           \
         link = link##_next, link##_next = link->next)

static inline void kv_list_init(struct kv_list *list)
{
    list->next = list;
    list->previous = list;
}

static inline bool kv_list_is_empty(const struct kv_list *list)
{
    return list->next == list;
}

/* Appends a link, which must not be in a list, at the end. */
static inline void kv_list_append(struct kv_list *list, struct kv_list *link)
{
    kv_assert(list->previous->next == list);
    link->next = list;
    link->previous = list->previous;
    list->previous->next = link;
    list->previous = link;
}

/* Removes a link from its list. The link is then an empty list of its own, so that removing it
 * again is harmless. */
static inline void kv_list_remove(struct kv_list *link)
{
    kv_assert(link->previous->next == link && link->next->previous == link);
    link->previous->next = link->next;
    link->next->previous = link->previous;
    kv_list_init(link);
}

/* Moves all links to the end of another list, in their order. */
static inline void kv_list_move(struct kv_list *from, struct kv_list *to)
{
    KV_LIST_FOREACH (link, from) {
        kv_list_remove(link);
        kv_list_append(to, link);
    }
}

#endif
