/* Every operation does the same through each of its doors. The tests run each row of the tables by
 * call, by cast and by each function of Agent that stands for the row, in buckets with equal
 * contents, and compare the answers and the contents afterwards. */
#include "support/fixture.h"

#include "kv/agent.h"
#include "kv/bucket.h"
#include "kv/kv.h"
#include "kv/registry.h"
#include "server/at_once.h"

#include <criterion/criterion.h>

static struct fixture *f;

enum { UNIX_TIME = 1000 * 1000, DEFAULT_LIFE = 5000, SHORT_LIFE = 1000 };

static uint64_t unix_time(void)
{
    return UNIX_TIME;
}

static void set_up(void)
{
    f = fixture_with_services();
    f->store.unix_time = unix_time;
}

static void tear_down(void)
{
    fixture_free(f);
}

TestSuite(doors, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- the contents of the buckets
 * -------------------------------------------------------------------------
 */

enum { LARGE = 100 * 1000, LIFE = 10 };

static const char thirty_two_bytes[] = "thirty-two bytes of some value..";

static void kill_process(const struct kv_pid *pid)
{
    struct kv_pid killer = pid_a(1);
    feed_exit(f, f->a, KV_SIGNAL_EXIT, &killer, pid, term_atom("kill"));
}

static struct kv_bytes put(struct kv_bytes key, struct kv_bytes value)
{
    return term_tuple(term_atom("put"), key, value, NONE);
}

static void hold_nothing(const struct kv_pid *bucket)
{
    (void)bucket;
}

static void hold_some(const struct kv_pid *bucket)
{
    (void)call(f, bucket, put(term_atom("a"), term_integer(1)));
    (void)call(f, bucket, put(term_binary("milk"), term_binary("three")));
}

static void hold_what_has_expired(const struct kv_pid *bucket)
{
    hold_some(bucket);
    (void)call(
        f, bucket,
        term_tuple(term_atom("put"), term_atom("gone"), term_integer(2), term_integer(LIFE)));
    kv_arena_set_time(f->arena, kv_arena_time(f->arena) + LIFE);
}

static void hold_all_that_fits(const struct kv_pid *bucket)
{
    hold_some(bucket);
    for (unsigned i = 0; i < 1000; i++) {
        if (!kv_bytes_equal(call(f, bucket, put(term_integer(i), term_binary(thirty_two_bytes))),
                            term_atom("ok"))) {
            return;
        }
    }
}

/* More than is copied to be sent. */
static void hold_a_large_value(const struct kv_pid *bucket)
{
    static uint8_t value[LARGE];
    struct kv_buffer message = KV_BUFFER_INIT;
    hold_some(bucket);
    kv_write_tuple(&message, 2);
    kv_write_atom_text(&message, "$gen_cast");
    kv_write_tuple(&message, 3);
    kv_write_atom_text(&message, "put");
    kv_write_atom_text(&message, "a");
    kv_write_binary(&message, kv_bytes(value, sizeof value));
    feed_message(f, f->a, bucket, kv_buffer_bytes(&message));
    kv_buffer_free(&message);
}

static void hold_what_expires(const struct kv_pid *bucket)
{
    hold_some(bucket);
    (void)call(
        f, bucket,
        term_tuple(term_atom("put"), term_atom("x"), term_integer(2), term_integer(SHORT_LIFE)));
}

static const struct scene {
    const char *name;
    void (*hold)(const struct kv_pid *bucket);
    bool limited;
    bool mortal; /* entries expire unless they are put otherwise */
} scenes[] = {
    {"empty", hold_nothing, false, false},
    {"holding some", hold_some, false, false},
    {"holding what has expired", hold_what_has_expired, false, false},
    {"full", hold_all_that_fits, true, false},
    {"holding a large value", hold_a_large_value, false, false},
    {"with a time to live of its own", hold_what_expires, false, true},
};

static struct kv_pid bucket_in(const struct scene *scene)
{
    const struct kv_bytes most =
        term_tuple(term_atom("max_memory"), term_integer(4096), NONE, NONE);
    const struct kv_bytes life =
        term_tuple(term_atom("ttl"), term_integer(DEFAULT_LIFE), NONE, NONE);
    struct kv_pid pid = feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE),
                                   term_list(scene->limited  ? most
                                             : scene->mortal ? life
                                                             : NONE,
                                             NONE, NONE));
    pid.node = kv_bytes_text(FIXTURE_NODE);
    scene->hold(&pid);
    return pid;
}

/* ---- arguments ---------------------------------------------------------------------------------
 * Each letter stands for an argument. The tests try every choice() for it. */

static const struct shape {
    const char *name;
    const char *arguments;
} shapes[] = {
    {"get", "k"},
    {"get", "kv"},
    {"fetch", "k"},
    {"has_key", "k"},
    {"size", ""},
    {"keys", ""},
    {"values", ""},
    {"to_list", ""},
    {"to_map", ""},
    {"generation", ""},
    {"put", "kv"},
    {"put", "kvt"},
    {"put_new", "kv"},
    {"put_new", "kvt"},
    {"delete", "k"},
    {"delete", "kv"},
    {"clear", ""},
    {"get_many", "l"},
    {"get_many", "lv"},
    {"put_many", "e"},
    {"put_many", "et"},
    {"delete_many", "l"},
    {"pop", "k"},
    {"swap", "kv"},
    {"swap", "kvt"},
    {"replace", "kv"},
    {"replace", "kvt"},
    {"compare_and_put", "kwv"},
    {"compare_and_put", "kwvt"},
    {"compare_and_delete", "kw"},
    {"incr", "kn"},
    {"incr", "knb"},
    {"decr", "kn"},
    {"decr", "knb"},
    {"ttl", "k"},
    {"expire", "kt"},
    {"expire_at", "ku"},
    {"persist", "k"},
    {"touch", "k"},
    {"fetch_tagged", "k"},
    {"put_tagged", "kgv"},
    {"put_tagged", "kgvt"},
    {"delete_tagged", "kg"},
    {"put_new_many", "e"},
    {"put_new_many", "et"},
    {"transaction", "x"},
    {"check", "kv"},
    {"check_absent", "k"},
    {"scan", "co"},
    {"stats", ""},
};

static struct kv_bytes pair(struct kv_bytes key, struct kv_bytes value)
{
    return term_tuple(key, value, NONE, NONE);
}

/* Returns the tag of the value of `a` in most scenes, that of an absent value, or NONE. */
static struct kv_bytes choice_of_tag(unsigned number)
{
    if (number > 0) {
        return number == 1 ? term_atom("absent") : NONE;
    }
    struct kv_buffer *tag = term_buffer();
    struct kv_hash_key key = f->store.hash_key;
    key.k1 ^= KV_FORM_TERM + 1;
    kv_write_u64(tag, kv_siphash(&key, term_integer(1)));
    return kv_buffer_bytes(tag);
}

/* Lists of requests for a transaction. */
static struct kv_bytes choice_of_list(unsigned number)
{
    const struct kv_bytes some = put(term_atom("a"), term_integer(3));
    const struct kv_bytes other = put(term_atom("x"), term_binary(thirty_two_bytes));
    const struct kv_bytes lists[] = {
        term_list(some, other, NONE),
        term_list(some, term_atom("size"), NONE),
        term_list(other, pair(term_atom("fetch"), term_atom("a")), NONE),
        term_list(NONE, NONE, NONE),
        term_atom("a"),
        NONE};
    return lists[number];
}

static struct kv_bytes choice_of_entries(unsigned number)
{
    const struct kv_bytes some[] = {pair(term_atom("a"), term_integer(3)),
                                    pair(term_atom("x"), term_binary(thirty_two_bytes))};
    const struct kv_bytes entries[] = {term_list(some[0], some[1], NONE),
                                       term_list(NONE, NONE, NONE), term_atom("a"), NONE};
    return entries[number];
}

/* Options of a counter. */
static struct kv_bytes choice_of_bounds(unsigned number)
{
    const struct kv_bytes bounds[] = {
        term_list(NONE, NONE, NONE),
        term_list(pair(term_atom("min"), term_integer(0)), pair(term_atom("max"), term_integer(2)),
                  pair(term_atom("ttl"), term_integer(700))),
        term_list(pair(term_atom("default"), term_integer(40)), NONE, NONE),
        term_list(term_atom("a"), NONE, NONE), NONE};
    return bounds[number];
}

static struct kv_bytes choice_of_keys(unsigned number)
{
    const struct kv_bytes keys[] = {term_list(term_atom("a"), term_atom("gone"), term_atom("x")),
                                    term_list(NONE, NONE, NONE), term_atom("a"), NONE};
    return keys[number];
}

static struct kv_bytes choice_of_key(unsigned number)
{
    const struct kv_bytes keys[] = {term_atom("a"), term_atom("x"), term_atom("gone"),
                                    term_list(term_atom("a"), term_atom("x"), NONE), NONE};
    return keys[number];
}

static struct kv_bytes choice_of_value(unsigned number)
{
    const struct kv_bytes values[] = {term_integer(3), term_binary(thirty_two_bytes), NONE};
    return values[number];
}

static struct kv_bytes choice_of_present(unsigned number)
{
    return number == 0 ? term_integer(1) : NONE;
}

static struct kv_bytes choice_of_ttl(unsigned number)
{
    const struct kv_bytes times[] = {term_integer(500), term_atom("infinity"), term_integer(0),
                                     term_atom("keep"), NONE};
    return times[number];
}

static struct kv_bytes choice_of_date(unsigned number)
{
    const struct kv_bytes dates[] = {term_integer(UNIX_TIME), term_integer(UNIX_TIME + 700),
                                     term_atom("a"), NONE};
    return dates[number];
}

static struct kv_bytes choice_of_number(unsigned number)
{
    return number == 0 ? term_integer(1) : number == 1 ? term_atom("a") : NONE;
}

static struct kv_bytes choice_of_cursor(unsigned number)
{
    return number == 0 ? term_atom("start") : number == 1 ? term_binary("none") : NONE;
}

static struct kv_bytes choice_of_walk(unsigned number)
{
    if (number == 0) {
        return term_list(NONE, NONE, NONE);
    }
    return number == 1 ? term_list(pair(term_atom("limit"), term_integer(1)), NONE, NONE) : NONE;
}

/* Each returns a choice by its number, or NONE if there are no more. A choice makes only terms of
 * its own, since a term lives until the next 256. */
static const struct {
    char letter;
    struct kv_bytes (*choice)(unsigned number);
} letters[] = {
    {'k', choice_of_key},    {'v', choice_of_value}, {'w', choice_of_present},
    {'t', choice_of_ttl},    {'u', choice_of_date},  {'n', choice_of_number},
    {'b', choice_of_bounds}, {'l', choice_of_keys},  {'e', choice_of_entries},
    {'x', choice_of_list},   {'g', choice_of_tag},   {'c', choice_of_cursor},
    {'o', choice_of_walk},
};

static struct kv_bytes choice(char letter, unsigned number)
{
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++) {
        if (letters[i].letter == letter) {
            return letters[i].choice(number);
        }
    }
    cr_assert(false, "no choices for the letter %c", letter);
    return NONE;
}

static unsigned choices_for(char letter)
{
    unsigned choices = 0;
    while (choice(letter, choices).length > 0) {
        choices++;
    }
    return choices;
}

static const struct shape *shape_of(const struct kv_operation *operation)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (kv_bytes_is(operation->name, shapes[i].name) &&
            strlen(shapes[i].arguments) == operation->arity) {
            return &shapes[i];
        }
    }
    return NULL;
}

/* Fills in a combination of arguments by its number. Returns false if there are no more. */
static bool arguments_of(const struct shape *shape, unsigned number, struct kv_bytes *arguments)
{
    unsigned choices[KV_ARGUMENTS_MAX] = {0};
    for (size_t i = 0; shape->arguments[i] != '\0'; i++) {
        choices[i] = choices_for(shape->arguments[i]);
    }
    for (size_t i = 0; shape->arguments[i] != '\0'; i++) {
        arguments[i] = choice(shape->arguments[i], number % choices[i]);
        number /= choices[i];
    }
    return number == 0;
}

/* ---- doors -------------------------------------------------------------------------------------
 */

static struct kv_bytes request_of(const struct kv_operation *operation,
                                  const struct kv_bytes *arguments)
{
    struct kv_buffer *term = term_buffer();
    if (operation->arity > 0) {
        kv_write_tuple(term, operation->arity + 1);
    }
    kv_write_atom(term, operation->name);
    for (uint32_t i = 0; i < operation->arity; i++) {
        kv_write_term(term, arguments[i]);
    }
    return kv_buffer_bytes(term);
}

/* {Kind, {Module, Function, Arguments}} */
static struct kv_bytes agent_request(const char *kind, const struct kv_agent_function *function,
                                     const struct kv_bytes *arguments)
{
    struct kv_bytes list[] = {NONE, NONE, NONE};
    for (uint32_t i = 0; i < function->arity; i++) {
        list[i] = arguments[i];
    }
    return pair(term_atom(kind),
                term_tuple(term_atom(function->module), term_atom(function->function),
                           term_list(list[0], list[1], list[2]), NONE));
}

/* The answer to a request, and the contents of the bucket afterwards. */
struct outcome {
    struct kv_buffer answer;
    struct kv_buffer state; /* canonical: entries may lie in any order */
    struct kv_buffer size;
    struct kv_buffer lives; /* the times to live of two keys */
};

static void keep(struct kv_buffer *to, struct kv_bytes term)
{
    kv_buffer_clear(to);
    if (term.length > 0) {
        kv_term_canonical(term, KV_ZEROS_DIFFER, to);
    }
}

enum way { BY_CALL, BY_CAST, AT_ONCE };

enum { ROOM = 4096 };

static size_t room;  /* for an answer at once */
static size_t taken; /* by the last one */

/* Keeps no answer if the request is declined. */
static void ask_at_once(const struct kv_pid *bucket, struct kv_bytes request, struct kv_buffer *to)
{
    struct kv_bytes answer[2] = {NONE, NONE};
    struct kv_buffer whole = KV_BUFFER_INIT;
    if (kv_server_at_once(f->runtime, bucket->id, bucket->serial, request, room, answer)) {
        kv_buffer_append(&whole, answer[0]);
        kv_buffer_append(&whole, answer[1]);
    }
    taken = whole.length;
    cr_assert_leq(taken, room);
    keep(to, kv_buffer_bytes(&whole));
    kv_buffer_free(&whole);
    cr_assert_eq(count_of(f, KV_SIGNAL_MESSAGE_ALIAS), 0, "an answer leaves as a message");
}

/* Sends a request to a new bucket with the contents of the scene. `term` of length 0: none. Filling
 * the bucket takes more terms than live at a time, so that of the request is copied. */
static void run(const struct scene *scene, struct kv_bytes term, enum way way,
                struct outcome *outcome)
{
    struct kv_buffer copy = KV_BUFFER_INIT;
    kv_buffer_append(&copy, term);
    const struct kv_bytes request = kv_buffer_bytes(&copy);
    struct kv_pid bucket = bucket_in(scene);
    forget(f);
    if (way == BY_CAST) {
        cast(f, &bucket, request);
    } else if (way == AT_ONCE) {
        ask_at_once(&bucket, request, &outcome->answer);
    } else if (request.length > 0) {
        keep(&outcome->answer, call(f, &bucket, request));
    }
    keep(&outcome->state, call(f, &bucket, term_atom("to_map")));
    keep(&outcome->size, call(f, &bucket, term_atom("size")));
    kv_buffer_clear(&outcome->lives);
    kv_buffer_append(&outcome->lives, call(f, &bucket, pair(term_atom("ttl"), term_atom("a"))));
    kv_buffer_append(&outcome->lives, call(f, &bucket, pair(term_atom("ttl"), term_atom("x"))));
    kill_process(&bucket);
    forget(f);
    kv_buffer_free(&copy);
}

static void free_outcome(struct outcome *outcome)
{
    kv_buffer_free(&outcome->answer);
    kv_buffer_free(&outcome->state);
    kv_buffer_free(&outcome->size);
    kv_buffer_free(&outcome->lives);
}

static bool is_same(const struct kv_buffer *one, const struct kv_buffer *other)
{
    return kv_bytes_equal(kv_buffer_bytes(one), kv_buffer_bytes(other));
}

static bool is_error(const struct kv_buffer *answer)
{
    struct kv_reader reader = kv_reader(kv_buffer_bytes(answer));
    return kv_read_tuple_of(&reader, 2) == KV_OK && kv_read_this_atom(&reader, "error") == KV_OK;
}

/* ---- the comparison ----------------------------------------------------------------------------
 */

struct trial {
    const struct scene *scene;
    const struct kv_operation *operation;
    const struct kv_bytes *arguments;
    struct outcome expected;
    bool known; /* what is expected: by call, or else by the first of Agent's functions */
    bool changed;
};

static void compare(struct trial *trial, struct outcome *got, const char *door, bool answers)
{
    if (!trial->known) {
        trial->expected = *got;
        *got = (struct outcome){.answer = KV_BUFFER_INIT};
        trial->known = true;
        return;
    }
    cr_assert(!answers || is_same(&got->answer, &trial->expected.answer),
              "%.*s/%u by %s answers something else, %s", (int)trial->operation->name.length,
              (const char *)trial->operation->name.data, trial->operation->arity, door,
              trial->scene->name);
    cr_assert(is_same(&got->state, &trial->expected.state) &&
                  is_same(&got->size, &trial->expected.size) &&
                  is_same(&got->lives, &trial->expected.lives),
              "%.*s/%u by %s leaves something else, %s", (int)trial->operation->name.length,
              (const char *)trial->operation->name.data, trial->operation->arity, door,
              trial->scene->name);
}

static void try_door(struct trial *trial, struct kv_bytes request, enum way way, const char *door)
{
    struct outcome got = {.answer = KV_BUFFER_INIT};
    run(trial->scene, request, way, &got);
    compare(trial, &got, door, way != BY_CAST);
    free_outcome(&got);
}

/* Agent's `update` answers `ok` instead of any answer but an error. */
static void try_update(struct trial *trial, const struct kv_agent_function *function)
{
    struct outcome got = {.answer = KV_BUFFER_INIT};
    run(trial->scene, agent_request("update", function, trial->arguments), BY_CALL, &got);
    if (!is_error(&trial->expected.answer)) {
        cr_assert_eq(kv_term_is_atom(kv_buffer_bytes(&got.answer), "ok"), true);
        keep(&got.answer, kv_buffer_bytes(&trial->expected.answer));
    }
    compare(trial, &got, "Agent.update", true);
    free_outcome(&got);
    try_door(trial, agent_request("cast", function, trial->arguments), BY_CAST, "Agent.cast");
}

static void try_agent(struct trial *trial)
{
    for (const struct kv_agent_function *row = kv_agent_functions; row->module != NULL; row++) {
        if (row->arity != trial->operation->arity ||
            !kv_bytes_is(trial->operation->name, row->operation)) {
            continue;
        }
        if (row->kind == KV_AGENT_UPDATE) {
            try_update(trial, row);
        } else {
            const char *kind = row->kind == KV_AGENT_GET ? "get" : "get_and_update";
            try_door(trial, agent_request(kind, row, trial->arguments), BY_CALL, row->function);
        }
    }
}

/* Turns {ok, [Answer]} into Answer, and {error, {0, Reason}} into {error, Reason}. */
static void unwrap(struct kv_buffer *answer)
{
    struct kv_buffer inner = KV_BUFFER_INIT;
    struct kv_reader reader = kv_reader(kv_buffer_bytes(answer));
    struct kv_bytes term;
    uint32_t count = 0;
    cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
    const bool is_ok = kv_read_this_atom(&reader, "ok") == KV_OK;
    if (is_ok && kv_read_peek(&reader) == KV_TAG_STRING) {
        term = term_integer(reader.data[reader.length - 1]); /* the canonical form of [3] */
    } else if (is_ok) {
        cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
        cr_assert_eq(count, 1U);
        (void)kv_read_any(&reader, &term);
    } else {
        cr_assert_eq(kv_read_this_atom(&reader, "error"), KV_OK);
        cr_assert_eq(kv_read_tuple_of(&reader, 2), KV_OK);
        cr_assert_eq(kv_read_u32(&reader, &count), KV_OK);
        cr_assert_eq(count, 0U);
        (void)kv_read_any(&reader, &term);
        term = pair(term_atom("error"), term);
    }
    keep(&inner, term);
    kv_buffer_free(answer);
    *answer = inner;
}

static void try_transaction(struct trial *trial, struct kv_bytes request)
{
    struct outcome got = {.answer = KV_BUFFER_INIT};
    run(trial->scene, pair(term_atom("transaction"), term_list(request, NONE, NONE)), BY_CALL,
        &got);
    unwrap(&got.answer);
    compare(trial, &got, "transaction", true);
    free_outcome(&got);
}

enum { ONCE = KV_BRIEF | KV_SHOWS | KV_SIZED };

static unsigned answered; /* at once */

/* Returns true if the contents are those of the scene. */
static bool is_as_before(const struct scene *scene, const struct outcome *outcome)
{
    struct outcome before = {.answer = KV_BUFFER_INIT};
    run(scene, NONE, BY_CALL, &before);
    const bool same = is_same(&before.state, &outcome->state) &&
                      is_same(&before.size, &outcome->size) &&
                      is_same(&before.lives, &outcome->lives);
    free_outcome(&before);
    return same;
}

/* Returns true if the expected contents differ from those of the scene. */
static bool has_changed(const struct trial *trial)
{
    return !is_as_before(trial->scene, &trial->expected);
}

/* A request is answered as by call, or declined, and then nothing has changed. */
static void try_within(struct trial *trial, struct kv_bytes request, size_t bytes)
{
    struct outcome got = {.answer = KV_BUFFER_INIT};
    room = bytes;
    run(trial->scene, request, AT_ONCE, &got);
    if (got.answer.length > 0) {
        cr_assert_neq(trial->operation->traits & ONCE, 0);
        compare(trial, &got, "lane", true);
        answered++;
    } else {
        cr_assert(is_as_before(trial->scene, &got), "%.*s/%u is declined and done",
                  (int)trial->operation->name.length, (const char *)trial->operation->name.data,
                  trial->operation->arity);
    }
    free_outcome(&got);
}

static void try_at_once(struct trial *trial, struct kv_bytes request)
{
    try_within(trial, request, ROOM);
    if (taken > 0) {
        try_within(trial, request, taken - 1);
    }
}

/* Returns true if the operation has changed anything. */
static bool try_doors(struct trial *trial, struct kv_bytes request)
{
    const struct kv_operation *operation = trial->operation;
    /* {get, Key} by call has a row of its own, which leads to this one */
    if ((operation->doors & KV_BY_CALL) != 0 || kv_bytes_is(operation->name, "get")) {
        try_door(trial, request, BY_CALL, "call");
    }
    if ((operation->doors & KV_BY_CALL) != 0) {
        try_at_once(trial, request);
    }
    if ((operation->doors & KV_BY_CAST) != 0) {
        try_door(trial, request, BY_CAST, "cast");
    }
    if ((operation->doors & KV_BY_AGENT) != 0) {
        try_agent(trial);
    }
    if ((operation->doors & KV_BY_TRANSACTION) != 0) {
        try_transaction(trial, request);
    }
    bool changed = has_changed(trial);
    free_outcome(&trial->expected);
    return changed;
}

/* Filling a bucket takes more terms than live at a time, so those of the request are copied. */
static bool try_arguments(const struct scene *scene, const struct kv_operation *operation,
                          const struct kv_bytes *arguments)
{
    struct kv_buffer copies[KV_ARGUMENTS_MAX + 1] = {{0}};
    struct kv_bytes own[KV_ARGUMENTS_MAX];
    struct trial trial = {.scene = scene, .operation = operation, .arguments = own};
    struct kv_buffer *request = &copies[KV_ARGUMENTS_MAX];
    kv_write_term(request, request_of(operation, arguments));
    for (uint32_t i = 0; i < operation->arity; i++) {
        kv_write_term(&copies[i], arguments[i]);
        own[i] = kv_buffer_bytes(&copies[i]);
    }
    bool changed = try_doors(&trial, kv_buffer_bytes(request));
    for (uint32_t i = 0; i <= KV_ARGUMENTS_MAX; i++) {
        kv_buffer_free(&copies[i]);
    }
    return changed;
}

static bool try_everywhere(const struct kv_operation *operation)
{
    const struct shape *shape = shape_of(operation);
    struct kv_bytes arguments[KV_ARGUMENTS_MAX];
    bool changed = false;
    cr_assert_not_null(shape, "%.*s/%u has no row in `shapes`", (int)operation->name.length,
                       (const char *)operation->name.data, operation->arity);
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++) {
        for (unsigned number = 0; arguments_of(shape, number, arguments); number++) {
            changed |= try_arguments(&scenes[i], operation, arguments);
        }
    }
    return changed;
}

static void try_table(const struct kv_operation *table)
{
    for (const struct kv_operation *row = table; row->run != NULL; row++) {
        const unsigned before = answered;
        cr_assert_eq(try_everywhere(row), (row->traits & KV_CHANGES) != 0,
                     "%.*s/%u changes something, or should", (int)row->name.length,
                     (const char *)row->name.data, row->arity);
        cr_assert_eq(answered > before,
                     (row->traits & ONCE) != 0 && (row->doors & KV_BY_CALL) != 0);
    }
}

Test(doors, an_operation_on_one_key_is_the_same_by_every_door)
{
    try_table(kv_single_operations);
}

Test(doors, an_operation_by_what_is_there_is_the_same_by_every_door)
{
    try_table(kv_conditional_operations);
}

Test(doors, an_operation_on_a_counter_is_the_same_by_every_door)
{
    try_table(kv_number_operations);
}

Test(doors, an_operation_on_a_time_to_live_is_the_same_by_every_door)
{
    try_table(kv_time_operations);
}

Test(doors, an_operation_on_many_keys_is_the_same_by_every_door)
{
    try_table(kv_get_many_operations);
    try_table(kv_many_operations);
}

Test(doors, an_operation_on_a_tagged_value_is_the_same_by_every_door)
{
    try_table(kv_tagged_operations);
}

Test(doors, a_transaction_is_the_same_by_every_door)
{
    try_table(kv_transaction_operations);
}

Test(doors, a_piece_of_a_walk_is_the_same_by_every_door)
{
    try_table(kv_walk_operations);
    try_table(kv_stats_operations);
}

Test(doors, every_function_of_agent_leads_to_an_operation)
{
    for (const struct kv_agent_function *row = kv_agent_functions; row->module != NULL; row++) {
        cr_assert_not_null(kv_dispatch_find(&f->store.bucket, kv_bytes_text(row->operation),
                                            row->arity, KV_BY_AGENT));
    }
}

Test(doors, a_pop_with_a_default_is_a_get_and_a_delete)
{
    const struct kv_agent_function pop = {.module = "Elixir.Map", .function = "pop", .arity = 2};
    const struct kv_bytes keys[] = {term_atom("a"), term_atom("x"), term_atom("gone")};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const struct kv_bytes arguments[] = {keys[i], term_integer(7)};
        struct kv_pid bucket = bucket_in(&scenes[2]);
        struct kv_buffer expected = KV_BUFFER_INIT;
        keep(&expected,
             call(f, &bucket, term_tuple(term_atom("get"), keys[i], term_integer(7), NONE)));
        assert_term(call(f, &bucket, agent_request("get_and_update", &pop, arguments)),
                    kv_buffer_bytes(&expected));
        assert_term(call(f, &bucket, pair(term_atom("has_key"), keys[i])), term_atom("false"));
        kv_buffer_free(&expected);
    }
}

/* ---- the tables
 * --------------------------------------------------------------------------------
 */

static unsigned rows_found(const struct kv_dispatch *dispatch, const struct kv_operation *table)
{
    unsigned rows = 0;
    for (const struct kv_operation *row = table; row->run != NULL; row++, rows++) {
        cr_assert_not_null(row->since);
        cr_assert_neq(row->doors, 0U);
        cr_assert_leq(row->arity, (uint32_t)KV_ARGUMENTS_MAX);
        for (unsigned door = KV_BY_CALL; door <= KV_BY_TRANSACTION; door <<= 1) {
            const struct kv_operation *found =
                kv_dispatch_find(dispatch, row->name, row->arity, (enum kv_door)door);
            cr_assert((row->doors & door) == 0 || found == row);
        }
    }
    return rows;
}

Test(doors, every_row_is_found_by_its_doors_and_stands_once)
{
    const struct kv_store *store = &f->store;
    cr_assert_eq(store->bucket.count, rows_found(&store->bucket, kv_single_operations) +
                                          rows_found(&store->bucket, kv_get_many_operations) +
                                          rows_found(&store->bucket, kv_many_operations) +
                                          rows_found(&store->bucket, kv_tagged_operations) +
                                          rows_found(&store->bucket, kv_transaction_operations) +
                                          rows_found(&store->bucket, kv_walk_operations) +
                                          rows_found(&store->bucket, kv_conditional_operations) +
                                          rows_found(&store->bucket, kv_number_operations) +
                                          rows_found(&store->bucket, kv_time_operations) +
                                          rows_found(&store->bucket, kv_stats_operations) +
                                          rows_found(&store->bucket, kv_durable_operations) +
                                          rows_found(&store->bucket, kv_snapshot_operations) +
                                          rows_found(&store->bucket, kv_agent_operations));
    cr_assert_eq(store->registry.count,
                 rows_found(&store->registry, kv_registry_operations) +
                     rows_found(&store->registry, kv_registry_change_operations) +
                     rows_found(&store->registry, kv_registry_names_operations) +
                     rows_found(&store->registry, kv_registry_destroy_operations));
}

Test(doors, there_is_no_way_through_a_wall)
{
    const struct kv_dispatch *dispatch = &f->store.bucket;
    cr_assert_null(kv_dispatch_find(dispatch, kv_bytes_text(""), 0, KV_BY_CALL));
    cr_assert_null(kv_dispatch_find(dispatch, kv_bytes_text("frobnicate"), 0, KV_BY_CALL));
    cr_assert_null(kv_dispatch_find(dispatch, kv_bytes_text("put"), 1, KV_BY_CALL));
    cr_assert_null(kv_dispatch_find(dispatch, kv_bytes_text("get"), 2, KV_BY_CAST));
    cr_assert_null(kv_dispatch_find(dispatch, kv_bytes_text("values"), 0, KV_BY_CALL));
    cr_assert_null(kv_dispatch_find(dispatch, kv_bytes_text("clear"), 0, KV_BY_AGENT));
}
