#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# AuthorizationPolicy: `when`, each attribute with values and notValues.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== a header: exact, prefix, suffix, presence
--- upstreams
web-v1:
sleep: {client: yes}
other: {client: yes}
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  action: DENY
  rules:
  - to: [{operation: {paths: [/exact]}}]
    when: [{key: "request.headers[X-Kind]", values: ["one"]}]
  - to: [{operation: {paths: [/prefix]}}]
    when: [{key: "request.headers[x-kind]", values: ["one*"]}]
  - to: [{operation: {paths: [/suffix]}}]
    when: [{key: "request.headers[x-kind]", values: ["*one"]}]
  - to: [{operation: {paths: [/there]}}]
    when: [{key: "request.headers[x-kind]", values: ["*"]}]
--- request
as sleep to web GET /exact
x-kind: one
~~~
as sleep to web GET /exact
x-kind: ones
~~~
as sleep to web GET /exact
x-kind: two
x-kind: one
~~~
as sleep to web GET /prefix
x-kind: ones
~~~
as sleep to web GET /prefix
x-kind: not one
~~~
as sleep to web GET /suffix
x-kind: not one
~~~
as sleep to web GET /suffix
x-kind: ones
~~~
as sleep to web GET /there
x-kind: anything
~~~
as sleep to web GET /there
--- expect
403
~~~
200
~~~
403
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

=== notValues: an ALLOW rule's header must not have them
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - when: [{key: "request.headers[x-tenant]", values: ["*"], notValues: [blocked, "test-*"]}]
--- request
as sleep to web GET /
x-tenant: good
~~~
as sleep to web GET /
x-tenant: blocked
~~~
as sleep to web GET /
x-tenant: test-1
~~~
as sleep to web GET /
--- expect
200
~~~
403
~~~
403
~~~
403

=== who asks: source.principal, source.namespace, source.serviceAccount
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - to: [{operation: {paths: [/principal]}}]
    when: [{key: source.principal, values: ["*/sa/sleep"], notValues: [cluster.local/ns/bad/sa/sleep]}]
  - to: [{operation: {paths: [/namespace]}}]
    when: [{key: source.namespace, values: ["def*"]}]
  - to: [{operation: {paths: [/account]}}]
    when: [{key: source.serviceAccount, values: [sleep, team/other]}]
--- request
as sleep to web GET /principal
~~~
as bad/sleep to web GET /principal
~~~
as other to web GET /principal
~~~
as other to web GET /namespace
~~~
as bad/other to web GET /namespace
~~~
as sleep to web GET /account
~~~
as team/other to web GET /account
~~~
as other to web GET /account
--- expect
200
~~~
403
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

=== addresses: the peer's own is not what x-forwarded-for says
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - to: [{operation: {paths: [/source]}}]
    when: [{key: source.ip, values: ["%%POD_sleep%%"]}]
  - to: [{operation: {paths: [/remote]}}]
    when: [{key: remote.ip, values: [203.0.113.0/24], notValues: [203.0.113.7]}]
  - to: [{operation: {paths: [/own]}}]
    when: [{key: remote.ip, values: ["%%POD_sleep%%/32"]}]
  - to: [{operation: {paths: [/destination]}}]
    when: [{key: destination.ip, values: ["%%VIP_web%%"]}, {key: destination.port, values: ["9080"]}]
  - to: [{operation: {paths: [/elsewhere]}}]
    when: [{key: destination.ip, values: [192.0.2.0/24]}]
--- request
as sleep to web GET /source
x-forwarded-for: 203.0.113.9
~~~
as other to web GET /source
x-forwarded-for: %%POD_sleep%%
~~~
as sleep to web GET /remote
x-forwarded-for: 198.51.100.1, 203.0.113.9
~~~
as sleep to web GET /remote
x-forwarded-for: 203.0.113.9, 198.51.100.1
~~~
as sleep to web GET /remote
x-forwarded-for: 203.0.113.9
x-forwarded-for: 203.0.113.7
~~~
as sleep to web GET /own
~~~
as sleep to web GET /own
x-forwarded-for: no address
~~~
as other to web GET /own
~~~
as sleep to web GET /destination
~~~
as sleep to web GET /elsewhere
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
200
~~~
200
~~~
403
~~~
200
~~~
403

=== a name of TLS that nobody sent matches nothing, and every notValues
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - to: [{operation: {paths: [/any]}}]
    when: [{key: connection.sni, values: ["*"]}]
  - to: [{operation: {paths: [/not]}}]
    when: [{key: connection.sni, notValues: [www.example.com]}]
--- request
as sleep to web GET /any
~~~
as sleep to web GET /not
--- expect
403
~~~
200

=== all entries of one `when` must hold, for each source
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - from:
    - source: {principals: [cluster.local/ns/default/sa/sleep]}
    - source: {principals: [cluster.local/ns/default/sa/other]}
    when:
    - {key: "request.headers[x-a]", values: ["1"]}
    - {key: "request.headers[x-b]", values: ["2", "3"]}
--- request
as sleep to web GET /
x-a: 1
x-b: 3
~~~
as other to web GET /
x-a: 1
x-b: 2
~~~
as other to web GET /
x-a: 1
~~~
as third to web GET /
x-a: 1
x-b: 2
--- expect
200
~~~
200
~~~
403
~~~
403

=== what is not known closes the service and is named with its place
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: claims, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - when: [{key: "request.auth.claims[groups]", values: [admin]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: odd, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  action: DENY
  rules:
  - when:
    - {key: source.color, values: [red]}
    - {key: "request.headers[]", values: [red]}
    - {key: "request.headers[a b]", values: [red]}
    - {key: source.ip, values: [10.0.0.0/33]}
    - {key: destination.port, values: ["0"]}
    - {key: source.ip}
    - {values: [x]}
--- request
as sleep to web GET /
--- expect
403
--- run: -t
--- exit_code: 1
--- stderr
/50-test\.yaml:7.*AuthorizationPolicy default\/claims: spec\.rules\[0\]\.when\[0\]\.key: the attribute "request\.auth\.claims\[groups\]" is not implemented/
/when\[0\]\.key: "source\.color" is no attribute/
/when\[1\]\.key: "request\.headers\[\]" is no attribute/
/when\[2\]\.key: "request\.headers\[a b\]" is no attribute/
/when\[3\]\.values\[0\]: "10\.0\.0\.0\/33" is no IP address and no range/
/when\[4\]\.values\[0\]: "0" is no port/
/when\[5\]: has neither values nor notValues/
/when\[6\]\.key: /
