# SPDX-License-Identifier: Apache-2.0
"""Envoy's configuration.

waypoint() has the shape that istiod gives a waypoint:

    connect_terminate (mTLS, CONNECT) -> main_internal (VIP and port to a chain; policy, router)
      -> inbound-vip cluster (internal address) -> connect_originate (CONNECT) -> HTTP/2 over mTLS

with istiod's timeouts, retry policy, limits and list of statistics.  What only Istio's own build
of Envoy has (istio_stats, peer metadata, workload discovery) is not in it, so that a real waypoint
costs more than this one.  plain() is one listener and one cluster."""

import json
from dataclasses import dataclass

from . import levels, places

TYPES = "type.googleapis.com/"
HTTP = "envoy.extensions.filters.http."
HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ORIGINAL_DST = "envoy.filters.listener.original_dst"
NO_LIMIT = 4294967295
LOG_LINE = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    '%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% '
    '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% '
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% '
    '%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% '
    '%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n')


@dataclass
class Addresses:
    """Where Envoy listens, where its admin endpoint is, and the application's pod."""

    port: int
    admin: int
    pod: str


def typed(name, **fields):
    return {"@type": TYPES + name, **fields}


def extension(name, type_name, **fields):
    return {"name": name, "typed_config": typed(type_name, **fields)}


def socket_address(address, port):
    return {"socket_address": {"address": address, "port_value": port}}


def protocol_options(**fields):
    return {PROTOCOL_OPTIONS: typed(PROTOCOL_OPTIONS, **fields)}


ROUTER = extension("envoy.filters.http.router", HTTP + "router.v3.Router")
BREAKERS = {"thresholds": [{"max_retries": NO_LIMIT, "max_requests": NO_LIMIT,
                            "max_connections": NO_LIMIT, "max_pending_requests": NO_LIMIT,
                            "track_remaining": True}]}


def tls_context():
    return {
        "alpn_protocols": ["h2"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3",
                       "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [{
            "certificate_chain": {"filename": places.certificate("waypoint")},
            "private_key": {"filename": places.key("waypoint")}}],
        "validation_context": {
            "trusted_ca": {"filename": places.certificate("root")},
            "match_typed_subject_alt_names": [
                {"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}]},
    }


def downstream_tls():
    return extension("tls", "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                     common_tls_context=tls_context(), require_client_certificate=True)


def upstream_tls():
    return extension("tls", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                     common_tls_context=tls_context())


def internal_transport(passed_on=()):
    raw = extension("envoy.transport_sockets.raw_buffer",
                    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")
    fields = {"transport_socket": raw}
    if passed_on:
        fields["passthrough_metadata"] = [{"kind": {"host": {}}, "name": name}
                                          for name in passed_on]
    return extension(
        "internal_upstream",
        "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
        **fields)


def bootstrap(addresses, listeners, clusters):
    prefixes = ("reporter=", "cluster_manager", "listener_manager", "server", "cluster.xds-grpc",
                "wasm", "component", "istio")
    suffixes = ("rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied",
                "downstream_cx_active")
    return {
        "node": {"id": "waypoint~127.0.0.1~waypoint.default~default.svc.cluster.local",
                 "cluster": "waypoint.default"},
        "admin": {"address": socket_address("127.0.0.1", addresses.admin)},
        "layered_runtime": {"layers": [
            {"name": "global config", "static_layer": {
                "re2.max_program_size.error_level": "32768",
                "envoy.reloadable_features.http_reject_path_with_fragment": False,
                "envoy.reloadable_features.fixed_heap_use_allocated": True}},
            {"name": "admin", "admin_layer": {}}]},
        "bootstrap_extensions": [extension(
            "envoy.bootstrap.internal_listener",
            "envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
            buffer_size_kb=64)],
        "static_resources": {"listeners": listeners, "clusters": clusters},
        "stats_config": {
            "use_all_default_tags": False,
            "stats_matcher": {"inclusion_list": {"patterns":
                [{"prefix": prefix} for prefix in prefixes]
                + [{"suffix": suffix} for suffix in suffixes]
                + [{"safe_regex": {"regex": r"vhost\..*\.route\..*"}}]}}},
    }


def plain(addresses):
    """Plain HTTP/1.1 in and out."""
    manager = extension("hcm", HCM, stat_prefix="in", codec_type="AUTO",
        stream_idle_timeout="0s", http_filters=[ROUTER],
        route_config={"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}}]}]})
    listener = {"name": "in", "address": socket_address("127.0.0.1", addresses.port),
                "filter_chains": [{"filters": [manager]}],
                "connection_balance_config": {"exact_balance": {}}}
    endpoint = {"endpoint": {"address": socket_address(addresses.pod, places.APP_PORT)}}
    cluster = {"name": "app", "type": "STATIC", "connect_timeout": "10s",
               "circuit_breakers": BREAKERS,
               "load_assignment": {"cluster_name": "app",
                                   "endpoints": [{"lb_endpoints": [endpoint]}]}}
    return bootstrap(addresses, [listener], [cluster])


def filter_state(key, value, hashable=False):
    entry = {"object_key": key, "shared_with_upstream": "ONCE",
             "format_string": {"text_format_source": {"inline_string": value}}}
    if hashable:
        entry["factory_key"] = "envoy.hashable_string"
    return entry


def connect_terminate(addresses):
    """The listener for HBONE: it takes the tunnels apart."""
    state = extension("connect_authority", HTTP + "set_filter_state.v3.Config",
        on_request_headers=[
            filter_state(ORIGINAL_DST + ".local_ip", "%REQ(:AUTHORITY)%"),
            filter_state("io.istio.connect_authority", "%REQ(:AUTHORITY)%", True),
            filter_state(ORIGINAL_DST + ".remote_ip", "%DOWNSTREAM_REMOTE_ADDRESS%"),
            filter_state("io.istio.peer_principal", "%DOWNSTREAM_PEER_URI_SAN%", True),
            filter_state("io.istio.local_principal", "%DOWNSTREAM_LOCAL_URI_SAN%", True)])
    route = {"match": {"connect_matcher": {}},
             "route": {"cluster": "main_internal", "upgrade_configs": [
                 {"upgrade_type": "CONNECT", "connect_config": {}}]}}
    manager = extension("envoy.filters.network.http_connection_manager", HCM,
        stat_prefix="connect_terminate", server_name="istio-envoy", use_remote_address=False,
        route_config={"name": "default", "virtual_hosts": [
            {"name": "default", "domains": ["*"], "routes": [route]}]},
        forward_client_cert_details="APPEND_FORWARD",
        set_current_client_cert_details={"subject": True, "uri": True, "dns": True},
        stream_idle_timeout="0s", upgrade_configs=[{"upgrade_type": "CONNECT"}],
        http2_protocol_options={"allow_connect": True, "max_concurrent_streams": 100,
            "connection_keepalive": {"interval": "10s", "timeout": "20s"}},
        http_filters=[state, ROUTER])
    return {"name": "connect_terminate",
            "address": socket_address("127.0.0.1", addresses.port),
            "filter_chains": [{"name": "default", "transport_socket": downstream_tls(),
                               "filters": [manager]}],
            "connection_balance_config": {"exact_balance": {}}}


def policy(index):
    """ALLOW by principal, method and path: what istiod makes of an AuthorizationPolicy."""
    def header(method):
        return {"header": {"name": ":method", "string_match": {"exact": method}}}

    def principal(account):
        return {"filter_state": {"key": "io.istio.peer_principal", "string_match": {
            "exact": f"spiffe://cluster.local/ns/default/sa/{account}"}}}

    permissions = [{"and_rules": {"rules": [
        {"or_rules": {"rules": [header("GET"), header("POST")]}},
        {"or_rules": {"rules": [{"url_path": {"path": {"prefix": "/"}}}]}}]}}]
    principals = [{"and_ids": {"ids": [
        {"or_ids": {"ids": [principal("other"), principal("client")]}}]}}]
    return extension("envoy.filters.http.rbac", HTTP + "rbac.v3.RBAC",
        shadow_rules_stat_prefix="istio_dry_run_allow_",
        rules={"action": "ALLOW", "policies": {
            f"ns[default]-policy[svc{index}]-rule[0]": {
                "permissions": permissions, "principals": principals}}})


RETRIES = {
    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
    "num_retries": 2,
    "host_selection_retry_max_attempts": "5",
    "retry_host_predicate": [extension(
        "envoy.retry_host_predicates.previous_hosts",
        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")],
}


def service_host(index):
    return f"svc{index}.default.svc.cluster.local"


def cluster_name(index):
    return f"inbound-vip|80|http|{service_host(index)}"


def route_to(index, name, match):
    resource = f"/apis/networking.istio.io/v1/namespaces/default/virtual-service/vs{index}"
    return {"name": name, "match": match,
            "decorator": {"operation": f"{service_host(index)}:80/*"},
            "route": {"cluster": cluster_name(index), "timeout": "0s", "retry_policy": RETRIES,
                      "max_stream_duration": {"max_stream_duration": "0s",
                                              "grpc_timeout_header_max": "0s"}},
            "metadata": {"filter_metadata": {"istio": {"config": resource}}}}


def access_log():
    """Istio's line, as meshConfig.accessLogFile makes it."""
    return [extension("envoy.access_loggers.file",
                      "envoy.extensions.access_loggers.file.v3.FileAccessLog",
                      path=levels.LOG_PATH,
                      log_format={"text_format_source": {"inline_string": LOG_LINE}})]


def service_chain(index, two_routes, log):
    """The filter chain of one service's port."""
    routes = [route_to(index, "default", {"prefix": "/"})]
    if two_routes:
        routes.insert(0, route_to(index, "api", {"prefix": "/api/v1/", "case_sensitive": True}))
    name = cluster_name(index)
    manager = extension("envoy.filters.network.http_connection_manager", HCM,
        stat_prefix=f"inbound_{levels.vip(index)}_80;", codec_type="AUTO",
        server_name="istio-envoy", use_remote_address=False, normalize_path=True,
        path_with_escaped_slashes_action="KEEP_UNCHANGED", stream_idle_timeout="0s",
        upgrade_configs=[{"upgrade_type": "websocket"}], access_log=access_log() if log else [],
        route_config={"name": name, "validate_clusters": False,
                      "max_direct_response_body_size_bytes": 1048576,
                      "virtual_hosts": [{"name": "inbound|http|80", "domains": ["*"],
                                         "routes": routes}]},
        http_filters=[
            policy(index),
            extension("envoy.filters.http.grpc_stats", HTTP + "grpc_stats.v3.FilterConfig",
                      emit_filter_state=True, stats_for_all_methods=False),
            extension("envoy.filters.http.fault", HTTP + "fault.v3.HTTPFault"),
            extension("envoy.filters.http.cors", HTTP + "cors.v3.Cors"),
            ROUTER])
    return {"name": name, "filters": [manager]}


def address_match(index):
    """From a service's address and port to its chain."""
    name = cluster_name(index)
    port_input = extension("port",
        "envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput")
    action = {"name": name, "typed_config": typed("google.protobuf.StringValue", value=name)}
    return {"ranges": [{"address_prefix": levels.vip(index), "prefix_len": 32}],
            "on_match": {"matcher": {"matcher_tree": {
                "input": port_input, "exact_match_map": {"map": {"80": {"action": action}}}}}}}


def main_internal(services, log):
    """The listener inside: it finds the service, applies its policy and routes."""
    address_input = extension("ip",
        "envoy.extensions.matching.common_inputs.network.v3.DestinationIPInput")
    tree = extension("ip",
        "xds.type.matcher.v3.IPMatcher",
        range_matchers=[address_match(index) for index in range(services)])
    inspector = {
        **extension("envoy.filters.listener.http_inspector",
                    "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"),
        "filter_disabled": {"destination_port_range": {"start": 80, "end": 81}}}
    return {"name": "main_internal", "internal_listener": {}, "traffic_direction": "INBOUND",
            "listener_filters": [
                extension(ORIGINAL_DST,
                          "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"),
                inspector],
            "filter_chain_matcher": {"matcher_tree": {"input": address_input,
                                                      "custom_match": tree}},
            "filter_chains": [service_chain(index, services > 1, log)
                              for index in range(services)]}


def connect_originate():
    """The listener inside that puts a request's bytes into a tunnel to the pod."""
    proxy = extension("envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix="connect_originate", cluster="connect_originate",
        tunneling_config={"hostname": "%DOWNSTREAM_LOCAL_ADDRESS%"})
    return {"name": "connect_originate", "use_original_dst": False, "internal_listener": {},
            "listener_filters": [extension(ORIGINAL_DST,
                "envoy.extensions.filters.listener.original_dst.v3.OriginalDst")],
            "filter_chains": [{"filters": [proxy]}]}


def service_cluster(index, pod, http2):
    """The endpoints of one service: its pod, behind connect_originate."""
    options = {"typed_extension_protocol_options": protocol_options(
        explicit_http_config={"http2_protocol_options": {}})} if http2 else {}
    name = cluster_name(index)
    target = f"{pod}:{places.APP_PORT}"
    endpoint = {
        "endpoint": {"address": {"envoy_internal_address": {
            "server_listener_name": "connect_originate", "endpoint_id": target}}},
        "metadata": {"filter_metadata": {
            ORIGINAL_DST: {"local": target},
            "istio": {"workload": "app;default;app;v1;Kubernetes"}}}}
    return {"name": name, "alt_stat_name": name.replace("|", ";") + ";", "type": "STATIC",
            **options,
            "connect_timeout": "10s", "lb_policy": "LEAST_REQUEST", "circuit_breakers": BREAKERS,
            "transport_socket": internal_transport((ORIGINAL_DST, "istio")),
            "metadata": {"filter_metadata": {"istio": {"services": [
                {"host": service_host(index), "name": f"svc{index}", "namespace": "default"}]}}},
            "load_assignment": {"cluster_name": name,
                                "endpoints": [{"lb_endpoints": [endpoint]}]}}


def main_internal_cluster():
    endpoint = {"endpoint": {"address": {"envoy_internal_address": {
        "server_listener_name": "main_internal"}}}}
    return {"name": "main_internal", "type": "STATIC", "circuit_breakers": BREAKERS,
            "transport_socket": internal_transport(),
            "typed_extension_protocol_options": protocol_options(
                common_http_protocol_options={"idle_timeout": "300s"},
                use_downstream_protocol_config={"http_protocol_options": {},
                                                "http2_protocol_options": {}}),
            "load_assignment": {"cluster_name": "main_internal",
                                "endpoints": [{"lb_endpoints": [endpoint]}]}}


def connect_originate_cluster():
    return {"name": "connect_originate", "type": "ORIGINAL_DST",
            "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "10s",
            "cleanup_interval": "60s", "circuit_breakers": BREAKERS,
            "typed_extension_protocol_options": protocol_options(
                common_http_protocol_options={"idle_timeout": "3600s"},
                explicit_http_config={"http2_protocol_options": {"allow_connect": True}}),
            "original_dst_lb_config": {
                "upstream_port_override": places.HBONE_PORT,
                "metadata_key": {"key": ORIGINAL_DST, "path": [{"key": "waypoint"}]}},
            "transport_socket": upstream_tls()}


def waypoint(addresses, services, http2, log):
    """A waypoint of that many services, each with a policy and (if several) two routes."""
    listeners = [connect_terminate(addresses), main_internal(services, log), connect_originate()]
    clusters = [main_internal_cluster(), connect_originate_cluster()]
    clusters += [service_cluster(index, addresses.pod, http2) for index in range(services)]
    return bootstrap(addresses, listeners, clusters)


def write(path, config):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)
