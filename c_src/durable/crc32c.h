/* CRC32C (Castagnoli), the checksum of everything that is kept on disk: by the instruction of the
 * processor where there is one, else by tables. */
#ifndef KV_DURABLE_CRC32C_H
#define KV_DURABLE_CRC32C_H

#include <kv/bytes.h>

/* Returns the checksum of `bytes` behind those that gave `crc`; crc is 0 at the beginning. So
 * kv_crc32c(kv_crc32c(0, a), b) is the checksum of a followed by b. Any thread may call this. */
uint32_t kv_crc32c(uint32_t crc, struct kv_bytes bytes);

/* The same by tables, on every processor. */
uint32_t kv_crc32c_by_table(uint32_t crc, struct kv_bytes bytes);

#endif
