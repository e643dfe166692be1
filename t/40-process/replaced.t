#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A worker that takes another's place is given the same tables by the guard and by the master. While
# it still verifies the one, the other comes: neither is refused.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

# So many that to verify them takes more than one turn of a worker's loop.
my $services = join "---\n", map { my $ip = sprintf '10.97.%d.%d', $_ / 250, $_ % 250 + 1; <<"Y" } 1 .. 1500;
apiVersion: v1
kind: Service
metadata: {name: many-$_, namespace: default}
spec: {clusterIP: $ip, selector: {app: many-$_}, ports: [{name: http, port: 80}]}
Y

my $mesh = Test::Cairn->start(
    upstreams => "reviews-v1:\nsleep: {client: yes}\n", bootstrap => 'workers: 1',
    resources => $services);
my $daemon = $mesh->daemon;

for my $round (1 .. 5) {
    my ($old) = $daemon->worker_pids;

    $daemon->kill_hard($old);
    ok wait_for(sub { grep { $_ != $old } $daemon->worker_pids }, 5),
        "round $round: another takes its place";
    ok wait_for(sub { (eval { $mesh->request('as sleep to reviews GET /')->status } // 0) == 200 }, 10),
        'and serves';
}

unlike slurp($daemon->log_path('error')), qr/refuse/, 'nothing was refused';

$daemon->forgive;
$mesh->stop;
done_testing;
