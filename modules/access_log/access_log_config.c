/* SPDX-License-Identifier: Apache-2.0 */

/*
 * access_log - in a chain only when the waypoint writes lines at all; how is said once for all
 * (cn_table_global_t).
 */

#include "access_log/access_log_claims.h"
#include "access_log/access_log_table.h"

static const uint8_t  present;             /* a configuration without content */


static cn_status_t
read_chain(cn_read_t *read, const cn_chain_question_t *question, void **config)
{
    if (question->ordinal == 0 && read->model->access_log) {
        *config = (void *) (uintptr_t) &present;
    }

    return CN_OK;
}


static cn_status_t
pack(const void *config, bool on_route, cn_block_builder_t *builder, uint32_t *at)
{
    (void) config;
    (void) on_route;
    (void) builder;
    *at = 0;

    return CN_OK;
}


const cn_module_config_t  cn_access_log_module_config = {
    ACCESS_LOG_CLAIMS,
    .read_chain = read_chain,
    .pack = pack,
};
