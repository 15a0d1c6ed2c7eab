/* Where the bytes of the log lie. An LSN (log sequence number) is a position in one endless stream
 * of bytes, which is cut into segments: files of equal size. Each begins with a header block. So
 * segment n holds the stream from n * P to (n + 1) * P, where P is its size less one block.
 *
 * docs/durable-format.md describes all bytes. */
#ifndef KV_DURABLE_SEGMENT_H
#define KV_DURABLE_SEGMENT_H

#include <kv/bytes.h>

enum {
    KV_BLOCK = 4096,
    KV_SEGMENT_SIZE = 64 << 20, /* the size of a segment file, header block included */
    KV_STORE_ID_SIZE = 16,
    KV_DURABLE_VERSION = 1, /* of the format, in the store block and in each segment */
};

/* Which store files belong to: its id, and the size of its segments. */
struct kv_store_id {
    uint8_t bytes[KV_STORE_ID_SIZE];
};

/* The bytes of the stream in one segment of `size` bytes. `size` is a multiple of KV_BLOCK, and
 * two blocks or more. */
static inline uint64_t kv_segment_content(uint64_t size)
{
    return size - KV_BLOCK;
}

/* The number of the segment that holds the byte at `lsn`. */
static inline uint64_t kv_segment_of(uint64_t lsn, uint64_t size)
{
    return lsn / kv_segment_content(size);
}

/* The offset of the byte at `lsn` in the file of that segment. */
static inline uint64_t kv_segment_offset(uint64_t lsn, uint64_t size)
{
    return KV_BLOCK + lsn % kv_segment_content(size);
}

/* The LSN of the first byte in a segment. */
static inline uint64_t kv_segment_begin(uint64_t segment, uint64_t size)
{
    return segment * kv_segment_content(size);
}

/* The length of `length` bytes when they are padded to whole blocks. */
static inline uint64_t kv_padded(uint64_t length)
{
    return (length + KV_BLOCK - 1) / KV_BLOCK * KV_BLOCK;
}

/* Writes the name of a segment's file: "log-" and 16 hexadecimal digits. */
enum { KV_SEGMENT_NAME_SIZE = sizeof "log-0123456789abcdef" };
void kv_segment_name(uint64_t segment, char name[KV_SEGMENT_NAME_SIZE]);

/* Writes the header block of a segment. */
void kv_segment_header(uint64_t segment, const struct kv_store_id *store, uint8_t block[KV_BLOCK]);

/* Checks a header block. Returns KV_OK; KV_EVERSION: a newer program wrote it; or KV_ECORRUPT: it
 * is not the header of that segment in that store. */
int kv_segment_check(const uint8_t block[KV_BLOCK], uint64_t segment,
                     const struct kv_store_id *store);

/* Which segment of which store a header block says it is. Returns as kv_segment_check(). */
int kv_segment_read(const uint8_t block[KV_BLOCK], uint64_t *segment, struct kv_store_id *store);

#endif
