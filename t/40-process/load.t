#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Reloads and the deaths of processes under 2,000 requests a second through HBONE.  LONG=1 runs the
# full counts, and holds the times to their limits.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

use JSON::PP ();

my $long = $ENV{LONG};

# Only one of both versions gets requests; a policy of another name each round admits the client.
sub resources {
    my ($round, %option) = @_;

    my $v1 = $round % 2 ? 0 : 100;
    my $admitted = $option{admitted} // 'sleep';
    my $weight = $option{broken} ? 'many' : 100 - $v1;

    return <<"Y";
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
    - {destination: {host: reviews, subset: v1}, weight: $v1}
    - {destination: {host: reviews, subset: v2}, weight: $weight}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: clients, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: reviews}]
  action: ALLOW
  rules:
  - from:
    - source:
        principals: [cluster.local/ns/default/sa/sleep, cluster.local/ns/default/sa/$admitted]
Y
}

my $mesh = Test::Cairn->start(upstreams => <<'Y', resources => resources(0));
reviews-v1: {native: yes}
reviews-v2: {native: yes}
sleep: {client: yes}
probe: {client: yes}
Y
my $daemon = $mesh->daemon;
my $rate = 2000;

sub load {
    my ($seconds, @more) = @_;

    return $mesh->load(to => 'reviews',
        options => ['-c', 8, '-t', 4, '-r', $rate, '-d', $seconds, '--reconnect', @more]);
}

# A download that ticks and an upload in pieces, both for so long on tunnels of their own; each must
# come whole.
sub streams {
    my ($seconds) = @_;

    my $ticks = 50 * $seconds;
    my @common = ('-c', 2, '-t', 2, '-n', 4, '--reconnect');

    return (
        $mesh->load(to => 'reviews', options =>
            [@common, '-p', "/tick/20/$ticks", '--expect-size', 64 * $ticks]),
        $mesh->load(to => 'reviews', options =>
            [@common, '-p', '/up', '-b', 256 * $ticks, '--body-tick', 20]),
    );
}

sub where_to {
    my $response = $mesh->request('as sleep to reviews GET /');
    return $response->header('x-upstream') // $response->status // 'none';
}

sub sum {
    my $sum = 0;

    $sum += $_ for @_;
    return $sum;
}

# What a result says of requests that failed without their connection's loss.
sub failed { return sum(values %{ $_[0]{errors} }) }

sub lost_nothing {
    my ($result, $what) = @_;

    is failed($result), 0, "$what: no request failed";
    is $result->{lost}{conns}, 0, 'no connection was closed';
    is $result->{lost}{tunnels}, 0, 'no tunnel was closed';
    is $result->{ok}, $result->{requests}, 'every request was answered well';
    cmp_ok $result->{rps}, '>', 0.95 * $rate, 'at the full rate' if $long;
    note sprintf '%s: %d requests, %.0f a second, latency p99 %.1f ms, max %.1f ms, longest time '
        . 'without an answer %.1f ms', $what, @{$result}{qw(requests rps)},
        $result->{latency_us}{p99} / 1000, $result->{latency_us}{max} / 1000,
        $result->{longest_gap_ms};
    return;
}

sub streams_whole {
    my (@streams) = @_;

    for my $result (map { $_->result(90) } @streams) {
        is $result->{ok}, 4, 'long-lived streams came whole';
        is $result->{lost}{conns}, 0, 'on the connections that they began on';
    }
    return;
}

sub workers {
    my $page = $daemon->http_get('ADMIN', '/status.json') // return;
    return @{ JSON::PP->new->decode($page->body)->{workers} };
}

# Waits until so many requests more were carried.
sub carry {
    my ($count) = @_;
    my $begin = sum(map { $_->{requests} } workers());

    ok wait_for(sub { sum(map { $_->{requests} } workers()) >= $begin + $count }, 20),
        'the load goes on';
    return;
}

subtest 'reloads fail no request and close nothing' => sub {
    my $rounds = $long ? 50 : 10;
    my $seconds = $long ? 25 : 4;
    my @streams = streams($seconds);
    my $load = load(120);
    my $began = now();
    my $wrong = 0;

    for my $round (1 .. $rounds) {
        my $broken = $round == int($rounds / 2);
        my $to = 'reviews-v' . ($round % 2 ? 2 : 1);
        my $before = where_to();

        ok $mesh->reload(resources($round, broken => $broken, admitted => "other-$round")),
            'a reload ends';

        $to = $before if $broken;
        $wrong++ if where_to() ne $to;
        carry(($long ? 0.4 : 0.2) * $rate);
    }

    is $wrong, 0, 'each reload takes effect, a broken route keeps its last good version';
    is $mesh->request('as probe to reviews GET /')->status, 403, 'a policy that does not admit';
    $mesh->reload(resources(0, admitted => 'probe'));
    is $mesh->request('as probe to reviews GET /')->status, 200, 'is changed to one that does';
    note sprintf '%d reloads in %.1f s', $rounds + 1, now() - $began;

    streams_whole(@streams);
    lost_nothing($load->finish, "$rounds reloads");
};

sub all_serve {
    my @workers = workers();
    return @workers == grep { $_->{state} eq 'serving' && $_->{connections} > 0 } @workers;
}

# Kills the worker that carries most; returns how many connections it had.
sub kill_busiest {
    my ($victim) = sort { $b->{connections} <=> $a->{connections} } workers();

    $daemon->kill_hard($victim->{pid});
    ok wait_for(sub {
        my ($next) = (workers())[$victim->{worker}];
        return $next && $next->{pid} != $victim->{pid} && $next->{attends};
    }, 5), 'it is replaced, and accepts';
    return $victim->{connections};
}

subtest 'a killed worker loses its own requests only' => sub {
    my $rounds = $long ? 20 : 4;
    my $load = load(120);
    my (%lost, @results);

    for my $round (1 .. $rounds) {
        # What was on a killed worker has gone to the other.  These go to its replacement, or are
        # spread over both: then it can happen that all go to one.
        my @beside;

        ok wait_for(sub {
            push @beside, $mesh->load(to => 'reviews',
                options => ['-c', 4, '-t', 2, '-r', 200, '-d', 120, '--reconnect']);
            return wait_for(\&all_serve, 0.5);
        }, 10), 'both workers carry connections';

        $lost{carried} += kill_busiest();
        ok wait_for(sub { sum(map { $_->{tunnels} } workers()) >= 32 + 8 * @beside }, 10),
            'all tunnels are open again';
        push @results, map { $_->finish } @beside;
    }

    my $result = $load->finish;
    my $lost = $result->{lost};

    push @results, $result;

    for my $one (@results) {
        $lost{$_} += $one->{lost}{$_} for qw(conns requests tunnels back);
        $lost{failed} += failed($one);
        $lost{unanswered} += $one->{requests} - $one->{ok} - $one->{lost}{requests};
    }

    is $lost{failed}, 0, 'no request failed that was not in flight on a killed worker, and '
        . 'no connect';
    is $lost{unanswered}, 0, 'all others were answered well';
    is $lost{tunnels}, 0, 'no tunnel of another worker was closed';
    cmp_ok $lost{conns}, '>', 0, 'connections of the killed were closed';
    cmp_ok $lost{conns}, '<=', $lost{carried}, 'none of others';
    cmp_ok $lost{requests}, '<=', 4 * $lost{conns}, 'and no more requests than they had tunnels';
    is $lost{back}, $lost{conns}, 'every lost connection was opened again';
    cmp_ok $lost->{back_ms_max}, '<', $long ? 100 : 2000, 'and soon';
    note sprintf '%d workers killed: %d requests, %.0f a second; %d connections and %d requests '
        . 'lost; the next connect and tunnel took %.1f ms, at most %.1f ms', $rounds,
        @{$result}{qw(requests rps)}, @lost{qw(conns requests)}, @{$lost}{qw(back_ms_mean back_ms_max)};
};

subtest 'a killed master fails no request, and a reload works again' => sub {
    my $rounds = $long ? 20 : 4;
    my @streams = streams($long ? 20 : 3);
    my $load = load(120);
    my $longest = 0;

    for my $round (1 .. $rounds) {
        my $began = now();

        $daemon->kill_hard($daemon->master_pid);
        $mesh->daemon->write_resources({
            '50-test.yaml' => resources($round, admitted => 'probe')
        });
        $daemon->signal('HUP');

        my $to = 'reviews-v' . ($round % 2 ? 2 : 1);

        ok wait_for(sub { where_to() eq $to }, 10), "a reload sends requests to $to";
        $longest = now() - $began if now() - $began > $longest;
        ok wait_for(sub { $daemon->ready }, 5), 'the next master is ready';
        carry(0.3 * $rate);
    }

    cmp_ok $longest, '<', $long ? 1 : 5, 'soon after the kill';
    note sprintf '%d masters killed: a reload has worked again within %.0f ms', $rounds,
        $longest * 1000;
    streams_whole(@streams);
    lost_nothing($load->finish, "$rounds masters killed");
};

subtest 'a worker that starts while the master is stuck is not given connections' => sub {
    my $master = $daemon->master_pid;
    my ($victim) = $daemon->worker_pids;

    $daemon->signal('STOP', $master);
    $daemon->kill_hard($victim);
    ok wait_for(sub { $daemon->worker_pids == 2 }, 5), 'a killed worker is started again';

    # It has tables, from the guard, but no identity.  The guard looks every 250 ms whom to give
    # sockets to: these connects go on past that.
    my $began = now();
    my %answers;

    while (now() - $began < 0.8) {
        $answers{ eval { $mesh->request('as sleep to reviews GET /')->status } // 'none' }++;
    }
    is_deeply [keys %answers], [200], 'every connect is served by the other';

    $daemon->signal('CONT', $master);
    ok wait_for(sub { 2 == grep { $_->{state} eq 'serving' } workers() }, 5),
        'it serves when the master goes on';
};

$daemon->forgive;
$mesh->stop;
done_testing;
