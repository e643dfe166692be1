#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# How it ends: TERM waits for the drain time, QUIT until nobody is connected, INT not at all.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

my $upstreams = <<'Y';
reviews-v1:
sleep: {client: yes}
Y

subtest 'QUIT ends when the last connection is gone' => sub {
    my $mesh   = Test::Cairn->start(upstreams => $upstreams, bootstrap => 'drain_time: 20s');
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'reviews');

    is $tunnel->http->request('GET', '/')->status, 200, 'a tunnel carries a request';
    $mesh->daemon->signal('QUIT');
    ok wait_for(sub { !$mesh->daemon->ready }, 5), 'it is not ready any more';

    my $response = $tunnel->http->request('GET', '/');

    is $response->status, 200, 'an open tunnel is still served';
    is $response->header('connection'), 'close', 'and asked to close';
    $mesh->stop('QUIT');
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

done_testing;
