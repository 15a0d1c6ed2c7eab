/* Answers that take more than one turn: surveys and questions.
 *
 * A survey is about every process. It looks at a slice of the processes each turn, so that a node
 * of many processes goes on serving meanwhile. A question waits for the answer of another process.
 */
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

enum { KV_CHOICES_MAX = 16 };

/* The findings of a survey so far. */
struct kv_findings {
    struct kv_term_list list;
    uint8_t choices[KV_CHOICES_MAX]; /* for `finish`: the parts of the answer that are wanted, */
    uint32_t choice_count;           /* as `begin` has understood the arguments */
    bool single;                     /* one part alone, not a list of parts */
    struct kv_totals totals;
    uint64_t left_out; /* over the limit of a list */
};

/* A visitor that adds a process to the totals. `findings` is a struct kv_findings. */
void kv_findings_count(void *findings, const struct kv_process *process);

/* A question to another process: ask.h. */
struct kv_question {
    bool asked;
    struct kv_buffer call; /* a term for error texts: {Module, Function, Args} */
};

struct kv_inquiry;

struct kv_survey {
    /* A call whose first argument is this atom is for the survey; NULL: every call is. */
    const char *subject;
    /* Reads the arguments. KV_OK or KV_ETYPE (badarg). NULL: there is nothing to read. */
    int (*begin)(struct kv_process *self, struct kv_reader arguments, struct kv_inquiry *inquiry);
    /* NULL: there is no walk. `begin` has asked a question, or has the value for `finish`. */
    void (*visit)(void *findings, const struct kv_process *process);
    /* Appends the value. The caller frees the list. */
    void (*finish)(struct kv_process *self, struct kv_findings *findings, struct kv_buffer *value);
};

/* A survey or a question at work; zeroed: none. */
struct kv_inquiry {
    const struct kv_survey *survey;
    struct kv_walk walk;
    struct kv_findings findings;
    struct kv_question question;
};

/* Begins. KV_OK or KV_ETYPE. */
int kv_inquiry_begin(struct kv_process *self, const struct kv_survey *survey,
                     struct kv_reader arguments, struct kv_inquiry *inquiry);

/* Works at a survey for one turn. Returns true if the survey is done; its value is appended then.
 */
bool kv_inquiry_step(struct kv_process *self, struct kv_inquiry *inquiry, struct kv_buffer *value);

/* Frees the memory of an inquiry, done or not. */
void kv_inquiry_end(struct kv_inquiry *inquiry);

#endif
