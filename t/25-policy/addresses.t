#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# AuthorizationPolicy: ranges of addresses in ipBlocks and remoteIpBlocks, of IPv4 and of IPv6.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

run_blocks();

__DATA__

=== a range has its first and its last address, and none beside
--- upstreams
reviews-v1:
sleep: {client: yes}
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ranges, namespace: default}
spec:
  targetRefs: [{kind: Service, group: "", name: reviews}]
  rules:
  - from:
    - source: {ipBlocks: [127.201.0.4/30, 127.201.7.1]}
--- request
as sleep from 127.201.0.4 to reviews GET /
~~~
as sleep from 127.201.0.7 to reviews GET /
~~~
as sleep from 127.201.0.3 to reviews GET /
~~~
as sleep from 127.201.0.8 to reviews GET /
~~~
as sleep from 127.201.7.1 to reviews GET /
~~~
as sleep from 127.201.7.0 to reviews GET /
--- expect
200
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

=== notIpBlocks takes out of ipBlocks
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ranges, namespace: default}
spec:
  targetRefs: [{kind: Service, group: "", name: reviews}]
  rules:
  - from:
    - source: {ipBlocks: [127.201.0.0/16], notIpBlocks: [127.201.0.4/30]}
--- request
as sleep from 127.201.0.3 to reviews GET /
~~~
as sleep from 127.201.0.5 to reviews GET /
~~~
as sleep from 127.202.0.3 to reviews GET /
--- expect
200
~~~
403
~~~
403

=== no range of IPv6 has an address of IPv4
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ranges, namespace: default}
spec:
  targetRefs: [{kind: Service, group: "", name: reviews}]
  action: DENY
  rules:
  - from:
    - source: {remoteIpBlocks: ["::/0"]}
--- request
as sleep from 127.201.0.3 to reviews GET /
~~~
as sleep to reviews GET /
x-forwarded-for: 10.0.0.1
~~~
as sleep to reviews GET /
x-forwarded-for: 2001:db8::1
~~~
as sleep to reviews GET /
x-forwarded-for: ::ffff:10.0.0.1
--- expect
200
~~~
200
~~~
403
~~~
403

=== a mapped address is none of IPv4
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ranges, namespace: default}
spec:
  targetRefs: [{kind: Service, group: "", name: reviews}]
  rules:
  - from:
    - source: {remoteIpBlocks: [10.0.0.0/8]}
--- request
as sleep to reviews GET /
x-forwarded-for: 10.0.0.1
~~~
as sleep to reviews GET /
x-forwarded-for: ::ffff:10.0.0.1
--- expect
200
~~~
403

=== what is no range closes its service
--- resources
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ranges, namespace: default}
spec:
  targetRefs: [{kind: Service, group: "", name: reviews}]
  rules:
  - from:
    - source:
        ipBlocks: [10.0.0.0/33]
        notRemoteIpBlocks: ["::ffff:10.0.0.0/104"]
--- request
as sleep to reviews GET /
--- expect
403
--- run: -t
--- exit_code: 1
--- stderr
/ipBlocks\[0\]: "10\.0\.0\.0\/33" is no IP address and no range/
/notRemoteIpBlocks\[0\]: "::ffff:10\.0\.0\.0\/104" is no IP address and no range/
