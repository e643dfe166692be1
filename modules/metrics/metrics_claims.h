/* SPDX-License-Identifier: Apache-2.0 */

/*
 * metrics_claims - what of a configuration is this module's.  A build that leaves it out knows this
 * much of it, to refuse by name what needs it.
 */

#ifndef CN_METRICS_CLAIMS_H
#define CN_METRICS_CLAIMS_H

#include "model/module_config.h"

static const char *const  metrics_type_urls[] = {
    "type.googleapis.com/stats.PluginConfig", NULL
};

/* It counts: what needs it is done without it. */
#define METRICS_CLAIMS              \
    .name = "metrics",              \
    .filter_name = "istio.stats",   \
    .type_urls = metrics_type_urls, \
    .observes = true

#endif
