/* SPDX-License-Identifier: Apache-2.0 */

/* A call to a service that answers before it has read the request, and what comes after that. */

#include "unit.h"

#include "base/clock.h"
#include "event/socket.h"
#include "table/keys.h"
#include "table/snapshot.h"
#include "table/verify.h"
#include "upstream/call.h"

#include <sys/socket.h>
#include <unistd.h>

#define CLUSTER   7u
#define BODY_LEN  ((size_t) 200 * 1024)         /* more than a peer gives credit for at first */
#define TURNS     5000

typedef struct {
    cn_loop_t         *loop;
    cn_publisher_t    *publisher;
    cn_publication_t   publication;
    cn_tables_t       *tables;
    cn_slab_t         *slab;
    cn_account_t       account;
    cn_upstream_t     *upstream;
    int                listening;
    int                peer;
    cn_address_t       address;
    cn_pool_t         *pool;
    cn_chain_t         body;
    cn_message_t       head;
    cn_call_t         *call;
} rig_t;

static unsigned     done_count;
static cn_status_t  done_status;
static int          done_answer;


static void
put(rig_t *rig, cn_block_builder_t *builder, cn_bytes_t key)
{
    const cn_block_t  *block;

    assert_int_equal(cn_block_finish(builder, &block), CN_OK);
    assert_int_equal(cn_publisher_put(rig->publisher, block, &key, 1), CN_OK);
    cn_block_builder_destroy(builder);
}


static void
put_cluster(rig_t *rig, bool http2)
{
    cn_block_builder_t    *builder = cn_block_builder_create(CN_BLOCK_CLUSTER, CLUSTER,
                                                             sizeof(cn_table_cluster_t));
    cn_rel_bytes_t         name = cn_block_add_bytes(builder, CN_BYTES("c"));
    cn_table_cluster_t    *cluster = cn_block_builder_root(builder);
    cn_table_endpoint_t   *endpoint;
    cn_rel_array_t         endpoints;
    uint8_t                key[CN_KEY_MAX];

    *cluster = (cn_table_cluster_t) {
        .id = CLUSTER, .lb = CN_LB_ROUND_ROBIN, .name = name, .http2 = http2,
        .connect_timeout_ms = 5000, .idle_timeout_ms = 60000, .max_connections = UINT32_MAX,
        .max_pending = UINT32_MAX, .max_requests = UINT32_MAX, .max_retries = UINT32_MAX,
        .cell = CN_CELL_NONE,
    };
    put(rig, builder, cn_key_cluster(key, CLUSTER));

    builder = cn_block_builder_create(CN_BLOCK_ENDPOINTS, CLUSTER, sizeof(cn_table_endpoints_t));
    endpoints = cn_block_add_array(builder, 1, sizeof(cn_table_endpoint_t),
                                   _Alignof(cn_table_endpoint_t));
    endpoint = cn_block_builder_at(builder, endpoints.at);
    *endpoint = (cn_table_endpoint_t) {
        .port = rig->address.port, .flags = CN_ENDPOINT_HEALTHY, .weight = 1, .cell = 1,
    };
    memcpy(endpoint->ip, rig->address.ip, 16);
    *(cn_table_endpoints_t *) cn_block_builder_root(builder) = (cn_table_endpoints_t) {
        .cluster = CLUSTER, .usable = 1, .total_weight = 1, .weight_unit = 1,
        .endpoints = endpoints,
    };
    put(rig, builder, cn_key_endpoints(key, CLUSTER));
}


static void
publish(rig_t *rig, bool http2)
{
    cn_publication_t   copy;
    const char        *what = "";
    cn_status_t        status;

    cn_publisher_begin(rig->publisher);
    put_cluster(rig, http2);
    assert_int_equal(cn_publisher_commit(rig->publisher, &rig->publication), CN_OK);
    copy = rig->publication;
    copy.directory = dup(copy.directory);

    for (size_t i = 0; i < copy.segment_count; i++) {
        copy.segments[i] = dup(copy.segments[i]);
    }

    assert_int_equal(cn_tables_offer(rig->tables, &copy), CN_OK);

    while ((status = cn_tables_adopt(rig->tables, 1000, &what)) == CN_AGAIN) {
        continue;
    }

    assert_int_equal(status, CN_OK);
}


static void
rig_open(rig_t *rig, bool http2)
{
    cn_slab_config_t   config = { .workers = 1, .cells = 64, .ring_size = 32768,
                                  .series_size = 65536 };
    const char        *what = "";
    int                fd;

    memset(rig, 0, sizeof(*rig));
    cn_clock_update();
    assert_int_equal(cn_slab_create(&config, &fd), CN_OK);
    rig->slab = cn_slab_map(fd, &what);
    assert_non_null(rig->slab);
    close(fd);
    rig->loop = cn_loop_create();
    rig->publisher = cn_publisher_create(0);
    rig->tables = cn_tables_create(cn_table_verify);
    assert_int_equal(cn_address_parse(CN_BYTES("127.0.0.1:0"), &rig->address), CN_OK);
    assert_int_equal(cn_socket_listen(&rig->address, false, 16, &rig->listening), CN_OK);
    assert_int_equal(cn_socket_local(rig->listening, &rig->address), CN_OK);
    publish(rig, http2);
    rig->upstream = cn_upstream_create(&(cn_upstream_env_t) {
        .loop = rig->loop, .tables = rig->tables, .slab = rig->slab, .account = &rig->account,
    });
    assert_non_null(rig->upstream);
    rig->peer = -1;
}


static void
rig_close(rig_t *rig)
{
    cn_upstream_destroy(rig->upstream);
    close(rig->peer);
    close(rig->listening);
    assert_true(cn_loop_finish(rig->loop, 5000));       /* what was queued for the peer too */
    cn_tables_destroy(rig->tables);
    cn_publisher_destroy(rig->publisher);
    cn_slab_unmap(rig->slab);
    cn_loop_destroy(rig->loop);
}


static void
call_done(cn_call_t *call)
{
    done_count++;
    done_status = call->status;
    done_answer = call->answer == NULL ? 0 : (int) call->answer->status;
}


static void
start(rig_t *rig)
{
    static const uint8_t  zeros[4096];
    cn_call_request_t     request = {
        .cluster = CLUSTER, .head = &rig->head, .body = &rig->body, .timeout_ms = 10000,
        .answer_max = 1000,
    };

    done_count = 0;
    rig->pool = cn_pool_create(4096, NULL);
    rig->call = calloc(1, sizeof(*rig->call));
    cn_message_init(&rig->head, rig->pool);
    rig->head.method = CN_BYTES("POST");
    rig->head.path = CN_BYTES("/check");
    rig->head.authority = CN_BYTES("a");
    rig->head.scheme = CN_BYTES("http");

    while (rig->body.len < BODY_LEN) {
        assert_int_equal(cn_chain_append(&rig->body, cn_bytes(zeros, sizeof(zeros))), CN_OK);
    }

    assert_int_equal(cn_call_start(rig->call, rig->upstream, &request, rig->pool, call_done),
                     CN_OK);

    for (unsigned i = 0; rig->peer < 0 && i < TURNS; i++) {
        cn_address_t  from;
        int           fd;

        cn_loop_turn(rig->loop, 1);

        if (cn_socket_accept(rig->listening, &fd, &from) == CN_OK) {
            rig->peer = fd;
        }
    }

    assert_true(rig->peer >= 0);
}


/* The caller has what it wanted: nothing of the call is there any more. */
static void
forget(rig_t *rig)
{
    cn_call_cancel(rig->call);
    memset(rig->call, 0xa5, sizeof(*rig->call));
    free(rig->call);
    cn_chain_clear(&rig->body);
    cn_loop_turn(rig->loop, 0);         /* as a request's pool goes: at a turn's end */
    cn_pool_destroy(rig->pool);
}


/* Reads what there is, but no more than would end the request. */
static size_t
hear(rig_t *rig)
{
    uint8_t  buffer[16384];
    ssize_t  len = recv(rig->peer, buffer, sizeof(buffer), MSG_DONTWAIT);

    return len < 0 ? 0 : (size_t) len;
}


static void
say(const rig_t *rig, const void *octets, size_t len)
{
    assert_int_equal(send(rig->peer, octets, len, MSG_NOSIGNAL), (ssize_t) len);
}


static void
wait_done(rig_t *rig, bool listening)
{
    for (unsigned i = 0; done_count == 0 && i < TURNS; i++) {
        cn_loop_turn(rig->loop, 1);

        if (listening) {
            (void) hear(rig);
        }
    }

    assert_int_equal(done_count, 1);
    assert_int_equal(done_status, CN_OK);
    assert_int_equal(done_answer, 200);
}


static const uint8_t  settings[] = { 0, 0, 0, 4, 0, 0, 0, 0, 0 };
/* HEADERS, END_STREAM | END_HEADERS, of stream 1: ":status: 200" */
static const uint8_t  answer[] = { 0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88 };
/* the same without END_STREAM; DATA "ok"; HEADERS with END_STREAM: trailers "a: b" */
static const uint8_t  answer_with_trailers[] = {
    0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88,
    0, 0, 2, 0, 0, 0, 0, 0, 1, 'o', 'k',
    0, 0, 5, 1, 5, 0, 0, 0, 1, 0x00, 1, 'a', 1, 'b',
};
static const uint8_t  reset_with_error[] = { 0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2 };
static const uint8_t  reset_without[] = { 0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 0 };
static const uint8_t  goaway[] = { 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2 };


static void
what_follows_an_answer_reaches_no_finished_call(void **state)
{
    static const struct {
        const char     *name;
        const uint8_t  *answer;
        size_t          answer_len;
        const uint8_t  *then;
        size_t          then_len;
    } cases[] = {
        { "RST_STREAM with an error", answer, sizeof(answer),
          reset_with_error, sizeof(reset_with_error) },
        { "RST_STREAM without one", answer, sizeof(answer), reset_without, sizeof(reset_without) },
        { "RST_STREAM after trailers", answer_with_trailers, sizeof(answer_with_trailers),
          reset_with_error, sizeof(reset_with_error) },
        { "GOAWAY", answer, sizeof(answer), goaway, sizeof(goaway) },
        { "the connection's end", answer, sizeof(answer), NULL, 0 },
    };

    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        rig_t  rig;

        print_message("# %s\n", cases[i].name);
        rig_open(&rig, true);
        start(&rig);
        say(&rig, settings, sizeof(settings));
        say(&rig, cases[i].answer, cases[i].answer_len);
        wait_done(&rig, true);
        forget(&rig);

        if (cases[i].then == NULL) {
            assert_int_equal(shutdown(rig.peer, SHUT_RDWR), 0);
        } else {
            say(&rig, cases[i].then, cases[i].then_len);
        }

        for (unsigned j = 0; j < 50; j++) {
            cn_loop_turn(rig.loop, 1);
            (void) hear(&rig);
        }

        assert_int_equal(done_count, 1);
        rig_close(&rig);
    }
}


static void
an_answer_and_a_reset_in_one_piece_are_one_answer(void **state)
{
    uint8_t  both[sizeof(answer) + sizeof(reset_with_error)];
    rig_t    rig;

    (void) state;
    memcpy(both, answer, sizeof(answer));
    memcpy(both + sizeof(answer), reset_with_error, sizeof(reset_with_error));
    rig_open(&rig, true);
    start(&rig);
    say(&rig, settings, sizeof(settings));
    say(&rig, both, sizeof(both));

    for (unsigned i = 0; i < 200; i++) {
        cn_loop_turn(rig.loop, 1);
    }

    assert_int_equal(done_count, 1);
    forget(&rig);
    rig_close(&rig);
}


static void
an_answer_over_http1_before_the_request_was_read_is_one(void **state)
{
    static const char  said[] = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    rig_t              rig;

    (void) state;
    rig_open(&rig, false);
    start(&rig);
    say(&rig, said, sizeof(said) - 1);
    wait_done(&rig, false);
    forget(&rig);
    (void) shutdown(rig.peer, SHUT_RDWR);       /* unless it is over already */

    for (unsigned i = 0; i < 50; i++) {
        cn_loop_turn(rig.loop, 1);
    }

    assert_int_equal(done_count, 1);
    rig_close(&rig);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_follows_an_answer_reaches_no_finished_call),
        cmocka_unit_test(an_answer_and_a_reset_in_one_piece_are_one_answer),
        cmocka_unit_test(an_answer_over_http1_before_the_request_was_read_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
