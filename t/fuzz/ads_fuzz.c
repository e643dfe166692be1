/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ads_fuzz - a hostile control plane: {delta or full(1)}, then steps: 0 a new stream, 1 building and
 * answering, else a message {length(3), octets}.  A message is taken or ends the stream; what is
 * held has its limit, what was refused closes, and every model prints.  A model that got other
 * endpoints is the one that a whole building makes.
 */

#include "source/xds/ads.h"
#include "source/xds/state.h"

#define SIZE_MOST   (256u * 1024)
#define TOTAL_MOST  ((size_t) 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
on_send(void *owner, cn_bytes_t message)
{
    size_t  *sent = owner;

    CN_BUG_ON(message.len == 0);
    *sent += message.len;
}


static void
on_changed(void *owner, cn_xds_type_t type)
{
    (void) owner;
    CN_BUG_ON(type >= CN_XDS_TYPES);
}


/* What is in force, if there is such a thing, gets the endpoints that changed: as text, or NULL. */
static const char *
update(cn_xds_state_t *state, cn_model_t *model, cn_pool_t *pool)
{
    cn_array_t  positions = CN_ARRAY_INIT(pool, size_t);

    if (model == NULL
        || cn_xds_update_endpoints(state, cn_report_create(pool), model, &positions) != CN_OK)
    {
        return NULL;
    }

    CN_BUG_ON(cn_xds_is_changed(state));

    return cn_model_print(model, pool);
}


static void
build(cn_xds_state_t *state, cn_ads_t *ads, cn_model_t **current)
{
    cn_source_config_t         config = {
        .waypoint = "default/waypoint", .trust_domain = CN_BYTES("cluster.local"),
        .modules = cn_module_configs,
    };
    cn_pool_t                 *pool = cn_pool_create(4096, NULL);
    cn_model_t                *model = NULL;
    const cn_xds_rejected_t   *list;
    const char                *updated = update(state, *current, pool);

    if (cn_xds_build(state, &config, cn_report_create(pool), &model) == CN_OK) {
        const char  *text = cn_model_print(model, pool);

        CN_BUG_ON(text == NULL);
        CN_BUG_ON(updated != NULL && strcmp(updated, text) != 0);

    } else {
        CN_BUG_ON(updated != NULL);
    }

    cn_model_destroy(*current);
    *current = model;

    for (size_t i = 0, count = cn_xds_rejected(state, &list); i < count; i++) {
        CN_BUG_ON(list[i].reason[0] == '\0');
    }

    CN_BUG_ON(state->used > TOTAL_MOST);
    CN_BUG_ON(cn_ads_answer(ads, NULL) != CN_OK);
    cn_pool_destroy(pool);
}


/* A step of the input; false: it is over. */
static bool
step(cn_bytes_t *rest, cn_xds_state_t *state, cn_ads_t *ads, cn_model_t **model)
{
    uint8_t     what = rest->ptr[0];
    cn_bytes_t  message;
    size_t      len;

    *rest = cn_bytes_from(*rest, 1);

    if (what == 0) {
        return cn_ads_open(ads) == CN_OK;
    }

    if (what == 1) {
        build(state, ads, model);
        return true;
    }

    if (rest->len < 3) {
        return false;
    }

    len = (size_t) rest->ptr[0] << 16 | (size_t) rest->ptr[1] << 8 | rest->ptr[2];
    *rest = cn_bytes_from(*rest, 3);
    len = len < rest->len ? len : rest->len;
    message = cn_bytes(rest->ptr, len);
    *rest = cn_bytes_from(*rest, len);

    return cn_ads_receive(ads, message) == CN_OK || cn_ads_open(ads) == CN_OK;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t           sent = 0;
    cn_xds_limits_t  limits = { .total_max = TOTAL_MOST, .resource_max = TOTAL_MOST / 2 };
    cn_ads_config_t  config = {
        .node = { .id = CN_BYTES("waypoint~10.0.0.1~wp.default~default.svc.cluster.local") },
        .state = cn_xds_state_create(&limits),
        .owner = &sent,
        .send = on_send,
        .changed = on_changed,
    };
    cn_bytes_t       rest = cn_bytes(data, size);
    cn_model_t      *model = NULL;
    cn_ads_t        *ads;

    if (size > 0) {
        config.kind = data[0] % 2 == 0 ? CN_ADS_DELTA : CN_ADS_FULL;
        rest = cn_bytes_from(rest, 1);
    }

    ads = cn_ads_create(&config);
    CN_BUG_ON(config.state == NULL || ads == NULL || cn_ads_open(ads) != CN_OK);

    for (unsigned i = 0; i < 64 && size < SIZE_MOST && rest.len > 0; i++) {
        if (!step(&rest, config.state, ads, &model)) {
            break;
        }
    }

    CN_BUG_ON(sent == 0);
    build(config.state, ads, &model);
    cn_model_destroy(model);
    cn_ads_destroy(ads);
    cn_xds_state_destroy(config.state);

    return 0;
}
