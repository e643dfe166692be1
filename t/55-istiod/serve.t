#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A waypoint that has its configuration and its certificate from a control plane, as istiod gives
# them: it asks in Envoy's order, serves what was recorded, and follows what changes.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::ControlPlane ();

my $reviews = '10.96.1.4:9080';
my $details = '10.96.1.2:9080';
my ($v1, $v2) = map { "inbound-vip|9080|http/$_|reviews.default.svc.cluster.local" } qw(v1 v2);
my @types = qw(cds eds lds);
my ($mesh, $plane);

sub start {
    my (%option) = @_;
    my $recording = delete $option{recording} // '02-vs-split';

    $mesh = Test::Cairn->start(
        upstreams => { 'reviews-v1' => {}, 'reviews-v2' => {}, 'details-v1' => {},
            sleep => { client => 1 } },
        bootstrap => sub {
            my ($self) = @_;

            $plane = Test::Cairn::ControlPlane->start(
                recording => $recording, root => 'mesh',
                addresses => {
                    '10.244.1.13' => $self->{mesh}->pod('reviews-v1')->ip,
                    '10.244.2.14' => $self->{mesh}->pod('reviews-v2')->ip,
                    '10.244.1.11' => $self->{mesh}->pod('details-v1')->ip,
                },
            );
            return $plane->bootstrap(%option);
        },
    );
    return;
}

sub get {
    my ($to) = @_;

    return $mesh->request("as sleep to $to GET /");
}

start();
is get($details)->status, 200, 'a service answers';
is $mesh->seen, 1, 'by its pod';
diag explain [map { "$_->{kind} " . ($_->{type} // '') } $plane->records()];
diag $mesh->{daemon}->log_lines('error');
$mesh->stop;
$plane->stop;
done_testing;
