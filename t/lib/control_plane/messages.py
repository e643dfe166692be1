# SPDX-License-Identifier: Apache-2.0
"""The protobuf messages that the control plane reads and writes, built when the program starts.

Only the fields that something here looks at are named; what is not named is kept as unknown
fields, and written again behind the known ones.  Numbers and names are those of the public
protos of envoy, xds and istio.  Resources that nobody edits are never parsed and written: they
stay what they were, byte for byte."""

# The files of any, struct and wrappers must be known before ours is built.
from google.protobuf import (any_pb2, descriptor_pb2, descriptor_pool, message_factory,
                             struct_pb2, wrappers_pb2)

IMPORTED = (any_pb2, struct_pb2, wrappers_pb2)
PACKAGE = "test.control_plane"

# A field: NAME NUMBER TYPE; * after the type: repeated.  A map is a repeated entry of key and
# value, which is the same on the wire.
SPEC = """
Status: code 1 int32, message 2 string, details 3 .Any*
Locality: region 1 string, zone 2 string, sub_zone 3 string
Node: id 1 string, cluster 2 string, metadata 3 .Struct, locality 4 Locality
ControlPlane: identifier 1 string

DiscoveryRequest: version_info 1 string, node 2 Node, resource_names 3 string*, type_url 4 string, response_nonce 5 string, error_detail 6 Status
DiscoveryResponse: version_info 1 string, resources 2 .Any*, type_url 4 string, nonce 5 string, control_plane 6 ControlPlane
VersionEntry: key 1 string, value 2 string
DeltaDiscoveryRequest: node 1 Node, type_url 2 string, resource_names_subscribe 3 string*, resource_names_unsubscribe 4 string*, initial_resource_versions 5 VersionEntry*, response_nonce 6 string, error_detail 7 Status
Resource: version 1 string, resource 2 .Any, name 3 string
DeltaDiscoveryResponse: system_version_info 1 string, resources 2 Resource*, type_url 4 string, nonce 5 string, removed_resources 6 string*, control_plane 7 ControlPlane

IstioCertificateRequest: csr 1 string, validity_duration 3 int64, metadata 4 .Struct
IstioCertificateResponse: cert_chain 1 string*

SocketAddress: protocol 1 int32, address 2 string, port_value 3 uint32
EnvoyInternalAddress: server_listener_name 1 string, endpoint_id 2 string
Address: socket_address 1 SocketAddress, envoy_internal_address 3 EnvoyInternalAddress
AdditionalAddress: address 1 Address
MetadataEntry: key 1 string, value 2 .Struct
Metadata: filter_metadata 1 MetadataEntry*
Endpoint: address 1 Address, additional_addresses 4 AdditionalAddress*
LbEndpoint: endpoint 1 Endpoint, health_status 2 int32, metadata 3 Metadata, load_balancing_weight 4 .UInt32Value
LocalityLbEndpoints: locality 1 Locality, lb_endpoints 2 LbEndpoint*, load_balancing_weight 3 .UInt32Value, priority 5 uint32
ClusterLoadAssignment: cluster_name 1 string, endpoints 2 LocalityLbEndpoints*
Cluster: name 1 string, load_assignment 33 ClusterLoadAssignment

TypedConfig: name 1 string, typed_config 2 .Any
CidrRange: address_prefix 1 string, prefix_len 2 .UInt32Value
OnMatch: matcher 1 Matcher, action 2 TypedConfig
MatchEntry: key 1 string, value 2 OnMatch
MatchMap: map 1 MatchEntry*
MatcherTree: input 1 TypedConfig, exact_match_map 2 MatchMap, prefix_match_map 3 MatchMap, custom_match 4 TypedConfig
Matcher: matcher_tree 2 MatcherTree, on_no_match 3 OnMatch
IPRangeMatcher: ranges 1 CidrRange*, on_match 2 OnMatch
IPMatcher: range_matchers 1 IPRangeMatcher*

Filter: name 1 string, typed_config 4 .Any
FilterChain: filters 3 Filter*, name 7 string
Listener: name 1 string, address 2 Address, filter_chains 3 FilterChain*, filter_chain_matcher 32 Matcher, additional_addresses 33 AdditionalAddress*

ClusterWeight: name 1 string, weight 2 .UInt32Value
WeightedCluster: clusters 1 ClusterWeight*
RouteAction: cluster 1 string, weighted_clusters 3 WeightedCluster
Route: route 2 RouteAction, name 14 string
VirtualHost: name 1 string, domains 2 string*, routes 3 Route*
RouteConfiguration: name 1 string, virtual_hosts 2 VirtualHost*
HttpConnectionManager: route_config 4 RouteConfiguration
TcpClusterWeight: name 1 string, weight 2 uint32
TcpWeightedCluster: clusters 1 TcpClusterWeight*
TcpProxy: cluster 2 string, weighted_clusters 10 TcpWeightedCluster

NetworkAddress: network 1 string, address 2 bytes
GatewayAddress: address 2 NetworkAddress, hbone_mtls_port 3 uint32
Workload: name 1 string, namespace 2 string, addresses 3 bytes*, service_account 7 string, waypoint 8 GatewayAddress, canonical_name 10 string, canonical_revision 11 string, network_gateway 19 GatewayAddress, uid 20 string
Service: name 1 string, namespace 2 string, hostname 3 string, addresses 4 NetworkAddress*, waypoint 7 GatewayAddress
WorkloadAddress: workload 1 Workload, service 2 Service
"""

GOOGLE = "type.googleapis.com/"
CLUSTER = GOOGLE + "envoy.config.cluster.v3.Cluster"
ENDPOINT = GOOGLE + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = GOOGLE + "envoy.config.listener.v3.Listener"
ROUTE = GOOGLE + "envoy.config.route.v3.RouteConfiguration"
SECRET = GOOGLE + "envoy.extensions.transport_sockets.tls.v3.Secret"
EXTENSION = GOOGLE + "envoy.config.core.v3.TypedExtensionConfig"
ADDRESS = GOOGLE + "istio.workload.Address"
WORKLOAD = GOOGLE + "istio.workload.Workload"
AUTHORIZATION = GOOGLE + "istio.security.Authorization"
HTTP_MANAGER = (GOOGLE + "envoy.extensions.filters.network.http_connection_manager.v3."
                "HttpConnectionManager")
TCP_PROXY = GOOGLE + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
IP_MATCHER = GOOGLE + "xds.type.matcher.v3.IPMatcher"

SHORT = {"cds": CLUSTER, "eds": ENDPOINT, "lds": LISTENER, "rds": ROUTE, "sds": SECRET,
         "ecds": EXTENSION, "address": ADDRESS, "workload": WORKLOAD,
         "authorization": AUTHORIZATION}

# istiod's order; other types come after these.
PUSH_ORDER = [CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, ADDRESS, WORKLOAD, AUTHORIZATION]

# Where an empty subscription means nothing at all; in other types it means everything.
BY_NAME = {ENDPOINT, ROUTE, SECRET, EXTENSION}

# Whose resources have a version, so that only what has changed is sent.
VERSIONED = {ADDRESS, WORKLOAD}


def _add_field(message, text):
    name, number, kind = text.split()
    field = message.field.add(name=name, number=int(number))
    repeated = kind.endswith("*")
    kind = kind.rstrip("*")
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL

    if kind[0] == ".":
        field.type, field.type_name = field.TYPE_MESSAGE, ".google.protobuf" + kind
    elif kind[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = getattr(field, "TYPE_" + kind.upper())


def _build():
    file = descriptor_pb2.FileDescriptorProto(
        name="test/control_plane.proto", package=PACKAGE, syntax="proto3")
    file.dependency.extend(module.DESCRIPTOR.name for module in IMPORTED)
    names = []

    for line in filter(None, SPEC.splitlines()):
        name, fields = line.split(": ", 1)
        message = file.message_type.add(name=name)
        names.append(name)
        for text in fields.split(", "):
            _add_field(message, text)

    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    make = getattr(message_factory, "GetMessageClass", None) \
        or message_factory.MessageFactory(pool).GetPrototype
    return {name: make(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in names}


MESSAGES = _build()
globals().update(MESSAGES)

# What a resource of a type, or an Any within one, is parsed as.
KNOWN = {
    CLUSTER: MESSAGES["Cluster"], ENDPOINT: MESSAGES["ClusterLoadAssignment"],
    LISTENER: MESSAGES["Listener"], WORKLOAD: MESSAGES["Workload"],
    ADDRESS: MESSAGES["WorkloadAddress"], HTTP_MANAGER: MESSAGES["HttpConnectionManager"],
    TCP_PROXY: MESSAGES["TcpProxy"], IP_MATCHER: MESSAGES["IPMatcher"],
}


def type_url(name):
    """cds, a message's full name, or a type URL."""
    if name in SHORT:
        return SHORT[name]
    return name if "/" in name else GOOGLE + name


def short_name(url):
    for short, known in SHORT.items():
        if known == url:
            return short
    return url.rpartition("/")[2]


def to_bytes(message):
    return message.SerializeToString(deterministic=True)


def first_text(data):
    """Field 1 as text: the name of every kind of resource that has one."""
    named = MESSAGES["ControlPlane"]()
    named.ParseFromString(data)
    return named.identifier
