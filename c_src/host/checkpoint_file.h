/* The file of a checkpoint, as the thread of disk.h writes it: in small steps, since a commit waits
 * for the present one. It gets its name when it is whole and on the disk.
 *
 * Functions return 0 or an errno. After an error the file is gone; kv_checkpoint_file_is_open() is
 * false then. */
#ifndef KV_HOST_CHECKPOINT_FILE_H
#define KV_HOST_CHECKPOINT_FILE_H

#include "host/folder.h"

#include <kv/bytes.h>

#include <stdbool.h>

enum {
    KV_CHECKPOINT_STEP = 64 * 1024,          /* bytes that are written at a time */
    KV_CHECKPOINT_SYNC = 8 * 1024 * 1024,    /* bytes between two syncs, */
    KV_CHECKPOINT_SYNC_CACHED = 1024 * 1024, /* and where the page cache cannot be passed by */
};

struct kv_checkpoint_file {
    const struct kv_folder *folder;
    int fd;      /* of KV_FOLDER_CHECKPOINT; -1: not open */
    bool direct; /* past the page cache */
    uint64_t unsynced;
    uint64_t written; /* bytes, of all checkpoints */
    bool failed_sync; /* that of the folder: nobody knows which names are on the disk */
};

void kv_checkpoint_file_init(struct kv_checkpoint_file *file, const struct kv_folder *folder);

bool kv_checkpoint_file_is_open(const struct kv_checkpoint_file *file);

/* Begins a new file. */
int kv_checkpoint_file_begin(struct kv_checkpoint_file *file);

/* Writes bytes at their offset: KV_CHECKPOINT_STEP at most. */
int kv_checkpoint_file_write(struct kv_checkpoint_file *file, struct kv_bytes bytes,
                             uint64_t offset);

/* The file is whole: syncs it, gives it the name of this LSN, and syncs the folder. */
int kv_checkpoint_file_end(struct kv_checkpoint_file *file, uint64_t lsn);

/* Closes and removes the file, if there is one. */
void kv_checkpoint_file_give_up(struct kv_checkpoint_file *file);

#endif
