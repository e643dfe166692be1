#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Nothing that restricts is dropped quietly.  A push of which a policy cannot be read, in whichever
# of its parts, leaves the chain as it was, or closed when it was never good; the control plane is
# told which chain and why; other services of the same push are served.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::ControlPlane ();

my $product = '10.96.1.1:9080';         # productpage-viewer: sleep may GET
my $other = '10.96.1.2:9080';           # details: everybody may
my $name = 'inbound-vip\|9080\|http\|productpage\.default';
my $google = 'type.googleapis.com/';
my $manager = ['3:2', '3:0', 4, 2];     # productpage's chain, its HttpConnectionManager
my $rbac = [@{$manager}, '5:0', 4];     # of its filters the first
my ($mesh, $plane);

sub edit {
    my (%option) = @_;

    return $plane->edit(type => 'lds', name => 'main_internal', %option);
}

sub start {
    my ($break) = @_;

    $mesh = Test::Cairn->start(
        upstreams => {
            productpage => { identity => 'default/bookinfo-productpage' },
            details => { identity => 'default/bookinfo-details' },
            sleep => { client => 1 },
            probe => { client => 1 },
        },
        bootstrap => sub {
            my ($self) = @_;

            $plane = Test::Cairn::ControlPlane->start(
                recording => '04a-authz-viewer', root => 'mesh',
                addresses => {
                    '10.244.1.10' => $self->pod('productpage')->ip,
                    '10.244.1.11' => $self->pod('details')->ip,
                },
            );
            edit(%{$break}, push => 0) if $break;
            return $plane->bootstrap;
        },
    );
    return;
}

sub stop {
    $mesh->stop;
    $plane->stop;
    return;
}

sub status {
    my ($as, $to) = @_;

    return $mesh->request("as $as to $to GET /")->status;
}

my @cases = (
    { is => 'a filter of a type that nobody knows', field => 'rbac.v9',
        path => [@{$rbac}, 1], set => "${google}envoy.extensions.filters.http.rbac.v9.RBAC" },
    { is => 'a setting of a filter that nobody knows', field => '99',
        path => [@{$manager}, '5:0', 99], append => 1 },
    { is => 'a field of RBAC that nobody knows', field => '99', path => [@{$rbac}, 2, 99],
        append => 7 },
    { is => 'a field of a policy that nobody knows', field => '99',
        path => [@{$rbac}, 2, 1, 2, 2, 99], append => 7 },
    { is => 'a principal of a kind that nobody knows', field => '99',
        path => [@{$rbac}, 2, 1, 2, 2, 2, 99], append => 7 },
    { is => 'octets that are no RBAC', field => '', path => [@{$rbac}, 2], set => 'ff', hex => 1 },
    { is => 'a filter without a configuration', field => 'http_filters',
        path => [@{$manager}, '5:0', 4], delete => 1 },
    { is => 'a setting of HTTP that nobody knows', field => '999', path => [@{$manager}, 999],
        append => 7 },
    { is => 'a network filter that nobody knows', field => 'no\.such',
        path => ['3:2', '3:0', 4, 1], set => "${google}no.such.Filter" },
    { is => 'a setting of a chain that nobody knows', field => '99', path => ['3:2', 99],
        append => 7 },
);

sub change_of {
    my ($case) = @_;
    return { map { exists $case->{$_} ? ($_ => $case->{$_}) : () } qw(path set append delete hex) };
}

# One daemon for all: what a chain was never stays while it is good in between.
start();
is $plane->wait_settled(['lds'])->{verdict}, 'ack', 'what was recorded is accepted';
is status('sleep', $product), 200, 'who may is let by';
is status('probe', $product), 403, 'who may not is not';
my $good = $plane->get(type => 'lds', name => 'main_internal')->{hex};

for my $case (@cases) {
    subtest "changed: $case->{is}" => sub {
        $plane->mark;
        edit(%{ change_of($case) });
        my $nack = $plane->wait_record(kind => 'nack', type => 'lds');
        ok $nack, 'is refused';
        like $nack->{error}{message}, qr/$name/, 'with the name of the chain';
        like $nack->{error}{message}, qr/$case->{field}/, 'and what is wrong with it';
        is status('sleep', $product), 200, 'its last good version serves';
        is status('probe', $product), 403, 'and restricts';
        is status('sleep', $other), 200, 'another service is as before';
        $plane->put(type => 'lds', name => 'main_internal', hex => $good);
        is $plane->wait_settled(['lds'])->{verdict}, 'ack', 'what is good again is accepted';
    };
}

subtest 'changed: another service of the same push' => sub {
    my @fault = ('3:0', '3:0', 4, 2, '5:1', 4);     # of details

    $plane->mark;
    edit(path => [@{$rbac}, 2, 99], append => 7, push => 0);
    edit(path => [@fault, 1], set => "${google}envoy.extensions.filters.http.rbac.v3.RBAC",
        push => 0);
    edit(path => [@fault, 2], set => '0a00', hex => 1);
    my $nack = $plane->wait_record(kind => 'nack', type => 'lds');
    unlike $nack->{error}{message} // '', qr/details/, 'it is not refused';
    is status('sleep', $other), 403, 'its new policy, which allows nobody, is in force';
    is status('sleep', $product), 200, 'the refused one is as it was';
    is status('probe', $product), 403, 'and restricts';
};
stop();

for my $case (@cases) {
    subtest "new: $case->{is}" => sub {
        start(change_of($case));
        my $nack = $plane->wait_record(kind => 'nack', type => 'lds');
        like $nack->{error}{message}, qr/$name/, 'is refused by the name of the chain';
        isnt status($_, $product), 200, "$_ is not let by" for qw(sleep probe);
        is status('sleep', $other), 200, 'another service is served';
        stop();
    };
}

subtest 'new, and good the next time' => sub {
    start(change_of($cases[0]));
    ok $plane->wait_record(kind => 'nack', type => 'lds'), 'is refused';
    isnt status('sleep', $product), 200, 'and closed';
    edit(path => [@{$rbac}, 1], set => "${google}envoy.extensions.filters.http.rbac.v3.RBAC");
    is $plane->wait_settled(['lds'])->{verdict}, 'ack', 'then it is accepted';
    is status('sleep', $product), 200, 'and open to who may';
    is status('probe', $product), 403, 'to nobody else';
    stop();
};

subtest 'a filter before CONNECT that nobody knows closes what was never good, and keeps what was' => sub {
    my @terminate = (type => 'lds', name => 'connect_terminate');
    my $path = ['3:0', '3:0', 4, 2, '5:0', 4, 1];

    start();
    $plane->mark;
    $plane->edit(@terminate, path => $path, set => "${google}no.such.Filter");
    my $nack = $plane->wait_record(kind => 'nack', type => 'lds');
    like $nack->{error}{message}, qr/connect_terminate/, 'changed: is refused by name';
    is status('sleep', $product), 200, 'all serve on';
    is status('probe', $product), 403, 'and restrict';

    my $pid = $mesh->daemon->master_pid;
    $plane->mark;
    $mesh->daemon->kill_hard($pid);
    ok wait_for(sub { ($mesh->daemon->master_pid // $pid) != $pid }, 10), 'another master';
    $nack = $plane->wait_record(kind => 'nack', type => 'lds', seconds => 20);
    like $nack->{error}{message}, qr/connect_terminate/, 'new: is refused by name';
    ok wait_for(sub { !defined $mesh->hbone(as => 'sleep') }), 'and nobody is let in';
    like $@, qr/handshake/, 'as whom to trust is not known either';
    stop();
};

done_testing;
