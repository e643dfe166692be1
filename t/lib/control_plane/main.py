# SPDX-License-Identifier: Apache-2.0
"""A control plane for tests: main.py OPTIONS as JSON.  t/lib/Test/Cairn/ControlPlane.pm starts it
and is its manual.

Options: dir (files are written there), address (to listen on: 127.0.0.1), names (of the server's
certificate), trust_domain, cluster_id, root {certificate, key}, intermediates, tokens {TEXT:
ns/sa}, plaintext, min_ping_ms.

When all listens, DIR/ready.json has the ports.  It is told what to do by lines of JSON, {"do":
NAME, ...}, on the control port; each is answered by one, which has "error" if it could not.  It
ends with SIGTERM, or when the process that started it ends."""

import concurrent.futures
import ctypes
import json
import os
import signal
import socketserver
import sys
import threading

import grpc

import ads
import certificates
import messages as m
import services
from authority import Authority, BEFORE, Signer, write_file
from plane import Plane, PlaneError
from relay import MODES, Relay
from snapshot import AddressMap, Snapshot

PR_SET_PDEATHSIG = 1
SERVER_NAMES = ["istiod.istio-system.svc", "localhost", "127.0.0.1"]
DEFAULT_TOKEN = "token-of-default-waypoint"


def truth(value):
    """As Perl has it."""
    return value not in (None, False, 0, "0", "")


def load_signer(root):
    return Signer.load(root["certificate"], root["key"]) if root else None


class Server:
    """The gRPC server behind its relays, one for TLS and perhaps one for plaintext."""

    def __init__(self, plane, options):
        self.plane, self.options = plane, options
        self.address = options.get("address", "127.0.0.1")
        self.names = options.get("names", SERVER_NAMES)
        self.relays = {}
        self.new_certificate()
        self.start()

    def new_certificate(self, names=None, **more):
        key, chain = self.plane.authority.server(names or self.names, **more)
        self.pair = grpc.ssl_server_certificate_configuration([(key, chain)])

    def start(self):
        ping_ms = self.options.get("min_ping_ms", 15000)
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(256), options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0), ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", ping_ms),
            ("grpc.http2.min_ping_interval_without_data_ms", ping_ms)])
        server.add_generic_rpc_handlers((ads.handler(self.plane),
                                         certificates.handler(self.plane)))
        credentials = grpc.dynamic_ssl_server_credentials(self.pair, lambda: self.pair, False)
        ports = {"tls": server.add_secure_port("127.0.0.1:0", credentials)}
        if self.options.get("plaintext"):
            ports["plaintext"] = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.server = server

        for name, port in ports.items():
            if name in self.relays:
                self.relays[name].target = ("127.0.0.1", port)
            else:
                self.relays[name] = Relay(self.address, ("127.0.0.1", port))

    def restart(self, grace):
        """A new server for new connections; the old one says GOAWAY and ends its calls after so
        many seconds."""
        old = self.server
        self.start()
        old.stop(grace)


class Control:
    """Every do_NAME is a command; its keyword arguments are the members of the request."""

    def __init__(self, plane, server, directory):
        self.plane, self.server, self.directory = plane, server, directory

    # What is served.

    def push_of(self, types, push, **answer):
        """The answer to a change of these types, which are pushed unless push is false or names
        others."""
        if isinstance(push, list):
            types = push
        elif push is not None and not truth(push):
            types = []
        urls = [m.type_url(each) for each in types]
        generation = self.plane.push(urls) if urls else self.plane.generation
        return {"generation": generation, **answer}

    def do_load(self, recording, addresses=None, only=None, push=None):
        loaded = Snapshot()
        loaded.load(recording, AddressMap(addresses))
        with self.plane.lock:
            types = self.plane.snapshot.types
            urls = [m.type_url(each) for each in only or []] or {*types, *loaded.types}
            for url in urls:
                types[url] = loaded.items(url)
            return self.push_of(ads.in_order(urls), push)

    def do_put(self, type, name, file=None, hex=None, version=None, push=None):
        if file is not None:
            with open(file, "rb") as source:
                data = source.read()
        else:
            data = bytes.fromhex(hex or "")
        with self.plane.lock:
            self.plane.snapshot.put(m.type_url(type), name, data, version)
            return self.push_of([type], push)

    def do_remove(self, type, name, push=None):
        with self.plane.lock:
            self.plane.snapshot.remove(m.type_url(type), name)
            return self.push_of([type], push)

    def do_copy(self, type, name, to, push=None):
        with self.plane.lock:
            self.plane.snapshot.copy(m.type_url(type), name, to)
            return self.push_of([type], push)

    def do_multiply(self, host, count, address, push=None):
        with self.plane.lock:
            hosts = services.multiply(self.plane.snapshot, host, int(count), address)
            return self.push_of(["cds", "eds", "lds"], push, hosts=hosts)

    def do_replace(self, type, name, old, new, push=None):
        with self.plane.lock:
            self.plane.snapshot.replace_bytes(m.type_url(type), name, old.encode(), new.encode())
            return self.push_of([type], push)

    def do_edit(self, type, name, path, set=None, append=None, delete=False, hex=False, push=None):
        def value_of(value):
            if isinstance(value, str):
                return bytes.fromhex(value) if truth(hex) else value.encode()
            return value

        change = {"delete": True} if truth(delete) else \
            {"set": value_of(set)} if set is not None else {"append": value_of(append)}
        with self.plane.lock:
            self.plane.snapshot.edit(m.type_url(type), name, path, change)
            return self.push_of([type], push)

    def do_get(self, type, name):
        with self.plane.lock:
            item = self.plane.snapshot.get(m.type_url(type), name)
            return {"hex": item.data.hex(), "version": item.version}

    def do_names(self, type):
        with self.plane.lock:
            return {"names": sorted(self.plane.snapshot.items(m.type_url(type)))}

    def do_endpoints(self):
        with self.plane.lock:
            return {"endpoints": self.plane.snapshot.endpoints()}

    def do_workloads(self):
        with self.plane.lock:
            return {"workloads": self.plane.snapshot.workloads()}

    def do_set_endpoints(self, cluster, endpoints, push=None):
        with self.plane.lock:
            self.plane.snapshot.set_endpoints(cluster, endpoints)
            return self.push_of(["eds"], push)

    def do_weights(self, listener="main_internal"):
        with self.plane.lock:
            return {"weights": self.plane.snapshot.weights(listener)}

    def do_set_weights(self, weights, listener="main_internal", chain=None, route=None, push=None):
        weights = {name: int(weight) for name, weight in weights.items()}
        with self.plane.lock:
            changed = self.plane.snapshot.set_weights(listener, weights, chain, route)
            return self.push_of(["cds", "lds"], push, changed=changed)

    def do_push(self, types=None):
        with self.plane.lock:
            return self.push_of(types or ads.in_order(self.plane.snapshot.types), True)

    def do_send(self, hex):
        with self.plane.lock:
            for stream in self.plane.streams.values():
                stream.raw.append(bytes.fromhex(hex))
            self.plane.lock.notify_all()
            return {"streams": len(self.plane.streams)}

    # What was seen.

    def do_records(self, since=0, **wanted):
        with self.plane.lock:
            return {"records": self.plane.find(int(since), **wanted),
                    "count": len(self.plane.records)}

    def do_wait(self, seconds=10, since=0, count=1, **wanted):
        def look():
            found = self.plane.find(int(since), **wanted)
            return found if len(found) >= int(count) else None
        return {"records": self.plane.wait(look, float(seconds)) or []}

    def do_wait_settled(self, types, generation=0, seconds=10):
        urls = [m.type_url(each) for each in types]
        watches = self.plane.wait(
            lambda: self.plane.settled(urls, int(generation)), float(seconds))
        if watches is None:
            return {"verdict": None}
        verdicts = {watch.verdict for watch in watches}
        return {"verdict": "nack" if "nack" in verdicts else "ack"}

    def do_streams(self):
        with self.plane.lock:
            return {"streams": [
                {"number": stream.number, "protocol": stream.protocol, "node": stream.node,
                 "identity": stream.identity,
                 "types": {url: watch.describe() for url, watch in stream.watches.items()}}
                for _, stream in sorted(self.plane.streams.items())]}

    def do_connections(self):
        return {name: {"open": len(relay.writers), "accepted": relay.accepted}
                for name, relay in self.server.relays.items()}

    # Misbehaviour.

    def do_behave(self, **changes):
        self.plane.set_behaviour(changes)
        return {}

    def do_abort_streams(self, code="UNAVAILABLE", message="aborted"):
        with self.plane.lock:
            for stream in self.plane.streams.values():
                stream.kill = (getattr(grpc.StatusCode, code), message)
            self.plane.lock.notify_all()
            return {"streams": len(self.plane.streams)}

    def do_drop(self, how="rst"):
        return {"connections": sum(relay.drop(how) for relay in self.server.relays.values())}

    def do_freeze(self, frozen=True):
        for relay in self.server.relays.values():
            relay.freeze(truth(frozen))
        return {}

    def do_listen(self, mode="pass"):
        if mode not in MODES:
            raise PlaneError(f"no such mode: {mode}")
        for relay in self.server.relays.values():
            relay.set_mode(mode)
        return {}

    def do_restart(self, grace=0):
        self.server.restart(float(grace))
        return {}

    # Certificates and tokens.

    def do_server_certificate(self, names=None, expired=False):
        with self.plane.lock:
            more = {"ttl": -60, "before": 7200} if truth(expired) else {}
            self.server.new_certificate(names, **more)
        return {}

    def do_new_root(self, certificate=None, key=None):
        root = load_signer({"certificate": certificate, "key": key} if certificate else None)
        with self.plane.lock:
            self.plane.authority.new_root(root)
            self.server.new_certificate()
            return self.write_roots()

    def do_retire_roots(self):
        with self.plane.lock:
            self.plane.authority.retire_roots()
            return self.write_roots()

    def write_roots(self):
        text = self.plane.authority.roots_pem()
        write_file(os.path.join(self.directory, "root-cert.pem"), text)
        return {"roots": len(self.plane.authority.roots)}

    def do_issue(self, identity, uris=None, ttl=24 * 3600, expired=False, key="p256"):
        with self.plane.lock:
            ttl, before = (-60, 7200) if truth(expired) else (int(ttl), BEFORE)
            return self.plane.authority.issue(self.directory, identity, uris, ttl, before, key)

    def do_tokens(self, tokens, file=None):
        """Only these tokens are good from now on; file is the one that DIR/token has."""
        with self.plane.lock:
            self.plane.tokens = dict(tokens)
            if file is not None:
                write_file(os.path.join(self.directory, "token"), file, 0o600)
        return {}

    # Requests.

    def run(self, request):
        name = request.pop("do", "")
        method = getattr(self, "do_" + str(name), None)
        if method is None:
            return {"error": f"no such command: {name!r}"}
        try:
            return method(**request)
        except Exception as error:      # whatever it is, the test wants to read it
            return {"error": f"{name}: {type(error).__name__}: {error}"}


def serve_control(control):
    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                answer = control.run(json.loads(line))
                self.wfile.write(json.dumps(answer).encode() + b"\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def end_with_parent(parent):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def main():
    options = json.loads(sys.argv[1])
    if "parent" in options:
        end_with_parent(options["parent"])

    directory = options["dir"]
    tokens = options.get("tokens") or {DEFAULT_TOKEN: "default/waypoint"}
    authority = Authority(options.get("trust_domain", "cluster.local"),
                          load_signer(options.get("root")), options.get("intermediates", 0))
    plane = Plane(authority, options.get("cluster_id", "Kubernetes"), tokens)
    server = Server(plane, options)
    control = Control(plane, server, directory)

    control.write_roots()
    write_file(os.path.join(directory, "token"), next(iter(tokens)), 0o600)
    ready = {name: relay.port for name, relay in server.relays.items()}
    ready["control"] = serve_control(control)
    write_file(os.path.join(directory, "ready.json"), json.dumps(ready))

    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
