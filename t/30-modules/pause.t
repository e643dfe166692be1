#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A filter that pauses a request, holds its body, and asks a service about it: the module
# t/modules/authorizer, which only the tests' program has.

use FindBin ();
use lib "$FindBin::Bin/../lib";

BEGIN {
    my $program = $ENV{TEST_CAIRN_BINARY} // "$FindBin::Bin/../../objs/cairn";

    $ENV{TEST_CAIRN_BINARY} = $program =~ s/\bcairn$/cairn-test/r;
}

use Digest::SHA qw(sha256_hex);
use Test::Cairn needs => [qw(access_log metrics)];
use Test::Cairn::HTTP2 ();

my $LIMIT = 100_000;

my $asked_cluster = 'inbound-vip|9080|http|asked.default.svc.cluster.local';
my $authorizer = <<"Y";
apiVersion: cairn/v1
kind: TestAuthorizer
metadata: {name: reviews, namespace: default}
spec:
  service: reviews.default.svc.cluster.local
  cluster: "$asked_cluster"
  timeout: 2s
  maxRequestBytes: $LIMIT
---
apiVersion: cairn/v1
kind: TestAuthorizer
metadata: {name: pages, namespace: default}
spec:
  service: pages.default.svc.cluster.local
  cluster: inbound-vip|9080|http|judge.default.svc.cluster.local
  timeout: 2s
  maxRequestBytes: $LIMIT
Y

my $services = <<'Y';
asked:
reviews:
pages: {protocol: http2}
judge: {protocol: http2}
Y

my $mesh = Test::Cairn->start(
    upstreams => <<'Y', services => $services, resources => $authorizer, bootstrap => 'workers: 1');
asked-v1:
  program:
    - {match: /deny, status: 403, body: "no, says the service"}
    - {match: /teapot, status: 418, body: ""}
    - {match: /fails, status: 503}
    - {match: /hold, hold: 1}
    - {match: /slow, delay: 0.6}
    - {match: /resets, rst: CANCEL}
    - {match: /garbage, raw: "this is no HTTP\r\n\r\n"}
    - {match: /cut, size: 2000, abort_at: 1000}
    - {match: /long, size: 100000}
    - {match: /early, status: 200, early: 1}
    - {}
asked-v2: {ready: no}
reviews-v1: {program: [{body: from reviews}]}
pages-v1: {program: [{body: from pages}]}
judge-v1: {program: [{match: /deny, status: 403, body: denied}, {match: /hold, hold: 1}, {match: /slow, delay: 0.4}, {trailers: {x-verdict: fine}}]}
sleep: {client: yes}
Y
my $daemon = $mesh->daemon;
my ($asked, $reviews) = ($mesh->pod('asked-v1'), $mesh->pod('reviews-v1'));

sub client { return $mesh->tunnel(as => 'sleep', to => 'reviews')->http }

sub forget { $mesh->forget; $daemon->log_mark; return }

sub body_of {
    my ($size) = @_;

    return substr join('', map { sprintf '%07d,', $_ } 0 .. $size / 8), 0, $size;
}

# Nothing is left of any request: neither in the worker nor of the calls.
sub all_over {
    my ($what) = @_;

    ok wait_for(sub { $daemon->metric('cairn_worker_active_requests') == 0 }, 5),
        "$what: no request is active";
    return;
}

sub denied {
    my ($response, $what) = @_;

    is $response->status, 403, "$what: denied";
    is $response->body, 'not authorized', "$what: by the filter itself";
    is $response->header('server'), 'istio-envoy', "$what: as every reply";
    return;
}

subtest 'what the service allows goes on, what it denies gets its answer' => sub {
    forget;
    my $http = client;
    my $allowed = $http->request(GET => '/x?y=1');

    is $allowed->status, 200, 'allowed';
    is $allowed->body, 'from reviews', 'by the service itself';
    is scalar($asked->requests), 1, 'asked once';
    is(($asked->requests)[0]{target}, '/x?y=1', 'about this request');
    is scalar($reviews->requests), 1, 'and it arrived once';

    forget;
    my $denied = $http->request(GET => '/deny');

    is $denied->status, 403, 'denied';
    is $denied->body, 'no, says the service', 'with its words';
    ok $daemon->wait_log('access', qr{"GET /deny HTTP/1.1" 403 UAEX authorizer_denied}),
        'the log has the flag of it';

    is $http->request(GET => '/teapot')->status, 418, 'any status it likes';
    is $http->request(GET => '/again')->status, 200, 'and the connection lives on';
    is scalar($reviews->requests), 1, 'nothing that was denied arrived';
    all_over 'allowed and denied';
};

subtest 'a body arrives whole and once, at the service that is asked and at the one meant' => sub {
    my $http = client;

    for my $size (0, 1, 100, 2047, 2048, 16_384, 65_535, 65_536, $LIMIT - 1, $LIMIT) {
        for my $chunked (0, 1, 4096) {
            next if $chunked == 1 && $size > 2048;

            my $body = body_of($size);

            forget;
            my $response = $http->request(POST => '/body', body => $body, chunked => $chunked);
            my $what = "$size bytes" . ($chunked ? " in chunks of $chunked" : '');

            is $response->status, 200, "$what: allowed";

            for my $pod ($asked, $reviews) {
                my @seen = $pod->requests;

                is scalar(@seen), 1, "$what: once at " . $pod->name;
                is $seen[0]{body_sha256}, sha256_hex($body), "$what: whole at " . $pod->name;
            }
        }
    }
    all_over 'bodies';
};

subtest 'a body in many pieces, the call comes only after the last' => sub {
    forget;
    my $http = client;
    my $body = body_of(30_000);

    $http->send(POST => '/pieces', headers => [['content-length', length $body]]);

    for my $at (0 .. 29) {
        $http->channel->write(substr $body, $at * 1000, 1000);
        ok $http->channel->{connection}->ping, 'a piece is there' if $at % 10 == 0;
    }
    is $http->response->status, 200, 'allowed';
    is(($asked->requests)[0]{body_sha256}, sha256_hex($body), 'whole where it was asked');
    is(($reviews->requests)[0]{body_sha256}, sha256_hex($body), 'whole where it was meant for');

    forget;
    $http->send(POST => '/pieces', headers => [['content-length', 10]]);
    $http->channel->write('12345');
    ok $http->channel->{connection}->ping, 'half of it is there';
    is scalar($asked->seen), 0, 'nobody was asked yet';
    $http->channel->write('67890');
    is $http->response->status, 200, 'allowed with the rest';
    all_over 'pieces';
};

subtest 'a body above the limit is refused and asked about nowhere' => sub {
    forget;

    my $told = client->request(POST => '/big', body => body_of($LIMIT + 1));
    is $told->status, 413, 'by its length';

    my $chunked = client->request(POST => '/big', body => body_of($LIMIT + 1), chunked => 4096);
    is $chunked->status, 413, 'by its chunks';

    my $huge = client;
    $huge->send(POST => '/big', size => 5_000_000, chunked => 0);
    $huge->send_body(5_000_000, seconds => 5);
    is $huge->response->status, 413, 'while it is still being sent';

    is scalar($asked->requests), 0, 'nobody was asked';
    is scalar($reviews->requests), 0, 'nothing arrived';
    ok $daemon->wait_log('access', qr{"POST /big HTTP/1.1" 413 - request_payload_too_large}),
        'the log tells why';
    all_over 'above the limit';
};

subtest 'a client that waits for 100 Continue is told to send' => sub {
    forget;
    my $http = client;
    my @expect = (headers => [['expect', '100-continue']]);

    $http->send(POST => '/expect', size => 5, @expect);

    my $interim = $http->next_part(deadline_in(5));
    is $interim->[1]->status, 100, 'a 100 comes though nobody was asked yet';

    $http->channel->write('hello');
    my $response = $http->response;
    is $response->status, 200, 'then the answer';
    is scalar(@{ $response->{interim} }), 1, 'with no second 100';
    is(($reviews->requests)[0]{body_length}, 5, 'the body is there');
    ok !grep({ lc $_->[0] eq 'expect' } @{ ($reviews->requests)[0]{headers} }),
        'the upstream was not asked for another';

    my $refused = client;
    $refused->send(POST => '/expect', size => $LIMIT + 1, @expect);
    $response = $refused->response;
    is $response->status, 413, 'one that is too long is refused at once';
    is scalar(@{ $response->{interim} }), 0, 'without a 100';
    all_over '100 Continue';
};

subtest 'a service that fails, or does not answer, denies' => sub {
    forget;

    denied(client->request(POST => "/$_", body => 'x'), $_) for qw(fails resets garbage cut long);

    my $start = now();
    denied(client->request(POST => '/hold', body => 'x'), 'timeout');
    cmp_ok now() - $start, '>=', 1.9, 'after its time';
    ok $asked->wait_seen('broken'), 'and the call was dropped';
    ok $daemon->wait_log('access', qr{"POST /hold HTTP/1.1" 403 UAEX authorizer_failed}), 'the log';
    is scalar($reviews->requests), 0, 'nothing arrived';

    forget;
    my $http = client;
    $http->send(POST => '/hold', body => 'x');
    $asked->wait_seen('request');
    $asked->stop;
    denied($http->response, 'the service dies while it is asked');
    denied(client->request(GET => '/nobody'), 'nobody is there');
    $asked->start;
    is client->request(GET => '/back')->status, 200, 'it is asked again when it is back';
    is scalar($reviews->requests), 1, 'only that arrived';
    all_over 'failures';
};

subtest 'an answer that comes before the body was read counts' => sub {
    my $body = body_of($LIMIT);

    is client->request(POST => '/early', body => $body)->status, 200, "time $_" for 1 .. 3;
    all_over 'early';
};

subtest 'a client that goes away while it waits: the call is dropped' => sub {
    for my $how (qw(rst close abort)) {
        forget;
        my $tunnel = $mesh->tunnel(as => 'sleep', to => 'reviews');

        $tunnel->http->send(POST => '/hold', body => body_of(50_000));
        is scalar($asked->wait_seen('request')), 1, "$how: the service is being asked";
        cmp_ok $daemon->metric('cairn_worker_active_requests'), '==', 1, "$how: one is active";

        $how eq 'rst' ? $tunnel->rst('CANCEL') : $tunnel->{connection}->$how;
        $tunnel->{connection}->send_out if $how eq 'rst';
        ok $asked->wait_seen('broken'), "$how: the call was dropped";
        all_over $how;
    }

    forget;
    my $http = client;
    $http->send(POST => '/half', headers => [['content-length', 1000]]);
    $http->channel->write('some of it');
    ok $http->channel->{connection}->ping, 'half a body is held';
    $http->channel->{connection}->abort;
    all_over 'half a body';
    is scalar($asked->seen), 0, 'nobody was asked';
};

subtest 'two filters that pause: the body keeps its order and is looked at by both' => sub {
    ok $mesh->reload("$authorizer---\n" . <<'Y'), 'a fault before it';
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
    - fault: {delay: {fixedDelay: 300ms}}
      route: [{destination: {host: reviews}}]
Y
    forget;
    my $http = client;
    my $body = body_of(60_000);

    $http->send(POST => '/both', headers => [['content-length', length $body]]);

    for my $at (0 .. 19) {
        $http->channel->write(substr $body, $at * 3000, 3000);
        $http->channel->{connection}->ping if $at < 10;
    }
    is $http->response->status, 200, 'allowed';

    for my $pod ($asked, $reviews) {
        is scalar($pod->requests), 1, 'once at ' . $pod->name;
        is(($pod->requests)[0]{body_sha256}, sha256_hex($body), 'in order at ' . $pod->name);
    }

    my $late = client;
    my $large = body_of($LIMIT + 1);
    $late->send(POST => '/both', body => $large, chunked => 5000);
    is $late->response->status, 413, 'what came during the delay counts to the limit';

    forget;
    is client->request(GET => '/both')->status, 200, 'without a body';
    is scalar($asked->requests), 1, 'asked once';
    all_over 'two filters';
};

subtest 'a reload while a request waits: it goes on with what it began with' => sub {
    ok $mesh->reload($authorizer), 'the filter alone';
    forget;

    my $http = client;
    $http->send(POST => '/slow', body => body_of(20_000));
    $asked->wait_seen('request');

    like $mesh->reload("---\n"), qr/done|unchanged|complete/, 'the filter is taken away meanwhile';
    is client->request(GET => '/free')->status, 200, 'a new request is served';
    is scalar($asked->requests), 1, 'and nobody asked about it';
    is $http->response->status, 200, 'the one that waited gets its answer';
    is(($reviews->seen('request'))[-1]{body_sha256}, sha256_hex(body_of(20_000)), 'with its body');

    ok $mesh->reload($authorizer), 'and there again';
    is client->request(GET => '/deny')->status, 403, 'it is asked again';
    all_over 'reload';
};

subtest '50 at once' => sub {
    forget;
    my @clients = map { $_->http } $mesh->tunnels(50, as => 'sleep', to => 'reviews');

    for my $at (0 .. $#clients) {
        my $path = $at % 5 == 0 ? '/deny' : $at % 5 == 1 ? '/slow' : '/fast';
        $clients[$at]->send(POST => $path, body => "$at " . body_of($at * 1000));
    }

    my @status = map { $_->response->status } @clients;

    is join(' ', @status), join(' ', map { $_ % 5 == 0 ? 403 : 200 } 0 .. 49), 'each its own answer';
    is scalar($asked->requests), 50, 'all were asked about';

    my %sent = map { sha256_hex("$_ " . body_of($_ * 1000)) => 1 } grep { $_ % 5 } 0 .. 49;
    my %seen = map { $_->{body_sha256} => 1 } $reviews->requests;

    is_deeply \%seen, \%sent, 'the bodies of those that were allowed arrived';
    all_over '50 at once';
};

subtest 'the same in HTTP/2: many requests on one connection, and so are the calls' => sub {
    forget;

    my $http = Test::Cairn::HTTP2->new($mesh->tunnel(as => 'sleep', to => 'pages'));
    my ($pages, $judge) = ($mesh->pod('pages-v1'), $mesh->pod('judge-v1'));
    my @paths = map { (qw(/deny /slow /fast))[$_ % 3] } 0 .. 29;
    my $gone = $http->send(POST => '/hold', body => 'x');

    ok $judge->wait_seen('request'), 'one is being asked about';

    my @ids = map { $http->send(POST => $paths[$_], body => "$_ " . body_of($_ * 2000)) } 0 .. 29;

    $http->rst($gone);

    my @status = map { $http->response(id => $_)->status } @ids;

    is join(' ', @status), join(' ', map { $_ eq '/deny' ? 403 : 200 } @paths), 'each its answer';
    is scalar($judge->wait_seen('reset')), 1, 'the call for the one that was reset was dropped';

    my %sent = map { sha256_hex("$_ " . body_of($_ * 2000)) => 1 } grep { $_ % 3 } 0 .. 29;
    my %seen = map { $_->{body_sha256} => 1 } $pages->requests;

    is_deeply \%seen, \%sent, 'the bodies arrived whole';

    my $id = $http->send(POST => '/trailers', body => 'abc', trailers => [['x-after', 'it']]);
    is $http->response(id => $id)->status, 200, 'a request with trailers';
    is_deeply [grep { $_->[0] eq 'x-after' } @{ ($pages->requests)[-1]{trailers} }],
        [['x-after', 'it']], 'has them behind the pause too';
    is $http->response(id => $http->send(POST => '/x', body => body_of($LIMIT + 1)))->status, 413,
        'too large a body';
    is $http->response(id => $http->send(GET => '/x'))->status, 200, 'the connection lives on';
    all_over 'HTTP/2';
};

# Of two endpoints the one with fewer requests is chosen: one on which a call was counted for good
# would get none.
subtest 'no call is counted for good' => sub {
    my $manifests = $mesh->mesh->manifests =~ s/status: .?False.?/status: 'True'/r;

    ok $mesh->reload($authorizer, files => { '00-mesh.yaml' => $manifests }), 'a second endpoint';
    forget;

    my $http = client;
    my $allowed = grep { $http->request(GET => '/share')->status == 200 } 1 .. 60;

    is $allowed, 60, 'all are allowed';

    for my $pod ($asked, $mesh->pod('asked-v2')) {
        cmp_ok scalar($pod->requests), '>', 5, $pod->name . ' has its share';
    }
};

subtest 'what cannot be read closes, and says what' => sub {
    my $result = do {
        $daemon->write_resources({ '60-broken.yaml' => $authorizer =~ s/2s/soon/r =~ s/reviews,/b,/r });
        $daemon->run('-t');
    };

    is $result->{status}, 1, 'refused';
    like $result->{err} . $result->{out}, qr/60-broken\.yaml:.*TestAuthorizer default\/b.*spec\.timeout/,
        'file, resource and field';
    $daemon->write_resources({ '60-broken.yaml' => undef });
};

$mesh->stop;
done_testing;
