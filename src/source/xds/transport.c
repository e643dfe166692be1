/* SPDX-License-Identifier: Apache-2.0 */

/*
 * transport - what a cluster says of the way to its endpoints.  To those of this waypoint's own
 * services it is a tunnel or nothing, as each endpoint's address says.  For services of others
 * istiod leaves the choice to a label of the endpoint, in this order:
 *
 *     tunnel: http     a tunnel, to an internal address
 *     tlsMode: istio   mutual TLS with a sidecar: an endpoint that has it is refused
 *     none             as it is
 */

#include "source/xds/xds.h"

#include "cluster.pb-c.h"

#define INTERNAL   CN_XDS_TYPE("envoy.extensions.transport_sockets.internal_upstream.v3." \
                               "InternalUpstreamTransport")
#define RAW        CN_XDS_TYPE("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")
#define MODE_KEY   "envoy.transport_socket_match"


cn_bytes_t
cn_xds_struct_string(const Cairn__Struct *object, const char *key)
{
    for (size_t i = 0; object != NULL && i < object->n_fields; i++) {
        const Cairn__Struct__Field  *field = object->fields[i];

        if (cn_bytes_equal(cn_decoded(field->key), cn_bytes_str(key)) && field->value != NULL
            && field->value->kind_case == CAIRN__VALUE__KIND_STRING_VALUE)
        {
            return cn_decoded(field->value->string_value);
        }
    }

    return CN_BYTES_NONE;
}


static bool
is_type(const Cairn__TransportSocket *socket, const char *type_url)
{
    return socket != NULL && socket->typed_config != NULL
           && cn_bytes_equal(cn_decoded(socket->typed_config->type_url), cn_bytes_str(type_url));
}


/* Through the tunnel as it is: nothing is wrapped around what the application speaks. */
static void
check_tunnel(cn_xds_t *xds, const Cairn__TransportSocket *socket, const char *field)
{
    const Cairn__InternalUpstreamTransport  *internal;
    const Cairn__TransportSocket            *inner;

    if (!is_type(socket, INTERNAL)) {
        cn_read_error(&xds->read, NULL, field, "%.*s is not implemented",
                      CN_BYTES_ARG(socket->typed_config == NULL
                                   ? CN_BYTES("a socket without a type")
                                   : cn_decoded(socket->typed_config->type_url)));
        return;
    }

    internal = cn_decode(&xds->read, &cairn__internal_upstream_transport__descriptor,
                         cn_decoded(socket->typed_config->value), field);
    inner = internal == NULL ? NULL : internal->transport_socket;

    if (inner != NULL && inner->typed_config != NULL && !is_type(inner, RAW)) {
        cn_read_error(&xds->read, NULL, cn_read_path(&xds->read, "%s.transport_socket", field),
                      "%.*s is not implemented",
                      CN_BYTES_ARG(cn_decoded(inner->typed_config->type_url)));
    }
}


/* The one label of a match, or of an endpoint; false: it is none of those above. */
static bool
read_mode(const Cairn__Struct *labels, bool *tunnel, bool *mutual)
{
    size_t  count = labels == NULL ? 0 : labels->n_fields;

    *tunnel = cn_bytes_equal(cn_xds_struct_string(labels, "tunnel"), CN_BYTES("http"));
    *mutual = cn_bytes_equal(cn_xds_struct_string(labels, "tlsMode"), CN_BYTES("istio"));

    return count == (size_t) *tunnel + (size_t) *mutual;
}


static void
check_match(cn_xds_t *xds, const Cairn__Cluster__TransportSocketMatch *match)
{
    const char  *field = "transport_socket_matches";
    bool         tunnel, mutual;

    if (!read_mode(match->match, &tunnel, &mutual) || (tunnel && mutual)
        || match->transport_socket == NULL)
    {
        cn_read_error(&xds->read, NULL, field, "%.*s is not implemented",
                      CN_BYTES_ARG(cn_decoded(match->name)));

    } else if (tunnel) {
        check_tunnel(xds, match->transport_socket, field);

    } else if (!mutual && !is_type(match->transport_socket, RAW)) {
        cn_read_error(&xds->read, NULL, field, "other than a raw buffer is not implemented");
    }
}


/* Filters of a connection to an endpoint: those that tell it who we are and nothing else. */
static void
check_filters(cn_xds_t *xds, const Cairn__Cluster *message)
{
    for (size_t i = 0; i < message->n_filters; i++) {
        const Cairn__Any  *any = message->filters[i]->typed_config;
        bool               skipped = false;

        if (any != NULL) {
            (void) cn_xds_module(xds, cn_decoded(any->type_url), cn_decoded(any->value), &skipped);
        }

        if (!skipped) {
            cn_read_error(&xds->read, NULL, "filters", "%.*s is not implemented",
                          CN_BYTES_ARG(cn_decoded(message->filters[i]->name)));
        }
    }
}


void
cn_xds_read_transport(cn_xds_t *xds, const Cairn__Cluster *message)
{
    xds->by_mode = message->n_transport_socket_matches > 0;
    check_filters(xds, message);

    if (message->transport_socket != NULL && message->transport_socket->typed_config != NULL) {
        check_tunnel(xds, message->transport_socket, "transport_socket");
    }

    for (size_t i = 0; i < message->n_transport_socket_matches; i++) {
        check_match(xds, message->transport_socket_matches[i]);
    }
}


bool
cn_xds_check_mode(cn_xds_t *xds, const Cairn__Metadata *metadata, bool has_tunnel)
{
    const Cairn__Struct  *labels = NULL;
    bool                  tunnel, mutual;

    for (size_t i = 0; metadata != NULL && i < metadata->n_filter_metadata; i++) {
        if (cn_bytes_equal(cn_decoded(metadata->filter_metadata[i]->key), CN_BYTES(MODE_KEY))) {
            labels = metadata->filter_metadata[i]->value;
        }
    }

    (void) read_mode(labels, &tunnel, &mutual);     /* other labels choose nothing */

    if (tunnel != has_tunnel) {
        cn_read_error(&xds->read, NULL, "endpoint.metadata", "is of another kind than the address");
        return false;
    }

    if (mutual && !tunnel) {
        cn_read_error(&xds->read, NULL, "endpoint.metadata",
                      "mutual TLS with a sidecar is not implemented");
        return false;
    }

    return true;
}
