/* The order in which connections go when too many are in their handshake. */
#include "base/alloc.h"
#include "net/strangers.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdlib.h>

enum { MOST = KV_STRANGERS_MAX };

static struct kv_strangers unnamed;
static struct kv_strangers named;
static struct kv_stranger strangers[MOST];
static size_t used;

static void set_up(void)
{
    struct kv_hash_key key = {5, 6};
    kv_strangers_init(&unnamed, &key);
    kv_strangers_init(&named, &key);
    used = 0;
}

static void tear_down(void)
{
    for (size_t i = 0; i < used; i++) {
        kv_strangers_remove(&strangers[i]);
    }
    kv_strangers_free(&unnamed);
    kv_strangers_free(&named);
    if (kv_alloc_outstanding() != 0) {
        abort();
    }
}

TestSuite(strangers, .init = set_up, .fini = tear_down, .timeout = 20);

static struct kv_stranger *come(uint64_t address)
{
    struct kv_stranger *stranger = &strangers[used++];
    kv_stranger_init(stranger);
    kv_strangers_add(&unnamed, stranger, address);
    return stranger;
}

static void assert_goes_first(const struct kv_stranger *expected)
{
    struct kv_stranger *first = kv_strangers_first(&unnamed);
    cr_assert_eq(first, expected);
    kv_strangers_remove(first);
}

Test(strangers, of_an_empty_pool_none_goes)
{
    cr_assert_null(kv_strangers_first(&unnamed));
}

Test(strangers, of_one_address_the_oldest_goes)
{
    struct kv_stranger *first = come(1);
    struct kv_stranger *second = come(1);
    assert_goes_first(first);
    assert_goes_first(second);
    cr_assert_null(kv_strangers_first(&unnamed));
}

Test(strangers, the_address_that_most_come_from_loses_its_oldest)
{
    struct kv_stranger *alone = come(1);
    struct kv_stranger *many[3] = {come(2), come(2), come(2)};
    struct kv_stranger *two[2] = {come(3), come(3)};
    assert_goes_first(many[0]);
    assert_goes_first(two[0]);
    assert_goes_first(many[1]);
    assert_goes_first(alone);
    assert_goes_first(two[1]);
    assert_goes_first(many[2]);
}

Test(strangers, of_addresses_with_one_each_the_oldest_goes)
{
    struct kv_stranger *each[3] = {come(1), come(2), come(3)};
    assert_goes_first(each[0]);
    assert_goes_first(each[1]);
    assert_goes_first(each[2]);
}

Test(strangers, a_flood_from_one_address_pushes_out_nobody_else)
{
    struct kv_stranger *honest = come(1);
    for (size_t i = 1; i < MOST; i++) {
        (void)come(2);
    }
    for (size_t i = 2; i < MOST; i++) {
        cr_assert_neq(kv_strangers_first(&unnamed), honest);
        kv_strangers_remove(kv_strangers_first(&unnamed));
    }
    cr_assert_eq(unnamed.count, 2);
}

Test(strangers, with_a_name_are_not_among_those_without)
{
    struct kv_stranger *one = come(1);
    struct kv_stranger *other = come(1);
    kv_strangers_move(&named, one);
    cr_assert_eq(named.count, 1);
    cr_assert_eq(kv_strangers_first(&named), one);
    assert_goes_first(other);
}

Test(strangers, can_be_removed_again_when_they_are_gone)
{
    struct kv_stranger *one = come(1);
    kv_strangers_remove(one);
    kv_strangers_remove(one);
    cr_assert_eq(unnamed.count, 0);
    cr_assert_eq(unnamed.most, 0);
}

static uint64_t four(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(17)};
    cr_assert_eq(inet_pton(AF_INET, text, &address.sin_addr), 1);
    return kv_strangers_address((struct sockaddr *)&address);
}

static uint64_t six(const char *text)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(17)};
    cr_assert_eq(inet_pton(AF_INET6, text, &address.sin6_addr), 1);
    return kv_strangers_address((struct sockaddr *)&address);
}

Test(strangers, count_as_one_by_their_address_or_by_the_network_of_one_of_ipv6)
{
    cr_assert_eq(four("10.0.0.1"), four("10.0.0.1"));
    cr_assert_neq(four("10.0.0.1"), four("10.0.0.2"));
    cr_assert_eq(six("2001:db8:1:2::1"), six("2001:db8:1:2:ffff::9"));
    cr_assert_neq(six("2001:db8:1:2::1"), six("2001:db8:1:3::1"));
    cr_assert_eq(six("::ffff:10.0.0.1"), four("10.0.0.1"));
}
