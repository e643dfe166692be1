/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Values with commands on any octets: what checks can be walked to its end, piece by piece, each
 * within the value; what has no commands is never longer than it was.
 */

#include "base/header_format.h"

#include "base/pool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check_piece(cn_bytes_t value, cn_bytes_t part)
{
    CN_BUG_ON(part.len > 0 && (part.ptr < value.ptr || part.ptr > value.ptr + value.len
                               || part.len > (size_t) (value.ptr + value.len - part.ptr)));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cn_bytes_t          value = cn_bytes(data, size);
    uint8_t            *out = cn_alloc(size + 1);
    cn_bytes_t          plain, command;
    bool                format;
    cn_format_piece_t   piece;
    cn_status_t         status;
    size_t              at = 0;
    size_t              before = 0;

    CN_BUG_ON(out == NULL);

    if (cn_format_check(value, out, &plain, &format, &command) == CN_OK) {
        while ((status = cn_format_next(value, &at, &piece)) == CN_OK) {
            CN_BUG_ON(at <= before || at > size);
            CN_BUG_ON(piece.command != CN_FORMAT_LITERAL && !format);
            check_piece(value, piece.text);
            check_piece(value, piece.name);
            check_piece(value, piece.other);
            before = at;
        }

        CN_BUG_ON(status != CN_AGAIN || at != size);
        CN_BUG_ON(plain.len > size);
    }

    cn_free(out);

    return 0;
}
