#include "net/strangers.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <netinet/in.h>
#include <string.h>

struct kv_origin {
    struct kv_map_node by_address;
    uint64_t address;
    struct kv_list of_count;
    struct kv_list strangers; /* the oldest first */
    size_t count;
};

void kv_strangers_init(struct kv_strangers *pool, const struct kv_hash_key *key)
{
    *pool = (struct kv_strangers){.key = *key};
    for (size_t i = 0; i <= KV_STRANGERS_MAX; i++) {
        kv_list_init(&pool->by_count[i]);
    }
}

void kv_strangers_free(struct kv_strangers *pool)
{
    kv_map_free(&pool->origins);
}

uint64_t kv_strangers_address(const struct sockaddr *address)
{
    uint64_t result = 0;
    if (address->sa_family != AF_INET6) {
        return ((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr;
    }
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(six)) {
        memcpy(&result, six->s6_addr + 12, 4);
    } else {
        memcpy(&result, six->s6_addr, sizeof(result));
    }
    return result;
}

void kv_stranger_init(struct kv_stranger *stranger)
{
    *stranger = (struct kv_stranger){.pool = NULL};
    kv_list_init(&stranger->of_origin);
}

static bool has_address(const struct kv_map_node *node, const void *key)
{
    return KV_MAP_OF(node, const struct kv_origin, by_address)->address == *(const uint64_t *)key;
}

static struct kv_origin *origin_of(struct kv_strangers *pool, uint64_t address)
{
    uint64_t hash = kv_siphash(&pool->key, kv_bytes(&address, sizeof(address)));
    struct kv_map_node *found = kv_map_find(&pool->origins, hash, has_address, &address);
    if (found != NULL) {
        return KV_MAP_OF(found, struct kv_origin, by_address);
    }
    struct kv_origin *origin = kv_zalloc(sizeof(*origin));
    origin->address = address;
    kv_list_init(&origin->of_count);
    kv_list_init(&origin->strangers);
    kv_map_insert(&pool->origins, &origin->by_address, hash);
    return origin;
}

static void set_count(struct kv_strangers *pool, struct kv_origin *origin, size_t count)
{
    kv_list_remove(&origin->of_count);
    origin->count = count;
    if (count > 0) {
        kv_list_append(&pool->by_count[count], &origin->of_count);
    }
    pool->most = count > pool->most ? count : pool->most;
    while (pool->most > 0 && kv_list_is_empty(&pool->by_count[pool->most])) {
        pool->most--;
    }
}

void kv_strangers_add(struct kv_strangers *pool, struct kv_stranger *stranger, uint64_t address)
{
    kv_assert(stranger->pool == NULL && pool->count < KV_STRANGERS_MAX);
    struct kv_origin *origin = origin_of(pool, address);
    stranger->pool = pool;
    stranger->origin = origin;
    kv_list_append(&origin->strangers, &stranger->of_origin);
    set_count(pool, origin, origin->count + 1);
    pool->count++;
}

void kv_strangers_remove(struct kv_stranger *stranger)
{
    struct kv_strangers *pool = stranger->pool;
    struct kv_origin *origin = stranger->origin;
    if (pool == NULL) {
        return;
    }
    kv_list_remove(&stranger->of_origin);
    stranger->pool = NULL;
    stranger->origin = NULL;
    pool->count--;
    set_count(pool, origin, origin->count - 1);
    if (origin->count == 0) {
        kv_map_remove(&pool->origins, &origin->by_address);
        kv_free(origin);
    }
}

void kv_strangers_move(struct kv_strangers *pool, struct kv_stranger *stranger)
{
    uint64_t address = stranger->origin->address;
    kv_strangers_remove(stranger);
    kv_strangers_add(pool, stranger, address);
}

struct kv_stranger *kv_strangers_first(const struct kv_strangers *pool)
{
    if (pool->count == 0) {
        return NULL;
    }
    const struct kv_list *origins = &pool->by_count[pool->most];
    const struct kv_origin *origin = KV_LIST_OF(origins->next, const struct kv_origin, of_count);
    return KV_LIST_OF(origin->strangers.next, struct kv_stranger, of_origin);
}
