/* A checkpoint: all tables in one file, so that the log before it is no longer needed.
 *
 *     a head      one block: where in the log recovery goes on
 *     chunks      of the records that make the tables: TABLE and PUT, each padded to a block
 *     a tail      one block: what there was, and how far the log must reach
 *
 * The checkpoint is fuzzy: the tables change while it is written. It has each entry that was there
 * all the time. What changed meanwhile is in the log, from the LSN in the head to the one in the
 * tail; only both together are the tables as they were.
 *
 * All checksums begin with the id of the store and the LSN of the head: no part of another
 * checkpoint is valid here, and no bytes that a peer puts into a value. docs/durable-format.md
 * describes all bytes. */
#ifndef KV_DURABLE_CHECKPOINT_H
#define KV_DURABLE_CHECKPOINT_H

#include "durable/wal.h"

enum {
    KV_CHUNK_MAX = 256 << 10, /* bytes of a chunk with its header; a multiple of KV_BLOCK */
    KV_CHUNK_HEADER = 24,
};

/* Writes the name of the file: "checkpoint-" and 16 hexadecimal digits, the LSN of the head. */
enum { KV_CHECKPOINT_NAME_SIZE = sizeof "checkpoint-0123456789abcdef" };
void kv_checkpoint_name(uint64_t lsn, char name[KV_CHECKPOINT_NAME_SIZE]);

struct kv_checkpoint_head {
    struct kv_wal_place place; /* the log from here on is needed, and nothing before */
    uint64_t time;             /* wall clock when it was begun, milliseconds since 1970 */
};

struct kv_checkpoint_tail {
    uint64_t chunks;  /* their number, */
    uint64_t tables;  /* that of TABLE records in them, */
    uint64_t entries; /* and that of PUT records */
    uint64_t table;   /* the greatest number of a table that there was; 0: none */
    uint64_t end;     /* everything in the log below this LSN was on disk */
};

/* The checksum that those of chunks and tail begin with. */
uint32_t kv_checkpoint_seed(const struct kv_store_id *store, uint64_t lsn);

void kv_checkpoint_write_head(const struct kv_checkpoint_head *head,
                              const struct kv_store_id *store, uint8_t block[KV_BLOCK]);

/* Returns KV_OK; KV_EVERSION: a newer program wrote it; or KV_ECORRUPT: it is not the head of the
 * checkpoint with this LSN in that store. */
int kv_checkpoint_read_head(const uint8_t block[KV_BLOCK], uint64_t lsn,
                            const struct kv_store_id *store, struct kv_checkpoint_head *head);

struct kv_chunk {
    uint64_t number; /* from 0 on */
    uint32_t length; /* of header and content, without the padding; at most KV_CHUNK_MAX */
    uint32_t record; /* the offset in the chunk of a record that begins in it; 0: none is known */
};

/* Writes the header of a chunk, whose content lies behind it. */
void kv_chunk_seal(const struct kv_chunk *chunk, uint32_t seed, uint8_t *bytes);

/* Checks a chunk at the front of `bytes`, and sets what its header says. Returns KV_OK, or
 * KV_ECORRUPT. */
int kv_chunk_read(struct kv_bytes bytes, uint32_t seed, struct kv_chunk *chunk);

/* Returns true if a chunk may begin here: kv_chunk_read() is worth while. */
bool kv_chunk_is_likely(const uint8_t header[KV_CHUNK_HEADER]);

void kv_checkpoint_write_tail(const struct kv_checkpoint_tail *tail, uint32_t seed,
                              uint8_t block[KV_BLOCK]);

/* Returns KV_OK, or KV_ECORRUPT: it is no tail of this checkpoint. */
int kv_checkpoint_read_tail(const uint8_t block[KV_BLOCK], uint32_t seed,
                            struct kv_checkpoint_tail *tail);

#endif
