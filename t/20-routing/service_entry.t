#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# ServiceEntry with resolution STATIC and WorkloadEntry: services and workloads that Kubernetes does
# not run.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== endpoints that stand in the entry are reached directly, at the port that each names
--- upstreams
near-v1: {manifest: no, hbone: no, plain: yes, port: 9080}
far-v1: {manifest: no, hbone: no, plain: yes, port: 9090}
vm-v1: {manifest: no, port: 9080, identity: default/vm}
box-v1: {manifest: no, hbone: no, plain: yes, port: 9080}
sleep: {client: yes}
--- services
{}
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [db.example.com]
  addresses: [240.1.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  location: MESH_EXTERNAL
  resolution: STATIC
  endpoints:
  - {address: %%POD_near_v1%%, labels: {zone: near}}
  - {address: %%POD_far_v1%%, ports: {http: 9090}, labels: {zone: far}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: default}
spec: {host: db.example.com, subsets: [{name: near, labels: {zone: near}}, {name: far, labels: {zone: far}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db, namespace: default}
spec:
  hosts: [db.example.com]
  http:
  - match: [{uri: {prefix: /near}}]
    route: [{destination: {host: db.example.com, subset: near}}]
  - match: [{uri: {prefix: /far}}]
    route: [{destination: {host: db.example.com, subset: far}}]
  - route: [{destination: {host: db.example.com}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: vms, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [vm.internal]
  addresses: [240.1.1.2]
  ports: [{number: 80, name: http, protocol: HTTP}]
  location: MESH_INTERNAL
  resolution: STATIC
  workloadSelector: {labels: {app: vm}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm-1, namespace: default, labels: {app: vm, networking.istio.io/tunnel: http}}
spec: {address: %%POD_vm_v1%%, ports: {http: 9080}, serviceAccount: vm}
--- request
as sleep to 240.1.1.1:80 GET /near
~~~
as sleep to 240.1.1.1:80 GET /far
~~~
as sleep to db.example.com:80 GET /near
--- expect
200
@pod near-v1
~~~
200
@pod far-v1
~~~
200
@pod near-v1
--- access_log
inbound-vip|80|http/near|db.example.com
inbound-vip|80|http/far|db.example.com

=== a WorkloadEntry with the tunnel's label is reached by HBONE, as its service account
--- request
as sleep to 240.1.1.2:80 GET /
--- expect
200
@pod vm-v1
--- upstream_saw
vm-v1 GET / HTTP/1.1
@peer spiffe://cluster.local/ns/default/sa/waypoint
@authority %%POD_vm_v1%%:9080
--- metrics
istio_requests_total{destination_service="vm.internal",destination_workload="vm-1",destination_canonical_service="vm",destination_service_name="vm.internal"} +1

=== one that another service account answers for is not sent to
--- reload
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: vms, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [vm.internal]
  addresses: [240.1.1.2]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  workloadSelector: {labels: {app: vm}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm-1, namespace: default, labels: {app: vm, networking.istio.io/tunnel: http}}
spec: {address: %%POD_vm_v1%%, ports: {http: 9080}, serviceAccount: other}
--- request
as sleep to 240.1.1.2:80 GET /
--- expect
503
--- upstream_saw
nothing

=== a WorkloadEntry without the label is reached directly; a Service selects it too
--- reload
--- resources
apiVersion: v1
kind: Service
metadata: {name: mixed, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec: {selector: {app: box}, clusterIP: 10.96.200.1, ports: [{name: http, port: 80, targetPort: 1}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: box-1, namespace: default}
spec: {address: %%POD_box_v1%%, ports: {http: 9080}, labels: {app: box}}
--- request
as sleep to 10.96.200.1:80 GET /
~~~
as sleep to mixed.default.svc.cluster.local:80 GET /
--- expect
200
@pod box-v1
~~~
200
@pod box-v1

=== a policy for the Gateway holds for a ServiceEntry's hosts
--- reload
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [db.example.com]
  addresses: [240.1.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  endpoints: [{address: %%POD_near_v1%%}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reads, namespace: default}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]
  rules: [{to: [{operation: {methods: [GET]}}]}]
--- request
as sleep to 240.1.1.1:80 GET /
~~~
as sleep to 240.1.1.1:80 POST /
--- expect
200
@pod near-v1
~~~
403

=== a policy for the ServiceEntry holds for its hosts alone
--- reload
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [db.example.com]
  addresses: [240.1.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  endpoints: [{address: %%POD_near_v1%%}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: other, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [other.example.com]
  addresses: [240.1.1.4]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  endpoints: [{address: %%POD_near_v1%%}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reads, namespace: default}
spec:
  targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: db}]
  rules: [{to: [{operation: {methods: [GET]}}]}]
--- request
as sleep to 240.1.1.1:80 GET /
~~~
as sleep to 240.1.1.1:80 POST /
~~~
as sleep to 240.1.1.4:80 POST /
--- expect
200
~~~
403

RBAC: access denied
~~~
200

=== hosts are compared without case, wherever they stand
--- reload
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [DB.Example.com]
  addresses: [240.1.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  endpoints: [{address: %%POD_near_v1%%}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db, namespace: default}
spec:
  hosts: [db.EXAMPLE.com]
  http: [{route: [{destination: {host: Db.example.com}}], headers: {response: {set: {x-by: route}}}}]
--- request
as sleep to db.example.com:80 GET /
~~~
as sleep to DB.example.COM:80 GET /
--- expect
200
x-by: route
@pod near-v1
~~~
200
x-by: route

=== a resolution that is not implemented is said, and the host is not there; others go on
--- reload
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [db.example.com]
  addresses: [240.1.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  endpoints: [{address: %%POD_near_v1%%}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: any, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [any.example.com]
  addresses: [240.1.1.3]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: NONE
  endpoints: [{address: %%POD_near_v1%%}]
--- request
as sleep to 240.1.1.1:80 GET /
--- expect
200
@pod near-v1
--- error_log
ServiceEntry default/any: spec.resolution: NONE is not implemented: only STATIC is
