/* SPDX-License-Identifier: Apache-2.0 */

/* wheel - the loop's timers by time.  The loop's own: others set timers through event/loop.h. */

#ifndef CN_EVENT_WHEEL_H
#define CN_EVENT_WHEEL_H

#include "event/loop.h"

#define CN_WHEEL_BITS    6              /* of a time, a level */
#define CN_WHEEL_SLOTS   64
#define CN_WHEEL_LEVELS  11             /* 66 bits: any time has a place */
#define CN_WHEEL_NEVER   UINT64_MAX

typedef struct {
    uint64_t   used;                    /* bit i: slots[i] may hold timers (cancel leaves it) */
    cn_list_t  slots[CN_WHEEL_SLOTS];
} cn_wheel_level_t;

typedef struct {
    uint64_t          wheel_ms;         /* timers up to it have been taken out */
    cn_list_t         due;              /* taken out, or set for now: they run next */
    cn_wheel_level_t  levels[CN_WHEEL_LEVELS];
} cn_wheel_t;

/* An empty wheel whose time is now_ms. */
void cn_wheel_init(cn_wheel_t *wheel, uint64_t now_ms);

/* Disarms every timer. */
void cn_wheel_clear(cn_wheel_t *wheel);

/* Arms timer for deadline_ms or moves it there; now_ms is the turn's instant. */
void cn_wheel_set(cn_wheel_t *wheel, cn_timer_t *timer, uint64_t deadline_ms, uint64_t now_ms);

/* When the wheel next has something to do: 0: now; CN_WHEEL_NEVER: it is empty. */
uint64_t cn_wheel_next(cn_wheel_t *wheel);

/* Moves the wheel's time to now_ms and runs what is due. */
void cn_wheel_run(cn_wheel_t *wheel, uint64_t now_ms);

#endif
