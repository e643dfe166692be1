/* SPDX-License-Identifier: Apache-2.0 */

/*
 * backoff - how long to wait before the next try: 1.6 times longer each time up to a bound, each a
 * fifth more or less by chance, so that the clients of one server that fell do not return as one.
 * (The gRPC project's connection-backoff.md.)
 */

#ifndef CN_BASE_BACKOFF_H
#define CN_BASE_BACKOFF_H

#include "base/random.h"

typedef struct {
    uint64_t  min_ms;
    uint64_t  max_ms;
    uint64_t  delay_ms;                 /* of the next try, before chance */
} cn_backoff_t;

static inline void
cn_backoff_reset(cn_backoff_t *backoff)
{
    backoff->delay_ms = backoff->min_ms;
}

/* The delay of the next try in ms, as it stands. */
static inline uint64_t
cn_backoff_delay(const cn_backoff_t *backoff)
{
    uint64_t  fifth = backoff->delay_ms / 5;

    return backoff->delay_ms - fifth + cn_random_below(2 * fifth + 1);
}

/* The same; the one behind it is longer. */
static inline uint64_t
cn_backoff_next(cn_backoff_t *backoff)
{
    uint64_t  delay_ms = cn_backoff_delay(backoff);
    uint64_t  more = backoff->delay_ms + backoff->delay_ms / 5 * 3;

    backoff->delay_ms = more < backoff->max_ms ? more : backoff->max_ms;

    return delay_ms;
}

#endif
