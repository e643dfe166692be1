/* SPDX-License-Identifier: Apache-2.0 */

/*
 * headers_table - the headers module has no bytes of its own: what it adds, sets and removes stands
 * in the route (cn_table_route_t.header_ops) and in the chosen destination
 * (cn_table_destination_t.header_ops, applied first), because both sources say it there.  config is
 * 0 everywhere.
 */

#ifndef CN_HEADERS_TABLE_H
#define CN_HEADERS_TABLE_H

#include "table/layout.h"

#endif
