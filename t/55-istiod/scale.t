#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# 5,000 services from a control plane: how long until they serve, how long until one endpoint that
# moved is in every worker, and what it costs to hold them.  The bounds here are loose, for machines
# that do other things too; the figures are told.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::ControlPlane ();
use Test::Cairn::Util qw(slurp);

my $services = 5000;
my $rounds = $ENV{LONG} ? 150 : 20;
my $asan = ($ENV{TEST_CAIRN_BUILDDIR} // '') =~ /asan/;
my $slow = $asan ? 10 : 1;              # so much longer may it take, and so much more
my $most = 150 * $slow;                 # MB of the master
my $moved = 'inbound-vip|9080|http|s004321.default.svc.cluster.local';
my $address = '10.97.16.225:9080';      # 10.97.0.1 + 4320
my $plane;

my $mesh = Test::Cairn->new(
    upstreams => {
        'details-v1' => { identity => 'default/bookinfo-details' },
        'details-v2' => { identity => 'default/bookinfo-details' },
        sleep => { client => 1 },
    },
    bootstrap => sub {
        my ($self) = @_;

        $plane = Test::Cairn::ControlPlane->start(recording => '01-plain', root => 'mesh',
            addresses => { '10.244.1.11' => $self->pod('details-v1')->ip });
        return $plane->bootstrap;
    },
);
my $daemon = $mesh->daemon;

# { PID => { Rss, Pss, private } } in MB.
sub memory {
    my %of;

    for my $pid (@_) {
        my $text = slurp("/proc/$pid/smaps_rollup");
        my %kib;

        $kib{$1} += $2 while $text =~ /^(\w+): +(\d+) kB/mg;
        $of{$pid} = { map { $_ => $kib{$_} / 1000 } qw(Rss Pss) };
        $of{$pid}{private} = ($kib{Private_Clean} + $kib{Private_Dirty}) / 1000;
    }
    return \%of;
}

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return $sorted[@sorted / 2];
}

# From the response that says it to the answer, which is given when every worker has it.
sub milliseconds {
    my ($type) = @_;
    my ($response) = $plane->records(kind => 'response', type => $type);
    my $answer = $plane->wait_record(kind => 'ack', type => $type, seconds => 20);

    return 1000 * ($answer->{time} - $response->{time});
}

sub move {
    my ($pod) = @_;

    $plane->mark;
    $plane->set_endpoints(cluster => $moved,
        endpoints => [{ address => $mesh->pod($pod)->ip . ':9080', hbone => 1 }]);
    is $plane->wait_settled(['eds'], seconds => 20)->{verdict}, 'ack', "it moved to $pod";
    return milliseconds('eds');
}

sub generation {
    my ($generation) = $daemon->http_get('ADMIN', '/status.json')->body =~ /"generation": (\d+)/;
    return $generation;
}

$mesh->mesh->start;
$daemon->start(seconds => 60) or die join '; ', $daemon->problems;
is $plane->wait_settled([qw(cds eds lds)])->{verdict}, 'ack', 'what was recorded serves';

my @workers = $daemon->worker_pids;
my $before = memory(@workers);

subtest "$services services at once" => sub {
    $plane->mark;
    $plane->multiply(host => 'details.default.svc.cluster.local', count => $services,
        address => '10.97.0.1');
    is $plane->wait_settled([qw(cds eds lds)], seconds => 60)->{verdict}, 'ack', 'are accepted';
    my ($first) = $plane->records(kind => 'response');
    my $last = ($plane->records(kind => 'ack'))[-1];
    my $took = $last->{time} - $first->{time};

    is $mesh->request("as sleep to $address GET /")->status, 200, 'and served';
    note sprintf 'they serve %.2f s after the first response', $took;
    cmp_ok $took, '<', 2 * $slow, 'within 2 s';
};

subtest 'memory' => sub {
    my $master = $daemon->master_pid;
    my $after = memory($master, @workers);

    note sprintf 'master: %.0f MB resident, %.0f MB of its share', @{ $after->{$master} }{qw(Rss Pss)};
    cmp_ok $after->{$master}{Pss}, '<', $most, "the master holds less than $most MB";

    for my $pid (@workers) {
        my $more = $after->{$pid}{private} - $before->{$pid}{private};

        note sprintf 'a worker: %.1f MB more of its own', $more;
        cmp_ok $more, '<', 20 * $slow, 'a worker not much more of its own';
    }
};

subtest 'one endpoint moves' => sub {
    my (@took, $generation);

    $generation = generation();

    for my $round (1 .. $rounds) {
        my $pod = $round % 2 ? 'details-v2' : 'details-v1';

        push @took, move($pod);
        next if $round > 2;
        $mesh->forget;
        is $mesh->request("as sleep to $address GET /")->status, 200, 'it answers';
        is(($mesh->seen)[0]{pod}, $pod, 'from there');
    }

    note sprintf 'every worker has it after %.1f ms in the middle of %d, %.1f to %.1f', median(@took),
        $rounds, (sort { $a <=> $b } @took)[0, -1];
    cmp_ok median(@took), '<', 500 * $slow, 'soon';
    cmp_ok generation(), '>=', $generation + $rounds, 'a generation for each';
};

subtest 'a chain, a cluster, nothing' => sub {
    my %change = (
        lds => sub {
            $plane->edit(type => 'lds', name => 'main_internal',
                path => ['3:0', '3:0', 4, 2, '5:0', 1], set => 'another name');
        },
        cds => sub { $plane->edit(type => 'cds', name => $moved, path => ['4', 1], set => 7) },
    );

    for my $type (sort keys %change) {
        $plane->mark;
        $change{$type}->();
        is $plane->wait_settled([$type], seconds => 30)->{verdict}, 'ack', "$type: a change";
        my $took = milliseconds($type);
        note sprintf '%s: in force after %.0f ms', $type, $took;
        cmp_ok $took, '<', 2000 * $slow, 'within 2 s';
    }

    $plane->mark;
    $plane->push(qw(cds eds lds));
    is $plane->wait_settled([qw(cds eds lds)], seconds => 30)->{verdict}, 'ack', 'nothing new';
    is $mesh->request("as sleep to $address GET /")->status, 200, 'and they serve';
};

subtest 'memory stays where it is' => sub {
    my $master = $daemon->master_pid;
    my ($peak) = slurp("/proc/$master/status") =~ /^VmHWM:\s+(\d+)/m;
    my $after;

    # what was needed for a while is given back within seconds
    wait_for(sub {
        $after = memory($master)->{$master};
        return $after->{Pss} < $most;
    }, 5);
    note sprintf 'master: %.0f MB resident, %.0f MB of its share; %.0f MB at most', @{$after}{qw(Rss Pss)},
        $peak / 1000;
    cmp_ok $after->{Pss}, '<', $most, 'after all that';
};

subtest 'a cluster goes' => sub {
    $plane->remove(type => 'cds', name => $moved, push => 0);
    $plane->remove(type => 'eds', name => $moved, push => 0);
    $plane->push(qw(cds eds lds));
    is $plane->wait_settled([qw(cds lds)], seconds => 30)->{verdict}, 'ack', 'without it';
    isnt $mesh->request("as sleep to $address GET /")->status, 200, 'its service cannot answer';
};

$mesh->stop;
$plane->stop;
done_testing;
