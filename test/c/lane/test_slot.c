/* The states of a slot, in every order in which two sides can make their accesses.
 *
 * The model has one slot. The asker asks several times, one after the other, and may at any moment
 * look, withdraw or leave. The server takes what it finds. Requests and answers are two bytes,
 * written and read one at a time. Each step makes one access to the slot, by the functions of
 * lane/slot.h. The test visits every state that any order of steps leads to. */
#include "lane/slot.h"

#include <criterion/criterion.h>
#include <string.h>

enum { REQUESTS = 3, ANSWER = 0x80, VISITS_MAX = 1 << 16 };

enum asker {
    WANTS,
    WRITES_1,
    WRITES_2,
    ASKS,
    WAITS,
    WAITS_ON,
    READS_1,
    READS_2,
    RELEASES,
    HAS_ENDED
};
enum server { LOOKS, TAKES, COPIES_1, COPIES_2, ANSWERS_1, ANSWERS_2, FINISHES, DROPS };
enum end { UNDER_WAY, WITHDRAWN, ANSWERED, LEFT };

struct model {
    uint8_t state; /* of the slot, */
    uint8_t data[2];
    uint8_t asker; /* where each side is, and what it has read */
    uint8_t request;
    uint8_t read;
    uint8_t server;
    uint8_t copy[2];
    uint8_t served[REQUESTS + 1]; /* how often, and how each request ended for the asker */
    uint8_t ended[REQUESTS + 1];
};

static struct kv_slot slot;
static struct model visited[VISITS_MAX];
static unsigned visits;

static void load(const struct model *model)
{
    atomic_store(&slot.state, model->state);
    memcpy(slot.data, model->data, sizeof model->data);
}

static void save(struct model *model)
{
    model->state = (uint8_t)atomic_load(&slot.state);
    memcpy(model->data, slot.data, sizeof model->data);
}

/* ---- the steps of the asker -------------------------------------------------------------------
 */

static void next_request(struct model *model, enum end end)
{
    model->ended[model->request] = end;
    if (model->request == REQUESTS) {
        model->asker = HAS_ENDED;
    } else {
        model->asker = WANTS;
        model->request++;
    }
}

static void look(struct model *model)
{
    if (kv_slot_is_done(&slot)) {
        model->asker = READS_1;
    }
}

static void withdraw(struct model *model)
{
    if (kv_slot_withdraw(&slot)) {
        next_request(model, WITHDRAWN);
    } else {
        model->asker = WAITS_ON;
    }
}

static void leave(struct model *model)
{
    if (kv_slot_leave(&slot)) {
        next_request(model, LEFT);
    } else {
        model->read = 0;
        model->asker = RELEASES;
    }
}

static void release(struct model *model)
{
    kv_slot_release(&slot);
    next_request(model, model->read == 0 ? LEFT : ANSWERED);
    model->read = 0;
}

static void read_answer(struct model *model, unsigned part)
{
    model->read = slot.data[part];
    cr_assert_eq(model->read, ANSWER | model->request, "the answer to another request");
    model->asker = part == 0 ? READS_2 : RELEASES;
}

static void step_asker(struct model *model)
{
    switch ((enum asker)model->asker) {
    case WANTS:
        model->asker = kv_slot_is_free(&slot) ? WRITES_1 : WANTS;
        break;
    case WRITES_1:
    case WRITES_2:
        slot.data[model->asker - WRITES_1] = model->request;
        model->asker++;
        break;
    case ASKS:
        kv_slot_ask(&slot);
        model->asker = WAITS;
        break;
    case WAITS:
    case WAITS_ON:
        look(model);
        break;
    case READS_1:
    case READS_2:
        read_answer(model, model->asker - READS_1);
        break;
    case RELEASES:
        release(model);
        break;
    case HAS_ENDED:
        break;
    }
}

/* ---- the steps of the server ------------------------------------------------------------------
 */

static void check_copy(struct model *model)
{
    cr_assert_eq(model->copy[0], model->copy[1], "a torn request");
    cr_assert(model->copy[0] >= 1 && model->copy[0] <= REQUESTS, "no request");
    cr_assert_eq(++model->served[model->copy[0]], 1, "a request is done twice");
}

static void step_server(struct model *model)
{
    switch ((enum server)model->server) {
    case LOOKS:
        model->server = kv_slot_is_asked(&slot) ? TAKES : LOOKS;
        break;
    case TAKES:
        model->server = kv_slot_take(&slot) ? COPIES_1 : LOOKS;
        break;
    case COPIES_1:
    case COPIES_2:
        model->copy[model->server - COPIES_1] = slot.data[model->server - COPIES_1];
        if (model->server == COPIES_2) {
            check_copy(model);
        }
        model->server++;
        break;
    case ANSWERS_1:
    case ANSWERS_2:
        slot.data[model->server - ANSWERS_1] = (uint8_t)(ANSWER | model->copy[0]);
        model->server++;
        break;
    case FINISHES:
        model->server = kv_slot_finish(&slot) ? LOOKS : DROPS;
        break;
    case DROPS:
        kv_slot_drop(&slot);
        model->server = LOOKS;
        break;
    }
}

/* ---- all orders -------------------------------------------------------------------------------
 */

static bool is_new(const struct model *model)
{
    for (unsigned i = 0; i < visits; i++) {
        if (memcmp(&visited[i], model, sizeof *model) == 0) {
            return false;
        }
    }
    cr_assert_lt(visits, VISITS_MAX);
    visited[visits++] = *model;
    return true;
}

static void check_end(const struct model *model)
{
    cr_assert_eq(model->state, KV_SLOT_FREE, "the slot is lost");
    for (unsigned i = 1; i <= REQUESTS; i++) {
        cr_assert_eq(model->served[i], model->ended[i] == WITHDRAWN ? 0 : 1,
                     "a request that was withdrawn is done, or another one is not");
    }
}

static void visit(const struct model *model);

static void visit_after(const struct model *model, void (*step)(struct model *model))
{
    struct model next = *model;
    load(&next);
    step(&next);
    save(&next);
    visit(&next);
}

static void visit(const struct model *model)
{
    if (!is_new(model)) {
        return;
    }
    if (model->asker == HAS_ENDED && model->server == LOOKS) {
        check_end(model);
        return;
    }
    visit_after(model, step_asker);
    visit_after(model, step_server);
    if (model->asker == WAITS) {
        visit_after(model, withdraw);
    }
    if (model->asker == WAITS_ON) {
        visit_after(model, leave);
    }
}

Test(slot, no_order_of_accesses_loses_doubles_or_tears_a_request)
{
    visits = 0;
    visit(&(struct model){.request = 1});
    cr_assert_gt(visits, 100);
}

Test(slot, a_request_is_either_taken_or_withdrawn)
{
    kv_slot_drop(&slot);
    kv_slot_ask(&slot);
    cr_assert(kv_slot_take(&slot));
    cr_assert_not(kv_slot_take(&slot));
    cr_assert_not(kv_slot_withdraw(&slot));
    kv_slot_drop(&slot);
    kv_slot_ask(&slot);
    cr_assert(kv_slot_withdraw(&slot));
    cr_assert_not(kv_slot_take(&slot));
    cr_assert(kv_slot_is_free(&slot));
}

Test(slot, whatever_state_a_liar_writes_the_server_goes_on)
{
    const uint32_t states[] = {
        KV_SLOT_FREE, KV_SLOT_ASKED, KV_SLOT_TAKEN, KV_SLOT_DONE, KV_SLOT_LEFT, 5, UINT32_MAX};
    for (unsigned i = 0; i < sizeof states / sizeof states[0]; i++) {
        kv_slot_drop(&slot);
        kv_slot_ask(&slot);
        cr_assert(kv_slot_take(&slot));
        atomic_store(&slot.state, states[i]);
        if (!kv_slot_finish(&slot)) {
            kv_slot_drop(&slot);
            cr_assert(kv_slot_is_free(&slot));
        } else {
            cr_assert(kv_slot_is_done(&slot));
        }
    }
}
