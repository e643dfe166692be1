/* SPDX-License-Identifier: Apache-2.0 */

/*
 * drain - the moments follow from the numbers of connections: multiples of the golden ratio, whose
 * fractions lie evenly however many there are and whichever are gone.
 */

#include "filter/drain.h"

#include "base/clock.h"

#define GOLDEN_32      2654435769u      /* 2^32 divided by the golden ratio */
#define FINAL_MS       1000             /* from the notice: what the peer has sent arrives */
#define STEP_MIN_MS    20
#define STEP_MAX_MS    250


static uint64_t
least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}


void
cn_drain_begin(cn_drain_t *drain, uint64_t elapsed_ms, uint64_t time_ms)
{
    drain->active = true;
    drain->started_ms = cn_clock_ms() - least(elapsed_ms, cn_clock_ms());
    drain->time_ms = time_ms;
}


cn_drain_ticket_t
cn_drain_ticket(cn_drain_t *drain)
{
    return (cn_drain_ticket_t) { .number = ++drain->tickets, .late = drain->active };
}


/* From the start of the drain. */
static uint64_t
notice_at(const cn_drain_t *drain, const cn_drain_ticket_t *ticket)
{
    uint64_t  window = drain->time_ms / 4 * 3;
    uint32_t  fraction = ticket->number * GOLDEN_32;

    return ticket->late ? window : (window * (fraction >> 16)) >> 16;
}


cn_drain_stage_t
cn_drain_stage(const cn_drain_t *drain, const cn_drain_ticket_t *ticket)
{
    uint64_t  elapsed, at;

    if (!drain->active) {
        return CN_DRAIN_NOT_YET;
    }

    elapsed = cn_clock_ms() - drain->started_ms;
    at = notice_at(drain, ticket);

    if (elapsed < at) {
        return CN_DRAIN_NOT_YET;
    }

    return elapsed - at < least(FINAL_MS, drain->time_ms / 8) ? CN_DRAIN_NOTICE : CN_DRAIN_FINAL;
}


uint64_t
cn_drain_step_ms(const cn_drain_t *drain)
{
    uint64_t  step = drain->time_ms / 100;

    return step < STEP_MIN_MS ? STEP_MIN_MS : least(step, STEP_MAX_MS);
}
