#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What happens to traffic while configuration changes and processes die.  LONG=1 runs the full counts.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

my $long = $ENV{LONG};

sub split_rule {
    my ($v1) = @_;

    return sprintf <<'Y', $v1, 100 - $v1;
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - route:
    - {destination: {host: reviews, subset: v1}, weight: %d}
    - {destination: {host: reviews, subset: v2}, weight: %d}
Y
}

my $mesh = Test::Cairn->start(upstreams => <<'Y', resources => split_rule(100));
reviews-v1:
reviews-v2:
sleep: {client: yes}
Y

# One request after another on a tunnel that lives through all of it.
my $tunnel = $mesh->tunnel(as => 'sleep', to => 'reviews');
my %answers;

sub ask {
    my ($count) = @_;

    for (1 .. $count) {
        my $response = $tunnel->http->request('GET', '/');

        $answers{$response->status // 'none'}++;
        $answers{$response->header('x-pod') // 'nobody'}++;
    }

    return;
}

subtest 'a reload changes where the next request goes, and closes nothing' => sub {
    for my $round (1 .. ($long ? 50 : 10)) {
        my $to = $round % 2 ? 'reviews-v2' : 'reviews-v1';

        $mesh->reload(split_rule($round % 2 ? 0 : 100));
        %answers = ();
        ask(20);
        is_deeply \%answers, { 200 => 20, $to => 20 }, "round $round goes to $to";
    }
};

subtest 'a broken resource keeps its last good version, the rest changes' => sub {
    $mesh->reload(split_rule(100));
    $mesh->reload(split_rule(0) =~ s/weight: 0/weight: many/r);
    %answers = ();
    ask(20);
    is_deeply \%answers, { 200 => 20, 'reviews-v1' => 20 }, 'the last good weights serve on';
    ok $mesh->daemon->wait_log('error', qr/weight/), 'the field is named in the log';
};

subtest 'a reload without a change publishes nothing' => sub {
    $mesh->reload(split_rule(100));
    $mesh->reload(split_rule(100), until => qr/reload unchanged/);
    pass 'and says so';
};

subtest 'a killed master costs nothing, the next one reloads' => sub {
    for my $round (1 .. ($long ? 20 : 4)) {
        my $master = $mesh->daemon->master_pid;

        $mesh->daemon->log_mark;
        $mesh->daemon->kill_hard($master);
        %answers = ();
        ask(20);
        is $answers{200}, 20, 'requests go on without a master';
        ok wait_for(sub { my $pid = $mesh->daemon->master_pid; $pid && $pid != $master }, 5),
            'there is another master';
        ok wait_for(sub { grep { /master: reload done/ } $mesh->daemon->log_lines('error') }, 5),
            'which has read the configuration';
        ok wait_for(sub { $mesh->daemon->ready }, 5), 'it is ready';
        my $to = $round % 2 ? 'reviews-v2' : 'reviews-v1';
        $mesh->reload(split_rule($round % 2 ? 0 : 100));
        %answers = ();
        ask(10);
        is $answers{$to}, 10, 'a reload works again';
    }
};

$mesh->daemon->forgive(qr/process ended: pid=\d+ signal=9/);

subtest 'a killed worker is replaced, and connects succeed at once' => sub {
    for my $round (1 .. ($long ? 20 : 5)) {
        my @workers = $mesh->daemon->worker_pids;

        $mesh->daemon->kill_hard($workers[$round % @workers]);

        my $began    = now();
        my $response = $mesh->request('as sleep to reviews GET /');

        is $response->status, 200, 'the next connection is served';
        cmp_ok now() - $began, '<', 1, 'soon';
        ok wait_for(sub { $mesh->daemon->worker_pids == @workers }, 5), 'there are as many workers';
        ok wait_for(sub { $mesh->request('as sleep to reviews GET /')->status == 200 }, 5),
            'requests are answered';
    }
};

$mesh->stop;

done_testing;
