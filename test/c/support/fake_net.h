/* The network without sockets: fake streams, a runtime with one process, and peers that talk to it.
 *
 * The process is registered as nothing and answers {Pid, Size} with a binary of Size bytes. Log
 * lines go to a file that a test can look into. */
#ifndef KV_TEST_FAKE_NET_H
#define KV_TEST_FAKE_NET_H

#include "net/connection.h"
#include "net/pending.h"
#include "net/ticks.h"
#include "support/fake_stream.h"

enum { FAKES = 64, FAKE_SPAWN = 321 /* bytes of an answer: the process also begins another one */ };

struct fake_net {
    uv_loop_t loop;
    struct kv_log log;
    struct kv_net net;
    struct kv_connections connections;
    struct kv_pending pending;
    struct kv_ticks ticks;
    struct kv_pid process;
    unsigned heard;
    unsigned hurried;
    int output; /* the file with the log lines */
    size_t count;
    struct fake fakes[FAKES];
};

struct fake_net *fake_net_new(void);
/* Also checks that nothing has been left behind in memory. */
void fake_net_free(struct fake_net *net);

/* The end of a turn, as node/turn.c has it. */
void fake_net_turn(struct fake_net *net);

/* Moves the clock of the loop, without running timers. */
void fake_net_move_clock(struct fake_net *net, int64_t milliseconds);

/* Calls the callback of a timer, as if its time had come, and ends the turn. */
void fake_net_fire(struct fake_net *net, uv_timer_t *timer);

/* Returns true if a log line has this text; and how often the log has it. */
bool fake_net_logged(const struct fake_net *net, const char *text);
unsigned fake_net_logged_times(const struct fake_net *net, const char *text);

/* A new stranger, whose connection fake_connection() returns until it is gone. */
struct fake *fake_connect(struct fake_net *net);
struct kv_connection *fake_connection(const struct fake *fake);

/* The first message of the handshake, and the second, with the digest of a cookie. */
void fake_send_name(struct fake *fake, const char *name, size_t piece);
void fake_send_reply(struct fake *fake, const char *cookie, size_t piece);

/* A peer of that name that is up. */
struct fake *fake_peer(struct fake_net *net, const char *name);

/* As below, in fragments: asks for one byte, with a list of so many maps of two pairs behind that.
 * `last` is the end of the list: KV_TAG_NIL, or a byte that makes the message malformed. */
void fake_long_request(struct kv_buffer *to, const struct fake_net *net, const char *peer,
                       uint32_t n, uint32_t pairs, uint8_t last);
/* The same in one frame. */
void fake_long_frame(struct kv_buffer *to, const struct fake_net *net, const char *peer, uint32_t n,
                     uint32_t pairs, uint8_t last);

/* Appends the frame of {Pid, Size} from process n of that peer to the process. */
void fake_request(struct kv_buffer *to, const struct fake_net *net, const char *peer, uint32_t n,
                  uint32_t size);

/* The next frame that has left completely; false: there is none. */
bool fake_frame(struct fake *fake, struct kv_bytes *frame);

/* How many frames with a message have left since the last frame that was asked for. */
size_t fake_messages(struct fake *fake);

#endif
