/* Random numbers, and the arguments of requests that are drawn with them. */
#ifndef KV_TEST_DRAW_H
#define KV_TEST_DRAW_H

#include "support/book.h"

struct draw {
    uint64_t state;
};

uint64_t draw_number(struct draw *draw);
/* 0 to `below` - 1. */
unsigned draw_below(struct draw *draw, unsigned below);
/* True once in `times`. */
bool draw_once_in(struct draw *draw, unsigned times);

/* An argument for a letter of struct book_row. */
struct kv_bytes draw_argument(struct draw *draw, const struct book *book, char letter,
                              const struct kv_bytes *before);

/* Appends a term as Erlang writes it. Long binaries are cut. */
void draw_print(struct kv_bytes term, struct kv_buffer *to);

#endif
