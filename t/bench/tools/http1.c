/* SPDX-License-Identifier: Apache-2.0 */
/* Heads and chunked bodies of HTTP/1.1, for the benchmark's tools. */

#include "http1.h"

#include <strings.h>

#define MAX_HEAD 65536

static bool
line_names(const uint8_t *line, size_t len, const char *name)
{
    size_t name_len = strlen(name);

    return len > name_len && strncasecmp((const char *) line, name, name_len) == 0;
}

static uint64_t
digits(const uint8_t *at, const uint8_t *end)
{
    uint64_t value = 0;

    while (at < end && *at == ' ') {
        at++;
    }
    while (at < end && *at >= '0' && *at <= '9' && value < UINT64_MAX / 16) {
        value = value * 10 + (uint64_t) (*at++ - '0');
    }
    return value;
}

static void
read_line(const uint8_t *line, size_t len, hb_head_t *head)
{
    /* the first letter saves three compares on most lines */
    switch (line[0] | 32) {
    case 'c':
        if (line_names(line, len, "content-length:")) {
            head->content_len = digits(line + 15, line + len);
        } else if (line_names(line, len, "connection:")) {
            head->close = memmem(line + 11, len - 11, "close", 5) != NULL;
        }
        break;
    case 't':
        if (line_names(line, len, "transfer-encoding:")) {
            head->chunked = memmem(line + 18, len - 18, "chunked", 7) != NULL;
        }
        break;
    default:
        break;
    }
}

hb_head_rc_t
hb_head_scan(const uint8_t *data, size_t len, hb_head_t *head)
{
    const uint8_t *stop = memmem(data, len, "\r\n\r\n", 4);

    if (stop == NULL) {
        return len > MAX_HEAD ? HB_HEAD_BAD : HB_HEAD_PARTIAL;
    }

    const uint8_t *line = data;
    const uint8_t *end = stop + 2;

    *head = (hb_head_t) { .size = (size_t) (stop - data) + 4 };

    while (line < end) {
        const uint8_t *newline = memchr(line, '\n', (size_t) (end - line));
        size_t line_len = (size_t) (newline - line);

        if (line != data) {
            read_line(line, line_len, head);
        } else if (line_len > 12 && memcmp(line, "HTTP/1.", 7) == 0) {
            head->status = (int) (digits(line + 9, line + 12) % 1000);
        }
        line = newline + 1;
    }
    return HB_HEAD_WHOLE;
}

hb_head_rc_t
hb_head_collect(hb_buf_t *store, const uint8_t *data, size_t len, hb_head_t *head,
                const uint8_t **at, size_t *used)
{
    size_t kept = hb_buf_len(store);
    size_t have = len;

    *at = data;

    if (kept != 0) {
        hb_buf_add(store, data, len);
        *at = hb_buf_data(store);
        have += kept;
    }

    hb_head_rc_t rc = hb_head_scan(*at, have, head);

    if (rc == HB_HEAD_WHOLE) {
        *used = head->size - kept;
        hb_buf_clear(store); /* the bytes at *at stay until the next add */
    } else if (kept == 0) {
        hb_buf_add(store, data, len);
    }
    return rc;
}

static int
hex_value(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 32;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* One byte of a size line, of the end after data, or of a trailer; true at the end of the body. */
static bool
chunk_byte(hb_chunks_t *chunks, uint8_t byte)
{
    int value;

    switch (chunks->state) {
    case HB_CHUNK_SIZE:
        value = hex_value(byte);
        if (value >= 0) {
            chunks->left = chunks->left * 16 + (uint64_t) value;
        } else if (byte == '\n') {
            chunks->state = chunks->left != 0 ? HB_CHUNK_DATA : HB_CHUNK_TRAILER;
            chunks->line_len = 0;
        }
        return false;

    case HB_CHUNK_DATA_END:
        if (byte == '\n') {
            chunks->state = HB_CHUNK_SIZE;
        }
        return false;

    default:
        if (byte == '\n') {
            bool end = chunks->line_len == 0;

            chunks->line_len = 0;
            return end;
        }
        chunks->line_len += byte != '\r';
        return false;
    }
}

size_t
hb_chunks_feed(hb_chunks_t *chunks, const uint8_t *data, size_t len, uint64_t *body, bool *end)
{
    size_t at = 0;

    *end = false;

    while (at < len) {
        if (chunks->state == HB_CHUNK_DATA) {
            size_t part = len - at < chunks->left ? len - at : (size_t) chunks->left;

            at += part;
            *body += part;
            chunks->left -= part;
            if (chunks->left == 0) {
                chunks->state = HB_CHUNK_DATA_END;
            }
        } else if (chunk_byte(chunks, data[at++])) {
            *chunks = (hb_chunks_t) { 0 };
            *end = true;
            return at;
        }
    }
    return at;
}
