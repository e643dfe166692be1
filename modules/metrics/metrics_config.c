/* SPDX-License-Identifier: Apache-2.0 */

/* metrics - Istio's standard metrics: in every chain, with nothing to configure. */

#include "metrics/metrics_claims.h"
#include "metrics/metrics_table.h"

#include "model/decode.h"

#include "stats.pb-c.h"


/* What is left out or added to the standard metrics is refused by the message's description. */
static cn_status_t
read_xds(cn_read_t *read, cn_bytes_t type_url, cn_bytes_t value, bool on_route, void **config)
{
    (void) type_url;
    *config = NULL;

    if (on_route
        || cn_decode(read, &cairn__stats_plugin_config__descriptor, value, "istio.stats") == NULL)
    {
        return CN_ERR_UNSUPPORTED;
    }

    return CN_OK;
}


const cn_module_config_t  cn_metrics_module_config = {
    METRICS_CLAIMS,
    .always = true,
    .always_raw = true,
    .read_xds = read_xds,
};
