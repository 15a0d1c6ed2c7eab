/* The files of a backup: a folder that becomes a data folder, made of the files of one that a node
 * goes on to use.
 *
 *     prepare: FOLDER.tmp is made --> copy: a hard link of the checkpoint, or a copy, and copies of
 *     the block of the store and of the log up to one LSN --> finish: all is on the disk, and has
 *     its name
 *
 * For one thread of its own, since every step may wait for a disk. The functions return KV_OK;
 * KV_EEXIST: the folder will not do; KV_ENOSPC; or KV_EIO for anything else. After an error `text`
 * has a sentence, and kv_backup_files_give_up() removes what was made. */
#ifndef KV_HOST_BACKUP_FILES_H
#define KV_HOST_BACKUP_FILES_H

#include "host/folder.h"

#include <stdbool.h>

enum {
    KV_BACKUP_PATH = 4000,        /* bytes of the path of a backup, */
    KV_BACKUP_NAME = 256,         /* and of its last part, with a terminator */
    KV_BACKUP_TEXT = 1024,        /* bytes of a sentence; a longer one is cut */
    KV_BACKUP_PIECE = 128 * 1024, /* bytes that are copied at a time */
};

/* Of a folder that is being written; one with this file in it may be removed by the next backup of
 * the same name. */
#define KV_BACKUP_MARK "backup.tmp"

/* The parts that are copied. */
struct kv_backup_range {
    uint64_t checkpoint;   /* its LSN, where the log is needed from */
    uint64_t size;         /* its bytes; 0: there is none */
    uint64_t end;          /* the log is copied up to this LSN, a multiple of a block */
    uint64_t segment_size; /* of the files of the log */
};

struct kv_backup_files {
    int from;    /* the data folder; borrowed */
    int above;   /* the folder above the backup; -1: not open */
    int folder;  /* FOLDER.tmp; -1: not open */
    bool owned;  /* its files are ours, */
    bool named;  /* and it has its name already */
    bool shares; /* it takes space from the file system of the data folder */
    void *context;
    int (*rest)(void *context, uint64_t spent); /* called after each piece, with its nanoseconds.
                                                 * Returns an errno for the end of all */
    void *memory;
    uint8_t *piece;
    uint64_t bytes;   /* of all files, */
    uint64_t written; /* and of those that are no links */
    char path[KV_BACKUP_PATH + 1];
    char name[KV_BACKUP_NAME];
    char tmp[KV_BACKUP_NAME];
    char text[KV_BACKUP_TEXT];
};

/* `path` is copied. `from`, `context` and `rest` are set by the caller afterwards. */
void kv_backup_files_init(struct kv_backup_files *files, const char *path);

/* Closes what is open, and frees. */
void kv_backup_files_close(struct kv_backup_files *files);

/* Makes FOLDER.tmp, and locks it. Removes what a crash has left in it. KV_EEXIST: FOLDER is there;
 * the folder above is not; it is the data folder, or in it; another program is at the same backup;
 * or FOLDER.tmp has files of others. */
int kv_backup_files_prepare(struct kv_backup_files *files);

int kv_backup_files_copy(struct kv_backup_files *files, const struct kv_backup_range *range);

int kv_backup_files_finish(struct kv_backup_files *files);

/* Removes FOLDER.tmp, if it is ours. */
void kv_backup_files_give_up(struct kv_backup_files *files);

#endif
