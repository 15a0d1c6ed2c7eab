/* The tokens of an external term that has been validated: nothing here checks a length. */
#ifndef KV_TERM_TOKEN_H
#define KV_TERM_TOKEN_H

#include <kv/term.h>

/* Wire sizes that more than one file needs; OTP: erts/doc/guides/erl_ext_dist.md. */
enum {
    KV_FUN_HEADER = 30,      /* tag, size:4, arity:1, uniq:16, index:4, free:4 */
    KV_FUN_FREE_OFFSET = 26, /* where `free` is in it */
    KV_FLOAT_TEXT = 31,      /* bytes of the text behind KV_TAG_FLOAT */
};

/* A leaf, or the header of what has children: terms that lie behind it, one after the other. */
struct kv_token {
    size_t size;
    size_t children;
};

/* Funs and identifiers are leaves here: their size is known without looking into them. */
struct kv_token kv_token(const uint8_t *term);

/* Bytes of the atom, or of the integer, at `term`. */
size_t kv_atom_size(const uint8_t *term);
size_t kv_integer_size(const uint8_t *term);

/* The text of the atom at `term`, as it lies there; *latin1 says in which encoding. */
struct kv_bytes kv_atom_text(const uint8_t *term, bool *latin1);

#endif
