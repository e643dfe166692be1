#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Many HTTP/2 streams: each goes on its own, held back by its own reader and nobody else's, within the
# limits of both sides; a connection that goes away takes no request along.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(access_log)];
use Test::Cairn::HTTP2 ();

my $mesh = Test::Cairn->start(
    bootstrap => 'workers: 1',
    upstreams => <<'Y', services => <<'Y2');
wide-v1: {ports: [9000]}
narrow-v1: {ports: [9000], h2_settings: {max_streams: 2}}
sleep: {client: yes}
Y
wide: {port: 9000, protocol: grpc}
narrow: {port: 9000, protocol: grpc}
Y2

sub client { return Test::Cairn::HTTP2->new($mesh->tunnel(as => 'sleep', to => $_[0]), @_[1 .. $#_]) }

sub program { return ['x-program', $_[0]] }

subtest 'a hundred requests at a time share one connection to the endpoint' => sub {
    my $http = client('wide');
    my @ids = map { $http->send(GET => "/$_", headers => [program('{"delay":0.2}')]) } 1 .. 100;

    is scalar(grep { $http->response(id => $_)->status == 200 } @ids), 100, 'all are answered';
    is scalar($mesh->pod('wide-v1')->seen('tunnel')), 1, 'in one tunnel';
};

subtest 'an endpoint that takes two at a time gets no more on a connection' => sub {
    my $http = client('narrow');

    is $http->response(id => $http->send(GET => '/first'))->status, 200, 'its limit is known';
    my @ids = map { $http->send(GET => "/$_", headers => [program('{"delay":0.2}')]) } 1 .. 6;
    is scalar(grep { $http->response(id => $_)->status == 200 } @ids), 6, 'all are answered';
    cmp_ok scalar($mesh->pod('narrow-v1')->seen('tunnel')), '>=', 3, 'on more connections';
};

subtest 'a stream goes both ways at once' => sub {
    my $http = client('wide');
    my $id = $http->send(POST => '/chat', open => 1, headers => [
        ['content-type', 'application/grpc'], ['te', 'trailers'],
        program('{"early":1,"size":12,"delay_body":0.5,"trailers":{"grpc-status":"0"}}')]);

    is $http->head($id)->status, 200, 'the head comes before the request has ended';
    $http->write($id, "\0\0\0\0\5hello");
    $http->write($id, 'more', 1);

    my $response = $http->response(id => $id);
    is_deeply $response->{trailers}, [['grpc-status', '0']], 'its trailers';
    my ($seen) = grep { $_->{target} eq '/chat' } $mesh->pod('wide-v1')->wait_seen('request', 101);
    is $seen->{body_length}, 14, 'the upstream heard all';
};

subtest 'a reader that holds its stream back holds nobody else' => sub {
    my $http = client('wide', window => 65536, hold => 1);
    my $held = $http->send(GET => '/held', headers => [program('{"size":4000000}')]);

    is $http->wait_length($held, 65536), 65536, 'its window is full';
    is $http->response(id => $http->send(GET => '/beside'))->status, 200, 'another goes on';
    is $http->wait_length($held, 65537, 0.3), 65536, 'and no more came';

    my $got = 65536;
    while ($got < 4_000_000) {
        $http->release($held);
        my $more = $http->wait_length($held, $got + 1);
        last if $more == $got;
        $got = $more;
    }
    $http->release($held);
    my $response = $http->response(id => $held);
    is $response->{length}, 4_000_000, 'all of it, when it reads';
    ok $response->complete, 'to its end';
};

subtest 'an upstream that does not read holds back its client' => sub {
    my $http = client('wide');
    my $id = $http->send(POST => '/x', open => 1, headers => [program('{"read":0,"hold":1}')]);

    $http->write($id, 'x' x 4_000_000);
    wait_for(sub { !$http->pump(deadline_in(0.3)) }, 10);
    cmp_ok $http->h2->unsent($id), '>', 2_000_000, 'most waits at the client';
    is $http->response(id => $http->send(GET => '/beside'))->status, 200, 'another goes on';
    $http->rst($id);
    my ($reset) = $mesh->pod('wide-v1')->wait_seen('reset');
    is $reset->{code}, 'CANCEL', 'a client that gives up is told to the upstream';
    ok defined $mesh->daemon->wait_log('access', qr{"POST /x HTTP/2" 0 DR http2.remote_reset }),
        'and in the log';
};

subtest 'an endpoint that goes away is left when what it has is answered' => sub {
    my $http = client('wide');
    my $before = $mesh->pod('wide-v1')->seen('tunnel');
    my @ids = map { $http->send(GET => "/$_", headers => [program('{"delay":0.3}')]) } 1 .. 5;

    ok wait_for(sub { $http->pump(deadline_in(0.05)); $mesh->pod('wide-v1')->seen('request') >= 5 }, 5),
        'five are under way';
    $mesh->pod('wide-v1')->inner_goaway;
    push @ids, map { $http->send(GET => "/after$_") } 1 .. 5;
    is scalar(grep { $http->response(id => $_)->status == 200 } @ids), 10, 'all are answered';
    cmp_ok scalar($mesh->pod('wide-v1')->seen('tunnel')), '>', $before, 'those after in another tunnel';
};

subtest 'a client\'s connection carries on over a reload' => sub {
    my $http = client('wide');
    my $id = $http->send(POST => '/long', open => 1, headers => [program('{"size":5,"trailers":{"a":"b"}}')]);

    $http->write($id, 'before ');
    $mesh->reload('');
    $http->write($id, 'after', 1);
    my $response = $http->response(id => $id);
    is $response->status, 200, 'an open stream too';
    ok $response->complete, 'to its end';
};

subtest 'too many streams are refused, one by one' => sub {
    my $http = client('wide');
    my @ids = map { $http->send(POST => '/x', open => 1) } 1 .. 1030;

    wait_for(sub { !$http->pump(deadline_in(0.3)) }, 10);
    my @refused = grep { ($http->{answers}{$_}{reset} // '') eq 'REFUSED_STREAM' } @ids;
    cmp_ok scalar(@refused), '>', 0, 'past the limit';
    cmp_ok scalar(@refused), '<=', 30, 'and no others';
    $http->rst($_) for @ids[0 .. 9];
};

$mesh->stop;
done_testing;
