#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# USR2, or `cairn -s upgrade`: a newer executable takes over without losing a request; one that
# cannot is refused, and what serves serves on.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(metrics)];
use Test::Cairn::Daemon ();
use Test::Cairn::Util qw(slurp spew test_dir);

my $program = Test::Cairn::Daemon::binary();
my ($version) = `$program -v` =~ m{cairn/(\S+)} or die 'no version';
my $newer = $version =~ s/\d$/9/r;
my $place = test_dir() . '/cairn-program';
my $rate = 2000;

# Puts a program in the place of the one that runs, as an installation does: by rename.
sub install {
    my ($text) = @_;

    spew("$place.new", $text);
    chmod 0755, "$place.new";
    rename "$place.new", $place or die "cannot rename: $!";
    return;
}

sub with_version { return slurp($program) =~ s/\Q$version\E(?=\0)/$newer/gr }

sub start {
    my (%option) = @_;

    install(slurp($program));
    local $ENV{TEST_CAIRN_BINARY} = $place;

    return Test::Cairn->start(upstreams => <<'Y', bootstrap => 'drain_time: 4s', %option);
reviews-v1: {native: yes}
reviews-v2: {native: yes}
sleep: {client: yes}
Y
}

sub status { return Test::Cairn::data_of($_[0]->daemon->http_get('ADMIN', '/status.json')->body) }

sub upgrade {
    my ($mesh, $until) = @_;

    $mesh->daemon->log_mark;
    is $mesh->daemon->run('-s', 'upgrade')->{status}, 0, 'cairn -s upgrade';
    return ok $mesh->daemon->wait_log('error', $until, 30), "the log says $until";
}

subtest 'a newer version takes over under load' => sub {
    my $mesh   = start();
    my $daemon = $mesh->daemon;
    my @idle   = map { $mesh->hbone(as => 'sleep') } 1 .. 6;
    my $load   = $mesh->load(to => 'reviews',
        options => ['-c', 8, '-t', 4, '-r', $rate, '-d', 120, '--reconnect']);
    my $stream = $mesh->load(to => 'reviews', options =>
        ['-c', 2, '-t', 2, '-n', 4, '--reconnect', '-p', '/tick/20/100', '--expect-size', 6400]);

    my ($guard, $master) = ($daemon->pid, $daemon->master_pid);
    my @workers = $daemon->worker_pids;
    my $slow    = $mesh->tunnel(as => 'sleep', to => 'reviews');
    my $kept    = $mesh->tunnel(as => 'sleep', to => 'reviews');

    is $kept->http->request('GET', '/')->status, 200, 'a tunnel carries a request';
    $slow->write("POST / HTTP/1.1\r\nhost: reviews\r\ncontent-length: 10\r\n\r\nhalf ");
    ok wait_for(sub { $daemon->metric('istio_requests_total') > 50 }, 10), 'there is load';

    my $counted = $daemon->metric('istio_requests_total');

    is status($mesh)->{version}, $version, 'the old version serves';
    install(with_version());

    my $began = now();

    upgrade($mesh, qr/upgrade done: version=\Q$newer\E/);
    is status($mesh)->{version}, $newer, 'the new version answers at the admin port';
    is status($mesh)->{upgrades}, 1, 'and knows that it was upgraded to';
    ok $daemon->ready, 'it is ready';
    is $daemon->pid, $guard, 'the guard is the same process';
    like $daemon->run_command($program, '-c', $daemon->dir . '/cairn.yaml', 'show', 'status')->{out},
        qr/\Q$newer\E/, 'show status says it too';
    cmp_ok $daemon->metric('istio_requests_total'), '>=', $counted, 'counters have not fallen';

    my $next = $kept->http->request('GET', '/');

    is $next->status, 200, 'an old tunnel is served on';
    ok wait_for(sub { Test::Cairn::HBONE::pump_all(now() + 0.02, @idle);
        return !grep { !$_->goaway } @idle }, 10), 'all old connections are sent GOAWAY';
    ok $slow->{connection}->wait_goaway(10), 'also one with an open request';
    $slow->write('body!');
    cmp_ok now() - $began, '<', 4, 'before the drain deadline' if !$ENV{TEST_CAIRN_SLOW};

    my $late = $slow->http->response(seconds => 5);

    is $late->status, 200, 'a request that was open is answered';
    is $late->header('connection'), 'close', 'and its connection asked to close';
    ok $daemon->wait_log('error', qr/set ended: number=1/, 15), 'the old processes end';

    my %now = map { $_ => 1 } $daemon->master_pid, $daemon->worker_pids;

    is scalar(keys %now), 1 + @workers, 'there are as many as before';
    ok !(grep { $now{$_} } $master, @workers), 'and none of them is an old one';
    cmp_ok $daemon->metric('istio_requests_total'), '>=', $counted, 'counters have not fallen yet';

    # the places in the slab are taken in turn
    $counted = $daemon->metric('istio_requests_total');
    upgrade($mesh, qr/upgrade done: .*set=3/);
    ok $daemon->wait_log('error', qr/set ended: number=2/, 15), 'once more';
    cmp_ok $daemon->metric('istio_requests_total'), '>=', $counted, 'counters have not fallen';

    my $streams = $stream->result(30);
    my $result  = $load->finish;
    my $failed  = 0;

    $failed += $_ for values %{ $result->{errors} }, @{ $result->{lost} }{qw(conns requests tunnels)};
    is $failed, 0, "no request of $result->{requests} has failed, no connection was cut";
    is $result->{ok}, $result->{requests}, 'each was answered well';
    is $result->{told}, 16, 'each of 8 connections was told to go by two upgrades';
    is $streams->{ok}, 4, 'long downloads came whole';
    note sprintf '%.0f requests a second, latency p99 %.1f ms, max %.1f ms',
        $result->{rps}, $result->{latency_us}{p99} / 1000, $result->{latency_us}{max} / 1000;

    $mesh->stop;
};

subtest 'a stream is not cut before the drain deadline, and cut then' => sub {
    my $mesh   = start(bootstrap => 'drain_time: 2s');
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'reviews');

    $tunnel->write("POST / HTTP/1.1\r\nhost: reviews\r\ncontent-length: 10\r\n\r\nhalf ");
    upgrade($mesh, qr/upgrade done/);

    my $began = now();

    ok $tunnel->wait_end(20), 'an open request ends';
    cmp_ok now() - $began, '>', 1.8, 'at the deadline';
    ok $mesh->daemon->wait_log('error', qr/set ended: number=1/), 'with its process';
    is $mesh->request('as sleep to reviews GET /')->status, 200, 'others are served';
    $mesh->stop;
};

subtest 'what cannot take over is refused, and what serves serves on' => sub {
    my $mesh = start();
    my $old  = $mesh->daemon->master_pid;
    my $hello = pack 'a8 L', 'CNHELLO', 2;
    my $other = slurp($program) =~ s/\Q$hello\E/pack 'a8 L', 'CNHELLO', 999/er;
    my $still = sub {
        is $mesh->request('as sleep to reviews GET /')->status, 200, 'requests are answered';
        is $mesh->daemon->master_pid, $old, 'by the old processes';
        is status($mesh)->{upgrades}, 0, 'as if nothing had been';
    };

    install(slurp('/bin/true'));
    upgrade($mesh, qr/upgrade failed: .*reason="it says nothing"|upgrade failed: .*does not run/);
    $still->();

    install("not a program\n");
    upgrade($mesh, qr/upgrade failed: .*reason="it does not run: exit 127"/);
    $still->();

    install($other);
    upgrade($mesh, qr/upgrade failed: .*messages and slab are of version 999 and \d+, ours of \d+/);
    $still->();

    unlink $place;
    upgrade($mesh, qr/upgrade failed: .*reason="No such file or directory"/);
    $still->();

    install(slurp($program));
    $mesh->daemon->write_resources({ '00-mesh.yaml' => "kind: Nothing\n" });
    upgrade($mesh, qr/upgrade failed: .*reason="it cannot use the configuration"/);
    ok wait_for(sub { keys %{ $mesh->daemon->processes } == 4 }, 5), 'its processes are gone';
    $still->();
    $mesh->daemon->write_resources($mesh->mesh->files);

    upgrade($mesh, qr/upgrade done/);
    upgrade($mesh, qr/upgrade failed: .*reason="the processes of the last one have not ended yet"/)
        if !$ENV{TEST_CAIRN_SLOW};
    is $mesh->request('as sleep to reviews GET /')->status, 200, 'requests are answered';
    $mesh->stop;
};

subtest 'the end comes to both sets' => sub {
    my $mesh   = start(bootstrap => 'drain_time: 20s');
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'reviews');

    is $tunnel->http->request('GET', '/')->status, 200, 'a tunnel carries a request';
    upgrade($mesh, qr/upgrade done/);
    ok wait_for(sub { keys %{ $mesh->daemon->processes } == 7 }, 5), 'two sets under one guard';
    $mesh->stop('INT');
};

done_testing;
