/* The files of the log, as the thread of disk.h uses them: made ahead, written, synced, used again.
 *
 * A file gets its name once it is whole: until then it is KV_FOLDER_AHEAD. Functions return 0 or an
 * errno, and leave in `doing` what they were at. */
#ifndef KV_HOST_LOG_FILES_H
#define KV_HOST_LOG_FILES_H

#include "host/folder.h"

#include <kv/bytes.h>

#include <stdbool.h>

enum {
    KV_LOG_FILES_STEP = 1024 * 1024, /* zeros that are written at a time: a commit waits for them */
    KV_LOG_FILES_DOING = 96,
};

struct kv_log_files {
    const struct kv_folder *folder;
    uint64_t size; /* of a file */
    void (*header)(void *context, uint64_t segment, uint8_t block[KV_FOLDER_BLOCK]);
    void *context;
    bool direct;     /* the file system can write past the page cache, as far as is known */
    uint64_t first;  /* files with the numbers from here */
    uint64_t end;    /* to here, exclusive, are there */
    uint64_t needed; /* those below may be used again */

    uint64_t segment; /* that is open */
    int plain;        /* -1: none is open */
    int past;         /* O_DIRECT | O_DSYNC; -1: not possible */
    bool dirty;       /* written through `plain` and not synced */
    bool failed_sync; /* of a segment: it must not be tried again */
    bool linked;      /* it had a name when it was opened, */
    bool nameless;    /* and has none any more */
    uint64_t looked;  /* for it, in nanoseconds of uv_hrtime() */

    int making; /* the file of segment `end`; -1: none */
    uint64_t made;
    bool making_direct;
    void *memory;   /* of */
    uint8_t *zeros; /* KV_LOG_FILES_STEP bytes, aligned, and */
    uint8_t *block; /* one block for headers */

    uint64_t zeroed;
    uint64_t recycled;
    uint64_t removed;
    char doing[KV_LOG_FILES_DOING];
};

/* Files from `first` to `end`, exclusive, are there. */
void kv_log_files_init(struct kv_log_files *files, const struct kv_folder *folder, uint64_t size,
                       uint64_t first, uint64_t end);
void kv_log_files_close(struct kv_log_files *files);

/* Removes the files of `end` and above, and syncs all that a recovery has read. Returns 0, or an
 * errno. */
int kv_log_files_begin(struct kv_log_files *files, uint64_t end);

/* One step towards the file of segment `end`: that number grows with the last step. After an error
 * it begins anew. */
int kv_log_files_make(struct kv_log_files *files);

/* Gives back the space of a file that is only partly made. */
void kv_log_files_give_up(struct kv_log_files *files);

/* Writes whole blocks, and makes files for them if need be. If `sync`, they and all that was
 * written before are durable when it returns. */
int kv_log_files_write(struct kv_log_files *files, uint64_t lsn, struct kv_bytes bytes, bool sync);

/* Returns false if the next start would not find what was written last: the file, or the folder, is
 * not at its place any more. Looks at most ten times a second, since a look at each write would
 * cost a commit of one caller a tenth of its time. */
bool kv_log_files_are_there(struct kv_log_files *files);

/* Makes durable all that was written. */
int kv_log_files_sync(struct kv_log_files *files);

/* Removes a file that is not needed, beyond so many spares. */
int kv_log_files_trim(struct kv_log_files *files, uint64_t spares);

#endif
