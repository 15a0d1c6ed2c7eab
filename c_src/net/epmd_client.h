/* The registration with EPMD, kept up for as long as the node lives.
 *
 * If the name is taken at the start, the client tries again for a while: EPMD may not have
 * forgotten a predecessor that was killed. EPMD assigns the creation. When EPMD is restarted the
 * node registers again and keeps its first creation, as a BEAM does: with a new creation every pid
 * that the node handed out would belong to a dead process. OTP: lib/kernel/src/erl_epmd.erl,
 * handle_info({tcp_closed, _}, _). */
#ifndef KV_NET_EPMD_CLIENT_H
#define KV_NET_EPMD_CLIENT_H

#include "net/net.h"
#include "wire/epmd.h"

enum { KV_EPMD_ANSWER_MAX = 16, KV_EPMD_ANSWER_MS = 2000 /* from the attempt to the answer */ };

/* Formats of the sentences for a name that EPMD does not take: of address, port and reason; and of
 * port and name. */
#define KV_EPMD_NOT_THERE                                                                          \
    "no EPMD at %s:%u (%s): start it with epmd -daemon, or say where it is with --epmd-port"
#define KV_EPMD_TAKEN                                                                              \
    "EPMD at port %u knows a node named %.*s already: stop it, or choose another --name"

/* How EPMD's address is written. */
static inline const char *kv_epmd_address(bool inet6)
{
    return inet6 ? "[::1]" : "127.0.0.1";
}

/* Why a node cannot be registered for the first time. */
enum kv_epmd_failure { KV_EPMD_UNREACHABLE, KV_EPMD_NAME_TAKEN, KV_EPMD_NO_SOCKET };

struct kv_epmd_registration {
    struct kv_bytes alive; /* the part of the name before '@'; borrowed */
    bool inet6;            /* EPMD is asked at ::1, else at 127.0.0.1 */
    unsigned epmd_port;
    unsigned port; /* the node listens there */
    void *context; /* of the two functions, one of which is called, once */
    void (*published)(void *context, uint32_t creation);
    /* `text`: the reason, and what to do about it, in a sentence. */
    void (*failed)(void *context, enum kv_epmd_failure failure, const char *text);
};

struct kv_epmd_client {
    struct kv_net *net;
    struct kv_epmd_registration registration;
    uv_tcp_t tcp;
    uv_connect_t connecting;
    uv_write_t writing;
    uv_timer_t timer;
    uint64_t retry_in; /* milliseconds between the close of tcp and the next attempt */
    uint64_t give_up;  /* when the first registration must be done, on the clock of the loop */
    struct kv_buffer request;
    uint8_t answer[KV_EPMD_ANSWER_MAX];
    size_t answer_length;
    bool registered; /* now */
    bool once;       /* has been registered: the creation is settled */
    bool told;       /* the log has a line about the loss of EPMD */
};

/* Sets the address of EPMD. A BEAM that dials over IPv6 registers at ::1, too; OTP: erl_epmd.erl,
 * do_register_node/3. */
void kv_epmd_where(bool inet6, unsigned port, struct sockaddr_storage *address);

void kv_epmd_client_start(struct kv_epmd_client *client, struct kv_net *net,
                          const struct kv_epmd_registration *registration);

/* Frees the memory. The owner of the loop closes the handles. */
void kv_epmd_client_finish(struct kv_epmd_client *client);

#endif
