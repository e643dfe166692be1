#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# How it ends: TERM waits for the drain time, QUIT until nobody is connected, INT not at all; how
# peers are told to go meanwhile.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

use Test::Cairn::HBONE ();

my $upstreams = <<'Y';
reviews-v1:
sleep: {client: yes}
Y

sub slow { return ($ENV{TEST_CAIRN_SLOW} // 1) }

subtest 'QUIT ends when the last connection is gone' => sub {
    my $mesh   = Test::Cairn->start(upstreams => $upstreams, bootstrap => 'drain_time: 8s');
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'reviews');

    is $tunnel->http->request('GET', '/')->status, 200, 'a tunnel carries a request';

    my $began = now();

    $mesh->daemon->signal('QUIT');
    ok wait_for(sub { !$mesh->daemon->ready }, 5), 'it is not ready any more';
    ok $tunnel->{connection}->wait_goaway(9), 'the connection is told to go';

    my $response = $tunnel->http->request('GET', '/');

    is $response->status, 200, 'an open tunnel is still served';
    is $response->header('connection'), 'close', 'and asked to close';
    ok $tunnel->http->closes(5), 'which it does after that';
    ok $tunnel->{connection}->wait_closed(5), 'the connection ends with its last tunnel';
    is $mesh->daemon->wait_exit(9), 0, 'and the process with its last connection';
    cmp_ok now() - $began, '<', 8 * slow(), 'before the drain time is over' if slow() == 1;
};

subtest 'connections are told to go one after another, not all at once' => sub {
    my $mesh  = Test::Cairn->start(upstreams => $upstreams, bootstrap => 'drain_time: 4s');
    my $count = 12;
    my @connections = map { $mesh->hbone(as => 'sleep') } 1 .. $count;
    my $told = sub { scalar grep { $_->goaway } @connections };
    my @steps;

    is $told->(), 0, 'none is before';
    $mesh->daemon->signal('TERM');

    my $late;

    wait_for(sub {
        Test::Cairn::HBONE::pump_all(now() + 0.02, @connections);

        my $now = $told->();

        push @steps, $now if $now && $now != ($steps[-1] // 0);
        $late //= $mesh->hbone(as => 'sleep') if $now;
        return $now == $count;
    }, 10);

    is $steps[-1], $count, 'all are in the end';
    cmp_ok scalar @steps, '>=', 4, "in steps: @steps";
    ok !$late->goaway, 'one that came meanwhile is not yet';
    ok $late->wait_goaway(4), 'but at the end';
    is $mesh->daemon->wait_exit(9), 0, 'it ends';
};

subtest 'an idle inner HTTP/1 connection lives until the deadline' => sub {
    my $mesh   = Test::Cairn->start(upstreams => $upstreams, bootstrap => 'drain_time: 2s');
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'reviews');

    is $tunnel->http->request('GET', '/')->status, 200, 'a tunnel carries a request';

    my $began = now();

    $mesh->daemon->signal('QUIT');
    ok $tunnel->http->closes(9), 'the idle connection is closed';
    cmp_ok now() - $began, '>', 1.9, 'at the deadline';
    is $mesh->daemon->wait_exit(9), 0, 'it ends';
};

subtest 'QUIT does not end before the minimum, idle or not' => sub {
    my $mesh = Test::Cairn->start(
        upstreams => $upstreams, bootstrap => "drain_time: 10s\ndrain_minimum_time: 1s",
    );
    my $began = now();

    $mesh->stop('QUIT');
    cmp_ok now() - $began, '>', 0.9, 'not before';
};

subtest 'drain makes it unready and stays' => sub {
    my $mesh = Test::Cairn->start(upstreams => $upstreams, bootstrap => 'drain_time: 1s');
    my $connection = $mesh->hbone(as => 'sleep');

    is $mesh->daemon->run('-s', 'drain')->{status}, 0, 'cairn -s drain';
    ok wait_for(sub { !$mesh->daemon->ready }, 5), 'it is not ready any more';
    ok $connection->wait_closed(5), 'a connection without streams is closed';
    is $mesh->request('as sleep to reviews GET /')->status, 200, 'requests are still answered';

    $mesh->daemon->kill_hard($mesh->daemon->master_pid);
    ok wait_for(sub { $mesh->daemon->master_pid }, 5), 'there is another master';
    ok wait_for(sub { $mesh->daemon->http_get('STATUS', '/healthz/ready') }, 5), 'it answers';
    ok !$mesh->daemon->ready, 'and is not ready either';
    $mesh->daemon->forgive(qr/process ended: pid=\d+ signal=9/);

    my $began = now();

    $mesh->stop('TERM');
    cmp_ok now() - $began, '<', 0.9 * slow(), 'TERM does not wait for the drain time again';
};

subtest 'INT ends at once' => sub {
    my $mesh = Test::Cairn->start(upstreams => $upstreams, bootstrap => 'drain_time: 20s');

    is $mesh->request('as sleep to reviews GET /')->status, 200, 'a request is served';
    $mesh->stop('INT');
};

subtest 'TERM ends after the drain time' => sub {
    my $mesh = Test::Cairn->start(upstreams => $upstreams, bootstrap => 'drain_time: 1s');

    is $mesh->request('as sleep to reviews GET /')->status, 200, 'a request is served';

    my $began = now();

    $mesh->stop('TERM');
    cmp_ok now() - $began, '>', 0.9, 'not before';
};

subtest 'TERM waits for connections if it is told to' => sub {
    my $mesh = Test::Cairn->start(
        upstreams => $upstreams,
        bootstrap => "term_waits_for_idle: yes\ndrain_time: 1s\ndrain_deadline: 60s",
    );
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'reviews');

    is $tunnel->http->request('GET', '/')->status, 200, 'a tunnel carries a request';

    my $began = now();

    $mesh->daemon->signal('TERM');
    ok $tunnel->{connection}->wait_goaway(9), 'the connection is told to go';
    ok wait_for(sub { now() - $began > 1.6 }, 5), 'the drain time is over';
    is $tunnel->http->request('GET', '/')->status, 200, 'and it still serves';
    ok $tunnel->http->closes(5), 'until the peer has gone';
    is $mesh->daemon->wait_exit(9), 0, 'then it ends';
};

subtest 'and not before the minimum' => sub {
    my $mesh = Test::Cairn->start(
        upstreams => $upstreams,
        bootstrap => "term_waits_for_idle: yes\ndrain_time: 1s\ndrain_minimum_time: 1s",
    );
    my $began = now();

    $mesh->stop('TERM');
    cmp_ok now() - $began, '>', 0.9, 'nobody is connected, but it waits';
};

done_testing;
