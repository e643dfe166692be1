#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Query parameters: matched as they are written, the first of a name.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== exact, prefix and present parameters, all of which must match
--- upstreams
reviews-v1:
reviews-v2:
sleep: {client: yes}
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match:
    - queryParams: {k: {exact: v}}
    - queryParams: {p: {prefix: "a%20"}, e: {}}
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
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
as sleep to reviews GET /?k=v
~~~
as sleep to reviews GET /?k=V
~~~
as sleep to reviews GET /?K=v
~~~
as sleep to reviews GET /?a=1&k=v&b=2
~~~
as sleep to reviews GET /?p=a%20b&e
~~~
as sleep to reviews GET /?p=a%20b
~~~
as sleep to reviews GET /?p=a+b&e
--- expect
200
@pod reviews-v2
~~~
200
@pod reviews-v1
~~~
200
@pod reviews-v1
~~~
200
@pod reviews-v2
~~~
200
@pod reviews-v2
~~~
200
@pod reviews-v1
~~~
200
@pod reviews-v1

=== the first of a name counts, and nothing is decoded
--- request
as sleep to reviews GET /?k=x&k=v
~~~
as sleep to reviews GET /?k=v&k=x
~~~
as sleep to reviews GET /?k=%76
~~~
as sleep to reviews GET /?%6b=v
~~~
as sleep to reviews GET /?&k=v
~~~
as sleep to reviews GET /?k==v
~~~
as sleep to reviews GET /?k
~~~
as sleep to reviews GET /
--- expect
200
@pod reviews-v1
~~~
200
@pod reviews-v2
~~~
200
@pod reviews-v1
~~~
200
@pod reviews-v1
~~~
200
@pod reviews-v2
~~~
200
@pod reviews-v1
~~~
200
@pod reviews-v1
~~~
200
@pod reviews-v1
