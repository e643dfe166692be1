/* SPDX-License-Identifier: Apache-2.0 */

/*
 * loader - reading, compiling, committing.
 *
 *   idle --start--> reading --> compiling --commit--> dropping what was replaced --> idle
 *                   (each a slice a turn; start meanwhile: once more at the end)
 *
 * When only endpoints have changed over xDS, the model in force gets them, in one step.
 *
 * Reading and dropping are plain functions that run in a fiber; compiling keeps its place by
 * itself.
 */

#include "server/loader.h"

#include "base/block.h"
#include "base/clock.h"
#include "base/fiber.h"

#include <malloc.h>

#define SLICE_US     5000
#define POOL_SIZE    (64 * 1024)
#define TRIM_KEEP    (1024 * 1024)
#define MAP_SIZE     (1024 * 1024)      /* octets of an allocation that is a mapping of its own */
#define UPDATES_MAX  100                /* of endpoints alone, between two whole readings */
#define REPORT_MAX   50                 /* entries that go to the log of each reading */

struct cn_loader_s {
    cn_loop_t                 *loop;
    const cn_bootstrap_t      *bootstrap;
    cn_slab_t                 *slab;
    const cn_loader_events_t  *events;
    void                      *owner;
    cn_ids_t                  *ids;
    cn_publisher_t            *publisher;
    cn_istio_state_t          *state;
    cn_xds_state_t            *xds;             /* NULL: files are read */
    cn_timer_t                 step;
    bool                       again;
    bool                       updating;        /* the next step looks whether endpoints are all */
    bool                       is_current;      /* the model in force is that of the last reading */
    uint32_t                   updates;         /* since then */
    uint64_t                   started_us;

    /* under way */
    cn_fiber_t                *fiber;           /* reads or drops; NULL: neither */
    void                     (*fiber_over)(cn_loader_t *loader);
    cn_status_t                read_status;
    uint32_t                   slices;          /* of the reading */
    cn_compilation_t          *compilation;
    cn_model_t                *next_model;
    cn_pool_t                 *next_pool;
    cn_report_t               *next_report;

    /* replaced, to be dropped */
    cn_model_t                *old_model;
    cn_pool_t                 *old_pool;

    /* in force */
    cn_model_t                *model;
    cn_pool_t                 *pool;
    cn_report_t               *report;
    cn_publication_t           publication;
};


static void
log_report(cn_loader_t *loader)
{
    size_t  told = 0;

    CN_ARRAY_EACH(&loader->next_report->entries, const cn_report_entry_t, entry) {
        if (entry->level == CN_REPORT_NOTE) {
            continue;
        }

        if (told++ == REPORT_MAX) {
            cn_log(CN_LOG_WARN, "config", "more findings: errors=%zu warnings=%zu",
                   loader->next_report->errors, loader->next_report->warnings);
            return;
        }

        cn_log_write_each(entry->level == CN_REPORT_ERROR ? CN_LOG_ERROR : CN_LOG_WARN, "config",
                          "%s", cn_report_line(entry, loader->next_pool));
    }
}


static void
drop_next(cn_loader_t *loader)
{
    if (loader->compilation != NULL) {
        cn_compile_end(loader->compilation);
        loader->compilation = NULL;
    }

    if (loader->next_model != NULL) {
        cn_model_destroy(loader->next_model);
        loader->next_model = NULL;
    }

    cn_pool_destroy(loader->next_pool);
    loader->next_pool = NULL;
    loader->next_report = NULL;
}


static void
finish(cn_loader_t *loader)
{
    if (loader->again) {
        loader->again = false;
        cn_loader_start(loader);
    }
}


/* Runs work in slices, one a turn, then over.  False: memory. */
static bool
start_fiber(cn_loader_t *loader, void (*work)(void *arg), void (*over)(cn_loader_t *loader))
{
    loader->fiber = cn_fiber_create(work, loader);
    loader->fiber_over = over;

    if (loader->fiber != NULL) {
        cn_timer_set(loader->loop, &loader->step, 0);
    }

    return loader->fiber != NULL;
}


static void
drop_work(void *arg)
{
    cn_loader_t  *loader = arg;

    cn_compile_end(loader->compilation);

    if (loader->old_model != NULL) {
        cn_model_destroy(loader->old_model);
    }

    cn_pool_destroy(loader->old_pool);

    /* reading and compiling take several times what is kept, and may not come again for long */
    cn_block_trim_all();
    malloc_trim(TRIM_KEEP);
}


static void
dropped(cn_loader_t *loader)
{
    loader->compilation = NULL;
    loader->old_model = NULL;
    loader->old_pool = NULL;
    finish(loader);
}


/* What was made is in force; what it replaces is dropped in slices. */
static void
keep_next(cn_loader_t *loader)
{
    loader->old_model = loader->model;
    loader->old_pool = loader->pool;
    loader->model = loader->next_model;
    loader->pool = loader->next_pool;
    loader->report = loader->next_report;
    loader->next_model = NULL;
    loader->next_pool = NULL;
    loader->next_report = NULL;

    if (!start_fiber(loader, drop_work, dropped)) {
        drop_work(loader);
        dropped(loader);
    }
}


static void
fail(cn_loader_t *loader, const char *why)
{
    drop_next(loader);
    loader->events->on_failed(loader->owner, why);
}


static void
commit(cn_loader_t *loader)
{
    cn_publication_t  publication;
    cn_status_t       status = cn_publisher_commit(loader->publisher, &publication);

    if (status != CN_OK && status != CN_AGAIN) {
        cn_log(CN_LOG_ERROR, "config", "publish: status=%s", cn_status_name(status));
        fail(loader, "it cannot be published");
        finish(loader);
        return;
    }

    loader->is_current = true;
    loader->updates = 0;
    keep_next(loader);

    if (status == CN_AGAIN) {
        loader->events->on_unchanged(loader->owner);
        return;
    }

    loader->publication = publication;
    atomic_store(cn_slab_generation(loader->slab), publication.generation);
    cn_log(CN_LOG_INFO, "config",
           "publish: generation=%llu services=%zu clusters=%zu errors=%zu written=%zu ms=%llu "
           "slices=%u",
           (unsigned long long) publication.generation, loader->model->services.count,
           loader->model->clusters.count, loader->report->errors, publication.written,
           (unsigned long long) (cn_clock_us_now() - loader->started_us) / 1000, loader->slices);
    loader->events->on_published(loader->owner, &loader->publication);
}


static void
compile_slice(cn_loader_t *loader)
{
    cn_status_t  status = cn_compile_step(loader->compilation, SLICE_US);

    if (status == CN_AGAIN) {
        cn_timer_set(loader->loop, &loader->step, 0);
        return;
    }

    if (status == CN_OK) {
        commit(loader);
        return;
    }

    log_report(loader);
    fail(loader, "it cannot be compiled");
    finish(loader);
}


/* "NS/NAME:PORT" of a plain listener: that service, whatever the Host. */
static cn_status_t
add_pin(cn_model_t *model, const cn_plain_listener_t *listener)
{
    cn_bytes_t   name_space, rest, name, port;
    uint64_t     number;
    cn_pin_t    *pin;
    const char  *host;

    if (!cn_bytes_split(cn_bytes_str(listener->service), '/', &name_space, &rest)
        || !cn_bytes_split(rest, ':', &name, &port)
        || cn_bytes_to_u64(port, UINT16_MAX, &number) != CN_OK)
    {
        return CN_ERR_SYNTAX;
    }

    host = cn_pool_printf(model->pool, "%.*s.%.*s.svc.%.*s", CN_BYTES_ARG(name),
                          CN_BYTES_ARG(name_space), CN_BYTES_ARG(model->cluster_domain));
    pin = cn_array_add(&model->pins);

    if (host == NULL || pin == NULL) {
        return CN_ERR_MEMORY;
    }

    memcpy(pin->ip, listener->address.ip, sizeof(pin->ip));
    pin->port = listener->address.port;
    pin->service_port = (uint16_t) number;
    pin->service_host = cn_bytes_str(host);

    return CN_OK;
}


static cn_status_t
add_pins(cn_loader_t *loader)
{
    CN_ARRAY_EACH(&loader->bootstrap->plaintext, const cn_plain_listener_t, listener) {
        cn_status_t  status;

        if (listener->service[0] == '\0') {
            continue;
        }

        status = add_pin(loader->next_model, listener);

        if (status != CN_OK) {
            cn_report_add(loader->next_report, CN_REPORT_ERROR, NULL, "",
                          "listen.plaintext.service", "expected NS/NAME:PORT, got \"%s\"",
                          listener->service);
            return status;
        }
    }

    return CN_OK;
}


static cn_status_t
read_model(cn_loader_t *loader)
{
    cn_status_t            status;
    const cn_bootstrap_t  *bootstrap = loader->bootstrap;
    cn_source_config_t     config = {
        .directory = bootstrap->source_files,
        .waypoint = bootstrap->waypoint,
        .trust_domain = cn_bytes_str(bootstrap->trust_domain),
        .trust_aliases = bootstrap->trust_aliases.items,
        .trust_alias_count = bootstrap->trust_aliases.count,
        .access_log = strcmp(bootstrap->access_log_path, "off") != 0,
        .http_10 = bootstrap->http_10,
        .modules = cn_module_configs,
    };

    if (loader->xds != NULL) {
        status = cn_xds_build(loader->xds, &config, loader->next_report, &loader->next_model);
        return status == CN_OK ? add_pins(loader) : status;
    }

    if (config.directory == NULL) {
        cn_report_add(loader->next_report, CN_REPORT_ERROR, NULL, "", "source.files",
                      "expected a directory of resources (source.files, or -r)");
        return CN_ERR_NOT_FOUND;
    }

    status = cn_istio_read(&config, &loader->state, loader->next_report, &loader->next_model);

    return status == CN_OK ? add_pins(loader) : status;
}


static void
read_work(void *arg)
{
    cn_loader_t  *loader = arg;

    loader->read_status = read_model(loader);
}


/*
 * There is nothing to publish yet: of a push in several parts the last has not come, so that there
 * may be clusters and no service.
 */
static bool
is_incomplete(const cn_loader_t *loader)
{
    return loader->xds != NULL
           && (loader->read_status == CN_OK || loader->read_status == CN_ERR_NOT_FOUND)
           && loader->events->may_publish != NULL && !loader->events->may_publish(loader->owner);
}


/* The model is read, or cannot be. */
static void
reading_over(cn_loader_t *loader)
{
    if (loader->events->on_read != NULL) {
        loader->events->on_read(loader->owner);
    }

    if (is_incomplete(loader)) {
        drop_next(loader);
        loader->events->on_unchanged(loader->owner);
        finish(loader);
        return;
    }

    log_report(loader);

    if (loader->read_status == CN_OK) {
        loader->compilation = cn_compile_start(loader->next_model, loader->ids, loader->slab,
                                               loader->publisher, loader->next_report);
    }

    if (loader->compilation == NULL) {
        fail(loader, loader->read_status == CN_ERR_NOT_FOUND ? "it has no service"
             : "it cannot be read");
        finish(loader);
        return;
    }

    cn_timer_set(loader->loop, &loader->step, 0);
}


/* All is read. */
static void
start_reading(cn_loader_t *loader)
{
    loader->is_current = false;
    loader->next_pool = cn_pool_create(POOL_SIZE, NULL);
    loader->next_report = loader->next_pool != NULL ? cn_report_create(loader->next_pool) : NULL;

    if (loader->next_report == NULL || !start_fiber(loader, read_work, reading_over)) {
        cn_log(CN_LOG_ERROR, "config", "read: out of memory");
        fail(loader, "out of memory");
    }
}


/* CN_OK: published; CN_AGAIN: nothing is to be; else all must be read. */
static cn_status_t
publish_endpoints(cn_loader_t *loader, const cn_array_t *positions)
{
    cn_publication_t  publication;
    cn_status_t       status = cn_compile_endpoints(loader->model, positions, loader->ids,
                                                    loader->slab, loader->publisher);

    if (status != CN_OK) {
        return status == CN_AGAIN ? CN_ERR_LIMIT : status;
    }

    status = cn_publisher_commit(loader->publisher, &publication);

    if (status == CN_OK) {
        loader->publication = publication;
        atomic_store(cn_slab_generation(loader->slab), publication.generation);
        cn_log(CN_LOG_INFO, "config",
               "publish: generation=%llu endpoints_of=%zu written=%zu us=%llu",
               (unsigned long long) publication.generation, positions->count, publication.written,
               (unsigned long long) (cn_clock_us_now() - loader->started_us));
    }

    return status;
}


/* Whether only endpoints had changed, and are in force. */
static bool
update(cn_loader_t *loader)
{
    cn_pool_t    *pool = cn_pool_create(4096, NULL);
    cn_report_t  *report = pool == NULL ? NULL : cn_report_create(pool);
    cn_array_t    positions = CN_ARRAY_INIT(pool, size_t);
    cn_status_t   status = CN_ERR_MEMORY;

    if (report != NULL
        && cn_xds_update_endpoints(loader->xds, report, loader->model, &positions) == CN_OK)
    {
        status = publish_endpoints(loader, &positions);
    }

    cn_pool_destroy(pool);

    if (status == CN_OK) {
        loader->events->on_published(loader->owner, &loader->publication);

    } else if (status == CN_AGAIN) {
        loader->events->on_unchanged(loader->owner);
    }

    return status == CN_OK || status == CN_AGAIN;
}


static void
slice(cn_timer_t *timer)
{
    cn_loader_t  *loader = CN_CONTAINER_OF(timer, cn_loader_t, step);

    if (loader->updating) {
        loader->updating = false;

        if (update(loader)) {
            loader->updates++;
            finish(loader);

        } else {
            start_reading(loader);
        }
        return;
    }

    if (loader->fiber == NULL) {
        compile_slice(loader);
        return;
    }

    loader->slices++;

    if (!cn_fiber_run(loader->fiber, SLICE_US)) {
        cn_timer_set(loader->loop, timer, 0);
        return;
    }

    cn_fiber_destroy(loader->fiber);
    loader->fiber = NULL;
    loader->fiber_over(loader);
}


void
cn_loader_start(cn_loader_t *loader)
{
    if (loader->fiber != NULL || loader->compilation != NULL || loader->updating) {
        loader->again = true;
        return;
    }

    loader->started_us = cn_clock_us_now();
    loader->slices = 0;

    if (loader->xds != NULL && loader->is_current && loader->updates < UPDATES_MAX) {
        loader->updating = true;
        cn_timer_set(loader->loop, &loader->step, 0);
        return;
    }

    start_reading(loader);
}


cn_loader_t *
cn_loader_create(cn_loop_t *loop, const cn_bootstrap_t *bootstrap, cn_slab_t *slab,
    cn_xds_state_t *xds, const cn_loader_events_t *events, void *owner)
{
    cn_loader_t  *loader = cn_alloc_zero(sizeof(cn_loader_t));

    if (loader == NULL) {
        return NULL;
    }

    /*
     * A push is one run of tens of MB for a moment.  Once it was given back the C library would put
     * the next one on its heap, which then stays that large around what is kept.
     */
    (void) mallopt(M_MMAP_THRESHOLD, MAP_SIZE);

    loader->loop = loop;
    loader->bootstrap = bootstrap;
    loader->slab = slab;
    loader->xds = xds;
    loader->events = events;
    loader->owner = owner;
    loader->step.run = slice;
    loader->ids = cn_ids_create(cn_slab_last_id(slab));
    loader->publisher = cn_publisher_create(atomic_load(cn_slab_generation(slab)));

    if (loader->ids == NULL || loader->publisher == NULL) {
        return NULL;            /* the process cannot start and ends */
    }

    return loader;
}


const cn_model_t *
cn_loader_model(const cn_loader_t *loader)
{
    return loader->model;
}


const cn_report_t *
cn_loader_report(const cn_loader_t *loader)
{
    return loader->report;
}


const cn_publication_t *
cn_loader_publication(const cn_loader_t *loader)
{
    return loader->publication.generation > 0 ? &loader->publication : NULL;
}
