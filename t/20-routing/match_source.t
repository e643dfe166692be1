#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Matches on where a request comes in: the service's port, gateways, the client's labels and
# namespace as istiod treats them for a waypoint; ports and sections of an HTTPRoute's parent.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== a match of a port is for that port alone
--- upstreams
reviews-v1: {ports: [9080, 9081]}
sleep: {client: yes}
--- services
reviews: {ports: [{name: http, port: 9080}, {name: http-alt, port: 9081}]}
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{port: 9081}]
    headers: {response: {set: {x-by: port}}}
    route: [{destination: {host: reviews}}]
  - match: [{gateways: [mesh], uri: {prefix: /mesh}}, {gateways: [ingress], uri: {prefix: /ingress}}]
    headers: {response: {set: {x-by: gateways}}}
    route: [{destination: {host: reviews}}]
  - match: [{sourceLabels: {app: sleep}, uri: {prefix: /labels}}]
    headers: {response: {set: {x-by: labels}}}
    route: [{destination: {host: reviews}}]
  - match: [{sourceNamespace: elsewhere, uri: {prefix: /namespace}}]
    headers: {response: {set: {x-by: namespace}}}
    route: [{destination: {host: reviews}}]
  - match: [{scheme: {exact: http}, uri: {prefix: /scheme}, statPrefix: x}]
    headers: {response: {set: {x-by: scheme}}}
    route: [{destination: {host: reviews}}]
  - headers: {response: {set: {x-by: rest}}}
    route: [{destination: {host: reviews}}]
--- request
as sleep to reviews.default.svc.cluster.local:9081 GET /
~~~
as sleep to reviews GET /
~~~
as sleep to reviews GET /mesh
~~~
as sleep to reviews GET /ingress
~~~
as sleep to reviews GET /labels
~~~
as sleep to reviews GET /namespace
~~~
as sleep to reviews GET /scheme
--- expect
200
x-by: port
~~~
200
x-by: rest
~~~
200
x-by: gateways
~~~
200
x-by: rest
~~~
200
x-by: rest
~~~
200
x-by: namespace
~~~
200
x-by: scheme

=== an HTTPRoute of one port, by number or by name
--- resources
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: by-number}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews, port: 9081}]
  rules:
  - filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: number}]}}]
    backendRefs: [{name: reviews, port: 9081}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: by-name}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews, sectionName: http}]
  hostnames: [only.example.com]
  rules:
  - filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: name}]}}]
    backendRefs: [{name: reviews, port: 9080}]
--- request
as sleep to reviews.default.svc.cluster.local:9081 GET /
~~~
as sleep to reviews GET /
--- expect
200
x-by: number
~~~
200
x-by: name
