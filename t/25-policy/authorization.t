#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# AuthorizationPolicy: who may ask for what.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== an ALLOW policy admits what it names and nothing else
--- upstreams
productpage-v1:
sleep: {client: yes}
notsleep: {client: yes}
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: viewer, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: productpage}]
  action: ALLOW
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/sleep]}}]
    to: [{operation: {methods: [GET]}}]
--- request
as sleep to productpage GET /productpage
~~~
as notsleep to productpage GET /productpage
~~~
as sleep to productpage POST /productpage

x
--- expect
200
~~~
403
content-type: text/plain

RBAC: access denied
~~~
403

RBAC: access denied
--- upstream_saw
productpage-v1 GET /productpage HTTP/1.1
--- access_log
/"POST \/productpage HTTP\/1.1" 403 - rbac_access_denied_matched_policy\[none\] /

=== DENY comes first, by path, and sees the canonical path
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: default}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]
  action: DENY
  rules:
  - to: [{operation: {paths: ["/admin*"]}}]
--- request
as sleep to productpage GET /admin
~~~
as sleep to productpage GET /x/../admin/y
~~~
as sleep to productpage GET /%61dmin
~~~
as sleep to productpage GET /administrator?x=1
~~~
as sleep to productpage GET /user/admin
--- expect
403
~~~
403
~~~
403
~~~
403
~~~
200
--- access_log
/rbac_access_denied_matched_policy\[ns\[default\]-policy\[no-admin\]-rule\[0\]\]/

=== namespaces and hosts
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: productpage}]
  rules:
  - from: [{source: {namespaces: [default]}}]
    to: [{operation: {hosts: ["productpage*"], ports: ["9080"]}}]
--- request
as sleep to productpage GET /
host: productpage:9080
~~~
as other/sleep to productpage GET /
host: productpage:9080
~~~
as sleep to productpage GET /
host: elsewhere
--- expect
200
~~~
403
~~~
403

=== an ALLOW policy without rules admits nobody
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: productpage}]
  action: ALLOW
--- request
as sleep to productpage GET /
--- expect
403

=== a policy with a misspelt field denies what it targets
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: misspelt, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: productpage}]
  action: ALLOW
  rules:
  - form: [{source: {principals: [cluster.local/ns/default/sa/sleep]}}]
--- request
as sleep to productpage GET /
--- expect
403
--- access_log
/"GET \/ HTTP\/1.1" 403 - rbac_access_denied_matched_policy\[ns\[default\]-policy\[misspelt\]/
