/* SPDX-License-Identifier: Apache-2.0 */

/* common - small things that all readers of xDS need. */

#include "source/xds/xds.h"

#include <arpa/inet.h>
#include <stdio.h>

#define BORROWED_SIZE  4096

/* Filters that decide nothing, and why they may be left out. */
static const char *const  observers[] = {
    /* counts messages of gRPC for metrics */
    CN_XDS_TYPE("envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"),
    /* does nothing without a policy, and a route's policy is refused */
    CN_XDS_TYPE("envoy.extensions.filters.http.cors.v3.Cors"),
    /* translates gRPC-Web: a request that is not translated is the application's to refuse */
    CN_XDS_TYPE("envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"),
};

/* Types in a TypedStruct: who the peers are, which cairn knows from workloads. */
static const char *const  struct_observers[] = {
    CN_XDS_TYPE("io.istio.http.peer_metadata.Config"),
    CN_XDS_TYPE("envoy.tcp.metadataexchange.config.MetadataExchange"),
    CN_XDS_TYPE("envoy.extensions.network_filters.peer_metadata.UpstreamConfig"),
};


bool
cn_xds_parse_name(cn_bytes_t name, cn_xds_name_t *parts)
{
    cn_bytes_t  direction, port, protocol, rest = name;
    uint64_t    number;

    if (!cn_bytes_split(rest, '|', &direction, &rest) || !cn_bytes_split(rest, '|', &port, &rest)
        || !cn_bytes_split(rest, '|', &protocol, &parts->host) || parts->host.len == 0
        || cn_bytes_to_u64(port, 65535, &number) != CN_OK || number == 0)
    {
        return false;
    }

    parts->port = (uint16_t) number;
    parts->is_http = cn_bytes_starts_with(protocol, CN_BYTES("http"));

    return cn_bytes_equal(direction, CN_BYTES("inbound-vip"))
           || cn_bytes_equal(direction, CN_BYTES("outbound"));
}


void
cn_xds_label(cn_xds_t *xds, const char *kind, cn_bytes_t name)
{
    cn_resource_t  *resource = cn_pool_alloc_zero(xds->pool, sizeof(*resource));

    if (resource == NULL) {
        return;
    }

    resource->label = cn_pool_printf(xds->pool, "%s %.*s", kind, CN_BYTES_ARG(name));
    xds->read.resource = resource->label == NULL ? NULL : resource;
}


cn_pool_t *
cn_xds_borrow_pool(cn_xds_t *xds)
{
    return cn_pool_create(BORROWED_SIZE, &xds->model->account);
}


void *
cn_xds_add(cn_xds_t *xds, cn_array_t *array)
{
    void  *slot = cn_array_add(array);

    if (slot == NULL) {
        cn_read_no_memory(&xds->read);
    }

    return slot;
}


bool
cn_xds_ip(cn_bytes_t text, uint8_t ip[16])
{
    char  name[INET6_ADDRSTRLEN];

    if (text.len >= sizeof(name)) {
        return false;
    }

    snprintf(name, sizeof(name), "%.*s", CN_BYTES_ARG(text));
    memset(ip, 0, 16);

    if (inet_pton(AF_INET, name, ip + 12) == 1) {
        ip[10] = ip[11] = 0xff;
        return true;
    }

    return inet_pton(AF_INET6, name, ip) == 1;
}


uint32_t
cn_xds_duration(cn_xds_t *xds, const Cairn__Duration *duration, const char *field)
{
    int64_t  seconds, nanos;
    int64_t  ms;

    if (duration == NULL) {
        return 0;
    }

    seconds = duration->has_seconds ? duration->seconds : 0;
    nanos = duration->has_nanos ? duration->nanos : 0;

    if (seconds < 0 || nanos < 0 || nanos > 999999999 || seconds > UINT32_MAX / 2000) {
        cn_read_error(&xds->read, NULL, field, "is not in 0s..24d");
        return 0;
    }

    ms = seconds * 1000 + nanos / 1000000;

    return ms == 0 && nanos > 0 ? 1 : (uint32_t) ms;
}


static bool
is_listed(cn_bytes_t type_url, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (cn_bytes_equal(type_url, cn_bytes_str(list[i]))) {
            return true;
        }
    }

    return false;
}


/* Whether a TypedStruct holds one of struct_observers. */
static bool
observes(const cn_xds_t *xds, cn_bytes_t value)
{
    cn_read_t                   read = xds->read;
    const Cairn__TypedStruct   *held;

    read.report = cn_report_create(xds->pool);      /* the caller tells what it makes of it */

    if (read.report == NULL) {
        return false;
    }

    held = cn_decode(&read, &cairn__typed_struct__descriptor, value, "");

    return held != NULL && is_listed(cn_decoded(held->type_url), struct_observers,
                                     CN_COUNT_OF(struct_observers));
}


const cn_module_config_t *
cn_xds_module(const cn_xds_t *xds, cn_bytes_t type_url, cn_bytes_t value, bool *skipped)
{
    *skipped = is_listed(type_url, observers, CN_COUNT_OF(observers))
               || (cn_bytes_equal(type_url, CN_BYTES(CN_XDS_TYPE("udpa.type.v1.TypedStruct")))
                   && observes(xds, value));

    for (const cn_module_config_t *const *at = xds->config->modules; *at != NULL; at++) {
        const char *const  *type = (*at)->type_urls;

        for (; type != NULL && *type != NULL; type++) {
            if (cn_bytes_equal(type_url, cn_bytes_str(*type))) {
                *skipped = (*at)->left_out && (*at)->observes;
                return *at;
            }
        }
    }

    return NULL;
}
