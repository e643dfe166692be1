#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# explain on routes: why one did not match, and what the one that does makes of the request; asked
# of the running master, and of the files alone.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

my $routes = <<'Y';
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - name: pattern
    match: [{uri: {regex: "/api/v[0-9]+"}, headers: {x-tier: {regex: "gold|silver"}}, withoutHeaders: {x-old: {}}, queryParams: {q: {prefix: a}}}]
    rewrite: {uriRegexRewrite: {match: "^/api/(.*)", rewrite: "/\\1/api"}, authority: other.example.com}
    headers: {request: {set: {x-a: "%REQ(x-tier)%"}, remove: [x-b]}, response: {add: {x-c: c}}}
    route: [{destination: {host: reviews}}]
  - name: moved
    match: [{uri: {prefix: /old}}]
    redirect: {uri: /new, scheme: https, redirectCode: 308}
  - name: teapot
    match: [{uri: {exact: /tea}}]
    directResponse: {status: 418, body: {string: short and stout}}
  - name: slashless
    match: [{uri: {prefix: /gone}}]
    rewrite: {uriRegexRewrite: {match: "^/", rewrite: ""}}
    route: [{destination: {host: reviews}}]
  - name: nowhere
    route: [{destination: {host: nowhere}}]
Y

my $mesh = Test::Cairn->start(upstreams => <<'Y', resources => $routes);
reviews-v1:
sleep: {client: yes}
Y
my $daemon = $mesh->daemon;
my @program = $daemon->command_line;

splice @program, (grep { $program[$_] eq '-c' } 0 .. $#program)[0];

for my $offline (0, 1) {
    my @where = $offline ? (@program, '-r', $daemon->dir . '/resources') : $daemon->command_line;
    my $from = $offline ? 'files' : 'master';
    my $ask = sub {
        my ($url, @headers) = @_;
        my $run = $daemon->run_command(@where, 'explain', (map { ('-H', $_) } @headers), 'GET',
            "http://reviews:9080$url");

        is $run->{status}, 0, "$from: exit code of $url" or diag $run->{err};

        return $run->{out};
    };

    my $pattern = $ask->('/api/v1?q=ab', 'x-tier: gold');

    like $pattern, qr/^route: pattern, .*50-test\.yaml:\d+/m, "$from: the route, and where it is said";
    like $pattern, qr/^   request header: set x-a: %REQ\(x-tier\)%$/m, "$from: a header set";
    like $pattern, qr/^   request header: remove x-b$/m, "$from: a header removed";
    like $pattern, qr/^   response header: add x-c: c$/m, "$from: a header of the response";
    like $pattern, qr{^   rewrite: the path goes on as /v1/api\?q=ab$}m, "$from: the path rewritten";
    like $pattern, qr/^   rewrite: the authority goes on as other\.example\.com$/m, "$from: the authority";

    like $ask->('/api/v1?q=b', 'x-tier: gold'),
        qr/^route: not pattern: parameter q is not prefix a;/m, "$from: a parameter";
    like $ask->('/api/v1?q=a', 'x-tier: bronze'),
        qr/^route: not pattern: header x-tier is not pattern gold\|silver;/m, "$from: a header";
    like $ask->('/api/v1?q=a', 'x-tier: gold', 'x-old: 1'),
        qr/^route: not pattern: header x-old is there;/m, "$from: a header that must not be there";
    like $ask->('/api/v1?q=a'), qr/^route: not pattern: header x-tier/m, "$from: an absent header";
    like $ask->('/api/vx'),
        qr{^route: not pattern: the path does not match pattern /api/v\[0-9\]\+;}m, "$from: a path";

    my $failed = $ask->('/api/v1?q=a', "x-tier: caf\xe9");

    like $failed, qr/^route: not pattern: header x-tier cannot be matched with pattern gold/m,
        "$from: a matcher that fails";
    like $failed, qr/^answer: 500, a route's matcher failed$/m, "$from: which is 500";

    my $moved = $ask->('/old/x?y=1');

    like $moved, qr{^   redirect: to https://reviews:9080/new\?y=1$}m, "$from: a redirect's location";
    like $moved, qr/^answer: 308, by the route itself$/m, "$from: a redirect's status";

    my $teapot = $ask->('/tea');

    like $teapot, qr/^   body: 15 octets: short and stout$/m, "$from: a body";
    like $teapot, qr/^answer: 418, by the route itself$/m, "$from: a direct response";
    like $ask->('/gone/x'), qr/^answer: 500, the path cannot be rewritten$/m, "$from: a failing rewrite";
    like $ask->('/'), qr/cluster: it does not exist, answers 503$/m, "$from: a dangling destination";
}

my $shown = $daemon->run(qw(show routes));

like $shown->{out}, qr/"redirect": 308/, 'show routes: a redirect';
like $shown->{out}, qr/"to_path": "\/new"/, 'show routes: where it leads';
like $shown->{out}, qr/"rewrite_host": "other\.example\.com"/, 'show routes: a rewrite';
like $shown->{out}, qr/"direct_status": 418/, 'show routes: a direct response';

$mesh->stop;
done_testing;
