#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Redirects: of a VirtualService and of an HTTPRoute; what of a request's URL stays.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== a VirtualService's redirect: path, authority, port, scheme, code
--- upstreams
reviews-v1:
sleep: {client: yes}
--- services
reviews: {ports: [{name: http, port: 9080}, {name: http-80, port: 80}]}
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: all
    match: [{uri: {exact: /all}}]
    redirect: {uri: /target, authority: new.example.com, port: 8080, scheme: https, redirectCode: 308}
  - name: host
    match: [{uri: {prefix: /host}}]
    redirect: {authority: new.example.com}
  - name: path
    match: [{uri: {prefix: /path}}]
    redirect: {uri: /new, redirectCode: 302}
    headers: {response: {set: {x-why: moved}, remove: [x-none]}}
  - name: query
    match: [{uri: {prefix: /query}}]
    redirect: {uri: "/new?y=2", redirectCode: 307}
  - name: port
    match: [{uri: {prefix: /port}}]
    redirect: {port: 8080, redirectCode: 303}
  - name: derived
    match: [{uri: {prefix: /derived}}]
    redirect: {uri: /x, derivePort: FROM_REQUEST_PORT}
  - name: scheme
    match: [{uri: {prefix: /scheme}}]
    redirect: {scheme: https}
  - route: [{destination: {host: reviews, port: {number: 9080}}}]
--- request
as sleep to reviews GET /all?x=1
~~~
as sleep to reviews GET /host/b?x=1
host: svc.example:9080
~~~
as sleep to reviews GET /path/b?x=1
host: svc.example:9080
~~~
as sleep to reviews GET /query?x=1
host: svc.example:9080
~~~
as sleep to reviews GET /port/b?x=1
host: [::1]:80
~~~
as sleep to reviews GET /derived
host: svc.example:1234
--- expect
308
location: https://new.example.com:8080/target?x=1
content-length: 0
!content-type
server: istio-envoy
~~~
301
location: http://new.example.com/host/b?x=1
~~~
302
location: http://svc.example:9080/new?x=1
x-why: moved
~~~
307
location: http://svc.example:9080/new?y=2
~~~
303
location: http://[::1]:8080/port/b?x=1
~~~
301
location: http://svc.example:9080/x
--- upstream_saw
nothing
--- access_log
"GET /all?x=1 HTTP/1.1" 308 - direct_response - "-" 0 0
/"svc\.example:9080" "-" - - \S+ \S+ - host$/

=== a default port goes with its scheme, another stays
--- request
as sleep to reviews GET /scheme?x
host: svc.example:80
~~~
as sleep to reviews GET /scheme
host: svc.example:9080
~~~
as sleep to reviews GET /scheme
host: svc.example:80
x-forwarded-proto: https
~~~
as sleep to reviews GET /host
x-forwarded-proto: https
~~~
as sleep to reviews GET /host HTTP/2
x-forwarded-proto: https
~~~
as sleep to reviews HEAD /host
~~~
as sleep to reviews POST /host

body
--- expect
301
location: https://svc.example/scheme?x
~~~
301
location: https://svc.example:9080/scheme
~~~
301
location: https://svc.example:80/scheme
~~~
301
location: https://new.example.com/host
~~~
301
location: http://new.example.com/host
~~~
301
location: http://new.example.com/host
~~~
301
location: http://new.example.com/host

=== an HTTPRoute's RequestRedirect: 302 if nothing is said, the port that was asked for
--- resources
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews, port: 9080}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /prefix}}]
    filters:
    - type: RequestRedirect
      requestRedirect: {scheme: https, hostname: r.example.com, port: 8443, statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /n}}
  - matches: [{path: {type: PathPrefix, value: /full}}]
    filters:
    - type: RequestRedirect
      requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /whole}}
  - matches: [{path: {type: PathPrefix, value: /root}}]
    filters:
    - type: RequestRedirect
      requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}
  - matches: [{path: {type: PathPrefix, value: /https}}]
    filters:
    - type: RequestRedirect
      requestRedirect: {scheme: https, statusCode: 308}
--- request
as sleep to reviews GET /prefix/a?q
~~~
as sleep to reviews GET /prefix
~~~
as sleep to reviews GET /full/a?q
host: reviews
~~~
as sleep to reviews GET /root/b?x=1
host: svc.example:9080
~~~
as sleep to reviews GET /root
host: svc.example:9080
~~~
as sleep to reviews GET /https/x
host: svc.example
--- expect
301
location: https://r.example.com:8443/n/a?q
~~~
301
location: https://r.example.com:8443/n
~~~
302
location: http://reviews:9080/whole?q
~~~
302
location: http://svc.example:9080//b?x=1
~~~
302
location: http://svc.example:9080/
~~~
308
location: https://svc.example/https/x
