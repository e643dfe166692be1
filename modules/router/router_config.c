/* SPDX-License-Identifier: Apache-2.0 */

/* router - the last filter of every chain; it has nothing to configure. */

#include "router/router_table.h"

#include "model/module_config.h"


/* Without fields; with any of them it would behave in a way that is not implemented. */
static cn_status_t
read_xds(cn_read_t *read, cn_bytes_t type_url, cn_bytes_t value, bool on_route, void **config)
{
    (void) type_url;
    *config = NULL;

    if (value.len > 0 || on_route) {
        cn_read_error(read, NULL, "envoy.filters.http.router",
                      "a configuration of the router is not implemented");
        return CN_ERR_UNSUPPORTED;
    }

    return CN_OK;
}


static const char *const  router_type_urls[] = {
    "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router", NULL
};


const cn_module_config_t  cn_router_module_config = {
    .name = "router",
    .filter_name = "envoy.filters.http.router",
    .type_urls = router_type_urls,
    .always = true,
    .read_xds = read_xds,
};
