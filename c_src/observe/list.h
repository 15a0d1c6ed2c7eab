/* A list whose length is known only once it is complete. */
#ifndef KV_OBSERVE_LIST_H
#define KV_OBSERVE_LIST_H

#include <kv/term.h>

struct kv_term_list {
    struct kv_buffer elements; /* written one after the other */
    uint32_t count;
};

/* Appends the list and frees its elements. */
static inline void kv_term_list_close(struct kv_term_list *list, struct kv_buffer *to)
{
    if (list->count > 0) {
        kv_write_list(to, list->count);
        kv_write_term(to, kv_buffer_bytes(&list->elements));
    }
    kv_write_nil(to);
    kv_buffer_free(&list->elements);
}

/* Begins an element {Key, Value}. The caller writes the value to the returned buffer. */
static inline struct kv_buffer *kv_term_list_item(struct kv_term_list *list, const char *key)
{
    list->count++;
    kv_write_tuple(&list->elements, 2);
    kv_write_atom_text(&list->elements, key);
    return &list->elements;
}

static inline void kv_term_list_number(struct kv_term_list *list, const char *key, uint64_t value)
{
    kv_write_u64(kv_term_list_item(list, key), value);
}

static inline void kv_term_list_atom(struct kv_term_list *list, const char *key, const char *value)
{
    kv_write_atom_text(kv_term_list_item(list, key), value);
}

static inline void kv_term_list_string(struct kv_term_list *list, const char *key,
                                       const char *value)
{
    kv_write_string(kv_term_list_item(list, key), value);
}

#endif
