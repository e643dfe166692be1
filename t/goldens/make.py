#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes pushes/GROUP/{cds,eds,lds}.pb of the Envoy configurations in cases/GROUP.json: what a
control plane would send for a waypoint that has a service for each of them.

    python3 -m venv DIR && DIR/bin/pip install --no-deps --require-hashes -r requirements.txt
    DIR/bin/python make.py [GROUP...]

A configuration is the difference from a base, which is here.  Each is the chain of port 9080 of the
service cN.golden.svc.cluster.local.  The runner replays them in LANES lanes at once, so that the
clusters of lane L are called NAME@L and have the endpoints 127.0.0.L:2200x, which the control plane
replaces by where the runner's upstreams are."""

import importlib
import json
import os
import pathlib
import pkgutil
import sys

# maps in the order of the configuration: the same octets each time
os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"

from google.protobuf import json_format  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
LANES = 4
TYPE = "type.googleapis.com/"
GROUPS = ["a1_local_replies", "a2_http_protocol", "a3_paths", "a4_extra", "b_headers", "c_routing",
          "d_rbac_jwt"]
PORTS = {"u1": 22001, "u2": 22002, "u3": 22003, "u4": 22004, "dead": 22099}
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
RETRY = {
    "num_retries": 2, "host_selection_retry_max_attempts": "5",
    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
    "retry_host_predicate": [{
        "name": "envoy.retry_host_predicates.previous_hosts",
        "typed_config": {"@type": TYPE + "envoy.extensions.retry.host.previous_hosts.v3."
                                         "PreviousHostsPredicate"}}],
}


def import_types():
    """All messages that a typed_config may be."""
    import envoy
    for each in pkgutil.walk_packages(envoy.__path__, "envoy."):
        if each.name.endswith("_pb2"):
            importlib.import_module(each.name)


def extension(name, message, **fields):
    return {"name": name, "typed_config": {"@type": TYPE + message, **fields}}


def http_options(**fields):
    return {HTTP_OPTIONS: {"@type": TYPE + HTTP_OPTIONS, **fields}}


def cluster(name, ports, **over):
    endpoints = [{"endpoint": {"address": {"socket_address": {
        "address": "127.0.0.1", "port_value": PORTS.get(each, each)}}}} for each in ports]
    return {
        "name": name, "connect_timeout": "10s", "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [dict.fromkeys(
            ["max_connections", "max_pending_requests", "max_requests", "max_retries"],
            4294967295)]},
        "common_lb_config": {"healthy_panic_threshold": {}},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        **over,
    }


def base_clusters():
    http2 = http_options(explicit_http_config={"http2_protocol_options": {}})
    downstream = http_options(use_downstream_protocol_config={
        "http_protocol_options": {}, "http2_protocol_options": {}})
    made = [cluster(name, [name]) for name in PORTS]
    made += [cluster("h2" + name[1], [name], typed_extension_protocol_options=http2)
             for name in ("u1", "u2")]
    made += [cluster("down1", ["u1"], typed_extension_protocol_options=downstream),
             cluster("empty", [])]
    return made


def unhealthy():
    made = cluster("unhealthy", ["u1"])
    made["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["health_status"] = "UNHEALTHY"
    return made


def thresholds(**limits):
    return {"thresholds": [limits]}


def clusters_of_group(group):
    """Those that the cases' configurations name and do not have."""
    if group != "a1_local_replies":
        return []
    return [
        cluster("cb_req", ["u1"], circuit_breakers=thresholds(
            max_requests=0, max_connections=1024, max_pending_requests=1024)),
        cluster("cb_pend", ["u1"], circuit_breakers=thresholds(
            max_pending_requests=0, max_connections=1024)),
        cluster("cb_conn", ["u1"], circuit_breakers=thresholds(
            max_connections=0, max_pending_requests=0)),
        cluster("cb_retry", ["u1"], circuit_breakers=thresholds(max_retries=0)),
        cluster("cto", [22098], connect_timeout="0.2s"),
        cluster("tls_to_plain", ["u1"], transport_socket=extension(
            "tls", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            common_tls_context={})),
        unhealthy(),
        cluster("maxstream", ["u1"], typed_extension_protocol_options=http_options(
            common_http_protocol_options={"max_stream_duration": "0.2s"},
            explicit_http_config={"http_protocol_options": {}})),
    ]


def default_routes():
    return [{
        "name": "default", "match": {"prefix": "/"}, "decorator": {"operation": "reviews:9080/*"},
        "route": {"timeout": "0s", "max_grpc_timeout": "0s", "cluster": "u1",
                  "retry_policy": RETRY},
    }]


def filters_of(config):
    """Who asks is known from the tunnel, where istiod's waypoint has it from too: what took it from a
    header for Envoy is left out."""
    return [each for each in config.get("http_filters", [])
            if each["name"] != "envoy.filters.http.set_filter_state"]


def manager(config):
    """The HttpConnectionManager of one configuration, after istiod's for a waypoint."""
    http = "envoy.extensions.filters.http."
    routes = config.get("routes")
    host = {"name": "inbound|http|9080", "domains": ["*"],
            "routes": routes if isinstance(routes, list) else default_routes(),
            **config.get("vhost", {})}
    made = {
        "@type": TYPE + "envoy.extensions.filters.network.http_connection_manager.v3."
                        "HttpConnectionManager",
        "http_filters": filters_of(config) + [
            extension("envoy.filters.http.grpc_stats", http + "grpc_stats.v3.FilterConfig",
                      emit_filter_state=True, stats_for_all_methods=False),
            extension("envoy.filters.http.fault", http + "fault.v3.HTTPFault"),
            extension("envoy.filters.http.cors", http + "cors.v3.Cors"),
            extension("envoy.filters.http.router", http + "router.v3.Router"),
        ],
        "normalize_path": True, "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "proxy_100_continue": True,
        "request_id_extension": {"typed_config": {
            "@type": TYPE + "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
            "use_request_id_for_trace_sampling": True}},
        "server_name": "istio-envoy", "stat_prefix": "inbound_0.0.0.0_9080;",
        "stream_idle_timeout": "0s",
        "tracing": {"client_sampling": {"value": 100}, "random_sampling": {"value": 1},
                    "overall_sampling": {"value": 100}},
        "upgrade_configs": [{"upgrade_type": "websocket"}], "use_remote_address": False,
        "route_config": {
            "name": "inbound-vip|9080|http|reviews.default.svc.cluster.local",
            "validate_clusters": False, "virtual_hosts": config.get("vhosts") or [host],
            **config.get("route_config", {}),
        },
    }
    for key, value in config.get("hcm", {}).items():
        made[key] = value
        if value is None:
            del made[key]
    return made


def rename(value, lane):
    """Names of clusters become those of the lane."""
    if isinstance(value, list):
        return [rename(each, lane) for each in value]
    if not isinstance(value, dict):
        return value
    made = {key: rename(each, lane) for key, each in value.items()}
    if isinstance(made.get("cluster"), str):
        made["cluster"] += f"@{lane}"
    for each in made.get("weighted_clusters", {}).get("clusters", []):
        each["name"] += f"@{lane}"
    return made


def chain(number, config):
    return {
        "name": f"inbound-vip|9080|http|c{number}.golden.svc.cluster.local",
        "filters": config.get("network_filters", []) + [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": rename(manager(config), number % LANES)}],
    }


def eds_cluster(each, lane):
    made = {**each, "name": f"{each['name']}@{lane}", "type": "EDS",
            "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}}}
    assignment = json.loads(json.dumps(made.pop("load_assignment")).replace(
        '"127.0.0.1"', f'"127.0.0.{lane + 1}"'))
    assignment["cluster_name"] = made["name"]
    return made, assignment


def write(group, name, message, values):
    from envoy.service.discovery.v3 import discovery_pb2
    from google.protobuf import any_pb2
    response = discovery_pb2.DiscoveryResponse(version_info="1", type_url=TYPE + message)
    for value in values:
        packed = json_format.ParseDict({"@type": TYPE + message, **value}, any_pb2.Any(),
                                       ignore_unknown_fields=True)
        response.resources.append(packed)
    path = HERE / "pushes" / group / f"{name}.pb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(response.SerializeToString(deterministic=True))


def main(groups):
    import_types()
    for group in groups or GROUPS:
        configs = json.loads((HERE / "cases" / f"{group}.json").read_text())["configs"]
        clusters = {each["name"]: each for each in base_clusters() + clusters_of_group(group)}
        for config in configs.values():
            clusters.update({each["name"]: each for each in config.get("clusters", [])})
        pairs = [eds_cluster(each, lane) for each in clusters.values() for lane in range(LANES)]
        write(group, "cds", "envoy.config.cluster.v3.Cluster", [each for each, _ in pairs])
        write(group, "eds", "envoy.config.endpoint.v3.ClusterLoadAssignment",
              [each for _, each in pairs])
        write(group, "lds", "envoy.config.listener.v3.Listener", [{
            "name": "main_internal", "internal_listener": {},
            "filter_chains": [chain(int(key[2:]), config) for key, config in configs.items()],
        }])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
