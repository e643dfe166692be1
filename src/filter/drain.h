/* SPDX-License-Identifier: Apache-2.0 */

/*
 * drain - when each connection is told that this process goes.  Were all told at once, all would
 * come back to the others at once: so each has a moment of its own, evenly spread.
 *
 *      0                          3/4                    1   of the drain time
 *      |--- notices, one by one ---|-- those that came --|
 *           `--- final, a little after each ---'
 */

#ifndef CN_FILTER_DRAIN_H
#define CN_FILTER_DRAIN_H

#include "base/status.h"

typedef struct {
    bool      active;
    uint64_t  started_ms;               /* monotonic */
    uint64_t  time_ms;
    uint32_t  tickets;                  /* given so far */
} cn_drain_t;

/* A connection's place in the order. */
typedef struct {
    uint32_t  number;
    bool      late;                     /* it came when the drain had begun */
} cn_drain_ticket_t;

typedef enum {
    CN_DRAIN_NOT_YET,
    CN_DRAIN_NOTICE,                    /* what is new is still taken */
    CN_DRAIN_FINAL,                     /* what is open is finished, nothing new is taken */
    CN_DRAIN_END,                       /* what is idle closes */
} cn_drain_stage_t;

/* Begins; elapsed_ms are over already. */
void cn_drain_begin(cn_drain_t *drain, uint64_t elapsed_ms, uint64_t time_ms);

/* The next connection's. */
cn_drain_ticket_t cn_drain_ticket(cn_drain_t *drain);

/* What the holder of the ticket should have been told by now; never CN_DRAIN_END. */
cn_drain_stage_t cn_drain_stage(const cn_drain_t *drain, const cn_drain_ticket_t *ticket);

/* How often to look. */
uint64_t cn_drain_step_ms(const cn_drain_t *drain);

#endif
