/* SPDX-License-Identifier: Apache-2.0 */

/*
 * fault_table - a route's fault as it lies in the table: the per-route configuration of the fault
 * module.  The chain's own entry has no configuration (config 0): it only says where faults are
 * injected.
 */

#ifndef CN_FAULT_TABLE_H
#define CN_FAULT_TABLE_H

#include "table/layout.h"

typedef enum {
    CN_FAULT_ABORT_NONE = 0,
    CN_FAULT_ABORT_HTTP = 1,            /* abort_status 200..599 */
    /* abort_status 0..16, grpc-status of the local reply, HTTP 200 */
    CN_FAULT_ABORT_GRPC = 2,
} cn_fault_abort_t;

typedef struct {
    uint32_t           delay_ppm;       /* share of requests delayed, per million; 0: none */
    uint32_t           delay_ms;
    /* share of requests aborted, per million; drawn on its own */
    uint32_t           abort_ppm;
    uint16_t           abort_status;
    uint8_t            abort_kind;      /* cn_fault_abort_t */
    uint8_t            reserved;
    cn_table_origin_t  origin;          /* the line of `fault` */
} cn_table_fault_t;

_Static_assert(sizeof(cn_table_fault_t) == 40, "the layout is an interface");

#endif
