/* Requests of a program (program.h): drawn, sent and judged. */
#ifndef KV_TEST_REQUEST_H
#define KV_TEST_REQUEST_H

#include "support/run.h"

#include "kv/agent.h"
#include "kv/operation.h"

/* The terms are those of the present step. */
struct request {
    const struct book_row *row;
    const struct kv_agent_function *agent; /* NULL: the row's own request */
    struct kv_bytes arguments[KV_ARGUMENTS_MAX];
    struct kv_bytes term;
    bool by_cast;
    bool without_monitor; /* as $kv_call */
    uint32_t number;      /* of the alias to which the answer goes */
};

void request_draw(struct draw *draw, struct run *run, struct request *request);

/* The term of a request by its own name. */
struct kv_bytes request_plain(const struct request *request);

/* The signals that come back are kept by the fixture. */
void request_send(struct run *run, const struct request *request);

/* Returns the answer; an empty term if there is not exactly one. */
struct kv_bytes request_answer(const struct run *run, const struct request *request);

/* Does the request in the book, now. */
void request_run(struct run *run, const struct request *request);

/* Compares an answer with that of the book. */
void request_judge(struct run *run, const struct request *request, struct kv_bytes answer);

#endif
