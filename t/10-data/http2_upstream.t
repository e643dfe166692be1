#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# HTTP/2 to the endpoints: by the port's name, by appProtocol, by a DestinationRule, or as the client
# speaks; over HBONE and directly; from HTTP/1.1 and HTTP/2 clients.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== a port named grpc speaks HTTP/2 to its endpoints
--- upstreams
echo-v1: {ports: [9000]}
direct-v1: {ports: [9000], hbone: no}
kube-v1: {ports: [9000]}
raised-v1: {ports: [9000]}
lowered-v1: {ports: [9000]}
same-v1: {ports: [9000]}
narrow-v1: {ports: [9000], h2_settings: {max_streams: 1}}
sleep: {client: yes}
--- services
echo: {port: 9000, protocol: grpc-web-x}
direct: {port: 9000, protocol: http2}
kube: {ports: [{name: x, port: 9000, targetPort: 9000, appProtocol: kubernetes.io/h2c}]}
raised: {port: 9000}
lowered: {port: 9000, protocol: grpc}
same: {port: 9000}
narrow: {port: 9000, protocol: grpc}
--- resources
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: raised, namespace: default}
spec:
  host: raised
  trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: lowered, namespace: default}
spec:
  host: lowered
  trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: same, namespace: default}
spec:
  host: same
  trafficPolicy: {connectionPool: {http: {useClientProtocol: true}}}
--- request
as sleep to echo GET /a
~~~
as sleep to echo GET /b HTTP/2
~~~
as sleep to direct GET /c
~~~
as sleep to direct GET /d HTTP/2
~~~
as sleep to kube GET /e
--- expect
200
server: istio-envoy
~~~
200
~~~
200
~~~
200
~~~
200
--- upstream_saw
echo-v1 GET /a HTTP/2
@via hbone
@peer spiffe://cluster.local/ns/default/sa/waypoint
host: echo:9000
x-forwarded-proto: http
~~~
echo-v1 GET /b HTTP/2
host: echo:9000
~~~
direct-v1 GET /c HTTP/2
@via plain
~~~
direct-v1 GET /d HTTP/2
~~~
kube-v1 GET /e HTTP/2

=== a DestinationRule says which protocol is spoken
--- request
as sleep to raised GET /up
~~~
as sleep to lowered GET /down
~~~
as sleep to same GET /one
~~~
as sleep to same GET /two HTTP/2
--- expect
200
~~~
200
~~~
200
~~~
200
--- upstream_saw
raised-v1 GET /up HTTP/2
~~~
lowered-v1 GET /down HTTP/2
~~~
same-v1 GET /one HTTP/1.1
~~~
same-v1 GET /two HTTP/2

=== bodies pass both ways, from both
--- request
as sleep to echo POST /echo HTTP/2
x-program: {"echo":1}
@size 1000000
~~~
as sleep to echo POST /echo
x-program: {"echo":1}
@size 1000000
~~~
as sleep to echo POST /echo
x-program: {"echo":1}
@size 300000
@chunked 1000
~~~
as sleep to echo GET /big
x-program: {"size":1000000}
~~~
as sleep to echo GET /big HTTP/2
x-program: {"size":1000000,"chunked":1}
--- expect
200
~~~
200
~~~
200
~~~
200
@size 1000000
~~~
200
@size 1000000

=== trailers pass both ways
--- request
as sleep to echo POST /t HTTP/2
te: trailers
x-program: {"body":"hello","trailers":{"grpc-status":"0","x-sum":"7"}}
@trailer x-count: 3

abc
~~~
as sleep to echo GET /t
x-program: {"body":"hello","trailers":{"x-sum":"7"}}
--- expect
200
@trailers grpc-status: 0; x-sum: 7

hello
~~~
200

hello
--- upstream_saw
echo-v1 POST /t HTTP/2
te: trailers
@trailers x-count: 3

abc
~~~
echo-v1 GET /t HTTP/2

=== what HTTP/1.1 says about its connection stays behind
--- request
as sleep to echo GET /h
connection: keep-alive, x-hop
keep-alive: timeout=5
te: trailers, deflate
x-hop: 1
x-kept: 2
cookie: a=1
cookie: b=2
--- expect
200
--- upstream_saw
echo-v1 GET /h HTTP/2
!connection
!keep-alive
!x-hop
te: trailers
x-kept: 2

=== 100 Continue comes through
--- request
as sleep to echo POST /c
expect: 100-continue
x-program: {"interim":["103 Early Hints"]}

abc
--- expect
200
@interim 100 103

=== HEAD, 204 and 304 have no body
--- keepalive
--- request
as sleep to echo HEAD /x
~~~
as sleep to echo GET /x
x-program: {"status":204,"body":""}
~~~
as sleep to echo GET /x
x-program: {"status":304,"body":""}
~~~
as sleep to echo GET /x
--- expect
200
@size 0
~~~
204
@size 0
~~~
304
@size 0
~~~
200

=== a stream that is refused is tried again, others that are reset are told
--- request
as sleep to echo GET /r HTTP/2
x-program: {"rst":"REFUSED_STREAM"}
~~~
as sleep to echo GET /r HTTP/2
x-program: {"rst":"INTERNAL_ERROR"}
~~~
as sleep to echo GET /r HTTP/2
x-program: {"size":100000,"abort_at":50000,"delay_body":0.05}
~~~
as sleep to echo POST /svc/Method HTTP/2
content-type: application/grpc
x-program: {"rst":"CANCEL"}
--- expect
503

upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote refused stream reset
~~~
503

upstream connect error or disconnect/reset before headers. reset reason: remote reset
~~~
200
@error RST_STREAM INTERNAL_ERROR
~~~
200
grpc-status: 14
@size 0
--- access_log
/"GET \/r HTTP\/2" 503 UR upstream_reset_before_response_started\{remote_reset\} /
/"GET \/r HTTP\/2" 200 UR upstream_reset_after_response_started\{remote_reset\} /
/"POST \/svc\/Method HTTP\/2" 200 UR upstream_reset_before_response_started\{remote_reset\} /

=== an answer before the request's end is passed on
--- request
as sleep to echo POST /early HTTP/2
x-program: {"early":1,"status":413}
@size 100000
--- expect
413
