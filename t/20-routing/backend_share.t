#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A backend that is not there takes its share of the weight with it, and no more.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

my $mesh = Test::Cairn->start(upstreams => <<'UPSTREAMS', resources => <<'RESOURCES');
reviews-v1:
sleep: {client: yes}
UPSTREAMS
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews, sectionName: http}]
  rules:
  - backendRefs:
    - {name: nonexistent, port: 9080, weight: 1}
    - {name: reviews, port: 9080, weight: 0}
    - name: reviews
      port: 9080
      weight: 1
      filters:
      - type: ResponseHeaderModifier
        responseHeaderModifier:
          set: [{name: x-there, value: "yes"}]
RESOURCES

my %count;

for (1 .. 200) {
    my $response = $mesh->request("as sleep to reviews GET /");
    my $there = $response->header('x-there') // 'no';

    $count{ $response->status . " $there" }++;
}

my ($low, $high) = binomial_bounds(200, 0.5);

cmp_ok $count{'200 yes'}, '>=', $low, 'one half arrives';
cmp_ok $count{'200 yes'}, '<=', $high, 'and no more';
is $count{'200 yes'} + $count{'500 no'}, 200, 'the other half is 500, without the headers of the first';

$mesh->stop;
done_testing;
