#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# HTTPRoute on a Service: weights, matches and their precedence, header modifiers.

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
--- services
reviews:
reviews-v1: {selector: {app: reviews, version: v1}}
reviews-v2: {selector: {app: reviews, version: v2}}
--- resources
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews, namespace: default}
spec:
  parentRefs:
  - {group: "", kind: Service, name: reviews, port: 9080}
  rules:
  - backendRefs:
    - {name: reviews-v1, port: 9080, weight: 90}
    - {name: reviews-v2, port: 9080, weight: 10}
  - matches:
    - path: {type: PathPrefix, value: /deep}
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set: [{name: x-deep, value: very}]
    backendRefs: [{name: reviews-v2, port: 9080}]
  - matches:
    - path: {type: Exact, value: /deep/er}
    backendRefs: [{name: reviews-v1, port: 9080}]
--- request
as sleep to reviews GET /
--- repeat: 2000
--- expect
200
--- shares
reviews-v1 90%
reviews-v2 10%

=== the more specific match wins, whatever the order
--- request
as sleep to reviews GET /deep
~~~
as sleep to reviews GET /deep/er
~~~
as sleep to reviews GET /deep/x
~~~
as sleep to reviews GET /deep?/er
--- expect
200
@pod reviews-v2
~~~
200
@pod reviews-v1
~~~
200
@pod reviews-v2
~~~
200
@pod reviews-v2
--- upstream_saw
reviews-v2 GET /deep HTTP/1.1
x-deep: very
~~~
reviews-v1 GET /deep/er HTTP/1.1
!x-deep
~~~
reviews-v2 GET /deep/x HTTP/1.1
~~~
reviews-v2 GET /deep?/er HTTP/1.1
x-deep: very
