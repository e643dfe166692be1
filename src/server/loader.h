/* SPDX-License-Identifier: Apache-2.0 */

/*
 * loader - from the source to a publication: reads the configuration and compiles it, both in
 * slices of 5 ms, and commits it.  A wish to load while one is under way is remembered once.
 */

#ifndef CN_SERVER_LOADER_H
#define CN_SERVER_LOADER_H

#include "event/loop.h"
#include "model/compile.h"
#include "server/bootstrap.h"
#include "source/source.h"

typedef struct cn_loader_s cn_loader_t;

typedef struct {
    /* A publication to send; its descriptors are the publisher's. */
    void  (*on_published)(void *owner, const cn_publication_t *publication);
    /* The configuration says what it said before: nothing to send. */
    void  (*on_unchanged)(void *owner);
    /* There is no model to be had; the last publication stands.  why: a literal. */
    void  (*on_failed)(void *owner, const char *why);
    /* A reading is over, to whatever end: its source may change again.  May be NULL. */
    void  (*on_read)(void *owner);
    /*
     * Whether a model may be published: a first one waits until its source has said all that it
     * needs.  If not, on_unchanged follows.  NULL: always.
     */
    bool  (*may_publish)(void *owner);
} cn_loader_events_t;

/*
 * xds: the state to be read; NULL: it reads the directory that the bootstrap file names.  All
 * arguments outlive the loader.  NULL: memory.
 */
cn_loader_t *cn_loader_create(cn_loop_t *loop, const cn_bootstrap_t *bootstrap, cn_slab_t *slab,
    cn_xds_state_t *xds, const cn_loader_events_t *events, void *owner) CN_MUST_USE;

/* Reads and publishes anew. */
void cn_loader_start(cn_loader_t *loader);

/* The model and report of the last good reading; NULL before the first.  Until the next one. */
const cn_model_t *cn_loader_model(const cn_loader_t *loader);
const cn_report_t *cn_loader_report(const cn_loader_t *loader);

/* What was published last, or NULL. */
const cn_publication_t *cn_loader_publication(const cn_loader_t *loader);

#endif
