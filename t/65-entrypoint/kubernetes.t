#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# conf/kubernetes: its objects are whole and agree with each other, and the program takes what its
# pods would be started with.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

use Cwd ();
use JSON::PP ();
use Test::Cairn::Daemon ();
use Test::Cairn::Util qw(slurp spew test_dir);
use YAML::PP ();

my $conf = Cwd::abs_path("$FindBin::Bin/../../conf/kubernetes");
my $yaml = YAML::PP->new(schema => ['Core'], boolean => 'JSON::PP', duplicate_keys => 0);

# Objects of all files: "KIND/NAME of FILE" => object.
my %object;

for my $path (glob "$conf/*.yaml") {
    my ($file) = $path =~ m{([^/]+)\z};

    for my $found (eval { $yaml->load_file($path) }) {
        $object{"$found->{kind}/$found->{metadata}{name} of $file"} = $found;
        ok defined $found->{apiVersion}, "$file: a $found->{kind}";
        ok defined $found->{metadata}{namespace}, "$file: in a namespace";
    }
    is $@, '', "$file is YAML";
}

is_deeply [sort keys %object], [
    'ConfigMap/cairn-waypoints of class.yaml', 'ConfigMap/envoy-options of envoy.yaml',
    'ConfigMap/waypoint-options of options.yaml', 'Deployment/waypoint-cairn of canary.yaml',
    'Gateway/waypoint of gateway.yaml'
], 'these are they';

my $gateway = $object{'Gateway/waypoint of gateway.yaml'};
my $canary = $object{'Deployment/waypoint-cairn of canary.yaml'};
my $pod = $canary->{spec}{template};
my ($container) = @{ $pod->{spec}{containers} };

# Each patch of a ConfigMap, parsed.
sub patches {
    my ($map) = @_;

    return map { $_ => $yaml->load_string($map->{data}{$_}) } keys %{ $map->{data} };
}

subtest 'patches are of the kinds that Istio lays over, and of its container' => sub {
    my %known = map { $_ => 1 }
        qw(deployment service serviceAccount horizontalPodAutoscaler podDisruptionBudget);

    for my $name (grep { /^ConfigMap/ } sort keys %object) {
        my %patch = patches($object{$name});

        ok !(grep { !$known{$_} } keys %patch), "$name: kinds";

        my $spec = $patch{deployment}{spec}{template}{spec};

        is $spec->{containers}[0]{name}, 'istio-proxy', "$name: the container";
        next if $name =~ /envoy/;
        is $spec->{containers}[0]{livenessProbe}{httpGet}{path}, '/healthz/live',
            "$name: it is asked whether it is alive";
        cmp_ok $patch{horizontalPodAutoscaler}{spec}{minReplicas}, '>',
            $patch{podDisruptionBudget}{spec}{minAvailable}, "$name: a node may go";
    }
};

subtest 'the Gateway is a waypoint whose image is ours' => sub {
    my $image = $gateway->{metadata}{annotations}{'sidecar.istio.io/proxyImage'};
    my $options = $gateway->{spec}{infrastructure}{parametersRef};

    is $gateway->{spec}{gatewayClassName}, 'istio-waypoint', 'class';
    is $gateway->{spec}{listeners}[0]{protocol}, 'HBONE', 'protocol';
    is $gateway->{spec}{listeners}[0]{port}, 15008, 'port';
    like $image, qr{/}, 'a whole image name: else Istio puts its own registry before it';
    ok $object{"ConfigMap/$options->{name} of options.yaml"}, 'its options are there';

    my %class = patches($object{'ConfigMap/cairn-waypoints of class.yaml'});

    is $class{deployment}{spec}{template}{spec}{containers}[0]{image}, $image,
        'the class has the same image';
    is $container->{image}, $image, 'and the canary';
    is $object{'ConfigMap/cairn-waypoints of class.yaml'}{metadata}{labels}
        {'gateway.istio.io/defaults-for-class'}, 'istio-waypoint', 'it is for the class';
};

subtest 'the canary is found by the Service of the waypoint, and by nobody else' => sub {
    my $labels = $pod->{metadata}{labels};
    my $selector = $canary->{spec}{selector}{matchLabels};

    is $labels->{'gateway.networking.k8s.io/gateway-name'}, $gateway->{metadata}{name},
        'its label';
    ok !(grep { ($labels->{$_} // '') ne $selector->{$_} } keys %$selector),
        'its own selector finds it';
    cmp_ok scalar(keys %$selector), '>', 1, 'and not the pods of Istio';

    my %volume = map { $_->{name} => 1 } @{ $pod->{spec}{volumes} };

    ok !(grep { !$volume{ $_->{name} } } @{ $container->{volumeMounts} }),
        'what it mounts is there';
};

subtest 'the program takes what the canary is started with' => sub {
    my %field = (
        'metadata.name' => 'waypoint-cairn-1', 'metadata.namespace' => 'default',
        'status.podIP' => '127.0.0.1', 'status.hostIP' => '127.0.0.1',
        'spec.serviceAccountName' => $pod->{spec}{serviceAccountName}, 'spec.nodeName' => 'node',
    );
    my $root = test_dir() . '/pod';
    my %env = (CAIRN_ROOT => $root);

    for my $variable (@{ $container->{env} }) {
        my $from = $variable->{valueFrom};

        $env{ $variable->{name} } = $variable->{value}
            // ($from->{fieldRef} ? $field{ $from->{fieldRef}{fieldPath} } : 2);
        ok defined $env{ $variable->{name} }, "$variable->{name} has a value";
    }

    mkdir $root;
    mkdir "$root/etc";
    mkdir "$root/etc/istio";
    mkdir "$root/etc/istio/pod";

    for my $info (qw(labels annotations)) {
        my $of = $pod->{metadata}{$info};

        spew("$root/etc/istio/pod/$info", map { qq{$_="$of->{$_}"\n} } sort keys %$of);
    }

    my @args = map { s/\$\((\w+)\)/$env{$1}/r } @{ $container->{args} };
    my ($out, $err) = map { test_dir() . "/print.$_" } qw(out err);

    $env{$_} = $ENV{$_} for grep { /SAN_OPTIONS$/ } keys %ENV;
    local %ENV = %env;

    my $status = do {
        open my $stdout, '>&', \*STDOUT or die $!;
        open my $stderr, '>&', \*STDERR or die $!;
        open STDOUT, '>', $out or die $!;
        open STDERR, '>', $err or die $!;
        my $ended = system { Test::Cairn::Daemon::binary() } 'cairn', @args, '--print';
        open STDOUT, '>&', $stdout or die $!;
        open STDERR, '>&', $stderr or die $!;
        $ended;
    };

    is $status, 0, 'exit code' or diag slurp($err);
    is slurp($err), '', 'and it has nothing to say';

    my $json = JSON::PP::decode_json(slurp($out));
    my $node = $json->{source}{istiod}{node};

    is $node->{id}, 'waypoint~127.0.0.1~waypoint-cairn-1.default~default.svc.cluster.local',
        'istiod knows it by its pod';
    is $node->{cluster}, 'waypoint.default', 'and by the account of the waypoint';
    is $json->{waypoint}, 'default/waypoint', 'it is that Gateway';

    my %mounted = map { $_->{mountPath} => 1 } @{ $container->{volumeMounts} };

    for my $path (map { $json->{source}{istiod}{$_} } qw(root token)) {
        my ($directory) = $path =~ m{^\Q$root\E(/.+)/[^/]+\z};

        ok $mounted{$directory}, "$directory is mounted";
    }
};

subtest 'the image starts the program where make install puts it' => sub {
    my $text = slurp("$conf/Dockerfile");
    my ($prefix) = $text =~ /--prefix=(\S+)/;

    like $text, qr{^ENTRYPOINT \["\Q$prefix\E/sbin/cairn"\]$}m, 'entry point';
    like $text, qr/^USER 1337:1337$/m, 'not as root';
};

done_testing;
