/* Messages to a service manager, over real sockets: one with a path and one without. */
#include "host/manager.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct kv_manager manager;
static char folder[] = "/tmp/kv_manager_XXXXXX";
static char name[96]; /* as in NOTIFY_SOCKET */
static int listening = -1;

static void set_up(void)
{
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
    cr_assert_not_null(mkdtemp(folder));
}

static void tear_down(void)
{
    kv_manager_close(&manager);
    if (listening >= 0) {
        (void)close(listening);
        (void)unlink(name);
    }
    (void)rmdir(folder);
}

TestSuite(manager, .init = set_up, .fini = tear_down, .timeout = 20);

static void set(const char *variable, const char *value)
{
    cr_assert_eq(setenv(variable, value, 1), 0);
}

static void listen_at(char first)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(name, sizeof name, "%s/notify", folder);
    name[0] = first;
    const size_t length = strlen(name);
    memcpy(address.sun_path, name, length);
    if (first == '@') {
        address.sun_path[0] = '\0';
    }
    listening = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    cr_assert_geq(listening, 0);
    cr_assert_eq(bind(listening, (const struct sockaddr *)&address,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
                 0);
    set("NOTIFY_SOCKET", name);
}

static void assert_heard(const char *text)
{
    char heard[2 * KV_MANAGER_TEXT];
    const ssize_t length = recv(listening, heard, sizeof heard - 1, 0);
    cr_assert_geq(length, 0);
    heard[length] = '\0';
    cr_assert_str_eq(heard, text);
}

Test(manager, a_socket_with_a_path_hears)
{
    listen_at('/');
    kv_manager_open(&manager);
    (void)kv_manager_tell(&manager, "READY=%d\nSTATUS=%s", 1, "serves");
    assert_heard("READY=1\nSTATUS=serves");
}

Test(manager, an_abstract_socket_hears)
{
    listen_at('@');
    kv_manager_open(&manager);
    (void)kv_manager_tell(&manager, "WATCHDOG=1");
    assert_heard("WATCHDOG=1");
}

Test(manager, a_long_message_is_cut)
{
    char text[2 * KV_MANAGER_TEXT + 1];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    listen_at('@');
    kv_manager_open(&manager);
    (void)kv_manager_tell(&manager, "%s", text);
    text[KV_MANAGER_TEXT - 1] = '\0';
    assert_heard(text);
}

Test(manager, a_manager_that_does_not_read_misses_messages_and_never_stops_the_node)
{
    bool heard = true;
    listen_at('@');
    kv_manager_open(&manager);
    for (unsigned i = 0; heard && i < 100000; i++) {
        heard = kv_manager_tell(&manager, "WATCHDOG=1");
    }
    cr_assert_not(heard);
    assert_heard("WATCHDOG=1");
    cr_assert(kv_manager_tell(&manager, "READY=1"), "there is room again");
}

Test(manager, without_a_manager_nothing_is_told)
{
    static const char *const NO_NAMES[] = {"", "/", "@", "relative/name", "vsock:2:1234"};
    kv_manager_open(&manager);
    (void)kv_manager_tell(&manager, "READY=1");
    cr_assert_eq(manager.fd, -1);
    for (size_t i = 0; i < 5; i++) {
        set("NOTIFY_SOCKET", NO_NAMES[i]);
        kv_manager_open(&manager);
        cr_assert_eq(manager.fd, -1, "%s", NO_NAMES[i]);
    }
}

Test(manager, a_name_that_is_too_long_is_no_manager)
{
    char text[200];
    memset(text, 'x', sizeof text);
    text[0] = '/';
    text[sizeof text - 1] = '\0';
    set("NOTIFY_SOCKET", text);
    kv_manager_open(&manager);
    cr_assert_eq(manager.fd, -1);
}

Test(manager, a_manager_that_has_gone_is_no_matter)
{
    set("NOTIFY_SOCKET", "/nowhere/notify");
    kv_manager_open(&manager);
    (void)kv_manager_tell(&manager, "READY=1");
    cr_assert_geq(manager.fd, 0);
}

Test(manager, the_environment_is_read_once)
{
    listen_at('@');
    set("WATCHDOG_USEC", "1000");
    kv_manager_open(&manager);
    cr_assert_null(getenv("NOTIFY_SOCKET"));
    cr_assert_null(getenv("WATCHDOG_USEC"));
}

static uint64_t watchdog(const char *usec, const char *pid)
{
    set("NOTIFY_SOCKET", "@anybody");
    set("WATCHDOG_USEC", usec);
    if (pid != NULL) {
        set("WATCHDOG_PID", pid);
    }
    kv_manager_open(&manager);
    kv_manager_close(&manager);
    return manager.watchdog_us;
}

Test(manager, a_watchdog_wants_signs_within_a_time)
{
    char own[24];
    (void)snprintf(own, sizeof own, "%d", (int)getpid());
    cr_assert_eq(watchdog("30000000", NULL), 30000000);
    cr_assert_eq(watchdog("30000000", own), 30000000);
    cr_assert_eq(watchdog("30000000", "1"), 0, "it is for another process");
    cr_assert_eq(watchdog("0", NULL), 0);
    cr_assert_eq(watchdog("soon", NULL), 0);
    cr_assert_eq(watchdog("-1", NULL), 0);
    cr_assert_eq(watchdog("99999999999999999999999", NULL), 0);
}
