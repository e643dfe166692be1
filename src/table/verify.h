/* SPDX-License-Identifier: Apache-2.0 */

/*
 * verify - whether a block that passed cn_block_check() may be read without further checks: each
 * offset, count, string and enum of layout.h, and each module's own configuration.  Run by the
 * master on what it built and by each worker on what it is offered; the bytes are not trusted in
 * either.
 */

#ifndef CN_TABLE_VERIFY_H
#define CN_TABLE_VERIFY_H

#include "table/layout.h"

/*
 * A cn_block_verify_t.  CN_OK; CN_ERR_SYNTAX, and *what (static text) says what is wrong; or what a
 * module's verifier said. The time is bounded by the block's size, whatever stands in it, but for
 * what the modules' verifiers take.
 */
cn_status_t cn_table_verify(const cn_block_t *block, const char **what) CN_MUST_USE;

/*
 * Names who checks a module's configuration (config: its offset, within the block, or 0) and
 * whether there is such a module. Set once at start, before any table.  Without one, every block
 * that has a filter is refused.
 */
void cn_table_set_module_verify(cn_status_t (*verify)(uint16_t module, const cn_block_t *block,
    uint32_t config));

/*
 * The hash that a global block must carry (cn_modules_hash() of this build); 0, as at the start:
 * any.
 */
void cn_table_set_modules_hash(uint64_t hash);

#endif
