/* kv_assert(): checks what this program promises itself, such as the precondition of a function.
 *
 * On where KV_CHECKED is defined: in the tests, with the sanitizers and in the fuzz targets. Off in
 * the program, where the condition is compiled but not evaluated. Input that is at fault is an
 * error, not a broken promise: nothing that a peer sends, or that foreign memory holds, may reach a
 * kv_assert(). */
#ifndef KV_BASE_ASSERT_H
#define KV_BASE_ASSERT_H

#ifdef KV_CHECKED

#include <stdio.h>
#include <stdlib.h>

/* Writes file:line and the condition to standard error, and aborts. */
__attribute__((cold)) _Noreturn static inline void kv_assert_failed(const char *file, int line,
                                                                    const char *condition)
{
    (void)fprintf(stderr, "%s:%d: broken promise: %s\n", file, line, condition);
    abort();
}

#define kv_assert(condition)                                                                       \
    ((condition) ? (void)0 : kv_assert_failed(__FILE__, __LINE__, #condition))

#else

#define kv_assert(condition) ((void)(0 && (condition)))

#endif

#endif
