/* SPDX-License-Identifier: Apache-2.0 */

/*
 * match - strings, headers and queries against their matchers.  Values are octets; nothing here
 * decodes or folds more than ASCII letters.
 */

#include "route/match.h"

#include "base/hash.h"
#include "route/regex_cache.h"

/* Envoy keeps these as one value: several lines read as one list (goldens 4). */
static const cn_header_id_t  inline_headers[] = {
    CN_HEADER_ACCEPT, CN_HEADER_AUTHORIZATION, CN_HEADER_CONTENT_TYPE, CN_HEADER_USER_AGENT,
    CN_HEADER_X_FORWARDED_FOR, CN_HEADER_X_FORWARDED_PROTO, CN_HEADER_X_REQUEST_ID,
};

#define JOINED_MAX  8192        /* octets of a joined inline header; beyond it the matcher fails */


void
cn_match_input_init(cn_match_input_t *input, const cn_message_t *head,
    const cn_stream_info_t *connection, uint16_t port)
{
    size_t  mark = cn_bytes_find_octet(head->path, '?');

    *input = (cn_match_input_t) { .head = head, .connection = connection, .port = port };

    if (mark == SIZE_MAX) {
        input->path = head->path;
        return;
    }

    input->path = cn_bytes(head->path.ptr, mark);
    input->query = cn_bytes_from(head->path, mark + 1);
}


bool
cn_match_remote_ip(const cn_message_t *head, const cn_stream_info_t *connection, uint8_t ip[16],
    bool *is_v4)
{
    cn_address_t  address;
    cn_bytes_t    last = CN_BYTES_NONE;
    size_t        comma;

    for (uint32_t i = 0; head != NULL && i < head->headers.count; i++) {
        if (head->headers.items[i].id == CN_HEADER_X_FORWARDED_FOR
            && head->headers.items[i].value.len > 0)
        {
            last = head->headers.items[i].value;
        }
    }

    comma = cn_bytes_find_last_octet(last, ',');
    last = cn_bytes_trim(comma == SIZE_MAX ? last : cn_bytes_from(last, comma + 1));

    if (last.len == 0 || cn_address_parse_ip(last, &address) != CN_OK) {
        memcpy(ip, connection->peer.ip, 16);

        if (is_v4 != NULL) {
            *is_v4 = cn_address_is_v4(&connection->peer);
        }

        return false;
    }

    memcpy(ip, address.ip, 16);

    if (is_v4 != NULL) {
        *is_v4 = cn_bytes_find_octet(last, ':') == SIZE_MAX;
    }

    return true;
}


cn_match_t
cn_match_string(const cn_block_t *block, const cn_table_string_match_t *match, cn_bytes_t value)
{
    cn_bytes_t  want = cn_block_bytes(block, match->value);
    bool        fold = match->ignore_case != 0;
    bool        yes;

    switch ((cn_string_match_kind_t) match->kind) {

    case CN_STRING_EXACT:
        yes = fold ? cn_bytes_equal_nocase(value, want) : cn_bytes_equal(value, want);
        break;

    case CN_STRING_PREFIX:
        yes = fold ? cn_bytes_starts_with_nocase(value, want) : cn_bytes_starts_with(value, want);
        break;

    case CN_STRING_SUFFIX:
        yes = fold ? cn_bytes_ends_with_nocase(value, want) : cn_bytes_ends_with(value, want);
        break;

    case CN_STRING_CONTAINS:
        yes = (fold ? cn_bytes_find_nocase(value, want) : cn_bytes_find(value, want)) != SIZE_MAX;
        break;

    case CN_STRING_ANY:
        yes = true;
        break;

    case CN_STRING_REGEX:
        return cn_regex_cached_match(want, value);

    default:
        return CN_MATCH_ERROR;
    }

    return yes ? CN_MATCH_YES : CN_MATCH_NO;
}


/* A pseudo header's value; false when the name is not one. */
static bool
pseudo_header(cn_bytes_t name, const cn_match_input_t *input, cn_bytes_t *value)
{
    if (name.len == 0 || name.ptr[0] != ':') {
        return false;
    }

    if (cn_bytes_equal(name, CN_BYTES(":method"))) {
        *value = input->head->method;

    } else if (cn_bytes_equal(name, CN_BYTES(":authority"))) {
        *value = input->head->authority;

    } else if (cn_bytes_equal(name, CN_BYTES(":path"))) {
        *value = input->head->path;

    } else if (cn_bytes_equal(name, CN_BYTES(":scheme"))) {
        *value = input->head->scheme;

    } else {
        *value = CN_BYTES_NONE;
    }

    return true;
}


bool
cn_header_is_list(cn_header_id_t id)
{
    for (size_t i = 0; i < CN_COUNT_OF(inline_headers); i++) {
        if (inline_headers[i] == id) {
            return true;
        }
    }

    return false;
}


static cn_match_t
match_joined(const cn_block_t *block, const cn_table_string_match_t *match,
    const cn_headers_t *headers, cn_bytes_t name)
{
    uint8_t  joined[JOINED_MAX];
    size_t   len = 0;

    for (uint32_t i = 0; i < headers->count; i++) {
        const cn_header_t  *header = &headers->items[i];

        /* Envoy appends nothing for an empty value, no ',' either */
        if (!cn_bytes_equal(header->name, name) || header->value.len == 0) {
            continue;
        }

        if (header->value.len + 1 > sizeof(joined) - len) {
            return CN_MATCH_ERROR;
        }

        if (len > 0) {
            joined[len++] = ',';
        }

        if (header->value.len > 0) {
            memcpy(joined + len, header->value.ptr, header->value.len);
            len += header->value.len;
        }
    }

    return cn_match_string(block, match, cn_bytes(joined, len));
}


/* Any of the equally named values may match; an error outweighs a no. */
static cn_match_t
match_each(const cn_block_t *block, const cn_table_string_match_t *match,
    const cn_headers_t *headers, cn_bytes_t name)
{
    cn_match_t  result = CN_MATCH_NO;

    for (uint32_t i = 0; i < headers->count; i++) {
        const cn_header_t  *header = &headers->items[i];

        if (!cn_bytes_equal(header->name, name)) {
            continue;
        }

        cn_match_t  one = cn_match_string(block, match, header->value);

        if (one == CN_MATCH_YES) {
            return CN_MATCH_YES;
        }

        if (one == CN_MATCH_ERROR) {
            result = CN_MATCH_ERROR;
        }
    }

    return result;
}


static cn_match_t
inverted(cn_match_t match, bool invert)
{
    if (!invert || match == CN_MATCH_ERROR) {
        return match;
    }

    return match == CN_MATCH_YES ? CN_MATCH_NO : CN_MATCH_YES;
}


static uint32_t
count_named(const cn_headers_t *headers, cn_bytes_t name)
{
    uint32_t  count = 0;

    for (uint32_t i = 0; i < headers->count; i++) {
        count += cn_bytes_equal(headers->items[i].name, name);
    }

    return count;
}


cn_match_t
cn_match_header(const cn_block_t *block, const cn_table_header_match_t *match,
    const cn_match_input_t *input)
{
    const cn_headers_t  *headers = &input->head->headers;
    cn_bytes_t           name = cn_block_bytes(block, match->name);
    cn_bytes_t           value;
    cn_match_t           result;
    uint32_t             count;

    if (pseudo_header(name, input, &value)) {
        count = value.len > 0;

    } else if (cn_bytes_equal(name, CN_BYTES("host"))) {
        value = input->head->authority;
        count = value.len > 0;

    } else {
        value = CN_BYTES_NONE;
        count = count_named(headers, name);
    }

    if (match->present_only) {
        return inverted(count > 0 ? CN_MATCH_YES : CN_MATCH_NO, match->invert);
    }

    if (count == 0 && !match->missing_as_empty) {
        return CN_MATCH_NO;
    }

    if (count == 0 || value.len > 0) {
        result = cn_match_string(block, &match->value, value);

    } else if (count > 1 && cn_header_is_list(cn_header_id(name))) {
        result = match_joined(block, &match->value, headers, name);

    } else {
        result = match_each(block, &match->value, headers, name);
    }

    return inverted(result, match->invert);
}
