#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Least request over counts that all workers share: a slow endpoint gets few requests.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

my $pods = join '', map {
    "reviews-v$_: {program: {delay: " . ($_ == 1 ? 0.2 : 0.02) . "}}\n"
} 1 .. 10;
my $mesh = Test::Cairn->start(upstreams => $pods . "sleep: {client: yes}\n",
    bootstrap => 'workers: 2');

# Eight connections, so that both workers carry some; eight tunnels each: 64 requests in flight.
my @tunnels = map { $mesh->tunnels(8, as => 'sleep', to => 'reviews') } 1 .. 8;
my %seen;

for my $round (1 .. ($ENV{LONG} ? 40 : 12)) {
    $_->http->send(GET => '/') for @tunnels;

    for my $tunnel (@tunnels) {
        my $response = $tunnel->http->response(seconds => 20);

        $seen{all}++;
        $seen{slow}++ if ($response->header('x-pod') // '') eq 'reviews-v1';
    }
}

is $seen{all}, 64 * ($ENV{LONG} ? 40 : 12), 'every request is answered';
cmp_ok $seen{slow} // 0, '<', 0.11 * $seen{all}, 'the slow endpoint gets no more than its even share '
    . "($seen{slow} of $seen{all})";

$mesh->stop;
done_testing;
