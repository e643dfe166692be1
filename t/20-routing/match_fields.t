#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The fields of a VirtualService's match, one by one: exact, prefix and presence, case, what must
# not be there; what each of them lets by and what it does not.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== uri: exact and prefix, with and without case; the query is no part of it
--- upstreams
reviews-v1:
sleep: {client: yes}
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {exact: /Exact}}]
    headers: {response: {set: {x-by: exact}}}
    route: [{destination: {host: reviews}}]
  - match: [{uri: {exact: /Fold}, ignoreUriCase: true}]
    headers: {response: {set: {x-by: fold}}}
    route: [{destination: {host: reviews}}]
  - match: [{uri: {prefix: /pre}}]
    headers: {response: {set: {x-by: prefix}}}
    route: [{destination: {host: reviews}}]
  - match: [{uri: {prefix: /Any/}, ignoreUriCase: true}]
    headers: {response: {set: {x-by: any}}}
    route: [{destination: {host: reviews}}]
  - headers: {response: {set: {x-by: rest}}}
    route: [{destination: {host: reviews}}]
--- request
as sleep to reviews GET /Exact?q
~~~
as sleep to reviews GET /exact
~~~
as sleep to reviews GET /Exact/
~~~
as sleep to reviews GET /fOLD
~~~
as sleep to reviews GET /fold/
~~~
as sleep to reviews GET /prefixed
~~~
as sleep to reviews GET /Pre
~~~
as sleep to reviews GET /aNY/x
~~~
as sleep to reviews GET /any
~~~
as sleep to reviews GET /x?/pre
--- expect
200
x-by: exact
~~~
200
x-by: rest
~~~
200
x-by: rest
~~~
200
x-by: fold
~~~
200
x-by: rest
~~~
200
x-by: prefix
~~~
200
x-by: rest
~~~
200
x-by: any
~~~
200
x-by: rest
~~~
200
x-by: rest

=== authority, scheme and method
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{authority: {exact: shop.example.com}}]
    headers: {response: {set: {x-by: exact}}}
    route: [{destination: {host: reviews}}]
  - match: [{authority: {prefix: api.}}]
    headers: {response: {set: {x-by: prefix}}}
    route: [{destination: {host: reviews}}]
  - match: [{scheme: {exact: https}}]
    headers: {response: {set: {x-by: scheme}}}
    route: [{destination: {host: reviews}}]
  - match: [{method: {exact: DELETE}}, {method: {prefix: P}}]
    headers: {response: {set: {x-by: method}}}
    route: [{destination: {host: reviews}}]
  - headers: {response: {set: {x-by: rest}}}
    route: [{destination: {host: reviews}}]
--- request
as sleep to reviews GET /
host: shop.example.com
~~~
as sleep to reviews GET /
host: shop.example.com.evil
~~~
as sleep to reviews GET /
host: api.example.com
~~~
as sleep to reviews GET /
host: myapi.example.com
~~~
as sleep to reviews GET /
x-forwarded-proto: https
~~~
as sleep to reviews DELETE /
~~~
as sleep to reviews PUT /
~~~
as sleep to reviews GET /
~~~
as sleep to reviews GET / HTTP/2
host: shop.example.com
--- expect
200
x-by: exact
~~~
200
x-by: rest
~~~
200
x-by: prefix
~~~
200
x-by: rest
~~~
200
x-by: scheme
~~~
200
x-by: method
~~~
200
x-by: method
~~~
200
x-by: rest
~~~
200
x-by: exact

=== the scheme is the target's, else x-forwarded-proto's, in HTTP/2 the client's own
--- request
as sleep to reviews GET http://reviews/ HTTP/1.1
x-forwarded-proto: https
~~~
as sleep to reviews GET HTTPS://reviews/
~~~
as sleep to reviews GET /
x-forwarded-proto: HTTPS
~~~
as sleep to reviews GET /
x-forwarded-proto: https,http
~~~
as sleep to reviews GET / HTTP/2
x-forwarded-proto: https
--- expect
200
x-by: rest
~~~
200
x-by: scheme
~~~
200
x-by: scheme
~~~
200
x-by: rest
~~~
200
x-by: rest

=== headers: exact, prefix, presence; all of them; names in any case, values in theirs
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {X-Exact: {exact: one}}}]
    headers: {response: {set: {x-by: exact}}}
    route: [{destination: {host: reviews}}]
  - match: [{headers: {x-prefix: {prefix: one}}}]
    headers: {response: {set: {x-by: prefix}}}
    route: [{destination: {host: reviews}}]
  - match: [{headers: {x-a: {exact: "1"}, x-b: {}}}]
    headers: {response: {set: {x-by: both}}}
    route: [{destination: {host: reviews}}]
  - headers: {response: {set: {x-by: rest}}}
    route: [{destination: {host: reviews}}]
--- request
as sleep to reviews GET /
x-exact: one
~~~
as sleep to reviews GET /
x-exact: One
~~~
as sleep to reviews GET /
x-exact: ones
~~~
as sleep to reviews GET /
x-prefix: ones
~~~
as sleep to reviews GET /
x-prefix: two one
~~~
as sleep to reviews GET /
x-a: 1
x-b:
~~~
as sleep to reviews GET /
x-a: 1
~~~
as sleep to reviews GET /
x-b: 1
--- expect
200
x-by: exact
~~~
200
x-by: rest
~~~
200
x-by: rest
~~~
200
x-by: prefix
~~~
200
x-by: rest
~~~
200
x-by: both
~~~
200
x-by: rest
~~~
200
x-by: rest

=== withoutHeaders: one that is there with that value, and one that is there at all
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /exact}, withoutHeaders: {x-no: {exact: one}}}]
    headers: {response: {set: {x-by: exact}}}
    route: [{destination: {host: reviews}}]
  - match: [{uri: {prefix: /prefix}, withoutHeaders: {x-no: {prefix: one}}}]
    headers: {response: {set: {x-by: prefix}}}
    route: [{destination: {host: reviews}}]
  - match: [{uri: {prefix: /there}, withoutHeaders: {x-no: {}}}]
    headers: {response: {set: {x-by: there}}}
    route: [{destination: {host: reviews}}]
  - match: [{uri: {prefix: /with}, headers: {x-yes: {}}, withoutHeaders: {x-no: {}, x-never: {}}}]
    headers: {response: {set: {x-by: with}}}
    route: [{destination: {host: reviews}}]
  - headers: {response: {set: {x-by: rest}}}
    route: [{destination: {host: reviews}}]
--- request
as sleep to reviews GET /exact
~~~
as sleep to reviews GET /exact
x-no: one
~~~
as sleep to reviews GET /exact
x-no: ones
~~~
as sleep to reviews GET /prefix
x-no: ones
~~~
as sleep to reviews GET /there
~~~
as sleep to reviews GET /there
x-no:
~~~
as sleep to reviews GET /with
x-yes: 1
~~~
as sleep to reviews GET /with
x-yes: 1
x-never: 1
~~~
as sleep to reviews GET /with
--- expect
200
x-by: exact
~~~
200
x-by: rest
~~~
200
x-by: exact
~~~
200
x-by: rest
~~~
200
x-by: there
~~~
200
x-by: rest
~~~
200
x-by: with
~~~
200
x-by: rest
~~~
200
x-by: rest

=== without a route that matches there is none
--- resources
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /a}}, {uri: {prefix: /b}, method: {exact: GET}}]
    route: [{destination: {host: reviews}}]
--- request
as sleep to reviews GET /a
~~~
as sleep to reviews GET /b
~~~
as sleep to reviews POST /b
~~~
as sleep to reviews GET /
--- expect
200
~~~
200
~~~
404
~~~
404
--- access_log
/"POST \/b HTTP\/1\.1" 404 NR route_not_found /

=== what a match refuses, each with its place; the last good version stays
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match:
    - url: {exact: /}
    - uri: {exact: /a, prefix: /b}
    - uri: {exakt: /}
    - uri: {exact: x}
    - uri: {regex: "(?=a)"}
    - headers: {"": {exact: x}}
    - headers: {"a b": {exact: x}, "@request.auth.claims.sub": {exact: x}}
    - withoutHeaders: {x: {regex: "("}}
    - queryParams: {q: {regex: "a**"}}
    - ignoreUriCase: "yes"
    - port: 70000
    - authority: {regex: "\\1"}
    - scheme: https
    route: [{destination: {host: reviews}}]
--- request
as sleep to reviews GET /a
~~~
as sleep to reviews GET /
--- expect
200
~~~
404
--- run: -t
--- exit_code: 1
--- stderr
/50-test\.yaml:8:7: error: VirtualService default\/reviews: spec\.http\[0\]\.match\[0\]\.url: /
/match\[1\]\.uri/
/match\[2\]\.uri/
/match\[3\]\.uri/
/match\[4\]\.uri\.regex: /
/match\[5\]\.headers\.: has no name/
/match\[6\]\.headers\.a b: is no name of a header/
/match\[6\]\.headers\.@request\.auth\.claims\.sub: a match of a token's claims is not implemented/
/match\[7\]\.withoutHeaders/
/match\[8\]\.queryParams/
/match\[9\]\.ignoreUriCase: /
/match\[10\]\.port: /
/match\[11\]\.authority\.regex: /
/match\[12\]\.scheme: /
