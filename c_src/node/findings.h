/* Lines about a data folder, for a person: what `kv_node --check` and `kv_node --salvage` print.
 * Each has a word, spaces up to a column, and a text:
 *
 *     table       3 bucket sessions (commit): 12 entries, 3456 bytes */
#ifndef KV_NODE_FINDINGS_H
#define KV_NODE_FINDINGS_H

#include "durable/store_block.h"
#include "durable/survey.h"

#include <stdio.h>

/* The status of the program. Nothing is lost in a folder that is whole. */
enum kv_finding {
    KV_FOUND_WHOLE = 0,
    KV_FOUND_DAMAGED = 1,
    KV_FOUND_NOTHING = 66, /* the folder cannot be read, or has no durable data */
};

void kv_findings_line(FILE *out, const char *word, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A line for the store block: id, time, version, and how keys compare. */
void kv_findings_store(FILE *out, const struct kv_store_block *store);

/* A line for each table, as of a wall clock in milliseconds since 1970. */
void kv_findings_tables(FILE *out, const struct kv_survey *survey, uint64_t now);

/* "log-0000000000000002, byte 8192" */
enum { KV_PLACE_TEXT = 64 };
void kv_findings_place(char text[KV_PLACE_TEXT], uint64_t lsn, uint64_t segment_size);

/* "2026-11-27 09:25:30 UTC"; "never" for 0. */
enum { KV_DATE_TEXT = 40 };
void kv_findings_date(char text[KV_DATE_TEXT], uint64_t milliseconds);

/* The wall clock now, milliseconds since 1970. */
uint64_t kv_findings_now(void);

#endif
