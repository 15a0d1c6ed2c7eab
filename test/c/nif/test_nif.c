/* The library for local reads over a stub of the VM: its functions refuse what is no argument, read
 * what a writer put, and say why where they do not. */
#include "base/alloc.h"
#include "host/shared_memory.h"
#include "nif/enif_stub.h"
#include "nif/nif.h"
#include "store/arena.h"
#include "store/table.h"
#include "store/table_state.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <kv/error.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { OWNER = 100, BUCKET = 5, REGISTRY = 6, CREATION = 3 };

#define ARENA_SIZE (UINT64_C(4) << 20)
static const char node_name[] = "kv@host";

static struct kv_mapping mapping;
static struct kv_arena_options options = {.hash_key = {1, 2}, .id = "nif"};
static struct kv_arena *arena;
static struct kv_table *table;
static struct kv_table *names;
static void *library;
static ErlNifEnv *env;
static size_t outstanding;

static void setup(void)
{
    outstanding = kv_alloc_outstanding();
    cr_assert(kv_mapping_open(&mapping, ARENA_SIZE));
    cr_assert_geq(mapping.fd, 0);
    struct kv_arena_memory memory = {.base = mapping.base, .reserve = mapping.size};
    arena = kv_arena_new(&memory, &options);
    table = kv_table_new(arena, NULL);
    names = kv_table_new(arena, NULL);
    cr_assert_eq(kv_arena_publish(arena, BUCKET, 1, KV_PUBLISHED_VALUES, table), KV_OK);
    cr_assert_eq(kv_arena_publish(arena, REGISTRY, 0, KV_PUBLISHED_NAMES, names), KV_OK);
    library = stub_load();
    cr_assert_not_null(library);
    env = stub_env(library, OWNER);
}

static void teardown(void)
{
    enif_free_env(env);
    cr_expect_eq(stub_resources(), 0);
    stub_unload(library);
    kv_table_free(names);
    kv_table_free(table);
    kv_arena_free(arena);
    kv_mapping_close(&mapping);
    cr_expect_eq(kv_alloc_outstanding(), outstanding);
}

TestSuite(nif, .init = setup, .fini = teardown, .timeout = 10);

/* ---- what calls are made of ------------------------------------------------------------------ */

static ERL_NIF_TERM text(const char *characters)
{
    return stub_binary(env, kv_bytes_text(characters));
}

static ERL_NIF_TERM atom(const char *characters)
{
    return enif_make_atom(env, characters);
}

static ERL_NIF_TERM bucket(void)
{
    return stub_pid(env, node_name, BUCKET, 1, CREATION);
}

static ERL_NIF_TERM place_of(int fd, const uint8_t *id, uint64_t size)
{
    return stub_tuple(
        env, 4, enif_make_uint(env, (unsigned)getpid()), enif_make_uint(env, (unsigned)fd),
        stub_binary(env, kv_bytes(id, KV_ARENA_ID_SIZE)), enif_make_uint64(env, size));
}

static ERL_NIF_TERM open_place(ERL_NIF_TERM place)
{
    return stub_call(env, "open_arena", 4, place, text(node_name), enif_make_uint(env, CREATION),
                     atom("same"));
}

static ERL_NIF_TERM open_arena(void)
{
    int arity;
    const ERL_NIF_TERM *parts;
    ERL_NIF_TERM result = open_place(place_of(mapping.fd, options.id, mapping.size));
    cr_assert(enif_get_tuple(env, result, &arity, &parts));
    cr_assert_eq(arity, 2);
    cr_assert(stub_is_atom(parts[0], "ok"));
    return parts[1];
}

static void put(struct kv_table *where, const char *key, struct kv_bytes value, uint8_t form)
{
    cr_assert_eq(kv_table_put(where, (struct kv_item){kv_bytes_text(key), 1},
                              (struct kv_item){value, form}, KV_NEVER),
                 KV_OK);
}

static ERL_NIF_TERM fetch(ERL_NIF_TERM from, ERL_NIF_TERM key)
{
    return stub_call(env, "fetch", 3, from, bucket(), key);
}

/* {ok, Value}: the external form of Value. */
static struct kv_bytes value_of(ERL_NIF_TERM result)
{
    int arity;
    const ERL_NIF_TERM *parts;
    cr_assert(enif_get_tuple(env, result, &arity, &parts));
    cr_assert(stub_is_atom(parts[0], "ok"));
    return stub_external(parts[1]);
}

/* ---- opening --------------------------------------------------------------------------------- */

Test(nif, what_is_no_place_of_an_arena_is_no_argument)
{
    ERL_NIF_TERM place = place_of(mapping.fd, options.id, mapping.size);
    ERL_NIF_TERM creation = enif_make_uint(env, CREATION);
    ERL_NIF_TERM short_id = stub_tuple(env, 4, enif_make_uint(env, 1), enif_make_uint(env, 1),
                                       text("short"), enif_make_uint(env, 1));
    cr_expect(stub_is_atom(open_place(atom("place")), "badarg"));
    cr_expect(stub_is_atom(open_place(stub_tuple(env, 1, atom("place"))), "badarg"));
    cr_expect(stub_is_atom(open_place(short_id), "badarg"));
    cr_expect(stub_is_atom(
        stub_call(env, "open_arena", 4, place, atom("node"), creation, atom("same")), "badarg"));
    cr_expect(stub_is_atom(
        stub_call(env, "open_arena", 4, place, text(node_name), atom("creation"), atom("same")),
        "badarg"));
}

Test(nif, a_place_without_an_arena_is_refused_with_the_reason)
{
    static const uint8_t another[KV_ARENA_ID_SIZE] = "another";
    int pipes[2];
    int plain = memfd_create("plain", MFD_CLOEXEC);
    cr_assert_eq(pipe(pipes), 0);
    cr_assert_eq(ftruncate(plain, (off_t)mapping.size), 0);
    cr_expect(
        stub_is_error(env, open_place(place_of(9999, options.id, mapping.size)), "no_access"));
    cr_expect(
        stub_is_error(env, open_place(place_of(pipes[0], options.id, mapping.size)), "not_memory"));
    cr_expect(
        stub_is_error(env, open_place(place_of(plain, options.id, mapping.size)), "not_sealed"));
    cr_expect(stub_is_error(env, open_place(place_of(mapping.fd, options.id, mapping.size + 1)),
                            "another_size"));
    cr_expect(stub_is_error(env, open_place(place_of(mapping.fd, another, mapping.size)),
                            "another_arena"));
    (void)close(plain);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
}

Test(nif, an_arena_is_opened_only_for_a_process_that_lives)
{
    ErlNifEnv *of_process = env;
    env = stub_env(library, 0);
    cr_expect(
        stub_is_error(env, open_place(place_of(mapping.fd, options.id, mapping.size)), "no_owner"));
    enif_free_env(env);
    stub_process_ends(OWNER + 1);
    env = stub_env(library, OWNER + 1);
    cr_expect(
        stub_is_error(env, open_place(place_of(mapping.fd, options.id, mapping.size)), "no_owner"));
    enif_free_env(env);
    env = of_process;
}

/* ---- reading --------------------------------------------------------------------------------- */

Test(nif, a_value_is_read_as_it_was_put)
{
    ERL_NIF_TERM from = open_arena();
    put(table, "binary", kv_bytes_text("value"), 1);
    put(table, "number", kv_bytes("\x61\x07", 2), 0);
    cr_expect(kv_bytes_equal(value_of(fetch(from, text("binary"))), stub_external(text("value"))));
    cr_expect(kv_bytes_equal(value_of(fetch(from, text("number"))), kv_bytes("\x61\x07", 2)));
    cr_expect(stub_is_atom(fetch(from, text("absent")), "error"));
    cr_expect(stub_is_atom(stub_call(env, "has_key", 3, from, bucket(), text("binary")), "true"));
    cr_expect(stub_is_atom(stub_call(env, "has_key", 3, from, bucket(), text("absent")), "false"));
    ERL_NIF_TERM size = stub_call(env, "size", 2, from, bucket());
    cr_expect(kv_bytes_equal(stub_external(size), kv_bytes("\x61\x02", 2)));
}

Test(nif, a_value_of_any_size_is_read_or_left_to_the_owner)
{
    static uint8_t bytes[KV_NIF_BINARY_MAX + 1];
    ERL_NIF_TERM from = open_arena();
    put(table, "most", kv_bytes(bytes, KV_NIF_BINARY_MAX), 1);
    put(table, "more", kv_bytes(bytes, KV_NIF_BINARY_MAX + 1), 1);
    cr_expect_eq(value_of(fetch(from, text("most"))).length, 5 + (size_t)KV_NIF_BINARY_MAX);
    cr_expect(stub_is_atom(fetch(from, text("more")), "large"));
}

Test(nif, what_this_vm_cannot_make_is_left_to_the_owner)
{
    ERL_NIF_TERM from = open_arena();
    put(table, "atom", stub_external(atom(STUB_UNHEARD_OF)), 0);
    put(table, "no term", kv_bytes("\xff\xff", 2), 0);
    put(table, "cut off", kv_bytes("\x6d\x00\x00\x00\x09v", 6), 0);
    cr_expect(stub_is_atom(fetch(from, text("atom")), "unknown"));
    cr_expect(stub_is_atom(fetch(from, text("no term")), "unknown"));
    cr_expect(stub_is_atom(fetch(from, text("cut off")), "unknown"));
}

Test(nif, a_process_without_a_table_is_gone)
{
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM other = stub_pid(env, node_name, BUCKET, 2, CREATION);
    ERL_NIF_TERM older = stub_pid(env, node_name, BUCKET, 1, CREATION - 1);
    ERL_NIF_TERM elsewhere = stub_pid(env, "kv@elsewhere", BUCKET, 1, CREATION);
    const ERL_NIF_TERM pids[] = {other, older, elsewhere, atom("pid"), text("pid")};
    for (size_t i = 0; i < sizeof pids / sizeof pids[0]; i++) {
        cr_expect(stub_is_atom(stub_call(env, "fetch", 3, from, pids[i], text("key")), "gone"),
                  "%zu", i);
        cr_expect(stub_is_atom(stub_call(env, "size", 2, from, pids[i]), "gone"), "%zu", i);
        cr_expect(stub_is_atom(stub_call(env, "counters", 2, from, pids[i]), "gone"), "%zu", i);
    }
}

Test(nif, a_table_that_was_met_before_is_gone_once_it_ends)
{
    ERL_NIF_TERM from = open_arena();
    put(table, "key", kv_bytes_text("value"), 1);
    (void)value_of(fetch(from, text("key")));
    (void)value_of(fetch(from, text("key")));
    kv_table_free(table);
    cr_expect(stub_is_atom(fetch(from, text("key")), "gone"));
    table = NULL;
}

Test(nif, the_counters_of_a_table_change_when_it_does)
{
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM first = stub_call(env, "counters", 2, from, bucket());
    ERL_NIF_TERM second = stub_call(env, "counters", 2, from, bucket());
    put(table, "key", kv_bytes_text("value"), 1);
    ERL_NIF_TERM third = stub_call(env, "counters", 2, from, bucket());
    cr_expect(enif_is_identical(first, second));
    cr_expect_not(enif_is_identical(second, third));
}

Test(nif, a_value_is_read_without_a_tuple_around_it)
{
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM none = atom("none");
    put(table, "number", kv_bytes("\x61\x07", 2), 0);
    put(table, "unknown", stub_external(atom(STUB_UNHEARD_OF)), 0);
    ERL_NIF_TERM found = stub_call(env, "get", 4, from, bucket(), text("number"), none);
    cr_expect(kv_bytes_equal(stub_external(found), kv_bytes("\x61\x07", 2)));
    cr_expect_eq(stub_call(env, "get", 4, from, bucket(), text("absent"), none), none);
    cr_expect(
        stub_is_atom(stub_call(env, "get", 4, from, bucket(), text("unknown"), none), "call"));
    cr_expect(
        stub_is_atom(stub_call(env, "get", 4, from, atom("pid"), text("number"), none), "call"));
    cr_expect(stub_is_atom(stub_call(env, "get", 4, none, bucket(), text("number"), none), "call"));
}

/* ---- proxies --------------------------------------------------------------------------------- */

enum { PROXY = OWNER + 10 };

static ERL_NIF_TERM get_by(ERL_NIF_TERM arenas, ERL_NIF_TERM proxy)
{
    return stub_call(env, "get_by", 4, arenas, proxy, text("key"), atom("none"));
}

static void meet(ERL_NIF_TERM from, ERL_NIF_TERM proxy, ERL_NIF_TERM epoch)
{
    ERL_NIF_TERM met = stub_call(env, "meet", 5, from, bucket(), proxy, atom(node_name), epoch);
    cr_assert(stub_is_atom(met, "ok"));
}

Test(nif, a_proxy_that_a_thread_has_met_is_read)
{
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM arenas = stub_map(env, atom(node_name), from);
    ERL_NIF_TERM proxy = stub_local_pid(PROXY);
    cr_expect(stub_is_atom(get_by(arenas, proxy), "unmet"));
    meet(from, proxy, stub_call(env, "epoch", 0));
    cr_expect(stub_is_atom(get_by(arenas, proxy), "none"));
    put(table, "key", kv_bytes_text("value"), 1);
    cr_expect(kv_bytes_equal(stub_external(get_by(arenas, proxy)), stub_external(text("value"))));
    cr_expect(stub_is_atom(get_by(arenas, stub_local_pid(PROXY + 1)), "unmet"));
    cr_expect(stub_is_atom(get_by(arenas, bucket()), "unmet"));
}

Test(nif, a_proxy_is_read_by_its_name)
{
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM arenas = stub_map(env, atom(node_name), from);
    cr_expect(stub_is_atom(get_by(arenas, atom("settings")), "unmet"));
    stub_register(atom("settings"), PROXY);
    cr_expect(stub_is_atom(get_by(arenas, atom("settings")), "unmet"));
    meet(from, stub_local_pid(PROXY), stub_call(env, "epoch", 0));
    cr_expect(stub_is_atom(get_by(arenas, atom("settings")), "none"));
    stub_register(atom("settings"), PROXY + 1);
    cr_expect(stub_is_atom(get_by(arenas, atom("settings")), "unmet"));
    stub_register(atom("settings"), 0);
    cr_expect(stub_is_atom(get_by(arenas, atom("settings")), "unmet"));
}

Test(nif, a_proxy_has_what_its_bucket_has)
{
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM arenas = stub_map(env, atom(node_name), from);
    ERL_NIF_TERM proxy = stub_local_pid(PROXY);
    cr_expect(stub_is_atom(stub_call(env, "fetch_by", 3, arenas, proxy, text("key")), "unmet"));
    cr_expect(stub_is_atom(stub_call(env, "has_key_by", 3, arenas, proxy, text("key")), "unmet"));
    cr_expect(stub_is_atom(stub_call(env, "size_by", 2, arenas, proxy), "unmet"));
    meet(from, proxy, stub_call(env, "epoch", 0));
    cr_expect(stub_is_atom(stub_call(env, "fetch_by", 3, arenas, proxy, text("key")), "error"));
    cr_expect(stub_is_atom(stub_call(env, "has_key_by", 3, arenas, proxy, text("key")), "false"));
    put(table, "key", kv_bytes_text("value"), 1);
    ERL_NIF_TERM found = stub_tuple(env, 2, atom("ok"), text("value"));
    cr_expect(
        kv_bytes_equal(stub_external(stub_call(env, "fetch_by", 3, arenas, proxy, text("key"))),
                       stub_external(found)));
    cr_expect(stub_is_atom(stub_call(env, "has_key_by", 3, arenas, proxy, text("key")), "true"));
    cr_expect(kv_bytes_equal(stub_external(stub_call(env, "size_by", 2, arenas, proxy)),
                             kv_bytes("\x61\x01", 2)));
}

Test(nif, a_proxy_is_met_anew_after_any_has_changed)
{
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM arenas = stub_map(env, atom(node_name), from);
    ERL_NIF_TERM proxy = stub_local_pid(PROXY);
    ERL_NIF_TERM before = stub_call(env, "epoch", 0);
    meet(from, proxy, before);
    cr_expect(stub_is_atom(get_by(arenas, proxy), "none"));
    cr_expect(stub_is_atom(stub_call(env, "next_epoch", 0), "ok"));
    cr_expect(stub_is_atom(get_by(arenas, proxy), "unmet"));
    meet(from, proxy, before); /* looked up before the change */
    cr_expect(stub_is_atom(get_by(arenas, proxy), "unmet"));
    meet(from, proxy, stub_call(env, "epoch", 0));
    cr_expect(stub_is_atom(get_by(arenas, proxy), "none"));
}

Test(nif, a_proxy_that_has_ended_is_not_read)
{
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM arenas = stub_map(env, atom(node_name), from);
    ERL_NIF_TERM proxy = stub_local_pid(PROXY);
    meet(from, proxy, stub_call(env, "epoch", 0));
    stub_process_ends(PROXY);
    cr_expect(stub_is_atom(get_by(arenas, proxy), "unmet"));
}

Test(nif, a_proxy_is_not_read_if_its_table_or_its_arena_has_ended)
{
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM other = open_arena();
    ERL_NIF_TERM proxy = stub_local_pid(PROXY);
    meet(from, proxy, stub_call(env, "epoch", 0));
    cr_expect(stub_is_atom(get_by(stub_map(env, atom("other"), from), proxy), "unmet"));
    cr_expect(stub_is_atom(get_by(stub_map(env, atom(node_name), other), proxy), "unmet"));
    cr_expect(stub_is_atom(get_by(atom("arenas"), proxy), "unmet"));
    kv_table_free(table);
    table = NULL;
    ERL_NIF_TERM arenas = stub_map(env, atom(node_name), from);
    cr_expect(stub_is_atom(get_by(arenas, proxy), "unmet"));
    cr_expect(stub_is_atom(stub_call(env, "close_arena", 1, from), "ok"));
    cr_expect(stub_is_atom(get_by(arenas, proxy), "unmet"));
}

Test(nif, what_is_no_proxy_is_not_met)
{
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM epoch = stub_call(env, "epoch", 0);
    ERL_NIF_TERM proxy = stub_local_pid(PROXY);
    cr_expect(stub_is_atom(stub_call(env, "meet", 5, from, bucket(), bucket(), atom("n"), epoch),
                           "badarg"));
    cr_expect(
        stub_is_atom(stub_call(env, "meet", 5, from, bucket(), proxy, text("n"), epoch), "badarg"));
    cr_expect(stub_is_atom(
        stub_call(env, "meet", 5, from, bucket(), proxy, atom("n"), atom("epoch")), "badarg"));
    meet(atom("arena"), proxy, epoch);
    cr_expect(stub_is_atom(get_by(stub_map(env, atom(node_name), from), proxy), "unmet"));
}

/* ---- names ----------------------------------------------------------------------------------- */

Test(nif, a_name_is_looked_up_in_a_registry_only)
{
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM registry = stub_pid(env, node_name, REGISTRY, 0, CREATION);
    ERL_NIF_TERM named = stub_pid(env, node_name, 9, 9, CREATION);
    put(names, "name", stub_external(named), 0);
    for (unsigned i = 0; i < 3; i++) { /* decoded, and then remembered */
        ERL_NIF_TERM result = stub_call(env, "lookup", 3, from, registry, text("name"));
        cr_expect(kv_bytes_equal(value_of(result), stub_external(named)));
    }
    cr_expect(stub_is_atom(stub_call(env, "lookup", 3, from, registry, text("absent")), "error"));
    cr_expect(stub_is_atom(stub_call(env, "lookup", 3, from, bucket(), text("name")), "gone"));
    cr_expect(stub_is_atom(stub_call(env, "fetch", 3, from, registry, text("name")), "gone"));
}

Test(nif, a_thread_forgets_pids_when_it_has_met_too_many)
{
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM registry = stub_pid(env, node_name, REGISTRY, 0, CREATION);
    for (unsigned i = 0; i < 10000; i++) {
        ERL_NIF_TERM named = stub_pid(env, node_name, i, 0, CREATION);
        put(names, "name", stub_external(named), 0);
        ERL_NIF_TERM result = stub_call(env, "lookup", 3, from, registry, text("name"));
        cr_assert(kv_bytes_equal(value_of(result), stub_external(named)), "%u", i);
    }
}

/* ---- closing --------------------------------------------------------------------------------- */

static void assert_closed(ERL_NIF_TERM from)
{
    cr_expect(stub_is_atom(fetch(from, text("key")), "closed"));
    cr_expect(stub_is_atom(stub_call(env, "has_key", 3, from, bucket(), text("key")), "closed"));
    cr_expect(stub_is_atom(stub_call(env, "lookup", 3, from, bucket(), text("key")), "closed"));
    cr_expect(stub_is_atom(stub_call(env, "size", 2, from, bucket()), "closed"));
    cr_expect(stub_is_atom(stub_call(env, "counters", 2, from, bucket()), "closed"));
}

Test(nif, nothing_is_read_from_an_arena_that_was_closed)
{
    ERL_NIF_TERM from = open_arena();
    cr_expect(stub_is_atom(stub_call(env, "close_arena", 1, from), "ok"));
    assert_closed(from);
    cr_expect(stub_is_atom(stub_call(env, "close_arena", 1, from), "ok"),
              "closing again is no error");
}

Test(nif, an_arena_is_closed_when_the_process_that_opened_it_ends)
{
    ERL_NIF_TERM from = open_arena();
    stub_process_ends(OWNER);
    assert_closed(from);
}

Test(nif, what_is_no_arena_reads_as_closed_and_cannot_be_closed)
{
    assert_closed(atom("arena"));
    cr_expect(stub_is_atom(stub_call(env, "close_arena", 1, atom("arena")), "badarg"));
}

Test(nif, an_arena_is_unmapped_when_nobody_has_it)
{
    ErlNifEnv *other = stub_env(library, OWNER);
    ERL_NIF_TERM copy = enif_make_copy(other, open_arena());
    enif_clear_env(env);
    cr_expect_eq(stub_resources(), 1);
    put(table, "key", kv_bytes_text("value"), 1);
    (void)value_of(stub_call(other, "fetch", 3, copy,
                             stub_pid(other, node_name, BUCKET, 1, CREATION),
                             stub_binary(other, kv_bytes_text("key"))));
    enif_free_env(other);
    cr_expect_eq(stub_resources(), 0);
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Both ways, where the fast one has an answer. */
static void assert_key(ERL_NIF_TERM key, const char *bytes, size_t length)
{
    const char *ways[] = {"direct", "generic"};
    for (size_t i = 0; i < 2; i++) {
        int arity;
        const ERL_NIF_TERM *parts;
        ErlNifBinary found;
        ERL_NIF_TERM result = stub_call(env, "key", 3, key, atom("same"), atom(ways[i]));
        cr_assert(enif_get_tuple(env, result, &arity, &parts), "%s", ways[i]);
        cr_assert(enif_inspect_binary(env, parts[1], &found));
        cr_expect(kv_bytes_equal(kv_bytes(found.data, found.size), kv_bytes(bytes, length)), "%s",
                  ways[i]);
    }
}

Test(nif, a_key_has_its_canonical_bytes_by_either_way)
{
    ERL_NIF_TERM nil = enif_make_list(env, 0);
    ERL_NIF_TERM one = enif_make_int(env, 1);
    assert_key(text("key"), "key", 3);
    assert_key(one, "\x61\x01", 2);
    assert_key(enif_make_int(env, -2), "\x62\xff\xff\xff\xfe", 5);
    assert_key(enif_make_uint64(env, UINT64_C(1) << 32), "\x6e\x05\x00\x00\x00\x00\x00\x01", 8);
    assert_key(enif_make_double(env, -0.0), "\x46\0\0\0\0\0\0\0\0", 9);
    assert_key(atom("a"),
               "\x77\x01"
               "a",
               3);
    assert_key(nil, "\x6a", 1);
    assert_key(stub_cons(env, one, nil), "\x6b\x00\x01\x01", 4);
    assert_key(stub_cons(env, atom("a"), stub_cons(env, one, nil)),
               "\x6c\x00\x00\x00\x02\x77\x01"
               "a\x61\x01\x6a",
               11);
    assert_key(stub_cons(env, one, one), "\x6c\x00\x00\x00\x01\x61\x01\x61\x01", 9);
    assert_key(stub_tuple(env, 2, one, text("b")),
               "\x68\x02\x61\x01\x6d\x00\x00\x00\x01"
               "b",
               10);
}

Test(nif, a_key_that_is_too_large_or_deep_or_has_a_fun_is_left_to_the_owner)
{
    static uint8_t bytes[KV_NIF_KEY_MAX + 1];
    ERL_NIF_TERM from = open_arena();
    ERL_NIF_TERM deep = atom("deep");
    for (unsigned i = 0; i <= KV_NIF_DEPTH_MAX; i++) {
        deep = stub_tuple(env, 1, deep);
    }
    cr_expect(
        stub_is_atom(fetch(from, stub_binary(env, kv_bytes(bytes, KV_NIF_KEY_MAX))), "error"));
    cr_expect(stub_is_atom(fetch(from, stub_binary(env, kv_bytes(bytes, sizeof bytes))), "large"));
    cr_expect(stub_is_atom(fetch(from, deep), "large"));
    cr_expect(stub_is_atom(fetch(from, stub_fun(env)), "large"));
    cr_expect(stub_is_atom(fetch(from, stub_tuple(env, 1, stub_fun(env))), "large"));
    cr_expect(stub_is_atom(fetch(from, stub_map(env, atom("fun"), stub_fun(env))), "large"));
    cr_expect(stub_is_atom(fetch(from, stub_map(env, atom("a"), atom("b"))), "error"));
}

/* ---- a writer that lies ---------------------------------------------------------------------- */

/* A value is the term of its bytes, or it is left to the owner. */
static void assert_read_or_left(ERL_NIF_TERM from, struct kv_bytes bytes)
{
    const struct kv_term_limits limits = KV_TERM_LIMITS_DEFAULT;
    size_t length = 0;
    put(table, "key", bytes, 0);
    ERL_NIF_TERM result = fetch(from, text("key"));
    if (stub_is_atom(result, "unknown")) {
        return;
    }
    struct kv_buffer put_in = KV_BUFFER_INIT;
    struct kv_buffer got_out = KV_BUFFER_INIT;
    cr_assert_eq(kv_term_validate(bytes, &limits, &length), KV_OK);
    cr_assert_eq(length, bytes.length);
    kv_term_canonical(bytes, KV_ZEROS_SAME, &put_in);
    kv_term_canonical(value_of(result), KV_ZEROS_SAME, &got_out);
    cr_assert(kv_bytes_equal(kv_buffer_bytes(&put_in), kv_buffer_bytes(&got_out)));
    kv_buffer_free(&put_in);
    kv_buffer_free(&got_out);
}

Test(nif, a_value_with_any_byte_changed_is_read_for_what_it_is_or_left_to_the_owner)
{
    static const char *const values[] = {
        "\x74\0\0\0\2\x77\2id\x61\1\x77\4name\x6d\0\0\0\1x",
        "\x68\3\x77\1s\x62\0\0\1\0\x6c\0\0\0\2\x61\1\x61\2\x6a",
        "\x68\3\x46\x3f\xf0\0\0\0\0\0\0\x6e\2\0\1\1\x6b\0\2ab",
    };
    static const size_t sizes[] = {23, 20, 21};
    ERL_NIF_TERM from = open_arena();
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint8_t bytes[32];
        memcpy(bytes, values[i], sizes[i]);
        for (size_t at = 0; at < sizes[i]; at++) {
            const uint8_t was = bytes[at];
            for (unsigned byte = 0; byte <= UINT8_MAX; byte++) {
                bytes[at] = (uint8_t)byte;
                assert_read_or_left(from, kv_bytes(bytes, sizes[i]));
                assert_read_or_left(from, kv_bytes(bytes, at + 1));
            }
            bytes[at] = was;
        }
    }
}

/* The node keeps its own copy of the option, and a reader only decides by the word in the slot
 * whether the owner has to know of the read. */
Test(nif, the_life_of_an_entry_does_not_depend_on_the_word_in_shared_memory)
{
    static const uint64_t lies[] = {0, 1, 9, 10, UINT64_C(1) << 63, UINT64_MAX - 1, UINT64_MAX};
    const struct kv_item key = {kv_bytes_text("key"), 1};
    const struct kv_item value = {kv_bytes_text("value"), 1};
    struct timespec now;
    struct kv_item found;
    uint64_t expiry = 0;
    ERL_NIF_TERM from = open_arena();
    struct kv_table *touching = kv_table_new(arena, &(struct kv_table_options){.touch = 5000});
    cr_assert_eq(kv_arena_publish(arena, BUCKET + 10, 1, KV_PUBLISHED_VALUES, touching), KV_OK);
    ERL_NIF_TERM owner = stub_pid(env, node_name, BUCKET + 10, 1, CREATION);
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    kv_arena_set_time(arena, (uint64_t)now.tv_sec * 1000);
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        cr_assert_eq(kv_table_put(touching, key, value, kv_arena_time(arena) + 60000), KV_OK);
        touching->slot->touch = lies[i];
        ERL_NIF_TERM result = stub_call(env, "fetch", 3, from, owner, text("key"));
        cr_expect(stub_is_atom(result, "counted") ||
                  kv_bytes_equal(value_of(result), stub_external(text("value"))));
        cr_assert(kv_table_get(touching, key, &found));
        cr_assert(kv_table_expiry(touching, key, &expiry));
        cr_expect_eq(expiry, kv_arena_time(arena) + 5000);
    }
    kv_table_free(touching);
}

/* ---- loading --------------------------------------------------------------------------------- */

Test(nif, an_arena_that_one_load_of_the_library_opened_is_read_by_another)
{
    ERL_NIF_TERM from = open_arena();
    put(table, "key", kv_bytes_text("value"), 1);
    (void)value_of(fetch(from, text("key")));
    void *newer = stub_load();
    ErlNifEnv *other = stub_env(newer, OWNER);
    ERL_NIF_TERM result = stub_call(other, "fetch", 3, enif_make_copy(other, from),
                                    stub_pid(other, node_name, BUCKET, 1, CREATION),
                                    stub_binary(other, kv_bytes_text("key")));
    (void)value_of(result);
    enif_free_env(other);
    stub_unload(newer);
    (void)value_of(fetch(from, text("key")));
}
