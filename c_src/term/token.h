/* Tokens of a validated term. Nothing here checks a length. */
#ifndef KV_TERM_TOKEN_H
#define KV_TERM_TOKEN_H

#include <kv/term.h>

/* Sizes of the external term format; OTP: erts/doc/guides/erl_ext_dist.md. */
enum {
    KV_FUN_HEADER = 30,      /* tag, size:4, arity:1, uniq:16, index:4, free:4 */
    KV_FUN_FREE_OFFSET = 26, /* of `free` in this header */
    KV_FLOAT_TEXT = 31,      /* bytes of the text behind KV_TAG_FLOAT */
};

/* A leaf, or the header of a container. The children of a container follow its header. */
struct kv_token {
    size_t size;
    size_t children;
};

/* The token at `term`. Funs and identifiers count as leaves: the token includes all their bytes. */
struct kv_token kv_token(const uint8_t *term);

/* The size of the atom, or of the integer, at `term`. */
size_t kv_atom_size(const uint8_t *term);
size_t kv_integer_size(const uint8_t *term);

/* The text of the atom at `term`, borrowed. *latin1: the text is Latin-1; else UTF-8. */
struct kv_bytes kv_atom_text(const uint8_t *term, bool *latin1);

#endif
