/* SPDX-License-Identifier: Apache-2.0 */

/*
 * fiber - ucontext, on a mapped stack with a page below it that nobody may touch.  AddressSanitizer
 * has to be told when the stack changes.
 */

#include "base/fiber.h"

#include "base/clock.h"
#include "base/pool.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#define SANITIZED  1
#else
#define SANITIZED  0
#endif

#define STACK_SIZE   (2u * 1024 * 1024)     /* touched as used */
#define LOOK_EVERY   32                     /* rests between two looks at the clock */

struct cn_fiber_s {
    ucontext_t    own;
    ucontext_t    caller;
    void        (*work)(void *arg);
    void         *arg;
    uint8_t      *stack;
    size_t        size;                 /* with the guard page */
    uint64_t      until_us;
    uint32_t      rests;
    bool          over;
    const void   *caller_stack;         /* for the sanitizer */
    size_t        caller_size;
};

static cn_fiber_t  *running;


/* ---- what the sanitizer is told -------------------------------------------------------------- */

static void
before_switch(void **shadow, const void *stack, size_t size)
{
#if SANITIZED
    __sanitizer_start_switch_fiber(shadow, stack, size);
#else
    (void) shadow;
    (void) stack;
    (void) size;
#endif
}


static void
after_switch(void *shadow, const void **stack, size_t *size)
{
#if SANITIZED
    __sanitizer_finish_switch_fiber(shadow, stack, size);
#else
    (void) shadow;
    (void) stack;
    (void) size;
#endif
}


/* What only a fiber's stack points to is not leaked. */
static void
mark_stack(const cn_fiber_t *fiber, bool used)
{
#if SANITIZED
    if (used) {
        __lsan_register_root_region(fiber->stack, fiber->size);

    } else {
        __lsan_unregister_root_region(fiber->stack, fiber->size);
    }
#else
    (void) fiber;
    (void) used;
#endif
}


/* ---- switching ------------------------------------------------------------------------------- */

static void
leave(cn_fiber_t *fiber)
{
    void  *shadow = NULL;

    running = NULL;
    /* one that is over gives up what the sanitizer keeps for its stack */
    before_switch(fiber->over ? NULL : &shadow, fiber->caller_stack, fiber->caller_size);
    (void) swapcontext(&fiber->own, &fiber->caller);
    after_switch(shadow, &fiber->caller_stack, &fiber->caller_size);
}


static void
begin(void)
{
    cn_fiber_t  *fiber = running;

    after_switch(NULL, &fiber->caller_stack, &fiber->caller_size);
    fiber->work(fiber->arg);
    fiber->over = true;
    leave(fiber);
}


bool
cn_fiber_run(cn_fiber_t *fiber, uint64_t budget_us)
{
    void  *shadow = NULL;

    CN_BUG_ON(running != NULL);

    if (fiber->over) {
        return true;
    }

    fiber->until_us = cn_clock_us_now() + budget_us;
    running = fiber;
    before_switch(&shadow, fiber->stack, fiber->size);
    (void) swapcontext(&fiber->caller, &fiber->own);
    after_switch(shadow, NULL, NULL);

    return fiber->over;
}


void
cn_fiber_rest(void)
{
    cn_fiber_t  *fiber = running;

    if (fiber != NULL && ++fiber->rests % LOOK_EVERY == 0 && cn_clock_us_now() > fiber->until_us) {
        leave(fiber);
    }
}


/* ---- making and dropping --------------------------------------------------------------------- */

cn_fiber_t *
cn_fiber_create(void (*work)(void *arg), void *arg)
{
    cn_fiber_t  *fiber = cn_alloc_zero(sizeof(*fiber));
    size_t       page = (size_t) sysconf(_SC_PAGESIZE);
    void        *stack;

    if (fiber == NULL) {
        return NULL;
    }

    fiber->work = work;
    fiber->arg = arg;
    fiber->size = STACK_SIZE;
    stack = mmap(NULL, fiber->size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);

    if (stack == MAP_FAILED || getcontext(&fiber->own) != 0
        || mprotect(stack, page, PROT_NONE) != 0)
    {
        if (stack != MAP_FAILED) {
            (void) munmap(stack, fiber->size);
        }

        cn_free(fiber);
        return NULL;
    }

    fiber->stack = (uint8_t *) stack + page;
    fiber->size -= page;
    fiber->own.uc_stack.ss_sp = fiber->stack;
    fiber->own.uc_stack.ss_size = fiber->size;
    makecontext(&fiber->own, begin, 0);
    mark_stack(fiber, true);

    return fiber;
}


void
cn_fiber_destroy(cn_fiber_t *fiber)
{
    size_t  page = (size_t) sysconf(_SC_PAGESIZE);

    if (fiber == NULL) {
        return;
    }

    CN_BUG_ON(fiber == running);
    mark_stack(fiber, false);
    (void) munmap(fiber->stack - page, fiber->size + page);
    cn_free(fiber);
}
