#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The harness against itself: its HBONE client and its HBONE upstream, with no cairn between them.
# What is proved here need not be doubted when a test of cairn fails.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Test::More;

use FindBin ();
use lib "$FindBin::Bin/../lib";

use Test::Cairn::CA qw(identity_files spiffe_id);
use Test::Cairn::HBONE ();
use Test::Cairn::HTTP1 ();
use Test::Cairn::H2 qw(h2_frame);
use Test::Cairn::Net qw(network);
use Test::Cairn::Pod ();
use Test::Cairn::Socket ();
use Test::Cairn::Util qw(deadline_in now wait_for process_alive);

my $MEGABYTE = 1 << 20;
my %STARTED;

# A pod that runs until the end of the file.
sub pod {
    my ($name, $spec) = @_;

    my $pod = Test::Cairn::Pod->new($name, $spec);
    $pod->start;
    return $STARTED{$name} = $pod;
}

sub dial {
    my ($pod, %option) = @_;

    my $hbone = Test::Cairn::HBONE->connect(to => $pod->ip . ':15008', as => 'sleep', %option);
    return $hbone // die "no HBONE connection to " . $pod->name . ": $@\n";
}

sub authority {
    my ($pod) = @_;

    return $pod->ip . ':' . $pod->port;
}


subtest 'a request in a tunnel is answered, and both ends know who the other is' => sub {
    my $pod = pod('reviews-v1', {
        program => { headers => { 'x-a' => [1, 2] }, body => "hello\n" }
    });
    my $hbone = dial($pod, expect => spiffe_id('default/reviews'));
    my $tunnel = $hbone->tunnel(authority($pod), headers => [['baggage', 'k=v']]);

    is $tunnel->status, 200, 'the CONNECT is accepted';

    my $response = $tunnel->http->request(POST => '/path?q=1', headers => [['x-b', 'c']],
        body => 'question');

    is $response->error, '', 'nothing is wrong with the response';
    is $response->status, 200, 'status';
    is $response->header('x-a'), '1,2', 'headers';
    is $response->body, "hello\n", 'body';

    my ($seen) = $pod->wait_seen('request');

    is $seen->{peer}, 'spiffe://cluster.local/ns/default/sa/sleep', 'the upstream knows its peer';
    is $seen->{authority}, authority($pod), 'and the authority';
    is "$seen->{method} $seen->{target} $seen->{body}", 'POST /path?q=1 question',
        'and the request';
    is $seen->{body_sha256}, sha256_hex('question'), 'and the digest of the body';

    my ($connect) = $pod->seen('tunnel');
    is_deeply [grep { $_->[0] eq 'baggage' } @{ $connect->{headers} }], [['baggage', 'k=v']],
        'and the headers of the CONNECT';
};


subtest '20 tunnels on one connection carry requests at the same time' => sub {
    my $pod = pod('many', { program => { echo => 1, delay => 0.1 } });
    my $hbone = dial($pod);
    my @tunnels = map { $hbone->open_tunnel(authority($pod)) } 1 .. 20;
    my $begun = now();

    ok $_->answered, 'tunnel ' . $_->id . ' is open' for @tunnels;
    is $pod->open_tunnels, 20, 'the upstream has 20 tunnels';
    is $pod->open_connections, 1, 'on one connection';

    for my $tunnel (@tunnels) {
        $tunnel->http->send(GET => '/' . $tunnel->id);
    }

    for my $tunnel (reverse @tunnels) {
        my $response = $tunnel->http->response;
        is $response->json->{target}, '/' . $tunnel->id, 'the answer is for this tunnel';
    }
    cmp_ok now() - $begun, '<', 20 * 0.1, 'they did not wait for each other';
    is_deeply [$hbone->violations], [], 'HTTP/2 was correct';
};


subtest 'a megabyte goes both ways, with a length and chunked' => sub {
    my $pod = pod('big', { program => [
        { match => '/up', echo => 1 },
        { match => '/down', size => $MEGABYTE },
        { match => '/chunks', size => $MEGABYTE, chunked => 10000,
            trailers => { 'x-end' => 'yes' } },
    ] });
    my $hbone = dial($pod);
    my $http = $hbone->tunnel(authority($pod))->http;
    my $body = join '', map { chr(($_ * 7 + $_ / 256) % 256) } 1 .. $MEGABYTE;

    for my $chunked (0, 10000) {
        my $response = $http->request(POST => '/up', body => $body, chunked => $chunked);
        is $response->json->{length}, $MEGABYTE, "upload, chunks of $chunked: length";
        is $response->json->{sha256}, sha256_hex($body), 'and digest';
    }

    for my $path ('/down', '/chunks') {
        my $response = $http->request(GET => $path);
        is $response->error, '', "download $path";
        is $response->{sha256}, sha256_hex('x' x $MEGABYTE), 'is whole';
        is_deeply $response->{trailers}, [['x-end', 'yes']], 'with its trailer'
            if $path eq '/chunks';
    }

    $http->send(POST => '/up', size => 20 * $MEGABYTE);
    is $http->send_body(20 * $MEGABYTE), 20 * $MEGABYTE, '20 MB are made up while they are sent';
    is $http->response->json->{length}, 20 * $MEGABYTE, 'and arrive';
    is_deeply [$hbone->violations], [], 'HTTP/2 was correct';
    is_deeply [$pod->seen('bad')], [], 'for the upstream too';
};


subtest 'keep-alive, HEAD, 204, 100-continue, pipelining and interim responses' => sub {
    my $pod = pod('manners', { program => [
        { match => '/head', size => 1000 },
        { match => '/none', status => 204, reason => 'No Content' },
        { match => '/hints', interim => ['103 Early Hints'] },
        { match => '/echo', echo => 1 },
        { match => '/last', close => 1 },
    ] });
    my $tunnel = dial($pod)->tunnel(authority($pod));
    my $http = $tunnel->http;

    my $head = $http->request(HEAD => '/head');
    is $head->header('content-length') . '/' . $head->{length}, '1000/0', 'HEAD has no body';
    is $http->request(GET => '/none')->status, 204, 'a 204 has none either';
    is $http->request(GET => '/hints')->{interim}[0]{status}, 103, '103 comes before 200';

    $http->send(POST => '/echo', size => 4, headers => [['expect', '100-continue']]);
    my $part;
    do { $part = $http->next_part(deadline_in(5)) } until $part->[0] ne 'head';
    is $part->[1]->status, 100, 'the upstream says 100 before the body is sent';
    $tunnel->write('body');
    is $http->response->json->{length}, 4, 'and answers after it';

    my $three = join '', map { Test::Cairn::HTTP1::http1_request(GET => "/echo/$_") } 1 .. 3;
    $http->send_raw($three, ('GET') x 3);
    is join(' ', map { $http->response->json->{target} } 1 .. 3), '/echo/1 /echo/2 /echo/3',
        'pipelined requests are answered in order';

    is $http->request(GET => '/last')->header('connection'), 'close', 'connection: close';
    ok $http->closes, 'ends the tunnel';
    is $tunnel->ended, 'eof', 'in an orderly way';
};


subtest 'a tunnel that is not read stops at its window; the others go on' => sub {
    my $pod = pod('windows', { program => { size => 8 * $MEGABYTE } });
    my $hbone = dial($pod, window => 65536);
    my $lazy = $hbone->tunnel(authority($pod));

    $lazy->http->send(GET => '/');
    ok wait_for(sub { $hbone->ping; $lazy->received == 65536 }), 'one window arrives';

    my $busy = $hbone->tunnel(authority($pod));
    is $busy->http->request(GET => '/')->{length}, 8 * $MEGABYTE, 'another tunnel gets all';
    is $lazy->received, 65536, 'and meanwhile nothing more';
    is $lazy->http->response->{length}, 8 * $MEGABYTE, 'until it is read';
    is_deeply [$hbone->violations], [], 'no window was exceeded';

    $pod->program({ read => 0, echo => 1 });
    my $stuck = dial($pod)->tunnel(authority($pod));
    $stuck->http->send(POST => '/', size => 4 * $MEGABYTE);
    $stuck->http->send_body(4 * $MEGABYTE, seconds => 0.3);
    cmp_ok $stuck->{connection}->h2->unsent($stuck->id), '>', 0, 'an upstream can refuse to read';
};


subtest 'the upstream can break off in all the ways that peers have' => sub {
    my $pod = pod('broken', { plain => 'yes', program => [
        { match => '/rst', rst => 'REFUSED_STREAM' },
        { match => '/abort', size => 1000, abort_at => 10 },
        { match => '/finish', size => 1000, finish_at => 10 },
        { match => '/raw', raw => "HTTP/1.1 200 OK\r\nbad header\r\n\r\n" },
        { match => '/hold', hold => 1 },
    ] });
    my $hbone = dial($pod);

    my $tunnel = $hbone->tunnel(authority($pod));
    like $tunnel->http->request(GET => '/rst')->error, qr/REFUSED_STREAM/, 'a reset';
    is $tunnel->reset_code, 'REFUSED_STREAM', 'with its code';

    my $cut = $hbone->tunnel(authority($pod))->http->request(GET => '/abort');
    is "$cut->{length} " . $cut->error, '10 reset: RST_STREAM INTERNAL_ERROR',
        'a reset in the body';

    my $short = $hbone->tunnel(authority($pod))->http->request(GET => '/finish');
    is "$short->{length} " . $short->error, '10 the end inside a body', 'an end in the body';

    my $raw = $hbone->tunnel(authority($pod))->http->request(GET => '/raw');
    is $raw->error, 'a malformed header', 'raw bytes';

    my $held = $hbone->tunnel(authority($pod))->http->request(GET => '/hold', seconds => 0.2);
    is $held->error, 'timeout', 'no answer at all';

    my $plain = Test::Cairn::Socket->connect(to => authority($pod));
    my $torn = Test::Cairn::HTTP1->new($plain)->request(GET => '/abort');
    like $torn->error, qr/^reset: read/, 'a TCP reset on a plain connection';
};


subtest 'a CONNECT can be refused, and GOAWAY is seen' => sub {
    my $pod = pod('refusing', { connect => [{ status => 503 }, { rst => 'REFUSED_STREAM' }, {}] });
    my $hbone = dial($pod);

    is $hbone->tunnel(authority($pod))->status, 503, 'with a status';
    is $hbone->tunnel(authority($pod))->reset_code, 'REFUSED_STREAM', 'with a reset';

    my $tunnel = $hbone->tunnel(authority($pod));
    is $tunnel->http->request(GET => '/')->body, "refusing\n", 'or accepted';

    is $hbone->tunnel('127.0.0.1:1')->status, 400, 'another authority is refused';
    is +($pod->seen('bad'))[0]{why}, 'CONNECT to 127.0.0.1:1', 'and noted as wrong';

    $pod->goaway;
    is $hbone->wait_goaway->{code}, 'NO_ERROR', 'GOAWAY';
    is $tunnel->http->request(GET => '/')->status, 200, 'open tunnels live on';

    $tunnel->rst('CANCEL');
    my ($reset) = $pod->wait_seen('tunnel_reset');
    is $reset->{code}, 'CANCEL', "the client's reset is seen";
};


subtest 'a wrong identity is refused, on both sides' => sub {
    my $pod = pod('strict', {});
    my $to = $pod->ip . ':15008';
    my %wrong = (
        'no certificate' => { root => identity_files('x')->{root} },
        'a certificate of another root' =>
            { %{ identity_files('x', root => 'other') }, root => identity_files('x')->{root} },
        'an expired certificate' => identity_files('x', expired => 1),
    );

    for my $what (sort keys %wrong) {
        ok !Test::Cairn::HBONE->connect(to => $to, identity => $wrong{$what}), "$what is refused";
        like $@, qr/alert|certificate|closed|reset/i, "because: $@";
    }

    my $stranger = identity_files('x', root => 'other');
    ok !Test::Cairn::HBONE->connect(to => $to, identity => $stranger),
        'the client refuses a server of another root';
    like $@, qr/verify failed/, 'because of its chain';

    ok !Test::Cairn::HBONE->connect(to => $to, as => 'x', expect => spiffe_id('other')),
        'and a server with another name';
    is $@, 'the server is spiffe://cluster.local/ns/default/sa/strict', 'because of its name';
};


subtest 'raw frames reach the peer as they are' => sub {
    my $pod = pod('frames', {});
    my $hbone = dial($pod);
    my $tunnel = $hbone->tunnel(authority($pod));

    $hbone->h2->raw(h2_frame(8, 0, $tunnel->id, pack 'N', 0));
    ok $hbone->ping, 'a frame that is wrong is sent';
    $hbone->close;

    my ($bad) = $pod->wait_seen('bad');
    is $bad->{why}, 'WINDOW_UPDATE of 0', 'and the upstream complains';
};


subtest 'a plain upstream, and a pod that stops' => sub {
    my $pod = pod('plain', { hbone => 'no', port => 8080, program => { until_close => 1 } });
    my $socket = Test::Cairn::Socket->connect(to => authority($pod));
    my $response = Test::Cairn::HTTP1->new($socket)->request(GET => '/');

    is $response->body, "plain\n", 'a body that ends with the connection';
    is +($pod->wait_seen('request'))[0]{via}, 'plain', 'is seen as plain';
    ok !Test::Cairn::Socket->connect(to => $pod->ip . ':15008'), 'there is no HBONE';

    my $pid = $pod->pid;
    $pod->stop;
    ok !process_alive($pid), 'the process is gone';
    ok !Test::Cairn::Socket->connect(to => authority($pod)), 'connections are refused';

    $pod->start;
    ok +Test::Cairn::Socket->connect(to => authority($pod)), 'until it is started again';
};


subtest 'a test process has a network of its own' => sub {
    my $lib = "$FindBin::Bin/../lib";
    my $other = `$^X -I$lib -MTest::Cairn::Net=network -e 'print network()'`;

    like network(), qr/^127\.\d+\.\d+$/, 'on the loopback';
    isnt $other, network(), 'and another process gets another';
};

done_testing;
