#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The command line: -t, -T, -s, show, explain, request.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

my $policy = <<'Y';
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: viewer, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: reviews}]
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/sleep]}}]
    to: [{operation: {methods: [GET]}}]
Y

my $mesh = Test::Cairn->start(upstreams => <<'Y', resources => $policy);
reviews-v1:
sleep: {client: yes}
notsleep: {client: yes}
Y
my $daemon = $mesh->daemon;

sub run_ok {
    my ($name, @args) = @_;
    my $run = $daemon->run(@args);

    is $run->{status}, 0, "$name: exit code" or diag $run->{err};

    return $run->{out} . $run->{err};
}

like run_ok('-t', '-t'), qr/0 errors, 0 warnings/, '-t finds nothing';
like run_ok('-T', '-T'), qr/"inbound-vip\|9080\|http\|reviews\.default\.svc\.cluster\.local"/,
    '-T prints the model';
like run_ok('show status', qw(show status)), qr/"ready": true/, 'show status';
like run_ok('show routes', qw(show routes)), qr/"host": "reviews\.default/, 'show routes';
like run_ok('request', qw(request GET /stats/prometheus)), qr/^# TYPE istio_build gauge$/m, 'request';

my $denied = run_ok('explain', 'explain', '--from', 'spiffe://cluster.local/ns/default/sa/notsleep',
    'GET', 'http://reviews:9080/x');

like $denied, qr/authz: denied: there are ALLOW policies and none admits/, 'explain says denied';
like $denied, qr/viewer.*it wants principal: spiffe:\S+\/sleep\b.*50-test\.yaml:\d+/, 'why, and where it is said';
like $denied, qr/^answer: 403/m, 'and what would be answered';

my $allowed = run_ok('explain', 'explain', '--from', 'spiffe://cluster.local/ns/default/sa/sleep',
    'GET', 'http://reviews:9080/x');

like $allowed, qr/authz: allowed by ns\[default\]-policy\[viewer\]-rule\[0\]/, 'explain says allowed';
like $allowed, qr/endpoint: [\d.]+:9080 healthy, by HBONE/, 'and where it goes';

run_ok('-s reload', qw(-s reload));
ok $daemon->wait_log('error', qr/reload unchanged/), 'the signal arrived';

$mesh->stop;
done_testing;
