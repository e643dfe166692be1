#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Headers that routes and destinations add, set and remove, on requests and responses; commands in
# their values.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== the destination's operations come before the route's; what is removed goes first
--- upstreams
reviews-v1: {program: {headers: {x-srm: "1", x-erm: "1", x-both: up}}}
sleep: {client: yes}
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: ops
    match: [{uri: {prefix: /ops}}]
    headers:
      request:
        set: {x-rset: v1, x-both: route, x-gone: back}
        add: {x-radd: v2, x-l: route, x-empty: ""}
        remove: [x-rrm, x-gone]
      response:
        set: {x-sset: v1}
        add: {x-sadd: v2, x-both: route}
        remove: [x-srm]
    route:
    - destination: {host: reviews, subset: v1}
      weight: 100
      headers:
        request: {set: {x-d1: "1", x-both: destination}, add: {x-l: destination}, remove: [x-d3]}
        response: {set: {x-e1: "1"}, remove: [x-erm]}
    - destination: {host: reviews, subset: v2}
      weight: 0
  - name: host
    match: [{uri: {prefix: /host}}]
    route:
    - destination: {host: reviews, subset: v1}
      headers: {request: {set: {":authority": svc-b, x-a: "1"}}}
  - name: wins
    match: [{uri: {prefix: /wins}}]
    headers: {request: {set: {Host: of.route}}}
    route:
    - destination: {host: reviews, subset: v1}
      headers: {request: {set: {host: of.destination}}}
  - name: formats
    match: [{uri: {prefix: /formats}}]
    headers:
      request:
        set:
          x-00: "%REQ(x-a)%"
          x-01: "%REQ(x-none)%"
          x-02: "%REQ(x-none?x-a)%"
          x-03: "%REQ(X-A):2%"
          x-04: "%REQ(:METHOD)%"
          x-05: "%REQ(:PATH)%"
          x-06: "%REQ(:AUTHORITY)%"
          x-07: "%PROTOCOL%"
          x-08: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
          x-09: "%DOWNSTREAM_LOCAL_PORT%"
          x-10: "%ROUTE_NAME%"
          x-11: "%UPSTREAM_CLUSTER%"
          x-12: "%RESPONSE_FLAGS%"
          x-13: "%%"
          x-14: "pre-%REQ(x-none)%-post"
          x-15: "100%%"
          x-16: "%STREAM_ID%"
          x-17: "%DOWNSTREAM_PEER_URI_SAN%"
          x-18: "%RESPONSE_CODE%"
          x-19: "%START_TIME%"
          x-a: changed
      response:
        set:
          x-20: "%RESP(x-both)%"
          x-21: "%RESPONSE_CODE%"
          x-22: "%UPSTREAM_HOST%"
          x-23: "%REQ(x-request-id)%"
    route: [{destination: {host: reviews, subset: v1}}]
  - name: answers
    headers: {response: {set: {x-l: route}}}
    directResponse: {status: 200}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
--- request
as sleep to reviews GET /ops
x-rrm: 1
X-Gone: client
x-d3: 1
x-both: client
x-rset: a
x-rset: b
x-l: client
--- expect
200
x-sset: v1
x-sadd: v2
x-e1: 1
!x-srm
!x-erm
x-both: up,route
--- upstream_saw
reviews-v1 GET /ops
x-rset: v1
x-radd: v2
x-both: route
x-gone: back
x-d1: 1
!x-rrm
!x-d3
!x-empty
x-l: client,destination,route

=== the host is set by rewriting the authority; the route's wins
--- request
as sleep to reviews GET /host
~~~
as sleep to reviews GET /wins
--- expect
200
~~~
200
--- upstream_saw
reviews-v1 GET /host
host: svc-b
x-a: 1
x-envoy-original-host: reviews:9080
~~~
reviews-v1 GET /wins
host: of.route

=== commands in values
--- request
as sleep to reviews GET /formats?q=1
x-a: hello
x-request-id: 11111111-2222-4333-8444-555555555555
--- expect
200
x-20: up
x-21: 200
x-22: %%POD_reviews_v1%%:9080
x-23: 11111111-2222-4333-8444-555555555555
--- upstream_saw
reviews-v1 GET /formats?q=1
x-00: hello
!x-01
x-02: hello
x-03: he
x-04: GET
x-05: /formats?q=1
x-06: reviews:9080
x-07: HTTP/1.1
x-08: %%POD_sleep%%
x-09: 9080
x-10: formats
x-11: inbound-vip|9080|http/v1|reviews.default.svc.cluster.local
x-12: -
x-13: %
x-14: pre--post
x-15: 100%
x-16: 11111111-2222-4333-8444-555555555555
x-17: spiffe://cluster.local/ns/default/sa/sleep
x-18: 0
x-19: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/
x-a: changed

=== a route's response headers stand on every answer, also a denial
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /none}}]
    headers: {response: {set: {x-l: route}}}
    route: [{destination: {host: nowhere}}]
  - headers: {response: {set: {x-l: route}}}
    route: [{destination: {host: reviews}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny}
spec:
  targetRefs: [{group: "", kind: Service, name: reviews}]
  action: DENY
  rules: [{to: [{operation: {paths: [/denied]}}]}]
--- request
as sleep to reviews GET /none
~~~
as sleep to reviews GET /denied
--- expect
503
x-l: route
~~~
403
x-l: route

RBAC: access denied

=== an HTTPRoute's modifiers, of a rule and of a backend
--- resources
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: x-s, value: v}, {name: Host, value: a.example.com}], add: [{name: x-ad, value: v}], remove: [x-r]}
    - type: ResponseHeaderModifier
      responseHeaderModifier: {set: [{name: y-s, value: v}], add: [{name: x-both, value: v}], remove: [x-srm]}
    backendRefs:
    - name: reviews
      port: 9080
      filters:
      - type: RequestHeaderModifier
        requestHeaderModifier: {set: [{name: x-backend, value: v1}]}
--- request
as sleep to reviews GET /
x-r: 1
x-ad: 1
--- expect
200
y-s: v
!x-srm
--- upstream_saw
reviews-v1 GET /
host: a.example.com
x-s: v
x-backend: v1
!x-r
