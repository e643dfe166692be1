/* SPDX-License-Identifier: Apache-2.0 */

/*
 * fault_claims - what of a configuration is this module's.  A build that leaves it out knows this
 * much of it, to refuse by name what needs it.
 */

#ifndef CN_FAULT_CLAIMS_H
#define CN_FAULT_CLAIMS_H

#include "model/module_config.h"

#define FAULT_HTTP_FAULT  "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"

static const char *const  fault_type_urls[] = { FAULT_HTTP_FAULT, NULL };

static const char *const  fault_route_fields[] = { "fault", NULL };

#define FAULT_CLAIMS                           \
    .name = "fault",                           \
    .filter_name = "envoy.filters.http.fault", \
    .type_urls = fault_type_urls,              \
    .route_fields = fault_route_fields

#endif
