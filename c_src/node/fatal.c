#include "node/fatal.h"

const char *kv_fatal_word(enum kv_fatal reason)
{
    switch (reason) {
#define KV_FATAL_WORD(name, word, status)                                                          \
    case KV_FATAL_##name:                                                                          \
        return word;
        KV_FATAL_MAP(KV_FATAL_WORD)
#undef KV_FATAL_WORD
    }
    return "internal";
}
