/* SPDX-License-Identifier: Apache-2.0 */

/*
 * rotation - keeps a workload's identity fresh: asks for one at the start and for the next when a
 * part of its life is over, tries again while that fails, and complains the louder the less time is
 * left.  What it has serves meanwhile, and beyond its end, as a peer's clock may differ.
 */

#ifndef CN_SOURCE_IDENTITY_ROTATION_H
#define CN_SOURCE_IDENTITY_ROTATION_H

#include "event/loop.h"
#include "source/identity/identity.h"

/*
 * Who makes identities: Istio's CA (istio_ca.h), files (files.h).  It is asked once and answers
 * once, by an event and not within the call.
 */
typedef struct {
    void  (*ask)(void *maker);
    void  (*cancel)(void *maker);       /* no answer is wanted any more */
} cn_maker_t;

/* What a maker tells. */
typedef struct {
    /* The owner's from now on: *identity is none after it. */
    void  (*on_made)(void *owner, cn_identity_t *identity);
    /* transient: the same may well succeed in a moment.  why lives until the event returns. */
    void  (*on_failed)(void *owner, bool transient, const char *why);
} cn_maker_events_t;

typedef struct {
    double    grace_ratio;      /* 0.5; it is renewed when this part of its life is left, .. */
    double    grace_jitter;     /* 0.01; .. that much earlier or later */
    uint64_t  attempt_ms;       /* 15,000; without an answer it has failed: the last resort */
    uint32_t  quick_count;      /* 4; tries behind the first after a transient failure, from .. */
    uint64_t  quick_ms;         /* 100; .. on, doubled each time */
    uint64_t  slow_min_ms;      /* 1,000; then, or after other failures, doubled .. */
    uint64_t  slow_max_ms;      /* 30,000; .. up to here, or a tenth of a shorter life */
    double    slow_jitter;      /* 0.2 */
    double    quick_jitter;     /* 0.1 */
    uint64_t  look_ms;          /* 60,000; how often the time that is left is looked at, and told */
    /* 0.1; less of its life than this left, and no renewal in sight, is an error */
    double    low_ratio;
} cn_rotation_config_t;

typedef struct {
    /* A new one is there; a view.  Not for one that equals what was there. */
    void  (*on_identity)(void *owner, const cn_identity_t *identity);
    /* Behind it, when the roots are others than before.  May be NULL. */
    void  (*on_roots)(void *owner, const cn_identity_t *identity);
    /* An attempt failed: whoever owns the way to the maker may build it anew.  May be NULL. */
    void  (*on_failed)(void *owner, const char *why);
} cn_rotation_events_t;

typedef struct cn_rotation_s cn_rotation_t;

/* For people and metrics. */
typedef struct {
    bool         asking;
    uint64_t     attempts;
    uint64_t     renewals;              /* identities that came */
    uint32_t     failures;              /* since the last that came */
    uint64_t     renew_at_ms;           /* wall clock; 0: none yet */
    const char  *why;                   /* of the last failure; "" when there is none since */
} cn_rotation_view_t;

/* The defaults named above. */
cn_rotation_config_t cn_rotation_defaults(void);

/* config is copied, events are referred to.  Nothing happens yet.  NULL: memory. */
cn_rotation_t *cn_rotation_create(cn_loop_t *loop, const cn_rotation_config_t *config,
    const cn_rotation_events_t *events, void *owner) CN_MUST_USE;

/* Wipes the identity; an attempt is cancelled.  Not within an event of it.  NULL does nothing. */
void cn_rotation_close(cn_rotation_t *rotation);

/* Asks maker now and from now on. Maker and its context outlive the rotation. */
void cn_rotation_start(cn_rotation_t *rotation, const cn_maker_t *maker, void *context);

/* Asks now instead of later, unless an attempt is under way; before the start it does nothing. */
void cn_rotation_hurry(cn_rotation_t *rotation);

/* What a maker is created with: these events, and the rotation as their owner. */
extern const cn_maker_events_t  cn_rotation_maker_events;

/* A view until the next event; NULL: there is none yet. */
const cn_identity_t *cn_rotation_identity(const cn_rotation_t *rotation);
cn_rotation_view_t cn_rotation_view(const cn_rotation_t *rotation);

#endif
