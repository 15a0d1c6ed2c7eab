/* Why a node ends by itself: the word behind "fatal" on standard output, and the exit status. */
#ifndef KV_NODE_FATAL_H
#define KV_NODE_FATAL_H

#define KV_FATAL_MAP(X)                                                                            \
    X(BAD_OPTION, "bad_option", 64)                                                                \
    X(NO_COOKIE, "no_cookie", 65)                                                                  \
    X(DATA_DIR, "data_dir", 66)                                                                    \
    X(TLS, "tls", 67)                                                                              \
    X(HOST_UNRESOLVED, "host_unresolved", 68)                                                      \
    X(NO_EPMD, "no_epmd", 69)                                                                      \
    X(INTERNAL, "internal", 70)                                                                    \
    X(LOG_FAILED, "log_failed", 71)                                                                \
    X(PORT_TAKEN, "port_taken", 73)                                                                \
    X(NAME_TAKEN, "name_taken", 74)

enum kv_fatal {
#define KV_FATAL_ENUM(name, word, status) KV_FATAL_##name = (status),
    KV_FATAL_MAP(KV_FATAL_ENUM)
#undef KV_FATAL_ENUM
};

/* "bad_option" for KV_FATAL_BAD_OPTION and so on. */
const char *kv_fatal_word(enum kv_fatal reason);

#endif
