/* SPDX-License-Identifier: Apache-2.0 */

/*
 * listener - istiod describes a waypoint as Envoy listeners that feed each other.  Only
 * main_internal says something about services: a tree from addresses and ports to chains, and the
 * chains.  connect_terminate stands before all of them.  (terminate.c)
 *
 * What cannot be used of main_internal is contained in three steps:
 *
 *   a unit     the chains of one port of one service: its own last good octets, or it is closed
 *   addresses  of one service, or of all when the tree itself cannot be read: those that the last
 *              good listener's tree gives
 *   the frame  a chain without a name may have the policies of any port: the last good listener
 *              as a whole, or all chains are closed
 */

#include "source/xds/xds.h"

#include "base/fiber.h"
#include "source/xds/wire.h"

#define MAIN              "main_internal"
#define SCRATCH_SIZE      4096
#define CHAIN_NAME_FIELD  7

/* A port of a service in one listener. */
typedef struct {
    cn_bytes_t  key;                    /* "PORT|HOST" */
    cn_array_t  halves;                 /* cn_xds_half_t, HTTP first */
} unit_t;

/*
 * A listener that could be read as far as all of its chains are known by name.  What it is made of
 * lives as long as the frame: nothing of the model may refer to it.
 */
typedef struct {
    cn_pool_t              *pool;
    const Cairn__Listener  *listener;
    cn_array_t              units;      /* unit_t */
    bool                    unnamed;    /* a chain is not in them, as its name cannot be read */
} frame_t;


/* ---- the frame ---- */

static int
compare_halves(const void *a, const void *b)
{
    return ((const cn_xds_half_t *) b)->name.is_http - ((const cn_xds_half_t *) a)->name.is_http;
}


/* False: it has no name that can be read.  A chain to workloads, and not services, is no half. */
static bool
read_name(cn_xds_t *xds, cn_bytes_t value, cn_xds_half_t *half, bool *is_half)
{
    if (!cn_wire_bytes(value, CHAIN_NAME_FIELD, &half->full_name)) {
        cn_read_error(&xds->read, NULL, "filter_chain", "has no name that can be read");
        return false;
    }

    half->value = value;
    *is_half = cn_xds_parse_name(half->full_name, &half->name);

    return true;
}


/* NULL: memory, reported. */
static unit_t *
get_unit(cn_xds_t *xds, cn_bytes_t key, cn_map_t *positions, frame_t *frame)
{
    uintptr_t   position = (uintptr_t) cn_map_get(positions, key);
    unit_t     *made;

    if (position > 0) {
        return CN_ARRAY_AT(&frame->units, unit_t, position - 1);
    }

    made = cn_xds_add(xds, &frame->units);

    if (made == NULL) {
        return NULL;
    }

    if (cn_map_set(positions, key, (void *) frame->units.count) != CN_OK) {
        frame->units.count--;
        cn_read_no_memory(&xds->read);
        return NULL;
    }

    *made = (unit_t) { .key = key, .halves = CN_ARRAY_INIT(frame->pool, cn_xds_half_t) };

    return made;
}


static bool
add_half(cn_xds_t *xds, const cn_xds_half_t *half, cn_map_t *positions, frame_t *frame)
{
    const char     *text = cn_pool_printf(frame->pool, "%u|%.*s", half->name.port,
                                          CN_BYTES_ARG(half->name.host));
    unit_t         *unit = text == NULL
                           ? NULL : get_unit(xds, cn_bytes_str(text), positions, frame);
    cn_xds_half_t  *slot = unit == NULL ? NULL : cn_xds_add(xds, &unit->halves);

    if (slot == NULL) {
        cn_read_no_memory(&xds->read);
        return false;
    }

    *slot = *half;

    return true;
}


static void
close_frame(frame_t *frame)
{
    cn_pool_destroy(frame->pool);
    *frame = (frame_t) { .pool = NULL };
}


/*
 * NULL listener: it is none.  read.errors tells whether it can be used as it is.  The caller closes
 * it.
 */
static void
open_frame(cn_xds_t *xds, cn_bytes_t value, frame_t *frame)
{
    cn_map_t  *positions;

    *frame = (frame_t) { .pool = cn_xds_borrow_pool(xds) };
    positions = frame->pool == NULL ? NULL : cn_map_create_in(frame->pool);

    if (positions == NULL) {
        cn_read_no_memory(&xds->read);
        return;
    }

    frame->units = CN_ARRAY_INIT(frame->pool, unit_t);
    xds->read.pool = frame->pool;
    frame->listener = cn_decode(&xds->read, &cairn__listener__descriptor, value, "listener");
    xds->read.pool = xds->pool;

    for (size_t i = 0; frame->listener != NULL && i < frame->listener->n_filter_chains; i++) {
        cn_xds_half_t  half;
        bool           is_half = false;

        if (!read_name(xds, cn_decoded(frame->listener->filter_chains[i]), &half, &is_half)
            || (is_half && !add_half(xds, &half, positions, frame)))
        {
            frame->unnamed = true;
        }
    }

    CN_ARRAY_EACH(&frame->units, unit_t, unit) {
        if (cn_array_sort(&unit->halves, compare_halves) != CN_OK) {
            cn_read_no_memory(&xds->read);
            frame->unnamed = true;
        }
    }
}


/* ---- units ---- */

/* Its chains' octets as fields of a listener, which is how they are read again. */
static cn_bytes_t
pack_unit(const unit_t *unit, cn_pool_t *pool)
{
    Cairn__Listener  listener = CAIRN__LISTENER__INIT;
    size_t           count = unit->halves.count;
    uint8_t         *octets;

    listener.filter_chains = cn_pool_alloc(pool, count * sizeof(*listener.filter_chains));

    if (listener.filter_chains == NULL) {
        return CN_BYTES_NONE;
    }

    listener.n_filter_chains = count;

    for (size_t i = 0; i < count; i++) {
        cn_bytes_t  value = CN_ARRAY_AT(&unit->halves, const cn_xds_half_t, i)->value;

        listener.filter_chains[i] = (ProtobufCBinaryData) {
            .len = value.len, .data = (uint8_t *) (uintptr_t) value.ptr,
        };
    }

    octets = cn_pool_octets(pool, cairn__listener__get_packed_size(&listener));

    return octets == NULL
           ? CN_BYTES_NONE : cn_bytes(octets, cairn__listener__pack(&listener, octets));
}


static void
read_halves(cn_xds_t *xds, const unit_t *unit)
{
    CN_ARRAY_EACH(&unit->halves, const cn_xds_half_t, half) {
        cn_xds_label(xds, "FilterChain", half->full_name);
        cn_xds_read_half(xds, half);
    }
}


/*
 * The chain of the unit's last good octets in the place of the one that is refused, which has no
 * port meanwhile.
 */
static void
replace_chain(cn_xds_t *xds, const unit_t *good, cn_service_t *service, cn_chain_config_t *chain)
{
    size_t              errors = xds->read.errors;
    cn_chain_config_t   refused = *chain;
    cn_chain_config_t  *made;

    chain->port = 0;
    read_halves(xds, good);
    chain = cn_xds_chain_of_port(service, 0);       /* they move when one is added */
    made = cn_xds_chain_of_port(service, refused.port);
    *chain = made != NULL && xds->read.errors == errors ? *made : refused;

    if (made != NULL) {
        service->chains.count--;                    /* the last that was added */
    }
}


static void
read_good_unit(cn_xds_t *xds, const unit_t *unit)
{
    const cn_xds_name_t  *name = &CN_ARRAY_AT(&unit->halves, const cn_xds_half_t, 0)->name;
    cn_service_t         *service = cn_xds_service(xds, name->host);
    cn_chain_config_t    *chain = service == NULL
                                  ? NULL : cn_xds_chain_of_port(service, name->port);
    cn_bytes_t            good = cn_xds_good_unit(xds->state, unit->key);
    frame_t               frame;

    if (good.len == 0 || chain == NULL) {
        return;
    }

    open_frame(xds, good, &frame);

    if (frame.listener != NULL && !frame.unnamed && frame.units.count == 1) {
        replace_chain(xds, CN_ARRAY_AT(&frame.units, const unit_t, 0), service, chain);
    }

    close_frame(&frame);
}


/* What was read of it could be used. */
static void
remember_unit(cn_xds_t *xds, const unit_t *unit)
{
    cn_pool_t  *pool = cn_pool_create(SCRATCH_SIZE, NULL);

    if (pool != NULL) {
        cn_xds_set_good_unit(xds->state, unit->key, pack_unit(unit, pool));
    }

    cn_pool_destroy(pool);
}


static void
read_unit(cn_xds_t *xds, const unit_t *unit, const cn_xds_resource_t *resource)
{
    size_t        errors = xds->read.errors;
    size_t        first = xds->read.report->entries.count;
    cn_report_t  *loud;

    read_halves(xds, unit);

    if (xds->read.errors == errors) {
        remember_unit(xds, unit);
        return;
    }

    cn_xds_set_good_unit(xds->state, unit->key, CN_BYTES_NONE);
    cn_xds_blame(xds, CN_XDS_LISTENERS, resource, "Listener " MAIN, first);
    loud = cn_xds_hush(xds);
    read_good_unit(xds, unit);
    xds->read.report = loud;
}


/* ---- addresses ---- */

/* Nobody's, or those of these hosts. */
static void
forget_addresses(cn_xds_t *xds, const cn_map_t *hosts)
{
    CN_ARRAY_EACH(&xds->model->services, cn_service_t, service) {
        if (hosts == NULL || cn_map_get(hosts, service->host) != NULL) {
            service->addresses.count = 0;
        }
    }
}


/* False: they are, in part or whole, those of the last good listener. */
static bool
read_addresses(cn_xds_t *xds, const frame_t *frame, cn_xds_resource_t *resource)
{
    const Cairn__Listener  *good;
    cn_report_t            *loud;
    cn_xds_tree_t           found, ignored;
    size_t                  first = xds->read.report->entries.count;

    cn_xds_label(xds, "Listener", CN_BYTES(MAIN));
    xds->read.pool = frame->pool;
    cn_xds_walk_tree(xds, frame->listener->filter_chain_matcher, NULL, &found);
    xds->read.pool = xds->pool;

    if (!found.broken && found.hosts == NULL && !found.partial) {
        return true;
    }

    cn_xds_blame(xds, CN_XDS_LISTENERS, resource, "Listener " MAIN, first);

    if (resource->good.len == 0 || (!found.broken && found.hosts == NULL)) {
        return false;
    }

    loud = cn_xds_hush(xds);
    good = cn_decode(&xds->read, &cairn__listener__descriptor, resource->good, "listener");

    if (good != NULL) {
        const cn_map_t  *hosts = found.broken ? NULL : found.hosts;

        forget_addresses(xds, hosts);
        cn_xds_walk_tree(xds, good->filter_chain_matcher, hosts, &ignored);
    }

    xds->read.report = loud;

    return false;
}


/* ---- chains that go where a connection was sent ---- */

static bool
goes_where_it_was_sent(const cn_xds_t *xds, const cn_chain_config_t *chain)
{
    if (cn_map_get(xds->original, chain->tcp_cluster) != NULL) {
        return true;
    }

    CN_ARRAY_EACH(&chain->routes, const cn_route_t, route) {
        CN_ARRAY_EACH(&route->destinations, const cn_destination_t, destination) {
            if (cn_map_get(xds->original, destination->cluster) != NULL) {
                return true;
            }
        }
    }

    return false;
}


/* Of a service without addresses nobody gets there, and istiod has these of every headless one. */
static bool
refuse_original(cn_xds_t *xds, const cn_xds_resource_t *resource)
{
    bool  any = false;

    CN_ARRAY_EACH(&xds->model->services, cn_service_t, service) {
        CN_ARRAY_EACH(&service->chains, cn_chain_config_t, chain) {
            size_t  first = xds->read.report->entries.count;

            if (service->addresses.count > 0 && !chain->refused
                && goes_where_it_was_sent(xds, chain))
            {
                cn_xds_label(xds, "FilterChain", chain->name);
                cn_read_error(&xds->read, NULL, "cluster", "of type ORIGINAL_DST for a service "
                              "that has addresses is not implemented");
                cn_xds_blame(xds, CN_XDS_LISTENERS, resource, "Listener " MAIN, first);
                chain->refused = true;
                any = true;
            }
        }
    }

    return any;
}


/* ---- main_internal ---- */

/* What was pushed, or else the last good; false: neither can be read. */
static bool
choose_frame(cn_xds_t *xds, cn_xds_resource_t *resource, frame_t *frame, bool *is_pushed)
{
    size_t        errors = xds->read.errors;
    size_t        first = xds->read.report->entries.count;
    frame_t       good = { .listener = NULL };
    cn_report_t  *loud;

    *frame = (frame_t) { .pool = NULL };
    *is_pushed = true;

    if (resource->refusal != NULL) {
        cn_read_error(&xds->read, NULL, NULL, "%s", resource->refusal);

    } else {
        open_frame(xds, resource->pushed, frame);
    }

    if (xds->read.errors == errors) {
        return true;
    }

    cn_xds_blame(xds, CN_XDS_LISTENERS, resource, "Listener " MAIN, first);

    if (resource->good.len > 0) {
        loud = cn_xds_hush(xds);
        errors = xds->read.errors;
        open_frame(xds, resource->good, &good);
        xds->read.report = loud;

        if (xds->read.errors == errors) {
            close_frame(frame);
            *frame = good;
            *is_pushed = false;
            return true;
        }

        close_frame(&good);
    }

    /* whose chain it is that has no name, nobody knows */
    xds->all_refused = true;

    return frame->listener != NULL;
}


void
cn_xds_read_main(cn_xds_t *xds, cn_xds_resource_t *resource)
{
    cn_report_t  *loud = xds->read.report;
    frame_t       frame;
    bool          is_pushed, known;

    cn_xds_label(xds, "Listener", CN_BYTES(MAIN));

    if (!choose_frame(xds, resource, &frame, &is_pushed)) {
        close_frame(&frame);
        return;
    }

    if (!is_pushed) {
        loud = cn_xds_hush(xds);        /* what is wrong within was told when it was new */
    }

    CN_ARRAY_EACH(&frame.units, const unit_t, unit) {
        if (unit->halves.count > 0) {   /* else memory was spent, and all is refused */
            read_unit(xds, unit, resource);
        }

        cn_fiber_rest();
    }

    xds->main_known = is_pushed && !frame.unnamed;
    known = read_addresses(xds, &frame, resource);

    if (!refuse_original(xds, resource) && known && xds->main_known) {
        cn_xds_set_good(xds->state, resource);
    }

    xds->read.report = loud;
    close_frame(&frame);
}
