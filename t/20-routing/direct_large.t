#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A direct response of 1 MiB arrives whole, also at a client that reads slowly; a longer one is
# refused.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

sub resources {
    my ($size) = @_;

    return <<"Y";
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - directResponse: {status: 200, body: {string: "@{[ 'abcdefgh' x ($size / 8) . 'x' x ($size % 8) ]}"}}
Y
}

my $mesh = Test::Cairn->start(upstreams => <<'Y', resources => resources(1 << 20));
reviews-v1:
sleep: {client: yes}
Y

for my $window (65535, 1000) {
    my $response = $mesh->request("as sleep to reviews GET /\n\@window $window\n\@seconds 20");

    is $response->status, 200, "window $window: status";
    is $response->{length}, 1 << 20, "window $window: length";
    ok $response->complete, "window $window: complete";
}

my $daemon = $mesh->daemon;

$daemon->write_resources({ '50-test.yaml' => resources((1 << 20) + 1) });

my $check = $daemon->run('-t');

is $check->{status}, 1, 'one octet more is refused';
like $check->{err}, qr/directResponse\.body: is longer than 1 MiB/, 'and named';

$mesh->stop;
done_testing;
