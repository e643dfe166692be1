#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Large bodies stream through in bounded memory, and a reader that stalls holds up nobody but itself.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

my $size = ($ENV{LONG} ? 100 : 30) * 1024 * 1024;
my $mesh = Test::Cairn->start(upstreams => <<"Y", bootstrap => 'workers: 1');
reviews-v1: {program: [{match: /down, size: $size}, {match: /part, size: 2000000}, {echo: 1}]}
sleep: {client: yes}
Y
my $daemon = $mesh->daemon;

# Once each way before it is measured: buffers and code are in memory then.
is $mesh->request('as sleep to reviews GET /part')->status, 200, 'warm';

sub grown {
    my ($what, $limit_kib, $work) = @_;
    my $before = $daemon->memory_kib($daemon->worker_pids);

    $work->();

    my $grown = $daemon->memory_kib($daemon->worker_pids) - $before;

    cmp_ok $grown, '<', $limit_kib, "$what: the worker grew by $grown KiB";
    return;
}

# A sanitizer keeps freed memory: its build proves that nothing breaks, not how much is held.
my $sanitized = ($ENV{TEST_CAIRN_BUILDDIR} // '') =~ /asan/;
my $limit = $sanitized ? 2_000_000 : 8192;

grown 'a download', $limit, sub {
    my $response = $mesh->request("as sleep to reviews GET /down\n\@seconds 120");

    is $response->status, 200, 'a large download is answered';
    is $response->{length}, $size, 'and whole';
};

grown 'an upload', $limit, sub {
    my $response = $mesh->request("as sleep to reviews POST /up\n\@size $size\n\@seconds 120");

    is $response->status, 200, 'a large upload is answered';
    is $response->json->{length} // $response->json->{body}{length}, $size, 'and arrived whole'
        or diag $response->body;
};

subtest 'one of 50 tunnels on a connection reads nothing, the others are served' => sub {
    my @tunnels = $mesh->tunnels(50, as => 'sleep', to => 'reviews');

    $tunnels[0]->http->send(GET => '/down');

    for my $round (1 .. 3) {
        $_->http->send(GET => '/part') for @tunnels[1 .. 49];

        my $whole = grep { $_->http->response(seconds => 60)->{length} == 2_000_000 }
            @tunnels[1 .. 49];

        is $whole, 49, "round $round: all the others get their bodies";
    }

    cmp_ok $daemon->memory_kib($daemon->worker_pids), '<', $sanitized ? 2_000_000 : 200_000, 'memory stays bounded';
};

$mesh->stop;
done_testing;
