#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Plain listeners with TLS, for clients outside the mesh: HTTP/2 and HTTP/1.1 by ALPN, no client
# certificate, certificates renewed by a reload.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::HTTP2 ();
use Test::Cairn::Net qw(waypoint_address free_port);

my $DIR = test_dir() . '/tls';
mkdir $DIR;

sub use_certificate {
    my ($name) = @_;

    my $files = identity_files($name);
    spew("$DIR/cert.pem", slurp($files->{certificate}));
    spew("$DIR/key.pem", slurp($files->{key}));
    return;
}

use_certificate('edge');
my $address = waypoint_address();
my ($port, $pinned, $bad) = map { free_port($address) } 1 .. 3;

my $mesh = Test::Cairn->start(
    upstreams => <<'Y', bootstrap => <<"B", resources => <<'R');
reviews-v1:
Y
workers: 2
listen:
  tls:
  - {address: "$address:$port", certificate: $DIR/cert.pem, key: $DIR/key.pem}
  - {address: "$address:$pinned", certificate: $DIR/cert.pem, key: $DIR/key.pem, service: default/reviews:9080}
B
apiVersion: v1
kind: ConfigMap
metadata: {name: nothing, namespace: default}
R

sub connection {
    my ($alpn, $to) = @_;

    my $socket = Test::Cairn::Socket->connect(to => "$address:" . ($to // $port)) or die $@;
    $socket->tls(deadline_in(10), SSL_ca_file => root_file(), SSL_verifycn_scheme => 'none',
        SSL_verify_mode => 1, @{$alpn} ? (SSL_alpn_protocols => $alpn) : ()) or die $socket->error;
    return $socket;
}

subtest 'HTTP/2 where the client offers it' => sub {
    my $socket = connection(['h2', 'http/1.1']);
    my $http = Test::Cairn::HTTP2->new($socket);

    is $socket->alpn, 'h2', 'is preferred';
    is $http->response(id => $http->send(GET => '/a', host => 'reviews:9080'))->status, 200, 'an answer';
    my ($seen) = $mesh->pod('reviews-v1')->wait_seen('request');
    is_deeply [map { $_->[1] } grep { $_->[0] eq 'x-forwarded-proto' } @{ $seen->{headers} }],
        ['https'], 'the upstream is told of TLS';
};

subtest 'HTTP/1.1 where it does not' => sub {
    for my $alpn (['http/1.1'], ['http/1.0'], []) {
        my $socket = connection($alpn);

        is $socket->alpn // '', ($alpn->[0] // '') eq 'http/1.1' ? 'http/1.1' : '', 'ALPN';
        is(Test::Cairn::HTTP1->new($socket)->request(GET => '/b', host => 'reviews:9080')->status,
            200, 'an answer');
    }
    my $http = Test::Cairn::HTTP2->new(connection([]));
    is $http->response(id => $http->send(GET => '/c', host => 'reviews:9080'))->status, 200,
        'or HTTP/2 with prior knowledge';
};

subtest 'a listener may be one service\'s' => sub {
    my $http = Test::Cairn::HTTP1->new(connection(['http/1.1'], $pinned));
    is $http->request(GET => '/d', host => 'anything')->status, 200, 'whatever the Host';
};

subtest 'curl agrees' => sub {
    my $curl = sub { scalar `curl -sS --max-time 10 --cacert @{[root_file()]} -k -o /dev/null -w '%{http_version} %{http_code}' @_ -H 'host: reviews:9080' https://$address:$port/ 2>&1` };

    plan skip_all => 'no curl' if !`sh -c 'command -v curl'`;
    is $curl->('--http2'), '2 200', 'HTTP/2';
    is $curl->('--http1.1'), '1.1 200', 'HTTP/1.1';
};

subtest 'plain bytes are refused, and nothing breaks' => sub {
    my $socket = Test::Cairn::Socket->connect(to => "$address:$port") or die $@;
    my $http = Test::Cairn::HTTP1->new($socket);

    $http->send_raw("GET / HTTP/1.1\r\nhost: reviews\r\n\r\n", 'GET');
    ok !$http->response->complete, 'no answer';
    ok defined $mesh->daemon->wait_log('error', qr{refuse handshake: }), 'a line in the log';
};

subtest 'a reload renews the certificate for new connections' => sub {
    my $before = connection(['http/1.1']);
    is(($before->peer_ids)[0], spiffe_id('edge'), 'the old one');

    use_certificate('renewed');
    $mesh->reload('');
    ok wait_for(sub { (connection(['http/1.1'])->peer_ids)[0] eq spiffe_id('renewed') }, 5), 'the new one';
    is(Test::Cairn::HTTP1->new($before)->request(GET => '/e', host => 'reviews:9080')->status, 200,
        'old connections go on');

    spew("$DIR/key.pem", "nonsense\n");
    $mesh->reload('');
    ok defined $mesh->daemon->wait_log('error', qr{read certificate: reason=.*key}), 'one that is broken is told';
    is((connection(['http/1.1'])->peer_ids)[0], spiffe_id('renewed'), 'and the last good one serves on');
};

subtest 'a certificate that cannot be read is an error of the configuration' => sub {
    my $run = $mesh->daemon->run('-t');
    isnt $run->{status}, 0, 'exit code';
    like "$run->{out}$run->{err}", qr{listen\.tls.*key\.pem}, 'the file is named';
};

$mesh->stop;
done_testing;
