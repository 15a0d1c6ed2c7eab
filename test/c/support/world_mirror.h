/* A real table that has what one table of a world has, and a snapshot of it, read piece by piece
 * while the world goes on. A snapshot that does not show the world of its begin aborts. */
#ifndef KV_TEST_WORLD_MIRROR_H
#define KV_TEST_WORLD_MIRROR_H

#include "support/durable_world.h"

#include <kv/snapshot.h>

struct world_mirror {
    struct kv_arena_memory *memory;
    struct kv_arena *arena;
    struct kv_table *table;
    struct draw draw;
    struct world_table shown;     /* what the table has */
    struct kv_snapshot *snapshot; /* or NULL */
    struct world_table begun;     /* what the table had when the snapshot began, */
    struct world_table visited;   /* and what the snapshot has shown so far */
    uint64_t snapshots, lost;     /* that have shown all; that were dropped before */
};

struct world_mirror *world_mirror_new(uint64_t seed);
void world_mirror_free(struct world_mirror *mirror);

/* Makes the table equal to that of the world. Now and then changes more, and takes that back. */
void world_mirror_follow(struct world_mirror *mirror, const struct world_table *table);

/* Begins a snapshot, or visits its next piece, and checks it after the last one. */
void world_mirror_look(struct world_mirror *mirror);

/* The program has ended: so has the snapshot. */
void world_mirror_crash(struct world_mirror *mirror);

#endif
