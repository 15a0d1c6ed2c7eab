#include "node/backups.h"

#include <inttypes.h>
#include <stdio.h>

enum { NAME_MAX_BYTES = 200, SPACE = 0x20, DELETE = 0x7f };

void kv_node_backups_init(struct kv_node_backups *backups, struct kv_data *data, struct kv_log *log,
                          const struct kv_options *options)
{
    *backups = (struct kv_node_backups){.data = data, .log = log, .options = options};
}

static void log_end(const struct kv_node_backups *backups, const char *folder,
                    const struct kv_data_backed_up *result)
{
    if (result->word == NULL) {
        kv_log(backups->log, KV_LOG_NOTICE,
               "a backup of the durable buckets is in %s: %" PRIu64 " bytes", folder,
               result->bytes);
    } else {
        kv_log(backups->log, KV_LOG_WARNING, "no backup was made (%s): %s", result->word,
               result->text);
    }
}

/* ---- the leash ---------------------------------------------------------------------------------
 */

static void tell_leash(const struct kv_node_backups *backups, const char *id,
                       const struct kv_data_backed_up *result)
{
    char text[KV_LOG_LINE_MAX];
    if (result->word == NULL) {
        (void)snprintf(text, sizeof text, "%s ok bytes=%" PRIu64 " written=%" PRIu64, id,
                       result->bytes, result->written);
    } else {
        (void)snprintf(text, sizeof text, "%s error %s %s", id, result->word, result->text);
    }
    kv_log_event(backups->log, "backup", text);
}

static void leash_done(void *context, const struct kv_data_backed_up *result)
{
    const struct kv_node_backups *backups = context;
    log_end(backups, backups->leash_folder, result);
    tell_leash(backups, backups->id, result);
}

/* Another request may be refused while one is under way, and must not change what that one has. */
static void refused_done(void *context, const struct kv_data_backed_up *result)
{
    struct kv_data_backed_up *kept = context;
    *kept = *result;
}

void kv_node_backups_ask(struct kv_node_backups *backups, const char *id, const char *folder)
{
    struct kv_data_backed_up refused = {0};
    if (strlen(folder) > KV_BACKUP_PATH) {
        refused = (struct kv_data_backed_up){
            .word = "bad_folder",
            .text = "the path of the backup is too long: name a folder with a shorter one"};
        tell_leash(backups, id, &refused);
    } else if (backups->data->backup.step != KV_DATA_BACKUP_NONE) {
        kv_data_backup(backups->data, folder, refused_done, &refused);
        tell_leash(backups, id, &refused);
    } else {
        (void)snprintf(backups->id, sizeof backups->id, "%s", id);
        (void)snprintf(backups->leash_folder, sizeof backups->leash_folder, "%s", folder);
        kv_data_backup(backups->data, backups->leash_folder, leash_done, backups);
    }
}

/* ---- messages ----------------------------------------------------------------------------------
 */

static void keep(struct kv_node_backups *backups, const char *word, const char *text)
{
    (void)snprintf(backups->text, sizeof backups->text, "%s", text);
    backups->ended = true;
    backups->answer = (struct kv_backup_answer){.word = word, .text = backups->text};
}

static void message_done(void *context, const struct kv_data_backed_up *result)
{
    struct kv_node_backups *backups = context;
    keep(backups, result->word, result->word == NULL ? "" : result->text);
    backups->answer.folder = kv_bytes_text(backups->folder);
    backups->answer.bytes = result->bytes;
    backups->answer.written = result->written;
    log_end(backups, backups->folder, result);
}

/* A name that stays in the folder, and that everybody can type. */
static bool is_plain(struct kv_bytes name)
{
    if (name.length == 0 || name.length > NAME_MAX_BYTES || name.data[0] == '.') {
        return false;
    }
    for (size_t i = 0; i < name.length; i++) {
        if (name.data[i] == '/' || name.data[i] < SPACE || name.data[i] == DELETE) {
            return false;
        }
    }
    return true;
}

static void begin(void *context, struct kv_bytes name)
{
    struct kv_node_backups *backups = context;
    const char *folder = backups->options->backup_dir;
    backups->ended = false;
    if (folder[0] == '\0') {
        keep(backups, "no_backup_dir",
             "the node has no backup_dir: set this option of the node, or ask the VM that owns the "
             "node");
    } else if (!is_plain(name)) {
        keep(backups, "bad_folder",
             "the name of a backup has 1 to 200 bytes, no slash and no control characters, and "
             "does not begin with a dot: it is a folder in the backup_dir of the node");
    } else if (strlen(folder) + 1 + name.length > KV_BACKUP_PATH) {
        keep(backups, "bad_folder",
             "the path of the backup is too long: name a shorter backup_dir");
    } else {
        (void)snprintf(backups->folder, sizeof backups->folder, "%s/%.*s", folder, (int)name.length,
                       (const char *)name.data);
        kv_data_backup(backups->data, backups->folder, message_done, backups);
    }
}

static bool ended(void *context, struct kv_backup_answer *answer)
{
    const struct kv_node_backups *backups = context;
    *answer = backups->answer;
    return backups->ended;
}

struct kv_backups kv_node_backups_by_message(struct kv_node_backups *backups)
{
    return (struct kv_backups){.context = backups, .begin = begin, .ended = ended};
}
