#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What Istio's agent answers on 15020 and 15021: liveness, and the commands that its own host may
# give.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

use Test::Cairn::HTTP1 ();
use Test::Cairn::Socket ();

my $upstreams = <<'Y';
reviews-v1:
sleep: {client: yes}
Y

sub post {
    my ($daemon, $path) = @_;

    my $to     = $daemon->address . ':' . $daemon->port('METRICS');
    my $socket = Test::Cairn::Socket->connect(to => $to) or return;
    my $http   = Test::Cairn::HTTP1->new($socket);
    my $answer = $http->request(POST => $path, headers => [['host', $to]], body => '');

    $socket->close;

    return $answer;
}

subtest 'it is alive while it drains, but not ready' => sub {
    my $mesh   = Test::Cairn->start(upstreams => $upstreams, bootstrap => 'drain_time: 20s');
    my $daemon = $mesh->daemon;

    is $daemon->http_get('STATUS', '/healthz/live')->status, 200, 'alive';
    is $daemon->http_get('METRICS', '/healthz/live')->status, 200, 'also on the agent port';
    is post($daemon, '/drain')->status, 200, 'POST /drain';
    ok wait_for(sub { !$daemon->ready }, 5), 'it is not ready any more';
    is $daemon->http_get('STATUS', '/healthz/live')->status, 200, 'but alive';
    is $mesh->request('as sleep to reviews GET /')->status, 200, 'and serves';
    ok $daemon->wait_log('error', qr/command: name=drain/), 'it is logged';
    is $daemon->http_get('METRICS', '/quitquitquit')->status, 405, 'GET does not end it';

    my $answer = post($daemon, '/quitquitquit');

    is $answer->status, 200, 'POST /quitquitquit is answered';
    is $answer->body, "OK\n", 'whole';
    is $daemon->wait_exit(9), 0, 'and ends it at once';
};

done_testing;
