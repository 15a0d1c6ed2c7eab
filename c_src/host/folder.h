/* The folder of the durable data: opened, locked for one node, and read.
 *
 *     store               one block, which the layer above fills
 *     lock                locked as long as a node uses the folder; holds the node's process id
 *     log-<16 hex>        segments of the log, numbered without a gap
 *     checkpoint-<16 hex> checkpoints: the number is the LSN from which on the log is needed
 *     ahead.tmp, store.tmp, checkpoint.tmp    files under way, which a crash may leave behind
 *
 * A function that fails leaves a sentence for a person in `text`. */
#ifndef KV_HOST_FOLDER_H
#define KV_HOST_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    KV_FOLDER_TEXT = 768,     /* bytes of a sentence; a longer one is cut */
    KV_FOLDER_PATH = 512,     /* bytes of the path as sentences show it; a longer one is cut */
    KV_FOLDER_NAME = 32,      /* bytes of the name of a file, with its terminator */
    KV_FOLDER_LOCK_MS = 2000, /* how long a lock that another node holds is tried again */
    KV_FOLDER_LOCK_STEP_MS = 20,
    KV_FOLDER_BLOCK = 4096,
};

#define KV_FOLDER_AHEAD      "ahead.tmp"
#define KV_FOLDER_CHECKPOINT "checkpoint.tmp"

struct kv_folder {
    int fd;      /* of the folder; -1: not open */
    int lock;    /* -1: not locked */
    int reading; /* the file that was read last; -1: none */
    char reading_name[KV_FOLDER_NAME];
    char path[KV_FOLDER_PATH];
    bool is_known; /* the path is whole, and led to the folder of this device */
    dev_t device;  /* and this inode when it was opened */
    ino_t inode;
    char text[KV_FOLDER_TEXT]; /* about the last error */
};

/* Opens the folder, and makes it if it is not there but the one above is. Locks it, waiting up to
 * KV_FOLDER_LOCK_MS for a node that is about to end. Removes what a crash left under way. Lets the
 * process ignore SIGXFSZ: a file over the limit of `ulimit -f` is an error, and not the end.
 * Returns KV_OK; KV_ELOCKED; KV_ENOSPC; or KV_EIO for anything else, such as a folder that may not
 * be written to. Must be closed, also after an error. */
int kv_folder_open(struct kv_folder *folder, const char *path);
void kv_folder_close(struct kv_folder *folder);

/* Opens a folder that is there, to be read only: makes, removes and writes nothing. Takes the lock
 * as kv_folder_open() does, if there is one: a copy need not have it. Returns as kv_folder_open().
 */
int kv_folder_open_to_read(struct kv_folder *folder, const char *path);

/* Returns false if the path does not lead to the folder any more that kv_folder_open() has opened:
 * it was removed or moved, its file system was unmounted, or something lies above it. The next
 * start would not find what is written to it. Any thread may call it. */
bool kv_folder_is_there(const struct kv_folder *folder);

/* Gives an open folder its name, which must be free or that of an empty folder, and waits until
 * that is on the disk. `from` is its present path. Returns KV_OK, KV_ENOSPC or KV_EIO. */
int kv_folder_move(struct kv_folder *folder, const char *from, const char *to);

/* Reads the block `store`. Returns KV_OK; KV_ENOENT: it is not there; KV_ECORRUPT: it is not one
 * block; or KV_EIO. */
int kv_folder_read_store(struct kv_folder *folder, uint8_t block[KV_FOLDER_BLOCK]);

/* Writes it, all or nothing, and waits until it is on the disk. Returns KV_OK, KV_ENOSPC or KV_EIO.
 */
int kv_folder_write_store(struct kv_folder *folder, const uint8_t block[KV_FOLDER_BLOCK]);

/* Finds the numbers of the first and the last segment. Returns KV_OK; KV_ENOENT: there is none;
 * KV_ECORRUPT: one between them is missing, and both numbers are set; or KV_EIO. */
int kv_folder_segments(struct kv_folder *folder, uint64_t *first, uint64_t *last);

/* The same, but finds the first segment from which on none is missing: those before it may have
 * been removed. Returns KV_OK; KV_ENOENT: there is none; or KV_EIO. */
int kv_folder_last_segments(struct kv_folder *folder, uint64_t *first, uint64_t *last);

/* Reads from a segment. *got is less than `length` only at the end of the file. Returns KV_OK;
 * KV_ENOENT: there is no such segment; or KV_EIO. */
int kv_folder_read(struct kv_folder *folder, uint64_t segment, uint64_t offset, void *to,
                   size_t length, size_t *got);

/* Sets *space to the bytes that the file system has for segments: those of the file that is made
 * ahead, and of a checkpoint under way, which goes if they are needed, included. Returns false if
 * it does not say. */
bool kv_folder_space(const struct kv_folder *folder, uint64_t *space);

/* Finds the LSN and the size of the checkpoint with the greatest one. Returns KV_OK; KV_ENOENT:
 * there is none; or KV_EIO. */
int kv_folder_checkpoint(struct kv_folder *folder, uint64_t *lsn, uint64_t *size);

/* Reads from the checkpoint of this LSN, as kv_folder_read(). */
int kv_folder_read_checkpoint(struct kv_folder *folder, uint64_t lsn, uint64_t offset, void *to,
                              size_t length, size_t *got);

/* The name of a checkpoint: "checkpoint-" and 16 hexadecimal digits. */
void kv_folder_checkpoint_name(uint64_t lsn, char name[KV_FOLDER_NAME]);

/* Removes all checkpoints before this one, and the segments below `first`. A later checkpoint may
 * have its name though nobody has heard of it yet. Returns 0, or an errno. */
int kv_folder_tidy(const struct kv_folder *folder, uint64_t checkpoint, uint64_t first);

/* The name of a segment: "log-" and 16 hexadecimal digits. */
void kv_folder_name(uint64_t segment, char name[KV_FOLDER_NAME]);

/* Syncs the block of the store and all checkpoints: somebody else may have put them there a moment
 * ago. Returns 0, or an errno. */
int kv_folder_sync_files(const struct kv_folder *folder);

/* Makes what was done to names of the folder durable. Returns 0, or an errno. */
int kv_folder_sync(const struct kv_folder *folder);

/* KV_ENOSPC for an errno that more space, a higher limit or fewer open files would mend; else
 * KV_EIO. */
int kv_folder_error(int error);

/* An addition to the system's words for an errno: what to do, behind a colon; "" if those words
 * will do. */
const char *kv_folder_advice(int error);

/* Writes the sentence for a folder that is not there any more, or for a file of it that was removed
 * under the program; NULL: the folder. */
void kv_folder_gone_sentence(const struct kv_folder *folder, char text[KV_FOLDER_TEXT],
                             const char *file);

/* Writes a sentence: `doing` is "cannot write log-0000000000000001", and `error` an errno. */
void kv_folder_sentence(const struct kv_folder *folder, char text[KV_FOLDER_TEXT],
                        const char *doing, int error);

#endif
