#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The drop-in: `cairn proxy waypoint` with the arguments, the environment and the files of Istio's
# waypoint template, as uid 1337 on a root that it cannot write, under a control plane that acts as
# istiod does.  Nothing says that this is not the proxy that istiod expects.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::ControlPlane ();

use File::Copy qw(copy);
use File::Find ();
use File::Path qw(make_path);
use POSIX ();
use Test::Cairn::Daemon ();
use Test::Cairn::Net qw(free_port);
use Test::Cairn::Util qw(slurp spawn_child spew test_dir wait_child);

my $UID = 1337;
my $details = '10.96.1.2:9080';
my $mesh = Test::Cairn->new(upstreams => {
    'details-v1' => { identity => 'default/bookinfo-details' }, sleep => { client => 1 },
});
my $daemon = $mesh->daemon;
my $root = test_dir() . '/pod';
my $log = test_dir() . '/pod.log';
my $plane = Test::Cairn::ControlPlane->start(
    recording => '01-plain', root => 'mesh',
    addresses => { '10.244.1.11' => $mesh->pod('details-v1')->ip },
);

$mesh->{mesh}->start;

# It listens on all addresses: ports that are free on each.
$daemon->{port}{$_} = free_port('0.0.0.0') for qw(HBONE STATUS METRICS ADMIN PROMETHEUS);

make_path(map { "$root/$_" } qw(etc/istio/pod etc/istio/proxy var/run/secrets/istio
    var/run/secrets/tokens var/run/secrets/workload-spiffe-uds var/lib/istio/data));
spew("$root/etc/istio/pod/labels", join '', map { "$_\n" }
    'gateway.istio.io/managed="istio.io-mesh-controller"',
    'gateway.networking.k8s.io/gateway-class-name="istio-waypoint"',
    'gateway.networking.k8s.io/gateway-name="waypoint"',
    'service.istio.io/canonical-name="waypoint"');
spew("$root/etc/istio/pod/annotations", qq{prometheus.io/port="15020"\nprometheus.io/scrape="true"\n});
copy($plane->root_file, "$root/var/run/secrets/istio/root-cert.pem") or die $!;
copy($plane->token_file, "$root/var/run/secrets/tokens/istio-token") or die $!;

# What it may read stands open to all, what it may write is its own; nothing else is.
File::Find::find(sub { chmod -d $_ ? 0555 : 0444, $_ }, $root);
chmod 0755, test_dir();

if ($> == 0) {
    chown $UID, $UID, "$root/$_" or die $! for qw(etc/istio/proxy var/lib/istio/data
        var/run/secrets/workload-spiffe-uds);
}

spew($log, '');
chmod 0666, $log;

# The template's arguments and environment (manifests/charts/.../waypoint.yaml), values filled in.
my @args = (qw(proxy waypoint --domain default.svc.cluster.local --serviceCluster waypoint.default),
    qw(--proxyLogLevel warning --proxyComponentLogLevel misc:error --log_output_level default:info));
my %environment = (
    ISTIO_META_SERVICE_ACCOUNT => 'waypoint', ISTIO_META_NODE_NAME => 'node-1',
    PILOT_CERT_PROVIDER => 'istiod', CA_ADDR => $plane->address, POD_NAME => 'waypoint-6d5f7b8c9-abcde',
    POD_NAMESPACE => 'default', INSTANCE_IP => '10.244.1.50', SERVICE_ACCOUNT => 'waypoint',
    HOST_IP => '10.244.1.1', ISTIO_CPU_LIMIT => 2, GOMEMLIMIT => '1073741824',
    ISTIO_META_CLUSTER_ID => 'Kubernetes', ISTIO_META_INTERCEPTION_MODE => 'REDIRECT',
    ISTIO_META_WORKLOAD_NAME => 'waypoint',
    ISTIO_META_OWNER => 'kubernetes://apis/apps/v1/namespaces/default/deployments/waypoint',
    ISTIO_META_MESH_ID => 'cluster.local', TRUST_DOMAIN => 'cluster.local',

    # of the test: where its root is, and ports and an istiod of its own
    CAIRN_ROOT => $root, CAIRN_HBONE_PORT => $daemon->port('HBONE'),
    ENVOY_STATUS_PORT => $daemon->port('STATUS'), STATUS_PORT => $daemon->port('METRICS'),
    ENVOY_PROMETHEUS_PORT => $daemon->port('PROMETHEUS'), ISTIOD_SAN => 'istiod.istio-system.svc',
    PROXY_CONFIG => sprintf('{"discoveryAddress": "%s", "proxyAdminPort": %d, '
            . '"terminationDrainDuration": "1s", "image": {"imageType": "distroless"}}',
        $plane->address, $daemon->port('ADMIN')),
);

sub start {
    return spawn_child(sub {
        %ENV = ((map { $_ => $ENV{$_} } grep { /SAN_OPTIONS$/ } keys %ENV), %environment);
        POSIX::setsid();
        open STDOUT, '>>', $log or die $!;
        open STDERR, '>>', $log or die $!;
        chdir '/' or die $!;

        if ($> == 0) {
            POSIX::setgid($UID);
            POSIX::setuid($UID);
        }
        exec { Test::Cairn::Daemon::binary() } 'cairn', @args or die $!;
    });
}

sub ended {
    my ($pid) = @_;

    return wait_child($pid, 15) // 'late';
}

# For so long it is alive and never ready.
sub stays_unready {
    my ($pid, $seconds) = @_;
    my $until = now() + $seconds;

    while (now() < $until) {
        return 0 if $daemon->ready || !process_alive($pid);
        select undef, undef, undef, 0.05;
    }
    return 1;
}

my $files = sub {
    my @found;

    File::Find::find(sub { push @found, $File::Find::name if -f }, $root);
    return join ' ', sort @found;
};
my $before = $files->();

$plane->behave(ca => { mode => 'hang' });
my $pid = start();

subtest 'ready is when the certificate, CDS, EDS and LDS are there' => sub {
    ok $plane->wait_record(kind => 'csr', result => 'HANG'), 'the certificate is asked for';
    ok $plane->wait_settled(['cds', 'eds', 'lds']), 'the configuration is there';
    ok stays_unready($pid, 1), 'not ready without a certificate';
    kill 'TERM', $pid;
    is ended($pid), 0, 'it ends when it is told to';

    $plane->behave(ca => undef, hold => ['lds']);
    $plane->mark;
    $pid = start();
    ok $plane->wait_record(kind => 'csr', result => 'OK'), 'the certificate is there';
    ok $plane->wait_record(kind => 'subscribe', type => 'lds'), 'listeners are asked for';
    ok stays_unready($pid, 1), 'not ready without listeners';
    $plane->behave(hold => undef);
    ok wait_for(sub { $daemon->ready }, 15), 'ready' or diag slurp($log);
    is $plane->wait_settled(['cds', 'eds', 'lds'])->{verdict}, 'ack', 'all is accepted';
};

subtest 'it is who istiod takes it for' => sub {
    my ($first) = $plane->records(kind => 'subscribe');
    my $node = $first->{node};

    is $node->{id}, 'waypoint~10.244.1.50~waypoint-6d5f7b8c9-abcde.default~default.svc.cluster.local',
        'the id';
    is $node->{cluster}, 'waypoint.default', 'the cluster';
    is $node->{metadata}{ENABLE_HBONE}, 'true', 'it speaks HBONE';
    is $node->{metadata}{LABELS}{'gateway.networking.k8s.io/gateway-name'}, 'waypoint', 'its labels';
    like $node->{metadata}{INSTANCE_IPS}, qr/^10\.244\.1\.50(?:,|$)/, 'its address, first of all';
    my ($csr) = $plane->records(kind => 'csr', result => 'OK');
    is $csr->{identity}, 'default/waypoint', 'its token';
};

subtest 'it serves, and counts where it is scraped' => sub {
    my $answer = $mesh->request("as sleep to $details GET /");
    is $answer->status, 200, 'a request through HBONE';
    is $answer->header('server'), 'istio-envoy', 'answered as a waypoint answers';
    is(($mesh->seen)[0]{peer}, spiffe_id('default/waypoint'), 'by its certificate');
    like $daemon->http_get('METRICS', '/stats/prometheus')->body,
        qr/^istio_requests_total\{[^}]*destination_service="details\.default\.svc\.cluster\.local"/m,
        'counted at the agent\'s port';
    is $daemon->http_get('PROMETHEUS', '/stats/prometheus')->status, 200, 'and at Envoy\'s';
    my ($owner) = (stat "/proc/$pid")[4];
    is $owner, $> == 0 ? $UID : $>, 'as the template\'s user';
};

subtest 'TERM drains as the agent does' => sub {
    my $began = now();

    kill 'TERM', $pid;
    ok wait_for(sub { !$daemon->ready }, 5), 'it is not ready any more';
    is $mesh->request("as sleep to $details GET /")->status, 200, 'it serves on';
    is ended($pid), 0, 'it ends';
    cmp_ok now() - $began, '>', 0.9, 'after terminationDrainDuration';
    ok !(grep { $_->{open} } $plane->streams), 'no stream is left at istiod';
};

is $files->(), $before, 'nothing was written below its root';
unlike slurp($log), qr/\[alert\]|\[error\]|Sanitizer|runtime error/, 'it had nothing to complain of';
diag slurp($log) if !Test::More->builder->is_passing;
$plane->stop;
$mesh->{mesh}->stop;
$mesh->{stopped} = 1;
done_testing;
