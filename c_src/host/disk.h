/* The disk: the folder of the durable data, and one thread that writes the log into it.
 *
 * The log is an endless stream of bytes; a position in it is an LSN. Segment n of size S is a file
 * of a header block and the stream's bytes from n * (S - KV_DISK_BLOCK) on. The thread makes the
 * files before they are needed, full of zeros, so that a commit changes no file system's tables; it
 * writes past the page cache where the file system can (O_DIRECT).
 *
 * A write that finds no space waits, and is tried again until there is some; events.room tells.
 * After any other failure of a write or a sync, nothing is written or synced any more: the system
 * may have dropped what it could not write, and would report success the next time.
 *
 * All functions are for the thread of the loop. */
#ifndef KV_HOST_DISK_H
#define KV_HOST_DISK_H

#include <kv/bytes.h>

#include <uv.h>

enum {
    KV_DISK_BLOCK = 4096,
    KV_DISK_INTERVAL_MS = 1000, /* the longest that a write without sync stays without one */
    KV_DISK_RETRY_MS = 500,     /* between two attempts to find space */
    KV_DISK_SPARES = 2,         /* segments that are kept to be used again */
    KV_DISK_QUIET_MS = 1,       /* without a write for so long, a checkpoint goes on; */
    KV_DISK_SHARE = 2,          /* else it gets so many bytes for each that is written */
};

struct kv_disk;

/* Opens or makes the folder, and takes its lock. Returns KV_OK and sets *disk, which the caller
 * closes with kv_disk_close(). KV_ELOCKED: another node uses the folder; KV_ENOSPC; KV_EIO: any
 * other reason. Then *disk is NULL, and `text` a sentence, cut to `size` bytes. */
int kv_disk_open(struct kv_disk **disk, const char *folder, char *text, size_t size);

/* The sentence about the last error that a function returned or an event reported; "" if there was
 * none. Valid until the next call or event. */
const char *kv_disk_text(const struct kv_disk *disk);

/* The folder, for readers of its files. Open as long as the disk. */
int kv_disk_folder(const struct kv_disk *disk);

/* ---- reading, before kv_disk_start() -----------------------------------------------------------
 */

/* Reads the block that kv_disk_write_store() wrote. Returns KV_OK; KV_ENOENT: there is none yet;
 * KV_ECORRUPT: it has not the size of a block; or KV_EIO. */
int kv_disk_read_store(struct kv_disk *disk, uint8_t block[KV_DISK_BLOCK]);

/* Writes the block so that after a crash the old or the new one is there; it is on the disk when
 * this returns. Returns KV_OK, KV_ENOSPC or KV_EIO. */
int kv_disk_write_store(struct kv_disk *disk, const uint8_t block[KV_DISK_BLOCK]);

/* These four are as struct kv_disk_view of durable/disk_view.h wants; the context is a struct
 * kv_disk. Finds the numbers of the last segment, and of the first one from which on none is
 * missing. Returns KV_OK; KV_ENOENT: there is none; or KV_EIO. */
int kv_disk_segments(void *context, uint64_t *first, uint64_t *last);

/* Reads from a segment. Sets *got, which is less than `length` only where the file ends. Returns
 * KV_OK; KV_ENOENT: no such segment; or KV_EIO. */
int kv_disk_read(void *context, uint64_t segment, uint64_t offset, void *to, size_t length,
                 size_t *got);

/* Finds the LSN and the size of the newest checkpoint. Returns KV_OK; KV_ENOENT: there is none; or
 * KV_EIO. */
int kv_disk_checkpoint(void *context, uint64_t *lsn, uint64_t *size);

/* Reads from the checkpoint with this LSN, as kv_disk_read(). */
int kv_disk_read_checkpoint(void *context, uint64_t lsn, uint64_t offset, void *to, size_t length,
                            size_t *got);

/* ---- writing -----------------------------------------------------------------------------------
 */

/* All but `header` are called on the loop, and may call kv_disk_write(). */
struct kv_disk_events {
    void *context;
    /* Fills the first block of a segment, which is zero. Called by the thread. */
    void (*header)(void *context, uint64_t segment, uint8_t block[KV_DISK_BLOCK]);
    /* KV_OK: the write of this number is done, and durable if it asked for a sync, together with
     * all before it. KV_EIO: the disk has failed, kv_disk_text() tells how; reported once, also if
     * no write was under way (the number is then that of the last one), and nothing follows. */
    void (*done)(void *context, uint64_t number, int error);
    /* All writes up to this number are durable: those without sync. */
    void (*synced)(void *context, uint64_t number);
    /* KV_ENOSPC: no segment can be made, kv_disk_text() tells why; writes below kv_disk_ready() go
     * on. KV_OK: there is space again. Called when that changes. May be NULL. */
    void (*room)(void *context, int error);
    /* KV_OK: the piece of a checkpoint is written; after the last one, the checkpoint is on the
     * disk under its name. KV_ENOSPC, KV_EIO: the checkpoint is given up and its file is gone,
     * kv_disk_text() tells why; the log goes on. A sync of the folder that fails is a failure of
     * the disk, and comes by done(). NULL: there are no checkpoints. */
    void (*piece)(void *context, int error);
};

struct kv_disk_settings {
    uint64_t segment_size; /* of the files; a multiple of KV_DISK_BLOCK, two blocks or more */
    uint64_t lsn;          /* where the first write will be */
    uint64_t segments_end; /* files of this number and above are made anew; UINT64_MAX: all that
                            * there are count */
    uint64_t interval_ms;  /* 0: KV_DISK_INTERVAL_MS */
    struct kv_disk_events events;
};

/* Starts the thread, which first syncs the files that are there, and makes the segment of
 * settings->lsn if it is not there. Returns KV_OK; KV_EIO as kv_disk_segments(); KV_ENOMEM: no
 * thread or no handle. After an error the disk can only be closed. Once only. */
int kv_disk_start(struct kv_disk *disk, uv_loop_t *loop, const struct kv_disk_settings *settings);

struct kv_disk_write {
    uint64_t number; /* greater than that of the write before */
    uint64_t lsn;    /* a multiple of KV_DISK_BLOCK */
    /* Whole blocks; in memory at a multiple of KV_DISK_BLOCK, or else the page cache is used.
     * Borrowed until done(). */
    struct kv_bytes bytes;
    bool sync;
    /* Called by the thread before it reads the bytes, with `sealed`; or NULL. */
    void (*seal)(const void *sealed);
    const void *sealed; /* borrowed as the bytes are */
};

/* Hands over a write. Must only be called while none is under way. After a failure it is dropped
 * without an event. */
void kv_disk_write(struct kv_disk *disk, const struct kv_disk_write *write);

/* The LSN below which the files are there: what is written below needs no space. Grows by events,
 * not during a turn. At least half a segment more than what was written last, unless the disk is
 * full or slow. */
uint64_t kv_disk_ready(const struct kv_disk *disk);

/* Asks for files up to this LSN, for a write that is larger than usual. */
void kv_disk_reserve(struct kv_disk *disk, uint64_t lsn);

/* Returns false if the file system says that it has no space for files up to this LSN, beside those
 * that are there or can be used again. A quota or another program may still take the space away. */
bool kv_disk_has_space(const struct kv_disk *disk, uint64_t lsn);

/* A piece of a checkpoint. */
struct kv_disk_piece {
    uint64_t checkpoint;   /* its LSN, by which it will be found */
    uint64_t offset;       /* in the file; 0: this piece begins a new checkpoint */
    struct kv_bytes bytes; /* as those of a write; borrowed until events.piece() */
    bool last;
    void (*seal)(const void *sealed); /* as those of a write */
    const void *sealed;
};

/* Hands over a piece. Must only be called while none is under way. Writes of the log come first: a
 * piece is written in small steps when the log has been quiet for KV_DISK_QUIET_MS, or when
 * KV_DISK_SHARE allows. A checkpoint that takes space the log needs is given up. After a failure of
 * the disk, and by kv_disk_close(), a piece is dropped without an event. */
void kv_disk_write_piece(struct kv_disk *disk, const struct kv_disk_piece *piece);

/* This checkpoint, which is on the disk, is the one that counts. Those before it go, and so do
 * segments that a crash has left behind below the first one. */
void kv_disk_keep_checkpoint(struct kv_disk *disk, uint64_t checkpoint);

/* Segments with a lower number than this are no longer needed, because a checkpoint that is on the
 * disk has what they hold. Their files become later segments, or go. */
void kv_disk_recycle(struct kv_disk *disk, uint64_t segment);

struct kv_disk_figures {
    uint64_t writes;    /* handed over and done */
    uint64_t bytes;     /* in them */
    uint64_t syncs;     /* writes with sync, and syncs alone */
    uint64_t zeroed;    /* segments that were written ahead with zeros */
    uint64_t recycled;  /* segments that were one before */
    uint64_t removed;   /* segments that are gone */
    uint64_t pieces;    /* bytes of checkpoints that were written */
    uint64_t first;     /* the first segment there is, */
    uint64_t end;       /* and the one behind the last */
    uint64_t synced_at; /* uv_hrtime() of the last sync; 0: none yet */
    bool direct;        /* past the page cache */
};

/* As of the last event. */
struct kv_disk_figures kv_disk_figures(const struct kv_disk *disk);

/* Waits for the write under way, unless that waits for space, and reports it by done(). For the end
 * of the program, since the thread that calls waits. Takes NULL. */
void kv_disk_await(struct kv_disk *disk);

/* Waits for the write under way unless that waits for space, syncs what is not synced, and ends the
 * thread; reports what has happened by the events; unlocks the folder. The memory is freed once the
 * loop has closed a handle, or at once if the thread was never started. Takes NULL. */
void kv_disk_close(struct kv_disk *disk);

#endif
