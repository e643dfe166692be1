#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What routes, header operations, redirects, rewrites, direct responses, balancers and entries refuse:
# each with its place, by -t. Where one thing is wrong, the rest of the directory serves.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== header operations
--- upstreams
reviews-v1:
web-v1:
sleep: {client: yes}
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - headers:
      request:
        set: {content-length: "1", "a b": x, ":path": /x, x-a: "%NOBODY%", x-b: "100%"}
        add: {host: x, x-c: "a\r\nb"}
        remove: [":authority", "c d"]
        drop: [x]
      reply: {}
    route: [{destination: {host: reviews}}]
--- request
as sleep to web GET /
--- expect
200
--- run: -t
--- exit_code: 1
--- stderr
/headers\.request\.set\.content-length: /
/headers\.request\.set\.a b: /
/headers\.request\.set\.:path: /
/headers\.request\.set\.x-a: .*NOBODY/
/headers\.request\.set\.x-b: /
/headers\.request\.add\.host: /
/headers\.request\.add\.x-c: /
/headers\.request\.remove\[0\]: /
/headers\.request\.remove\[1\]: /
/headers\.request\.drop: /
/headers\.reply: /

=== redirects, rewrites, direct responses
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - redirect: {uri: x, redirectCode: 200, scheme: ftp}
  - redirect: {authority: "a b", port: 0}
  - redirect: {uri: /a, derivePort: SOMEHOW}
  - redirect: {}
  - rewrite: {uri: x}
    route: [{destination: {host: reviews}}]
  - rewrite: {uriRegexRewrite: {match: "(?=a)", rewrite: x}}
    route: [{destination: {host: reviews}}]
  - rewrite: {uriRegexRewrite: {match: "a", rewrite: "\\2"}}
    route: [{destination: {host: reviews}}]
  - rewrite: {uri: /a, uriRegexRewrite: {match: "a", rewrite: b}}
    route: [{destination: {host: reviews}}]
  - rewrite: {authority: "a b"}
    route: [{destination: {host: reviews}}]
  - directResponse: {status: 99}
  - directResponse: {status: 200, body: {bytes: "="}}
  - directResponse: {status: 200}
    route: [{destination: {host: reviews}}]
--- run: -t
--- exit_code: 1
--- stderr
/http\[0\]\.redirect/
/http\[1\]\.redirect/
/http\[2\]\.redirect\.derivePort: /
/http\[3\]\.redirect: /
/http\[4\]\.rewrite\.uri: /
/http\[5\]\.rewrite\.uriRegexRewrite: .*look-ahead/
/http\[6\]\.rewrite\.uriRegexRewrite: .*group/
/http\[7\]\.rewrite/
/http\[8\]\.rewrite\.authority: /
/http\[9\]\.directResponse\.status: /
/http\[10\]\.directResponse\.body\.bytes: /
/http\[11\]/

=== destinations, weights and balancers
--- resources
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route: [{destination: {host: reviews}, weight: -1}]
  - route: [{destination: {host: reviews}, weight: 0}, {destination: {host: reviews}, weight: 0}]
  - route: [{destination: {subset: v1}}]
  - route: [{destination: {host: reviews, port: {number: 70000}}}]
  - match: [{uri: {exact: /}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {loadBalancer: {simple: FASTEST}, outlierDetection: {}}
  subsets: [{name: v1}, {name: v1}]
--- run: -t
--- exit_code: 1
--- stderr
/http\[0\]\.route\[0\]\.weight: /
/http\[1\]\.route/
/http\[2\]\.route\[0\]\.destination\.host: /
/http\[3\]\.route\[0\]\.destination\.port\.number: /
/http\[4\]/
/DestinationRule default\/reviews: spec\.trafficPolicy\.loadBalancer\.simple: /
/DestinationRule default\/reviews: spec\.trafficPolicy\.outlierDetection: /
/DestinationRule default\/reviews: spec\.subsets\[1\]/

=== ServiceEntries and WorkloadEntries
--- resources
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dns, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [dns.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wrong, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: ["a b"]
  addresses: [240.0.0.999]
  ports: [{number: 0, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: example.com}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: both, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [both.example.com]
  addresses: [240.1.1.9]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.1}]
  workloadSelector: {labels: {app: x}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: nowhere}
spec: {ports: {http: 70000}, weight: -1}
--- request
as sleep to web GET /
--- expect
200
--- run: -t
--- exit_code: 1
--- stderr
/ServiceEntry default\/dns: spec\.resolution: DNS is not implemented/
/ServiceEntry default\/wrong: spec\.hosts: "a b" is no host name/
/ServiceEntry default\/wrong: spec\.addresses: "240\.0\.0\.999"/
/ServiceEntry default\/wrong: spec\.ports\[0\]\.number: /
/ServiceEntry default\/wrong: spec\.endpoints\[0\]\.address/
/ServiceEntry default\/both: spec/
/WorkloadEntry default\/nowhere: spec\.address/
/WorkloadEntry default\/nowhere: spec\.ports\.http: /
/WorkloadEntry default\/nowhere: spec\.weight: /
