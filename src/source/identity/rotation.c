/* SPDX-License-Identifier: Apache-2.0 */

/*
 * rotation - see rotation.h.
 *
 *   idle --start--> asking --made--> resting --the grace begins--> asking
 *                   asking --failed, deadline--> backing off --its time--> asking
 *
 * A timer of hours would be counted on another clock than the certificate's, which a suspended
 * machine or a corrected clock tears apart: while it rests, it looks at the wall clock every
 * look_ms.
 */

#include "source/identity/rotation.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/random.h"

#include <stdio.h>

#define WHY_MAX  512

typedef enum {
    IDLE,
    ASKING,
    RESTING,
    BACKING_OFF,
} state_t;

struct cn_rotation_s {
    cn_loop_t                   *loop;
    cn_rotation_config_t         config;
    const cn_rotation_events_t  *events;
    void                        *owner;
    const cn_maker_t            *maker;
    void                        *context;       /* the maker's */
    state_t                      state;
    cn_timer_t                   step;          /* what comes next in this state */
    cn_timer_t                   look;          /* at the time that is left */
    cn_identity_t                identity;
    uint64_t                     renew_at_ms;   /* wall clock */
    bool                         overdue;       /* it came, and this is still the one of before */
    uint64_t                     attempts;
    uint64_t                     renewals;
    uint32_t                     failures;
    uint32_t                     quick;         /* of these, those that were followed quickly */
    char                         why[WHY_MAX];
};


cn_rotation_config_t
cn_rotation_defaults(void)
{
    return (cn_rotation_config_t) {
        .grace_ratio  = 0.5,
        .grace_jitter = 0.01,
        .attempt_ms   = 15000,
        .quick_count  = 4,
        .quick_ms     = 100,
        .slow_min_ms  = 1000,
        .slow_max_ms  = 30000,
        .quick_jitter = 0.1,
        .slow_jitter  = 0.2,
        .look_ms      = 60000,
        .low_ratio    = 0.1,
    };
}


/* ---- times ---- */

/* Uniform in -1..1. */
static double
draw(void)
{
    return (double) cn_random_below(2000001) / 1000000.0 - 1.0;
}


static uint64_t
jittered(uint64_t ms, double jitter)
{
    double  result = (double) ms * (1.0 + jitter * draw());

    return result < 1.0 ? 1 : (uint64_t) result;
}


/* first_ms, doubled `times` times. */
static uint64_t
doubled(uint64_t first_ms, uint32_t times, uint64_t most_ms)
{
    while (times-- > 0 && first_ms < most_ms) {
        first_ms *= 2;
    }

    return first_ms < most_ms ? first_ms : most_ms;
}


static uint64_t
life_ms(const cn_identity_t *identity)
{
    return identity->expires > identity->begins
               ? (identity->expires - identity->begins) * 1000 : 0;
}


/* 0: none. */
static uint64_t
left_ms(const cn_identity_t *identity)
{
    uint64_t  now_ms = cn_clock_wall_ms();
    uint64_t  end_ms = identity->expires * 1000;

    return end_ms > now_ms ? end_ms - now_ms : 0;
}


/*
 * A short life has no time for long pauses: of the slow ones none is longer than a tenth of it,
 * before the end and after it.
 */
static uint64_t
slow_max_ms(const cn_rotation_t *rotation)
{
    const cn_rotation_config_t  *config = &rotation->config;
    uint64_t                     most = life_ms(&rotation->identity) / 10;

    if (rotation->identity.expires == 0 || most > config->slow_max_ms) {
        return config->slow_max_ms;
    }

    return most > config->slow_min_ms ? most : config->slow_min_ms;
}


static uint64_t
backoff_ms(cn_rotation_t *rotation, bool transient)
{
    const cn_rotation_config_t  *config = &rotation->config;

    if (transient && rotation->quick < config->quick_count) {
        return jittered(doubled(config->quick_ms, rotation->quick++, config->slow_max_ms),
                        config->quick_jitter);
    }

    return jittered(doubled(config->slow_min_ms, rotation->failures - 1 - rotation->quick,
                            slow_max_ms(rotation)), config->slow_jitter);
}


/*
 * When the grace begins.  Where that is over already (a clock far ahead of the CA's, or the same
 * file as before), it is asked again before long, but not all the time.
 */
static uint64_t
renewal_ms(const cn_rotation_t *rotation)
{
    const cn_rotation_config_t  *config = &rotation->config;
    const cn_identity_t         *identity = &rotation->identity;
    double                       part = config->grace_ratio + config->grace_jitter * draw();
    double                       grace = (double) life_ms(identity)
        * (part < 0.0 ? 0.0 : part > 1.0 ? 1.0 : part);
    uint64_t                     left = left_ms(identity);
    uint64_t                     pause = left / 2;

    if (grace < (double) left) {
        return cn_clock_wall_ms() + left - (uint64_t) grace;
    }

    pause = pause > config->slow_min_ms ? pause : config->slow_min_ms;
    pause = pause < config->slow_max_ms ? pause : config->slow_max_ms;

    return cn_clock_wall_ms() + pause;
}


/* ---- what is told ---- */

/*
 * Again at every look, until a new one comes.  Little time left is an error where renewing does not
 * work, and not of a fresh one that has a short life.
 */
static void
tell_left(const cn_rotation_t *rotation)
{
    const cn_identity_t  *identity = &rotation->identity;
    uint64_t              left = left_ms(identity);
    const char           *why = rotation->why[0] == '\0' ? "none" : rotation->why;

    if (identity->expires == 0) {
        return;
    }

    if (left == 0) {
        cn_log(CN_LOG_ALERT, "identity", "serve with an expired certificate: expired_for_s=%llu "
               "failures=%u reason=\"%s\"",
               (unsigned long long) (cn_clock_wall_ms() / 1000 - identity->expires),
               rotation->failures, why);

    } else if ((rotation->overdue || rotation->failures > 0)
               && (double) left < (double) life_ms(identity) * rotation->config.low_ratio)
    {
        cn_log(CN_LOG_ERROR, "identity", "the certificate is about to expire: left_s=%llu "
               "failures=%u reason=\"%s\"", (unsigned long long) (left / 1000),
               rotation->failures, why);
    }
}


/*
 * Every look_ms; when little time is left, sometimes in that, and when none is: nothing is told
 * late.
 */
static void
look_again(cn_rotation_t *rotation)
{
    const cn_rotation_config_t  *config = &rotation->config;
    uint64_t                     left = left_ms(&rotation->identity);
    uint64_t                     low = (uint64_t) ((double) life_ms(&rotation->identity)
                                                   * config->low_ratio);
    uint64_t                     next = left > low ? left - low
        : left > 2 * config->slow_min_ms ? left / 3 : left;
    bool                         sooner = next > 0 && next < config->look_ms;

    cn_timer_set(rotation->loop, &rotation->look, sooner ? next + 1 : config->look_ms);
}


static void
look(cn_timer_t *timer)
{
    cn_rotation_t  *rotation = CN_CONTAINER_OF(timer, cn_rotation_t, look);

    tell_left(rotation);
    look_again(rotation);
}


/* ---- steps ---- */

static void
ask(cn_rotation_t *rotation)
{
    rotation->state = ASKING;
    rotation->attempts++;
    cn_timer_set(rotation->loop, &rotation->step, rotation->config.attempt_ms);
    rotation->maker->ask(rotation->context);
}


static void
rest(cn_rotation_t *rotation)
{
    uint64_t  now_ms = cn_clock_wall_ms();
    uint64_t  delay_ms = rotation->renew_at_ms > now_ms ? rotation->renew_at_ms - now_ms : 0;

    rotation->state = RESTING;
    cn_timer_set(rotation->loop, &rotation->step,
                 delay_ms < rotation->config.look_ms ? delay_ms : rotation->config.look_ms);
}


static void
failed(cn_rotation_t *rotation, bool transient, const char *why)
{
    uint64_t  delay_ms;

    rotation->failures++;
    (void) snprintf(rotation->why, sizeof(rotation->why), "%s", why);
    delay_ms = backoff_ms(rotation, transient);
    rotation->state = BACKING_OFF;
    cn_timer_set(rotation->loop, &rotation->step, delay_ms);
    cn_log(CN_LOG_WARN, "identity", "get certificate: failures=%u again_in_ms=%llu reason=\"%s\"",
           rotation->failures, (unsigned long long) delay_ms, rotation->why);

    if (rotation->events->on_failed != NULL) {
        rotation->events->on_failed(rotation->owner, rotation->why);
    }
}


static void
step(cn_timer_t *timer)
{
    cn_rotation_t  *rotation = CN_CONTAINER_OF(timer, cn_rotation_t, step);
    char            why[64];

    switch (rotation->state) {
    case IDLE:
        return;

    case ASKING:
        rotation->maker->cancel(rotation->context);
        (void) snprintf(why, sizeof(why), "no answer within %llu ms",
                        (unsigned long long) rotation->config.attempt_ms);
        failed(rotation, true, why);
        return;

    case RESTING:
        if (cn_clock_wall_ms() < rotation->renew_at_ms) {
            rest(rotation);
            return;
        }

        rotation->overdue = true;
        ask(rotation);
        return;

    case BACKING_OFF:
        ask(rotation);
        return;
    }
}


static void
take(cn_rotation_t *rotation, cn_identity_t *identity)
{
    cn_identity_t  old = rotation->identity;
    bool           same_roots = cn_bytes_equal(old.roots_pem, identity->roots_pem);

    if (same_roots && cn_bytes_equal(old.chain_pem, identity->chain_pem)
        && cn_bytes_equal(old.key_pem, identity->key_pem))
    {
        cn_identity_wipe(identity);
        return;
    }

    rotation->identity = *identity;
    *identity = (cn_identity_t) { .begins = 0 };
    cn_identity_wipe(&old);
    rotation->overdue = false;
    rotation->renewals++;
    cn_log(CN_LOG_INFO, "identity", "have certificate: left_s=%llu roots=\"%s\"",
           (unsigned long long) (left_ms(&rotation->identity) / 1000),
           same_roots ? "as before" : "new");
    tell_left(rotation);
    look_again(rotation);
    rotation->events->on_identity(rotation->owner, &rotation->identity);

    if (!same_roots && rotation->events->on_roots != NULL) {
        rotation->events->on_roots(rotation->owner, &rotation->identity);
    }
}


/* ---- the maker's events ---- */

static void
maker_made(void *owner, cn_identity_t *identity)
{
    cn_rotation_t  *rotation = owner;

    rotation->failures = 0;
    rotation->quick = 0;
    rotation->why[0] = '\0';
    take(rotation, identity);
    rotation->renew_at_ms = renewal_ms(rotation);
    rest(rotation);
}


static void
maker_failed(void *owner, bool transient, const char *why)
{
    failed(owner, transient, why);
}


const cn_maker_events_t  cn_rotation_maker_events = {
    .on_made   = maker_made,
    .on_failed = maker_failed,
};


/* ---- the owner's calls ---- */

cn_rotation_t *
cn_rotation_create(cn_loop_t *loop, const cn_rotation_config_t *config,
    const cn_rotation_events_t *events, void *owner)
{
    cn_rotation_t  *rotation = cn_alloc_zero(sizeof(*rotation));

    if (rotation == NULL) {
        return NULL;
    }

    rotation->loop = loop;
    rotation->config = *config;
    rotation->events = events;
    rotation->owner = owner;
    rotation->step.run = step;
    rotation->look.run = look;

    return rotation;
}


void
cn_rotation_close(cn_rotation_t *rotation)
{
    if (rotation == NULL) {
        return;
    }

    if (rotation->state == ASKING) {
        rotation->maker->cancel(rotation->context);
    }

    cn_timer_cancel(&rotation->step);
    cn_timer_cancel(&rotation->look);
    cn_identity_wipe(&rotation->identity);
    cn_free(rotation);
}


void
cn_rotation_start(cn_rotation_t *rotation, const cn_maker_t *maker, void *context)
{
    CN_BUG_ON(rotation->state != IDLE);
    rotation->maker = maker;
    rotation->context = context;
    cn_timer_set(rotation->loop, &rotation->look, rotation->config.look_ms);
    ask(rotation);
}


void
cn_rotation_hurry(cn_rotation_t *rotation)
{
    if (rotation->state == RESTING || rotation->state == BACKING_OFF) {
        ask(rotation);
    }
}


const cn_identity_t *
cn_rotation_identity(const cn_rotation_t *rotation)
{
    return rotation->identity.key_pem.len == 0 ? NULL : &rotation->identity;
}


cn_rotation_view_t
cn_rotation_view(const cn_rotation_t *rotation)
{
    return (cn_rotation_view_t) {
        .asking      = rotation->state == ASKING,
        .attempts    = rotation->attempts,
        .renewals    = rotation->renewals,
        .failures    = rotation->failures,
        .renew_at_ms = rotation->renew_at_ms,
        .why         = rotation->why,
    };
}
