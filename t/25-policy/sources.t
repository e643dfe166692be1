#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# AuthorizationPolicy: the positive fields of `from` and `to`, one by one: exact, prefix, suffix and
# any; how fields, values, sources, operations and rules are joined.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== principals: exact, prefix, suffix, any
--- upstreams
web-v1: {ports: [9080, 9090]}
sleep: {client: yes}
other: {client: yes}
--- services
web: {ports: [{name: http, port: 9080}, {name: http-2, port: 9090}]}
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/sleep]}}]
    to: [{operation: {paths: [/exact]}}]
  - from: [{source: {principals: ["cluster.local/ns/team-*"]}}]
    to: [{operation: {paths: [/prefix]}}]
  - from: [{source: {principals: ["*/sa/sleep"]}}]
    to: [{operation: {paths: [/suffix]}}]
  - from: [{source: {principals: ["*"]}}]
    to: [{operation: {paths: [/any]}}]
--- request
as sleep to web GET /exact
~~~
as other to web GET /exact
~~~
as team-a/other to web GET /prefix
~~~
as sleep to web GET /prefix
~~~
as team-a/sleep to web GET /suffix
~~~
as other to web GET /suffix
~~~
as other to web GET /any
~~~
GET /any
host: web:9080
--- expect
200
~~~
403
~~~
200
~~~
403
~~~
200
~~~
403
~~~
200
~~~
403

=== namespaces and service accounts; an account without a namespace is of the policy's
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - from: [{source: {namespaces: [default, "team-*"]}}]
    to: [{operation: {paths: [/namespace]}}]
  - from: [{source: {serviceAccounts: [sleep, team-b/other]}}]
    to: [{operation: {paths: [/account]}}]
--- request
as other to web GET /namespace
~~~
as team-a/x to web GET /namespace
~~~
as elsewhere/x to web GET /namespace
~~~
as sleep to web GET /account
~~~
as team-b/other to web GET /account
~~~
as team-b/sleep to web GET /account
~~~
as other to web GET /account
--- expect
200
~~~
200
~~~
403
~~~
200
~~~
200
~~~
403
~~~
403

=== hosts without case, methods, ports, paths
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - to: [{operation: {paths: [/host], hosts: [Shop.example.com, "*.example.org", "api.*"]}}]
  - to: [{operation: {paths: [/method], methods: [PUT, "P*", "*ETE"]}}]
  - to: [{operation: {paths: [/port], ports: ["9090"]}}]
  - to: [{operation: {paths: ["/a*", "*.css", /b]}}]
--- request
as sleep to web GET /host
host: shop.EXAMPLE.com
~~~
as sleep to web GET /host
host: www.example.org
~~~
as sleep to web GET /host
host: api.example.net
~~~
as sleep to web GET /host
host: example.net
~~~
as sleep to web POST /method
~~~
as sleep to web DELETE /method
~~~
as sleep to web GET /method
~~~
as sleep to web.default.svc.cluster.local:9090 GET /port
~~~
as sleep to web GET /port
~~~
as sleep to web GET /abc?x
~~~
as sleep to web GET /x/y.css
~~~
as sleep to web GET /b/
--- expect
200
~~~
200
~~~
200
~~~
403
~~~
200
~~~
200
~~~
403
~~~
200
~~~
403
~~~
200
~~~
200
~~~
403

=== all fields of a source and of an operation hold, any of several, and both of a rule
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - from:
    - source: {principals: ["*/sa/sleep"], namespaces: [team-a]}
    - source: {namespaces: [default], notPrincipals: ["*/sa/other"]}
    to:
    - operation: {methods: [GET], paths: [/read*]}
    - operation: {methods: [PUT], paths: [/write*]}
--- request
as team-a/sleep to web GET /read
~~~
as team-a/x to web GET /read
~~~
as sleep to web PUT /write
~~~
as other to web PUT /write
~~~
as sleep to web PUT /read
~~~
as sleep to web GET /write
--- expect
200
~~~
403
~~~
200
~~~
403
~~~
403
~~~
403

=== an identity that nobody proved is of no source, and of every not-source
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - from: [{source: {namespaces: ["*"]}}, {source: {serviceAccounts: [sleep]}}]
    to: [{operation: {paths: [/is]}}]
  - from: [{source: {notPrincipals: [cluster.local/ns/default/sa/sleep]}}]
    to: [{operation: {paths: [/not]}}]
--- request
GET /is
host: web:9080
~~~
GET /not
host: web:9080
~~~
as sleep to web GET /not
--- expect
403
~~~
200
~~~
403

=== what a policy refuses closes its service, each with its place
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - from:
    - source: {}
    - source: {principals: []}
    - source: {principal: [x]}
    - source: {serviceAccounts: [a/b/c]}
    - source: {ipBlocks: [example.com]}
    to:
    - operation: {methods: GET}
    - operation: {ports: ["70000"]}
    - operation: {path: [/x]}
    - {}
  - whem: []
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: q, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules: [{to: [{operation: {}}]}]
--- request
as sleep to web GET /
--- expect
403
--- run: -t
--- exit_code: 1
--- stderr
/50-test\.yaml:8:7: error: AuthorizationPolicy default\/p: spec\.rules\[0\]\.from\[0\]\.source: /
/from\[1\]\.source\.principals: /
/from\[2\]\.source\.principal: unknown field/
/from\[3\]\.source\.serviceAccounts\[0\]: /
/from\[4\]\.source\.ipBlocks\[0\]: "example\.com" is no IP address and no range/
/to\[0\]\.operation\.methods: /
/to\[1\]\.operation\.ports\[0\]: /
/to\[2\]\.operation\.path: unknown field/
/to\[3\]\.operation: /
/rules\[1\]\.whem: unknown field/
/AuthorizationPolicy default\/q: spec\.rules\[0\]\.to\[0\]\.operation: has no condition/
