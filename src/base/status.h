/* SPDX-License-Identifier: Apache-2.0 */

/*
 * status - how a call ends.  Every call that can fail returns a cn_status_t, and a caller that
 * drops one does not compile.  A broken invariant is no status: CN_BUG_ON() prints it and aborts
 * the process, which the guard replaces.
 */

#ifndef CN_BASE_STATUS_H
#define CN_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    CN_OK = 0,
    CN_AGAIN,                   /* not now: an event will tell; or the input ended between items */
    CN_ERR_MEMORY,              /* an allocation failed or a memory budget is spent */
    CN_ERR_SYNTAX,              /* the bytes are not what the format allows */
    CN_ERR_RANGE,               /* well-formed, but a value out of its range */
    CN_ERR_LIMIT,               /* a configured limit was reached */
    CN_ERR_NOT_FOUND,
    CN_ERR_EXISTS,
    CN_ERR_IO,                  /* a system call failed; errno was logged where it failed */
    CN_ERR_CLOSED,              /* the peer or we have closed it */
    CN_ERR_REFUSED,             /* policy, permission or identity says no */
    CN_ERR_UNSUPPORTED,         /* known but not implemented: never treated as absent */
    CN_ERR_TIMEOUT,
} cn_status_t;

#define CN_MUST_USE         __attribute__((warn_unused_result))
#define CN_PRINTF(at, from) __attribute__((format(printf, at, from)))

#define CN_COUNT_OF(array)  (sizeof(array) / sizeof((array)[0]))
#define CN_CONTAINER_OF(ptr, type, member) \
    ((type *) (void *) ((char *) (ptr) - offsetof(type, member)))

/* The name of a status, "CN_ERR_RANGE", for logs; never NULL. */
const char *cn_status_name(cn_status_t status);

/* Prints the condition and its place to standard error and aborts.  Does not return. */
_Noreturn void cn_bug(const char *condition, const char *file, int line);

#define CN_BUG_ON(condition)                              \
    do {                                                  \
        if (__builtin_expect(!!(condition), 0)) {         \
            cn_bug(#condition, __FILE__, __LINE__);       \
        }                                                 \
    } while (0)

#endif
