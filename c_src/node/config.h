/* The files that hold options and the cookie: --config and --cookie-file.
 *
 *     # a comment
 *     name  kv@127.0.0.1
 *     port  9100
 *     no-epmd
 *
 * An option a line, by its name without the dashes of the command line, and the rest of the line is
 * its value. An option that the command line has is checked and then ignored, as a second one is.
 */
#ifndef KV_NODE_CONFIG_H
#define KV_NODE_CONFIG_H

#include "node/options.h"

enum {
    KV_CONFIG_MAX = 64 << 10,           /* bytes of a file of options */
    KV_CONFIG_LINE = KV_TEXT_MAX + 200, /* bytes of one line: a name and a value */
    KV_CONFIG_TEXT = 2 * KV_OPTION_ERROR_MAX,
};

/* Called for each line that is wrong, with "FILE:LINE: why"; the text is valid during the call. */
struct kv_config_reader {
    void (*wrong)(void *context, const char *text);
    void *context;
};

/* Takes the options of a file. Returns false if it cannot be read or a line is wrong; the other
 * lines count all the same. No text repeats a value. */
bool kv_config_read(struct kv_options *options, const char *path,
                    const struct kv_config_reader *reader);

/* The same for a content that is there. `is_private`: it may have secrets. */
bool kv_config_take(struct kv_options *options, const char *path, struct kv_bytes content,
                    bool is_private, const struct kv_config_reader *reader);

/* Sets the cookie to that of options->cookie_file, by the rules of erl for ~/.erlang.cookie: only
 * its owner may read or write the file, and ends of lines after the cookie do not count. The owner
 * must be this user, or root. Returns false if it cannot be used, and `why` says why. */
bool kv_config_cookie(struct kv_options *options, struct kv_option_error *why);

#endif
