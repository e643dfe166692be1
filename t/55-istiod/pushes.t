#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Pushes under load fail no request and close nothing, whatever they change; and of a thousand
# resources in a push one that cannot be used is left out alone.  LONG=1: 200 pushes in 60 s at
# 1,000 requests a second.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::ControlPlane ();

use JSON::PP ();

my $long = $ENV{LONG};
my $pushes = $long ? 200 : 20;
my $seconds = $long ? 60 : 6;
my $rate = $long ? 1000 : 500;
my $many = 1000;

my $reviews = '10.96.1.4:9080';
my $details = '10.96.1.2:9080';
my $rest = 'reviews.default.svc.cluster.local';
my ($v1, $v2) = map { "inbound-vip|9080|http/$_|$rest" } qw(v1 v2);
my $google = 'type.googleapis.com/';
my ($mesh, $plane);

sub start {
    my ($pods, $prepare) = @_;
    my $recording = '02-vs-split';

    $mesh = Test::Cairn->start(
        upstreams => $pods,
        bootstrap => sub {
            my ($self) = @_;
            my %pod = ('10.244.1.13' => 'reviews-v1', '10.244.2.14' => 'reviews-v2',
                '10.244.1.11' => 'details-v1');

            $plane = Test::Cairn::ControlPlane->start(
                recording => $recording, root => 'mesh',
                addresses => { map { $_ => $self->pod($pod{$_})->ip } keys %pod },
            );
            $prepare->() if $prepare;
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

sub get { return $mesh->request("as sleep to $_[0] GET /")->status }

sub load {
    my (@options) = @_;

    return $mesh->load(to => $reviews, options => \@options);
}

sub lost_nothing {
    my ($result, $what) = @_;
    my $failed = 0;

    $failed += $_ for values %{ $result->{errors} };
    is $failed, 0, "$what: no request failed";
    is $result->{ok}, $result->{requests}, 'every one was answered well';
    is $result->{lost}{conns}, 0, 'no connection was closed';
    is $result->{lost}{tunnels}, 0, 'no tunnel was closed';
    return;
}

# What the pushes change by turns; each returns the types that it pushes.
sub pod_address { return $mesh->pod($_[0])->ip . ':9080' }

sub change_weights {
    my ($round) = @_;
    my $share = 10 + $round * 7 % 80;

    $plane->set_weights(weights => { $v1 => $share, $v2 => 100 - $share });
    return qw(cds lds);
}

# Who has the load gets another weight, and a second address that is one of ours too.
sub change_endpoints {
    my ($round) = @_;

    $plane->set_endpoints(cluster => $v1, endpoints => [
        { address => pod_address('reviews-v1'), weight => 1 + $round % 5 },
        $round % 2 ? { address => pod_address('reviews-v2'), weight => 1 } : (),
    ]);
    return qw(eds);
}

# The fault filter of reviews' chain is a policy that admits all, or a fault filter again.
sub change_policy {
    my ($round) = @_;
    my @any = ('18', '01');             # any: true
    my $policy = join '', '0a02', @any, '1202', @any;
    my $entry = join '', '0a02', unpack('H*', sprintf '%02d', $round % 100), '1208', $policy;
    my ($type, $config) = $round % 2 ? ('rbac.v3.RBAC', "0a10120e$entry") : ('fault.v3.HTTPFault', '');
    my @filter = ('3:4', '3:0', 4, 2, '5:1', 4);

    $plane->edit(type => 'lds', name => 'main_internal', push => 0, path => [@filter, 1],
        set => "${google}envoy.extensions.filters.http.$type");
    $plane->edit(type => 'lds', name => 'main_internal', path => [@filter, 2], set => $config,
        hex => 1);
    return qw(lds);
}

# A cluster more, or nothing new.
sub change_services {
    my ($round) = @_;
    my @name = (type => 'cds', name => "inbound-vip|9080|http|more-$round.$rest");

    if ($round % 2) {
        $plane->copy(type => 'cds', name => $v2, to => $name[3]);
    } else {
        $plane->push(qw(cds eds lds));          # a push that changes nothing
    }
    return qw(cds eds);
}

my %NATIVE = map { $_ => { native => 'yes', identity => 'default/bookinfo-reviews' } }
    qw(reviews-v1 reviews-v2);

subtest "$pushes pushes in $seconds s under $rate requests a second" => sub {
    start({
        %NATIVE,
        'details-v1' => { identity => 'default/bookinfo-details' },
        sleep => { client => 1 },
    });

    my @changes = (\&change_weights, \&change_endpoints, \&change_policy, \&change_services);
    my $ticks = 50 * $seconds;
    my @common = ('-c', 2, '-t', 2, '-n', 4, '--reconnect');
    my @streams = (
        load(@common, '-p', "/tick/20/$ticks", '--expect-size', 64 * $ticks),
        load(@common, '-p', '/up', '-b', 256 * $ticks, '--body-tick', 20),
    );
    my $load = load('-c', 8, '-t', 4, '-r', $rate, '-d', 120, '--reconnect');
    my $began = now();
    my (@took, %verdicts);

    for my $round (0 .. $pushes - 1) {
        my $pushed = now();
        my @types = $changes[$round % @changes]->($round >> 2);

        $verdicts{ $plane->wait_settled(\@types)->{verdict} // 'none' }++;
        push @took, now() - $pushed;
        # the rest of its share of the time
        my $left = ($round + 1) * $seconds / $pushes - (now() - $began);
        select undef, undef, undef, $left if $left > 0;
    }

    is_deeply \%verdicts, { ack => $pushes }, 'each push is accepted';
    note sprintf '%d pushes in %.1f s, answered after %.1f ms at most', $pushes, now() - $began,
        1000 * (sort { $b <=> $a } @took)[0];

    for my $result (map { $_->result(90) } @streams) {
        is $result->{ok}, 4, 'long-lived streams came whole';
        is $result->{lost}{conns}, 0, 'on the connections that they began on';
    }

    my $result = $load->finish;
    lost_nothing($result, 'pushes');
    cmp_ok $result->{rps}, '>', 0.95 * $rate, 'at the full rate' if $long;
    note sprintf '%d requests, latency p99 %.1f ms, max %.1f ms', $result->{requests},
        map { $_ / 1000 } @{ $result->{latency_us} }{qw(p99 max)};

    my $status = JSON::PP->new->decode($mesh->daemon->http_get('ADMIN', '/status.json')->body);
    my $published = $status->{generation};
    note sprintf 'longest turn of a worker: %.1f ms', (sort { $b <=> $a }
        map { $_->{longest_turn_us} / 1000 } @{ $status->{workers} })[0];
    cmp_ok $published, '>=', $pushes / 2, "they made $published generations";
    is scalar(grep { /\[error\]/ } $mesh->daemon->log_lines('error')), 0, 'without an error';
    stop();
};

my @HTTP = (
    'reviews-v1' => { identity => 'default/bookinfo-reviews' },
    'reviews-v2' => { identity => 'default/bookinfo-reviews' },
    'details-v1' => { identity => 'default/bookinfo-details' },
    sleep => { client => 1 },
);

sub number_of { return sprintf 's%06d', $_[0] }

# Address 10.97.0.1 and on, in the order of their numbers.
sub address_of { return sprintf '10.97.%d.%d:9080', $_[0] / 256, $_[0] % 256 }

subtest "one bad cluster among $many" => sub {
    start({@HTTP}, sub {
        $plane->multiply(host => 'details.default.svc.cluster.local', count => $many,
            address => '10.97.0.1');
    });
    is $plane->wait_settled([qw(cds eds lds)], seconds => 30)->{verdict}, 'ack', 'all are accepted';
    is get(address_of($_)), 200, "the service of number $_ answers" for 1, 500, $many;

    my $bad = 'inbound-vip|9080|http|' . number_of(500) . '.default.svc.cluster.local';
    $plane->mark;
    # an unknown field in one; other endpoints for its neighbour, in the same push
    $plane->edit(type => 'cds', name => $bad, path => [9999], append => 1, push => 0);
    $plane->set_endpoints(cluster => $bad =~ s/s000500/s000501/r, push => 0,
        endpoints => [{ address => pod_address('reviews-v2'), hbone => 1 }]);
    $plane->push(qw(cds eds lds));

    my $nack = $plane->wait_record(kind => 'nack', seconds => 30);
    my $message = $nack->{error}{message};
    is $nack->{type}, "${google}envoy.config.cluster.v3.Cluster", 'clusters are refused';
    like $message, qr/\Q$bad\E/, 'by the name of the bad one';
    is scalar(() = $message =~ /Cluster inbound-vip/g), 1, 'and of no other';
    is $plane->wait_settled([qw(eds lds)], seconds => 30)->{verdict}, 'ack', 'the rest is accepted';
    is get(address_of(500)), 200, 'its last good version serves';

    $mesh->forget;
    is get(address_of(501)), 200, 'its neighbour';
    is(($mesh->seen)[0]{pod}, 'reviews-v2', 'has the endpoints of that push');
    stop();
};

subtest "one bad chain among $many that are new" => sub {
    my $bad = 'inbound-vip|9080|http|' . number_of(500) . '.default.svc.cluster.local';

    start({@HTTP}, sub {
        $plane->multiply(host => 'details.default.svc.cluster.local', count => $many,
            address => '10.97.0.1', push => 0);
        # those that were recorded come first
        my $at = chain_number($bad);
        $plane->edit(type => 'lds', name => 'main_internal', path => ["3:$at", 99], append => 1,
            push => 0);
    });

    my $nack = $plane->wait_record(kind => 'nack', seconds => 30);
    is $nack->{type}, "${google}envoy.config.listener.v3.Listener", 'listeners are refused';
    like $nack->{error}{message}, qr/FilterChain \Q$bad\E/, 'by the name of the bad chain';
    is scalar(() = $nack->{error}{message} =~ /FilterChain inbound/g), 1, 'and of no other';
    isnt get(address_of(500)), 200, 'it is closed';
    is get(address_of($_)), 200, "number $_ answers" for 1, 499, 501, $many;
    is get($details), 200, 'and so does what was recorded';
    stop();
};

# The position of a chain in main_internal.
sub chain_number {
    my ($name) = @_;
    my $octets = pack 'H*', $plane->get(type => 'lds', name => 'main_internal')->{hex};
    my ($at, $number) = (0, 0);
    my $varint = sub {
        my ($value, $shift) = (0, 0);
        while (1) {
            my $octet = ord substr $octets, $at++, 1;
            $value |= ($octet & 0x7f) << $shift;
            return $value if $octet < 0x80;
            $shift += 7;
        }
    };

    while ($at < length $octets) {
        my $tag = $varint->();
        die "wire type of $tag" if ($tag & 7) != 0 && ($tag & 7) != 2;
        my $value = $varint->();
        next if ($tag & 7) == 0;
        my $field = substr $octets, $at, $value;
        $at += $value;
        next if $tag >> 3 != 3;
        return $number if $field =~ /\x3a.\Q$name\E\z/s;
        $number++;
    }
    die "no chain $name";
}

done_testing;
