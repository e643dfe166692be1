/* SPDX-License-Identifier: Apache-2.0 */

/*
 * header_format - value = { literal | "%%" | '%' NAME [ '(' argument ')' ] [ ':' digits ] '%' }.
 * REQ and RESP must have an argument, the others none.
 */

#include "base/header_format.h"

#define LENGTH_MAX  65536

typedef struct {
    cn_format_command_t  command;
    cn_bytes_t           name;
    bool                 argument;
} command_t;

static const command_t  commands[] = {
#define X(id, name, argument)  { CN_FORMAT_##id, CN_BYTES_INIT(name), argument },
    CN_FORMAT_COMMANDS(X)
#undef X
};


static const command_t *
find_command(cn_bytes_t name)
{
    for (size_t i = 0; i < CN_COUNT_OF(commands); i++) {
        if (cn_bytes_equal(name, commands[i].name)) {
            return &commands[i];
        }
    }

    return NULL;
}


/* rest begins behind the name; *used is what the argument took of it. */
static cn_status_t
read_argument(cn_bytes_t rest, const command_t *command, size_t *used, cn_format_piece_t *piece)
{
    bool    has = rest.len > 0 && rest.ptr[0] == '(';
    size_t  close = cn_bytes_find_octet(rest, ')');

    *used = 0;

    if (has != command->argument || (has && close == SIZE_MAX)) {
        return CN_ERR_SYNTAX;
    }

    if (has) {
        cn_bytes_split(cn_bytes(rest.ptr + 1, close - 1), '?', &piece->name, &piece->other);
        *used = close + 1;
    }

    return has && piece->name.len == 0 ? CN_ERR_SYNTAX : CN_OK;
}


static cn_status_t
read_command(cn_bytes_t value, size_t *at, cn_format_piece_t *piece)
{
    cn_bytes_t        rest = cn_bytes_from(value, *at + 1);
    size_t            len = 0;
    size_t            used;
    const command_t  *command;
    uint64_t          max;
    cn_status_t       status;

    while (len < rest.len && rest.ptr[len] != '%' && rest.ptr[len] != '('
           && rest.ptr[len] != ':')
    {
        len++;
    }

    if (len == rest.len || len == 0) {
        return CN_ERR_SYNTAX;
    }

    piece->text = cn_bytes(rest.ptr, len);
    command = find_command(piece->text);

    if (command == NULL) {
        return CN_ERR_UNSUPPORTED;
    }

    piece->command = command->command;
    rest = cn_bytes_from(rest, len);
    status = read_argument(rest, command, &used, piece);

    if (status != CN_OK) {
        return status;
    }

    rest = cn_bytes_from(rest, used);
    len = cn_bytes_find_octet(rest, '%');

    if (len == SIZE_MAX) {
        return CN_ERR_SYNTAX;
    }

    if (len > 0) {
        if (rest.ptr[0] != ':'
            || cn_bytes_to_u64(cn_bytes(rest.ptr + 1, len - 1), LENGTH_MAX, &max) != CN_OK)
        {
            return CN_ERR_SYNTAX;
        }

        piece->max = (size_t) max;
    }

    *at = (size_t) (rest.ptr - value.ptr) + len + 1;
    return CN_OK;
}


cn_status_t
cn_format_next(cn_bytes_t value, size_t *at, cn_format_piece_t *piece)
{
    cn_bytes_t  rest = cn_bytes_from(value, *at);
    size_t      percent = cn_bytes_find_octet(rest, '%');

    *piece = (cn_format_piece_t) { .command = CN_FORMAT_LITERAL, .max = SIZE_MAX };

    if (rest.len == 0) {
        return CN_AGAIN;
    }

    if (percent != 0) {
        piece->text = percent == SIZE_MAX ? rest : cn_bytes(rest.ptr, percent);
        *at += piece->text.len;
        return CN_OK;
    }

    if (rest.len > 1 && rest.ptr[1] == '%') {
        piece->text = cn_bytes(rest.ptr, 1);
        *at += 2;
        return CN_OK;
    }

    return read_command(value, at, piece);
}


cn_status_t
cn_format_check(cn_bytes_t value, uint8_t *out, cn_bytes_t *plain, bool *format,
    cn_bytes_t *command)
{
    cn_format_piece_t  piece;
    cn_status_t        status;
    size_t             at = 0;
    size_t             len = 0;

    *plain = value;
    *format = false;
    *command = CN_BYTES_NONE;

    if (cn_bytes_find_octet(value, '%') == SIZE_MAX) {
        return CN_OK;
    }

    while ((status = cn_format_next(value, &at, &piece)) == CN_OK) {
        if (piece.command != CN_FORMAT_LITERAL) {
            *format = true;
            continue;
        }

        memcpy(out + len, piece.text.ptr, piece.text.len);
        len += piece.text.len;
    }

    if (status != CN_AGAIN) {
        *command = piece.text;
        return status;
    }

    if (!*format) {
        *plain = cn_bytes(out, len);
    }

    return CN_OK;
}
