#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Least request over counts that all workers share: a slow endpoint gets few requests.  LONG=1 runs
# longer.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

use JSON::PP ();

# Ten endpoints of which one is ten times slower, two workers, 64 requests in flight.
my $pods = join '', map {
    "reviews-v$_: {native: {delay: " . ($_ == 1 ? 200 : 20) . "}}\n"
} 1 .. 10;
my $mesh = Test::Cairn->start(upstreams => $pods . "sleep: {client: yes}\n",
    bootstrap => 'workers: 2');

# The endpoints that have more than one cluster count once for all of them.
sub active {
    my $page = JSON::PP->new->decode($mesh->daemon->http_get('ADMIN', '/clusters.json')->body);
    my %active;

    for my $cluster (@{ $page->{clusters} }) {
        $active{ $_->{address} } = $_ for @{ $cluster->{endpoints} };
    }
    return values %active;
}

sub sum {
    my $sum = 0;

    $sum += $_ for @_;
    return $sum;
}

sub sum_of_worker {
    my ($worker, @endpoints) = @_;

    return sum(map { $_->{active_by_worker}[$worker] } @endpoints);
}

my $load = $mesh->load(to => 'reviews', options => ['-c', 8, '-t', 8, '-d', $ENV{LONG} ? 30 : 4]);
my @endpoints;

ok wait_for(sub {
    @endpoints = active();
    return !grep { sum_of_worker($_, @endpoints) == 0 } 0, 1;
}, 3), 'both workers have requests under way';
is scalar @endpoints, 10, 'ten endpoints';
is scalar(grep { $_->{active} != sum(@{ $_->{active_by_worker} }) } @endpoints), 0,
    'what is chosen by is the sum over the workers';

my $under_way = 0;

ok wait_for(sub {
    $under_way = sum(map { $_->{active} } active());
    return $under_way > 48 && $under_way <= 64;
}, 3), "most of the 64 requests count at once, and none twice ($under_way)";

my $result = $load->result;
my $bad = sum(values %{ $result->{errors} });

is $bad, 0, 'no request fails';
ok wait_for(sub { sum(map { $_->{active} } active()) == 0 }, 5),
    'when all are answered nothing is left in the counts';

$mesh->stop;

my %seen = map { my $pod = $_; map { ($pod->name => $_->{requests}) } $pod->seen('total') }
    $mesh->pods;
my $all = sum(values %seen);
my $share = 100 * $seen{'reviews-v1'} / $all;

cmp_ok $all, '>=', $result->{requests}, 'the endpoints have seen all requests';
cmp_ok $share, '<', 4, sprintf 'the slow endpoint gets under 4 %% of them: %d of %d, %.2f %%',
    $seen{'reviews-v1'}, $all, $share;

done_testing;
