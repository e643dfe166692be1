#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Plain listeners: the Host picks the service, or the listener is one service's.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== every form of a service's name is understood
--- upstreams
reviews-v1:
--- services
reviews: {ports: [{name: http, port: 80, targetPort: 9080}]}
--- request
GET /
host: reviews
~~~
GET /
host: Reviews.default
~~~
GET /
host: reviews.default.svc
~~~
GET /
host: reviews.default.svc.cluster.local
~~~
GET /
host: reviews.default.svc.cluster.local:80
~~~
GET /
host: %%VIP_reviews%%
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

=== what names no service here is not found
--- request
GET /
host: nobody
~~~
GET /
host: reviews:81
~~~
GET /
host: reviews.elsewhere
--- expect
404
~~~
404
~~~
404
--- access_log
/"GET \/ HTTP\/1.1" 404 NR route_not_found /

=== a policy that asks for an identity denies who has none
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - from: [{source: {principals: ["*"]}}]
--- request
GET /
host: reviews
--- expect
403

=== a pinned listener serves its service whatever the Host
--- bootstrap
listen:
  plaintext: [{address: "%%ADDRESS%%:%%PORT_PLAINTEXT%%", service: "default/reviews:80"}]
--- resources
apiVersion: v1
kind: ConfigMap
metadata: {name: nothing, namespace: default}
--- request
GET /
host: anything
--- expect
200
@pod reviews-v1
