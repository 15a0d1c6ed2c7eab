/* The data_dir of the node: recovers the durable tables from its log, and is the journal to which
 * their changes go.
 *
 *     kv_data_start --> recovery, a step in each turn of the loop --> recovered() --> changes are
 *     recorded, and handed over to the disk at the end of each turn --> kv_data_stop
 *
 * The log has the wall clock, the tables have CLOCK_BOOTTIME: this file converts. */
#ifndef KV_NODE_DATA_H
#define KV_NODE_DATA_H

#include "durable/checkpoint_writer.h"
#include "durable/commit_delay.h"
#include "durable/recovery.h"
#include "durable/store_block.h"
#include "durable/wal.h"
#include "host/alarm.h"
#include "host/backup.h"
#include "host/disk.h"
#include "kv/durable_walk.h"
#include "node/fatal.h"
#include "node/memory.h"

#include <kv/term.h>

struct kv_runtime;

struct kv_data_settings {
    uv_loop_t *loop;
    struct kv_log *log;
    struct kv_memory *memory; /* open; its clock stands still during the recovery */
    const char *folder;
    uint64_t checkpoint_log; /* bytes of log before a checkpoint; 0: KV_CHECKPOINT_LOG */
    enum kv_zeros zeros;
    struct kv_tally *tally; /* of the events of all tables, or NULL */
    void *context;
    void (*recovering)(void *context, unsigned percent); /* a sign of life, once a second or more */
    void (*recovered)(void *context);
    /* The node must end. The text is valid during the call. */
    void (*failed)(void *context, enum kv_fatal reason, const char *text);
};

enum {
    KV_DATA_TEXT_MAX = 512,
    KV_CHECKPOINT_LOG = 64 << 20,
    KV_CHECKPOINT_RETRY_MS = 30 * 1000, /* after one that was given up */
};

/* The checkpoint under way, if there is one, and the last one. */
struct kv_data_checkpoint {
    struct kv_checkpoint *writer;     /* NULL: none is under way */
    struct kv_checkpoint_piece piece; /* that is being written, if */
    bool is_writing;
    struct kv_durables_walk walk;
    uv_idle_t steps;                        /* of the walk */
    struct kv_bytes value;                  /* the rest of one that is copied in steps, */
    const void *pinned;                     /* and which is pinned; or NULL */
    uint64_t spent;                         /* bytes in this step */
    int error;                              /* for which it will be given up */
    bool stopped;                           /* the disk is being closed */
    unsigned holds;                         /* kv_data_hold_files() */
    bool is_failing;                        /* the last one was given up, and the log says so, */
    uint64_t retry_at;                      /* on the clock of the loop, */
    uint64_t failed_bytes;                  /* with so many bytes of tables; */
    uv_timer_t retry;                       /* runs meanwhile; set up with `steps` */
    void (*done)(void *context, int error); /* of kv_data_checkpoint_now(), or NULL */
    void *context;
    uint64_t lsn;   /* of the last one: where the log is needed from; */
    uint64_t size;  /* its bytes; 0: there is none; */
    uint64_t time;  /* when it was begun, and when the one under way was, both on the wall clock, */
    uint64_t begun; /* milliseconds since 1970 */
    uint64_t count; /* of this life */
};

/* The result of a backup. */
struct kv_data_backed_up {
    const char *word; /* NULL: it is there; else why it is not: one word, */
    const char *text; /* and a sentence */
    uint64_t bytes;   /* of all files, */
    uint64_t written; /* and of those that are no links */
};

enum kv_data_backup_step {
    KV_DATA_BACKUP_NONE,
    KV_DATA_BACKUP_FOLDER, /* is being made */
    KV_DATA_BACKUP_CHECKPOINT,
    KV_DATA_BACKUP_MARK, /* waits until the log is durable */
    KV_DATA_BACKUP_FILES,
};

/* The backup under way. */
struct kv_data_backup {
    enum kv_data_backup_step step;
    struct kv_backup *files;
    struct kv_backup_range range;
    uint64_t batch; /* that must be durable */
    bool gives_way; /* the log needs the space, */
    bool shares;    /* which is that of the new folder; else that of files of the log */
    void (*done)(void *context, const struct kv_data_backed_up *result);
    void *context;
};

/* Entries that had expired when a part of the log was written go if memory is short: data_relief.c.
 */
struct kv_data_relief {
    const struct kv_list *at; /* the table in its turn; NULL: none */
    bool begun;               /* with it */
    bool closely;             /* it counts no difference of the clocks */
    bool done;                /* once or more in this recovery, */
    bool done_closely;        /* and so, too */
    bool wrong;               /* a later record needs an entry that is gone: all begins again, */
    bool loose_only;          /* and this only with a second more for each entry, */
    bool forbidden;           /* or not at all */
    uint64_t next;            /* not before so many bytes are in use */
};

struct kv_data {
    struct kv_data_settings settings;
    struct kv_disk *disk; /* NULL: there is no data_dir, or it is closed */
    struct kv_store_block store;
    struct kv_recovery *recovery; /* during recovery */
    struct kv_data_relief relief;
    struct {
        uint64_t wall, arena;
    } origin;            /* when the recovery began, on both clocks */
    bool fitting;        /* all is read: the memory goes back to its limit */
    uint64_t fits_until; /* then it is too much; 0: it may be enough. On the clock of the arena */
    uv_idle_t steps;
    struct kv_wal *wal;        /* after recovery */
    struct kv_wal_write write; /* the one under way */
    struct kv_commit_delay delay;
    struct kv_alarm alarm; /* the end of the delay */
    struct kv_durables durables;
    struct kv_data_checkpoint checkpoint;
    struct kv_data_backup backup;
    struct kv_journal journal;
    const struct kv_runtime *runtime; /* set by the node after recovery */
    uint64_t latest;  /* the latest time in the log: the wall clock does not go back behind it */
    uint64_t written; /* the last batches that kv_data_release() */
    uint64_t durable; /* has told of */
    uint64_t shown;   /* when progress was last shown, on the clock of the loop, */
    unsigned percent; /* and which */
    int room;         /* KV_ENOSPC: the disk is full */
    char text[KV_DATA_TEXT_MAX];
};

/* Opens the folder and begins the recovery; returns once it is under way or has failed. */
void kv_data_start(struct kv_data *data, const struct kv_data_settings *settings);

/* Hands the changes that have gathered over to the disk, unless it is still busy with those before,
 * or callers are about to add to them: durable/commit_delay.h. Does nothing without a data_dir. */
void kv_data_hand_over(struct kv_data *data);

/* Lets go what has waited for changes that are written, or durable, by now. */
void kv_data_release(struct kv_data *data, struct kv_runtime *runtime);

/* Begins a checkpoint now, or waits for the one that is under way. `done` is called in a later
 * turn: KV_OK: it is on the disk, data->checkpoint says which; KV_ENOSPC, KV_EIO, KV_ENOMEM: it was
 * given up, kv_disk_text() tells why. Not called if the node ends before. Returns KV_OK; or
 * KV_EBUSY: another call waits, or the node ends, and `done` is not called. After recovery only. */
int kv_data_checkpoint_now(struct kv_data *data, void (*done)(void *context, int error),
                           void *context);

/* From the first on, until kv_data_release_files() was called as often, no file of the folder is
 * removed or used again: for a backup. Checkpoints go on. */
void kv_data_hold_files(struct kv_data *data);
void kv_data_release_files(struct kv_data *data);

/* Makes a new folder with all that anybody has had an answer to until now, and perhaps more: a node
 * can start on it. Whole requests only, as after a crash. `done` is called once, perhaps before
 * this returns, and not if the node ends before. Its words:
 *
 *     no_data_dir: there is nothing to back up   not_ready: before the end of the recovery
 *     backup_under_way: another one is           bad_folder: the new folder will not do
 *     enospc, enomem, eio */
void kv_data_backup(struct kv_data *data, const char *folder,
                    void (*done)(void *context, const struct kv_data_backed_up *result),
                    void *context);

/* Writes what has gathered, waits for that, and closes the folder. Changes may still come, and are
 * lost. */
void kv_data_stop(struct kv_data *data);

/* Frees the memory, the tables included. No process may be attached. */
void kv_data_finish(struct kv_data *data);

#endif
