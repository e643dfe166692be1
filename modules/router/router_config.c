/* SPDX-License-Identifier: Apache-2.0 */

/* router - the last filter of every chain; it has nothing to configure. */

#include "router/router_table.h"

#include "model/decode.h"

#include "stats.pb-c.h"


/* Whatever would make it behave otherwise is refused by the message's description. */
static cn_status_t
read_xds(cn_read_t *read, cn_bytes_t type_url, cn_bytes_t value, bool on_route, void **config)
{
    const char  *field = "envoy.filters.http.router";

    (void) type_url;
    *config = NULL;

    if (on_route || cn_decode(read, &cairn__router__descriptor, value, field) == NULL) {
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
