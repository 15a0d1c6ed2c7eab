/* Comparing pids and references: include/kv/term.h. */
#include <kv/term.h>

bool kv_pid_equal(const struct kv_pid *a, const struct kv_pid *b)
{
    return a->id == b->id && a->serial == b->serial && a->creation == b->creation &&
           kv_bytes_equal(a->node, b->node);
}

bool kv_ref_equal(const struct kv_ref *a, const struct kv_ref *b)
{
    return a->count == b->count && a->creation == b->creation &&
           memcmp(a->words, b->words, a->count * sizeof(a->words[0])) == 0 &&
           kv_bytes_equal(a->node, b->node);
}
