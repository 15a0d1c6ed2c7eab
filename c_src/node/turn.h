/* A turn of the loop: everything that happens between two looks at the sockets, in order. */
#ifndef KV_NODE_TURN_H
#define KV_NODE_TURN_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct kv_node;

struct kv_turn {
    uv_prepare_t end;  /* comes before the loop looks at the sockets, and sleeps */
    uv_timer_t timers; /* wakes the loop for the next timer of a process */
};

/* Starts the handles. Returns 0, or an error of libuv. */
int kv_turn_init(struct kv_node *node);

/* Runs one turn, or several if messages come fast. Returns false if the loop has nothing left to
 * wait for. */
bool kv_turn_run(struct kv_node *node);

/* Hands over, releases and writes. For a long turn, before its end. */
void kv_turn_send(struct kv_node *node);

#endif
