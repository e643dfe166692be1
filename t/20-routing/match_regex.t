#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Regular expressions in matches: RE2's, of the whole value; paths, headers, cookies, methods,
# parameters; in VirtualServices and HTTPRoutes.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== a pattern of a path matches the path as a whole, without the query
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
    - uri: {regex: "/api/v[0-9]+/.*"}
    - uri: {regex: "(?i)/Fold"}
      ignoreUriCase: true
    - method: {regex: "P(OST|UT)"}
      uri: {exact: /write}
    - headers: {cookie: {regex: "^(.*?;)?(user=jason)(;.*)?$"}}
    - headers: {x-tier: {regex: "gold|silver"}}
    - headers: {x-any: {regex: "*"}}
    - queryParams: {id: {regex: "[0-9]{2,3}"}}
    - authority: {regex: ".*\\.example\\.com"}
    - uri: {prefix: /without}
      withoutHeaders: {x-beta: {regex: "no|off"}}
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
as sleep to reviews GET /api/v12/x?y
~~~
as sleep to reviews GET /api/v12
~~~
as sleep to reviews GET /x/api/v12/x
~~~
as sleep to reviews GET /FOLD
~~~
as sleep to reviews GET /fold/er
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
@pod reviews-v1

=== methods, cookies and headers
--- request
as sleep to reviews PUT /write
~~~
as sleep to reviews PATCH /write
~~~
as sleep to reviews GET /
cookie: a=1;user=jason;b=2
~~~
as sleep to reviews GET /
cookie: user=jasons
~~~
as sleep to reviews GET /
x-tier: silver
~~~
as sleep to reviews GET /
x-tier: silvery
~~~
as sleep to reviews GET /
x-tier: bronze
x-tier: gold
~~~
as sleep to reviews GET /
x-any:
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
@pod reviews-v1
~~~
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

=== parameters, authorities, and what must not match
--- request
as sleep to reviews GET /?a=b&id=123
~~~
as sleep to reviews GET /?id=1234
~~~
as sleep to reviews GET /
host: www.example.com
~~~
as sleep to reviews GET /without
~~~
as sleep to reviews GET /without
x-beta: off
~~~
as sleep to reviews GET /without
x-beta: official
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
~~~
200
@pod reviews-v1
~~~
200
@pod reviews-v2

=== a value that is not UTF-8 is refused, not let through to another route
--- request
as sleep to reviews RAW

GET /?x HTTP/1.1\r\nhost: reviews\r\nx-tier: caf\xe9\r\n\r\n
--- expect
500
--- access_log
 500 - route_match_failed

=== a match that costs too much is refused, and costs no more than its limit
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {x-evil: {regex: "(x+x+)+(x+x+)+y"}}}]
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
as sleep to reviews GET /
x-evil: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxyz
~~~
as sleep to reviews GET /
x-evil: xxxxy
~~~
as sleep to reviews GET /
x-evil: z
--- expect
500
~~~
200
@pod reviews-v2
~~~
200
@pod reviews-v1
--- access_log
/"GET \/ HTTP\/1\.1" 500 - route_match_failed - "-" 0 0 \d{1,3} /

=== the order of an HTTPRoute: exact, prefix, pattern
--- resources
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - matches:
    - path: {type: RegularExpression, value: "/a.*"}
    filters:
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: pattern}]}}
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {type: PathPrefix, value: /ab}}]
    filters:
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: prefix}]}}
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {type: Exact, value: /ab/c}}]
    filters:
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: exact}]}}
    backendRefs: [{name: reviews, port: 9080}]
  - matches:
    - headers: [{name: x-v, type: RegularExpression, value: "v[12]"}]
      queryParams: [{name: q, type: RegularExpression, value: "[a-c]+"}]
    filters:
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: values}]}}
    backendRefs: [{name: reviews, port: 9080}]
--- request
as sleep to reviews GET /abc
~~~
as sleep to reviews GET /ab/x
~~~
as sleep to reviews GET /ab/c
~~~
as sleep to reviews GET /?q=abc
x-v: v1
~~~
as sleep to reviews GET /?q=abcd
x-v: v1
--- expect
200
x-by: pattern
~~~
200
x-by: prefix
~~~
200
x-by: exact
~~~
200
x-by: values
~~~
404

