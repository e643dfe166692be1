/* SPDX-License-Identifier: Apache-2.0 */

/* xds - recorded xDS as a source.  Until its reader is there, it is refused. */

#include "source/source.h"


cn_status_t
cn_xds_read_directory(const cn_source_config_t *config, cn_report_t *report, cn_model_t **model)
{
    *model = NULL;
    cn_report_add(report, CN_REPORT_ERROR, NULL, "", "", "%s: recorded xDS cannot be read yet",
                  config->directory);

    return CN_ERR_UNSUPPORTED;
}
