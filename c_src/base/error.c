#include <kv/error.h>

const char *kv_error_text(int error)
{
    switch (error) {
#define KV_ERROR_TEXT(code, text)                                                                  \
    case code:                                                                                     \
        return text;
        KV_ERROR_MAP(KV_ERROR_TEXT)
#undef KV_ERROR_TEXT
    default:
        return "unknown error";
    }
}
