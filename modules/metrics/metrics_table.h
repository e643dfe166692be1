/* SPDX-License-Identifier: Apache-2.0 */

/*
 * metrics_table - Istio's standard metrics with all labels take no configuration: config is 0.
 * (What a Telemetry resource may change, names and tags, will stand here.)
 */

#ifndef CN_METRICS_TABLE_H
#define CN_METRICS_TABLE_H

#include "table/layout.h"

#endif
