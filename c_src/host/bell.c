#include "host/bell.h"

#include <sys/eventfd.h>
#include <unistd.h>

static void on_ring(uv_poll_t *poll, int status, int events)
{
    const struct kv_bell *bell = poll->data;
    eventfd_t rings = 0;
    (void)status;
    (void)events;
    (void)eventfd_read(bell->fd, &rings);
    bell->heard(bell->context);
}

bool kv_bell_open(struct kv_bell *bell, uv_loop_t *loop, void (*heard)(void *context),
                  void *context)
{
    *bell = (struct kv_bell){
        .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .heard = heard, .context = context};
    if (bell->fd < 0) {
        return false;
    }
    if (uv_poll_init(loop, &bell->poll, bell->fd) != 0) {
        (void)close(bell->fd);
        return false;
    }
    bell->poll.data = bell;
    (void)uv_poll_start(&bell->poll, UV_READABLE, on_ring);
    return true;
}

void kv_bell_ring(const struct kv_bell *bell)
{
    (void)eventfd_write(bell->fd, 1);
}

void kv_bell_close(struct kv_bell *bell, uv_close_cb closed)
{
    uv_close((uv_handle_t *)&bell->poll, closed);
    (void)close(bell->fd);
}
