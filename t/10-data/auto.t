#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Ports of unknown protocol: the first bytes tell HTTP/1, HTTP/2 and anything else apart, and a server
# that speaks first is heard.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(access_log)];

my $mesh = Test::Cairn->start(
    bootstrap => 'workers: 1',
    upstreams => <<'Y', services => <<'Y2', resources => <<'Y3');
web-v1: {ports: [9000]}
echo-v1: {ports: [9000], raw: {echo: yes}}
greeter-v1: {ports: [9000], raw: {greet: "220 hello\r\n", echo: yes}}
guarded-v1: {ports: [9000], raw: {greet: "220 hello\r\n", echo: yes}}
sleep: {client: yes}
Y
web: {ports: [{name: x, port: 9000, targetPort: 9000}]}
echo: {ports: [{name: x, port: 9000, targetPort: 9000}]}
greeter: {ports: [{name: x, port: 9000, targetPort: 9000}]}
guarded: {ports: [{name: x, port: 9000, targetPort: 9000}]}
Y2
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: guarded}]
  rules:
  - to: [{operation: {methods: [GET]}}]
Y3

sub connections_of { return scalar $mesh->pod($_[0])->seen('tunnel') }

subtest 'HTTP/1.1 is told by its request line, also in pieces' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'web');
    my $http = $tunnel->http;

    is $http->request(GET => '/one', host => 'web')->status, 200, 'a request';
    is $http->request(GET => '/two', host => 'web')->status, 200, 'another one';

    $tunnel = $mesh->tunnel(as => 'sleep', to => 'web');
    $http = $tunnel->http;
    for my $piece (split //, 'GET /x HTT') {
        $tunnel->write($piece);
        $tunnel->{connection}->ping;
    }
    $http->send_raw("P/1.1\r\nhost: web\r\n\r\n", 'GET');
    is $http->response->status, 200, 'byte by byte';
    my @seen = $mesh->pod('web-v1')->requests;
    is join(' ', map { "$_->{target} $_->{version}" } @seen),
        '/one HTTP/1.1 /two HTTP/1.1 /x HTTP/1.1', 'what the upstream saw';
};

subtest 'HTTP/2 is told by its preface, and is spoken to the upstream too' => sub {
    my $response = $mesh->request("as sleep to web GET /h2 HTTP/2");

    is $response->status, 200, 'a request';
    my ($seen) = grep { $_->{target} eq '/h2' } $mesh->pod('web-v1')->wait_seen('request', 4);
    is $seen->{version}, 'HTTP/2', 'as the client speaks';
};

subtest 'a request that waits with its first byte is HTTP all the same' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'web');
    my $before = connections_of('web-v1');

    ok wait_for(sub { $tunnel->{connection}->ping; connections_of('web-v1') > $before }, 5),
        'meanwhile its service is dialled';
    is $tunnel->http->request(GET => '/late', host => 'web')->status, 200, 'a request';
    ok defined $mesh->daemon->wait_log('access', qr{"GET /late HTTP/1.1" 200 }), 'as HTTP in the log';
};

subtest 'anything else passes as it is' => sub {
    for my $bytes ("\x16\x03\x01\x00\x05hello", "get key\r\n", "GET /\r\n", "PRI * HTTP/2.0\r\nx") {
        my $tunnel = $mesh->tunnel(as => 'sleep', to => 'echo');

        $tunnel->write($bytes);
        is $tunnel->read_exactly(length $bytes), $bytes, 'and comes back';
        $tunnel->finish;
        is $tunnel->wait_end, 'eof', 'to its end';
    }
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'echo');
    $tunnel->write('GET');
    $tunnel->finish;
    is $tunnel->read_exactly(3), 'GET', 'also what is no more than a beginning';
    ok defined $mesh->daemon->wait_log('access', qr{"- - -" 0 - - - "-" 3 3 .*\|tcp\|echo}), 'the log';
};

subtest 'a server that speaks first is heard' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'greeter');

    is $tunnel->read_exactly(11), "220 hello\r\n", 'the greeting';
    $tunnel->write("GET / HTTP/1.1\r\n\r\n");
    is $tunnel->read_exactly(18), "GET / HTTP/1.1\r\n\r\n", 'then it is no HTTP, whatever is said';
    $tunnel->finish;
    is $tunnel->wait_end, 'eof', 'to its end';
};

subtest 'an ALLOW that asks about a request admits no other protocol' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'guarded');

    $tunnel->{connection}->ping for 1 .. 3;
    $tunnel->write("\x16\x03");
    is $tunnel->wait_end, 'reset', 'it is reset';
    is $tunnel->received, 0, 'and hears nothing';
    is connections_of('guarded-v1'), 0, 'the service is not even dialled';
    ok defined $mesh->daemon->wait_log('access', qr{rbac_access_denied_matched_policy\[none\]}),
        'the log';

    is $mesh->request("as sleep to guarded POST /")->status, 403, 'a request is judged as one';
};

$mesh->stop;
done_testing;
