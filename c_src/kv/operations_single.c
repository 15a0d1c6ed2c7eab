/* Operations on one key, and on the whole bucket. */
#include "kv/bucket.h"

static const uint8_t nil[] = {KV_TAG_SMALL_ATOM_UTF8, 3, 'n', 'i', 'l'};

/* ---- reading -----------------------------------------------------------------------------------
 */

/* Answers the value under the first argument, or `absent`. */
static int answer_value_or(struct kv_process *self, const struct kv_asked *asked,
                           struct kv_bytes absent, struct kv_answer *answer)
{
    struct kv_item item;
    if (kv_bucket_find_item(self, asked->arguments[0], &item)) {
        kv_bucket_answer(self, answer, item);
    } else {
        answer->value.bytes = absent;
    }
    return KV_OK;
}

static int get_or(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return answer_value_or(self, asked, asked->arguments[1], answer);
}

int kv_bucket_get(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return answer_value_or(self, asked, kv_bytes(nil, sizeof nil), answer);
}

static int fetch(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    struct kv_item item;
    if (!kv_bucket_find_item(self, asked->arguments[0], &item)) {
        return kv_answer_atom(answer, "error");
    }
    kv_write_tuple(answer->term, 2);
    kv_write_atom_text(answer->term, "ok");
    kv_bucket_answer(self, answer, item);
    return KV_OK;
}

static int has_key(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    struct kv_item item;
    return kv_answer_bool(answer, kv_bucket_look(self, asked->arguments[0], &item, NULL));
}

static int size(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    (void)asked;
    return kv_answer_number(answer, kv_table_count_live(bucket->contents.table));
}

static int keys(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return kv_bucket_answer_whole(self, asked, KV_BUCKET_KEYS, answer);
}

static int values(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return kv_bucket_answer_whole(self, asked, KV_BUCKET_VALUES, answer);
}

static int to_list(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return kv_bucket_answer_whole(self, asked, KV_BUCKET_PAIRS, answer);
}

static int to_map(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return kv_bucket_answer_whole(self, asked, KV_BUCKET_MAP, answer);
}

static int generation(struct kv_process *self, const struct kv_asked *asked,
                      struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    (void)asked;
    return kv_answer_number(answer, bucket->generation);
}

/* ---- changing ----------------------------------------------------------------------------------
 */

static int put_until(struct kv_process *self, const struct kv_asked *asked, uint64_t expiry,
                     struct kv_answer *answer)
{
    int error = kv_bucket_put(self, asked->arguments[0], asked->arguments[1], expiry);
    return error == KV_OK ? kv_answer_atom(answer, "ok") : kv_answer_no_room(answer, error);
}

static int put_new_until(struct kv_process *self, const struct kv_asked *asked, uint64_t expiry,
                         struct kv_answer *answer)
{
    struct kv_item item;
    if (kv_bucket_look(self, asked->arguments[0], &item, NULL)) {
        return kv_answer_bool(answer, false);
    }
    int error = kv_bucket_put(self, asked->arguments[0], asked->arguments[1], expiry);
    return error == KV_OK ? kv_answer_bool(answer, true) : kv_answer_no_room(answer, error);
}

static int put(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return put_until(self, asked, kv_bucket_default_expiry(self, asked), answer);
}

static int put_new(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return put_new_until(self, asked, kv_bucket_default_expiry(self, asked), answer);
}

static int put_for(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return kv_bucket_for(self, asked, 2, put_until, answer);
}

static int put_new_for(struct kv_process *self, const struct kv_asked *asked,
                       struct kv_answer *answer)
{
    return kv_bucket_for(self, asked, 2, put_new_until, answer);
}

/* Deletes the key and answers its value, or `absent`. Copies or pins the value before the table
 * frees it. */
static int delete_or(struct kv_process *self, const struct kv_asked *asked, struct kv_bytes absent,
                     struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    const struct kv_change gone = {.kind = KV_CHANGE_DELETE,
                                   .key = kv_bucket_key(self, asked->arguments[0])};
    struct kv_item item;
    if (answer->unheard) {
        (void)kv_contents_change(&bucket->contents, &gone);
    } else if (kv_contents_find(&bucket->contents, gone.key, &item)) {
        kv_bucket_answer(self, answer, item);
        kv_answer_settle(answer);
        (void)kv_contents_change(&bucket->contents, &gone);
    } else {
        answer->value.bytes = absent;
    }
    return KV_OK;
}

static int delete (struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    return delete_or(self, asked, kv_bytes(nil, sizeof nil), answer);
}

static int delete_with(struct kv_process *self, const struct kv_asked *asked,
                       struct kv_answer *answer)
{
    return delete_or(self, asked, asked->arguments[1], answer);
}

static int clear(struct kv_process *self, const struct kv_asked *asked, struct kv_answer *answer)
{
    const struct kv_bucket *bucket = kv_process_const_state(self);
    (void)asked;
    (void)kv_contents_change(&bucket->contents, &(struct kv_change){.kind = KV_CHANGE_CLEAR});
    return kv_answer_atom(answer, "ok");
}

/* ---- the table ---------------------------------------------------------------------------------
 * The call {get, Key} has its row in agent.c, since Key may be a function that Agent sends.
 * `delete` with a default is Map.pop/3. */

enum {
    CALL = KV_BY_CALL,
    CAST = KV_BY_CAST,
    AGENT = KV_BY_AGENT,
    TX = KV_BY_TRANSACTION,
    WRITES = KV_CHANGES | KV_BOUNDED | KV_BY_KEY | KV_BRIEF,
    TAKES = KV_CHANGES | KV_BOUNDED | KV_BY_KEY | KV_SHOWS,
};

const struct kv_operation kv_single_operations[] = {
    KV_OPERATION("get", 1, AGENT | TX, KV_BY_KEY, kv_bucket_get, "0.1.0"),
    KV_OPERATION("get", 2, CALL | AGENT | TX, KV_BY_KEY | KV_SHOWS, get_or, "0.1.0"),
    KV_OPERATION("fetch", 1, CALL | AGENT | TX, KV_BY_KEY | KV_SHOWS, fetch, "0.1.0"),
    KV_OPERATION("has_key", 1, CALL | AGENT | TX, KV_BY_KEY | KV_BRIEF, has_key, "0.1.0"),
    KV_OPERATION("size", 0, CALL | AGENT, KV_BRIEF, size, "0.1.0"),
    KV_OPERATION("keys", 0, CALL | AGENT, KV_CONTINUES | KV_SIZED, keys, "0.1.0"),
    KV_OPERATION("values", 0, AGENT, KV_CONTINUES, values, "0.1.0"),
    KV_OPERATION("to_list", 0, AGENT, KV_CONTINUES, to_list, "0.1.0"),
    KV_OPERATION("to_map", 0, CALL | AGENT, KV_CONTINUES | KV_SIZED, to_map, "0.1.0"),
    KV_OPERATION("generation", 0, CALL, KV_BY_KEY | KV_BRIEF, generation, "0.1.0"),
    KV_OPERATION("put", 2, CALL | CAST | AGENT | TX, WRITES, put, "0.1.0"),
    KV_OPERATION("put", 3, CALL | CAST | TX, WRITES, put_for, "0.1.0"),
    KV_OPERATION("put_new", 2, CALL | AGENT | TX, WRITES, put_new, "0.1.0"),
    KV_OPERATION("put_new", 3, CALL | TX, WRITES, put_new_for, "0.1.0"),
    KV_OPERATION("delete", 1, CALL | CAST | AGENT | TX, TAKES, delete, "0.1.0"),
    KV_OPERATION("delete", 2, CALL | AGENT | TX, TAKES, delete_with, "0.1.0"),
    KV_OPERATION("clear", 0, CALL | CAST, KV_CHANGES | KV_BOUNDED | KV_BRIEF, clear, "0.1.0"),
    KV_NO_OPERATION,
};
