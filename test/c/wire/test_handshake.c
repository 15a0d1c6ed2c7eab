/* The accepting side of the handshake, driven by the bytes of a peer. */
#include "wire/handshake.h"

#include "support/checks.h"

#include <criterion/criterion.h>
#include <openssl/provider.h>

/* MD5("probe" "12345") as a BEAM computes it. */
#define PROBE_DIGEST "c6fbd31dba901048079e89736c97edc7"

/* The messages of this node: "ok" or "alive", then the challenge. */
#define STATUS_OK          "0003 73 6f6b"
#define STATUS_ALIVE       "0006 73 616c697665"
#define STATUS_NOT_ALLOWED "000c 73 6e6f745f616c6c6f776564"
#define OUR_CHALLENGE      "0017 4e 0000002d07df4fbc 00003039 0000002a 0004 6b764068" /* kv@h */

/* The messages of the peer q@vm. */
#define NAME_REST    "00 04 71 40 76 6d"
#define BEAM_NAME    "0013 4e 0000000d07df7fbd 6b0073f0" NAME_REST
#define OLD_NAME     "000b 6e 0005 07df7fbd 7140766d"
#define COMPLEMENT   "0009 63 0000000d 6b0073f0"
#define STATUS_TRUE  "0005 73 74727565"
#define STATUS_FALSE "0006 73 66616c7365"
#define REPLY        "0015 72 00003039" PROBE_DIGEST
#define ACK          "0011 61" PROBE_DIGEST

#define BEAM_FLAGS UINT64_C(0xd07df7fbd)

enum { CHALLENGE = 12345 };

static struct kv_identity probe(void)
{
    return (struct kv_identity){.name = kv_bytes_text("kv@h"),
                                .flags = KV_DFLAGS_OFFERED,
                                .creation = 42,
                                .cookie = kv_bytes_text("probe")};
}

/* One connection: the handshake, the bytes that it sent, and the bytes that it has not taken yet.
 */
struct connection {
    struct kv_identity self;
    struct kv_handshake handshake;
    struct kv_buffer input;
    struct kv_buffer out;
    bool already_connected;
    int error;
};

static void open_connection(struct connection *connection)
{
    *connection = (struct connection){.self = probe()};
    kv_handshake_init(&connection->handshake, &connection->self, CHALLENGE);
}

static void close_connection(struct connection *connection)
{
    kv_buffer_free(&connection->input);
    kv_buffer_free(&connection->out);
}

/* Feeds the bytes, from memory that ends with them. Returns how many were taken. */
static size_t feed_once(struct connection *connection)
{
    size_t consumed = 99;
    struct kv_bytes copy = exact_copy(kv_buffer_bytes(&connection->input));
    connection->error =
        kv_handshake_feed(&connection->handshake, copy, &consumed, &connection->out);
    free_copy(copy);
    kv_buffer_consume(&connection->input, consumed);
    return consumed;
}

/* Feeds, and acts as the owner, until the handshake goes no further. */
static void drive(struct connection *connection)
{
    size_t taken = 1;
    while (taken > 0 && connection->error == KV_OK) {
        taken = feed_once(connection);
        if (connection->error == KV_OK && connection->handshake.step == KV_HANDSHAKE_NAMED) {
            kv_handshake_answer_name(&connection->handshake, connection->already_connected,
                                     &connection->out);
        } else if (connection->handshake.step == KV_HANDSHAKE_VERIFIED) {
            kv_handshake_accept(&connection->handshake, &connection->out);
        }
    }
}

static void receive(struct connection *connection, struct kv_bytes bytes)
{
    kv_buffer_append(&connection->input, bytes);
    drive(connection);
}

static void receive_hex(struct connection *connection, const char *hex)
{
    struct kv_buffer bytes = from_hex(hex);
    receive(connection, kv_buffer_bytes(&bytes));
    kv_buffer_free(&bytes);
}

static bool sent(const struct connection *connection, const char *hex)
{
    struct kv_buffer expected = from_hex(hex);
    bool same = kv_bytes_equal(kv_buffer_bytes(&connection->out), kv_buffer_bytes(&expected));
    kv_buffer_free(&expected);
    return same;
}

/* ---- whole conversations --------------------------------------------------------------------- */

struct conversation {
    const char *name;
    bool already_connected;
    const char *peer; /* all bytes of the peer */
    const char *we;   /* all bytes of the answers */
};

static const struct conversation CONVERSATIONS[] = {
    {"a peer of OTP 25 and later", false, BEAM_NAME REPLY, STATUS_OK OUR_CHALLENGE ACK},
    {"the same, connected already", true, BEAM_NAME STATUS_TRUE REPLY,
     STATUS_ALIVE OUR_CHALLENGE ACK},
    {"a peer that sends the old name", false, OLD_NAME COMPLEMENT REPLY,
     STATUS_OK OUR_CHALLENGE ACK},
    {"a peer that sends the old name with another version", false,
     "000b 6e 0006 07df7fbd 7140766d" COMPLEMENT REPLY, STATUS_OK OUR_CHALLENGE ACK},
    {"the old name, connected already", true, OLD_NAME STATUS_TRUE COMPLEMENT REPLY,
     STATUS_ALIVE OUR_CHALLENGE ACK},
};

enum { CONVERSATION_COUNT = sizeof CONVERSATIONS / sizeof *CONVERSATIONS };

static void assert_done(const struct connection *connection, const struct conversation *talk)
{
    cr_assert_eq(connection->error, KV_OK, "%s", talk->name);
    cr_assert_eq(connection->handshake.step, KV_HANDSHAKE_DONE, "%s", talk->name);
    cr_assert(sent(connection, talk->we), "%s", talk->name);
    cr_assert(kv_bytes_is(kv_handshake_peer(&connection->handshake), "q@vm"));
    cr_assert_eq(connection->handshake.flags, BEAM_FLAGS, "%s", talk->name);
    cr_assert_eq(connection->handshake.creation, 0x6b0073f0, "%s", talk->name);
    cr_assert_eq(connection->handshake.peer_challenge, CHALLENGE);
}

Test(handshake, each_kind_of_peer_is_accepted)
{
    for (size_t i = 0; i < CONVERSATION_COUNT; i++) {
        struct connection connection;
        open_connection(&connection);
        connection.already_connected = CONVERSATIONS[i].already_connected;
        receive_hex(&connection, CONVERSATIONS[i].peer);
        assert_done(&connection, &CONVERSATIONS[i]);
        close_connection(&connection);
    }
}

Test(handshake, bytes_may_be_split_at_any_place)
{
    for (size_t i = 0; i < CONVERSATION_COUNT; i++) {
        struct kv_buffer bytes = from_hex(CONVERSATIONS[i].peer);
        for (size_t split = 0; split <= bytes.length; split++) {
            struct connection connection;
            open_connection(&connection);
            connection.already_connected = CONVERSATIONS[i].already_connected;
            receive(&connection, kv_bytes(bytes.data, split));
            cr_assert_eq(connection.error, KV_OK, "%s at %zu", CONVERSATIONS[i].name, split);
            receive(&connection, kv_bytes(bytes.data + split, bytes.length - split));
            assert_done(&connection, &CONVERSATIONS[i]);
            close_connection(&connection);
        }
        kv_buffer_free(&bytes);
    }
}

/* The same messages with lengths of four bytes, as they are over TLS. */
static struct kv_buffer widened(const char *hex)
{
    struct kv_buffer narrow = from_hex(hex);
    struct kv_buffer wide = KV_BUFFER_INIT;
    for (size_t at = 0; at < narrow.length;) {
        const size_t length = (size_t)(narrow.data[at] << 8 | narrow.data[at + 1]);
        kv_buffer_u32(&wide, (uint32_t)length);
        kv_buffer_append(&wide, kv_bytes(narrow.data + at + 2, length));
        at += 2 + length;
    }
    kv_buffer_free(&narrow);
    return wide;
}

Test(handshake, lengths_have_four_bytes_over_tls)
{
    for (size_t i = 0; i < CONVERSATION_COUNT; i++) {
        struct kv_buffer peer = widened(CONVERSATIONS[i].peer);
        struct kv_buffer we = widened(CONVERSATIONS[i].we);
        for (size_t split = 0; split <= peer.length; split++) {
            struct connection connection;
            open_connection(&connection);
            connection.self.over_tls = true;
            connection.already_connected = CONVERSATIONS[i].already_connected;
            receive(&connection, kv_bytes(peer.data, split));
            receive(&connection, kv_bytes(peer.data + split, peer.length - split));
            cr_assert_eq(connection.handshake.step, KV_HANDSHAKE_DONE, "%s", CONVERSATIONS[i].name);
            cr_assert(kv_bytes_equal(kv_buffer_bytes(&connection.out), kv_buffer_bytes(&we)));
            close_connection(&connection);
        }
        kv_buffer_free(&peer);
        kv_buffer_free(&we);
    }
}

Test(handshake, a_length_over_the_limit_is_refused_over_tls_too)
{
    static const char *const TOO_LONG[] = {"00000201", "00010001", "16030102", "ffffffff"};
    for (size_t i = 0; i < sizeof TOO_LONG / sizeof *TOO_LONG; i++) {
        struct connection connection;
        open_connection(&connection);
        connection.self.over_tls = true;
        receive_hex(&connection, TOO_LONG[i]);
        cr_assert_eq(connection.error, KV_ESIZE);
        close_connection(&connection);
    }
}

Test(handshake, bytes_may_come_one_by_one)
{
    for (size_t i = 0; i < CONVERSATION_COUNT; i++) {
        struct kv_buffer bytes = from_hex(CONVERSATIONS[i].peer);
        struct connection connection;
        open_connection(&connection);
        connection.already_connected = CONVERSATIONS[i].already_connected;
        for (size_t at = 0; at < bytes.length; at++) {
            cr_assert_neq(connection.handshake.step, KV_HANDSHAKE_DONE);
            receive(&connection, kv_bytes(bytes.data + at, 1));
        }
        assert_done(&connection, &CONVERSATIONS[i]);
        close_connection(&connection);
        kv_buffer_free(&bytes);
    }
}

Test(handshake, bytes_behind_the_handshake_are_left_for_the_frames)
{
    struct connection connection;
    open_connection(&connection);
    receive_hex(&connection, BEAM_NAME REPLY "00000000");
    cr_assert_eq(connection.handshake.step, KV_HANDSHAKE_DONE);
    cr_assert_eq(connection.input.length, 4);
    close_connection(&connection);
}

Test(handshake, the_common_flags_are_the_flags_of_both_sides)
{
    struct connection connection;
    open_connection(&connection);
    receive_hex(&connection, BEAM_NAME);
    cr_assert_eq(kv_handshake_common_flags(&connection.handshake), BEAM_FLAGS & KV_DFLAGS_OFFERED);
    close_connection(&connection);
}

Test(handshake, the_name_message_of_a_beam_is_understood)
{
    struct connection connection;
    open_connection(&connection);
    receive_hex(&connection, "0013 4e 00 00 00 0d 07 df 7f bd 6b 00 73 f0 00 04 71 40 76 6d");
    cr_assert_eq(connection.error, KV_OK);
    cr_assert(kv_bytes_is(kv_handshake_peer(&connection.handshake), "q@vm"));
    close_connection(&connection);
}

Test(handshake, bytes_behind_the_name_are_ignored)
{
    struct connection connection;
    open_connection(&connection);
    receive_hex(&connection, "0016 4e 0000000d07df7fbd 6b0073f0" NAME_REST "010203");
    cr_assert_eq(connection.handshake.step, KV_HANDSHAKE_AWAIT_REPLY);
    cr_assert(kv_bytes_is(kv_handshake_peer(&connection.handshake), "q@vm"));
    close_connection(&connection);
}

/* ---- steps that wait for the owner ----------------------------------------------------------- */

Test(handshake, nothing_is_answered_before_the_owner_knows_the_name)
{
    struct connection connection;
    open_connection(&connection);
    append_hex(&connection.input, BEAM_NAME REPLY);
    cr_assert_gt(feed_once(&connection), 0);
    cr_assert_eq(connection.handshake.step, KV_HANDSHAKE_NAMED);
    cr_assert_eq(connection.out.length, 0);
    cr_assert_eq(feed_once(&connection), 0, "nothing is taken meanwhile");
    cr_assert_eq(connection.error, KV_OK);
    close_connection(&connection);
}

Test(handshake, no_ack_is_sent_before_the_owner_accepts)
{
    struct connection connection;
    open_connection(&connection);
    receive_hex(&connection, BEAM_NAME);
    append_hex(&connection.input, REPLY "00000000");
    cr_assert_eq(feed_once(&connection), 23);
    cr_assert_eq(connection.handshake.step, KV_HANDSHAKE_VERIFIED);
    cr_assert(sent(&connection, STATUS_OK OUR_CHALLENGE));
    cr_assert_eq(feed_once(&connection), 0, "nothing is taken meanwhile");
    kv_handshake_accept(&connection.handshake, &connection.out);
    cr_assert(sent(&connection, STATUS_OK OUR_CHALLENGE ACK));
    close_connection(&connection);
}

Test(handshake, the_owner_may_refuse_a_name)
{
    struct connection connection;
    open_connection(&connection);
    append_hex(&connection.input, BEAM_NAME);
    cr_assert_gt(feed_once(&connection), 0);
    kv_handshake_refuse(&connection.handshake, &connection.out);
    cr_assert_eq(connection.handshake.step, KV_HANDSHAKE_REFUSED);
    cr_assert(sent(&connection, STATUS_NOT_ALLOWED));
    close_connection(&connection);
}

Test(handshake, an_answer_of_the_owner_in_another_step_does_nothing)
{
    struct connection connection;
    open_connection(&connection);
    kv_handshake_answer_name(&connection.handshake, false, &connection.out);
    kv_handshake_refuse(&connection.handshake, &connection.out);
    kv_handshake_accept(&connection.handshake, &connection.out);
    cr_assert_eq(connection.handshake.step, KV_HANDSHAKE_AWAIT_NAME);
    cr_assert_eq(connection.out.length, 0);
    close_connection(&connection);
}

/* ---- refusals -------------------------------------------------------------------------------- */

struct refusal {
    const char *name;
    const char *peer;
    int error;
    const char *we;
};

static void assert_refused(const struct refusal *row, bool already_connected)
{
    struct connection connection;
    open_connection(&connection);
    connection.already_connected = already_connected;
    receive_hex(&connection, row->peer);
    cr_assert_eq(connection.error, row->error, "%s: %d", row->name, connection.error);
    cr_assert_eq(connection.handshake.step, KV_HANDSHAKE_REFUSED, "%s", row->name);
    cr_assert(sent(&connection, row->we), "%s", row->name);
    cr_assert_eq(feed_once(&connection), 0, "%s: nothing is taken any more", row->name);
    cr_assert_eq(connection.error, KV_OK, "%s: the error comes once", row->name);
    close_connection(&connection);
}

static const struct refusal BAD_NAMES[] = {
    {"an empty message", "0000", KV_EPROTOCOL, ""},
    {"a message over the limit, by its length alone", "0201", KV_ESIZE, ""},
    {"what a web browser says", "474554", KV_ESIZE, ""},
    {"a TLS hello", "160301 0200 01", KV_ETLS, ""},
    {"another message", REPLY, KV_EPROTOCOL, ""},
    {"a status", STATUS_TRUE, KV_EPROTOCOL, ""},
    {"'N' alone", "0001 4e", KV_EPROTOCOL, ""},
    {"'N' without the length of its name", "000e 4e 0000000d07df7fbd 6b0073f0 00", KV_EPROTOCOL,
     ""},
    {"a name longer than its message", "0013 4e 0000000d07df7fbd 6b0073f0 0005 7140766d",
     KV_EPROTOCOL, ""},
    {"no name", "000f 4e 0000000d07df7fbd 6b0073f0 0000", KV_ENAME, STATUS_NOT_ALLOWED},
    {"a name without '@'", "0013 4e 0000000d07df7fbd 6b0073f0 0004 7171766d", KV_ENAME,
     STATUS_NOT_ALLOWED},
    {"nothing before the '@'", "0012 4e 0000000d07df7fbd 6b0073f0 0003 40766d", KV_ENAME,
     STATUS_NOT_ALLOWED},
    {"nothing behind the '@'", "0011 4e 0000000d07df7fbd 6b0073f0 0002 7140", KV_ENAME,
     STATUS_NOT_ALLOWED},
    {"two '@'", "0013 4e 0000000d07df7fbd 6b0073f0 0004 7140406d", KV_ENAME, STATUS_NOT_ALLOWED},
    {"our own name", "0013 4e 0000000d07df7fbd 6b0073f0 0004 6b764068", KV_ENAME,
     STATUS_NOT_ALLOWED},
    {"a peer that wants a name of us", "0011 4e 0000000f07df7fbd 00000000 0002 766d", KV_ENAMELESS,
     STATUS_NOT_ALLOWED},
    {"the same with a whole name", "0013 4e 0000000f07df7fbd 00000000" NAME_REST, KV_ENAMELESS,
     STATUS_NOT_ALLOWED},
    {"no flags at all", "0013 4e 0000000000000000 6b0073f0" NAME_REST, KV_EFLAGS,
     STATUS_NOT_ALLOWED},
    {"'n' alone", "0001 6e", KV_EPROTOCOL, ""},
    {"'n' without its flags", "0006 6e 0005 07df7f", KV_EPROTOCOL, ""},
    {"'n' without HANDSHAKE_23", "000b 6e 0005 02df7fbd 7140766d", KV_EFLAGS, STATUS_NOT_ALLOWED},
    {"'n' without a name", "0007 6e 0005 07df7fbd", KV_ENAME, STATUS_NOT_ALLOWED},
    {"'n' with our own name", "000b 6e 0005 07df7fbd 6b764068", KV_ENAME, STATUS_NOT_ALLOWED},
};

Test(handshake, a_bad_name_message_is_refused)
{
    for (size_t i = 0; i < sizeof BAD_NAMES / sizeof *BAD_NAMES; i++) {
        assert_refused(&BAD_NAMES[i], false);
    }
}

#define CHALLENGED STATUS_OK OUR_CHALLENGE

static const struct refusal BAD_REPLIES[] = {
    {"an empty message", BEAM_NAME "0000", KV_EPROTOCOL, CHALLENGED},
    {"a message over the limit", BEAM_NAME "ffff", KV_ESIZE, CHALLENGED},
    {"a second name", BEAM_NAME BEAM_NAME, KV_EPROTOCOL, CHALLENGED},
    {"a complement that was not asked for", BEAM_NAME COMPLEMENT, KV_EPROTOCOL, CHALLENGED},
    {"a status", BEAM_NAME STATUS_TRUE, KV_EPROTOCOL, CHALLENGED},
    {"a reply one byte short", BEAM_NAME "0014 72 00003039 c6fbd31dba901048079e89736c97ed",
     KV_EPROTOCOL, CHALLENGED},
    {"a reply one byte long", BEAM_NAME "0016 72 00003039" PROBE_DIGEST "00", KV_EPROTOCOL,
     CHALLENGED},
    {"a wrong digest", BEAM_NAME "0015 72 00003039 00000000000000000000000000000000", KV_ECOOKIE,
     CHALLENGED},
    {"old name: a reply before the complement", OLD_NAME REPLY, KV_EPROTOCOL, CHALLENGED},
    {"old name: two complements", OLD_NAME COMPLEMENT COMPLEMENT, KV_EPROTOCOL, CHALLENGED},
    {"old name: a complement one byte short", OLD_NAME "0008 63 0000000d 6b0073", KV_EPROTOCOL,
     CHALLENGED},
    {"old name: a complement one byte long", OLD_NAME "000a 63 0000000d 6b0073f000", KV_EPROTOCOL,
     CHALLENGED},
    {"old name: a complement that wants a name of us", OLD_NAME "0009 63 0000000f 6b0073f0",
     KV_ENAMELESS, CHALLENGED},
    {"old name: a wrong digest",
     OLD_NAME COMPLEMENT "0015 72 00003039 00000000000000000000000000000000", KV_ECOOKIE,
     CHALLENGED},
};

Test(handshake, a_bad_answer_to_the_challenge_is_refused_by_closing)
{
    for (size_t i = 0; i < sizeof BAD_REPLIES / sizeof *BAD_REPLIES; i++) {
        assert_refused(&BAD_REPLIES[i], false);
    }
}

static const struct refusal BAD_ALIVES[] = {
    {"false", BEAM_NAME STATUS_FALSE, KV_EEXIST, STATUS_ALIVE},
    {"something else", BEAM_NAME STATUS_OK, KV_EPROTOCOL, STATUS_ALIVE},
    {"true and more", BEAM_NAME "0006 73 7472756500", KV_EPROTOCOL, STATUS_ALIVE},
    {"a status without a text", BEAM_NAME "0001 73", KV_EPROTOCOL, STATUS_ALIVE},
    {"an empty message", BEAM_NAME "0000", KV_EPROTOCOL, STATUS_ALIVE},
    {"another message that ends in true", BEAM_NAME "0005 6e 74727565", KV_EPROTOCOL, STATUS_ALIVE},
    {"a reply at once", BEAM_NAME REPLY, KV_EPROTOCOL, STATUS_ALIVE},
};

Test(handshake, a_connected_peer_that_does_not_say_true_is_refused_by_closing)
{
    for (size_t i = 0; i < sizeof BAD_ALIVES / sizeof *BAD_ALIVES; i++) {
        assert_refused(&BAD_ALIVES[i], true);
    }
}

Test(handshake, a_digest_with_one_wrong_bit_is_refused)
{
    for (size_t bit = 0; bit < (size_t)KV_DIGEST_SIZE * 8; bit++) {
        struct connection connection;
        open_connection(&connection);
        receive_hex(&connection, BEAM_NAME);
        struct kv_buffer reply = from_hex(REPLY);
        reply.data[7 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        receive(&connection, kv_buffer_bytes(&reply));
        cr_assert_eq(connection.error, KV_ECOOKIE);
        cr_assert(sent(&connection, CHALLENGED));
        kv_buffer_free(&reply);
        close_connection(&connection);
    }
}

/* Once the null provider is loaded, libcrypto loads no default provider, and only those have MD5.
 */
Test(handshake, a_system_without_md5_lets_nobody_in)
{
    OSSL_PROVIDER *null = OSSL_PROVIDER_load(NULL, "null");
    cr_assert_not_null(null);
    const struct refusal row = {"no digest",
                                BEAM_NAME "0015 72 00003039 00000000000000000000000000000000",
                                KV_EDIGEST, CHALLENGED};
    assert_refused(&row, false);
    OSSL_PROVIDER_unload(null);
}

/* ---- flags ----------------------------------------------------------------------------------- */

static int offer(uint64_t flags, bool old)
{
    struct connection connection;
    open_connection(&connection);
    kv_buffer_u16(&connection.input, old ? 11 : 19);
    kv_buffer_u8(&connection.input, old ? 'n' : 'N');
    if (old) {
        kv_buffer_u16(&connection.input, 5);
        kv_buffer_u32(&connection.input, (uint32_t)flags);
    } else {
        kv_buffer_u64(&connection.input, flags);
        kv_buffer_u32(&connection.input, 1);
        kv_buffer_u16(&connection.input, 4);
    }
    kv_buffer_append(&connection.input, kv_bytes_text("q@vm"));
    drive(&connection);
    cr_assert(sent(&connection, connection.error == KV_OK ? CHALLENGED : STATUS_NOT_ALLOWED));
    if (connection.error == KV_EFLAGS) {
        cr_assert(kv_bytes_is(kv_handshake_peer(&connection.handshake), "q@vm"),
                  "the log line can say who it was");
    }
    int error = connection.error;
    close_connection(&connection);
    return error;
}

Test(handshake, each_mandatory_flag_is_demanded)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t flag = UINT64_C(1) << bit;
        bool mandatory = (flag & KV_DFLAGS_MANDATORY_25) != 0;
        int expected = mandatory ? KV_EFLAGS : KV_OK;
        cr_assert_eq(offer(KV_DFLAGS_MANDATORY_25 & ~flag, false), expected, "bit %u", bit);
        cr_assert_eq(offer(KV_DFLAGS_MANDATORY_25 & ~flag, true), expected, "bit %u, old", bit);
    }
}

Test(handshake, the_digest_flag_stands_for_all_mandatory_ones)
{
    cr_assert_eq(offer(KV_DFLAG_MANDATORY_25_DIGEST, false), KV_OK);
    cr_assert_eq(offer(KV_DFLAG_MANDATORY_25_DIGEST, true), KV_OK);

    struct connection connection;
    open_connection(&connection);
    receive_hex(&connection, "0013 4e 0000000004000000 6b0073f0" NAME_REST);
    cr_assert_eq(connection.handshake.flags, KV_DFLAG_MANDATORY_25_DIGEST | KV_DFLAGS_MANDATORY_25);
    close_connection(&connection);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* A name message of `size` bytes with a name of `name_length` bytes behind the header. */
static int name_of(size_t name_length, size_t size, enum kv_handshake_step *step)
{
    struct connection connection;
    open_connection(&connection);
    kv_buffer_u16(&connection.input, (uint16_t)size);
    append_hex(&connection.input, "4e 0000000d07df7fbd 6b0073f0");
    kv_buffer_u16(&connection.input, (uint16_t)name_length);
    for (size_t i = 15; i < size; i++) {
        kv_buffer_u8(&connection.input, i == 16 ? '@' : 'x');
    }
    drive(&connection);
    *step = connection.handshake.step;
    int error = connection.error;
    close_connection(&connection);
    return error;
}

Test(handshake, the_longest_message_and_the_longest_name_are_taken)
{
    enum kv_handshake_step step;
    cr_assert_eq(name_of(KV_NODE_NAME_MAX, KV_HANDSHAKE_MAX_MESSAGE, &step), KV_OK);
    cr_assert_eq(step, KV_HANDSHAKE_AWAIT_REPLY);
    cr_assert_eq(name_of(KV_NODE_NAME_MAX + 1, KV_HANDSHAKE_MAX_MESSAGE, &step), KV_ENAME);
    cr_assert_eq(name_of(KV_NODE_NAME_MAX, KV_HANDSHAKE_MAX_MESSAGE + 1, &step), KV_ESIZE);
}

/* ---- the parts ------------------------------------------------------------------------------- */

Test(handshake, the_digest_equals_the_digest_of_a_beam)
{
    uint8_t digest[KV_DIGEST_SIZE];
    cr_assert_eq(kv_handshake_digest(kv_bytes_text("probe"), CHALLENGE, digest), KV_OK);
    struct kv_buffer expected = from_hex(PROBE_DIGEST);
    cr_assert_eq(memcmp(digest, expected.data, KV_DIGEST_SIZE), 0);
    kv_buffer_free(&expected);
}

/* erlang:md5(["", "4294967295"]): the challenge is unsigned, the cookie may be empty. */
Test(handshake, the_challenge_of_a_digest_is_unsigned)
{
    uint8_t digest[KV_DIGEST_SIZE];
    cr_assert_eq(kv_handshake_digest(kv_bytes(NULL, 0), UINT32_MAX, digest), KV_OK);
    struct kv_buffer expected = from_hex("7ba34a7c9344df2acabdb0146b9e15e3");
    cr_assert_eq(memcmp(digest, expected.data, KV_DIGEST_SIZE), 0);
    kv_buffer_free(&expected);
}

Test(handshake, a_node_name_is_visible_ascii_around_one_at_sign)
{
    const char *good[] = {"a@b", "kv@127.0.0.1", "q_1-x@host.example.org", "kv@::1"};
    const char *bad[] = {"",        "@",      "a@",          "@b",        "ab",
                         "a@b@c",   "a@@b",   "a b@c",       "a@b\n",     "a\nfatal x@b",
                         "a\x7f@b", "\xe4@b", "a@b\xc3\xa4", "a@b\x1b[0m"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_assert(kv_node_name_ok(kv_bytes_text(good[i])), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_not(kv_node_name_ok(kv_bytes_text(bad[i])), "row %zu", i);
    }
    cr_assert_not(kv_node_name_ok(kv_bytes("a\0@b", 4)));
}

Test(handshake, a_peer_has_no_name_before_its_name_message)
{
    struct connection connection;
    open_connection(&connection);
    cr_assert_eq(kv_handshake_peer(&connection.handshake).length, 0);
    close_connection(&connection);
}
