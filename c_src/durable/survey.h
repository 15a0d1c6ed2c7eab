/* A survey of a store: which tables there are, and how many entries they have. For people who look
 * into a folder. Takes records as the tables would, and keeps no keys and values: a table costs
 * 400 bytes, and an entry 64.
 *
 * Entries are told apart by a hash of 64 bits. So the figures of 10^8 entries are off by one with a
 * chance of 1 in 3,000. */
#ifndef KV_DURABLE_SURVEY_H
#define KV_DURABLE_SURVEY_H

#include "base/siphash.h"
#include "durable/record.h"

struct kv_survey;

/* Never returns NULL. The caller frees it with kv_survey_free(), which takes NULL, too. The key is
 * random, since peers have chosen the keys of entries. */
struct kv_survey *kv_survey_new(const struct kv_hash_key *key);
void kv_survey_free(struct kv_survey *survey);

/* For struct kv_recovery_sink, with a survey as context. Changes of a table that is not there are
 * left out, as in a recovery. Always returns KV_OK; without memory the program ends. */
int kv_survey_record(void *context, const struct kv_record *record);

struct kv_survey_table {
    uint64_t id;
    uint8_t policy;
    uint8_t kind;
    struct kv_bytes registry;
    struct kv_bytes name;
    uint64_t entries; /* that have not expired */
    uint64_t bytes;   /* of their keys and values */
    uint64_t expired;
};

/* Calls `visit` for each table, the oldest first, as of a wall clock in milliseconds since 1970.
 * Its arguments are valid during the call, or until it gives the survey a record: of this table
 * only. O(entries). */
void kv_survey_each(const struct kv_survey *survey, uint64_t now,
                    void (*visit)(void *context, const struct kv_survey_table *table),
                    void *context);

/* The number of tables. */
uint64_t kv_survey_count(const struct kv_survey *survey);

/* Returns true if there is a table of this id. */
bool kv_survey_has(const struct kv_survey *survey, uint64_t id);

/* Sets *about to the facts of the table of this id, which must be there. They are borrowed until
 * the end of the next record, which may have them. */
void kv_survey_about(const struct kv_survey *survey, uint64_t id, struct kv_record_table *about);

/* Returns the id of the table that got this identity last; 0: there is none. Two tables may have
 * one identity where records are lost. */
uint64_t kv_survey_find(const struct kv_survey *survey, struct kv_bytes registry,
                        struct kv_bytes name);

#endif
