/* The two forms in which a table keeps a term: docs/store-format.md. */
#ifndef KV_FORM_H
#define KV_FORM_H

enum kv_form {
    KV_FORM_TERM = 0,
    KV_FORM_BINARY = 1, /* the bytes of a binary, without tag and length */
};

#endif
