#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# `cairn proxy waypoint`: started as Istio's deployment starts its proxy, with the arguments, the
# environment and the files of a pod.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

use File::Find ();
use File::Path qw(make_path);
use JSON::PP ();
use POSIX ();
use Test::Cairn::Daemon ();
use Test::Cairn::Util qw(slurp spawn_child spew test_dir wait_child);

my $root = test_dir() . '/pod';
my @args = qw(--domain default.svc.cluster.local --serviceCluster waypoint.default
    --proxyLogLevel warning --proxyComponentLogLevel misc:error --log_output_level default:info);
my %environment = (
    CAIRN_ROOT    => $root,
    POD_NAME      => 'waypoint-1', POD_NAMESPACE => 'default', INSTANCE_IP => '127.0.0.1',
    HOST_IP       => '127.0.0.1', SERVICE_ACCOUNT => 'waypoint',
    ISTIO_META_SERVICE_ACCOUNT => 'waypoint', ISTIO_META_CLUSTER_ID => 'east',
    ISTIO_CPU_LIMIT => 1, PILOT_CERT_PROVIDER => 'istiod',
    CA_ADDR       => 'istiod.istio-system.svc:15012',
    PROXY_CONFIG  => '{"terminationDrainDuration": "7s"}',
    XDS_HEADER_TOKEN => 'secret-of-a-header',
);

make_path("$root/etc/istio/pod");
spew("$root/etc/istio/pod/labels", qq{gateway.networking.k8s.io/gateway-name="front"\n});
spew("$root/etc/istio/pod/annotations", qq{note="two\\nlines"\n});

# run({ VARIABLE => VALUE or undef }, ARGS): status, standard output, standard error.
sub run {
    my ($change, @words) = @_;

    my ($out, $err) = map { test_dir() . "/run.$_" } qw(out err);
    my $pid = spawn_child(sub {
        my %all = (%environment, %$change);

        %ENV = (
            (map { $_ => $ENV{$_} } grep { /SAN_OPTIONS$/ } keys %ENV),
            map { $_ => $all{$_} } grep { defined $all{$_} } keys %all
        );
        open STDOUT, '>', $out or die $!;
        open STDERR, '>', $err or die $!;
        chdir '/' or die $!;
        exec { Test::Cairn::Daemon::binary() } 'cairn', @words or die $!;
    });
    my $status = wait_child($pid, 30);

    return (defined $status ? $status >> 8 : 'timeout', slurp($out), slurp($err));
}

sub files {
    my @found;

    File::Find::find(sub { push @found, $File::Find::name if -f }, $root);

    return join ' ', sort @found;
}

my $files_before = files();

subtest '--print shows what it would run with' => sub {
    my ($status, $out, $err) = run({}, qw(proxy waypoint), @args, '--print');
    my $json = JSON::PP::decode_json($out);
    my $istiod = $json->{source}{istiod};

    is $status, 0, 'exit code' or diag $err;
    is $json->{workers}, 1, 'workers as the CPU limit says';
    is $json->{waypoint}, 'default/front', 'the Gateway of the label';
    is $json->{pid}, 'off', 'no pid file';
    is $json->{drain}{time_ms}, 7000, 'the drain of ProxyConfig';
    is $json->{hbone}[0], '0.0.0.0:15008', 'HBONE';
    is $json->{admin}[0], '127.0.0.1:15000', 'admin on loopback';
    is $istiod->{address}, 'istiod.istio-system.svc:15012', 'istiod';
    is $istiod->{node}{metadata}{CLUSTER_ID}, 'east', 'the node';
    is $istiod->{node}{metadata}{ANNOTATIONS}{note}, "two\nlines", 'an annotation of two lines';
    is $json->{identity}{istio_ca}{key}, 'ecdsa-p256', 'the CA';
    is_deeply $istiod->{headers}, ['token'], 'headers by name';
    unlike $out, qr/secret-of-a-header/, 'but not their values';
};

subtest 'what it does not know it tells, and goes on' => sub {
    my ($status, $out, $err) = run({}, qw(proxy waypoint --print --log_as_json --new thing), @args);

    is $status, 0, 'exit code';
    like $err, qr/^note: --log_as_json: has no effect here$/m, 'a flag that is known';
    like $err, qr/^note: --new: has no effect here$/m, 'one that is not';
    like $err, qr/^note: --proxyComponentLogLevel: has no effect here$/m, 'one of Envoy alone';
    unlike $err, qr/thing/, 'a value is no word of its own';
};

subtest 'what is missing ends it with the name of the variable' => sub {
    my ($status, $out, $err) = run({ INSTANCE_IP => undef }, qw(proxy waypoint), @args, '--print');

    is $status, 1, 'exit code';
    is $out, '', 'nothing is printed';
    like $err, qr/^error: INSTANCE_IP: expected to be set in the environment$/m, 'and why';

    ($status, $out, $err) = run({ SECRET_TTL => 'soon' }, qw(-t proxy waypoint), @args);
    is $status, 1, 'a wrong value: exit code';
    like $err, qr/^error: SECRET_TTL: expected a duration/m, 'and why';
};

subtest 'another role is refused' => sub {
    my ($status, $out, $err) = run({}, qw(proxy sidecar), @args);

    is $status, 1, 'exit code';
    like $err, qr/^error: proxy: expected waypoint/, 'and why';
};

subtest '-t checks what the container gives it' => sub {
    my ($status, $out, $err) = run({}, qw(-t proxy waypoint), @args);

    is $status, 0, 'exit code';
    like $err, qr/^0 errors, 0 warnings$/m, 'nothing is wrong with it';
};

subtest 'what is not there yet is refused, not passed over' => sub {
    my $file = spew(test_dir() . '/cairn.yaml', <<'Y');
source: {istiod: {address: "127.0.0.1:15012", node: {id: a}}}
policies: more
Y
    my ($status, $out, $err) = run({}, '-c', $file, '-t');

    is $status, 1, 'a bootstrap file: exit code';
    like $err, qr/^error: policies: not implemented yet$/m, 'policies';
};

is files(), $files_before, 'and nothing was written into the pod';

done_testing;
