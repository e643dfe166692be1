#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Of which trust domains a peer may be is what istiod says at the moment: for who comes and for whom
# the waypoint goes to.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::ControlPlane ();

my $details = '10.96.1.2:9080';
my $cluster = 'inbound-vip|9080|http|details.default.svc.cluster.local';

# of connect_terminate: chain, transport socket, its TLS context, the validation's names
my @names = (3, 6, 3, 2, 1, 8, 1, 15);
my %peer = map { $_ => "spiffe://$_/ns/default/sa/sleep" } qw(cluster.local td2 td3);
my $plane;

my $mesh = Test::Cairn->start(
    upstreams => {
        'details-v1' => { identity => 'default/bookinfo-details' },
        'details-v2' => { identity => 'spiffe://td2/ns/default/sa/bookinfo-details' },
        sleep => { client => 1 },
    },
    bootstrap => sub {
        my ($self) = @_;

        $plane = Test::Cairn::ControlPlane->start(recording => '01-plain', root => 'mesh',
            addresses => { '10.244.1.11' => $self->pod('details-v1')->ip });
        my $bootstrap = $plane->bootstrap;
        $bootstrap->{identity}{trust_domain_aliases} = ['td3'];
        return $bootstrap;
    },
);

# Field 15 whose matcher is a URI's prefix.
sub matcher {
    my ($prefix) = @_;
    my $string = pack 'C C/a*', 0x12, $prefix;

    return unpack 'H*', pack 'C C C C/a*', 0x08, 3, 0x12, $string;
}

sub edit { $plane->edit(type => 'lds', name => 'connect_terminate', path => \@names, @_); return }

sub verdict { return $plane->wait_settled(['lds'])->{verdict} }

sub comes { return $mesh->hbone(as => $peer{ $_[0] }) ? 1 : 0 }

# Whether one who comes gets to the pods.
sub status {
    return $mesh->request("as sleep to $details GET /")->status;
}

# Who comes, each asked several times, as each worker is told for itself.
sub who_comes {
    return join ' ', grep { my $domain = $_; 5 == grep { comes($domain) } 1 .. 5 } sort keys %peer;
}

sub soon {
    my ($expected, $what) = @_;

    ok wait_for(sub { who_comes() eq $expected }, 10), $what or diag 'comes: ' . who_comes();
    return;
}

sub serve_from {
    my ($pod) = @_;

    $plane->set_endpoints(cluster => $cluster,
        endpoints => [{ address => $mesh->pod($pod)->ip . ':9080', hbone => 1 }]);
    is $plane->wait_settled(['eds'])->{verdict}, 'ack', "$pod serves";
    return;
}

subtest 'a peer comes whose domain istiod names' => sub {
    is who_comes(), 'cluster.local', 'and no other, whatever the bootstrap file says';
    ok !$mesh->hbone(as => $peer{td2}), 'one of another is refused';
    like $@, qr/alert|closed|handshake/i, 'in the handshake';

    serve_from('details-v2');
    is status(), 503, 'nor is a pod of another gone to';
    is scalar(my @seen = $mesh->seen), 0, 'which sees no request';
};

subtest 'an alias is added, and taken away, while connections live' => sub {
    my $old = $mesh->hbone(as => $peer{'cluster.local'});

    edit(append => matcher('spiffe://td2/'), hex => 1);
    is verdict(), 'ack', 'an alias';
    soon('cluster.local td2', 'its peers come');
    is status(), 200, 'and its pods are gone to';
    is(($mesh->seen)[-1]{pod}, 'details-v2', 'these');

    my $tunnel = $old->tunnel($details)->http;
    is $tunnel->request(GET => '/', headers => [['host', 'test']])->status, 200,
        'the connection of before lives on';

    edit(delete => 1);
    edit(append => matcher('spiffe://td2/'), hex => 1);
    is verdict(), 'ack', 'our own domain is no more';
    soon('td2', 'who is of it comes no more');
    is $tunnel->request(GET => '/', headers => [['host', 'test']])->status, 200,
        'who had come before stays';
    edit(append => matcher('spiffe://cluster.local/'), hex => 1);
    is verdict(), 'ack', 'it is again';
    soon('cluster.local td2', 'it comes again');
};

subtest 'what is not understood is refused, and changes nothing' => sub {
    for my $wrong ('spiffe://', 'spiffe://td3', 'spiffe://td3/ns/default/') {
        edit(append => matcher($wrong), hex => 1);
        is verdict(), 'nack', "the prefix $wrong";
        is who_comes(), 'cluster.local td2', 'lets nobody in besides';
        $plane->load(recording => '01-plain', only => ['lds']);
        is verdict(), 'ack', 'what was recorded again';
        edit(append => matcher('spiffe://td2/'), hex => 1);
        is verdict(), 'ack', 'with the alias';
        soon('cluster.local td2', 'they come');
    }
};

subtest 'they are those of a next master and a next worker too' => sub {
    my $pid = $mesh->daemon->master_pid;

    $mesh->daemon->kill_hard($pid);
    ok wait_for(sub { ($mesh->daemon->master_pid // $pid) != $pid }, 10), 'another master is there';
    is who_comes(), 'cluster.local td2', 'while it starts they are as before';

    for my $worker ($mesh->daemon->worker_pids) {
        $mesh->daemon->kill_hard($worker);
    }
    soon('cluster.local td2', 'and with other workers');
};

subtest 'without a domain nobody comes' => sub {
    $plane->remove(type => 'lds', name => 'connect_terminate');
    is verdict(), 'ack', 'the listener is taken away';
    soon('', 'nobody comes');
    ok $mesh->daemon->wait_log('error', qr/trust domains: count=0/), 'which is logged';
    $plane->load(recording => '01-plain', only => ['lds']);
    is verdict(), 'ack', 'it is there again';
    soon('cluster.local', 'and who may comes');
};

$mesh->stop;
$plane->stop;
done_testing;
