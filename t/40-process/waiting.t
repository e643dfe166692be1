#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Requests that wait while the configuration changes are answered by the configuration that they came
# under, and the tables that they keep stay small.  LONG=1 has 5,000 services and 200 reloads.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

use JSON::PP ();

my $long = $ENV{LONG};
my $services = $long ? 5000 : 100;
my $reloads = $long ? 200 : 40;
my $waiting = $long ? 100 : 20;
my $part = $long ? 50 : 10;        # services in a file, of which each reload writes one
my $limit = 64 * 1024 * 1024;

sub vip { return sprintf '10.97.%d.%d', $_[0] / 200, $_[0] % 200 + 1 }

# A service, its policy and two routes; the answers of the first tell which round it was written in.
sub service {
    my ($index, $round) = @_;

    return sprintf <<'Y', $index, vip($index), ($index) x 5, $round, $index;
---
apiVersion: v1
kind: Service
metadata: {name: many-%d, namespace: default}
spec:
  clusterIP: %s
  ports: [{name: http, port: 80, targetPort: 9080}]
  selector: {app: reviews}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: many-%d, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: many-%d}]
  action: ALLOW
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/sleep]}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: many-%d, namespace: default}
spec:
  parentRefs: [{group: "", kind: Service, name: many-%d, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /hold}}]
    backendRefs: [{name: many-%d, port: 80}]
    filters:
    - type: ResponseHeaderModifier
      responseHeaderModifier: {set: [{name: x-round, value: "%d"}]}
  - backendRefs: [{name: many-%d, port: 80}]
Y
}

sub part {
    my ($number, $round) = @_;

    my $text = join '', map { service($_, $round) } $number * $part .. ($number + 1) * $part - 1;
    return (sprintf('60-part-%03d.yaml', $number), $text);
}

my $mesh = Test::Cairn->new(upstreams => <<'Y', bootstrap => 'access_log: {path: "off"}');
reviews-v1: {native: yes}
sleep: {client: yes}
Y
my $daemon = $mesh->daemon;
my $parts = $services / $part;

$daemon->write_resources({ map { part($_, 0) } 0 .. $parts - 1 });
$mesh->mesh->start;
$daemon->start(seconds => 60) or die join '; ', $daemon->problems;

my $most = 0;
my $most_pinned = 0;

sub look_at_tables {
    my ($bytes, $pinned) = (0, 0);
    my $page = $daemon->http_get('ADMIN', '/status.json') // return;

    for my $worker (@{ JSON::PP->new->decode($page->body)->{workers} }) {
        $bytes += $worker->{table_bytes};
        $pinned += $worker->{pinned_bytes};
    }
    $most = $bytes if $bytes > $most;
    $most_pinned = $pinned if $pinned > $most_pinned;
    return $pinned;
}

look_at_tables();

my $first = $most;
my @held;
my $late = 0;

for my $round (1 .. $reloads) {
    my $number = $round % $parts;
    my $line = $daemon->reload({ part($number, $round) }, seconds => 60);

    $late++ if ($line // '') !~ /reload done/;

    if ($round % ($reloads / $waiting) == 0) {
        my $hbone = $mesh->hbone(as => 'sleep');
        my $tunnel = $hbone->tunnel(vip($number * $part) . ':80');

        $tunnel->http->send(GET => '/hold');
        push @held, { hbone => $hbone, tunnel => $tunnel, round => $round };
    }

    # pings of the waypoint want their answers
    Test::Cairn::HBONE::pump_all(now(), map { $_->{hbone} } @held) if @held;
    look_at_tables();
}

is $late, 0, "$reloads reloads with $waiting requests waiting: each is adopted";
cmp_ok $most_pinned, '>', 0, 'the requests keep tables that are no longer in force';
cmp_ok $most, '<', $limit, 'the tables that both workers have mapped stay under 64 MB';
note sprintf 'tables of %d services: %.1f MB in two workers, %.1f MB at most, of which %.1f MB '
    . 'only waiting requests keep', $services, map { $_ / 1e6 } $first, $most, $most_pinned;

kill USR1 => $mesh->pod('reviews-v1')->pid;

my $right = grep {
    my $response = $_->{tunnel}->http->response(seconds => 20);

    $response->status == 200 && $response->header('x-round') == $_->{round};
} @held;

is $right, $waiting, 'every request is answered, by the configuration that it came under';
ok wait_for(sub { my $pinned = look_at_tables(); return defined $pinned && $pinned == 0 }, 5),
    'then nothing is kept';

$mesh->stop;
done_testing;
