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
swift-v1: {native: yes}
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

# Two connections of 50 tunnels at the same time, one tunnel of the second reads nothing: what each
# of the others has moved, as a share of what one of the first has.  Returns also how much the worker
# grew, in MiB.
sub share_beside_one_that_stalls {
    my ($second_first) = @_;

    my $seconds = $ENV{LONG} ? 4 : 1;
    my @options = ('-c', 1, '-t', 50, '-p', '/size/400000', '--window', 256 * 1024, '-d', $seconds);
    my $before = $daemon->memory_kib($daemon->worker_pids);
    my $most = 0;
    my %load = map {
        ($_ => $mesh->load(to => 'swift', options => [@options, '--stall', $_]))
    } $second_first ? (1, 0) : (0, 1);

    wait_for(sub {
        my $now = $daemon->memory_kib($daemon->worker_pids);

        $most = $now if $now > $most;
        return $load{0}->ended && $load{1}->ended;
    }, 60);

    my %result = map { ($_ => $load{$_}->result) } 0, 1;

    is scalar(grep { $_ } map { values %{ $_->{errors} } } values %result), 0, 'no request fails';
    note sprintf '50 tunnels moved %.0f MB/s, 49 beside one that reads nothing %.0f MB/s',
        map { $_->{mb_per_s} } @result{0, 1};
    return ($result{1}{mb_per_s} / 49 / ($result{0}{mb_per_s} / 50), ($most - $before) / 1024);
}

# Without LONG=1 they only must not starve.
subtest 'one of 50 tunnels on a connection reads nothing, the others keep their rate' => sub {
    my @shares;

    my $none = $mesh->load(to => 'swift', options => ['-t', 50, '--stall', 50, '-p', '/size/400000',
        '--window', 256 * 1024, '-d', 0.3])->result;

    is $none->{requests}, 0, 'who reads nothing gets no answer longer than its window';
    share_beside_one_that_stalls(0);    # buffers are in memory then

    for my $round (1 .. ($ENV{LONG} ? 7 : 2)) {
        my ($share, $grown) = share_beside_one_that_stalls($round % 2);

        push @shares, $share;
        cmp_ok $grown, '<', $sanitized ? 2_000 : 64, sprintf 'the worker grew by %.1f MiB', $grown;
    }

    @shares = sort { $a <=> $b } @shares;
    my $median = $shares[@shares / 2];

    cmp_ok $median, '>', $ENV{LONG} ? 0.9 : 0.3, sprintf 'each of the others moves %.0f %% (%.0f '
        . 'to %.0f) of what one moves where all read', map { 100 * $_ } $median, @shares[0, -1];
};

$mesh->stop;
done_testing;
