/* The value of one option: checked by its row in the table, and set. */
#ifndef KV_NODE_OPTION_VALUES_H
#define KV_NODE_OPTION_VALUES_H

#include "node/option_rows.h"

/* Sets the option, or fails with a sentence that says which values are right. */
bool kv_option_set(struct kv_options *options, const struct kv_option *option, const char *value,
                   struct kv_option_error *error);

/* Writes the sentence, and returns false. */
bool kv_option_fail(struct kv_option_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
