#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# grpc-timeout: the client's own, with the route's as the most; told to the upstream, and kept.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== where the route says nothing, the client's own counts
--- upstreams
echo-v1: {ports: [9000], program: {delay: 5}}
sleep: {client: yes}
--- services
echo: {port: 9000, protocol: grpc}
--- request
as sleep to echo POST /a HTTP/2
content-type: application/grpc
grpc-timeout: 200m
~~~
as sleep to echo POST /b HTTP/2
content-type: application/grpc
grpc-timeout: xyz
x-program: {}
~~~
as sleep to echo POST /c HTTP/2
content-type: text/plain
grpc-timeout: 200m
x-program: {"delay":0.5}
--- expect
200
content-type: application/grpc
grpc-status: 14
grpc-message: upstream request timeout
@size 0
~~~
200
!grpc-status
~~~
200
--- access_log
/"POST \/a HTTP\/2" 200 UT response_timeout /

=== a route's timeout is the most that a client gets
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: default}
spec:
  hosts: [echo]
  http:
  - timeout: 0.2s
    route: [{destination: {host: echo}}]
--- request
as sleep to echo POST /none HTTP/2
content-type: application/grpc
~~~
as sleep to echo POST /more HTTP/2
content-type: application/grpc
grpc-timeout: 5S
~~~
as sleep to echo POST /less HTTP/2
content-type: application/grpc
grpc-timeout: 100000u
~~~
as sleep to echo POST /bad HTTP/2
content-type: application/grpc
grpc-timeout: soon
x-program: {}
--- expect
200
grpc-status: 14
~~~
200
grpc-status: 14
~~~
200
grpc-status: 14
~~~
200
--- upstream_saw
echo-v1 POST /none HTTP/2
grpc-timeout: 200m
x-envoy-expected-rq-timeout-ms: 200
~~~
echo-v1 POST /more HTTP/2
grpc-timeout: 200m
~~~
echo-v1 POST /less HTTP/2
grpc-timeout: 100m
x-envoy-expected-rq-timeout-ms: 100
~~~
echo-v1 POST /bad HTTP/2
grpc-timeout: 200m
