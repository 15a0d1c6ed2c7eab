/* Shared by the files node/data*.c. */
#ifndef KV_NODE_DATA_PARTS_H
#define KV_NODE_DATA_PARTS_H

#include "node/data.h"

/* The journal that records changes in the log; without its context. */
extern const struct kv_journal kv_data_journal;

/* Ends the node with a text of two parts, which are copied. */
void kv_data_fail(struct kv_data *data, enum kv_fatal reason, const char *what, const char *text);

/* The wall clock in milliseconds since 1970. It does not go back behind what the log has seen. */
uint64_t kv_data_clock(const struct kv_data *data);

/* During recovery: a time of the wall clock, on the clock of the arena. Never less than 2. A later
 * time is never less than an earlier one. Times before the recovery may be equal that are not. */
uint64_t kv_data_from_wall(const struct kv_data *data, uint64_t time);

/* An expiry on the clock of the arena, as one on the wall clock. */
uint64_t kv_data_to_wall(const struct kv_data *data, uint64_t expiry);

/* The log goes on where it ended. Returns false after kv_data_fail(). */
bool kv_data_open_log(struct kv_data *data, const struct kv_recovery_result *result);

/* Reads the store block of a folder. Returns false if this program cannot use that store, and
 * `text` says why. */
bool kv_data_store_fits(const uint8_t block[KV_BLOCK], const char *folder, enum kv_zeros zeros,
                        struct kv_store_block *store, char text[KV_DATA_TEXT_MAX]);

/* ---- data_relief.c ----------------------------------------------------------------------------
 */

/* Between two steps of the recovery: frees memory, if more is in use than the limit. Returns true
 * if there is more to do before the next step. */
bool kv_data_relieve(struct kv_data *data);

/* Returns the bytes of the tables that count against the limit, and sets the limit. */
uint64_t kv_data_in_use(const struct kv_data *data, uint64_t *limit);

/* Returns what may be done in the next attempt, after the recovery `before`. */
struct kv_data_relief kv_data_relief_again(const struct kv_data_relief *before);

/* There was a record for an entry that is not there. */
void kv_data_missed(struct kv_data *data);

/* ---- data_backup.c ----------------------------------------------------------------------------
 */

/* More of the log is written, or durable; or the disk is full, or no longer. */
void kv_data_tend_backup(struct kv_data *data);

/* Before the disk is closed. */
void kv_data_stop_backup(struct kv_data *data);

/* ---- data_checkpoint.c ------------------------------------------------------------------------
 */

/* This checkpoint is on the disk: what it replaces goes. With `size` 0 there is none. */
void kv_data_keep_checkpoint(struct kv_data *data, uint64_t lsn, uint64_t size);

/* More of the log is written, or durable: begins a checkpoint if it is time, or goes on with one.
 */
void kv_data_tend_checkpoint(struct kv_data *data);

/* For struct kv_disk_events. */
void kv_data_piece_done(void *context, int error);

/* Before the disk is closed: no piece is handed over any more; and after it. */
void kv_data_stop_checkpoint(struct kv_data *data);
void kv_data_finish_checkpoint(struct kv_data *data);

#endif
