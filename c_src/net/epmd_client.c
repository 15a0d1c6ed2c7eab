#include "net/epmd_client.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    NAME_RETRY_MS = 100, /* while the name is taken at the start */
    NAME_GIVE_UP_MS = 2000,
    REGISTER_AGAIN_MS = 2000, /* OTP: erl_epmd.erl, ?RECONNECT_TIME */
};

static void attempt(struct kv_epmd_client *client);

static void fail(struct kv_epmd_client *client, enum kv_epmd_failure failure, const char *format,
                 ...) __attribute__((format(printf, 3, 4)));

static void fail(struct kv_epmd_client *client, enum kv_epmd_failure failure, const char *format,
                 ...)
{
    char text[KV_LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    client->registration.failed(client->registration.context, failure, text);
}

static void on_retry(uv_timer_t *timer)
{
    attempt(timer->data);
}

static void on_closed(uv_handle_t *handle)
{
    struct kv_epmd_client *client = handle->data;
    if (!client->net->stopping) {
        uv_timer_start(&client->timer, on_retry, client->retry_in, 0);
    }
}

static void try_again(struct kv_epmd_client *client, uint64_t in)
{
    client->registered = false;
    client->retry_in = in;
    uv_timer_stop(&client->timer);
    uv_close((uv_handle_t *)&client->tcp, on_closed);
}

/* EPMD was there before. It will be asked again. */
static void lost(struct kv_epmd_client *client, const char *why)
{
    if (!client->told) {
        client->told = true;
        kv_log(client->net->log, KV_LOG_WARNING,
               "not registered with EPMD any more (%s); nodes that are connected stay so, new ones "
               "cannot find this one; trying again every %d ms",
               why, REGISTER_AGAIN_MS);
    }
    try_again(client, REGISTER_AGAIN_MS);
}

static void unreachable(struct kv_epmd_client *client, const char *why)
{
    if (client->once) {
        lost(client, why);
        return;
    }
    fail(client, KV_EPMD_UNREACHABLE, KV_EPMD_NOT_THERE,
         kv_epmd_address(client->registration.inet6), client->registration.epmd_port, why);
}

static void name_taken(struct kv_epmd_client *client)
{
    const struct kv_epmd_registration *registration = &client->registration;
    if (client->once) {
        lost(client, "another node has taken the name");
    } else if (uv_now(client->net->loop) < client->give_up) {
        try_again(client, NAME_RETRY_MS);
    } else {
        fail(client, KV_EPMD_NAME_TAKEN, KV_EPMD_TAKEN, registration->epmd_port,
             (int)registration->alive.length, (const char *)registration->alive.data);
    }
}

static void accepted(struct kv_epmd_client *client, uint32_t creation)
{
    uv_timer_stop(&client->timer);
    client->registered = true;
    client->told = false;
    if (client->once) {
        kv_log(client->net->log, KV_LOG_NOTICE, "registered with EPMD again");
    } else {
        client->once = true;
        client->registration.published(client->registration.context, creation);
    }
}

static void take_answer(struct kv_epmd_client *client)
{
    uint32_t creation = 0;
    struct kv_bytes answer = kv_bytes(client->answer, client->answer_length);
    switch (kv_epmd_alive_response(answer, &creation)) {
    case KV_OK:
        accepted(client, creation);
        return;
    case KV_ETRUNCATED:
        return;
    case KV_EEXIST:
        name_taken(client);
        return;
    default:
        unreachable(client, "what answers there is no EPMD");
    }
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct kv_epmd_client *client = handle->data;
    (void)suggested;
    /* EPMD says nothing after its answer. Anything that comes is dropped. */
    if (client->registered) {
        client->answer_length = 0;
    }
    *buffer = uv_buf_init((char *)client->answer + client->answer_length,
                          (unsigned)(sizeof(client->answer) - client->answer_length));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct kv_epmd_client *client = stream->data;
    (void)buffer;
    if (count < 0) {
        const char *why = count == UV_EOF ? "it closed the connection" : uv_strerror((int)count);
        unreachable(client, why);
    } else if (!client->registered) {
        client->answer_length += (size_t)count;
        take_answer(client);
    }
}

static void on_connected(uv_connect_t *connecting, int status)
{
    struct kv_epmd_client *client = connecting->data;
    if (status == UV_ECANCELED) {
        return;
    }
    uv_stream_t *stream = (uv_stream_t *)&client->tcp;
    uv_buf_t request = uv_buf_init((char *)client->request.data, (unsigned)client->request.length);
    if (status == 0) {
        status = uv_write(&client->writing, stream, &request, 1, NULL);
    }
    if (status == 0) {
        status = uv_read_start(stream, on_allocate, on_read);
    }
    if (status != 0) {
        unreachable(client, uv_strerror(status));
    }
}

static void on_no_answer(uv_timer_t *timer)
{
    unreachable(timer->data, "no answer");
}

void kv_epmd_where(bool inet6, unsigned port, struct sockaddr_storage *address)
{
    if (inet6) {
        (void)uv_ip6_addr("::1", (int)port, (void *)address);
    } else {
        (void)uv_ip4_addr("127.0.0.1", (int)port, (void *)address);
    }
}

static void attempt(struct kv_epmd_client *client)
{
    struct sockaddr_storage address = {0};
    client->answer_length = 0;
    int error = uv_tcp_init(client->net->loop, &client->tcp);
    if (error != 0) {
        fail(client, KV_EPMD_NO_SOCKET, "no socket for EPMD: %s", uv_strerror(error));
        return;
    }
    client->tcp.data = client;
    client->connecting.data = client;
    uv_timer_start(&client->timer, on_no_answer, KV_EPMD_ANSWER_MS, 0);
    kv_epmd_where(client->registration.inet6, client->registration.epmd_port, &address);
    error = uv_tcp_connect(&client->connecting, &client->tcp, (const struct sockaddr *)&address,
                           on_connected);
    if (error != 0) {
        unreachable(client, uv_strerror(error));
    }
}

void kv_epmd_client_start(struct kv_epmd_client *client, struct kv_net *net,
                          const struct kv_epmd_registration *registration)
{
    *client = (struct kv_epmd_client){
        .net = net, .registration = *registration, .request = KV_BUFFER_INIT};
    kv_epmd_alive_request(&client->request, registration->alive, (uint16_t)registration->port);
    uv_timer_init(net->loop, &client->timer);
    client->timer.data = client;
    client->give_up = uv_now(net->loop) + NAME_GIVE_UP_MS;
    attempt(client);
}

void kv_epmd_client_finish(struct kv_epmd_client *client)
{
    kv_buffer_free(&client->request);
}
