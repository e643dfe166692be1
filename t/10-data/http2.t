#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# HTTP/2 with prior knowledge: inside the tunnel and on plain listeners, told by what comes first.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== a request in HTTP/2 inside the tunnel reaches an HTTP/1.1 upstream
--- upstreams
reviews-v1:
sleep: {client: yes}
--- request
as sleep to reviews GET /reviews/0 HTTP/2
x-multi: a
x-multi: b
--- expect
200
server: istio-envoy
!connection
!transfer-encoding
@pod reviews-v1
--- upstream_saw
reviews-v1 GET /reviews/0 HTTP/1.1
host: reviews:9080
x-multi: a,b
x-forwarded-proto: http
--- access_log
/"GET \/reviews\/0 HTTP\/2" 200 - via_upstream /

=== bodies pass both ways
--- request
as sleep to reviews POST /echo HTTP/2
x-program: {"echo":1}
@size 300000
~~~
as sleep to reviews GET /big HTTP/2
x-program: {"size":1000000}
~~~
as sleep to reviews GET /big HTTP/2
x-program: {"size":1000000,"chunked":1}
--- expect
200
~~~
200
@size 1000000
~~~
200
@size 1000000

=== requests follow one another on one connection
--- keepalive
--- request
as sleep to reviews GET /1 HTTP/2
~~~
as sleep to reviews POST /2 HTTP/2

abc
~~~
as sleep to reviews HEAD /3 HTTP/2
--- expect
200
~~~
200
~~~
200
@size 0

=== an HTTP/1.1 upstream is sent no trailers, and its own are dropped
--- request
as sleep to reviews POST /t HTTP/2
te: trailers
x-program: {"body":"hello","trailers":{"x-sum":"7"}}
@trailer x-count: 3

abc
--- expect
200
@trailers

hello
--- upstream_saw
reviews-v1 POST /t HTTP/1.1
te: trailers
@trailers

abc

=== cookie crumbs are one cookie again
--- request
as sleep to reviews GET /c HTTP/2
cookie: a=1
cookie: b=2
--- expect
200
--- upstream_saw
reviews-v1 GET /c HTTP/1.1
cookie: a=1; b=2

=== an upstream that breaks off resets the stream, and no other
--- keepalive
--- request
as sleep to reviews GET /r HTTP/2
x-program: {"size":100000,"abort_at":50000,"delay_body":0.05}
~~~
as sleep to reviews GET /r HTTP/2
x-program: {"rst":"REFUSED_STREAM"}
~~~
as sleep to reviews GET /r HTTP/2
--- expect
200
@error RST_STREAM INTERNAL_ERROR
~~~
503
~~~
200

=== a gRPC request that is refused gets trailers alone
--- request
as sleep to reviews POST /svc/Method HTTP/2
content-type: application/grpc
te: trailers
x-program: {"rst":"INTERNAL_ERROR"}
--- expect
200
content-type: application/grpc
grpc-status: 14
grpc-message: /^upstream connect error or disconnect\/reset before headers/
@size 0

=== a plain listener takes HTTP/2 as well
--- request
GET /plain HTTP/2
host: reviews:9080
--- expect
200
@pod reviews-v1

=== 100 Continue and early hints come through
--- request
as sleep to reviews POST /c HTTP/2
expect: 100-continue
x-program: {"interim":["103 Early Hints"]}

abc
--- expect
200
@interim 100 103

=== connection headers are refused
--- request
as sleep to reviews GET / HTTP/2
connection: close
--- expect
error
@error RST_STREAM PROTOCOL_ERROR
--- upstream_saw
nothing
