/* Puts into a table of SQLite, so many in each transaction, with a write-ahead log that is synced
 * at each commit.
 *
 *     sqlite_wal FOLDER SECONDS PUTS [PUTS ...]
 *
 * prints a line for each number of puts: "puts=64 puts_per_second=... commits_per_second=...". */
#include "fail.h"
#include "program.h"

#include <sqlite3.h>
#include <stdlib.h>

enum { KEYS = 1000, KEY_BYTES = 20, VALUE_BYTES = 100, PUTS_MAX = 100 * 1000 };

struct bench {
    sqlite3 *database;
    sqlite3_stmt *begin, *put, *commit;
    uint64_t random;
};

static void check(const struct bench *bench, int result)
{
    if (result != SQLITE_OK) {
        FAIL("%s", sqlite3_errmsg(bench->database));
    }
}

static void run(const struct bench *bench, const char *text)
{
    check(bench, sqlite3_exec(bench->database, text, NULL, NULL, NULL));
}

static sqlite3_stmt *statement(const struct bench *bench, const char *text)
{
    sqlite3_stmt *prepared = NULL;
    check(bench, sqlite3_prepare_v2(bench->database, text, -1, &prepared, NULL));
    return prepared;
}

static void step(const struct bench *bench, sqlite3_stmt *prepared)
{
    if (sqlite3_step(prepared) != SQLITE_DONE) {
        FAIL("%s", sqlite3_errmsg(bench->database));
    }
    check(bench, sqlite3_reset(prepared));
}

static void open_database(struct bench *bench, const char *folder)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/sqlite", folder);
    if (sqlite3_open(path, &bench->database) != SQLITE_OK) {
        FAIL("cannot open %s", path);
    }
    run(bench, "PRAGMA journal_mode = WAL");
    run(bench, "PRAGMA synchronous = FULL");
    run(bench, "CREATE TABLE bench (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID");
    bench->begin = statement(bench, "BEGIN IMMEDIATE");
    bench->put = statement(bench, "INSERT OR REPLACE INTO bench VALUES (?, ?)");
    bench->commit = statement(bench, "COMMIT");
}

static void put(struct bench *bench)
{
    static const char value[VALUE_BYTES] = "v";
    char key[KEY_BYTES + 1];
    bench->random ^= bench->random << 13;
    bench->random ^= bench->random >> 7;
    bench->random ^= bench->random << 17;
    snprintf(key, sizeof(key), "key-%016llx", (unsigned long long)(bench->random % KEYS));
    check(bench, sqlite3_bind_blob(bench->put, 1, key, KEY_BYTES, SQLITE_STATIC));
    check(bench, sqlite3_bind_blob(bench->put, 2, value, VALUE_BYTES, SQLITE_STATIC));
    step(bench, bench->put);
}

static void measure(struct bench *bench, double seconds, int puts)
{
    const uint64_t start = now();
    uint64_t commits = 0;
    for (; (double)(now() - start) < seconds * 1e9; commits++) {
        step(bench, bench->begin);
        for (int i = 0; i < puts; i++) {
            put(bench);
        }
        step(bench, bench->commit);
    }
    const double rate = (double)commits * 1e9 / (double)(now() - start);
    printf("puts=%d puts_per_second=%.0f commits_per_second=%.0f\n", puts, rate * puts, rate);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct bench bench = {.random = 88172645463325252U};
    if (argc < 4) {
        FAIL("usage: sqlite_wal FOLDER SECONDS PUTS [PUTS ...]");
    }
    open_database(&bench, argv[1]);
    for (int i = 3; i < argc; i++) {
        measure(&bench, strtod(argv[2], NULL), (int)number_within(argv[i], 1, PUTS_MAX));
    }
    sqlite3_finalize(bench.begin);
    sqlite3_finalize(bench.put);
    sqlite3_finalize(bench.commit);
    return sqlite3_close(bench.database) == SQLITE_OK ? 0 : 1;
}
