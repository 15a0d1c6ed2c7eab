/* Shared by host/disk.c, which runs on the loop, and host/disk_thread.c. */
#ifndef KV_HOST_DISK_STATE_H
#define KV_HOST_DISK_STATE_H

#include "host/bell.h"
#include "host/checkpoint_file.h"
#include "host/disk.h"
#include "host/log_files.h"
#include "host/worker.h"

#include <stdbool.h>

/* The orders of the loop. Under the mutex. */
struct kv_disk_orders {
    struct kv_disk_write write;
    bool has_write;
    struct kv_disk_piece piece;
    bool has_piece;
    bool has_checkpoint; /* to keep */
    uint64_t checkpoint;
    bool end;
    uint64_t reserve; /* an LSN */
    uint64_t needed;  /* a segment */
};

/* The news of the thread. Under the mutex. */
struct kv_disk_news {
    bool is_new; /* the loop has not taken it */
    bool is_done;
    uint64_t done;
    int error; /* KV_EIO: the disk has failed, and the thread has ended */
    uint64_t synced;
    bool is_piece_done;
    int piece_error;
    int room;
    uint64_t ready;
    struct kv_disk_figures figures;
    char text[KV_FOLDER_TEXT];
};

/* Used by the thread only. */
struct kv_disk_work {
    struct kv_log_files files;
    uint64_t lsn;       /* the end of what was written */
    uint64_t number;    /* of the last write that was begun, */
    uint64_t written;   /* and of the last one that is done */
    uint64_t wrote_at;  /* its time */
    uint64_t sync_due;  /* 0: all is synced */
    uint64_t retry_due; /* 0: there is space */
    bool is_write_full; /* it was the write that found none */
    uint64_t owed;      /* bytes to write ahead before the next write */
    uint64_t reserve;
    struct kv_checkpoint_file checkpoint;
    size_t piece_done; /* bytes of the present piece */
    uint64_t credit;   /* bytes of a checkpoint that may be written though the log is busy */
    struct kv_disk_figures figures;
};

struct kv_disk {
    struct kv_folder folder;
    struct kv_disk_settings settings;
    struct kv_worker worker; /* whose condition is that there are orders, */
    uv_cond_t told;          /* and this one that there is news */
    struct kv_bell bell;     /* there is news, for the loop */
    bool started;
    bool has_handle;
    struct kv_disk_orders orders;
    struct kv_disk_news news;
    struct kv_disk_work work;
    /* The loop's own, as of the last report. */
    bool writing;
    bool has_piece; /* under way */
    bool failed;
    uint64_t synced;
    int room;
    uint64_t ready;
    struct kv_disk_figures figures;
    char text[KV_FOLDER_TEXT];
};

/* The bytes of the stream in one segment. */
static inline uint64_t kv_disk_room(const struct kv_disk *disk)
{
    return disk->settings.segment_size - KV_DISK_BLOCK;
}

/* The thread, with the disk as context. */
void kv_disk_run(void *context);

#endif
