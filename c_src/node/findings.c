#include "node/findings.h"

#include "kv/durable.h"

#include <inttypes.h>
#include <kv/term.h>
#include <stdarg.h>
#include <time.h>

enum { COLUMN = 12, MS_A_SECOND = 1000, NS_A_MS = 1000000, SHOWN_MAX = 200 };

void kv_findings_line(FILE *out, const char *word, const char *format, ...)
{
    (void)fprintf(out, "%-*s", COLUMN, word);
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(out, format, arguments);
    va_end(arguments);
    (void)fputc('\n', out);
}

uint64_t kv_findings_now(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec < 0 ? 0
                          : (uint64_t)now.tv_sec * MS_A_SECOND + (uint64_t)now.tv_nsec / NS_A_MS;
}

void kv_findings_date(char text[KV_DATE_TEXT], uint64_t milliseconds)
{
    const time_t seconds = (time_t)(milliseconds / MS_A_SECOND);
    struct tm date;
    if (milliseconds == 0 || gmtime_r(&seconds, &date) == NULL ||
        strftime(text, KV_DATE_TEXT, "%Y-%m-%d %H:%M:%S UTC", &date) == 0) {
        (void)snprintf(text, KV_DATE_TEXT, "never");
    }
}

void kv_findings_place(char text[KV_PLACE_TEXT], uint64_t lsn, uint64_t segment_size)
{
    char name[KV_SEGMENT_NAME_SIZE];
    kv_segment_name(kv_segment_of(lsn, segment_size), name);
    (void)snprintf(text, KV_PLACE_TEXT, "%s, byte %" PRIu64, name,
                   kv_segment_offset(lsn, segment_size));
}

void kv_findings_store(FILE *out, const struct kv_store_block *store)
{
    char date[KV_DATE_TEXT];
    kv_findings_date(date, store->created);
    kv_findings_line(out, "store", "%016" PRIx64 ", made %s", kv_store_fingerprint(&store->id),
                     date);
    kv_findings_line(out, "version", "%" PRIu32, store->version);
    kv_findings_line(out, "zeros", "%s", store->zeros == KV_ZEROS_SAME ? "same" : "differ");
}

/* ---- tables ------------------------------------------------------------------------------------
 */

/* The bytes of the UTF-8 character at the front; 0: there is none, or one that moves the cursor of
 * a terminal. */
static size_t character(struct kv_bytes from)
{
    const uint8_t first = from.data[0];
    const size_t length = first < 0x80   ? 1
                          : first < 0xC2 ? 0
                          : first < 0xE0 ? 2
                          : first < 0xF0 ? 3
                          : first < 0xF5 ? 4
                                         : 0;
    if (length > from.length || first < ' ' || first == 0x7F ||
        (first == 0xC2 && from.data[1] < 0xA0)) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((from.data[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return length;
}

static bool is_text(struct kv_bytes bytes)
{
    for (size_t length = 0; bytes.length > 0;
         bytes = kv_bytes(bytes.data + length, bytes.length - length)) {
        length = character(bytes);
        if (length == 0) {
            return false;
        }
    }
    return true;
}

/* A name that is no text is shown as <<16#..>>. */
static void print_name(FILE *out, struct kv_bytes name)
{
    const size_t shown = name.length < SHOWN_MAX ? name.length : SHOWN_MAX;
    if (is_text(name)) {
        (void)fprintf(out, "%.*s", (int)shown, (const char *)name.data);
    } else {
        (void)fputs("<<16#", out);
        for (size_t i = 0; i < shown; i++) {
            (void)fprintf(out, "%02x", name.data[i]);
        }
        (void)fputs(">>", out);
    }
    (void)fputs(shown < name.length ? "..." : "", out);
}

static const char *kind_of(uint8_t kind)
{
    return kind == KV_JOURNAL_BUCKET ? "bucket" : "registry";
}

static const char *policy_of(uint8_t policy)
{
    return policy == KV_POLICY_COMMIT ? "commit" : "interval";
}

static void print_table(void *context, const struct kv_survey_table *table)
{
    FILE *out = context;
    (void)fprintf(out, "%-*s%" PRIu64 " %s ", COLUMN, "table", table->id, kind_of(table->kind));
    if (table->registry.length > 0) {
        print_name(out, table->registry);
        (void)fputs(" / ", out);
    }
    print_name(out, table->name);
    (void)fprintf(out, " (%s)", policy_of(table->policy));
    if (table->kind == KV_JOURNAL_BUCKET) {
        (void)fprintf(out, ": %" PRIu64 " entries, %" PRIu64 " bytes", table->entries,
                      table->bytes);
    }
    (void)fputc('\n', out);
}

void kv_findings_tables(FILE *out, const struct kv_survey *survey, uint64_t now)
{
    kv_findings_line(out, "tables", "%" PRIu64, kv_survey_count(survey));
    kv_survey_each(survey, now, print_table, out);
}
