#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Rewrites of paths and authorities: prefixes, whole paths, patterns; the upstream and the log are
# told what it was before.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== a prefix is exchanged for another, octet for octet
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
  - name: exact
    match: [{uri: {exact: /foo/exact}}]
    rewrite: {uri: /bar}
    route: [{destination: {host: reviews}}]
  - name: slashes
    match: [{uri: {prefix: /foo/}}]
    rewrite: {uri: /}
    route: [{destination: {host: reviews}}]
  - name: prefix
    match: [{uri: {prefix: /foo}}]
    rewrite: {uri: /bar}
    route: [{destination: {host: reviews}}]
  - name: root
    match: [{uri: {prefix: /root}}]
    rewrite: {uri: /}
    route: [{destination: {host: reviews}}]
  - name: fold
    match: [{uri: {prefix: /FOLD}, ignoreUriCase: true}]
    rewrite: {uri: /lower}
    route: [{destination: {host: reviews}}]
  - name: pattern
    match: [{uri: {regex: "/re/[a-z]+"}}]
    rewrite: {uri: /rewritten}
    route: [{destination: {host: reviews}}]
  - name: regex
    match: [{uri: {prefix: /service/}}]
    rewrite: {uriRegexRewrite: {match: "^/service/([^/]+)(/.*)$", rewrite: "\\2/instance/\\1"}}
    route: [{destination: {host: reviews}}]
  - name: each
    match: [{uri: {prefix: /each}}]
    rewrite: {uriRegexRewrite: {match: "/v1/", rewrite: "/v2/"}}
    route: [{destination: {host: reviews}}]
  - name: gone
    match: [{uri: {prefix: /gone}}]
    rewrite: {uriRegexRewrite: {match: "^/gone", rewrite: ""}}
    route: [{destination: {host: reviews}}]
  - name: authority
    match: [{uri: {prefix: /host}}]
    rewrite: {authority: "new.host:99"}
    route: [{destination: {host: reviews}}]
  - name: both
    match: [{uri: {prefix: /both}}]
    rewrite: {uri: /x, authority: other.example.com}
    route: [{destination: {host: reviews}}]
--- request
as sleep to reviews GET /foo/exact?q=1
~~~
as sleep to reviews GET /foo/x
~~~
as sleep to reviews GET /foo/
~~~
as sleep to reviews GET /foo?y=1
x-envoy-original-path: /fake
~~~
as sleep to reviews GET /foobar
~~~
as sleep to reviews GET /root/x
~~~
as sleep to reviews GET /Fold/X
~~~
as sleep to reviews GET /re/abc?q
--- expect
200
~~~
200
~~~
200
~~~
200
~~~
200
~~~
200
~~~
200
~~~
200
--- upstream_saw
reviews-v1 GET /bar?q=1
x-envoy-original-path: /foo/exact?q=1
~~~
reviews-v1 GET /x
x-envoy-original-path: /foo/x
~~~
reviews-v1 GET /
x-envoy-original-path: /foo/
~~~
reviews-v1 GET /bar?y=1
x-envoy-original-path: /foo?y=1
~~~
reviews-v1 GET /barbar
x-envoy-original-path: /foobar
~~~
reviews-v1 GET //x
x-envoy-original-path: /root/x
~~~
reviews-v1 GET /lower/X
x-envoy-original-path: /Fold/X
~~~
reviews-v1 GET /rewritten?q
x-envoy-original-path: /re/abc?q
--- access_log
"GET /foo/exact?q=1 HTTP/1.1" 200
"GET /foo?y=1 HTTP/1.1" 200

=== a pattern replaces each of its finds, but for a path without a slash
--- request
as sleep to reviews GET /service/foo/v1/api?q=/service/x/y
~~~
as sleep to reviews GET /service/foo
~~~
as sleep to reviews GET /each/v1/b/v1/c
~~~
as sleep to reviews GET /gone
~~~
as sleep to reviews GET /gonefishing
--- expect
200
~~~
200
~~~
200
~~~
200
~~~
500
--- upstream_saw
reviews-v1 GET /v1/api/instance/foo?q=/service/x/y
x-envoy-original-path: /service/foo/v1/api?q=/service/x/y
~~~
reviews-v1 GET /service/foo
x-envoy-original-path: /service/foo
~~~
reviews-v1 GET /each/v2/b/v2/c
x-envoy-original-path: /each/v1/b/v1/c
~~~
reviews-v1 GET /gone
!x-envoy-original-path
--- access_log
"GET /gonefishing HTTP/1.1" 500 - path_rewrite_failed

=== an authority
--- request
as sleep to reviews GET /host
host: reviews:9080
~~~
as sleep to reviews GET /both/y
--- expect
200
~~~
200
--- upstream_saw
reviews-v1 GET /host
@authority %%POD_reviews_v1%%:9080
host: new.host:99
x-envoy-original-host: reviews:9080
!x-envoy-original-path
~~~
reviews-v1 GET /x/y
host: other.example.com
x-envoy-original-path: /both/y
--- access_log
/"new\.host:99"/

=== an HTTPRoute's URLRewrite
--- resources
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /rw}}]
    filters:
    - type: URLRewrite
      urlRewrite: {hostname: rw.example.com, path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {type: PathPrefix, value: /a.b}}]
    filters:
    - type: URLRewrite
      urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: ""}}
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {type: PathPrefix, value: /one}}]
    filters:
    - type: URLRewrite
      urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /two/}}
    backendRefs: [{name: reviews, port: 9080}]
  - matches: [{path: {type: PathPrefix, value: /full}}, {path: {type: Exact, value: /whole}}]
    filters:
    - type: URLRewrite
      urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /fullrw}}
    backendRefs: [{name: reviews, port: 9080}]
--- request
as sleep to reviews GET /rw
~~~
as sleep to reviews GET /rw/
~~~
as sleep to reviews GET /rw/x/y?z
~~~
as sleep to reviews GET /a.b/c
~~~
as sleep to reviews GET /one
~~~
as sleep to reviews GET /one/x
~~~
as sleep to reviews GET /full/x?q
~~~
as sleep to reviews GET /whole
~~~
as sleep to reviews GET /axb/c
--- expect
200
~~~
200
~~~
200
~~~
200
~~~
200
~~~
200
~~~
200
~~~
200
~~~
404
--- upstream_saw
reviews-v1 GET /
host: rw.example.com
x-envoy-original-path: /rw
~~~
reviews-v1 GET /
~~~
reviews-v1 GET /x/y?z
~~~
reviews-v1 GET /c
~~~
reviews-v1 GET /two
~~~
reviews-v1 GET /two/x
~~~
reviews-v1 GET /fullrw?q
~~~
reviews-v1 GET /fullrw
