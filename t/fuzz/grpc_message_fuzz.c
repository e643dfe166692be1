/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a gRPC server says, on any octets: messages are the same in whatever pieces they come, none is
 * over its limit, and memory is taken for what came alone; a status and its message are always read.
 */

#include "http/grpc.h"
#include "http/grpc_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came of a body, for comparison. */
typedef struct {
    uint64_t     hash;
    uint64_t     count;
    cn_status_t  status;
    bool         between;
} outcome_t;


static void
add(outcome_t *outcome, cn_bytes_t message)
{
    outcome->count++;
    outcome->hash = (outcome->hash ^ message.len) * 1099511628211u;

    for (size_t i = 0; i < message.len; i++) {
        outcome->hash = (outcome->hash ^ message.ptr[i]) * 1099511628211u;
    }
}


static outcome_t
read_body(cn_bytes_t body, size_t piece, size_t max)
{
    outcome_t         outcome = { .status = CN_AGAIN };
    cn_grpc_reader_t  reader;
    size_t            fed = 0;

    cn_grpc_reader_init(&reader, max);

    while (body.len > 0 && outcome.status == CN_AGAIN) {
        cn_bytes_t  rest = cn_bytes(body.ptr, body.len < piece ? body.len : piece);
        cn_bytes_t  message;

        body = cn_bytes_from(body, rest.len);
        fed += rest.len;

        while ((outcome.status = cn_grpc_reader_next(&reader, &rest, &message)) == CN_OK) {
            CN_BUG_ON(message.len > max);
            add(&outcome, message);
        }

        CN_BUG_ON(outcome.status == CN_AGAIN && rest.len > 0);
        CN_BUG_ON(reader.capacity > 4096 && reader.capacity > 2 * fed);
    }

    outcome.between = cn_grpc_reader_is_between(&reader);
    cn_grpc_reader_clear(&reader);

    return outcome;
}


static void
read_words(cn_bytes_t text)
{
    uint8_t  *out = cn_alloc(text.len + (text.len == 0));
    uint64_t  timeout_ms;
    size_t    len;

    CN_BUG_ON(out == NULL);
    len = cn_grpc_percent_decode(text, out);
    CN_BUG_ON(len > text.len || (text.len - len) % 2 != 0);
    CN_BUG_ON(len == text.len && text.len > 0 && memcmp(out, text.ptr, len) != 0);
    CN_BUG_ON(cn_grpc_status_parse(text) > CN_GRPC_UNAUTHENTICATED);
    (void) (cn_grpc_timeout_parse(text, &timeout_ms) == CN_OK);
    cn_free(out);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    outcome_t  whole, pieces;
    size_t     piece, max;

    if (size < 2) {
        return 0;
    }

    piece = data[0] + 1u;
    max = data[1] * 64u;
    whole = read_body(cn_bytes(data + 2, size - 2), SIZE_MAX, max);
    pieces = read_body(cn_bytes(data + 2, size - 2), piece, max);
    CN_BUG_ON(whole.hash != pieces.hash || whole.count != pieces.count);
    CN_BUG_ON(whole.status != pieces.status || whole.between != pieces.between);
    read_words(cn_bytes(data, size));

    return 0;
}
