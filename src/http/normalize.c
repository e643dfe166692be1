/* SPDX-License-Identifier: Apache-2.0 */

/*
 * normalize - one canonical path.  The steps, in the order in which Envoy does them:
 *
 *   cut the fragment (all levels) > %2F %5C to slashes (DECODE) > RFC 3986 (BASE and up) > merge
 *   slashes
 *
 * RFC 3986 here: '\' is '/', an escape of an unreserved octet is that octet, dot segments are
 * resolved, "..;" counts as "..", octets that a path may not have are escaped; other escapes stay
 * as they are.
 */

#include "http/normalize.h"

#define ESCAPED_MAX  3                  /* one octet becomes at most "%XX" */

typedef struct {
    uint8_t  *out;
    size_t    len;
    size_t    escapes;          /* "%XX" that decoding left or wrote */
} path_t;


static int
hex_value(uint8_t octet)
{
    if (octet >= '0' && octet <= '9') {
        return octet - '0';
    }

    octet = cn_lower(octet);

    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : -1;
}


/* The octet that "%XX" at `at` stands for, -1 when there is no escape. */
static int
escape_at(cn_bytes_t path, size_t at)
{
    if (path.ptr[at] != '%' || path.len - at < 3) {
        return -1;
    }

    int  high = hex_value(path.ptr[at + 1]), low = hex_value(path.ptr[at + 2]);

    return high < 0 || low < 0 ? -1 : high * 16 + low;
}


static bool
is_unreserved(int octet)
{
    return (octet >= '0' && octet <= '9') || (octet >= 'a' && octet <= 'z')
           || (octet >= 'A' && octet <= 'Z') || octet == '-' || octet == '.' || octet == '_'
           || octet == '~';
}


static bool
must_escape(uint8_t octet)
{
    return octet == '"' || octet == '<' || octet == '>' || octet == '^' || octet == '`'
           || octet == '{' || octet == '|' || octet == '}';
}


/* Is there anything that BASE would change or refuse?  Most paths have nothing. */
static bool
is_canonical(cn_bytes_t path)
{
    for (size_t i = 0; i < path.len; i++) {
        uint8_t  octet = path.ptr[i];

        if (octet == '%' || octet == '\\' || octet <= 0x20 || octet >= 0x7f || must_escape(octet)
            || (octet == '/' && i + 1 < path.len && path.ptr[i + 1] == '.'))
        {
            return false;
        }
    }

    return path.len > 0 && path.ptr[0] == '/';
}


/*
 * Octets and escapes, without regard to segments.  %00 and octets that cannot be in a target are
 * refused.
 */
static cn_status_t
decode(cn_bytes_t path, bool slashes, path_t *to)
{
    static const char  hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < path.len; i++) {
        uint8_t  octet = path.ptr[i];
        int      escaped = escape_at(path, i);

        if (escaped == 0 || octet <= 0x20 || octet >= 0x7f) {
            return CN_ERR_SYNTAX;
        }

        if (is_unreserved(escaped)) {
            to->out[to->len++] = (uint8_t) escaped;
            i += 2;

        } else if (slashes && (escaped == '/' || escaped == '\\')) {
            to->out[to->len++] = '/';
            i += 2;

        } else if (octet == '\\') {
            to->out[to->len++] = '/';

        } else if (must_escape(octet)) {
            to->out[to->len++] = '%';
            to->out[to->len++] = (uint8_t) hex[octet >> 4];
            to->out[to->len++] = (uint8_t) hex[octet & 15];
            to->escapes++;

        } else {
            to->out[to->len++] = octet;
            to->escapes += escaped >= 0;
        }
    }

    return CN_OK;
}


/*
 * A lone '%' before escapes of hex digits ("%%32%65") makes a new escape while decoding.  What
 * follows us would decode it once more than we did, so it is refused.
 */
static bool
has_new_escape(const path_t *path)
{
    cn_bytes_t  bytes = cn_bytes(path->out, path->len);
    size_t      count = 0;

    for (size_t i = 0; i < bytes.len; i++) {
        count += escape_at(bytes, i) >= 0;
    }

    return count != path->escapes;
}


/* Takes the last segment and its slash off, never the first slash. */
static size_t
parent(const uint8_t *out, size_t len)
{
    while (len > 0 && out[len - 1] != '/') {
        len--;
    }

    return len > 0 ? len - 1 : 0;
}


/* RFC 3986 5.2.4 in place: the written end never passes the read one. */
static void
remove_dots(path_t *path)
{
    uint8_t  *out = path->out;
    size_t    at = 0, len = 0;

    while (at < path->len) {
        size_t  end = at + 1;           /* at is a '/' */

        while (end < path->len && out[end] != '/') {
            end++;
        }

        cn_bytes_t  segment = cn_bytes(out + at + 1, end - at - 1);

        if (cn_bytes_equal(segment, CN_BYTES("."))) {
            if (end == path->len) {
                out[len++] = '/';
            }

        } else if (cn_bytes_equal(segment, CN_BYTES(".."))
                   || cn_bytes_equal(segment, CN_BYTES("..;")))
        {
            len = parent(out, len);

            if (end == path->len) {
                out[len++] = '/';
            }

        } else {
            memmove(out + len, out + at, end - at);
            len += end - at;
        }

        at = end;
    }

    if (len == 0) {
        out[len++] = '/';
    }

    path->len = len;
}


/*
 * "//" to "/".  Envoy joins the segments between the first and the last slash, so that only slashes
 * become "//".
 */
static void
merge_slashes(path_t *path)
{
    size_t  len = 0;

    for (size_t i = 0; i < path->len; i++) {
        if (path->out[i] != '/' || len == 0 || path->out[len - 1] != '/') {
            path->out[len++] = path->out[i];
        }
    }

    if (len == 1 && path->len > 1) {
        path->out[len++] = '/';
    }

    path->len = len;
}


static cn_status_t
rewrite(cn_bytes_t path, cn_bytes_t query, cn_path_level_t level, cn_pool_t *pool, cn_bytes_t *out)
{
    size_t       size;
    path_t       to = { NULL, 0, 0 };
    cn_status_t  status;

    if (cn_size_mul(path.len, ESCAPED_MAX, &size) != CN_OK
        || cn_size_add(size, query.len + 2, &size) != CN_OK)
    {
        return CN_ERR_MEMORY;
    }

    to.out = cn_pool_octets(pool, size);
    if (to.out == NULL) {
        return CN_ERR_MEMORY;
    }

    status = decode(path, level == CN_PATH_DECODE_AND_MERGE_SLASHES, &to);
    if (status != CN_OK) {
        return status;
    }

    if (to.len == 0 || to.out[0] != '/'
        || has_new_escape(&to))
    {
        return CN_ERR_SYNTAX;
    }

    remove_dots(&to);

    if (level >= CN_PATH_MERGE_SLASHES) {
        merge_slashes(&to);
    }

    if (query.len > 0) {
        memcpy(to.out + to.len, query.ptr, query.len);
        to.len += query.len;
    }

    *out = cn_bytes(to.out, to.len);

    return CN_OK;
}


cn_status_t
cn_path_normalize(cn_bytes_t path, cn_path_level_t level, cn_pool_t *pool, cn_bytes_t *out)
{
    size_t      fragment = cn_bytes_find_octet(path, '#');
    cn_bytes_t  bare, query;

    if (fragment != SIZE_MAX) {
        path.len = fragment;
    }

    *out = path;

    /* "*" of OPTIONS is no path */
    if (level == CN_PATH_NONE || (path.len == 1 && path.ptr[0] == '*')) {
        return CN_OK;
    }

    bare = cn_path_without_query(path);
    query = cn_bytes_from(path, bare.len);

    if (is_canonical(bare)
        && (level == CN_PATH_BASE || cn_bytes_find(bare, CN_BYTES("//")) == SIZE_MAX))
    {
        return CN_OK;
    }

    return rewrite(bare, query, level, pool, out);
}


cn_bytes_t
cn_path_without_query(cn_bytes_t path)
{
    size_t  query = cn_bytes_find_octet(path, '?');

    if (query != SIZE_MAX) {
        path.len = query;
    }

    return path;
}
