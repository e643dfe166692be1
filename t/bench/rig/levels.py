# SPDX-License-Identifier: Apache-2.0
"""What is measured: the levels, the load of each, and what cairn must reach at it."""

from dataclasses import dataclass, field

VIP_PORT = 80

# What a sidecar-less client's ztunnel sends with its CONNECT, and an ordinary client in it.
CONNECT_HEADERS = [
    "-C", "baggage=k8s.cluster.name=Kubernetes,k8s.namespace.name=default,"
          "k8s.deployment.name=client,service.name=client,service.version=v1",
    "-C", "forwarded=for=10.244.0.7",
]
REQUEST_HEADERS = [
    "-H", "user-agent=hboneload/1",
    "-H", "accept=*/*",
    "-H", "x-request-id=5b7c8f1e-6f0a-4f57-9f6e-1d2c3b4a5f60",
]


@dataclass(frozen=True)
class Level:
    """One kind of load.  front is what the proxy listens for: 'tcp' (plain HTTP) or 'hbone'."""

    name: str
    front: str
    text: str
    load: list
    peers: tuple = ("envoy", "cairn")
    rate: int = 0
    memory: bool = False
    http2: bool = False     # what the service speaks
    log: bool = False       # each request is written into an access log, in Istio's format
    # (peer, figure, at most): cairn's figure divided by the peer's
    limits: tuple = field(default=())


_LEVELS = [
    Level("L1", "tcp", "plain HTTP/1.1 in and out, 64 connections",
          ["-P", "tcp", "-m", "h1", "-c", "64"],
          peers=("envoy", "cairn", "nginx"), limits=(("nginx", "cpu", 1.15),)),
    Level("L3", "hbone", "HBONE in and out, HTTP/1.1 inside, policy; 4 connections x 16 tunnels",
          ["-m", "h1", "-c", "4", "-t", "16"], limits=(("envoy", "cpu", 1 / 6),)),
    Level("L3c64", "hbone", "as L3, from 64 connections with one tunnel each",
          ["-m", "h1", "-c", "64", "-t", "1"], limits=(("envoy", "cpu", 1 / 4),)),
    Level("L4", "hbone", "as L3, HTTP/2 inside; 4 connections x 4 tunnels x 16 streams",
          ["-m", "h2", "-c", "4", "-t", "4", "-s", "16"], http2=True,
          limits=(("envoy", "cpu", 1 / 4),)),
    Level("L5conn", "hbone", "a new TLS connection, tunnel and request each time, 32 at once",
          ["-m", "h1", "-c", "32", "-t", "1", "--churn", "conn"],
          limits=(("envoy", "cpu", 1.35),)),
    Level("L5tun", "hbone", "a new tunnel for each request, 4 connections x 16 tunnels",
          ["-m", "h1", "-c", "4", "-t", "16", "--churn", "tunnel"],
          limits=(("envoy", "cpu", 1 / 15),)),
    Level("L6", "hbone", "memory: idle, per idle tunnel, per idle TLS connection", [],
          memory=True),
    Level("L8", "hbone", "as L3, in an open loop at a fixed rate",
          ["-m", "h1", "-c", "4", "-t", "16"], rate=8000,
          limits=(("envoy", "cpu", 0.6), ("envoy", "p50", 0.65))),
    Level("L3log", "hbone", "as L3, each request in the access log",
          ["-m", "h1", "-c", "4", "-t", "16"], log=True, limits=(("envoy", "cpu", 1 / 6),)),
    Level("L3big", "hbone", "as L3, answers of 1 MB; 4 connections x 2 tunnels",
          ["-m", "h1", "-c", "4", "-t", "2", "-p", "/size/1000000", "--expect-size", "1000000"],
          limits=(("envoy", "cpu", 0.85),)),
    # not in the default list
    Level("L3one", "hbone", "as L3, one connection with one tunnel",
          ["-m", "h1", "-c", "1", "-t", "1"]),
]

LEVELS = {level.name: level for level in _LEVELS}
DEFAULT = ["L1", "L3", "L3c64", "L3log", "L3big", "L4", "L5conn", "L5tun", "L6", "L8"]

# Where access logs go: the cost of a disk is nobody's here.
LOG_PATH = "/dev/null"

# L6, of cairn: absolute figures
IDLE_PSS_MB = 24
TUNNEL_KB = 12
CONNECTION_KB = 60


def vip(index):
    """The address of service number index, from 0: 10.1.0.1 and on."""
    at = index + 1
    return f"10.{1 + (at >> 16 & 255)}.{at >> 8 & 255}.{at & 255}"


def authorities(services, spread):
    """The -a options: one service, or all of them in turn."""
    count = services if spread else 1
    options = []
    for index in range(count):
        options += ["-a", f"{vip(index)}:{VIP_PORT}"]
    return options
