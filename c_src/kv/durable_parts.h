/* Shared by the files of durable tables: kv/durable.c has the set of them and what each is,
 * kv/durable_changes.c records their changes, kv/durable_names.c has those of a registry,
 * kv/durable_join.c finds these, kv/durable_puts.c the puts of a recovery. */
#ifndef KV_DURABLE_PARTS_H
#define KV_DURABLE_PARTS_H

#include "kv/durable.h"

/* The `gone` of a table, with its struct kv_durable: what the table itself has removed. Expiry
 * needs no record: the expiry itself has one. */
void kv_durable_removed(void *context, enum kv_gone why, struct kv_item key);

/* Returns true if changes of the table are to be recorded: it is not gone. Otherwise the answer
 * waits until the end of the table is durable: a crash before that brings the table back. */
bool kv_durable_records(struct kv_durable *durable);
/* That. The registry of the table is destroyed. */
void kv_durable_wait_for_registry(struct kv_durable *durable);

/* Records what recovery has evicted, unless a later record has put the key again. */
void kv_durable_record_evicted(struct kv_durable *durable);

/* Puts of a recovery: the table whose puts wait for kv_durables_settle(), or NULL; and another put,
 * which settles those of another table first. */
struct kv_durable *kv_durable_putting(const struct kv_durables *set);
int kv_durable_put_later(struct kv_durable *durable, const struct kv_table_entry *entry);

/* Forgets the puts of a recovery. */
void kv_durable_free_puts(struct kv_durables *set);

/* A table has come into the set: it joins the names of its registry, the table of that name or
 * NULL, and a registry gets the tables that are waiting for it. And a table leaves the set. */
void kv_durable_join(struct kv_durable *durable, struct kv_durable *registry);
void kv_durable_part(struct kv_durable *durable);

/* Gives a table another identity. `registry` may be that of the table itself. */
void kv_durable_move(struct kv_durable *durable, struct kv_bytes registry, struct kv_bytes name);

#endif
