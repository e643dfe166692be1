#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A large configuration is read in slices: the master answers in between.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

my $count = 1500;

sub services {
    my ($path) = @_;

    return join "---\n", map { my $ip = sprintf '10.97.%d.%d', $_ / 250, $_ % 250 + 1; <<"Y" } 1 .. $count;
apiVersion: v1
kind: Service
metadata: {name: many-$_, namespace: default}
spec: {clusterIP: $ip, selector: {app: many-$_}, ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: many-$_, namespace: default}
spec:
  parentRefs: [{group: "", kind: Service, name: many-$_, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: $path}}]
    backendRefs: [{name: many-$_, port: 80}]
Y
}

my $mesh = Test::Cairn->start(upstreams => <<'Y', resources => services('/a'));
reviews-v1:
sleep: {client: yes}
Y
my $daemon = $mesh->daemon;

subtest 'a reading has many slices' => sub {
    my $line = $daemon->wait_log('error', qr/publish: generation=1 /);

    like $line, qr/ services=@{[$count + 1]} /, 'all of it is read';
    my ($slices) = $line =~ /slices=(\d+)/;
    cmp_ok $slices, '>=', 3, "in $slices slices";
};

subtest 'the master answers while it reads' => sub {
    my $answered = 0;

    $daemon->log_mark;
    $daemon->write_resources({ '50-test.yaml' => services('/b') });
    $daemon->signal('HUP');

    # the first generation is what it tells until the second is published
    ok wait_for(sub {
        my $page = $daemon->http_get('ADMIN', '/status.json') // return 0;

        $answered++;
        return $page->body =~ /"generation":\s*2\b/;
    }, 30), 'the new generation comes';
    cmp_ok $answered, '>=', 2, "it answered $answered times";
};

subtest 'a signal while it reads is one reading more' => sub {
    $daemon->log_mark;
    $daemon->write_resources({ '50-test.yaml' => services('/c') });
    $daemon->signal('HUP');
    $daemon->http_get('ADMIN', '/status.json') for 1 .. 3;
    $daemon->signal('HUP');
    ok $daemon->wait_log('error', qr/reload done: generation=3/, 30), 'what has changed is done';
    ok $daemon->wait_log('error', qr/reload unchanged: generation=3/, 30), 'then nothing has';
    is $mesh->request('as sleep to reviews GET /')->status, 200, 'requests are answered';
};

subtest 'an end while it reads' => sub {
    $daemon->write_resources({ '50-test.yaml' => services('/d') });
    $daemon->signal('HUP');
    $mesh->stop('INT');
};

done_testing;
