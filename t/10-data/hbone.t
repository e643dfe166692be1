#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# HBONE in, HTTP/1.1 inside, HBONE out: what goes through, and what is refused.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== a request goes through with the waypoint's identity and comes back
--- upstreams
reviews-v1:
ratings-v1: {hbone: no, plain: yes}
sleep: {client: yes}
--- request
as sleep to reviews GET /reviews/0
user-agent: test
x-multi: a
x-multi: b
--- expect
200
server: istio-envoy
x-envoy-decorator-operation: reviews.default.svc.cluster.local:9080/*
x-envoy-upstream-service-time: /^\d+$/
@pod reviews-v1
--- upstream_saw
reviews-v1 GET /reviews/0 HTTP/1.1
@peer spiffe://cluster.local/ns/default/sa/waypoint
@authority %%POD_reviews_v1%%:9080
x-forwarded-proto: http
x-request-id: /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
user-agent: test
!x-forwarded-for
!x-envoy-attempt-count
--- access_log
/\] "GET \/reviews\/0 HTTP\/1\.1" 200 - via_upstream - "-" 0 \d+ \d+ \d+ "-" "test" "[0-9a-f-]{36}" "\S+" "envoy:\/\/connect_originate\/[\d.]+:9080" inbound-vip\|9080\|http\|reviews\.default\.svc\.cluster\.local envoy:\/\/internal_client_address\/ [\d.]+:9080 [\d.]+:\d+ - default$/

=== a pod outside the mesh is reached directly
--- request
as sleep to ratings GET /ratings/0
--- expect
200
@pod ratings-v1
--- upstream_saw
ratings-v1 GET /ratings/0 HTTP/1.1
@via plain

=== bodies pass both ways, sized and chunked
--- request
as sleep to reviews POST /echo
x-program: {"echo":1}
@size 300000
~~~
as sleep to reviews POST /echo
x-program: {"echo":1}
@size 300000
@chunked 1000
~~~
as sleep to reviews GET /big
x-program: {"size":1000000}
~~~
as sleep to reviews GET /big
x-program: {"size":1000000,"chunked":1}
--- expect
200
~~~
200
~~~
200
@size 1000000
~~~
200
@size 1000000

=== HEAD has no body, 204 and 304 neither
--- request
as sleep to reviews HEAD /x
~~~
as sleep to reviews GET /x
x-program: {"status":204,"body":""}
--- expect
200
@size 0
~~~
204
@size 0

=== requests follow one another on a tunnel
--- keepalive
--- request
as sleep to reviews GET /1
~~~
as sleep to reviews GET /2
~~~
as sleep to reviews POST /3

abc
--- expect
200
~~~
200
~~~
200

=== pipelined requests are answered in order
--- pipelined
--- request
as sleep to reviews GET /1
x-program: {"body":"one"}
~~~
as sleep to reviews GET /2
x-program: {"body":"two"}
--- expect
200

one
~~~
200

two

=== what clients may not say is taken away, what they may stays
--- request
as sleep to reviews GET /
x-forwarded-client-cert: By=x
x-envoy-retry-on: 5xx
x-envoy-upstream-rq-timeout-ms: 1
x-forwarded-for: 1.2.3.4
x-request-id: mine
--- expect
200
--- upstream_saw
reviews-v1 GET / HTTP/1.1
!x-forwarded-client-cert
!x-envoy-retry-on
!x-envoy-upstream-rq-timeout-ms
x-forwarded-for: 1.2.3.4
x-request-id: mine

=== an authority that nobody has is refused
--- request
as sleep CONNECT 10.99.99.99:80
--- expect
503
server: istio-envoy
content-length: 98

upstream connect error or disconnect/reset before headers. reset reason: remote connection failure

=== the canonical path is the one that the upstream sees
--- request
as sleep to reviews GET /a/../b/./c//d%2Fe%41?x=../y
--- expect
200
--- upstream_saw
reviews-v1 GET /b/c//d%2FeA?x=../y HTTP/1.1

=== a path with NUL is refused
--- request
as sleep to reviews GET /a%00
--- expect
400
--- upstream_saw
nothing
