#include "support/viewer.h"

#include "kv/kv.h"
#include "observe/observe.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- calls ----------------------------------------------------------------------------------- */

struct kv_pid viewer_bucket(struct fixture *f, struct kv_bytes options)
{
    struct kv_pid bucket = feed_spawn(f, f->a, "kv_bucket", term_list(NONE, NONE, NONE), options);
    bucket.node = kv_bytes_text(FIXTURE_NODE);
    forget(f);
    return bucket;
}

struct fixture *viewer_fixture(struct kv_pid *bucket)
{
    struct fixture *f = fixture_with_services();
    cr_assert_eq(kv_observe_start(f->runtime, &f->world), KV_OK);
    *bucket = viewer_bucket(
        f, term_list(term_tuple(term_atom("label"), term_binary("shop"), NONE, NONE), NONE, NONE));
    return f;
}

void viewer_spawn(struct fixture *f, const char *module, const char *function, uint32_t arity,
                  struct kv_bytes arguments, const char *option)
{
    (void)feed_spawn_of(f, module, function, arity, term_list(term_atom(option), NONE, NONE),
                        arguments);
}

void run_turns(struct fixture *f)
{
    for (int turn = 0; kv_runtime_run_timers(f->runtime) == 0; turn++) {
        cr_assert_lt(turn, 100000);
    }
}

struct kv_bytes viewer_outcome(struct fixture *f, const char *module, const char *function,
                               struct kv_bytes arguments)
{
    static struct kv_buffer list;
    kv_buffer_clear(&list);
    if (list.capacity == 0) { /* not through kv_alloc(): it outlives the fixture */
        list.capacity = 8 << 20;
        list.data = malloc(list.capacity);
    }
    kv_write_list(&list, 4);
    kv_write_atom_text(&list, "res");
    kv_write_atom_text(&list, module);
    kv_write_atom_text(&list, function);
    kv_write_term(&list, arguments);
    kv_write_nil(&list);
    viewer_spawn(f, "erpc", "execute_call", 4, kv_buffer_bytes(&list), "monitor");
    for (int turn = 0; count_of(f, KV_SIGNAL_DOWN) == 0; turn++) {
        cr_assert_lt(turn, 100000);
        kv_runtime_run_timers(f->runtime);
    }
    return payload_of(sent_of(f, KV_SIGNAL_DOWN, 0));
}

struct kv_bytes viewer_call(struct fixture *f, const char *module, const char *function,
                            struct kv_bytes arguments)
{
    struct kv_bytes value = NONE;
    struct kv_reader reader = kv_reader(viewer_outcome(f, module, function, arguments));
    cr_assert_eq(kv_read_tuple_of(&reader, 3), KV_OK, "%s:%s", module, function);
    (void)kv_read_any(&reader, NULL);
    cr_assert_eq(kv_read_this_atom(&reader, "return"), KV_OK);
    cr_assert_eq(kv_read_any(&reader, &value), KV_OK);
    return value;
}

bool is_error(struct kv_bytes outcome, const char *reason)
{
    struct kv_reader reader = kv_reader(outcome);
    return kv_read_tuple_of(&reader, 4) == KV_OK && kv_read_any(&reader, NULL) == KV_OK &&
           kv_read_this_atom(&reader, "error") == KV_OK &&
           kv_read_this_atom(&reader, reason) == KV_OK;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

struct kv_bytes value_at(struct kv_bytes list, const char *key)
{
    uint32_t count = 0;
    struct kv_reader reader = kv_reader(list);
    cr_assert_eq(kv_read_list(&reader, &count), KV_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct kv_bytes pair = NONE;
        struct kv_bytes value = NONE;
        (void)kv_read_any(&reader, &pair);
        struct kv_reader parts = kv_reader(pair);
        if (kv_read_tuple_of(&parts, 2) == KV_OK && kv_read_this_atom(&parts, key) == KV_OK) {
            cr_assert_eq(kv_read_any(&parts, &value), KV_OK);
            return value;
        }
    }
    return NONE;
}

static bool match(struct kv_reader *reader, const char **shape);

/* Where the part of a shape that begins here ends. */
static const char *after(const char *shape)
{
    int depth = 0;
    for (; *shape != 0; shape++) {
        if (depth == 0 && (*shape == ',' || *shape == '+' || *shape == ']' || *shape == '}')) {
            return shape;
        }
        depth += (*shape == '{' || *shape == '[') - (*shape == '}' || *shape == ']');
    }
    return shape;
}

static bool match_tuple(struct kv_reader *reader, const char **shape)
{
    uint32_t arity = 0;
    uint32_t seen = 0;
    if (kv_read_tuple(reader, &arity) != KV_OK) {
        return false;
    }
    (*shape)++;
    while (**shape != '}') {
        if (seen++ >= arity || !match(reader, shape)) {
            return false;
        }
        *shape += **shape == ',';
    }
    (*shape)++;
    return seen == arity;
}

/* [x,y]: a list of these and no more. */
static bool match_sequence(struct kv_reader *reader, const char **shape)
{
    uint32_t count = 0;
    uint32_t seen = 0;
    if (kv_read_list(reader, &count) != KV_OK) {
        return false;
    }
    do {
        (*shape)++;
        if (seen++ >= count || !match(reader, shape)) {
            return false;
        }
    } while (**shape == ',');
    (*shape)++;
    return seen == count && kv_read_nil(reader) == KV_OK;
}

static bool match_list(struct kv_reader *reader, const char **shape)
{
    uint32_t count = 0;
    const char *element = *shape + 1;
    const char *end = after(element);
    bool some = *end == '+';
    if (*end == ',') {
        return match_sequence(reader, shape);
    }
    if (kv_read_list(reader, &count) != KV_OK || (some && count == 0)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const char *one = element;
        if (!match(reader, &one)) {
            return false;
        }
    }
    *shape = end + (some ? 2 : 1);
    return count == 0 || kv_read_nil(reader) == KV_OK;
}

static bool match_string(struct kv_reader *reader)
{
    uint32_t count = 0;
    uint32_t character = 0;
    if (kv_read_peek(reader) == KV_TAG_STRING) {
        return kv_read_any(reader, NULL) == KV_OK;
    }
    if (kv_read_list(reader, &count) != KV_OK) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (kv_read_u32(reader, &character) != KV_OK || character > 0x10ffff ||
            (character >= 0xd800 && character <= 0xdfff)) {
            return false;
        }
    }
    return count == 0 || kv_read_nil(reader) == KV_OK;
}

static bool match_bool(struct kv_reader *reader)
{
    return kv_read_this_atom(reader, "true") == KV_OK ||
           kv_read_this_atom(reader, "false") == KV_OK;
}

static bool match_one(struct kv_reader *reader, char kind)
{
    uint64_t number = 0;
    struct kv_pid pid;
    struct kv_bytes bytes;
    switch (kind) {
    case 'i':
        return kv_read_u64(reader, &number) == KV_OK;
    case 'n':
        return kv_read_u64(reader, &number) == KV_OK && number > 0;
    case 'a':
        return kv_read_atom(reader, &bytes) == KV_OK;
    case 'o':
        return match_bool(reader);
    case 'b':
        return kv_read_binary(reader, &bytes) == KV_OK;
    case 'p':
        return kv_read_pid(reader, &pid) == KV_OK;
    case 's':
        return match_string(reader);
    case '_':
        return kv_read_any(reader, NULL) == KV_OK;
    default:
        return kind >= '0' && kind <= '9' && kv_read_u64(reader, &number) == KV_OK &&
               number == (uint64_t)(kind - '0');
    }
}

static bool match(struct kv_reader *reader, const char **shape)
{
    const char *end = after(*shape);
    if (**shape == '{') {
        return match_tuple(reader, shape);
    }
    if (**shape == '[') {
        return match_list(reader, shape);
    }
    struct kv_bytes word = kv_bytes(*shape, (size_t)(end - *shape));
    struct kv_bytes atom;
    *shape = end;
    if (word.length == 1) {
        return match_one(reader, (char)word.data[0]);
    }
    return kv_read_atom(reader, &atom) == KV_OK && kv_bytes_equal(atom, word);
}

bool has_shape(struct kv_bytes term, const char *shape)
{
    struct kv_reader reader = kv_reader(term);
    return match(&reader, &shape) && *shape == 0 && kv_reader_at_end(&reader);
}
