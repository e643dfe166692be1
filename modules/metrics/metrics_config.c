/* SPDX-License-Identifier: Apache-2.0 */

/* metrics - Istio's standard metrics: in every chain, with nothing to configure. */

#include "metrics/metrics_table.h"

#include "model/module_config.h"


const cn_module_config_t  cn_metrics_module_config = {
    .name = "metrics",
    .filter_name = "istio.stats",
    .always = true,
};
