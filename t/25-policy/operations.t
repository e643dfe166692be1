#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# AuthorizationPolicy: `from` and `to` beyond the common: path templates, negations, remote addresses.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== path templates: {*} is one segment, {**} any rest
--- upstreams
web-v1:
sleep: {client: yes}
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - to: [{operation: {paths: ["/a/{*}/b", "/x/{**}", "/y/{**}/end"]}}]
--- request
as sleep to web GET /a/1/b
~~~
as sleep to web GET /a/1/2/b
~~~
as sleep to web GET /a//b
~~~
as sleep to web GET /a/1/b?q=1
~~~
as sleep to web GET /x/
~~~
as sleep to web GET /x/1/2
~~~
as sleep to web GET /a/k=v*/b
~~~
as sleep to web GET /x
~~~
as sleep to web GET /y/1/2/end
~~~
as sleep to web GET /y/1/2/ends
~~~
as sleep to web GET /a/k=v,*;x/b
--- expect
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

=== a template that is none closes its service
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - to: [{operation: {paths: ["/a/{name}", "/{**}/{*}", "/a{*}", "/{*}/b*", "{*}"]}}]
--- request
as sleep to web GET /a/b
--- expect
403
--- run: -t
--- exit_code: 1
--- stderr
/paths\[0\]: "\/a\/\{name\}" is no path template/
/paths\[1\]: "\/\{\*\*\}\/\{\*\}" is no path template/
/paths\[2\]: "\/a\{\*\}" is no path template/
/paths\[3\]: "\/\{\*\}\/b\*" is no path template/
/paths\[4\]: "\{\*\}" is no path template/

=== not*: what an operation and a source must not be
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - from:
    - source:
        notPrincipals: [cluster.local/ns/default/sa/bad]
        notNamespaces: [evil]
        notServiceAccounts: [default/worse]
        notIpBlocks: [203.0.113.0/24]
        remoteIpBlocks: [127.0.0.0/8, 198.51.100.0/24]
        notRemoteIpBlocks: [198.51.100.7]
    to:
    - operation:
        notHosts: [secret.example.com]
        notMethods: [DELETE]
        notPaths: [/private*]
        notPorts: ["9090"]
--- request
as sleep to web GET /
~~~
as bad to web GET /
~~~
as evil/sleep to web GET /
~~~
as worse to web GET /
~~~
as sleep to web DELETE /
~~~
as sleep to web GET /private/x
~~~
as sleep to web GET /
host: SECRET.example.com
~~~
as sleep to web GET /
x-forwarded-for: 198.51.100.8
~~~
as sleep to web GET /
x-forwarded-for: 198.51.100.7
~~~
as sleep to web GET /
x-forwarded-for: 192.0.2.1
--- expect
200
~~~
403
~~~
403
~~~
403
~~~
403
~~~
403
~~~
403
~~~
200
~~~
403
~~~
403

=== principals of a token are refused by name, closed
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - from: [{source: {requestPrincipals: ["*"]}}]
--- request
as sleep to web GET /
--- expect
403
--- run: -t
--- exit_code: 1
--- stderr
/spec\.rules\[0\]\.from\[0\]\.source\.requestPrincipals: is not implemented/

=== stars around and within a namespace
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  rules:
  - from: [{source: {namespaces: ["*mid*", "a*z", "a*b*c"]}}]
--- request
as the-mid-one/sleep to web GET /
~~~
as mid/sleep to web GET /
~~~
as a-z/sleep to web GET /
~~~
as abbc/sleep to web GET /
~~~
as a-c/sleep to web GET /
~~~
as a-zz-y/sleep to web GET /
--- expect
200
~~~
200
~~~
200
~~~
200
~~~
403
~~~
403
