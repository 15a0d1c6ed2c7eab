/* EPMD: the request that publishes a node and its answer. */
#include "wire/epmd.h"

#include "support/checks.h"

#include <criterion/criterion.h>

static int respond(const char *hex, uint32_t *creation)
{
    struct kv_buffer input = from_hex(hex);
    struct kv_bytes copy = exact_copy(kv_buffer_bytes(&input));
    int error = kv_epmd_alive_response(copy, creation);
    free_copy(copy);
    kv_buffer_free(&input);
    return error;
}

Test(epmd, a_node_is_published_as_hidden_with_version_six_only)
{
    struct kv_buffer request = KV_BUFFER_INIT;
    kv_epmd_alive_request(&request, kv_bytes_text("kv"), 0x1234);
    struct kv_buffer expected = from_hex("000f 78 1234 48 00 0006 0006 0002 6b76 0000");
    cr_assert(kv_bytes_equal(kv_buffer_bytes(&request), kv_buffer_bytes(&expected)));
    kv_buffer_free(&request);
    kv_buffer_free(&expected);
}

Test(epmd, the_new_answer_carries_a_creation_of_four_bytes)
{
    uint32_t creation = 0;
    cr_assert_eq(respond("76 00 6b0073f0", &creation), KV_OK);
    cr_assert_eq(creation, 0x6b0073f0);
}

Test(epmd, the_old_answer_carries_a_creation_of_two_bytes)
{
    uint32_t creation = 0;
    cr_assert_eq(respond("79 00 0003", &creation), KV_OK);
    cr_assert_eq(creation, 3);
}

Test(epmd, a_result_other_than_zero_means_that_the_name_is_taken)
{
    uint32_t creation = 7;
    cr_assert_eq(respond("76 01 00000063", &creation), KV_EEXIST);
    cr_assert_eq(respond("79 01 0063", &creation), KV_EEXIST);
    cr_assert_eq(creation, 7, "creation is left alone");
}

Test(epmd, every_truncation_needs_more_bytes)
{
    const char *prefixes[] = {"",           "76", "7600", "76006b", "76006b00",
                              "76006b0073", "79", "7900", "790000", "7601000000"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        uint32_t creation = 0;
        cr_assert_eq(respond(prefixes[i], &creation), KV_ETRUNCATED, "%s", prefixes[i]);
    }
}

Test(epmd, any_other_answer_is_refused_at_its_first_byte)
{
    for (unsigned tag = 0; tag < 256; tag++) {
        uint8_t byte = (uint8_t)tag;
        uint32_t creation = 0;
        int expected = tag == 118 || tag == 121 ? KV_ETRUNCATED : KV_EPROTOCOL;
        cr_assert_eq(kv_epmd_alive_response(kv_bytes(&byte, 1), &creation), expected);
    }
}

static int port_of(const char *hex)
{
    struct kv_buffer input = from_hex(hex);
    struct kv_bytes copy = exact_copy(kv_buffer_bytes(&input));
    int error = kv_epmd_port_response(copy);
    free_copy(copy);
    kv_buffer_free(&input);
    return error;
}

Test(epmd, the_port_of_a_name_is_asked_for)
{
    struct kv_buffer request = KV_BUFFER_INIT;
    kv_epmd_port_request(&request, kv_bytes_text("kv"));
    struct kv_buffer expected = from_hex("0003 7a 6b76");
    cr_assert(kv_bytes_equal(kv_buffer_bytes(&request), kv_buffer_bytes(&expected)));
    kv_buffer_free(&request);
    kv_buffer_free(&expected);
}

Test(epmd, a_name_is_known_or_not)
{
    cr_assert_eq(port_of("77 00 1234 48 00 0006 0006"), KV_OK);
    cr_assert_eq(port_of("77 01"), KV_ENOENT);
    cr_assert_eq(port_of(""), KV_ETRUNCATED);
    cr_assert_eq(port_of("77"), KV_ETRUNCATED);
    cr_assert_eq(port_of("76"), KV_EPROTOCOL);
}
