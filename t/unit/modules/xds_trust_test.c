/* SPDX-License-Identifier: Apache-2.0 */

/* Of which trust domains a peer may be, as connect_terminate says it; and nothing else lets it in. */

#include "push.h"

#define TERMINATE  "connect_terminate"
#define SANS       "Listener " TERMINATE ": " TERMINATE ": match_typed_subject_alt_names: "
#define FORM       SANS "is not implemented but for a URI's prefix spiffe://DOMAIN/\n"
#define NOBODY     SANS "there is none: no peer is trusted\n"

typedef Cairn__SubjectAltNameMatcher  matcher_t;

typedef struct {
    const char  *name;
    const char  *prefixes[4];       /* up to NULL */
    const char  *domains;           /* as the model has them, a space behind each */
    const char  *rejected;
    int32_t      san_type;          /* 0: a URI */
    bool         exact;
    bool         ignore_case;
} trust_t;


static ProtobufCBinaryData
data_of(const char *text)
{
    return (ProtobufCBinaryData) { .len = strlen(text), .data = (uint8_t *) (uintptr_t) text };
}


static ProtobufCBinaryData
pack(cn_pool_t *pool, const ProtobufCMessage *message)
{
    size_t    len = protobuf_c_message_get_packed_size(message);
    uint8_t  *octets = cn_pool_octets(pool, len + 1);

    assert_non_null(octets);
    assert_int_equal(protobuf_c_message_pack(message, octets), len);

    return (ProtobufCBinaryData) { .len = len, .data = octets };
}


static matcher_t *
matcher_of(cn_pool_t *pool, const trust_t *wanted, const char *text)
{
    matcher_t              *matcher = cn_pool_alloc(pool, sizeof(*matcher));
    Cairn__StringMatcher   *string = cn_pool_alloc(pool, sizeof(*string));

    assert_non_null(matcher);
    assert_non_null(string);
    cairn__subject_alt_name_matcher__init(matcher);
    cairn__string_matcher__init(string);
    matcher->has_san_type = true;
    matcher->san_type = wanted->san_type == 0 ? 3 : wanted->san_type;
    matcher->matcher = string;
    string->has_ignore_case = wanted->ignore_case;
    string->ignore_case = wanted->ignore_case;

    if (wanted->exact) {
        string->pattern_case = CAIRN__STRING_MATCHER__PATTERN_EXACT;
        string->exact = data_of(text);
    } else {
        string->pattern_case = CAIRN__STRING_MATCHER__PATTERN_PREFIX;
        string->prefix = data_of(text);
    }

    return matcher;
}


static ProtobufCBinaryData
tls_of(cn_pool_t *pool, const trust_t *wanted)
{
    Cairn__DownstreamTlsContext          tls = CAIRN__DOWNSTREAM_TLS_CONTEXT__INIT;
    Cairn__CommonTlsContext              common = CAIRN__COMMON_TLS_CONTEXT__INIT;
    Cairn__CombinedValidationContext     both = CAIRN__COMBINED_VALIDATION_CONTEXT__INIT;
    Cairn__CertificateValidationContext  known = CAIRN__CERTIFICATE_VALIDATION_CONTEXT__INIT;
    matcher_t                           *matchers[4];

    while (wanted->prefixes[known.n_match_typed_subject_alt_names] != NULL) {
        size_t  at = known.n_match_typed_subject_alt_names++;

        matchers[at] = matcher_of(pool, wanted, wanted->prefixes[at]);
    }

    known.match_typed_subject_alt_names = matchers;
    both.default_validation_context = &known;
    common.combined_validation_context = &both;
    tls.common_tls_context = &common;

    return pack(pool, &tls.base);
}


/* The recorded push, in which just these may come. */
static void
set_trust(cn_pool_t *pool, push_t *push, const trust_t *wanted)
{
    resource_t           *item = push_find(push, CN_XDS_LISTENERS, TERMINATE);
    Cairn__Listener      *listener = push_listener(item);
    ProtobufCBinaryData  *place = &listener->filter_chains[0];
    Cairn__FilterChain   *chain = cairn__filter_chain__unpack(NULL, place->len, place->data);
    ProtobufCBinaryData   old, packed;

    assert_non_null(chain);
    old = chain->transport_socket->typed_config->value;
    chain->transport_socket->typed_config->value = tls_of(pool, wanted);
    packed = pack(pool, &chain->base);
    chain->transport_socket->typed_config->value = old;
    cairn__filter_chain__free_unpacked(chain, NULL);
    place->len = 0;
    push_append(place, cn_bytes(packed.data, packed.len));
    push_repack(pool, listener, item);
}


/* Builds, and tells the model's trust domains in pool. */
static const char *
domains_of(cn_xds_state_t *state, cn_pool_t *pool, const char *own)
{
    cn_source_config_t   config = {
        .waypoint = "default/waypoint", .trust_domain = cn_bytes_str(own),
        .trust_aliases = (const cn_bytes_t[]) { CN_BYTES_INIT("given.up") },
        .trust_alias_count = 1, .modules = cn_module_configs,
    };
    cn_model_t          *model = NULL;
    const char          *text = "";

    assert_int_equal(cn_xds_build(state, &config, cn_report_create(pool), &model), CN_OK);

    CN_ARRAY_EACH(&model->trust_domains, const cn_bytes_t, domain) {
        text = cn_pool_printf(pool, "%s%.*s ", text, CN_BYTES_ARG(*domain));
    }

    cn_model_destroy(model);

    return text;
}


static const trust_t  cases[] = {
    { .name = "one", .prefixes = { "spiffe://cluster.local/" }, .domains = "cluster.local " },
    { .name = "aliases, our own first",
      .prefixes = { "spiffe://old.example/", "spiffe://cluster.local/", "spiffe://td2/" },
      .domains = "cluster.local old.example td2 " },
    { .name = "one twice", .prefixes = { "spiffe://td2/", "spiffe://td2/" }, .domains = "td2 " },
    { .name = "our own is not among them: a peer of it is not trusted",
      .prefixes = { "spiffe://td2/" }, .domains = "td2 " },
    { .name = "nobody", .prefixes = { NULL }, .domains = "", .rejected = NOBODY },
    { .name = "any longer name", .prefixes = { "spiffe://td2" }, .domains = "", .rejected = FORM },
    { .name = "one namespace", .prefixes = { "spiffe://td2/ns/a/" }, .domains = "",
      .rejected = FORM },
    { .name = "a domain without a name", .prefixes = { "spiffe:///" }, .domains = "",
      .rejected = FORM },
    { .name = "everybody", .prefixes = { "spiffe://" }, .domains = "", .rejected = FORM },
    { .name = "an empty prefix", .prefixes = { "" }, .domains = "", .rejected = FORM },
    { .name = "one of two that is not understood lets nobody in",
      .prefixes = { "spiffe://cluster.local/", "https://a/" }, .domains = "", .rejected = FORM },
    { .name = "an exact name", .prefixes = { "spiffe://td2/" }, .exact = true, .domains = "",
      .rejected = FORM },
    { .name = "in any case", .prefixes = { "spiffe://td2/" }, .ignore_case = true, .domains = "",
      .rejected = FORM },
    { .name = "a DNS name", .prefixes = { "spiffe://td2/" }, .san_type = 2, .domains = "",
      .rejected = FORM },
};


/* What is refused has nothing good before it here: all chains are closed too. */
static void
trust_domains_are_what_a_uri_begins_with(void **state)
{
    (void) state;

    for (size_t i = 0; i < CN_COUNT_OF(cases); i++) {
        cn_pool_t       *pool = cn_pool_create(4096, NULL);
        push_t          *push = push_of(pool, "01-plain");
        cn_xds_state_t  *xds = cn_xds_state_create(NULL);
        const char      *rejected = cases[i].rejected == NULL ? "" : cases[i].rejected;

        set_trust(pool, push, &cases[i]);
        push_put(xds, push);
        unit_check(strcmp(domains_of(xds, pool, "cluster.local"), cases[i].domains) == 0,
                   cases[i].name);
        unit_check(strcmp(push_rejected(xds, pool), rejected) == 0, cases[i].name);
        cn_xds_state_destroy(xds);
        cn_pool_destroy(pool);
    }
}


static void
they_change_and_what_is_refused_leaves_them(void **state)
{
    static const trust_t   more = { .prefixes = { "spiffe://cluster.local/", "spiffe://td2/" } };
    static const trust_t   wrong = { .prefixes = { "spiffe://" } };
    static const trust_t   other = { .prefixes = { "spiffe://td3/" } };
    cn_pool_t             *pool = cn_pool_create(4096, NULL);
    push_t                *push = push_of(pool, "01-plain");
    cn_xds_state_t        *xds = cn_xds_state_create(NULL);

    (void) state;
    push_put(xds, push);
    assert_string_equal(domains_of(xds, pool, "cluster.local"), "cluster.local ");
    set_trust(pool, push, &more);
    push_put(xds, push);
    assert_string_equal(domains_of(xds, pool, "cluster.local"), "cluster.local td2 ");
    set_trust(pool, push, &wrong);
    push_put(xds, push);
    assert_string_equal(domains_of(xds, pool, "cluster.local"), "cluster.local td2 ");
    assert_string_equal(push_rejected(xds, pool), FORM);
    set_trust(pool, push, &other);
    push_put(xds, push);
    assert_string_equal(domains_of(xds, pool, "cluster.local"), "td3 ");

    /* without the listener nobody comes in */
    *push_find(push, CN_XDS_LISTENERS, TERMINATE) = push->items[--push->count];
    push_put(xds, push);
    assert_string_equal(domains_of(xds, pool, "cluster.local"), "");
    cn_xds_state_destroy(xds);
    cn_pool_destroy(pool);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(trust_domains_are_what_a_uri_begins_with),
        cmocka_unit_test(they_change_and_what_is_refused_leaves_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
