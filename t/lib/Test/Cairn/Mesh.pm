# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Mesh - the mesh around the waypoint: it makes pods of `--- upstreams`, the Kubernetes
# resources that describe them and `--- services`, and knows what %%NAME%% stands for.
#
# The resources that it makes are in files of their own, before those of the test:
# 00-mesh.yaml (namespaces, gateway, services, pods), then 50-test.yaml.

package Test::Cairn::Mesh;

use strict;
use warnings;

use Carp qw(croak);
use YAML::PP ();

use Test::Cairn::Net qw(network waypoint_address);
use Test::Cairn::Pod ();
use Test::Cairn::Util qw(test_dir);

my %SERVICE_KEYS = map { $_ => 1 } qw(
    port ports vip namespace labels annotations selector protocol waypoint manifest
);


# new(upstreams => { NAME => spec }, services => { NAME => spec }, resources => TEXT): services
# default to one for each app label of the upstreams.
sub new {
    my ($class, %option) = @_;

    my $self = bless { pods => {}, services => {}, test_text => $option{resources} // '' }, $class;

    for my $name (sort keys %{ $option{upstreams} // {} }) {
        $self->{pods}{$name} = Test::Cairn::Pod->new($name, $option{upstreams}{$name});
    }

    my $services = $option{services} // {
        map { $_->{labels}{app} => {} } grep { !$_->{client} } values %{ $self->{pods} }
    };
    $self->add_service($_, $services->{$_} // {}) for sort keys %{$services};

    return $self;
}

sub add_service {
    my ($self, $name, $spec) = @_;

    for my $key (sort keys %{$spec}) {
        croak "service $name has no key '$key'" if !$SERVICE_KEYS{$key};
    }

    my $number = 1 + keys %{ $self->{services} };
    my $port = $spec->{port} // 9080;

    $self->{services}{$name} = {
        name => $name,
        namespace => 'default',
        vip => sprintf('10.96.%d.%d', 1 + int($number / 250), $number % 250 + 1),
        selector => { app => $name },
        ports => [{ name => $spec->{protocol} // 'http', port => $port, targetPort => $port }],
        %{$spec},
    };
    return;
}

sub pod { return $_[0]{pods}{ $_[1] } // croak "no pod $_[1]" }
sub pods { return map { $_[0]{pods}{$_} } sort keys %{ $_[0]{pods} } }
sub service { return $_[0]{services}{ $_[1] } // croak "no service $_[1]" }

# The VIP:port of a service, which is what ztunnel asks for.
sub authority {
    my ($self, $name) = @_;

    my $service = $self->service($name);
    return "$service->{vip}:$service->{ports}[0]{port}";
}

sub first_service {
    my ($self) = @_;

    return (sort keys %{ $self->{services} })[0];
}

sub start { $_->start for $_[0]->pods; return }
sub stop { $_->stop for $_[0]->pods; return }
sub forget { $_->forget for $_[0]->pods; return }


# Resources.

# { FILE => TEXT } for the resources directory.
sub files {
    my ($self) = @_;

    return {
        '00-mesh.yaml' => $self->manifests,
        '50-test.yaml' => $self->expand($self->{test_text}),
    };
}

sub manifests {
    my ($self) = @_;

    my $own = $self->{test_text};
    my @documents;
    my %namespace = (default => 1);
    $namespace{ $_->{namespace} } = 1 for values %{ $self->{services} }, $self->pods;

    for my $name (sort keys %namespace) {
        next if $own =~ /^kind: *Namespace\b(?:(?!^---).)*?^ +name: *\Q$name\E *$/ms;
        push @documents, { apiVersion => 'v1', kind => 'Namespace', metadata => {
            name => $name, labels => { 'istio.io/dataplane-mode' => 'ambient',
                $name eq 'default' ? ('istio.io/use-waypoint' => 'waypoint') : () } } };
    }

    push @documents, gateway() if $own !~ /^kind: *["']?Gateway["']? *$/m;

    for my $name (sort keys %{ $self->{services} }) {
        my $service = $self->{services}{$name};
        push @documents, service_manifest($service) if ($service->{manifest} // 'yes') ne 'no';
    }

    for my $pod ($self->pods) {
        push @documents, pod_manifest($pod) if ($pod->{manifest} // 'yes') ne 'no';
    }

    return YAML::PP->new->dump_string(@documents);
}

sub gateway {
    return {
        apiVersion => 'gateway.networking.k8s.io/v1', kind => 'Gateway',
        metadata => { name => 'waypoint', namespace => 'default',
            labels => { 'istio.io/waypoint-for' => 'service' } },
        spec => { gatewayClassName => 'istio-waypoint',
            listeners => [{ name => 'mesh', port => 15008, protocol => 'HBONE' }] },
    };
}

sub service_manifest {
    my ($service) = @_;

    my %labels = %{ $service->{labels} // {} };
    $labels{'istio.io/use-waypoint'} = $service->{waypoint} if defined $service->{waypoint};

    return {
        apiVersion => 'v1', kind => 'Service',
        metadata => { name => $service->{name}, namespace => $service->{namespace},
            labels => \%labels, annotations => $service->{annotations} // {} },
        spec => { clusterIP => $service->{vip}, clusterIPs => [$service->{vip}],
            selector => $service->{selector},
            ports => [map { { protocol => 'TCP', %{$_} } } @{ $service->{ports} }] },
    };
}

sub pod_manifest {
    my ($pod) = @_;

    my $name = $pod->name;
    my $ready = Test::Cairn::Pod::yes($pod->{ready}, 1) ? 'True' : 'False';
    my %annotations = %{ $pod->{annotations} // {} };
    $annotations{'ambient.istio.io/redirection'} = 'enabled' if $pod->{hbone} || $pod->{client};
    my $number = 1;

    return {
        apiVersion => 'v1', kind => 'Pod',
        metadata => {
            name => $name, namespace => $pod->{namespace}, labels => $pod->{labels},
            annotations => \%annotations, uid => $pod->{uid} // "uid-$name",
        },
        spec => { serviceAccountName => $pod->{service_account}, nodeName => 'node-a',
            containers => [{ name => 'app', image => 'app', $pod->{client} ? () : (ports => [
                map { { name => 'port-' . $number++, containerPort => $_ } } @{ $pod->{ports} }
            ]) }] },
        status => { phase => 'Running', podIP => $pod->ip, podIPs => [{ ip => $pod->ip }],
            conditions => [{ type => 'Ready', status => $ready }] },
    };
}


# Expansions.

# expand(TEXT, DAEMON): every %%NAME%% is replaced. NAME is POD_x (address), PORT_x (HBONE,
# PLAINTEXT, STATUS, METRICS, ADMIN), VIP_x, ID_x (SPIFFE id of a pod), ADDRESS, NETWORK, DIR. In a
# name of a pod or service _ stands for itself or for -.
sub expand {
    my ($self, $text, $daemon) = @_;

    $text =~ s/%%(\w+)%%/$self->value_of($1, $daemon)/ge;
    return $text;
}

sub value_of {
    my ($self, $name, $daemon) = @_;

    return waypoint_address() if $name eq 'ADDRESS';
    return network() if $name eq 'NETWORK';
    return $daemon ? $daemon->dir : test_dir() if $name eq 'DIR';
    return $self->named('pods', $1)->ip if $name =~ /^POD_(.+)$/;
    return $self->named('pods', $1)->id if $name =~ /^ID_(.+)$/;
    return $self->named('services', $1)->{vip} if $name =~ /^VIP_(.+)$/;
    return $daemon->port($1) if $daemon && $name =~ /^PORT_(.+)$/;

    croak "nothing is known of %%$name%%";
}

sub named {
    my ($self, $kind, $name) = @_;

    my ($key) = grep { tr/-./__/r eq $name } sort keys %{ $self->{$kind} };
    return $self->{$kind}{ $key // croak "no such thing among the $kind: $name" };
}

1;
