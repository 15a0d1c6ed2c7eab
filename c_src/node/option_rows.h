/* The table of the program's options: a row for each. options.c parses and sets by it, and usage.c
 * prints it. */
#ifndef KV_NODE_OPTION_ROWS_H
#define KV_NODE_OPTION_ROWS_H

#include "node/options.h"

enum kv_option_kind {
    KV_OPTION_NUMBER,    /* field: a uint64_t */
    KV_OPTION_WORD,      /* one of `words`; choose() gets its index */
    KV_OPTION_NODE_NAME, /* field: KV_NODE_NAME_MAX + 1 characters */
    KV_OPTION_HOST,      /* field: KV_HOST_MAX + 1 characters */
    KV_OPTION_ADDRESS,   /* field: KV_ADDRESS_MAX + 1 characters, "127.0.0.1:9568" */
    KV_OPTION_FOLDER,    /* field: KV_FOLDER_MAX + 1 characters */
    KV_OPTION_FILE,      /* the same */
    KV_OPTION_TEXT,      /* field: KV_TEXT_MAX + 1 characters */
    KV_OPTION_FLAG,      /* takes no value; choose() gets 0 */
    KV_OPTION_ENDS,      /* --version, --help: only on the command line */
};

/* One option: how it is parsed, and its text in --help. */
struct kv_option {
    const char *name;
    const char *value; /* placeholder in --help; NULL: the option takes no value */
    const char *text;  /* for --help, which indents each line but the first */
    const char *preset_text;
    enum kv_option_kind kind;
    unsigned sources; /* of enum kv_option_source, which may have it; 0: all */
    size_t field;
    uint64_t least, most, preset;
    const char *const *words; /* ends with NULL */
    void (*choose)(struct kv_options *options, size_t word);
};

/* At most 64: kv_options.given has a bit for each. */
const struct kv_option *kv_option_rows(size_t *count);

#endif
