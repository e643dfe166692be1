#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Direct responses: a route that answers by itself; and backends that are not there.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== a VirtualService's directResponse: status, body as text or octets, headers
--- upstreams
reviews-v1:
sleep: {client: yes}
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: bytes
    match: [{uri: {prefix: /bytes}}]
    directResponse: {status: 200, body: {bytes: "aGVsbG8="}}
  - name: direct
    match: [{uri: {prefix: /direct}}]
    directResponse: {status: 418, body: {string: teapot}}
    headers: {response: {set: {x-direct: "1"}}}
  - name: empty
    match: [{uri: {prefix: /empty}}]
    directResponse: {status: 404}
  - name: json
    match: [{uri: {prefix: /json}}]
    directResponse: {status: 200, body: {string: '{"a":1}'}}
    headers: {response: {set: {content-type: application/json}}}
  - route: [{destination: {host: reviews}}]
--- request
as sleep to reviews GET /direct
~~~
as sleep to reviews GET /bytes
~~~
as sleep to reviews GET /empty
~~~
as sleep to reviews HEAD /direct
~~~
as sleep to reviews POST /direct

a body that nobody reads
~~~
as sleep to reviews GET /json
--- expect
418
x-direct: 1
content-type: text/plain
content-length: 6
server: istio-envoy

teapot
~~~
200
content-type: text/plain

hello
~~~
404
content-length: 0
!content-type
~~~
418
content-length: 6
@size 0
~~~
418

teapot
~~~
200
content-type: application/json

{"a":1}
--- upstream_saw
nothing
--- access_log
"GET /direct HTTP/1.1" 418 - direct_response - "-" 0 6
/"GET \/empty HTTP\/1\.1" 404 - direct_response .* - empty$/

=== a gRPC request is answered in gRPC
--- request
as sleep to reviews POST /direct
content-type: application/grpc
--- expect
200
content-type: application/grpc
grpc-status: 2
grpc-message: teapot

=== a destination that is not there: 503 for its share, of a VirtualService
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /unknown}}]
    route: [{destination: {host: does-not-exist}}]
  - match: [{uri: {prefix: /subset}}]
    route: [{destination: {host: reviews, subset: v9}}]
  - route: [{destination: {host: reviews}}]
--- request
as sleep to reviews GET /unknown
~~~
as sleep to reviews GET /subset
~~~
as sleep to reviews GET /
--- expect
503
~~~
503
~~~
200
--- access_log
"GET /unknown HTTP/1.1" 503 NC cluster_not_found

=== 500 of an HTTPRoute; no backend and no weight are 500 too
--- resources
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /invalid}}]
    backendRefs: [{name: nonexistent, port: 9080}]
  - matches: [{path: {type: PathPrefix, value: /kind}}]
    backendRefs: [{group: x.example.com, kind: Thing, name: reviews, port: 9080}]
  - matches: [{path: {type: PathPrefix, value: /namespace}}]
    backendRefs: [{name: reviews, namespace: other, port: 9080}]
  - matches: [{path: {type: PathPrefix, value: /none}}]
  - matches: [{path: {type: PathPrefix, value: /zero}}]
    backendRefs: [{name: reviews, port: 9080, weight: 0}]
  - matches: [{path: {type: PathPrefix, value: /}}]
    backendRefs: [{name: reviews, port: 9080}]
--- request
as sleep to reviews GET /invalid
~~~
as sleep to reviews GET /kind
~~~
as sleep to reviews GET /namespace
~~~
as sleep to reviews GET /none
~~~
as sleep to reviews GET /zero
~~~
as sleep to reviews GET /
--- expect
500
~~~
500
~~~
500
~~~
500
~~~
500
~~~
200
--- access_log
"GET /none HTTP/1.1" 500 - direct_response
