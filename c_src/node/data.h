/* The data_dir of the node: recovers the durable tables from its log, and is the journal to which
 * their changes go.
 *
 *     kv_data_start --> recovery, a step in each turn of the loop --> recovered() --> changes are
 *     recorded, and handed over to the disk at the end of each turn --> kv_data_stop
 *
 * The log has the wall clock, the tables have CLOCK_BOOTTIME: this file converts. */
#ifndef KV_NODE_DATA_H
#define KV_NODE_DATA_H

#include "durable/recovery.h"
#include "durable/store_block.h"
#include "durable/wal.h"
#include "host/disk.h"
#include "kv/durable.h"
#include "node/fatal.h"
#include "node/memory.h"

#include <kv/term.h>

struct kv_runtime;

struct kv_data_settings {
    uv_loop_t *loop;
    struct kv_log *log;
    struct kv_memory *memory; /* open; its clock stands still during the recovery */
    const char *folder;
    enum kv_zeros zeros;
    void *context;
    void (*recovered)(void *context);
    /* The node must end. The text is valid during the call. */
    void (*failed)(void *context, enum kv_fatal reason, const char *text);
};

enum { KV_DATA_TEXT_MAX = 512 };

struct kv_data {
    struct kv_data_settings settings;
    struct kv_disk *disk; /* NULL: there is no data_dir, or it is closed */
    struct kv_store_block store;
    struct kv_recovery *recovery; /* during recovery */
    uv_idle_t steps;
    struct kv_wal *wal;        /* after recovery */
    struct kv_wal_write write; /* the one under way */
    struct kv_durables durables;
    struct kv_journal journal;
    const struct kv_runtime *runtime; /* set by the node after recovery */
    uint64_t latest;   /* the latest time in the log: the wall clock does not go back behind it */
    uint64_t released; /* the last batch that kv_durables_release() was told of */
    uint64_t shown;    /* when progress was last shown, on the clock of the loop, */
    unsigned percent;  /* and which */
    int room;          /* KV_ENOSPC: the disk is full */
    char text[KV_DATA_TEXT_MAX];
};

/* Opens the folder and begins the recovery; returns once it is under way or has failed. */
void kv_data_start(struct kv_data *data, const struct kv_data_settings *settings);

/* Hands the changes that have gathered over to the disk, unless it is still busy with those
 * before. Does nothing without a data_dir. */
void kv_data_hand_over(struct kv_data *data);

/* Returns the number of the last durable batch, and lets readers of this host read what is in it.
 */
uint64_t kv_data_durable(struct kv_data *data);

/* Closes the folder, and waits for the write under way. Changes may come, and are lost. */
void kv_data_stop(struct kv_data *data);

/* Frees the memory, the tables included. No process may be attached. */
void kv_data_finish(struct kv_data *data);

#endif
