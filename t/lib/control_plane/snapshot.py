# SPDX-License-Identifier: Apache-2.0
"""What is served: {type URL: {name: Item}}, read from a recording and changed by tests.

A resource keeps its bytes as they were recorded until something of it is changed."""

import glob
import hashlib
import ipaddress
import os

import messages as m
import wire


class SnapshotError(Exception):
    """What was asked for is not in the snapshot, or cannot be done to it."""


class Item:
    def __init__(self, name, data, version=""):
        self.name, self.data, self.version = name, data, version

    def hash(self):
        return hashlib.sha256(self.data).hexdigest()[:16]


# Addresses.

class AddressMap:
    """{"10.244.1.4": "127.100.0.10", "10.244.1.4:9080": "127.100.0.10:9081"}: an address with its
    port goes before one without."""

    def __init__(self, pairs=None):
        self.pairs = dict(pairs or {})

    def ip(self, text):
        return self.pairs.get(text, text)

    def pair(self, ip, port):
        whole = self.pairs.get(f"{ip}:{port}")
        if whole:
            ip, _, port = whole.rpartition(":")
            return ip, int(port)
        return self.ip(ip), port

    def text(self, text):
        ip, colon, port = text.rpartition(":")
        if not colon or not port.isdigit():
            return self.ip(text)
        ip, port = self.pair(ip, int(port))
        return f"{ip}:{port}"

    def octets(self, data):
        if len(data) not in (4, 16):
            return data
        return ipaddress.ip_address(self.ip(str(ipaddress.ip_address(data)))).packed


def _rewrite_address(address, addresses):
    if address.HasField("socket_address"):
        socket = address.socket_address
        socket.address, socket.port_value = addresses.pair(socket.address, socket.port_value)
    if address.envoy_internal_address.endpoint_id:
        internal = address.envoy_internal_address
        internal.endpoint_id = addresses.text(internal.endpoint_id)


def _rewrite_struct(struct, addresses):
    for value in struct.fields.values():
        if value.WhichOneof("kind") == "string_value":
            value.string_value = addresses.text(value.string_value)


def _rewrite_assignment(assignment, addresses):
    for locality in assignment.endpoints:
        for each in locality.lb_endpoints:
            _rewrite_address(each.endpoint.address, addresses)
            for more in each.endpoint.additional_addresses:
                _rewrite_address(more.address, addresses)
            for entry in each.metadata.filter_metadata:
                if entry.key == "envoy.filters.listener.original_dst":
                    _rewrite_struct(entry.value, addresses)


def _rewrite_on_match(on_match, addresses):
    if on_match.HasField("matcher"):
        _rewrite_matcher(on_match.matcher, addresses)


def _rewrite_matcher(matcher, addresses):
    if matcher.HasField("on_no_match"):
        _rewrite_on_match(matcher.on_no_match, addresses)
    if not matcher.HasField("matcher_tree"):
        return
    tree = matcher.matcher_tree
    for entry in list(tree.exact_match_map.map) + list(tree.prefix_match_map.map):
        _rewrite_on_match(entry.value, addresses)
    custom = tree.custom_match.typed_config
    if custom.type_url == m.IP_MATCHER:
        within = m.IPMatcher.FromString(custom.value)
        for row in within.range_matchers:
            for cidr in row.ranges:
                cidr.address_prefix = addresses.ip(cidr.address_prefix)
            _rewrite_on_match(row.on_match, addresses)
        custom.value = m.to_bytes(within)


def _rewrite_listener(listener, addresses):
    if listener.HasField("address"):
        _rewrite_address(listener.address, addresses)
    for more in listener.additional_addresses:
        _rewrite_address(more.address, addresses)
    if listener.HasField("filter_chain_matcher"):
        _rewrite_matcher(listener.filter_chain_matcher, addresses)


def _rewrite_gateway(gateway, addresses):
    if gateway.HasField("address"):
        gateway.address.address = addresses.octets(gateway.address.address)


def _rewrite_workload(workload, addresses):
    workload.addresses[:] = [addresses.octets(each) for each in workload.addresses]
    for name in ("waypoint", "network_gateway"):
        if workload.HasField(name):
            _rewrite_gateway(getattr(workload, name), addresses)


def _rewrite_any_address(address, addresses):
    if address.HasField("workload"):
        _rewrite_workload(address.workload, addresses)
    if address.HasField("service"):
        for each in address.service.addresses:
            each.address = addresses.octets(each.address)
        if address.service.HasField("waypoint"):
            _rewrite_gateway(address.service.waypoint, addresses)


def _rewrite_cluster(cluster, addresses):
    if cluster.HasField("load_assignment"):
        _rewrite_assignment(cluster.load_assignment, addresses)


REWRITE = {
    m.CLUSTER: _rewrite_cluster, m.ENDPOINT: _rewrite_assignment, m.LISTENER: _rewrite_listener,
    m.WORKLOAD: _rewrite_workload, m.ADDRESS: _rewrite_any_address,
}


def rewrite(url, data, addresses):
    """The resource with the addresses of the map; the same bytes where none of them occurs."""
    if not addresses.pairs or url not in REWRITE:
        return data
    message = m.KNOWN[url].FromString(data)
    before = m.to_bytes(message)
    REWRITE[url](message, addresses)
    after = m.to_bytes(message)
    return data if after == before else after


# Endpoints.

def address_text(address):
    if address.HasField("socket_address"):
        return f"{address.socket_address.address}:{address.socket_address.port_value}"
    return address.envoy_internal_address.endpoint_id


def hbone_endpoint(text, workload):
    """An endpoint behind HBONE, as istiod writes it for a captured pod."""
    each = m.LbEndpoint()
    internal = each.endpoint.address.envoy_internal_address
    internal.server_listener_name, internal.endpoint_id = "connect_originate", text
    entry = each.metadata.filter_metadata.add(key="envoy.filters.listener.original_dst")
    entry.value.update({"local": text})
    entry = each.metadata.filter_metadata.add(key="istio")
    entry.value.update({"workload": workload})
    return each


def plain_endpoint(text):
    each = m.LbEndpoint()
    ip, _, port = text.rpartition(":")
    socket = each.endpoint.address.socket_address
    socket.address, socket.port_value = ip, int(port)
    return each


HEALTH = {"unknown": 0, "healthy": 1, "unhealthy": 2, "draining": 3, "timeout": 4, "degraded": 5}


class Snapshot:
    def __init__(self):
        self.types = {}

    def items(self, url):
        return self.types.get(url, {})

    def get(self, url, name):
        item = self.items(url).get(name)
        if item is None:
            raise SnapshotError(f"no {m.short_name(url)} resource {name!r}")
        return item

    def put(self, url, name, data, version=None):
        item = Item(name, data, version or "")
        if url in m.VERSIONED and not version:
            item.version = item.hash()
        self.types.setdefault(url, {})[name] = item
        return item

    def remove(self, url, name):
        self.get(url, name)
        del self.types[url][name]

    def load(self, directory, addresses):
        """Adds what the *.pb of a recording have, with addresses rewritten.  NAME.pb is a
        DiscoveryResponse, NAME.delta.pb a DeltaDiscoveryResponse, which goes before."""
        paths = {}
        for path in sorted(glob.glob(os.path.join(glob.escape(directory), "*.pb"))):
            stem = os.path.basename(path).split(".")[0]
            if stem not in paths or path.endswith(".delta.pb"):
                paths[stem] = path
        if not paths:
            raise SnapshotError(f"no recording in {directory}")
        for path in paths.values():
            self._load_file(path, addresses)

    def _load_file(self, path, addresses):
        with open(path, "rb") as file:
            data = file.read()
        if path.endswith(".delta.pb"):
            response = m.DeltaDiscoveryResponse.FromString(data)
            found = [(each.resource, each.name, each.version) for each in response.resources]
        else:
            response = m.DiscoveryResponse.FromString(data)
            found = [(each, m.first_text(each.value), "") for each in response.resources]

        for packed, name, version in found:
            new = rewrite(packed.type_url, packed.value, addresses)
            self.put(packed.type_url, name, new, version if new == packed.value else "")

    # What is served for a name that is asked for, or None.
    def answer(self, url, name):
        item = self.items(url).get(name)
        if item is None and url == m.ENDPOINT:
            return Item(name, m.to_bytes(m.ClusterLoadAssignment(cluster_name=name)))
        return item

    # Edits.

    def replace_bytes(self, url, name, old, new):
        """Every occurrence of some bytes by others of the same length."""
        item = self.get(url, name)
        if len(old) != len(new):
            raise SnapshotError("bytes are replaced by as many; edit changes lengths")
        if old not in item.data:
            raise SnapshotError(f"{old!r} is not in {name!r}")
        self.put(url, name, item.data.replace(old, new))

    def edit(self, url, name, path, change):
        self.put(url, name, wire.edit(self.get(url, name).data, path, change))

    def copy(self, url, name, to):
        self.put(url, to, wire.edit(self.get(url, name).data, ["1"], {"set": to.encode()}))

    def set_endpoints(self, cluster, endpoints):
        """endpoints: ["IP:PORT"] or [{address, hbone = true, health, weight, priority,
        workload}]."""
        assignment = m.ClusterLoadAssignment(cluster_name=cluster)
        localities = {}

        for spec in endpoints:
            spec = {"address": spec} if isinstance(spec, str) else spec
            text = spec["address"]
            each = hbone_endpoint(text, spec.get("workload", "")) if spec.get("hbone", True) \
                else plain_endpoint(text)
            each.health_status = HEALTH[spec.get("health", "healthy")]
            each.load_balancing_weight.value = spec.get("weight", 1)
            priority = spec.get("priority", 0)
            if priority not in localities:
                localities[priority] = assignment.endpoints.add(priority=priority)
                localities[priority].load_balancing_weight.value = 0
            localities[priority].lb_endpoints.append(each)
            localities[priority].load_balancing_weight.value += spec.get("weight", 1)
        self.put(m.ENDPOINT, cluster, m.to_bytes(assignment))

    def endpoints(self):
        """{cluster: [{address, hbone, health, weight, priority}]} of EDS and of clusters that
        have their endpoints in themselves."""
        found = {}
        for item in self.items(m.CLUSTER).values():
            cluster = m.Cluster.FromString(item.data)
            if cluster.HasField("load_assignment"):
                found[item.name] = self._endpoints_of(cluster.load_assignment)
        for item in self.items(m.ENDPOINT).values():
            found[item.name] = self._endpoints_of(m.ClusterLoadAssignment.FromString(item.data))
        return found

    def workloads(self):
        """[{uid, name, namespace, addresses, service_account, app, version}]"""
        found = []
        for item in self.items(m.WORKLOAD).values():
            each = m.Workload.FromString(item.data)
            found.append({
                "uid": item.name, "name": each.name, "namespace": each.namespace,
                "addresses": [str(ipaddress.ip_address(one)) for one in each.addresses],
                "service_account": each.service_account or "default",
                "app": each.canonical_name, "version": each.canonical_revision})
        return sorted(found, key=lambda each: each["uid"])

    @staticmethod
    def _endpoints_of(assignment):
        health = {number: name for name, number in HEALTH.items()}
        return [{"address": address_text(each.endpoint.address),
                 "hbone": each.endpoint.address.HasField("envoy_internal_address"),
                 "health": health.get(each.health_status, each.health_status),
                 "weight": each.load_balancing_weight.value, "priority": locality.priority}
                for locality in assignment.endpoints for each in locality.lb_endpoints]

    def set_weights(self, listener, weights, chain=None, route=None):
        """Weights {cluster: N} of every route (or TCP proxy) of the listener that splits among
        exactly these clusters; chain and route narrow it.  Returns how many were changed."""
        item = self.get(m.LISTENER, listener)
        message = m.Listener.FromString(item.data)
        changed = 0

        for each in message.filter_chains:
            if chain is not None and each.name != chain:
                continue
            for network_filter in each.filters:
                changed += self._weigh_filter(network_filter.typed_config, weights, route)
        if not changed:
            raise SnapshotError(f"nothing in {listener!r} splits among {sorted(weights)}")
        self.put(m.LISTENER, listener, m.to_bytes(message))
        return changed

    @staticmethod
    def _weigh(split, weights, put):
        if {each.name for each in split.clusters} != set(weights):
            return 0
        for each in split.clusters:
            put(each, weights[each.name])
        return 1

    def _weigh_filter(self, config, weights, route):
        changed = 0

        if config.type_url == m.HTTP_MANAGER:
            manager = m.HttpConnectionManager.FromString(config.value)
            for host in manager.route_config.virtual_hosts:
                for each in host.routes:
                    if route is None or each.name == route:
                        changed += self._weigh(each.route.weighted_clusters, weights,
                                               lambda one, n: setattr(one.weight, "value", n))
            if changed:
                config.value = m.to_bytes(manager)

        if config.type_url == m.TCP_PROXY and route is None:
            proxy = m.TcpProxy.FromString(config.value)
            changed = self._weigh(proxy.weighted_clusters, weights,
                                  lambda one, n: setattr(one, "weight", n))
            if changed:
                config.value = m.to_bytes(proxy)
        return changed

    def weights(self, listener):
        """[{chain, route, weights: {cluster: N}}] of the routes that split."""
        found = []
        for chain in m.Listener.FromString(self.get(m.LISTENER, listener).data).filter_chains:
            for config in (each.typed_config for each in chain.filters):
                if config.type_url == m.HTTP_MANAGER:
                    manager = m.HttpConnectionManager.FromString(config.value)
                    found += [{"chain": chain.name, "route": each.name, "weights": {
                        one.name: one.weight.value for one in each.route.weighted_clusters.clusters}}
                        for host in manager.route_config.virtual_hosts for each in host.routes
                        if each.route.weighted_clusters.clusters]
                if config.type_url == m.TCP_PROXY:
                    proxy = m.TcpProxy.FromString(config.value)
                    if proxy.weighted_clusters.clusters:
                        found.append({"chain": chain.name, "route": None, "weights": {
                            one.name: one.weight for one in proxy.weighted_clusters.clusters}})
        return found
