/* Surveys: answers about every process. A survey looks at a slice of the processes each turn, so
 * that a node of many processes goes on serving meanwhile. */
#ifndef KV_OBSERVE_SURVEY_H
#define KV_OBSERVE_SURVEY_H

#include "observe/list.h"
#include "process/inspect.h"

enum { KV_SURVEY_SLICE = 256 }; /* processes looked at in one turn */

struct kv_totals {
    uint64_t processes;       /* without a table */
    uint64_t process_bytes;   /* of their states */
    uint64_t tables;          /* processes with one */
    uint64_t table_bytes;     /* of their states */
    uint64_t process_records; /* bytes that the runtime needs for every process */
};

/* The findings of a survey so far. */
struct kv_findings {
    struct kv_term_list list;
    struct kv_totals totals;
    uint64_t left_out; /* over the limit of a list */
};

/* A visitor that adds a process to the totals. `findings` is a struct kv_findings. */
void kv_findings_count(void *findings, const struct kv_process *process);

struct kv_survey {
    /* A call whose first argument is this atom is for the survey; NULL: every call is. */
    const char *subject;
    void (*visit)(void *findings, const struct kv_process *process);
    /* Appends the value. The caller frees the list. */
    void (*finish)(struct kv_process *self, struct kv_findings *findings, struct kv_buffer *value);
};

/* A survey at work; zeroed: none. */
struct kv_inquiry {
    const struct kv_survey *survey;
    struct kv_walk walk;
    struct kv_findings findings;
};

/* Works for one turn. Returns true if the survey is done; its value is appended then. */
bool kv_inquiry_step(struct kv_process *self, struct kv_inquiry *inquiry, struct kv_buffer *value);

/* Frees the memory of an inquiry, done or not. */
void kv_inquiry_end(struct kv_inquiry *inquiry);

#endif
