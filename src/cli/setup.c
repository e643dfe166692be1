/* SPDX-License-Identifier: Apache-2.0 */

/* setup - the bootstrap file and the waypoint's configuration, as every command reads them. */

#include "cli/cli.h"
#include "server/entrypoint.h"

#include <stdio.h>
#include <string.h>

#define POOL_SIZE  16384


bool
cn_cli_setup(const cn_cli_options_t *options, cn_cli_setup_t *setup)
{
    *setup = (cn_cli_setup_t) { .pool = cn_pool_create(POOL_SIZE, NULL) };
    setup->report = setup->pool != NULL ? cn_report_create(setup->pool) : NULL;

    if (setup->report == NULL) {
        fprintf(stderr, "cairn: out of memory\n");
        cn_cli_setup_end(setup);
        return false;
    }

    cn_status_t  status = options->bootstrap.proxy != NULL
        ? cn_entrypoint_read_here(&options->bootstrap, setup->pool, setup->report,
                                  &setup->bootstrap)
        : cn_bootstrap_read(&options->bootstrap, setup->pool, setup->report, &setup->bootstrap);

    if (status != CN_OK) {
        cn_cli_print_report(setup->report, stderr);

        if (status == CN_ERR_MEMORY) {
            fprintf(stderr, "cairn: out of memory\n");
        }

        cn_cli_setup_end(setup);
        return false;
    }

    return true;
}


void
cn_cli_setup_end(cn_cli_setup_t *setup)
{
    cn_pool_destroy(setup->pool);
    setup->pool = NULL;
}


cn_status_t
cn_cli_read_model(const cn_cli_options_t *options, cn_cli_setup_t *setup, cn_istio_state_t **state,
    cn_model_t **model)
{
    const cn_bootstrap_t  *bootstrap = &setup->bootstrap;

    cn_source_config_t  config = {
        .directory         = options->xds != NULL ? options->xds : bootstrap->source_files,
        .waypoint          = bootstrap->waypoint,
        .trust_domain      = cn_bytes_str(bootstrap->trust_domain),
        .trust_aliases     = bootstrap->trust_aliases.items,
        .trust_alias_count = bootstrap->trust_aliases.count,
        .access_log        = strcmp(bootstrap->access_log_path, "off") != 0,
        .http_10           = bootstrap->http_10,
        .modules           = cn_module_configs,
    };

    *state = NULL;
    *model = NULL;

    if (options->xds == NULL && cn_bootstrap_check_built(bootstrap, setup->report) != CN_OK) {
        return CN_ERR_UNSUPPORTED;
    }

    if (config.directory == NULL) {
        cn_report_add(setup->report, CN_REPORT_ERROR, NULL, NULL, "source",
            bootstrap->istiod.server.address != NULL
            ? "istiod says the configuration, to a cairn that runs (cairn show config)"
            : "no directory of resources: name one in the bootstrap file or with -r");
        return CN_ERR_NOT_FOUND;
    }

    if (options->xds != NULL) {
        return cn_xds_read_directory(&config, setup->report, model);
    }

    return cn_istio_read(&config, state, setup->report, model);
}


void
cn_cli_print_report(const cn_report_t *report, FILE *to)
{
    cn_pool_t  *pool = cn_pool_create(4096, NULL);

    if (pool == NULL) {
        return;
    }

    CN_ARRAY_EACH(&report->entries, const cn_report_entry_t, entry) {
        fprintf(to, "%s\n", cn_report_line(entry, pool));
    }

    if (report->truncated) {
        fprintf(to, "more of them are not listed\n");
    }

    cn_pool_destroy(pool);
}


void
cn_cli_print_sum(const cn_report_t *report, FILE *to)
{
    fprintf(to, "%zu error%s, %zu warning%s\n", report->errors, report->errors == 1 ? "" : "s",
        report->warnings, report->warnings == 1 ? "" : "s");
}
