#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The block runner against a stand-in for cairn (double.pl), which answers with an echo. What a
# section promises to check is checked here in the cases in which it must pass; daemon.t has those
# in which it must not.

use FindBin ();
use lib "$FindBin::Bin/../lib";

BEGIN { $ENV{TEST_CAIRN_BINARY} = "$FindBin::Bin/double.pl" }

use Test::Cairn;

run_blocks();

__DATA__

=== a request through HBONE, and one through the plaintext listener
--- upstreams
reviews-v1:
reviews-v2: {labels: {extra: yes}}
sleep: {client: yes, identity: default/sleep}
--- request
as sleep to reviews POST /reviews/0?q=1 HTTP/1.1
end-user: jason

some words
~~~
GET /plain
host: reviews.default
~~~
GET /no
--- expect
200
content-type: application/json
content-length: /^\d+$/
!x-powered-by
@body /"method":"POST".*"target":"/reviews/0\?q=1"/
@body /\["end-user","jason"\]/
@body /\["host","reviews:9080"\]/
@pod double
~~~
2xx
@body /"reviews.default"/
~~~
403
@reason Forbidden

RBAC: access denied

=== the metrics of the last block are still there, and labels are found in any order
--- metrics
x_total 12
x_total{b="two, or 2",a="1"} 5
x_total{a="2"} 7
x_total +0
y 1.5

=== pipelined requests, raw bytes and a reused connection
--- pipelined
--- request
as sleep GET /1
~~~
as sleep GET /2
--- expect
200
@body /"/1"/
~~~
200
@body /"/2"/

=== raw bytes
--- request
as sleep RAW

GET /raw HTTP/1.1\r\n
Host: \x61\r\n\r\n
~~~
as sleep RAW

GET / HTTP/1.1\r\nbad header\r\n\r\n
--- expect
200
@body /\["Host","a"\]/
~~~
400

=== keep-alive, large and chunked bodies
--- keepalive
--- request
as sleep POST /
@size 300000
~~~
as sleep POST /
@size 300000
@chunked
~~~
as sleep POST /
@chunked 3

12345678
~~~
as sleep HEAD /
--- expect
200
@body /"length":300000/
~~~
200
@body /"length":300000/
~~~
200
@body /"length":8/
~~~
200
@size 0

=== a CONNECT by itself
--- request
as sleep CONNECT 10.96.1.1:9080
--- expect
200

=== a hundred times
--- request
as sleep GET /
--- repeat: 100
--- shares
double 100%

=== nothing arrived at the upstreams, and the logs are looked at
--- request
as sleep GET /logged
--- expect
200
--- upstream_saw
nothing
--- access_log
/"target":"/logged"/
--- no_access_log
"target":"/other"
--- no_error_log
[error]

=== a reload goes without a restart
--- reload
--- resources
kind: Other
--- error_log
reload done

=== expansions
--- resources
kind: Expanded
--- request
GET /%%POD_reviews_v1%%/%%VIP_reviews%%/%%PORT_HBONE%%
--- expect
200
@body /"target":"/127\.\d+\.\d+\.\d+/10\.96\.1\.\d+/\d{4,5}"/

=== one run of the program
--- resources
fault: start
--- run: -t
--- exit_code: 1
--- stdout
/^checked \d+ bytes$/
--- stderr
50-test.yaml:1: broken

=== a start that fails
--- resources
fault: start
kind: Failing
--- exit_code: 3
--- stderr
no service
--- error_log
no service
