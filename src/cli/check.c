/* SPDX-License-Identifier: Apache-2.0 */

/* check - looks at a configuration without serving it: -t, -T, and before every start. */

#include "cli/cli.h"
#include "server/certificates.h"

#include <stdio.h>


static bool
read_certificates(cn_cli_setup_t *setup)
{
    cn_certificates_t  *certificates = cn_certificates_create(&setup->bootstrap);
    bool                good = certificates != NULL
        && cn_certificates_read(certificates, setup->report, NULL);

    cn_certificates_destroy(certificates);

    return good;
}


/* What stays of a reading when only the report counts; what istiod will say is not known yet. */
static cn_status_t
read_and_drop(const cn_cli_options_t *options, cn_cli_setup_t *setup)
{
    bool               told = options->xds == NULL
        && setup->bootstrap.istiod.server.address != NULL;
    cn_istio_state_t  *state = NULL;
    cn_model_t        *model = NULL;
    cn_status_t        status = told ? cn_bootstrap_check_built(&setup->bootstrap, setup->report)
        : cn_cli_read_model(options, setup, &state, &model);

    if (model != NULL) {
        cn_model_destroy(model);
    }

    cn_istio_state_destroy(state);

    return status == CN_OK && !read_certificates(setup) ? CN_ERR_REFUSED : status;
}


int
cn_cli_test(const cn_cli_options_t *options)
{
    cn_cli_setup_t  setup;

    if (!cn_cli_setup(options, &setup)) {
        return 1;
    }

    cn_status_t  status = read_and_drop(options, &setup);
    bool         failed = status != CN_OK || setup.report->errors > 0;

    cn_cli_print_report(setup.report, stderr);
    cn_cli_print_sum(setup.report, stderr);
    cn_cli_setup_end(&setup);

    return failed ? 1 : 0;
}


/* What this process would run with, wherever that was said. */
int
cn_cli_print_bootstrap(const cn_cli_options_t *options)
{
    cn_cli_setup_t  setup;
    const char     *text;

    if (!cn_cli_setup(options, &setup)) {
        return 1;
    }

    cn_cli_print_report(setup.report, stderr);
    text = cn_bootstrap_print(&setup.bootstrap);

    if (text != NULL) {
        fputs(text, stdout);
    }

    cn_cli_setup_end(&setup);

    return text != NULL && fflush(stdout) == 0 ? 0 : 1;
}


int
cn_cli_print_model(const cn_cli_options_t *options)
{
    cn_cli_setup_t     setup;
    cn_istio_state_t  *state;
    cn_model_t        *model;
    const char        *text = NULL;

    if (!cn_cli_setup(options, &setup)) {
        return 1;
    }

    cn_status_t  status = cn_cli_read_model(options, &setup, &state, &model);

    cn_cli_print_report(setup.report, stderr);

    if (status == CN_OK) {
        text = cn_model_print(model, setup.pool);

        if (text != NULL) {
            fputs(text, stdout);
        }

        cn_model_destroy(model);
    }

    cn_istio_state_destroy(state);
    cn_cli_setup_end(&setup);

    return text != NULL && fflush(stdout) == 0 ? 0 : 1;
}


/*
 * Broken resources are contained, as on a reload; without a waypoint or a service there is nothing
 * to serve, and without its certificate a listener cannot.
 */
bool
cn_cli_may_start(const cn_cli_options_t *options, cn_cli_setup_t *setup)
{
    cn_status_t  status = read_and_drop(options, setup);

    cn_cli_print_report(setup->report, stderr);

    if (status != CN_OK) {
        cn_cli_print_sum(setup->report, stderr);
        return false;
    }

    return true;
}
