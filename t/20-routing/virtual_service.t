#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# VirtualService: which route, which destination, and what a route does to a request.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== weights are kept within the 99.9 % bounds
--- upstreams
reviews-v1:
reviews-v2:
sleep: {client: yes}
--- resources
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - name: exact
    match:
    - uri: {exact: /exact}
    route: [{destination: {host: reviews, subset: v2}}]
  - name: jason
    match:
    - headers: {end-user: {exact: jason}}
      uri: {prefix: /}
    route: [{destination: {host: reviews, subset: v2}}]
  - name: posts
    match:
    - method: {exact: POST}
    route: [{destination: {host: reviews, subset: v2}}]
    headers:
      request: {set: {x-set: new}, add: {x-multi: added}, remove: [x-gone]}
      response: {set: {x-answer: yes-sir}, remove: [x-pod-secret]}
  - name: slow
    match:
    - uri: {prefix: /slow}
    timeout: 0.3s
    route: [{destination: {host: reviews, subset: v1}}]
  - name: aborted
    match:
    - uri: {prefix: /abort}
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: reviews, subset: v1}}]
  - name: delayed
    match:
    - uri: {prefix: /delay}
    fault: {delay: {fixedDelay: 0.2s, percentage: {value: 100}}}
    route: [{destination: {host: reviews, subset: v1}}]
  - name: split
    route:
    - {destination: {host: reviews, subset: v1}, weight: 90}
    - {destination: {host: reviews, subset: v2}, weight: 10}
--- request
as sleep to reviews GET /
--- repeat: 2000
--- expect
200
--- shares
reviews-v1 90%
reviews-v2 10%

=== the first route that matches by path, header or method is taken
--- request
as sleep to reviews GET /exact
~~~
as sleep to reviews GET /exact?q=1
~~~
as sleep to reviews GET /x
end-user: jason
~~~
as sleep to reviews POST /x
x-set: old
x-multi: own
x-gone: 1

body
--- expect
200
@pod reviews-v2
~~~
200
@pod reviews-v2
~~~
200
@pod reviews-v2
~~~
200
@pod reviews-v2
x-answer: yes-sir
--- upstream_saw
reviews-v2 GET /exact HTTP/1.1
~~~
reviews-v2 GET /exact?q=1 HTTP/1.1
~~~
reviews-v2 GET /x HTTP/1.1
~~~
reviews-v2 POST /x HTTP/1.1
x-set: new
!x-gone
--- access_log
/"GET \/x HTTP\/1.1" 200 .* jason$/
/"POST \/x HTTP\/1.1" 200 .*http\/v2\|reviews.* posts$/

=== a timeout is answered 504 and told to the upstream
--- request
as sleep to reviews GET /slow
x-program: {"delay":3}
--- expect
504
content-type: text/plain

upstream request timeout
--- upstream_saw
reviews-v1 GET /slow HTTP/1.1
x-envoy-expected-rq-timeout-ms: 300
--- access_log
/"GET \/slow HTTP\/1.1" 504 UT response_timeout - "-" 0 24 3\d\d /

=== an aborted request reaches nobody
--- request
as sleep to reviews GET /abort
--- expect
418

fault filter abort
--- upstream_saw
nothing
--- access_log
/"GET \/abort HTTP\/1.1" 418 FI fault_filter_abort - "-" 0 18 /

=== a delayed request arrives later
--- request
as sleep to reviews GET /delay
--- expect
200
@pod reviews-v1
--- access_log
/"GET \/delay HTTP\/1.1" 200 DI via_upstream - "-" 0 \d+ 2\d\d /

=== metrics have Istio's names and labels
--- request
as sleep to reviews GET /exact
--- expect
200
--- metrics
istio_requests_total{reporter="waypoint",source_workload="sleep",source_principal="spiffe://cluster.local/ns/default/sa/sleep",destination_service="reviews.default.svc.cluster.local",destination_service_name="reviews",destination_service_namespace="default",destination_version="v2",request_protocol="http",response_code="200",response_flags="-",connection_security_policy="mutual_tls"} +1
