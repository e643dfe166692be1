#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Raw TCP: bytes pass both ways as they are, each direction ends on its own, and policy, metrics and
# the access log know the connection.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(access_log metrics)];

my $mesh = Test::Cairn->start(
    bootstrap => 'workers: 1',
    upstreams => <<'Y', services => <<'Y2', resources => <<'Y3');
echo-v1: {ports: [9000], raw: {echo: yes}}
direct-v1: {ports: [9000], raw: {echo: yes}, hbone: no}
greeter-v1: {ports: [9000], raw: {greet: "220 hello\r\n", at_end: "bye"}}
breaker-v1: {ports: [9000], raw: {greet: "some", abort_at: 3}}
big-v1: {ports: [9000], raw: {size: 8000000, hold: yes}}
slow-v1: {ports: [9000], raw: {read: no}}
broken-v1: {ports: [9000], raw: {}, connect: {status: 503}}
limited-v1: {ports: [9000], raw: {echo: yes}}
idle-v1: {ports: [9000], raw: {echo: yes, hold: yes}}
sleep: {client: yes}
other: {client: yes}
Y
echo: {port: 9000, protocol: tcp}
direct: {port: 9000, protocol: tcp-x}
greeter: {port: 9000, protocol: mysql}
breaker: {port: 9000, protocol: redis}
big: {port: 9000, protocol: mongo}
slow: {port: 9000, protocol: tcp}
broken: {port: 9000, protocol: tls}
limited: {port: 9000, protocol: https}
idle: {port: 9000, protocol: tcp}
nobody: {port: 9000, protocol: tcp}
Y2
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: who, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: limited}]
  rules:
  - from: [{source: {principals: ["cluster.local/ns/default/sa/sleep"]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: asks, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: idle}]
  action: DENY
  rules:
  - from: [{source: {principals: ["cluster.local/ns/default/sa/other"]}}]
    to: [{operation: {methods: [GET]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: http-only, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: slow}]
  rules:
  - from: [{source: {principals: ["cluster.local/ns/default/sa/sleep"]}}]
  - to: [{operation: {methods: [GET]}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: idle, namespace: default}
spec:
  host: idle
  trafficPolicy:
    connectionPool: {tcp: {idleTimeout: 0.3s}}
Y3

sub log_has {
    my ($pattern, $name) = @_;

    ok defined $mesh->daemon->wait_log('access', $pattern), $name
        or diag map { "$_\n" } $mesh->daemon->log_lines('access');
    return;
}

sub metric_is {
    my ($selector, $wanted, $name) = @_;

    my $got;
    wait_for(sub { ($got = $mesh->daemon->metric($selector)) == $wanted }, 8);
    is $got, $wanted, $name;
    return;
}

subtest 'bytes pass both ways and the client ends first' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'echo');

    is $tunnel->status, 200, 'the tunnel opens';
    $tunnel->write("\x00\x01GET raw\r\n");
    is $tunnel->read_exactly(11), "\x00\x01GET raw\r\n", 'what was said comes back';
    $tunnel->finish;
    is $tunnel->wait_end, 'eof', 'and the end of it';

    my ($seen) = $mesh->pod('echo-v1')->wait_seen('raw');
    is $seen->{body_length}, 11, 'the upstream heard all';
    is $seen->{peer}, 'spiffe://cluster.local/ns/default/sa/waypoint', 'from the waypoint';
    is $seen->{authority}, $mesh->pod('echo-v1')->ip . ':9000', 'in a tunnel to it';

    log_has(qr{"- - -" 0 - - - "-" 11 11 \d+ - "-" "-" "-" "-" "envoy://connect_originate/[\d.]+:9000" inbound-vip\|9000\|tcp\|echo\.default\.svc\.cluster\.local envoy://internal_client_address/ [\d.]+:9000 [\d.]+:\d+ - -$},
        'a line in the access log');

    my $labels = '{destination_service_name="echo",request_protocol="tcp",reporter="waypoint",'
        . 'source_principal="spiffe://cluster.local/ns/default/sa/sleep",response_flags="-",'
        . 'connection_security_policy="mutual_tls",destination_workload="echo-v1"}';
    metric_is("istio_tcp_connections_opened_total$labels", 1, 'opened');
    metric_is("istio_tcp_connections_closed_total$labels", 1, 'closed');
    metric_is("istio_tcp_sent_bytes_total$labels", 11, 'sent');
    metric_is("istio_tcp_received_bytes_total$labels", 11, 'received');
};

subtest 'an endpoint outside the mesh is reached directly' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'direct');

    $tunnel->write('abc');
    is $tunnel->read_exactly(3), 'abc', 'what was said comes back';
    $tunnel->finish;
    is $tunnel->wait_end, 'eof', 'and the end of it';
};

subtest 'a server that speaks first is heard, and answers after the client has ended' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'greeter');

    is $tunnel->read_exactly(11), "220 hello\r\n", 'the greeting';
    $tunnel->write('quit');
    $tunnel->finish;
    is $tunnel->read_exactly(3), 'bye', 'said after our end';
    is $tunnel->wait_end, 'eof', 'then its own';
};

subtest 'a server that breaks off resets the tunnel, after what it said' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'breaker');

    is $tunnel->read_exactly(4), 'some', 'what it said';
    $tunnel->write('abc');
    is $tunnel->wait_end, 'reset', 'the tunnel is reset';
    is $tunnel->reset_code, 'CONNECT_ERROR', 'with a code that says so';
};

subtest 'a client that breaks off takes the upstream along' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'echo');

    $tunnel->write('abc');
    $tunnel->read_exactly(3);
    $tunnel->rst('CANCEL');
    ok scalar $mesh->pod('echo-v1')->wait_seen('raw_broken'), 'the upstream sees it end';
};

subtest 'a client that does not read holds its server back, and no other' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'big', window => 65536);
    my $beside = $mesh->tunnel(as => 'sleep', to => 'echo');

    $beside->write('abc');
    is $beside->read_exactly(3), 'abc', 'another tunnel goes on';
    wait_for(sub { $tunnel->received >= 65536 || !$tunnel->{connection}->pump(deadline_in(0.1)) }, 5);
    cmp_ok $tunnel->received, '<=', 65536, 'no more than its window';
    is length $tunnel->read_exactly(8_000_000, 30), 8_000_000, 'all of it, when it reads';
    $tunnel->finish;
    $tunnel->rst;
};

subtest 'a server that does not read holds its client back' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'slow');

    $tunnel->write('x' x 4_000_000);
    wait_for(sub { !$tunnel->{connection}->pump(deadline_in(0.3)) }, 10);
    cmp_ok $tunnel->unsent, '>', 2_000_000, 'most of it waits at the client';
    $tunnel->rst;
};

subtest 'nobody who answers resets the tunnel' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'broken');

    $tunnel->write('abc');
    is $tunnel->wait_end, 'reset', 'a CONNECT that is refused';
    log_has(qr{"- - -" 0 URX,UF - - "-" 3 0 .*tcp\|broken\.}, 'is told in the log');

    $tunnel = $mesh->tunnel(as => 'sleep', to => 'nobody');
    is $tunnel->wait_end, 'reset', 'no endpoint at all';
    log_has(qr{"- - -" 0 UH - - "-" 0 0 }, 'is told in the log');

    $mesh->pod('direct-v1')->stop;
    $tunnel = $mesh->tunnel(as => 'sleep', to => 'direct');
    is $tunnel->wait_end, 'reset', 'a connection that is refused';
    log_has(qr{"- - -" 0 URX,UF - - "delayed_connect_error:_Connection_refused" 0 0 .*tcp\|direct\.},
        'is told in the log');
};

subtest 'policy decides by who asks' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'limited');

    $tunnel->write('abc');
    is $tunnel->read_exactly(3), 'abc', 'who is allowed passes';
    $tunnel->rst;

    $tunnel = $mesh->tunnel(as => 'other', to => 'limited');
    is $tunnel->wait_end, 'reset', 'who is not is reset';
    log_has(qr{"- - -" 0 - - rbac_access_denied_matched_policy\[none\] "-" 0 0 }, 'and told in the log');

    $tunnel = $mesh->tunnel(as => 'other', to => 'idle');
    is $tunnel->wait_end, 'reset', 'a DENY denies whatever the request would be';
    log_has(qr{ - rbac_access_denied_matched_policy\[ns\[default\]-policy\[asks\]-rule\[0\]\] },
        'and told in the log');

    $tunnel = $mesh->tunnel(as => 'other', to => 'slow');
    is $tunnel->wait_end, 'reset', 'an ALLOW that asks for a request admits none';
    is scalar($mesh->pod('slow-v1')->seen('raw')), 0, 'and nothing reaches the upstream';
};

subtest 'a connection on which nothing happens ends' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'idle');

    $tunnel->write('abc');
    is $tunnel->read_exactly(3), 'abc', 'it is open';
    is $tunnel->wait_end(10), 'reset', 'and then reset';
    log_has(qr{"- - -" 0 - - tcp_session_idle_timeout "-" 3 3 }, 'for its silence');
};

subtest 'explain tells who may connect, and to what' => sub {
    my $explain = sub { $mesh->daemon->run('explain', @_, 'GET', 'http://limited:9000/')->{out} };
    my $allowed = $explain->('--from', 'spiffe://cluster.local/ns/default/sa/sleep');

    like $allowed, qr/^raw TCP: /m, 'that it is no HTTP';
    like $allowed, qr/endpoint: @{[ $mesh->pod('limited-v1')->ip ]}:9000 healthy/, 'the endpoint';
    like $explain->(), qr/^answer: 403, RBAC: access denied$/m, 'who may not';
};

subtest 'a reload leaves it open' => sub {
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'echo');

    $tunnel->write('abc');
    is $tunnel->read_exactly(3), 'abc', 'before';
    $mesh->reload('');
    $tunnel->write('def');
    is $tunnel->read_exactly(3), 'def', 'after';
    $tunnel->finish;
    is $tunnel->wait_end, 'eof', 'to its own end';
};

$mesh->stop;
done_testing;
