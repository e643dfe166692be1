#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# HTTPRoute: each field of a match, which rule of several is taken, and what is refused.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== paths, methods, headers and parameters; all of a match, any of several
--- upstreams
reviews-v1:
sleep: {client: yes}
--- resources
apiVersion: gateway.networking.k8s.io/v1beta1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /a/b}}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: prefix}]}}]
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{method: POST}, {method: PUT}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: method}]}}]
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{headers: [{name: X-A, value: "1"}, {name: x-b, value: "2"}]}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: headers}]}}]
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{queryParams: [{name: q, value: "1"}, {name: r, value: "2"}]}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: query}]}}]
    backendRefs: [{name: reviews, port: 9080}]
--- request
as sleep to reviews GET /a/b
~~~
as sleep to reviews GET /a/b/c
~~~
as sleep to reviews GET /a/bc
~~~
as sleep to reviews GET /A/b
~~~
as sleep to reviews POST /x
~~~
as sleep to reviews PUT /x
~~~
as sleep to reviews GET /x
x-a: 1
x-b: 2
~~~
as sleep to reviews GET /x
x-a: 1
x-b: 3
~~~
as sleep to reviews GET /x?r=2&q=1
~~~
as sleep to reviews GET /x?q=1
--- expect
200
x-by: prefix
~~~
200
x-by: prefix
~~~
404
~~~
404
~~~
200
x-by: method
~~~
200
x-by: method
~~~
200
x-by: headers
~~~
404
~~~
200
x-by: query
~~~
404

=== the longer path wins, then the method, then more headers, then more parameters, then the first
--- resources
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - matches: [{path: {value: /p}}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: first}]}}]
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {value: /p}}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: second}]}}]
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {value: /p}, queryParams: [{name: q, value: "1"}]}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: query}]}}]
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {value: /p}, headers: [{name: a, value: "1"}]}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: header}]}}]
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {value: /p}, headers: [{name: a, value: "1"}, {name: b, value: "2"}]}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: headers}]}}]
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {value: /p}, method: PUT}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: method}]}}]
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {value: /p/long}}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: longer}]}}]
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {type: Exact, value: /p}}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: exact}]}}]
    backendRefs: [{name: reviews, port: 9080}]
--- request
as sleep to reviews GET /p/
~~~
as sleep to reviews GET /p/?q=1
~~~
as sleep to reviews GET /p/?q=1
a: 1
~~~
as sleep to reviews GET /p/
a: 1
b: 2
~~~
as sleep to reviews PUT /p/
a: 1
b: 2
~~~
as sleep to reviews PUT /p/long/x
a: 1
~~~
as sleep to reviews PUT /p
a: 1
--- expect
200
x-by: first
~~~
200
x-by: query
~~~
200
x-by: header
~~~
200
x-by: headers
~~~
200
x-by: method
~~~
200
x-by: longer
~~~
200
x-by: exact

=== of two routes the older one is first, whatever its name
--- resources
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: a-young, creationTimestamp: "2026-02-01T00:00:00Z"}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: young}]}}]
    backendRefs: [{name: reviews, port: 9080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: z-old, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: old}]}}]
    backendRefs: [{name: reviews, port: 9080}]
--- request
as sleep to reviews GET /
--- expect
200
x-by: old

=== what a route refuses, each with its place
--- resources
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: refused}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - matches:
    - paht: {value: /}
    - path: {type: Glob, value: /}
    - path: {value: x}
    - path: {type: RegularExpression, value: "(?!a)"}
    - method: 1
    - headers: [{value: x}]
    - headers: [{name: "a b", value: x}]
    - headers: [{name: x, type: Wild, value: x}]
    - queryParams: [{name: q, type: RegularExpression, value: "["}]
    filters:
    - {type: RequestMirror, requestMirror: {backendRef: {name: reviews, port: 9080}}}
    - {type: Unknown}
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: content-length, value: "1"}]}}
    backendRefs: [{name: reviews, port: 9080, weight: -1}]
--- run: -t
--- exit_code: 1
--- stderr
/50-test\.yaml:8:7: error: HTTPRoute default\/refused: spec\.rules\[0\]\.matches\[0\]\.paht: /
/matches\[1\]\.path\.type: /
/matches\[2\]\.path\.value: /
/matches\[3\]\.path\.value: /
/matches\[4\]\.method: /
/matches\[5\]\.headers\[0\]\.name: /
/matches\[6\]\.headers\[0\]\.name: is no name of a header/
/matches\[7\]\.headers\[0\]\.type: /
/matches\[8\]\.queryParams\[0\]/
/filters\[0\]/
/filters\[1\]/
/filters\[2\]/
/backendRefs\[0\]\.weight: /
