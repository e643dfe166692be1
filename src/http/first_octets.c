/* SPDX-License-Identifier: Apache-2.0 */

/* first_octets - see first_octets.h. */

#include "http/first_octets.h"

#define PREFACE       CN_BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
#define PREFACE_ENOUGH  12              /* "PRI * HTTP/2": no HTTP/1 request begins so */
#define METHOD_MAX      24              /* octets; the longest registered one has 17 */

typedef struct {
    cn_bytes_t  octets;
    size_t      at;
} line_t;


/* Are the octets the beginning of prefix, or is prefix theirs? */
static bool
agrees(cn_bytes_t octets, cn_bytes_t prefix)
{
    size_t  len = octets.len < prefix.len ? octets.len : prefix.len;

    return len == 0 || memcmp(octets.ptr, prefix.ptr, len) == 0;
}


cn_first_t
cn_first_codec(cn_bytes_t octets)
{
    if (!agrees(octets, cn_bytes(PREFACE.ptr, PREFACE_ENOUGH))) {
        return CN_FIRST_HTTP1;
    }

    return octets.len < PREFACE_ENOUGH ? CN_FIRST_MORE : CN_FIRST_HTTP2;
}


/* Passes a run of what may stand in a method or else in a target, up to a blank. */
static cn_first_t
pass_word(line_t *line, bool method)
{
    size_t  from = line->at;

    for (; line->at < line->octets.len; line->at++) {
        uint8_t  octet = line->octets.ptr[line->at];
        bool     fits = method ? ((octet >= 'A' && octet <= 'Z') || octet == '-' || octet == '_')
                               : (octet > 0x20 && octet != 0x7f);

        if (octet == ' ' && line->at > from) {
            line->at++;
            return CN_FIRST_HTTP1;
        }

        if (!fits || (method && line->at - from == METHOD_MAX)) {
            return CN_FIRST_OTHER;
        }
    }

    return CN_FIRST_MORE;
}


/* "HTTP/1." and a digit, then the line's end, with or without CR. */
static cn_first_t
pass_version(const line_t *line)
{
    cn_bytes_t  rest = cn_bytes_from(line->octets, line->at);
    cn_bytes_t  name = CN_BYTES("HTTP/1.");

    if (!agrees(rest, name)) {
        return CN_FIRST_OTHER;
    }

    if (rest.len <= name.len) {
        return CN_FIRST_MORE;
    }

    rest = cn_bytes_from(rest, name.len);

    if (rest.ptr[0] < '0' || rest.ptr[0] > '9') {
        return CN_FIRST_OTHER;
    }

    rest = cn_bytes_from(rest, 1);

    if (agrees(rest, CN_BYTES("\r\n"))) {
        return rest.len < 2 ? CN_FIRST_MORE : CN_FIRST_HTTP1;
    }

    return rest.ptr[0] == '\n' ? CN_FIRST_HTTP1 : CN_FIRST_OTHER;
}


cn_first_t
cn_first_protocol(cn_bytes_t octets)
{
    line_t      line = { octets, 0 };
    cn_first_t  first;

    if (agrees(octets, PREFACE)) {
        return octets.len < PREFACE.len ? CN_FIRST_MORE : CN_FIRST_HTTP2;
    }

    first = pass_word(&line, true);

    if (first == CN_FIRST_HTTP1) {
        first = pass_word(&line, false);
    }

    if (first == CN_FIRST_HTTP1) {
        first = pass_version(&line);
    }

    /* a line so long is HTTP's or nobody's: its codec will say how much is too much */
    return first == CN_FIRST_MORE && octets.len >= CN_FIRST_MAX ? CN_FIRST_HTTP1 : first;
}
