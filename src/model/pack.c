/* SPDX-License-Identifier: Apache-2.0 */

/* pack - what the model's compiler and the modules both write into blocks. */

#include "model/blocks.h"


cn_table_string_match_t
cn_pack_string_match(const cn_string_match_t *match, cn_block_builder_t *builder)
{
    return (cn_table_string_match_t) {
        .kind = (uint8_t) match->kind,
        .ignore_case = match->ignore_case,
        .value = match->kind == CN_STRING_ANY ? (cn_rel_bytes_t) { 0, 0 }
            : cn_block_add_bytes(builder, match->value),
    };
}


cn_table_origin_t
cn_pack_origin(const cn_origin_t *origin, cn_block_builder_t *builder)
{
    return (cn_table_origin_t) {
        .file = cn_block_add_bytes(builder, cn_bytes_str(origin->file)),
        .line = origin->line,
        .resource = cn_block_add_bytes(builder, cn_bytes_str(origin->resource)),
    };
}


uint32_t
cn_pack_cluster(const cn_block_builder_t *builder, cn_bytes_t name)
{
    const cn_blocks_t  *blocks = cn_block_builder_owner(builder);

    return blocks == NULL ? 0 : cn_ids_find(blocks->ids, CN_BLOCK_CLUSTER, name);
}
