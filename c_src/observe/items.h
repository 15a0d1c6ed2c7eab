/* The items of erlang:system_info/1 and erlang:statistics/1. */
#ifndef KV_OBSERVE_ITEMS_H
#define KV_OBSERVE_ITEMS_H

#include "observe/list.h"

/* Add the names of the items that are answered, as atoms. */
void kv_system_items(struct kv_term_list *list);
void kv_statistics_items(struct kv_term_list *list);
void kv_process_items(struct kv_term_list *list); /* of process_info: process_info.c */

#endif
