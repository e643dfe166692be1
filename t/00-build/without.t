#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A build without a module refuses by name what needs it, and what it restricts stays shut.  In a
# build with all modules there is nothing to see but that the router cannot be left out; `make
# test-without` runs this in builds without each of the others.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::Daemon ();

my %left_out = map { $_ => 1 } Test::Cairn::Daemon::left_out();

my %needs = (
    authz => <<'Y',
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: viewer, namespace: default}
spec: {action: ALLOW, rules: [{to: [{operation: {methods: [GET]}}]}]}
Y
    fault => <<'Y',
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - fault: {abort: {httpStatus: 503, percentage: {value: 100}}}
    route: [{destination: {host: reviews}}]
Y
    headers => <<'Y',
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews, namespace: default}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x-secret]}}]
    backendRefs: [{name: reviews, port: 9080}]
Y
);

my $upstreams = "reviews-v1:\nsleep: {client: yes}\n";

for my $module (sort keys %needs) {
    subtest "what needs $module" => sub {
        plan skip_all => "the module $module is built" if !$left_out{$module};

        my $mesh = Test::Cairn->new(upstreams => $upstreams, resources => $needs{$module});

        $mesh->mesh->start;
        ok $mesh->daemon->start, 'cairn starts, the fault is contained';
        ok $mesh->daemon->wait_log('error',
            qr/50-test\.yaml:\d+:\d+: error: .*needs the module $module, which this build leaves out/),
            'the resource is refused by name';
        isnt $mesh->request('as sleep to reviews GET /')->status, 200, 'no request passes';
        is $mesh->daemon->run('-t')->{status}, 1, 'cairn -t says so';
        $mesh->stop;
    };
}

subtest 'an access log' => sub {
    plan skip_all => 'the module access_log is built' if !$left_out{access_log};

    my $mesh = Test::Cairn->new(upstreams => $upstreams, bootstrap => 'access_log: {path: stdout}');
    my $run  = $mesh->daemon->run('-t');

    $mesh->{stopped} = 1;
    is $run->{status}, 1, 'is refused';
    like $run->{err}, qr/access_log\.path: .*the module access_log is left out/, 'by name';
};

subtest 'the router' => sub {
    my $said = qx{cd \Q$FindBin::Bin/../..\E && ./configure --without-router 2>&1};

    isnt $?, 0, 'cannot be left out';
    like $said, qr/nothing works without the module router/, 'as configure says';
};

done_testing;
