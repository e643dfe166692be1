/* SPDX-License-Identifier: Apache-2.0 */

/*
 * access_log_claims - what of a configuration is this module's.  A build that leaves it out knows
 * this much of it, to refuse by name what needs it.
 */

#ifndef CN_ACCESS_LOG_CLAIMS_H
#define CN_ACCESS_LOG_CLAIMS_H

#include "model/module_config.h"

#define ACCESS_LOG_CLAIMS  \
    .name = "access_log",  \
    .filter_name = "cairn.access_log"

#endif
