/* SPDX-License-Identifier: Apache-2.0 */

/*
 * budget - what a peer may spend of resets and of frames that carry nothing (CVE-2023-44487,
 * CVE-2025-8671, CVE-2019-9511 and kin).
 */

#include "http/h2/h2.h"
#include "base/clock.h"


void
h2_budget_init(h2_budget_t *budget, uint32_t cap, uint32_t rate)
{
    *budget = (h2_budget_t) { .cap = cap, .rate = rate, .tokens = cap, .filled_ms = cn_clock_ms() };
}


void
h2_budget_give(h2_budget_t *budget, uint32_t tokens)
{
    budget->tokens = tokens > budget->cap - budget->tokens ? budget->cap : budget->tokens + tokens;
}


bool
h2_budget_take(h2_budget_t *budget, uint32_t tokens)
{
    uint64_t  now = cn_clock_ms();
    uint64_t  won = (now - budget->filled_ms) * budget->rate / 1000;

    if (won > 0) {
        h2_budget_give(budget, won > budget->cap ? budget->cap : (uint32_t) won);
        budget->filled_ms = now;
    }

    if (budget->tokens < tokens) {
        return false;
    }

    budget->tokens -= tokens;

    return true;
}
