/* Counters: values that are integers. */
#include "kv/bucket.h"
#include "kv/number.h"

typedef int arithmetic(const struct kv_number *a, const struct kv_number *b,
                       struct kv_number *result);

/* The options of a request. */
struct options {
    bool has_min, has_max;
    struct kv_number initial; /* the value of an absent key before the step */
    struct kv_number min, max;
    uint64_t expiry; /* of a new entry */
};

struct request {
    struct kv_process *self;
    const struct kv_asked *asked;
    struct options *options;
};

static bool take_option(void *context, struct kv_bytes name, struct kv_bytes value, bool again)
{
    const struct request *request = context;
    struct options ignored = {.has_min = false};
    struct options *options = again ? &ignored : request->options;
    if (kv_bytes_is(name, "default")) {
        return kv_number_read(value, &options->initial) == KV_OK;
    }
    if (kv_bytes_is(name, "ttl")) {
        return kv_bucket_expiry(request->self, request->asked, value, &options->expiry);
    }
    if (kv_bytes_is(name, "min")) {
        options->has_min = true;
        return kv_number_read(value, &options->min) == KV_OK;
    }
    options->has_max = options->has_max || kv_bytes_is(name, "max");
    return kv_bytes_is(name, "max") && kv_number_read(value, &options->max) == KV_OK;
}

/* Answers {error, {limit, Current}}: the result would be out of bounds. */
static int refuse_limit(struct kv_answer *answer, const struct kv_number *current)
{
    kv_write_tuple(answer->term, 2);
    kv_write_atom_text(answer->term, "error");
    kv_write_tuple(answer->term, 2);
    kv_write_atom_text(answer->term, "limit");
    kv_number_write(answer->term, current);
    return KV_ERANGE;
}

/* Reads the value that is there, or takes the default. Returns false, with the answer written, if
 * the value is no integer, or has too many bits. */
static bool read_current(struct kv_process *self, const struct kv_asked *asked,
                         struct options *options, struct kv_number *current,
                         struct kv_answer *answer, int *error)
{
    struct kv_item item;
    uint64_t expiry = KV_NEVER;
    if (!kv_bucket_look(self, asked->arguments[0], &item, &expiry)) {
        *current = options->initial;
        options->expiry &= ~KV_KEEPING;
        return true;
    }
    options->expiry = expiry;
    *error = item.form == KV_FORM_TERM ? kv_number_read(item.bytes, current) : KV_ETYPE;
    if (*error == KV_ETYPE) {
        *error = kv_answer_refusal(answer, KV_ETYPE, "not_an_integer");
    } else if (*error != KV_OK) {
        *error = kv_answer_error(answer, KV_ERANGE, "limit", item.bytes);
    }
    return *error == KV_OK;
}

/* Puts the number, and answers it. */
static int put_number(struct kv_process *self, const struct kv_asked *asked,
                      const struct kv_number *number, uint64_t expiry, struct kv_answer *answer)
{
    struct kv_bucket *bucket = kv_process_state(self);
    kv_buffer_clear(&bucket->value);
    kv_number_write(&bucket->value, number);
    int error = kv_bucket_put(self, asked->arguments[0], kv_buffer_bytes(&bucket->value), expiry);
    if (error != KV_OK) {
        return kv_answer_no_room(answer, error);
    }
    kv_buffer_append(answer->term, kv_buffer_bytes(&bucket->value));
    return KV_OK;
}

static int step(struct kv_process *self, const struct kv_asked *asked, struct options *options,
                arithmetic *combine, struct kv_answer *answer)
{
    struct kv_number by;
    struct kv_number current;
    struct kv_number result;
    int error = KV_OK;
    if (kv_number_read(asked->arguments[1], &by) != KV_OK) {
        return kv_answer_error(answer, KV_ETYPE, "bad_step", asked->arguments[1]);
    }
    if (!read_current(self, asked, options, &current, answer, &error)) {
        return error;
    }
    if (combine(&current, &by, &result) != KV_OK ||
        (options->has_min && kv_number_less(&result, &options->min)) ||
        (options->has_max && kv_number_less(&options->max, &result))) {
        return refuse_limit(answer, &current);
    }
    return put_number(self, asked, &result, options->expiry, answer);
}

static void begin_options(struct kv_process *self, const struct kv_asked *asked,
                          struct options *options)
{
    options->has_min = options->has_max = false;
    options->expiry = kv_bucket_default_expiry(self, asked);
    kv_number_set(&options->initial, 0);
}

static int step_with(struct kv_process *self, const struct kv_asked *asked, arithmetic *combine,
                     struct kv_answer *answer)
{
    static const char *const names[] = {"default", "ttl", "min", "max", NULL};
    struct options options;
    struct request request = {.self = self, .asked = asked, .options = &options};
    struct kv_bytes bad;
    begin_options(self, asked, &options);
    return kv_options_read(asked->arguments[2], names, take_option, &request, &bad)
               ? step(self, asked, &options, combine, answer)
               : kv_answer_error(answer, KV_ETYPE, "bad_option", bad);
}

static int incr(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    struct options options;
    begin_options(self, asked, &options);
    return step(self, asked, &options, kv_number_add, answer);
}

static int decr(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    struct options options;
    begin_options(self, asked, &options);
    return step(self, asked, &options, kv_number_subtract, answer);
}

static int incr_with(struct kv_process *self, const struct kv_asked *asked,
                     struct kv_answer *answer)
{
    return step_with(self, asked, kv_number_add, answer);
}

static int decr_with(struct kv_process *self, const struct kv_asked *asked,
                     struct kv_answer *answer)
{
    return step_with(self, asked, kv_number_subtract, answer);
}

enum {
    EITHER = KV_BY_CALL | KV_BY_CAST | KV_BY_TRANSACTION,
    WRITES = KV_CHANGES | KV_BOUNDED | KV_BY_KEY | KV_BRIEF,
};

const struct kv_operation kv_number_operations[] = {
    KV_OPERATION("incr", 2, EITHER, WRITES, incr, "0.2.0"),
    KV_OPERATION("incr", 3, EITHER, WRITES, incr_with, "0.2.0"),
    KV_OPERATION("decr", 2, EITHER, WRITES, decr, "0.2.0"),
    KV_OPERATION("decr", 3, EITHER, WRITES, decr_with, "0.2.0"),
    KV_NO_OPERATION,
};
