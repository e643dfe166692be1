# SPDX-License-Identifier: Apache-2.0
"""cairn's configuration: a bootstrap file and a folder of the mesh's own resources.

The resources say what Envoy's configuration beside them says: in waypoint() the application's pod
is in the mesh and a policy admits two principals, two methods and all paths; in plain() the pod is
outside the mesh and there is no policy."""

import json
import os
from dataclasses import dataclass

from . import levels, places

BOOTSTRAP = """\
workers: {workers}
log: {{path: stderr, level: warn}}
access_log: {{path: "{access_log}"}}
pid: {folder}/cairn.pid
drain_time: 1s
source: {{files: {resources}, watch: false}}
identity: {{files: {{certificate: {certificate}, key: {key}, root: {root}}}}}
listen: {{hbone: "127.0.0.1:{hbone}", plaintext: [{plaintext}]}}
admin:
  address: "127.0.0.1:{admin}"
  status: "127.0.0.1:{status}"
  metrics: ["127.0.0.1:{metrics}"]
"""

MESH = """\
apiVersion: v1
kind: Namespace
metadata:
  name: default
  labels:
    istio.io/use-waypoint: waypoint
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: waypoint
  namespace: default
  labels:
    istio.io/waypoint-for: service
spec:
  gatewayClassName: istio-waypoint
  listeners:
  - name: mesh
    port: 15008
    protocol: HBONE
---
apiVersion: v1
kind: Pod
metadata:
  name: app-1
  namespace: default
  labels:
    app: app
    version: v1
{annotations}spec:
  serviceAccountName: app
  containers:
  - name: app
    image: app
    ports:
    - containerPort: {app_port}
status:
  phase: Running
  conditions:
  - type: Ready
    status: "True"
  podIP: {pod}
  podIPs:
  - ip: {pod}
"""

IN_MESH = """\
  annotations:
    ambient.istio.io/redirection: enabled
"""

SERVICE = """\
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: default
spec:
  clusterIP: {vip}
  clusterIPs: ["{vip}"]
  ports:
  - name: {protocol}
    port: {port}
    targetPort: {app_port}
    protocol: TCP
  selector:
    app: app
"""

POLICY = """\
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: {name}
  namespace: default
spec:
  targetRefs:
  - group: ""
    kind: Service
    name: {name}
  action: ALLOW
  rules:
  - from:
    - source:
        principals:
        - cluster.local/ns/default/sa/other
        - cluster.local/ns/default/sa/client
    to:
    - operation:
        methods: [GET, POST]
        paths: ["/*"]
"""

ROUTES = """\
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {name}
  namespace: default
spec:
  parentRefs:
  - group: ""
    kind: Service
    name: {name}
    port: {port}
  rules:
  - matches:
    - path:
        type: PathPrefix
        value: /api/v1
    backendRefs:
    - name: {name}
      port: {port}
  - matches:
    - path:
        type: PathPrefix
        value: /
    backendRefs:
    - name: {name}
      port: {port}
"""


@dataclass
class Addresses:
    """Where cairn listens, and the application's pod.  plaintext None: no such listener."""

    hbone: int
    plaintext: int
    admin: int
    status: int
    metrics: int
    pod: str


def service_name(index):
    """The first has the name that the load generator puts into Host."""
    return "svc" if index == 0 else f"svc{index}"


def _service(index, protocol="http"):
    return SERVICE.format(name=service_name(index), vip=levels.vip(index), port=levels.VIP_PORT,
                          app_port=places.APP_PORT, protocol=protocol)


def plain(pod):
    """One service outside the mesh, without a policy."""
    return MESH.format(annotations="", pod=pod, app_port=places.APP_PORT) + _service(0)


def waypoint(pod, services, http2):
    """That many services in the mesh, each with a policy and (if several) two routes."""
    protocol = "http2" if http2 else "http"
    parts = [MESH.format(annotations=IN_MESH, pod=pod, app_port=places.APP_PORT)]
    for index in range(services):
        name = service_name(index)
        parts += [_service(index, protocol), POLICY.format(name=name)]
        if services > 1:
            parts.append(ROUTES.format(name=name, port=levels.VIP_PORT))
    return "".join(parts)


def write(folder, addresses, resources, workers, log):
    """Writes both into a folder; returns the bootstrap file's path."""
    directory = os.path.join(folder, "resources")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "mesh.yaml"), "w", encoding="utf-8") as file:
        file.write(resources)

    plaintext = "" if addresses.plaintext is None else f'"127.0.0.1:{addresses.plaintext}"'
    text = BOOTSTRAP.format(
        workers=workers, folder=folder, resources=json.dumps(directory),
        certificate=places.certificate("waypoint"), key=places.key("waypoint"),
        root=places.certificate("root"), access_log=levels.LOG_PATH if log else "off", hbone=addresses.hbone, plaintext=plaintext,
        admin=addresses.admin, status=addresses.status, metrics=addresses.metrics)
    path = os.path.join(folder, "cairn.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path
