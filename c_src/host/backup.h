/* A backup under way: a thread that makes a data folder of the files of another one, which a node
 * goes on to use.
 *
 *     kv_backup_begin --> the new folder is made --> events.ready() --> kv_backup_copy --> the
 * files are copied, and on the disk --> events.done()
 *
 * The thread gives way to the log: kv_backup_give_way(). All functions are for the thread of the
 * loop. */
#ifndef KV_HOST_BACKUP_H
#define KV_HOST_BACKUP_H

#include "host/backup_files.h"

#include <uv.h>

enum { KV_BACKUP_REST_MS = 50 }; /* the longest that the thread gives way after a piece */

struct kv_backup;

struct kv_backup_result {
    int error; /* KV_OK; KV_EEXIST: the folder will not do; KV_ENOSPC; KV_EIO: anything else */
    const char *text; /* a sentence about the error */
    uint64_t bytes;   /* of all files, */
    uint64_t written; /* and of those that are no links */
};

struct kv_backup_settings {
    uv_loop_t *loop;
    int from;           /* the data folder; open until events.done() or kv_backup_close() */
    const char *folder; /* copied; KV_BACKUP_PATH bytes at most */
    void *context;
    /* The new folder is there, and waits for kv_backup_copy(). */
    void (*ready)(void *context);
    /* The last event, once only. After an error nothing is left of the new folder. The backup is
     * freed when this returns. */
    void (*done)(void *context, const struct kv_backup_result *result);
};

/* Returns NULL if the system has no thread or no handle for it. */
struct kv_backup *kv_backup_begin(const struct kv_backup_settings *settings);

/* After events.ready(), once. The files stay as they are until events.done(). */
void kv_backup_copy(struct kv_backup *backup, const struct kv_backup_range *range);

/* Lets events.done() follow soon, with an error unless all is done already. */
void kv_backup_stop(struct kv_backup *backup);

/* The log was written just now: the thread rests after its next piece. */
void kv_backup_give_way(struct kv_backup *backup);

/* Returns true if the backup takes space from the file system of the data folder. After
 * events.ready(). */
bool kv_backup_shares_space(const struct kv_backup *backup);

/* For the end of the program: as kv_backup_stop(), and waits for the end of the thread, which is a
 * matter of one piece. No event follows, and the backup is freed. Takes NULL. */
void kv_backup_close(struct kv_backup *backup);

#endif
