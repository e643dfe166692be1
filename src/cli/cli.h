/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cli - what the commands of the program share: options, the bootstrap file, how a waypoint's files
 * are read.  Each command is a function of its own that returns the exit code: 0; 1: it failed; 2:
 * it was called in a way it does not know.
 */

#ifndef CN_CLI_CLI_H
#define CN_CLI_CLI_H

#include "server/bootstrap.h"
#include "source/source.h"

#include <stdio.h>

/* Options that stand before a command and are known to each of them. */
typedef struct {
    cn_bootstrap_options_t   bootstrap;     /* -c -p -r -w */
    const char              *xds;           /* --xds: a directory of recorded xDS */
} cn_cli_options_t;

/* What a process needs of its files.  Everything lives in pool. */
typedef struct {
    cn_pool_t       *pool;
    cn_report_t     *report;
    cn_bootstrap_t   bootstrap;
} cn_cli_setup_t;

/* Reads the bootstrap file.  False: what was wrong is on standard error. */
bool cn_cli_setup(const cn_cli_options_t *options, cn_cli_setup_t *setup);
void cn_cli_setup_end(cn_cli_setup_t *setup);

/*
 * Reads the waypoint's configuration once: the files of the bootstrap, or recorded xDS.  *state is
 * NULL for the latter.  CN_ERR_*: no model; the report says why.
 */
cn_status_t cn_cli_read_model(const cn_cli_options_t *options, cn_cli_setup_t *setup,
    cn_istio_state_t **state, cn_model_t **model) CN_MUST_USE;

/* Writes the report's lines, and for `-t` the sum of them. */
void cn_cli_print_report(const cn_report_t *report, FILE *to);
void cn_cli_print_sum(const cn_report_t *report, FILE *to);

/*
 * Without a command (check.c): -t, -T, `proxy waypoint --print`, and the look at everything before
 * a start.
 */
int cn_cli_test(const cn_cli_options_t *options);
int cn_cli_print_bootstrap(const cn_cli_options_t *options);
int cn_cli_print_model(const cn_cli_options_t *options);
bool cn_cli_may_start(const cn_cli_options_t *options, cn_cli_setup_t *setup);

/*
 * Commands that ask the running cairn, or the files themselves (ask.c); argv[0] is the command's
 * name.
 */
int cn_cli_request(const cn_cli_options_t *options, int argc, char **argv);
int cn_cli_show(const cn_cli_options_t *options, int argc, char **argv);
int cn_cli_explain(const cn_cli_options_t *options, int argc, char **argv);

/* One request through HBONE, as a named workload (call.c). */
int cn_cli_call(const cn_cli_options_t *options, int argc, char **argv);

/* Bookinfo on this machine (demo.c). */
int cn_cli_demo(const cn_cli_options_t *options, int argc, char **argv);

/* -s SIGNAL (send.c). */
int cn_cli_send_signal(const cn_cli_options_t *options, const char *name);

#endif
