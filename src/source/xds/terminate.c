/* SPDX-License-Identifier: Apache-2.0 */

/*
 * terminate - the listener connect_terminate, which all peers come in by: what stands before
 * CONNECT, and of which trust domains a peer may be.  Nobody is let in by what is not said.
 */

#include "source/xds/xds.h"

#define HTTP_MANAGER  CN_XDS_TYPE("envoy.extensions.filters.network.http_connection_manager.v3." \
                                  "HttpConnectionManager")
#define TLS           CN_XDS_TYPE("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext")
#define WHERE         "connect_terminate"
#define VALIDATION    WHERE ": match_typed_subject_alt_names"
#define DOMAINS_MAX   64                /* a worker takes no more */


/* ---- what stands before CONNECT ---- */

/* Before CONNECT stand filters that only pass on what is known; any other might restrict. */
static bool
passes_on(const cn_xds_t *xds, const Cairn__Any *any)
{
    static const char *const  known[] = {
        CN_XDS_TYPE("envoy.extensions.filters.http.set_filter_state.v3.Config"),
        CN_XDS_TYPE("envoy.extensions.filters.http.router.v3.Router"),
    };
    bool                      skipped = false;

    if (any == NULL) {
        return false;
    }

    for (size_t i = 0; i < CN_COUNT_OF(known); i++) {
        if (cn_bytes_equal(cn_decoded(any->type_url), cn_bytes_str(known[i]))) {
            return true;
        }
    }

    (void) cn_xds_module(xds, cn_decoded(any->type_url), cn_decoded(any->value), &skipped);

    return skipped;
}


static void
check_tunnel(cn_xds_t *xds, const Cairn__Any *any)
{
    const Cairn__TunnelConnectionManager  *manager;

    if (any == NULL || !cn_bytes_equal(cn_decoded(any->type_url), CN_BYTES(HTTP_MANAGER))) {
        cn_read_error(&xds->read, NULL, WHERE,
                      "a filter before CONNECT is not implemented");
        return;
    }

    manager = cn_decode_loosely(&xds->read, &cairn__tunnel_connection_manager__descriptor,
                                cn_decoded(any->value), WHERE);

    for (size_t i = 0; manager != NULL && i < manager->n_http_filters; i++) {
        if (!passes_on(xds, manager->http_filters[i]->typed_config)) {
            cn_read_error(&xds->read, NULL, WHERE, "filter %.*s is not implemented",
                          CN_BYTES_ARG(cn_decoded(manager->http_filters[i]->name)));
        }
    }
}


/* ---- who may come ---- */

/* "spiffe://DOMAIN/": the only form in which a domain is named.  False: it is another. */
static bool
read_domain(const Cairn__SubjectAltNameMatcher *matcher, cn_bytes_t *domain)
{
    const Cairn__StringMatcher  *text = matcher->matcher;
    cn_bytes_t                   scheme = CN_BYTES("spiffe://");
    cn_bytes_t                   rest;

    if (matcher->san_type != CAIRN__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__URI || text == NULL
        || text->pattern_case != CAIRN__STRING_MATCHER__PATTERN_PREFIX || text->ignore_case)
    {
        return false;
    }

    *domain = cn_decoded(text->prefix);

    if (!cn_bytes_starts_with(*domain, scheme)) {
        return false;
    }

    /* with the slash, so that no longer domain is meant; and nothing behind it */
    return cn_bytes_split(cn_bytes_from(*domain, scheme.len), '/', domain, &rest) && rest.len == 0
           && domain->len > 0 && cn_bytes_find_octet(*domain, '\0') == SIZE_MAX;
}


static void
add_domain(cn_xds_t *xds, cn_bytes_t domain)
{
    cn_bytes_t  *slot;

    CN_ARRAY_EACH(&xds->trust_domains, const cn_bytes_t, known) {
        if (cn_bytes_equal(*known, domain)) {
            return;
        }
    }

    slot = cn_xds_add(xds, &xds->trust_domains);

    if (slot != NULL) {
        *slot = domain;
    }
}


static const Cairn__CertificateValidationContext *
validation_of(cn_xds_t *xds, const Cairn__TransportSocket *socket)
{
    const Cairn__Any                  *any = socket == NULL ? NULL : socket->typed_config;
    const Cairn__DownstreamTlsContext *tls;

    if (any == NULL || !cn_bytes_equal(cn_decoded(any->type_url), CN_BYTES(TLS))) {
        cn_read_error(&xds->read, NULL, WHERE, "a chain without TLS is not implemented");
        return NULL;
    }

    tls = cn_decode(&xds->read, &cairn__downstream_tls_context__descriptor,
                    cn_decoded(any->value), WHERE);

    return tls == NULL || tls->common_tls_context == NULL
           || tls->common_tls_context->combined_validation_context == NULL
           ? NULL : tls->common_tls_context->combined_validation_context
                    ->default_validation_context;
}


/* A domain that is not named is not trusted, so none at all is an error: nobody could come. */
static void
read_domains(cn_xds_t *xds, const Cairn__TransportSocket *socket)
{
    size_t                                      errors = xds->read.errors;
    const Cairn__CertificateValidationContext  *known = validation_of(xds, socket);

    for (size_t i = 0; known != NULL && i < known->n_match_typed_subject_alt_names; i++) {
        cn_bytes_t  domain;

        if (!read_domain(known->match_typed_subject_alt_names[i], &domain)) {
            cn_read_error(&xds->read, NULL, VALIDATION, "is not implemented but for a URI's prefix "
                          "spiffe://DOMAIN/");
            return;
        }

        add_domain(xds, domain);
    }

    if (xds->read.errors == errors && xds->trust_domains.count == 0) {
        cn_read_error(&xds->read, NULL, VALIDATION, "there is none: no peer is trusted");
    }

    if (xds->trust_domains.count > DOMAINS_MAX) {
        cn_read_error(&xds->read, NULL, VALIDATION, "there are more than %d", DOMAINS_MAX);
    }
}


static void
read_chain(cn_xds_t *xds, cn_bytes_t value)
{
    const Cairn__FilterChain  *chain = cn_decode(&xds->read, &cairn__filter_chain__descriptor,
                                                 value, WHERE);

    if (chain == NULL) {
        return;
    }

    for (size_t i = 0; i < chain->n_filters; i++) {
        check_tunnel(xds, chain->filters[i]->typed_config);
    }

    read_domains(xds, chain->transport_socket);
}


bool
cn_xds_read_terminate(cn_xds_t *xds, cn_bytes_t value)
{
    size_t                  errors = xds->read.errors;
    const Cairn__Listener  *listener = cn_decode(&xds->read, &cairn__listener__descriptor, value,
                                                 "listener");

    xds->trust_domains = CN_ARRAY_INIT(xds->pool, cn_bytes_t);

    if (listener == NULL) {
        return false;
    }

    if (listener->n_filter_chains != 1) {
        cn_read_error(&xds->read, NULL, WHERE, "%zu filter chains: expected one",
                      listener->n_filter_chains);
    } else {
        read_chain(xds, cn_decoded(listener->filter_chains[0]));
    }

    if (xds->read.errors != errors) {
        xds->trust_domains.count = 0;
    }

    return true;
}
