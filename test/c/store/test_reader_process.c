/* One process writes an arena as fast as it can, another reads it, and the writer is killed in the
 * middle. No value is torn. No value is older than when the read began, or newer than when it
 * ended. Nobody waits.
 *
 * KV_READS in the environment is how many reads there are. */
#include "store/arena.h"
#include "store/reader.h"
#include "store/table.h"

#include <kv/error.h>

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    KEYS = 4096,
    ROUNDS = 4,
    READS = 400000,
    READS_AFTER = 20000,
    VALUE_MAX = 12000, /* so some values have pages of their own */
    PID = 77,
    WORK = 64, /* writes between two turns of the arena's own work */
};

#define ARENA_SIZE ((uint64_t)256 << 20)

static const struct kv_hash_key check_key = {.k0 = 5, .k1 = 6};
static const uint8_t id[KV_ARENA_ID_SIZE] = "process";

/* The writer's notes beside the arena. A version counts the changes of a key: even versions are
 * puts, odd ones are deletes. A version is `begun` before the change and `done` after it. */
struct progress {
    uint64_t begun[KEYS];
    uint64_t done[KEYS];
    uint64_t writes;
};

struct value {
    uint64_t check; /* a checksum of all that follows */
    uint64_t version;
    uint64_t key;
    uint8_t filler[VALUE_MAX];
};

enum { VALUE_HEAD = offsetof(struct value, filler) };

static struct progress *progress;
static int file;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t checksum(const struct value *value, size_t length)
{
    return kv_siphash(&check_key, kv_bytes(&value->version, length - sizeof value->check));
}

/* Keys of 4 to 30 bytes. */
static struct kv_bytes key_bytes(uint64_t key, uint8_t *to)
{
    size_t length = 4 + (size_t)(key % 27);
    memset(to, (int)(key % 100), length);
    memcpy(to, &key, 4);
    return kv_bytes(to, length);
}

/* ---- the writer ------------------------------------------------------------------------------ */

static void release(void *context, uint64_t offset, uint64_t length)
{
    (void)context;
    if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) !=
        0) {
        abort();
    }
}

/* Every other value has the usual length of its key. */
static size_t random_length(uint64_t key, uint64_t random)
{
    if (random >> 18 & 1) {
        return VALUE_HEAD + (size_t)(key % 40);
    }
    size_t most = random % 64 == 0 ? VALUE_MAX : random % 8 == 0 ? 900 : 40;
    return VALUE_HEAD + (size_t)(random >> 32) % most;
}

/* Some puts are single, some are part of a batch. */
static int put_any_way(struct kv_table *table, struct kv_item key, struct kv_item value,
                       uint64_t random)
{
    struct kv_lookup lookup = {.key = key};
    if (random >> 16 & 1) {
        return kv_table_put(table, key, value, KV_NEVER);
    }
    bool alone = random >> 17 & 1;
    kv_table_look_ahead(table, &lookup, 1);
    if (alone) {
        return kv_table_put_at(table, &lookup, value, KV_NEVER);
    }
    kv_table_begin_changes(table);
    int error = kv_table_put_at(table, &lookup, value, KV_NEVER);
    kv_table_end_changes(table);
    return error;
}

static void change(struct kv_table *table, uint64_t key, uint64_t random)
{
    uint8_t bytes[32];
    static struct value value;
    struct kv_item item = {.bytes = key_bytes(key, bytes), .form = (uint8_t)(key % 2)};
    bool put = random % 4 != 0;
    uint64_t version = progress->done[key] + 1;
    version += (version % 2 == 0) == put ? 0 : 1;
    __atomic_store_n(&progress->begun[key], version, __ATOMIC_SEQ_CST);
    if (put) {
        size_t length = random_length(key, random);
        value.version = version;
        value.key = key;
        memset(value.filler, (int)version, length - VALUE_HEAD);
        value.check = checksum(&value, length);
        struct kv_item stored = {.bytes = kv_bytes(&value, length), .form = 1};
        if (put_any_way(table, item, stored, random) != KV_OK) {
            abort();
        }
    } else {
        (void)kv_table_delete(table, item);
    }
    __atomic_store_n(&progress->done[key], version, __ATOMIC_SEQ_CST);
}

/* The number of keys in use grows and shrinks, so that the index does too. */
static _Noreturn void write_on(uint64_t seed)
{
    void *base = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    struct kv_arena_memory memory = {.base = base, .reserve = ARENA_SIZE, .release = release};
    struct kv_arena_options options = {.hash_key = {.k0 = seed, .k1 = 3}};
    memcpy(options.id, id, sizeof id);
    struct kv_arena *arena = kv_arena_new(&memory, &options);
    struct kv_table *table = kv_table_new(arena, NULL);
    if (kv_arena_publish(arena, PID, (uint32_t)seed, KV_PUBLISHED_VALUES, table) != KV_OK) {
        abort();
    }
    for (uint64_t i = 1;; i++) {
        uint64_t random = next_random(&seed);
        uint64_t keys = (i >> 14) % 2 == 0 ? KEYS : KEYS / 64;
        change(table, (random >> 8) % keys, random);
        if (i % WORK == 0) {
            (void)kv_arena_work(arena, 1);
            __atomic_store_n(&progress->writes, i, __ATOMIC_RELEASE);
        }
    }
}

/* ---- the reader ------------------------------------------------------------------------------ */

struct tally {
    uint64_t found, absent, disturbed, copies;
};

static void check_absent(uint64_t key, uint64_t done, uint64_t begun)
{
    cr_assert(done == 0 || done % 2 == 1 || begun > done, "key %lu was there: %lu to %lu",
              (unsigned long)key, (unsigned long)done, (unsigned long)begun);
}

static void check_value(const struct value *value, size_t length, uint64_t key, uint64_t done,
                        uint64_t begun)
{
    cr_assert_eq(value->check, checksum(value, length), "a torn value");
    cr_assert_eq(value->key, key, "the value of another key");
    cr_assert(value->version >= done && value->version <= begun, "version %lu, %lu to %lu",
              (unsigned long)value->version, (unsigned long)done, (unsigned long)begun);
}

enum { COPIES = 1000 };

static void read_one(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                     uint64_t key, struct tally *tally)
{
    uint8_t bytes[32];
    static struct value copy;
    struct kv_mapped_value value;
    struct kv_bytes wanted = key_bytes(key, bytes);
    uint64_t hash = kv_mapped_hash(mapped, wanted);
    uint64_t done = __atomic_load_n(&progress->done[key], __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < COPIES; i++) {
        enum kv_read result =
            kv_mapped_find(mapped, table, wanted, (unsigned)(key % 2), hash, &value);
        if (result == KV_READ_DISTURBED || result == KV_READ_ASK_OWNER) {
            break;
        }
        if (result == KV_READ_ABSENT) {
            tally->absent++;
            check_absent(key, done, __atomic_load_n(&progress->begun[key], __ATOMIC_SEQ_CST));
            return;
        }
        cr_assert_eq(result, KV_READ_FOUND);
        size_t length = value.bytes.length;
        if (length <= sizeof copy) {
            memcpy(&copy, value.bytes.data, length);
        }
        tally->copies++;
        if (kv_mapped_holds(&value)) {
            cr_assert(length >= VALUE_HEAD && length <= sizeof copy);
            tally->found++;
            check_value(&copy, length, key, done,
                        __atomic_load_n(&progress->begun[key], __ATOMIC_SEQ_CST));
            return;
        }
    }
    tally->disturbed++;
}

static void read_many(const struct kv_mapped *mapped, const struct kv_mapped_table *table,
                      uint64_t seed, uint64_t count, struct tally *tally)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t random = next_random(&seed);
        read_one(mapped, table, (random >> 8) % (random % 2 == 0 ? KEYS : KEYS / 64), tally);
    }
}

/* Opens the file of the other process read-only, as another program does. */
static void *map_file_of(pid_t writer)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)writer, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    void *base = mmap(NULL, ARENA_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    cr_assert_neq(base, MAP_FAILED);
    (void)close(fd);
    return base;
}

static void one_round(uint64_t seed, uint64_t reads, struct tally *tally)
{
    file = memfd_create("arena", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(file, (off_t)ARENA_SIZE), 0);
    memset(progress, 0, sizeof *progress);
    pid_t writer = fork();
    cr_assert_geq(writer, 0);
    if (writer == 0) {
        write_on(seed);
    }
    while (__atomic_load_n(&progress->writes, __ATOMIC_ACQUIRE) == 0) {
        cr_assert_eq(waitpid(writer, NULL, WNOHANG), 0);
        (void)usleep(100);
    }
    void *base = map_file_of(writer);
    struct kv_mapped mapped;
    struct kv_mapped_table table;
    cr_assert_eq(kv_mapped_open(&mapped, base, ARENA_SIZE, id), KV_OK);
    cr_assert_eq(kv_mapped_table_of(&mapped, PID, (uint32_t)seed, &table), KV_READ_FOUND);
    read_many(&mapped, &table, seed, reads, tally);
    cr_assert_eq(kill(writer, SIGKILL), 0);
    read_many(&mapped, &table, seed, READS_AFTER, tally);
    cr_assert_eq(waitpid(writer, NULL, 0), writer);
    read_many(&mapped, &table, seed, READS_AFTER, tally);
    cr_assert_gt(progress->writes, 0);
    (void)munmap(base, ARENA_SIZE);
    (void)close(file);
}

Test(reader_process, reads_whole_values_while_another_process_writes_and_is_killed, .timeout = 600)
{
    const char *wanted = getenv("KV_READS");
    uint64_t reads = (wanted == NULL ? READS : strtoull(wanted, NULL, 10)) / ROUNDS;
    struct tally tally = {0};
    uint64_t writes = 0;
    progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq((void *)progress, MAP_FAILED);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        one_round(round * 7919, reads, &tally);
        writes += progress->writes;
    }
    if (wanted != NULL) {
        (void)fprintf(stderr, "%lu found, %lu absent, %lu disturbed, %lu copied; %lu writes\n",
                      (unsigned long)tally.found, (unsigned long)tally.absent,
                      (unsigned long)tally.disturbed, (unsigned long)tally.copies,
                      (unsigned long)writes);
    }
    cr_assert_gt(tally.found, 0);
    cr_assert_gt(tally.absent, 0);
}
