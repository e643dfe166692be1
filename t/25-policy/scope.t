#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# AuthorizationPolicy: which services a policy is for, and policies that only observe.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== a policy of the root namespace for the class of waypoints is for every service
--- upstreams
web-v1:
shop-v1:
sleep: {client: yes}
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: mesh, namespace: istio-system}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: istio-waypoint}]
  action: DENY
  rules:
  - to: [{operation: {paths: [/admin*]}}]
--- request
as sleep to web GET /admin
~~~
as sleep to shop GET /admin
~~~
as sleep to shop GET /
--- expect
403
~~~
403
~~~
200
--- access_log
/rbac_access_denied_matched_policy\[ns\[istio-system\]-policy\[mesh\]-rule\[0\]\]/

=== of another namespace, or for another class, it is refused and denies where it stands
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: mesh, namespace: default}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: istio-waypoint}]
  action: DENY
  rules:
  - to: [{operation: {paths: [/admin*]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: other, namespace: istio-system}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: nginx}]
  action: DENY
  rules: [{}]
--- request
as sleep to web GET /
--- expect
403
--- run: -t
--- exit_code: 1
--- stderr
/AuthorizationPolicy default\/mesh: spec\.targetRefs\[0\]\.kind: a GatewayClass is a target in the root namespace istio-system only/
/AuthorizationPolicy istio-system\/other: spec\.targetRefs\[0\]\.name: "nginx" is no class of waypoints/

=== with a selector, or without a target, it is the workloads' ztunnel's: said, not applied
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: selects, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  action: DENY
  rules: [{}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all, namespace: istio-system}
spec:
  action: DENY
  rules: [{}]
--- request
as sleep to web GET /
--- expect
200
--- run: -t
--- exit_code: 0
--- stderr
/AuthorizationPolicy default\/selects: spec\.selector: without targetRefs the policy is for the workloads' own ztunnel/
/AuthorizationPolicy istio-system\/all: spec: without targetRefs the policy is for the workloads' own ztunnel/

=== policies of the Gateway and of the Service both hold
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: gateway, namespace: default}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}]
  rules: [{to: [{operation: {methods: [GET]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: service, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}, {group: "", kind: Service, name: shop}]
  rules: [{to: [{operation: {methods: [PUT]}}]}]
--- request
as sleep to web GET /
~~~
as sleep to web PUT /
~~~
as sleep to shop PUT /
~~~
as sleep to web DELETE /
--- expect
200
~~~
200
~~~
200
~~~
403

=== AUDIT and a dry run decide nothing
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: audit, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  action: AUDIT
  rules: [{to: [{operation: {methods: [GET]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: rehearsal, namespace: default, annotations: {istio.io/dry-run: "true"}}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  action: DENY
  rules: [{}]
--- request
as sleep to web GET /
--- expect
200
--- run: -t
--- exit_code: 0
--- stderr
/AuthorizationPolicy default\/rehearsal: metadata\.annotations: a dry run decides nothing/

=== CUSTOM is refused and denies what it targets, nothing else
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: custom, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  action: CUSTOM
  provider: {name: ext}
  rules: [{}]
--- request
as sleep to web GET /
~~~
as sleep to shop GET /
--- expect
403
~~~
200
--- run: -t
--- exit_code: 1
--- stderr
/AuthorizationPolicy default\/custom: spec\.action: CUSTOM is not implemented/
