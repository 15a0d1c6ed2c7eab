/* Backups are for those who may ask: the VM that holds the leash, into any folder; and any node, by
 * a message with a plain name, into --backup-dir. */
#ifndef KV_NODE_BACKUPS_H
#define KV_NODE_BACKUPS_H

#include "kv/kv.h"
#include "node/data.h"
#include "node/leash.h"
#include "node/options.h"

struct kv_node_backups {
    struct kv_data *data;
    struct kv_log *log;
    const struct kv_options *options;
    /* The one that the leash has asked for. */
    char id[KV_LEASH_ID_MAX + 1];
    char leash_folder[KV_BACKUP_PATH + 1];
    /* The one that a message has asked for. */
    bool ended;
    struct kv_backup_answer answer;
    char folder[KV_FOLDER_MAX + KV_BACKUP_NAME];
    char text[KV_BACKUP_TEXT];
};

/* All is borrowed, and must outlive the runtime. */
void kv_node_backups_init(struct kv_node_backups *backups, struct kv_data *data, struct kv_log *log,
                          const struct kv_options *options);

/* For the leash: answers by a line "backup ID ok bytes=B written=W", or "backup ID error WORD
 * TEXT". */
void kv_node_backups_ask(struct kv_node_backups *backups, const char *id, const char *folder);

/* For messages. */
struct kv_backups kv_node_backups_by_message(struct kv_node_backups *backups);

#endif
