#include "node/service.h"

#include <stdio.h>

enum { US_PER_MS = 1000 };

static void on_alive(uv_timer_t *timer)
{
    const struct kv_service *service = timer->data;
    (void)kv_manager_tell(&service->manager, "WATCHDOG=1");
}

/* The manager may have missed the one message that it must have. */
static void tell_ready(struct kv_service *service);

static void on_coming(uv_timer_t *timer)
{
    struct kv_service *service = timer->data;
    if (service->ready[0] != '\0') {
        tell_ready(service);
        return;
    }
    (void)kv_manager_tell(&service->manager, "EXTEND_TIMEOUT_USEC=%u",
                          (unsigned)KV_SERVICE_EXTEND_MS * US_PER_MS);
}

static void tell_ready(struct kv_service *service)
{
    if (kv_manager_tell(&service->manager, "%s", service->ready)) {
        (void)uv_timer_stop(&service->coming);
    } else {
        (void)uv_timer_start(&service->coming, on_coming, KV_SERVICE_AGAIN_MS, 0);
    }
}

/* A watchdog of less than two milliseconds gets a sign in each. */
static uint64_t half_ms(uint64_t watchdog_us)
{
    const uint64_t half = watchdog_us / US_PER_MS / 2;
    return half == 0 ? 1 : half;
}

void kv_service_start(struct kv_service *service, uv_loop_t *loop)
{
    kv_manager_open(&service->manager);
    (void)uv_timer_init(loop, &service->alive);
    (void)uv_timer_init(loop, &service->coming);
    service->alive.data = service;
    service->coming.data = service;
    if (service->manager.fd < 0) {
        return;
    }
    const uint64_t watchdog_us = service->manager.watchdog_us;
    if (watchdog_us > 0) {
        (void)uv_timer_start(&service->alive, on_alive, 0, half_ms(watchdog_us));
    }
    (void)uv_timer_start(&service->coming, on_coming, KV_SERVICE_STEP_MS, KV_SERVICE_STEP_MS);
}

void kv_service_recovering(struct kv_service *service, unsigned percent)
{
    const uint64_t now = uv_now(service->coming.loop);
    if (service->told == 0 || now - service->told >= KV_SERVICE_STATUS_MS) {
        service->told = now;
        (void)kv_manager_tell(&service->manager, "STATUS=reads its durable buckets: %u%%", percent);
    }
}

void kv_service_ready(struct kv_service *service, const char *name, unsigned port)
{
    (void)snprintf(service->ready, sizeof service->ready, "READY=1\nSTATUS=%s serves at port %u",
                   name, port);
    tell_ready(service);
}

void kv_service_stopping(struct kv_service *service, const char *why)
{
    if (why == NULL) {
        (void)kv_manager_tell(&service->manager, "STOPPING=1\nSTATUS=stops");
    } else {
        (void)kv_manager_tell(&service->manager, "STOPPING=1\nSTATUS=%s", why);
    }
    kv_manager_close(&service->manager);
}
