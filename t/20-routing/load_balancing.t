#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# DestinationRule loadBalancer.simple, over endpoints with and without weights.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== RANDOM by weight
--- upstreams
box-v1: {manifest: no, hbone: no, plain: yes}
box-v2: {manifest: no, hbone: no, plain: yes}
box-v3: {manifest: no, hbone: no, plain: yes}
sleep: {client: yes}
--- services
{}
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: box, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [box.example.com]
  addresses: [240.1.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  endpoints:
  - {address: %%POD_box_v1%%}
  - {address: %%POD_box_v2%%, weight: 3}
  - {address: %%POD_box_v3%%, weight: 6}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: box, namespace: default}
spec: {host: box.example.com, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
--- request
as sleep to 240.1.1.1:80 GET /
--- repeat: 400
--- shares
box-v3 60%

=== RANDOM of equals
--- reload
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: box, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [box.example.com]
  addresses: [240.1.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  endpoints:
  - {address: %%POD_box_v1%%}
  - {address: %%POD_box_v2%%}
  - {address: %%POD_box_v3%%}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: box, namespace: default}
spec: {host: box.example.com, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
--- request
as sleep to 240.1.1.1:80 GET /
--- repeat: 400
--- shares
box-v2 33.3%

=== ROUND_ROBIN by weight
--- reload
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: box, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [box.example.com]
  addresses: [240.1.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  endpoints:
  - {address: %%POD_box_v1%%, weight: 1}
  - {address: %%POD_box_v2%%, weight: 3}
  - {address: %%POD_box_v3%%, weight: 6}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: box, namespace: default}
spec: {host: box.example.com, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}
--- request
as sleep to 240.1.1.1:80 GET /
--- repeat: 400
--- shares
box-v1 10%
box-v2 30%
box-v3 60%

=== ROUND_ROBIN of equals
--- reload
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: box, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [box.example.com]
  addresses: [240.1.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  endpoints:
  - {address: %%POD_box_v1%%, weight: 2}
  - {address: %%POD_box_v2%%, weight: 2}
  - {address: %%POD_box_v3%%, weight: 2}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: box, namespace: default}
spec: {host: box.example.com, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}
--- request
as sleep to 240.1.1.1:80 GET /
--- repeat: 400
--- shares
box-v1 33.3%
box-v2 33.3%
box-v3 33.3%

=== LEAST_REQUEST by weight, when nothing else is under way
--- reload
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: box, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [box.example.com]
  addresses: [240.1.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  endpoints:
  - {address: %%POD_box_v1%%, weight: 1}
  - {address: %%POD_box_v2%%, weight: 3}
  - {address: %%POD_box_v3%%, weight: 6}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: box, namespace: default}
spec: {host: box.example.com, trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}}
--- request
as sleep to 240.1.1.1:80 GET /
--- repeat: 400
--- shares
box-v1 10%
box-v2 30%
box-v3 60%

=== no rule is LEAST_REQUEST; a weight of 0 is 1
--- reload
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: box, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [box.example.com]
  addresses: [240.1.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  endpoints:
  - {address: %%POD_box_v1%%, weight: 0}
  - {address: %%POD_box_v2%%, weight: 0}
  - {address: %%POD_box_v3%%}
--- request
as sleep to 240.1.1.1:80 GET /
--- repeat: 400
--- shares
box-v1 33.3%
box-v2 33.3%
box-v3 33.3%

=== WorkloadEntries have their weights
--- reload
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: box, namespace: default, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [box.example.com]
  addresses: [240.1.1.1]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  resolution: STATIC
  workloadSelector: {labels: {app: box}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: box-1, namespace: default}
spec: {address: %%POD_box_v1%%, labels: {app: box}, weight: 1}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: box-2, namespace: default}
spec: {address: %%POD_box_v2%%, labels: {app: box}, weight: 3}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: box, namespace: default}
spec: {host: box.example.com, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
--- request
as sleep to 240.1.1.1:80 GET /
--- repeat: 400
--- shares
box-v1 25%
box-v2 75%
