/* SPDX-License-Identifier: Apache-2.0 */

/* left_out - modules that the build has not: what needs one is refused, with its name. */

#include "model/module_config.h"

#include <string.h>


bool
cn_module_is_built(const char *name)
{
    for (size_t i = 0; cn_module_configs[i] != NULL; i++) {
        if (strcmp(cn_module_configs[i]->name, name) == 0) {
            return !cn_module_configs[i]->left_out;
        }
    }

    return false;
}


cn_status_t
cn_module_left_out(cn_read_t *read, const cn_doc_t *node, const char *field, const char *name)
{
    cn_read_error(read, node, field, "needs the module %s, which this build leaves out", name);

    return CN_ERR_UNSUPPORTED;
}
