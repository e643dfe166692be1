/* SPDX-License-Identifier: Apache-2.0 */

/* modules - what is asked of the list of compiled-in modules as a whole. */

#include "filter/module.h"

#include "base/hash.h"


uint64_t
cn_modules_hash(void)
{
    char    names[1024];
    size_t  len = 0;

    for (size_t i = 0; cn_modules[i] != NULL; i++) {
        size_t  name_len = strlen(cn_modules[i]->name) + 1;

        CN_BUG_ON(name_len > sizeof(names) - len);
        memcpy(names + len, cn_modules[i]->name, name_len);
        len += name_len;
    }

    return cn_hash(cn_bytes(names, len));
}


cn_status_t
cn_module_verify_config(uint16_t module, const cn_block_t *block, uint32_t config)
{
    const char  *what = "";

    for (uint16_t i = 0; cn_modules[i] != NULL; i++) {
        if (i != module) {
            continue;
        }

        if (cn_modules[i]->verify != NULL) {
            return cn_modules[i]->verify(block, config, &what);
        }

        return config == 0 ? CN_OK : CN_ERR_SYNTAX;
    }

    return CN_ERR_RANGE;
}
