/* SPDX-License-Identifier: Apache-2.0 */

/*
 * router_table - the router has no bytes of its own: it does what the request's route and chain
 * say.  config is 0.
 */

#ifndef CN_ROUTER_TABLE_H
#define CN_ROUTER_TABLE_H

#include "table/layout.h"

#endif
