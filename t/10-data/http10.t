#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# HTTP/1.0 where it is turned on, and clients that end their direction when they have asked.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== HTTP/1.0 is refused where nothing is said
--- upstreams
reviews-v1:
sleep: {client: yes}
--- request
as sleep to reviews GET / HTTP/1.0
~~~
GET / HTTP/1.0
host: reviews:9080
--- expect
426
connection: close
~~~
426
--- upstream_saw
nothing
--- access_log
/ 426 DPE low_version /

=== where it is turned on it is answered, and the connection closes
--- bootstrap
http_10: yes
--- request
as sleep to reviews GET /a HTTP/1.0
~~~
GET /b HTTP/1.0
host: reviews:9080
~~~
as sleep to reviews GET /c HTTP/1.1
--- expect
200
connection: close
@pod reviews-v1
~~~
200
connection: close
~~~
200
!connection
--- upstream_saw
reviews-v1 GET /a HTTP/1.1
~~~
reviews-v1 GET /b HTTP/1.1
~~~
reviews-v1 GET /c HTTP/1.1
--- access_log
/"GET \/a HTTP\/1\.0" 200 - via_upstream /

=== a client that wants to keep the connection may
--- keepalive
--- request
as sleep to reviews GET /1 HTTP/1.0
connection: keep-alive
~~~
as sleep to reviews GET /2 HTTP/1.0
connection: keep-alive
~~~
as sleep to reviews GET /3 HTTP/1.0
--- expect
200
connection: keep-alive
~~~
200
~~~
200
connection: close

=== a body of unknown length ends with the connection
--- request
as sleep to reviews GET /big HTTP/1.0
x-program: {"size":300000,"chunked":1}
--- expect
200
!transfer-encoding
!content-length
connection: close
@size 300000

=== a body that is chunked is no HTTP/1.0
--- request
as sleep to reviews POST /x HTTP/1.0
@chunked

abc
--- expect
400

=== without Host there is nobody to ask
--- request
RAW

GET / HTTP/1.0\r\n\r\n
--- expect
/40[04]/
