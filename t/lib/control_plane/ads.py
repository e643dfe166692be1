# SPDX-License-Identifier: Apache-2.0
"""Aggregated discovery, delta and state of the world, as istiod does it: pushes of a type are full
and without versions (but those of workloads and addresses), in istiod's order of types, and never
two without an ACK between."""

import random
import threading

import grpc
from google.protobuf import json_format

import messages as m
import wire
from plane import Watch

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"


def node_of(request):
    if not request.HasField("node"):
        return None
    return json_format.MessageToDict(request.node, preserving_proto_field_name=True)


def error_of(request):
    if not request.HasField("error_detail"):
        return None
    return {"code": request.error_detail.code, "message": request.error_detail.message}


def in_order(urls):
    rank = {url: number for number, url in enumerate(m.PUSH_ORDER)}
    return sorted(urls, key=lambda url: rank.get(url, len(rank)))


class Stream:
    """One ADS stream; subclasses know the two protocols."""

    def __init__(self, plane, context):
        self.plane, self.context = plane, context
        self.watches = {}
        self.node = None
        self.ended = False
        self.kill = None            # (status code, message) with which it is to end
        self.raw = []               # whole responses that a test wants sent
        self.metadata = dict(context.invocation_metadata())
        self.secure = b"ssl" in context.auth_context().get("transport_security_type", [])
        self.identity = plane.caller(self.metadata)
        with plane.lock:
            plane.next_stream += 1
            self.number = plane.next_stream

    def record(self, kind, **what):
        return self.plane.record(kind, stream=self.number, protocol=self.protocol, **what)

    # Requests, on a thread of their own.

    def read(self, requests):
        try:
            for data in requests:
                with self.plane.lock:
                    self.take(data)
                    self.plane.lock.notify_all()
        except grpc.RpcError:
            pass
        except Exception as error:              # the client cancelled, or sent no protobuf
            if self.context.is_active():
                self.kill = (grpc.StatusCode.INVALID_ARGUMENT, f"{error!r}")
        with self.plane.lock:
            self.ended = True
            self.plane.lock.notify_all()

    def take(self, data):
        request = self.request_class.FromString(data)
        url = request.type_url
        watch = self.watches.get(url)
        nonce = request.response_nonce
        node = node_of(request)

        if self.node is None:
            self.node = node
            self.check_node(node)
        if watch is None:
            kind = "subscribe"
        elif nonce and nonce == watch.nonce:
            kind = "nack" if request.HasField("error_detail") else "ack"
        else:
            kind = "stale" if nonce else "change"

        self.record(kind, type=url, nonce=nonce, node=node, error=error_of(request),
                    **self.details(request))
        if kind in ("ack", "nack"):
            watch.nonce, watch.verdict = None, kind
        if watch is None:
            watch = self.watches[url] = self.new_watch(request)
            watch.target = self.plane.generation
            if not watch.due:
                watch.covered = watch.target
        elif kind != "stale":
            self.change_watch(watch, request)

    def check_node(self, node):
        if not node or not node.get("id"):
            self.kill = (grpc.StatusCode.INVALID_ARGUMENT, "missing node information")
            return
        if not self.secure:
            return
        metadata = node.get("metadata", {})
        claimed = f"{metadata.get('NAMESPACE')}/{metadata.get('SERVICE_ACCOUNT')}"
        if claimed != self.identity:
            identity = self.plane.authority.spiffe_id(self.identity)
            self.kill = (grpc.StatusCode.PERMISSION_DENIED, "authorization failed: no identities "
                         f"([{identity}]) matched {claimed}")

    # Responses.

    def next_response(self):
        """(bytes, delay in seconds), or None; under the lock."""
        if self.raw:
            return self.raw.pop(0), 0
        for url in in_order(self.watches):
            watch = self.watches[url]
            if watch.nonce is None and (watch.due or watch.asked) and not self.plane.holds(url):
                response = self.respond(watch)
                if response is not None:
                    return response, (self.plane.behave.get("delay_ms") or 0) / 1000
        return None

    def ordered(self, items):
        items = list(items)
        order = self.plane.behave.get("order")
        if order == "random":
            random.Random(self.plane.behave.get("seed")).shuffle(items)
        if order == "sorted":
            items.sort(key=lambda item: item.name)
        return items

    def items_of(self, watch, names):
        """[Item] for names, or for all that is watched if names is None."""
        snapshot = self.plane.snapshot
        if names is None:
            names = list(watch.names)
            if watch.wildcard:
                names = list(snapshot.items(watch.url)) \
                    + [name for name in names if name not in snapshot.items(watch.url)]
        found = (snapshot.answer(watch.url, name) for name in names)
        return self.ordered(item for item in found if item is not None)

    def spoil(self, url, packed):
        """Does to [(name, Any)] what the test asked for; returns the list."""
        garbage = self.plane.use("garbage", url)
        if garbage and garbage.get("kind", "bytes") != "response" and packed:
            names = [name for name, _ in packed]
            at = names.index(garbage["name"]) if garbage.get("name") in names else 0
            spoil_any(packed[at][1], garbage)
        huge = self.plane.use("huge", url)
        if huge:
            data = wire.field(1, b"huge") + wire.field(19999, bytes(huge["bytes"]))
            packed.append(("huge", m.any_pb2.Any(type_url=url, value=data)))
        return garbage

    def nonce_for(self, watch):
        version, nonce = self.plane.new_nonce()
        wrong = self.plane.use("nonce", watch.url)
        if isinstance(wrong, dict):
            wrong = wrong["kind"]
        if wrong == "empty":
            nonce = ""
        elif wrong == "repeat":
            nonce = watch.last_nonce or nonce
        watch.nonce = nonce or None
        watch.last_nonce = nonce
        watch.verdict = None
        return version, nonce

    def respond(self, watch):
        names = None if watch.due else sorted(watch.asked)
        items = self.items_of(watch, names)
        covered = watch.target if watch.due else watch.covered
        removed = self.removed(watch, items, names)
        watch.due, watch.asked, watch.covered = False, set(), covered

        if watch.url in m.VERSIONED and self.protocol == "delta":
            if names is None:
                items = [each for each in items if watch.known.get(each.name) != each.version]
            if not items and not removed and not watch.first:
                self.plane.lock.notify_all()
                return None

        watch.first = False
        for item in items:
            watch.sent[item.name] = watch.known[item.name] = item.version
        for name in removed:
            watch.sent.pop(name, None)
            watch.known.pop(name, None)

        packed = [(item.name, m.any_pb2.Any(type_url=watch.url, value=item.data))
                  for item in items]
        garbage = self.spoil(watch.url, packed)
        version, nonce = self.nonce_for(watch)
        versions = {item.name: item.version for item in items}
        self.record("response", type=watch.url, nonce=nonce, version=version,
                    generation=covered, names=[name for name, _ in packed], removed=removed)
        if garbage and garbage.get("kind") == "response":
            watch.nonce = None
            return random.Random(garbage.get("seed", 1)).randbytes(garbage.get("bytes", 256))
        return self.encode(watch, version, nonce, packed, versions, removed)

    def run(self, requests):
        self.record("open", metadata=self.metadata, identity=self.identity, secure=self.secure)
        self.admit()
        with self.plane.lock:
            self.plane.streams[self.number] = self
        threading.Thread(target=self.read, args=(requests,), daemon=True).start()
        self.context.add_callback(self.wake)
        try:
            yield from self.responses()
        finally:
            with self.plane.lock:
                self.plane.streams.pop(self.number, None)
            self.record("close")

    def wake(self):
        with self.plane.lock:
            self.ended = True
            self.plane.lock.notify_all()

    def admit(self):
        with self.plane.lock:
            refuse = self.plane.use("refuse")
        if refuse:
            self.abort(refuse.get("code", "UNAVAILABLE"), refuse.get("message", "refused"))
        if self.secure and self.identity is None:
            self.abort("UNAUTHENTICATED", "authentication failure")

    def abort(self, code, message):
        code = getattr(grpc.StatusCode, code) if isinstance(code, str) else code
        self.record("refuse", code=code.name, message=message)
        self.context.abort(code, message)

    def responses(self):
        plane = self.plane
        while True:
            with plane.lock:
                answer = None
                while not self.ended and not self.kill and answer is None:
                    answer = self.next_response()
                    if answer is None:
                        plane.lock.wait()
                if answer is not None and answer[1]:
                    plane.lock.wait_for(lambda: self.ended or self.kill, answer[1])
            if self.kill:
                self.abort(*self.kill)
            if self.ended:
                return
            yield answer[0]


def spoil_any(packed, garbage):
    kind = garbage.get("kind", "bytes")
    if kind == "bytes":
        packed.value = random.Random(garbage.get("seed", 1)).randbytes(garbage.get("bytes", 256))
    elif kind == "truncated":
        packed.value = packed.value[:len(packed.value) // 2]
    elif kind == "type_url":
        packed.type_url = m.GOOGLE + "no.such.Type"
    elif kind == "empty":
        packed.value = b""


class DeltaStream(Stream):
    protocol = "delta"
    request_class = m.DeltaDiscoveryRequest

    @staticmethod
    def details(request):
        return {"subscribe": list(request.resource_names_subscribe),
                "unsubscribe": list(request.resource_names_unsubscribe),
                "initial": {each.key: each.value for each in request.initial_resource_versions}}

    @staticmethod
    def new_watch(request):
        names = set(request.resource_names_subscribe)
        wildcard = "*" in names or (not names and request.type_url not in m.BY_NAME)
        known = {each.key: each.value for each in request.initial_resource_versions}
        if not wildcard:
            names |= set(known)         # what the client has, it watches
        watch = Watch(request.type_url, wildcard, names - {"*"}, known)
        watch.due = bool(wildcard or watch.names)
        return watch

    @staticmethod
    def change_watch(watch, request):
        new = set(request.resource_names_subscribe)
        gone = set(request.resource_names_unsubscribe)
        if "*" in new and not watch.wildcard:
            watch.wildcard = watch.due = True
        if "*" in gone:
            watch.wildcard = False
        watch.names = (watch.names | new) - gone - {"*"}
        watch.asked = (watch.asked | new) - gone - {"*"}
        for name in gone:
            watch.sent.pop(name, None)
            watch.known.pop(name, None)

    def removed(self, watch, items, names):
        """Names that the client has, or asked for, and that are not there."""
        there = {item.name for item in items}
        if names is not None:
            return sorted(set(names) - there)
        return sorted((set(watch.sent) | set(watch.known) | watch.names) - there) \
            if watch.wildcard else sorted(watch.names - there)

    @staticmethod
    def encode(watch, version, nonce, packed, versions, removed):
        response = m.DeltaDiscoveryResponse(system_version_info=version, type_url=watch.url,
                                            nonce=nonce, removed_resources=removed)
        for name, resource in packed:
            response.resources.add(name=name, version=versions.get(name, ""), resource=resource)
        return response.SerializeToString()


class WorldStream(Stream):
    protocol = "sotw"
    request_class = m.DiscoveryRequest

    @staticmethod
    def details(request):
        return {"subscribe": list(request.resource_names), "version": request.version_info}

    @staticmethod
    def new_watch(request):
        names = set(request.resource_names)
        wildcard = "*" in names or (not names and request.type_url not in m.BY_NAME)
        watch = Watch(request.type_url, wildcard, names - {"*"}, {})
        watch.due = bool(wildcard or watch.names)
        return watch

    @staticmethod
    def change_watch(watch, request):
        names = set(request.resource_names) - {"*"}
        if not watch.wildcard and names != watch.names:
            watch.names = names
            watch.due = bool(names)

    def removed(self, watch, items, names):
        return []

    @staticmethod
    def encode(watch, version, nonce, packed, versions, removed):
        response = m.DiscoveryResponse(version_info=version, type_url=watch.url, nonce=nonce,
                                       resources=[resource for _, resource in packed])
        return response.SerializeToString()


def handler(plane):
    """Requests and responses are bytes here, so that responses can be garbage."""
    def method(kind):
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: kind(plane, context).run(requests))
    return grpc.method_handlers_generic_handler(SERVICE, {
        "DeltaAggregatedResources": method(DeltaStream),
        "StreamAggregatedResources": method(WorldStream),
    })
