/* How the writer and the readers of an arena share its words: loads, stores, fences, and accesses
 * to bytes that the other side may be reading or writing. docs/store-format.md, "Rules".
 *
 * A reader loads the counter of a stripe, reads the index and an entry, and loads the counter
 * again. The bytes count only if the counter is even and has not changed. So a reader may see
 * bytes that are half written or belong to something else by now, and throws them away.
 *
 * ThreadSanitizer models neither fences nor reads that are thrown away. In its build a fence and
 * each load and store here is a sequentially consistent access, and accesses between
 * kv_races_begin() and kv_races_end() are not looked at: reads of entries, and writes of entries
 * and of fresh index memory, which a late reader may still take for what was there before.
 * Everything else that threads share is checked. */
#ifndef KV_STORE_SEQLOCK_H
#define KV_STORE_SEQLOCK_H

#include "base/word.h"

#ifdef __SANITIZE_THREAD__ /* gcc */
#define KV_SEQLOCK_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) /* clang */
#define KV_SEQLOCK_CHECKED 1
#endif
#endif

#ifdef KV_SEQLOCK_CHECKED

enum {
    KV_RELAXED = __ATOMIC_SEQ_CST,
    KV_ACQUIRE = __ATOMIC_SEQ_CST,
    KV_RELEASE = __ATOMIC_SEQ_CST
};

/* Of the runtime library of ThreadSanitizer; they nest, for each thread. */
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);

static inline void kv_races_begin(void)
{
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}

static inline void kv_races_end(void)
{
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
}

#else

enum {
    KV_RELAXED = __ATOMIC_RELAXED,
    KV_ACQUIRE = __ATOMIC_ACQUIRE,
    KV_RELEASE = __ATOMIC_RELEASE
};

static inline void kv_races_begin(void)
{
}

static inline void kv_races_end(void)
{
}

#endif

/* ---- the writer ------------------------------------------------------------------------------ */

#define KV_STORE_RELAXED(place, value) __atomic_store_n(&(place), (value), KV_RELAXED)
#define KV_STORE_RELEASE(place, value) __atomic_store_n(&(place), (value), KV_RELEASE)

/* Comes between the store of a counter that becomes odd and the changes that it announces. Under
 * ThreadSanitizer the stores before and after it are ordered without it. */
static inline void kv_fence_release(void)
{
#ifndef KV_SEQLOCK_CHECKED
    __atomic_thread_fence(KV_RELEASE);
#endif
}

/* ---- the reader ------------------------------------------------------------------------------ */

/* Comes between the last read of what a counter guards and the second load of the counter. */
static inline void kv_fence_acquire(const uint32_t *counter)
{
#ifdef KV_SEQLOCK_CHECKED
    (void)__atomic_load_n(counter, KV_ACQUIRE);
#else
    (void)counter;
    __atomic_thread_fence(KV_ACQUIRE);
#endif
}

/* A word of an entry. It is loaded once, so that a check of its value holds for all later uses. */
static inline uint64_t kv_unsettled_word(const uint64_t *word)
{
    kv_races_begin();
    uint64_t loaded = __atomic_load_n(word, KV_RELAXED);
    kv_races_end();
    return loaded;
}

/* Copies bytes of an entry. The copy counts only if kv_mapped_holds() returns true afterwards. */
static inline void kv_unsettled_copy(void *to, const uint8_t *from, size_t length)
{
    kv_races_begin();
    kv_copy_any(to, from, length);
    kv_races_end();
}

/* As kv_same(), for bytes of an entry. The result counts only if kv_mapped_holds() returns true
 * afterwards. */
static inline bool kv_unsettled_same(const uint8_t *entry, const uint8_t *bytes, size_t length)
{
    kv_races_begin();
    bool same = kv_same(entry, bytes, length);
    kv_races_end();
    return same;
}

#endif
