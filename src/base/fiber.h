/* SPDX-License-Identifier: Apache-2.0 */

/*
 * fiber - long work in slices.  What reads thousands of resources is a plain function with loops
 * and recursion; it runs on a stack of its own and rests where it says so, and the event loop has
 * its turns in between.  One thread: a fiber runs only within cn_fiber_run().
 *
 *   loop --run--> work ... rest --budget over--> loop --run--> ... --return--> loop, over
 */

#ifndef CN_BASE_FIBER_H
#define CN_BASE_FIBER_H

#include "base/status.h"

typedef struct cn_fiber_s cn_fiber_t;

/* work(arg) has not begun.  NULL: memory. */
cn_fiber_t *cn_fiber_create(void (*work)(void *arg), void *arg) CN_MUST_USE;

/*
 * Lets it work until it rests after more than budget_us.  True: work has returned.  Not called from
 * within a fiber.
 */
bool cn_fiber_run(cn_fiber_t *fiber, uint64_t budget_us) CN_MUST_USE;

/* A fiber that is not over is dropped as it stands: what its functions hold is nobody's. */
void cn_fiber_destroy(cn_fiber_t *fiber);

/*
 * Within a fiber: a place where it may be left for a while; what the caller looks at does not
 * change meanwhile only if nobody else owns it.  Elsewhere it does nothing.  Cheap: it goes into
 * loops.
 */
void cn_fiber_rest(void);

#endif
