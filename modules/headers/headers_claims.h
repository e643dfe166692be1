/* SPDX-License-Identifier: Apache-2.0 */

/*
 * headers_claims - what of a configuration is this module's.  A build that leaves it out knows this
 * much of it, to refuse by name what needs it.
 */

#ifndef CN_HEADERS_CLAIMS_H
#define CN_HEADERS_CLAIMS_H

#include "model/module_config.h"

static const char *const  headers_route_fields[] = { "headers", NULL };

static const char *const  headers_route_filters[] = {
    "RequestHeaderModifier", "ResponseHeaderModifier", NULL
};

#define HEADERS_CLAIMS                    \
    .name = "headers",                    \
    .filter_name = "cairn.headers",       \
    .route_fields = headers_route_fields, \
    .route_filters = headers_route_filters

#endif
