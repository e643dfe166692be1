#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A control plane that is broken, overloaded, away or somebody else's.  Whatever it does, what was
# good serves on, a line says what is wrong, it is tried again ever more slowly, the master neither
# spins nor grows, and when the control plane is well again its next push is accepted.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::ControlPlane ();
use Test::Cairn::Util qw(slurp);

use POSIX ();

my $long = $ENV{LONG};
my $asan = ($ENV{TEST_CAIRN_BUILDDIR} // '') =~ /asan/;
my $reviews = '10.96.1.4:9080';
my $rest = 'reviews.default.svc.cluster.local';
my ($v1, $v2) = map { "inbound-vip|9080|http/$_|$rest" } qw(v1 v2);
my $hz = POSIX::sysconf(POSIX::_SC_CLK_TCK());
my ($mesh, $plane, $master);

sub start {
    my (%option) = @_;

    $mesh = Test::Cairn->start(
        upstreams => {
            'reviews-v1' => { identity => 'default/bookinfo-reviews' },
            'reviews-v2' => { identity => 'default/bookinfo-reviews' },
            sleep => { client => 1 },
        },
        bootstrap => sub {
            my ($self) = @_;
            my %pod = ('10.244.1.13' => 'reviews-v1', '10.244.2.14' => 'reviews-v2');

            $plane = Test::Cairn::ControlPlane->start(
                recording => '02-vs-split', root => 'mesh',
                addresses => { map { $_ => $self->pod($pod{$_})->ip } keys %pod },
            );
            return $plane->bootstrap(source => \%option);
        },
    );
    $master = $mesh->daemon->master_pid;
    $plane->wait_settled(['cds', 'eds', 'lds']);
    return;
}

sub stop {
    is $mesh->daemon->master_pid, $master, 'the master is the one of the beginning';
    $mesh->stop;
    $plane->stop;
    return;
}

sub serves {
    my ($what) = @_;

    is $mesh->request("as sleep to $reviews GET /")->status, 200, $what // 'what was good serves';
    return;
}

# Seconds that the master has worked; KiB that it holds, and has held at most.
sub cpu {
    my @fields = split / /, slurp("/proc/$master/stat") =~ s/^.*\) //r;
    return ($fields[11] + $fields[12]) / $hz;
}

sub memory {
    my ($name) = @_;
    my ($kib) = slurp("/proc/$master/status") =~ /^$name:\s+(\d+)/m;
    return $kib;
}

# Lines of the log since the last mark.
my $marked = 0;
sub mark {
    $marked = () = $mesh->daemon->log_lines('error');
    $plane->mark;
    return;
}

sub new_lines {
    my ($pattern) = @_;
    my @lines = $mesh->daemon->log_lines('error');

    return grep { $_ =~ $pattern } @lines[$marked .. $#lines];
}

sub logs {
    my ($pattern) = @_;

    ok wait_for(sub { scalar new_lines($pattern) }, 10), "a line says so: $pattern";
    return;
}

my $share = 10;

# It is well again: other weights are accepted and in force.
sub recovers {
    my (%option) = @_;

    $share = $share % 80 + 7;
    $plane->set_weights(weights => { $v1 => 0, $v2 => 100 });
    is $plane->wait_settled(['cds', 'eds', 'lds'], seconds => 60)->{verdict}, 'ack',
        'well again, its push is accepted';
    $mesh->forget;
    serves('and serves') for 1 .. 3;
    is_deeply [map { $_->{pod} } $mesh->seen], [('reviews-v2') x 3], 'as it says';
    $plane->set_weights(weights => { $v1 => 100, $v2 => 0 });
    is $plane->wait_settled(['cds', 'lds'], seconds => 60)->{verdict}, 'ack', 'and the next one';
    return;
}

# calm(SECONDS, MOST, CONNECTIONS): what is wrong meanwhile costs next to nothing, and is tried again
# MOST times: counted by streams, or by connections.
sub calm {
    my ($seconds, $most, $connections) = @_;
    my $accepted = $plane->connections->{tls}{accepted};
    my $began = cpu();

    serves() for 1 .. 3;
    select undef, undef, undef, $seconds;
    my $used = cpu() - $began;
    my $tried = $connections ? $plane->connections->{tls}{accepted} - $accepted
        : scalar($plane->records(kind => 'open'));

    cmp_ok $used, '<', ($asan ? 0.9 : 0.4) * $seconds, sprintf 'the master works %.2f s of %d s', $used,
        $seconds;
    cmp_ok $tried, '<=', $most, "and tries $tried times";
    return;
}

start();

for my $type (qw(cds eds lds workload)) {
    for my $kind (qw(bytes truncated empty type_url)) {
        subtest "$type: a resource is $kind" => sub {
            mark();
            $plane->behave(garbage => { kind => $kind, type => $type, times => 1, seed => 7 });

            # what is answered by versions is sent only when it has changed
            if ($type eq 'workload') {
                my ($name) = $plane->names(type => $type);
                $plane->edit(type => $type, name => $name, path => [11], set => "c-$kind");
            } else {
                $plane->push($type);
            }

            my $nack = $plane->wait_record(kind => 'nack', type => $type);
            ok $nack, 'it is refused';
            isnt $nack->{error}{message}, '', "with a reason: $nack->{error}{message}";
            is $nack->{error}{code}, 3, 'as an invalid argument';
            logs(qr/\[error\] master config: .*/);
            serves();
            is scalar(new_lines(qr/stream ended|end stream/)), 0, 'the stream lives on';
            $plane->behave(garbage => undef);
            $plane->push($type);

            if ($type eq 'workload') {
                my ($name) = $plane->names(type => $type);
                $plane->edit(type => $type, name => $name, path => [11], set => "d-$kind");
            }
            is $plane->wait_settled([$type])->{verdict}, 'ack', 'good again, it is accepted';
        };
    }
}
recovers();

subtest 'responses that are none' => sub {
    my $cds = unpack 'H*', 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
    my %is = (
        'nothing at all' => ['', 0],
        'of a type that was not asked for' => ['2216' . unpack('H*', 'type.googleapis.com/xy'), 0],
        'without a nonce' => ['2233' . $cds, 0],
        'that end within a field' => ['22ff', 1],
        'with a field of another wire type' => ['2001', 1],
        'with a nonce of 2000 octets' => ['2233' . $cds . '2ad00f' . '61' x 2000, 1],
    );

    for my $name (sort keys %is) {
        my ($hex, $ends) = @{ $is{$name} };

        mark();
        $plane->send(hex => $hex);

        if ($ends) {
            logs(qr/\[error\] master xds: end stream: reason="/);
            ok $plane->wait_record(kind => 'open'), "$name: another stream begins";
        } else {
            $plane->push('cds');
            is $plane->wait_settled(['cds'])->{verdict}, 'ack', "$name: the stream lives on";
        }
        serves();
    }
    recovers();
};

subtest 'each response is garbage' => sub {
    mark();
    $plane->behave(garbage => { kind => 'response' });
    $plane->push('lds');
    logs(qr/\[error\] master xds: end stream: reason="/);
    calm($long ? 10 : 2, 6);
    $plane->behave(garbage => undef);
    recovers();
};

subtest 'nonces that say nothing' => sub {
    for my $kind (qw(repeat empty)) {
        mark();
        $plane->behave(nonce => { kind => $kind, times => 1 });
        $plane->push('cds');
        ok $plane->wait_record(kind => 'response', type => 'cds'), "$kind: a response";
        $plane->push('eds');
        is $plane->wait_settled(['eds'])->{verdict}, 'ack', 'another is answered';
        calm(1, 0);
        $plane->drop(how => 'fin');
        recovers();
    }
};

subtest 'a message over the limit ends the stream, and costs no memory' => sub {
    my $before = memory('VmRSS');

    mark();
    $plane->behave(huge => { bytes => 65 * 1024 * 1024, type => 'lds' });
    $plane->push('lds');
    logs(qr/stream ended: status=8 message="[^"]+"/);
    calm($long ? 10 : 3, 6);
    cmp_ok memory('VmHWM') - $before, '<', ($asan ? 400 : 140) * 1024, 'at most two messages are held';
    ok wait_for(sub { memory('VmRSS') - $before < 30 * 1024 }), 'and none in the end' if !$asan;
    $plane->behave(huge => undef);
    recovers();
};

subtest 'a message just under the limit is refused, and is not kept' => sub {
    my $before = memory('VmRSS');

    mark();
    $plane->behave(huge => { bytes => 60 * 1024 * 1024, type => 'cds', times => 1 });
    $plane->push('cds');
    my $nack = $plane->wait_record(kind => 'nack', type => 'cds', seconds => 30);
    like $nack->{error}{message}, qr/\bhuge\b/, 'by the name of the resource';
    serves();
    $plane->drop(how => 'fin');         # another stream learns that it is gone
    recovers();
    ok wait_for(sub { memory('VmRSS') - $before < 30 * 1024 }), 'and so is its memory' if !$asan;
};

subtest 'GOAWAY and another server' => sub {
    mark();
    $plane->restart(grace => 0.2);
    ok $plane->wait_record(kind => 'open', seconds => 20), 'it is found';
    serves();
    recovers();
};

subtest 'streams end' => sub {
    for my $code (qw(UNAVAILABLE INTERNAL RESOURCE_EXHAUSTED CANCELLED OK)) {
        next if $code eq 'OK';
        mark();
        $plane->abort_streams(code => $code, message => "said \x{1}\"so\"");
        logs(qr/stream ended: status=\d+ message="said /);
        is scalar(new_lines(qr/\x01/)), 0, "$code: what it says is escaped";
        ok $plane->wait_record(kind => 'open', seconds => 20), 'another stream begins';
    }
    recovers();
};

subtest 'streams are refused' => sub {
    mark();
    $plane->behave(refuse => { code => 'UNAVAILABLE', message => 'too many' });
    $plane->abort_streams;
    logs(qr/stream ended: status=14 message="too many"/);
    calm($long ? 10 : 2, 6);
    $plane->behave(refuse => undef);
    recovers();
};

for my $mode (qw(refuse hang reset garbage)) {
    subtest "connections: $mode" => sub {
        mark();
        $plane->listen(mode => $mode);
        $plane->drop(how => 'rst');
        logs(qr/\[warn\] master xds: not connected: server=|stream ended/);
        calm($long ? 10 : 2, 6, 1);
        logs(qr/master xds: (?:not connected: server=\S+ reason="[^"]+|stream ended: status=14)/);
        $plane->listen(mode => 'pass');
        recovers();
    };
}

subtest 'what comes in drips is served when it is there' => sub {
    mark();
    $plane->listen(mode => 'drip');
    $plane->drop(how => 'fin');
    ok $plane->wait_record(kind => 'open', seconds => 40), 'a stream begins';
    calm(1, 1);
    recovers();
    $plane->listen(mode => 'pass');
    $plane->drop(how => 'fin');
    recovers();
};

subtest 'no answers' => sub {
    mark();
    $plane->behave(hold => 1);
    $plane->drop(how => 'fin');
    ok $plane->wait_record(kind => 'open', seconds => 40), 'a stream without a response';
    calm(2, 1);
    $plane->behave(hold => undef);
    recovers();
};

subtest 'somebody else' => sub {
    mark();
    # the token says another account than the node does
    $plane->tokens({ 'token-of-another' => 'other/waypoint' }, 'token-of-another');
    $plane->drop(how => 'fin');
    logs(qr/stream ended: status=7 message="authorization failed: no identities/);
    calm($long ? 10 : 2, 6);
    $plane->tokens({ 'nobody' => 'default/waypoint' }, 'not-good');
    logs(qr/stream ended: status=16 message="authentication failure"/);
    serves();
    $plane->tokens({ 'good' => 'default/waypoint' }, 'good');
    recovers();
};

subtest 'a server that is not istiod' => sub {
    mark();
    $plane->server_certificate(names => ['istiod.elsewhere.example']);
    $plane->drop(how => 'fin');
    logs(qr/\[warn\] master xds: not connected: server=\S+ reason="[^"]+/);
    calm($long ? 10 : 2, 6, 1);
    $plane->server_certificate;
    recovers();
};

subtest 'connections that carry nothing any more are given up' => sub {
    mark();
    $plane->freeze(frozen => 1);
    calm($long ? 45 : 2, 0);
    logs(qr/stream ended/) if $long;
    $plane->freeze(frozen => 0);
    recovers();
};

subtest 'away for long, with a hundred pushes that nobody heard' => sub {
    mark();
    $plane->listen(mode => 'refuse');
    $plane->drop(how => 'rst');
    for my $round (1 .. 100) {
        my $weight = $round % 100;
        $plane->set_weights(weights => { $v1 => $weight, $v2 => 100 - $weight });
    }
    calm($long ? 120 : 3, 0);
    cmp_ok scalar(new_lines(qr/master xds/)), '<=', $long ? 30 : 10, 'few lines are written';
    $plane->listen(mode => 'pass');
    recovers();
};

is scalar(grep { /BUG|Sanitizer/ } $mesh->daemon->log_lines('error')), 0, 'nothing crashed';
stop();
done_testing;
