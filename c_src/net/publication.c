#include "net/publication.h"

#include "node/node.h"

enum {
    ANSWER_MS = 2000,    /* from the attempt to EPMD's answer */
    NAME_RETRY_MS = 100, /* while the name is taken at the start */
    NAME_GIVE_UP_MS = 2000,
    REGISTER_AGAIN_MS = 2000, /* OTP: erl_epmd.erl, ?RECONNECT_TIME */
};

static void attempt(struct kv_publication *publication);

static void on_retry(uv_timer_t *timer)
{
    attempt(timer->data);
}

static void on_closed(uv_handle_t *handle)
{
    struct kv_publication *publication = handle->data;
    if (!publication->node->stopping) {
        uv_timer_start(&publication->timer, on_retry, publication->retry_in, 0);
    }
}

static void try_again(struct kv_publication *publication, uint64_t in)
{
    publication->registered = false;
    publication->retry_in = in;
    uv_timer_stop(&publication->timer);
    uv_close((uv_handle_t *)&publication->tcp, on_closed);
}

/* EPMD was there, is not, and will be asked again. */
static void lost(struct kv_publication *publication, const char *why)
{
    if (!publication->told) {
        publication->told = true;
        kv_log(&publication->node->log, KV_LOG_WARNING,
               "not registered with EPMD any more (%s); nodes that are connected stay so, new ones "
               "cannot find this one; trying again every %d ms",
               why, REGISTER_AGAIN_MS);
    }
    try_again(publication, REGISTER_AGAIN_MS);
}

static void unreachable(struct kv_publication *publication, const char *why)
{
    if (publication->once) {
        lost(publication, why);
        return;
    }
    kv_node_fatal(publication->node, KV_FATAL_NO_EPMD,
                  "no EPMD at 127.0.0.1:%u (%s): start it with epmd -daemon, or say where it is "
                  "with --epmd-port",
                  (unsigned)publication->node->options.epmd_port, why);
}

static void name_taken(struct kv_publication *publication)
{
    struct kv_node *node = publication->node;
    struct kv_bytes alive = kv_options_alive(&node->options);
    if (publication->once) {
        lost(publication, "another node has taken the name");
    } else if (uv_now(&node->loop) < publication->give_up) {
        try_again(publication, NAME_RETRY_MS);
    } else {
        kv_node_fatal(node, KV_FATAL_NAME_TAKEN,
                      "EPMD at port %u knows a node named %.*s already: stop it, or choose another "
                      "--name",
                      (unsigned)node->options.epmd_port, (int)alive.length,
                      (const char *)alive.data);
    }
}

static void accepted(struct kv_publication *publication, uint32_t creation)
{
    uv_timer_stop(&publication->timer);
    publication->registered = true;
    publication->told = false;
    if (publication->once) {
        kv_log(&publication->node->log, KV_LOG_NOTICE, "registered with EPMD again");
    } else {
        publication->once = true;
        kv_node_published(publication->node, creation);
    }
}

static void take_answer(struct kv_publication *publication)
{
    uint32_t creation = 0;
    struct kv_bytes answer = kv_bytes(publication->answer, publication->answer_length);
    switch (kv_epmd_alive_response(answer, &creation)) {
    case KV_OK:
        accepted(publication, creation);
        return;
    case KV_ETRUNCATED:
        return;
    case KV_EEXIST:
        name_taken(publication);
        return;
    default:
        unreachable(publication, "what answers there is no EPMD");
    }
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct kv_publication *publication = handle->data;
    (void)suggested;
    /* EPMD has nothing to say behind its answer; if something comes, it is dropped. */
    if (publication->registered) {
        publication->answer_length = 0;
    }
    *buffer = uv_buf_init((char *)publication->answer + publication->answer_length,
                          (unsigned)(sizeof(publication->answer) - publication->answer_length));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct kv_publication *publication = stream->data;
    (void)buffer;
    if (count < 0) {
        const char *why = count == UV_EOF ? "it closed the connection" : uv_strerror((int)count);
        unreachable(publication, why);
    } else if (!publication->registered) {
        publication->answer_length += (size_t)count;
        take_answer(publication);
    }
}

static void on_connected(uv_connect_t *connecting, int status)
{
    struct kv_publication *publication = connecting->data;
    if (status == UV_ECANCELED) {
        return;
    }
    uv_stream_t *stream = (uv_stream_t *)&publication->tcp;
    uv_buf_t request =
        uv_buf_init((char *)publication->request.data, (unsigned)publication->request.length);
    if (status == 0) {
        status = uv_write(&publication->writing, stream, &request, 1, NULL);
    }
    if (status == 0) {
        status = uv_read_start(stream, on_allocate, on_read);
    }
    if (status != 0) {
        unreachable(publication, uv_strerror(status));
    }
}

static void on_no_answer(uv_timer_t *timer)
{
    unreachable(timer->data, "no answer");
}

static void attempt(struct kv_publication *publication)
{
    struct kv_node *node = publication->node;
    struct sockaddr_in address;
    publication->answer_length = 0;
    int error = uv_tcp_init(&node->loop, &publication->tcp);
    if (error != 0) {
        kv_node_fatal(node, KV_FATAL_INTERNAL, "no socket for EPMD: %s", uv_strerror(error));
        return;
    }
    publication->tcp.data = publication;
    publication->connecting.data = publication;
    uv_timer_start(&publication->timer, on_no_answer, ANSWER_MS, 0);
    (void)uv_ip4_addr("127.0.0.1", (int)node->options.epmd_port, &address);
    error = uv_tcp_connect(&publication->connecting, &publication->tcp,
                           (const struct sockaddr *)&address, on_connected);
    if (error != 0) {
        unreachable(publication, uv_strerror(error));
    }
}

void kv_publication_start(struct kv_publication *publication, struct kv_node *node, uint16_t port)
{
    *publication = (struct kv_publication){.node = node, .port = port, .request = KV_BUFFER_INIT};
    kv_epmd_alive_request(&publication->request, kv_options_alive(&node->options), port);
    uv_timer_init(&node->loop, &publication->timer);
    publication->timer.data = publication;
    publication->give_up = uv_now(&node->loop) + NAME_GIVE_UP_MS;
    attempt(publication);
}

void kv_publication_finish(struct kv_publication *publication)
{
    kv_buffer_free(&publication->request);
}
