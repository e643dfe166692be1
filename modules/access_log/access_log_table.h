/* SPDX-License-Identifier: Apache-2.0 */

/*
 * access_log_table - whether and how a line is written stands in the global block
 * (cn_table_global_t.access_log and access_log_format), one answer for the whole waypoint: config
 * is 0.  The filter stands in a chain only when lines are written.
 */

#ifndef CN_ACCESS_LOG_TABLE_H
#define CN_ACCESS_LOG_TABLE_H

#include "table/layout.h"

#endif
