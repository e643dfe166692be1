#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Frames of HTTP/2 on streams that are not open: what is an error, what is dropped, what it costs;
# and more streams at once than may be.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

my ($DATA, $END_STREAM) = (0, 1);

my $mesh = Test::Cairn->start(upstreams => <<'Y', bootstrap => 'workers: 1');
reviews-v1: {program: {body: still here}}
sleep: {client: yes}
Y

sub connect_headers { return [[':method', 'CONNECT'], [':authority', $mesh->authority('reviews')]] }

# A tunnel that was used, and is over on both sides.
sub closed_stream {
    my ($hbone) = @_;

    my $tunnel = $hbone->tunnel($mesh->authority('reviews'));

    is $tunnel->http->request(GET => '/')->status, 200, 'a tunnel is used';
    $tunnel->finish;
    is $tunnel->wait_end, 'eof', 'and ended by both';
    return $tunnel->{id};
}

# HEADERS on a stream, whatever has become of it.
sub send_headers {
    my ($hbone, $id) = @_;

    $hbone->h2->add_stream($id);
    $hbone->h2->headers($id, connect_headers(), 0);
    $hbone->send_out;
    return;
}

sub serves {
    my ($hbone, $what) = @_;

    is $hbone->tunnel($mesh->authority('reviews'))->http->request(GET => '/')->body, 'still here', $what;
    return;
}

subtest 'a stream that was skipped cannot be opened any more' => sub {
    my $hbone = $mesh->hbone;

    $hbone->h2->{next_stream} = 5;
    serves($hbone, 'the first stream is 5');
    send_headers($hbone, 3);

    my $goaway = $hbone->wait_goaway;

    is $goaway && $goaway->{code}, 'PROTOCOL_ERROR', 'stream 3 is an error of the connection';
    ok $hbone->wait_closed, 'which ends';
};

subtest 'HEADERS on a stream that is over are dropped, and the next request is read right' => sub {
    my $hbone = $mesh->hbone;
    my $id = closed_stream($hbone);

    send_headers($hbone, $id) for 1 .. 3;
    serves($hbone, 'the next tunnel works');
    ok !$hbone->goaway, 'and nobody goes away';
};

subtest 'a flood of HEADERS on a stream that is over ends the connection' => sub {
    my $hbone = $mesh->hbone;
    my $id = closed_stream($hbone);

    for (1 .. 200) {
        send_headers($hbone, $id) for 1 .. 200;
        last if $hbone->ended || $hbone->goaway || !$hbone->ping;
    }

    my $goaway = $hbone->wait_goaway;

    is $goaway && $goaway->{code}, 'ENHANCE_YOUR_CALM', 'it is told to calm down';
    ok $hbone->wait_closed, 'and cut off';
    serves($mesh->hbone, 'others are served');
};

subtest 'DATA on a stream that is over is dropped, and its credit comes back' => sub {
    my $hbone = $mesh->hbone;
    my $id = closed_stream($hbone);
    my $frame = h2_frame($DATA, 0, $id, 'x' x 16_000);

    for my $round (1 .. 30) {
        # the harness counts what it sends itself; what is raw is counted here
        $hbone->h2->raw($frame x 8);
        $hbone->h2->{send_window} -= 8 * 16_000;
        $hbone->send_out;
        ok $hbone->ping, "round $round: the connection is alive" if $round % 10 == 0;
    }

    my $deadline = deadline_in(5);
    1 while $hbone->h2->{send_window} < 500_000 && $hbone->pump($deadline);

    cmp_ok $hbone->h2->{send_window}, '>=', 500_000, 'the window of the connection is open';
    serves($hbone, 'and a tunnel works');
};

subtest '100 tunnels at once are served; who opens another breaks the connection' => sub {
    my @tunnels = $mesh->tunnels(100, as => 'sleep', to => 'reviews');
    my $hbone = $tunnels[0]{connection};

    $_->http->send(GET => '/') for @tunnels;
    is scalar(grep { $_->http->response->status == 200 } @tunnels), 100, 'all are served';

    $hbone->open_tunnel($mesh->authority('reviews'));
    my $goaway = $hbone->wait_goaway;

    is $goaway && $goaway->{code}, 'PROTOCOL_ERROR', 'the limit was told, so it is an error';
    serves($mesh->hbone, 'others are served');
};

$mesh->stop;
done_testing;
