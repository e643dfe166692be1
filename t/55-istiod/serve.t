#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A waypoint that has its configuration and its certificate from a control plane, as istiod gives
# them: it asks in Envoy's order, serves what was recorded, and follows what changes without closing
# anything.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::ControlPlane ();

my $reviews = '10.96.1.4:9080';
my $details = '10.96.1.2:9080';
my ($v1, $v2) = map { "inbound-vip|9080|http/$_|reviews.default.svc.cluster.local" } qw(v1 v2);
my $lds = 'type.googleapis.com/envoy.config.listener.v3.Listener';
my ($mesh, $plane);

sub start {
    my (%option) = @_;
    my $behave = delete $option{behave};

    $mesh = Test::Cairn->start(
        upstreams => {
            'reviews-v1' => { identity => 'default/bookinfo-reviews' },
            'reviews-v2' => { identity => 'default/bookinfo-reviews' },
            'details-v1' => { identity => 'default/bookinfo-details' },
            'details-v2' => { identity => 'default/bookinfo-details' },
            sleep => { client => 1 },
        },
        bootstrap => sub {
            my ($self) = @_;
            my %pod = ('10.244.1.13' => 'reviews-v1', '10.244.2.14' => 'reviews-v2',
                '10.244.1.11' => 'details-v1');

            $plane = Test::Cairn::ControlPlane->start(
                recording => '02-vs-split', root => 'mesh',
                addresses => { map { $_ => $self->pod($pod{$_})->ip } keys %pod },
            );
            $plane->behave(%{$behave}) if $behave;
            return $plane->bootstrap(%option);
        },
    );
    return;
}

sub stop {
    $mesh->stop;
    $plane->stop;
    return;
}

sub get {
    my ($to, $http) = @_;

    return $mesh->request("as sleep to $to GET /", $http);
}

# How many of so many requests each pod answered, on one tunnel.
sub answered {
    my ($to, $count) = @_;
    my $http = $mesh->tunnel(as => 'sleep', to => $to)->http;
    my %pods;

    $mesh->forget;
    is scalar(grep { get($to, $http)->status != 200 } 1 .. $count), 0, "$count requests are answered";
    $pods{ $_->{pod} }++ for $mesh->seen;
    return \%pods;
}

for my $kind ('delta', 'state of the world') {
    subtest "$kind: what was recorded is asked for in Envoy's order, and served" => sub {
        start(source => { delta => $kind eq 'delta' ? 'yes' : 'no' });

        my @asked = map { $_->{type} =~ s/.*\.//r } $plane->records(kind => 'subscribe');
        is_deeply [grep { $_ ne 'Workload' } @asked], [qw(Cluster ClusterLoadAssignment Listener)],
            'clusters, their endpoints, listeners';
        my ($first, @later) = $plane->records(kind => 'subscribe');
        like $first->{node}{id}, qr/^waypoint~10\.244\.1\.50~/, 'the first request says who asks';
        is $first->{node}{metadata}{ISTIO_VERSION}, '1.31.0', 'and of what version it takes it to be';
        ok !(grep { $_->{node} } @later), 'and only the first';
        is $plane->wait_settled(['cds', 'eds', 'lds'])->{verdict}, 'ack', 'all is accepted';
        my ($csr) = $plane->records(kind => 'csr');
        is $csr->{identity}, 'default/waypoint', 'the token says who wants a certificate';
        is_deeply $csr->{asked}{uris}, ['spiffe://cluster.local/ns/default/sa/waypoint'],
            'and the request the same';

        is get($details)->status, 200, 'a service answers';
        is(($mesh->seen)[0]{peer}, spiffe_id('default/waypoint'), 'its pod sees the certificate');
        my $pods = answered($reviews, 200);
        my ($least, $most) = binomial_bounds(200, 0.9);
        my $count = $pods->{'reviews-v1'};
        ok $count >= $least && $count <= $most, "v1 gets its share: $count of 200";

        stop();
    };
}

subtest 'workloads are waited for, but not for ever' => sub {
    start(behave => { hold => ['workload'] });
    is get($details)->status, 200, 'a service answers without any';
    is scalar(grep { $_->{type} =~ /Workload$/ } $plane->records(kind => 'response')), 0, 'there are none';
    $plane->behave(hold => undef);
    is $plane->wait_settled(['workload'])->{verdict}, 'ack', 'late ones are taken';
    is get($details)->status, 200, 'and the service answers on';
    stop();
};

subtest 'a push is for the next request, and closes nothing' => sub {
    start();
    my $open = $mesh->tunnel(as => 'sleep', to => $reviews)->http;
    is get($reviews, $open)->status, 200, 'a tunnel is in use';

    $plane->set_weights(weights => { $v1 => 0, $v2 => 100 });
    is $plane->wait_settled(['cds', 'lds'])->{verdict}, 'ack', 'other weights are accepted';
    is_deeply answered($reviews, 20), { 'reviews-v2' => 20 }, 'and are in force with the answer';

    my $other = $mesh->pod('details-v2')->ip;
    $plane->set_endpoints(cluster => 'inbound-vip|9080|http|details.default.svc.cluster.local',
        endpoints => [{ address => "$other:9080", hbone => 1 }]);
    is $plane->wait_settled(['eds'])->{verdict}, 'ack', 'so is another endpoint';
    is_deeply answered($details, 5), { 'details-v2' => 5 }, 'which answers';

    is get($reviews, $open)->status, 200, 'the tunnel lives on';
    my $before = $mesh->daemon->http_get('ADMIN', '/status.json')->body;
    my ($generation) = $before =~ /"generation": (\d+)/;
    $plane->push(qw(cds eds lds));
    is $plane->wait_settled(['cds', 'eds', 'lds'])->{verdict}, 'ack', 'a push without a change';
    like $mesh->daemon->http_get('ADMIN', '/status.json')->body, qr/"generation": $generation\b/,
        'publishes nothing';
    stop();
};

subtest 'what cannot be used is refused by name, the rest goes live' => sub {
    start();
    $plane->set_weights(weights => { $v1 => 0, $v2 => 100 }, push => 0);
    $plane->put(type => 'cds', name => 'inbound-vip|9080|http|broken.default.svc.cluster.local',
        hex => '0a3a696e626f756e642d7669707c393038307c687474707c62726f6b656e2e64656661756c742e7376632e636c75737465722e6c6f63616c1807',
        push => 0);
    $plane->push(qw(cds lds));
    my $nack = $plane->wait_record(kind => 'nack');
    like $nack->{error}{message}, qr/inbound-vip\|9080\|http\|broken/, 'the cluster is named';
    is_deeply answered($reviews, 20), { 'reviews-v2' => 20 }, 'the weights of the same push are in force';
    stop();
};

subtest 'without istiod everything goes on, and it is found again' => sub {
    start();
    $plane->listen(mode => 'refuse');
    $plane->drop(how => 'rst');
    ok wait_for(sub { grep { /xds: stream ended/ } $mesh->daemon->log_lines('error') }, 10), 'it is away';
    is get($details)->status, 200, 'requests are answered';

    my $pid = $mesh->daemon->master_pid;
    $mesh->daemon->kill_hard($pid);
    ok wait_for(sub { ($mesh->daemon->master_pid // $pid) != $pid }, 10), 'another master is there';
    is get($details)->status, 200, 'requests are answered still';

    $plane->listen(mode => 'pass');
    $plane->set_weights(weights => { $v1 => 0, $v2 => 100 });
    is $plane->wait_settled(['cds', 'eds', 'lds'], seconds => 40)->{verdict}, 'ack', 'it is back';
    is_deeply answered($reviews, 20), { 'reviews-v2' => 20 }, 'and what it says is in force';
    stop();
};

done_testing;
