/* All errors of the C side, with a text for each.
 *
 * Functions that can fail return int: KV_OK (0) or one of these. A return value never mixes errors
 * with other results. kv_error_text() is for log lines. */
#ifndef KV_ERROR_H
#define KV_ERROR_H

#include <stdbool.h>

#define KV_ERROR_MAP(X)                                                                            \
    X(KV_OK, "no error")                                                                           \
    X(KV_EMALFORMED, "not a well-formed external term")                                            \
    X(KV_ETRUNCATED, "ends before it is complete")                                                 \
    X(KV_EDEPTH, "nested deeper than the limit")                                                   \
    X(KV_ESIZE, "larger than the limit")                                                           \
    X(KV_EPENDING, "more than may be under way in part")                                           \
    X(KV_ERECORD, "a record, which not every node can read")                                       \
    X(KV_EBIG, "an integer that not every node can read")                                          \
    X(KV_EDUPLICATE, "a map with the same key twice")                                              \
    X(KV_ETYPE, "a term of another type was expected")                                             \
    X(KV_ERANGE, "a number out of range")                                                          \
    X(KV_EPROTOCOL, "a violation of the distribution protocol")                                    \
    X(KV_EOPCODE, "an unknown control message")                                                    \
    X(KV_ETLS, "a TLS hello, but this node speaks the distribution protocol without TLS")          \
    X(KV_EVERSION, "a version that is not known here")                                             \
    X(KV_EFLAGS, "a mandatory capability is missing")                                              \
    X(KV_ENAME, "not a valid node name")                                                           \
    X(KV_ENAMELESS, "it has a dynamic name and asks for one, which only Erlang nodes give")        \
    X(KV_ECOOKIE, "a wrong cookie")                                                                \
    X(KV_ETIMEOUT, "took too long")                                                                \
    X(KV_ENOMEM, "out of memory")                                                                  \
    X(KV_EFULL, "as many entries as the limit allows")                                             \
    X(KV_ENOENT, "no such thing")                                                                  \
    X(KV_ECLOSURE, "native processes cannot run closures")                                         \
    X(KV_EEXIST, "there already")                                                                  \
    X(KV_ERANDOM, "no random bytes from the operating system")                                     \
    X(KV_EDIGEST, "libcrypto has no MD5 on this system")                                           \
    X(KV_ENOSPC, "no space on the disk")                                                           \
    X(KV_EBUSY, "too much waits for the disk")                                                     \
    X(KV_EIO, "the disk failed")                                                                   \
    X(KV_ECORRUPT, "damaged data on disk")                                                         \
    X(KV_ELOCKED, "another node uses the folder")                                                  \
    X(KV_ESECURITY, "a violation of TLS")                                                          \
    X(KV_ECLOSED, "the end of the connection")

enum kv_error {
#define KV_ERROR_ENUM(code, text) code,
    KV_ERROR_MAP(KV_ERROR_ENUM)
#undef KV_ERROR_ENUM
        KV_ERROR_COUNT
};

/* Returns true if the error refuses one message and the connection goes on: the message is over a
 * limit, and as much of it as was read is well-formed. */
static inline bool kv_is_refusal(int error)
{
    return error == KV_ESIZE || error == KV_EDEPTH || error == KV_EPENDING || error == KV_ERECORD ||
           error == KV_EBIG;
}

/* Returns a static text, a lower-case phrase without a full stop; "unknown error" for a code that
 * is not in the list. */
const char *kv_error_text(int error);

#endif
