/* SPDX-License-Identifier: Apache-2.0 */

/*
 * authz_claims - what of a configuration is this module's.  A build that leaves it out knows this
 * much of it, to refuse by name what needs it.
 */

#ifndef CN_AUTHZ_CLAIMS_H
#define CN_AUTHZ_CLAIMS_H

#include "model/module_config.h"

#define AUTHZ_HTTP_RBAC     "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
#define AUTHZ_NETWORK_RBAC  "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"

static const char *const  authz_type_urls[] = { AUTHZ_HTTP_RBAC, AUTHZ_NETWORK_RBAC, NULL };

static const char *const  authz_versions[] = { "v1", "v1beta1", NULL };

static const cn_kind_t  authz_kinds[] = {
    { .group = "security.istio.io", .versions = authz_versions, .kind = "AuthorizationPolicy" },
    { .kind = NULL }
};

#define AUTHZ_CLAIMS                          \
    .name = "authz",                          \
    .filter_name = "envoy.filters.http.rbac", \
    .type_urls = authz_type_urls,             \
    .kinds = authz_kinds

#endif
