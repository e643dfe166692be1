#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# `cairn -r DIR proxy waypoint` serves as in a pod with mounted certificates: all processes agree on
# what arguments and environment say, nothing is written, and it ends as the agent does.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

use File::Copy qw(copy);
use File::Find ();
use File::Path qw(make_path);
use POSIX ();
use Test::Cairn::CA qw(identity_files);
use Test::Cairn::Daemon ();
use Test::Cairn::HBONE ();
use Test::Cairn::Net qw(free_port);
use Test::Cairn::Util qw(lines_from process_alive slurp spawn_child spew wait_child
    test_dir);

my $mesh = Test::Cairn->start(upstreams => "reviews-v1:\nsleep: {client: yes}\n");
my $daemon = $mesh->daemon;
my $root = test_dir() . '/pod';
my $log = test_dir() . '/pod.log';

$daemon->stop('INT');

# It listens on all addresses: ports that are free on each.
$daemon->{port}{$_} = free_port('0.0.0.0') for qw(HBONE STATUS METRICS ADMIN PROMETHEUS);

make_path("$root/etc/istio/pod", "$root/etc/certs", "$root/work");
spew("$root/etc/istio/pod/labels", qq{gateway.networking.k8s.io/gateway-name="waypoint"\n});
spew("$root/etc/istio/pod/annotations", '');

my $identity = identity_files('default/waypoint');

copy($identity->{certificate}, "$root/etc/certs/cert-chain.pem") or die $!;
copy($identity->{key}, "$root/etc/certs/key.pem") or die $!;
copy($identity->{root}, "$root/etc/certs/root-cert.pem") or die $!;

my %environment = (
    CAIRN_ROOT => $root, CAIRN_HBONE_PORT => $daemon->port('HBONE'),
    POD_NAME => 'waypoint-1', POD_NAMESPACE => 'default', INSTANCE_IP => '127.0.0.1',
    SERVICE_ACCOUNT => 'waypoint', FILE_MOUNTED_CERTS => 'true', ISTIO_CPU_LIMIT => 1,
    ENVOY_STATUS_PORT => $daemon->port('STATUS'), STATUS_PORT => $daemon->port('METRICS'),
    ENVOY_PROMETHEUS_PORT => $daemon->port('PROMETHEUS'),
);

sub files {
    my @found;

    File::Find::find(sub { push @found, $File::Find::name if -f }, $root);

    return join ' ', sort @found;
}

# Starts it with these variables more; its pid.
sub start {
    my (%more) = @_;

    my $drain = delete $more{drain};
    my $pid = spawn_child(sub {
        %ENV = (
            (map { $_ => $ENV{$_} } grep { /SAN_OPTIONS$/ } keys %ENV), %environment, %more,
            PROXY_CONFIG => sprintf '{"proxyAdminPort": %d, "terminationDrainDuration": "%s"}',
                $daemon->port('ADMIN'), $drain
        );
        POSIX::setsid();
        open STDOUT, '>>', $log or die $!;
        open STDERR, '>>', $log or die $!;
        chdir "$root/work" or die $!;
        exec { Test::Cairn::Daemon::binary() } 'cairn', '-r', "$daemon->{dir}/resources",
            qw(proxy waypoint --domain default.svc.cluster.local --serviceCluster waypoint.default
            --proxyLogLevel warning --log_output_level default:info) or die $!;
    });

    wait_for(sub { $daemon->ready }, 15) or diag slurp($log);
    return $pid;
}

# Its exit status; 'late' if it does not end.
sub ended {
    my ($pid) = @_;

    return wait_child($pid, 10) // 'late';
}

my $before = files();

subtest 'TERM drains for terminationDrainDuration' => sub {
    my $pid = start(drain => '1s');

    ok $daemon->ready, 'it is ready';
    is $mesh->request('as sleep to reviews GET /')->status, 200, 'and serves';
    like $daemon->http_get('METRICS', '/stats/prometheus')->body, qr/^istio_requests_total\{/m,
        'counts on the port of the agent';
    is $daemon->http_get('PROMETHEUS', '/stats/prometheus')->status, 200, 'and on that of Envoy';
    is $daemon->http_get('ADMIN', '/status.json', 1), undef, 'its admin port is on 127.0.0.1 alone';

    my $status = do {
        local $daemon->{address} = '127.0.0.1';
        $daemon->http_get('ADMIN', '/status.json')->json;
    };

    is scalar(@{ $status->{workers} }), 1, 'a worker, as the CPU limit says';

    my $began = now();

    kill 'TERM', $pid;
    ok wait_for(sub { !$daemon->ready }, 5), 'it is not ready any more';
    is ended($pid), 0, 'it ends';
    cmp_ok now() - $began, '>', 0.9, 'not before';
};

subtest 'EXIT_ON_ZERO_ACTIVE_CONNECTIONS waits for connections' => sub {
    my $pid = start(
        drain => '60s', EXIT_ON_ZERO_ACTIVE_CONNECTIONS => 'true', MINIMUM_DRAIN_DURATION => '1s'
    );
    my $tunnel = $mesh->tunnel(as => 'sleep', to => 'reviews');

    is $tunnel->http->request('GET', '/')->status, 200, 'a tunnel carries a request';

    my $began = now();

    kill 'TERM', $pid;
    ok $tunnel->{connection}->wait_goaway(9), 'its connection is told to go';
    ok wait_for(sub { now() - $began > 1.5 }, 5), 'the minimum is over';
    ok process_alive($pid), 'and it waits';
    is $tunnel->http->request('GET', '/')->status, 200, 'and serves';
    ok $tunnel->http->closes(5), 'until the peer has gone';
    is ended($pid), 0, 'then it ends';
};

is files(), $before, 'nothing was written below its root';
unlike slurp($log), qr/\[alert\]|\[error\]/, 'and it had nothing to complain of';

done_testing;
