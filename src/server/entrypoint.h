/* SPDX-License-Identifier: Apache-2.0 */

/*
 * entrypoint - `cairn proxy waypoint ...`: what Istio's deployment of a waypoint says to the
 * program in its container, as a bootstrap.  The arguments, the environment and the files of the
 * pod are those of Istio's own agent, so that the image is all that has to be changed.
 *
 * Nothing is written anywhere: the container's root file system is read-only.  CAIRN_ROOT in the
 * environment is put before every path of the container, and CAIRN_HBONE_PORT replaces 15008: for
 * tests, which have neither the paths nor the port to themselves.
 */

#ifndef CN_SERVER_ENTRYPOINT_H
#define CN_SERVER_ENTRYPOINT_H

#include "server/bootstrap.h"

/* What the machine and whoever started us say.  All outlives the call only. */
typedef struct {
    char *const        *arguments;      /* after "proxy": role and flags; NULL-ended */
    char *const        *environment;    /* NAME=VALUE; NULL-ended */
    const char *const  *addresses;      /* IPs of this machine's interfaces; NULL-ended; or NULL */
    uint32_t            cores;          /* that we may run on; >= 1 */
    const char         *prefix;         /* of our own files (html/); NULL: "." */
} cn_entrypoint_input_t;

/*
 * Fills bootstrap; its strings are in pool.  CN_ERR_SYNTAX: the report has errors, each with the
 * name of the flag or variable; what is only passed over is a note in it.  CN_ERR_MEMORY.
 */
cn_status_t cn_entrypoint_read(const cn_entrypoint_input_t *input, cn_pool_t *pool,
    cn_report_t *report, cn_bootstrap_t *bootstrap) CN_MUST_USE;

/*
 * The same of this process and machine: its environment, cores and interfaces.  options has proxy,
 * prefix, workers (0: as the environment says) and resources: a directory that takes istiod's place
 * as the source, NULL: none.
 */
cn_status_t cn_entrypoint_read_here(const cn_bootstrap_options_t *options, cn_pool_t *pool,
    cn_report_t *report, cn_bootstrap_t *bootstrap) CN_MUST_USE;

#endif
