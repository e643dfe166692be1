#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The control plane for tests, seen by a client on gRPC's own library: what it serves and signs is
# what istiod would, and each of its misdeeds is one. What is proved here need not be doubted when a
# test of cairn fails.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/../lib";

use Errno ();
use IO::Handle ();
use IO::Select ();
use IO::Socket::INET ();
use JSON::PP ();
use Socket qw(inet_aton);
use Test::More;

use Test::Cairn::CA qw(identity_files root_file spiffe_id);
use Test::Cairn::ControlPlane ();
use Test::Cairn::HBONE ();
use Test::Cairn::Pod ();
use Test::Cairn::Util qw(kill_child now process_alive slurp spawn_child spew test_dir wait_for);

my $RECORDED = "$FindBin::Bin/../unit/modules/recorded";
my $SPLIT = "$RECORDED/02-vs-split";
my $JSON = JSON::PP->new->utf8;
my $GOOGLE = 'type.googleapis.com/';
my %TYPE = (
    cds => 'envoy.config.cluster.v3.Cluster',
    eds => 'envoy.config.endpoint.v3.ClusterLoadAssignment',
    lds => 'envoy.config.listener.v3.Listener',
    sds => 'envoy.extensions.transport_sockets.tls.v3.Secret',
    ecds => 'envoy.config.core.v3.TypedExtensionConfig',
    workload => 'istio.workload.Workload',
    address => 'istio.workload.Address',
);
my $REVIEWS = 'inbound-vip|9080|http|reviews.default.svc.cluster.local';
my $V1 = 'inbound-vip|9080|http/v1|reviews.default.svc.cluster.local';
my $V2 = 'inbound-vip|9080|http/v2|reviews.default.svc.cluster.local';
my $TOKEN = 'token-of-default-waypoint';
my %GOOD = (authorization => "Bearer $TOKEN", clusterid => 'Kubernetes');
my %NODE = (
    id => 'waypoint~10.244.1.50~waypoint-0.default~default.svc.cluster.local',
    cluster => 'waypoint.default',
    metadata => { NAMESPACE => 'default', SERVICE_ACCOUNT => 'waypoint', CLUSTER_ID => 'Kubernetes' },
);


# The client.

my ($TO_CLIENT, $FROM_CLIENT, $CLIENT);
my $ID = 0;

sub start_client {
    pipe my $in, $TO_CLIENT or die "pipe: $!";
    pipe $FROM_CLIENT, my $out or die "pipe: $!";
    $CLIENT = spawn_child(sub {
        open STDIN, '<&', $in or die "stdin: $!";
        open STDOUT, '>&', $out or die "stdout: $!";
        close $TO_CLIENT;
        local $ENV{GRPC_VERBOSITY} = 'NONE';
        exec '/usr/bin/python3', '-B', "$FindBin::Bin/control_plane_client.py" or die "exec: $!";
    });
    $TO_CLIENT->autoflush(1);
    return;
}

sub client {
    my ($do, %arguments) = @_;

    print {$TO_CLIENT} $JSON->encode({ %arguments, do => $do }), "\n";
    my $line = <$FROM_CLIENT> // die "the client died\n";
    return $JSON->decode($line);
}

sub channel {
    my ($plane, %option) = @_;

    my $id = 'channel' . ++$ID;
    client('channel', id => $id, target => $plane->address, root => $plane->root_file, %option);
    return $id;
}

# A stream: of a channel, or of a new one.
sub stream {
    my ($plane, %option) = @_;

    my $id = 'stream' . ++$ID;
    client('open', id => $id, channel => $option{channel} // channel($plane),
        protocol => $option{protocol} // 'delta', metadata => $option{metadata} // \%GOOD);
    return $id;
}

sub say_to {
    my ($id, $type, %message) = @_;

    client('send', id => $id,
        message => { type_url => $GOOGLE . ($TYPE{$type} // $type), %message });
    return;
}

sub hear {
    my ($id, %option) = @_;

    return client('receive', id => $id, seconds => 10, %option);
}

sub silent { return hear($_[0], seconds => 0.3)->{nothing} }

# Answers a response with ACK, or with NACK.
sub ack {
    my ($id, $response, %message) = @_;

    client('send', id => $id, message => {
        type_url => $response->{type}, response_nonce => $response->{nonce}, %message });
    return $response;
}

sub hear_and_ack { return ack($_[0], hear(@_)) }

# A subscription, whose answer is ACKed.
sub subscribe {
    my ($id, $type, %message) = @_;

    say_to($id, $type, %message);
    return hear_and_ack($id);
}

sub names_of { return [sort map { $_->{name} } @{ $_[0]{resources} }] }

sub resource {
    my ($response, $name) = @_;

    my ($found) = grep { $_->{name} eq $name } @{ $response->{resources} };
    return defined $found ? pack 'H*', $found->{hex} : undef;
}


# Protobuf as it is on the wire: dig(BYTES, NUMBER...) are the values of a path of fields.

sub varint {
    my ($bytes) = @_;

    my ($value, $shift) = (0, 0);

    while (1) {
        my $byte = ord substr ${$bytes}, 0, 1, '';
        $value |= ($byte & 0x7f) << $shift;
        return $value if $byte < 0x80;
        $shift += 7;
    }
}

sub fields {
    my ($bytes) = @_;

    my @found;

    while (length $bytes) {
        my $tag = varint(\$bytes);
        my $kind = $tag & 7;
        die "wire type $kind\n" if $kind != 0 && $kind != 2 && $kind != 5 && $kind != 1;
        my $value = $kind == 0 ? varint(\$bytes)
            : substr $bytes, 0, $kind == 5 ? 4 : $kind == 1 ? 8 : varint(\$bytes), '';
        push @found, [$tag >> 3, $value];
    }
    return @found;
}

sub dig {
    my ($bytes, @path) = @_;

    my @values = ($bytes);

    for my $number (@path) {
        @values = map { $_->[1] } grep { $_->[0] == $number } map { fields($_) } @values;
    }
    return @values;
}

# One field of bytes.
sub field {
    my ($number, $bytes) = @_;

    my ($tag, $length) = map { $_ < 0x80 ? chr $_ : chr($_ & 0x7f | 0x80) . chr($_ >> 7) }
        $number << 3 | 2, length $bytes;
    return $tag . $length . $bytes;
}

# What a recorded DiscoveryResponse has: name => bytes.
sub recorded {
    my ($file) = @_;

    return map { (dig($_, 1))[0] => $_ } dig(slurp($file), 2, 2);
}


start_client();

my %CDS = recorded("$SPLIT/cds.pb");
my %EDS = recorded("$SPLIT/eds.pb");
my %LDS = recorded("$SPLIT/lds.pb");
my $plane = Test::Cairn::ControlPlane->start(recording => '02-vs-split', plaintext => 1);

sub fresh {
    $plane->load(recording => '02-vs-split');
    $plane->mark;
    return;
}


subtest 'delta discovery serves the recording byte for byte, as istiod does' => sub {
    my $stream = stream($plane);
    say_to($stream, 'cds', node => \%NODE);
    my $clusters = hear($stream);

    is_deeply names_of($clusters), [sort keys %CDS], 'an empty subscription of CDS is for all';
    is_deeply { map { $_ => resource($clusters, $_) } keys %CDS }, \%CDS, 'each as recorded';
    is_deeply [grep { $_->{version} ne '' } @{ $clusters->{resources} }], [], 'without a version';
    like $clusters->{nonce}, qr{^\d{4}-\d\d-\d\dT[\d:]+Z/\d+[0-9a-f]+-}, "a nonce of istiod's form";

    ack($stream, $clusters);
    say_to($stream, 'eds', resource_names_subscribe => [$V1, $V2, 'unknown']);
    my $endpoints = hear_and_ack($stream);
    is_deeply names_of($endpoints), [sort $V1, $V2, 'unknown'], 'EDS by name';
    is resource($endpoints, $V2), $EDS{$V2}, 'as recorded';
    is resource($endpoints, 'unknown'), "\x0a\x07unknown", 'an unknown name is empty';

    my $listeners = subscribe($stream, 'lds');
    is_deeply { map { $_ => resource($listeners, $_) } keys %LDS }, \%LDS, 'all listeners';

    say_to($stream, 'eds', resource_names_subscribe => [$REVIEWS],
        resource_names_unsubscribe => ['unknown']);
    is_deeply names_of(hear_and_ack($stream)), [$REVIEWS], 'a new name is answered by itself';
    say_to($stream, 'eds', resource_names_unsubscribe => [$V1]);
    ok silent($stream), 'the end of a subscription is not answered';
    $plane->push('eds');
    is_deeply names_of(hear_and_ack($stream)), [sort $V2, $REVIEWS], 'and not pushed any more';

    client('cancel', id => $stream);
    ok $plane->wait_record(kind => 'close'), 'its end is noticed';
};


subtest 'the state of the world serves the same' => sub {
    my $stream = stream($plane, protocol => 'sotw');
    say_to($stream, 'cds', node => \%NODE);
    my $clusters = hear($stream);

    is_deeply { map { $_ => resource($clusters, $_) } keys %CDS }, \%CDS, 'all clusters';
    like $clusters->{version}, qr{/\d+$}, 'of a version';
    ack($stream, $clusters, version_info => $clusters->{version});
    is_deeply names_of(subscribe($stream, 'eds', resource_names => [$V1, 'unknown'])),
        [$V1, 'unknown'], 'endpoints by name';
    ok silent($stream), 'no answer to the ACK, which has no names any more';

    $plane->push('cds');
    is_deeply names_of(hear_and_ack($stream)), [sort keys %CDS], 'a push is of all';
    say_to($stream, 'lds');
    is scalar @{ hear_and_ack($stream)->{resources} }, 5, 'listeners';
    client('cancel', id => $stream);
};


subtest 'pushes: in order, whole, and none before the ACK of the last' => sub {
    fresh();
    my $stream = stream($plane);
    subscribe($stream, 'lds', node => \%NODE);
    subscribe($stream, 'eds', resource_names_subscribe => [$V1, $V2]);
    subscribe($stream, 'cds');
    is $plane->wait_settled([qw(cds eds lds)])->{verdict}, 'ack', 'settled at first';

    $plane->push(qw(lds eds cds));
    my @responses = map { hear($stream) } 1 .. 3;
    is_deeply [map { $_->{type} =~ s/.*\.//r } @responses],
        [qw(Cluster ClusterLoadAssignment Listener)], 'CDS, EDS, LDS';
    is $plane->wait_settled(['cds'], seconds => 0.2)->{verdict}, undef, 'not settled without ACK';

    $plane->set_endpoints(cluster => $V1, endpoints => ['127.0.0.1:1']);
    $plane->set_endpoints(cluster => $V1, endpoints => ['127.0.0.1:2']);
    ok silent($stream), 'no second push of a type without ACK';
    ack($stream, $responses[1]);
    my $endpoints = hear($stream);
    is_deeply names_of($endpoints), [sort $V1, $V2], 'a push is whole';
    is +(dig(resource($endpoints, $V1), 2, 2, 1, 1, 3, 2))[0], '127.0.0.1:2', 'two are one';
    ok silent($stream), 'and no more';
    ack($stream, $_) for $endpoints, @responses[0, 2];
    is $plane->wait_settled([qw(cds eds lds)])->{verdict}, 'ack', 'settled';

    $plane->remove(type => 'cds', name => $V2);
    my $clusters = hear($stream);
    is_deeply $clusters->{removed}, [$V2], 'a removed resource is said to be so';
    is scalar @{ $clusters->{resources} }, keys(%CDS) - 1, 'with all others sent';
    ack($stream, $clusters, error_detail => { code => 13, message => 'no' });
    is $plane->wait_settled(['cds'])->{verdict}, 'nack', 'a NACK settles it too';

    my ($state) = $plane->streams;
    is $state->{types}{ $GOOGLE . $TYPE{cds} }{verdict}, 'nack', 'and is known of the stream';
    ok silent($stream), 'a NACK is not answered';
    client('cancel', id => $stream);
};


subtest 'what it was asked is recorded' => sub {
    fresh();
    my $stream = stream($plane);
    my $clusters = subscribe($stream, 'cds', node => \%NODE,
        initial_resource_versions => [{ key => 'a', value => '1' }]);
    say_to($stream, 'cds', response_nonce => 'other');
    ok $plane->wait_record(kind => 'stale'), 'a nonce that it did not give';
    $plane->push('cds');
    ack($stream, hear($stream), error_detail => { code => 3, message => 'what is this' });
    my $nack = $plane->wait_record(kind => 'nack', type => 'cds');

    is_deeply $nack->{error}, { code => 3, message => 'what is this' }, 'why it was refused';
    is_deeply [map { $_->{kind} } $plane->records(type => 'cds')],
        [qw(subscribe response ack stale response nack)], 'the order of things';
    my ($first) = $plane->records(kind => 'subscribe');
    is $first->{node}{id}, $NODE{id}, "the node's id";
    is $first->{node}{metadata}{SERVICE_ACCOUNT}, 'waypoint', "the node's metadata";
    is_deeply $first->{initial}, { a => '1' }, 'versions at first';
    my ($open) = $plane->records(kind => 'open');
    is $open->{metadata}{clusterid}, 'Kubernetes', 'metadata of the call';
    is $open->{identity}, 'default/waypoint', 'its identity';
    ok $open->{secure}, 'over TLS';
    ok $plane->wait_record(kind => 'ack', nonce => $clusters->{nonce}), 'found by its nonce';
    is $plane->wait_record(kind => 'ack', nonce => 'none', seconds => 0.1), undef, 'or not';
    client('cancel', id => $stream);
};


subtest 'workloads: versions, and only what has changed' => sub {
    fresh();
    my $channel = channel($plane);
    my $stream = stream($plane, channel => $channel);
    my $workloads = subscribe($stream, 'workload', node => \%NODE);
    my %version = map { $_->{name} => $_->{version} } @{ $workloads->{resources} };
    my ($some, $gone) = sort keys %version;

    cmp_ok scalar(keys %version), '>', 5, 'all at first';
    is_deeply [grep { !/^[0-9a-f]{8,16}$/ } values %version], [], 'each has a version';
    $plane->push('workload');
    ok silent($stream), 'a push that changes nothing is none';
    is $plane->wait_settled(['workload'])->{verdict}, 'ack', 'and yet settled';

    $plane->edit(type => 'workload', name => $some, path => ['1'], set => 'another');
    my $changed = hear_and_ack($stream);
    is_deeply names_of($changed), [$some], 'only the changed one';
    isnt $changed->{resources}[0]{version}, $version{$some}, 'with another version';
    is +(dig(resource($changed, $some), 1))[0], 'another', 'as it was changed';
    $plane->remove(type => 'workload', name => $gone);
    is_deeply hear_and_ack($stream)->{removed}, [$gone], 'a removal';
    client('cancel', id => $stream);

    my $again = stream($plane, channel => $channel);
    say_to($again, 'workload', node => \%NODE, resource_names_subscribe => ['*'],
        initial_resource_versions => [map { { key => $_, value => $version{$_} } } keys %version]);
    my $rest = hear_and_ack($again);
    is_deeply names_of($rest), [$some], 'what the client has is not sent again';
    is_deeply $rest->{removed}, [$gone], 'what it should not have is';
    $rest = subscribe($again, 'eds', resource_names_subscribe => [$V1],
        initial_resource_versions => [{ key => $V2, value => '' }]);
    is_deeply names_of($rest), [$V1, $V2], 'endpoints that a client has, it watches';
    client('cancel', id => $again);
};


subtest 'secrets and extensions by name; a random order' => sub {
    fresh();
    my $file = spew(test_dir() . '/secret.pb', "\x0a\x01s\x12\x00");
    $plane->put(type => 'sds', name => 's', file => $file);
    $plane->put(type => 'ecds', name => 'e', hex => '0a0165');
    my $stream = stream($plane);
    my $secrets = subscribe($stream, 'sds', node => \%NODE,
        resource_names_subscribe => ['s', 'none']);

    is_deeply names_of($secrets), ['s'], 'the secret asked for';
    is resource($secrets, 's'), slurp($file), 'as it was put';
    is_deeply $secrets->{removed}, ['none'], 'another does not exist';
    say_to($stream, 'ecds');
    ok silent($stream), 'no name, no extension';
    is_deeply names_of(subscribe($stream, 'ecds', resource_names_subscribe => ['e'])), ['e'],
        'by its name';

    $plane->copy(type => 'cds', name => $V1, to => 'copied', push => 0);
    $plane->behave(order => 'random', seed => 7);
    my @random = map { $_->{name} } @{ subscribe($stream, 'cds')->{resources} };
    $plane->behave(order => 'sorted', seed => undef);
    $plane->push('cds');
    my @sorted = map { $_->{name} } @{ hear_and_ack($stream)->{resources} };
    $plane->behave(order => undef);
    is_deeply \@sorted, [sort @random], 'sorted';
    isnt "@random", "@sorted", 'or in disorder';
    ok +(grep { $_ eq 'copied' } @sorted), 'with a copy, which was not pushed by itself';
    client('cancel', id => $stream);
};


subtest 'addresses of the recording become others' => sub {
    my $endpoints = $plane->endpoints;
    my ($old) = map { $_->{address} =~ s/:.*//r } @{ $endpoints->{$V1} };
    my ($other) = map { $_->{address} } @{ $endpoints->{$V2} };
    my ($pod) = grep { $_->{addresses}[0] eq $old } $plane->workloads;
    is_deeply [@{$pod}{qw(namespace app version)}], [qw(default reviews v1)], 'the pod of one';
    my $vip = (grep { /^10\.96\./ } map { (dig($_, 1, 1))[0] }
        dig($LDS{main_internal}, 32, 2, 4, 2, 2, 1))[0];
    $plane->load(recording => $SPLIT, addresses => {
        $old => '127.211.212.213', $other => '127.1.2.3:65535', $vip => '127.9.9.9' });

    my $now = $plane->endpoints;
    is $now->{$V1}[0]{address}, '127.211.212.213:9080', 'an address, its port stays';
    is $now->{$V2}[0]{address}, '127.1.2.3:65535', 'an address and its port';
    my $v1 = pack 'H*', $plane->get(type => 'eds', name => $V1)->{hex};
    is +(dig($v1, 2, 2, 1, 1, 3, 2))[0], '127.211.212.213:9080', 'the internal address';
    my ($entry) = grep { (dig($_, 1))[0] eq 'envoy.filters.listener.original_dst' }
        dig($v1, 2, 2, 3, 1);
    is +(dig($entry, 2, 1, 2, 3))[0], '127.211.212.213:9080', "the CONNECT's target";
    ok index($v1, $old) < 0, 'nothing of the old one is left';
    isnt length $v1, length $EDS{$V1}, 'though the length is another';
    my $details = 'inbound-vip|9080|http|details.default.svc.cluster.local';
    is pack('H*', $plane->get(type => 'eds', name => $details)->{hex}), $EDS{$details},
        'others are as they were';

    my $listener = pack 'H*', $plane->get(type => 'lds', name => 'main_internal')->{hex};
    my @ranges = map { (dig($_, 1))[0] } dig($listener, 32, 2, 4, 2, 2, 1, 1);
    ok +(grep { $_ eq '127.9.9.9' } @ranges), 'the matcher of the listener';
    ok !(grep { $_ eq $vip } @ranges), 'instead of the old';
    my @found = grep { grep { $_ eq inet_aton('127.211.212.213') } dig($_, 3) }
        map { pack 'H*', $plane->get(type => 'workload', name => $_)->{hex} }
        $plane->names(type => 'workload');
    is scalar @found, 1, 'the workload';
};


subtest 'addresses of services, gateways and sockets too' => sub {
    my $dir = test_dir() . '/made';
    my $cluster = field(1, 'static') . field(33, field(2, field(2, field(1, field(1,
        field(1, field(2, '10.0.0.1') . "\x18\x50"))))));
    my $workload = field(1, field(3, inet_aton('10.0.0.1')) . field(3, 'x' x 16)
        . field(8, field(2, field(2, inet_aton('10.0.0.2')))));
    my $service = field(2, field(3, 'host')
        . field(4, field(1, 'net') . field(2, inet_aton('10.0.0.1'))));
    my $file = sub {
        my ($name, $type, %resource) = @_;
        return spew("$dir/$name", map { field(2, field(1, 'recorded')
            . field(2, field(1, $GOOGLE . $TYPE{$type}) . field(2, $resource{$_})) . field(3, $_)) }
            sort keys %resource);
    };
    my $get = sub {
        my ($type, $name) = @_;
        my $answer = $plane->get(type => $type, name => $name);
        return (pack('H*', $answer->{hex}), $answer->{version});
    };

    mkdir $dir or die "mkdir: $!";
    $file->('cds.delta.pb', 'cds', static => $cluster);
    $file->('address.delta.pb', 'address', w => $workload, s => $service,
        t => field(2, field(3, 'other')));
    $plane->load(recording => $dir, addresses => {
        '10.0.0.1:80' => '127.0.0.1:65000', '10.0.0.1' => '127.0.0.1', '10.0.0.2' => '127.0.0.2' });

    my ($bytes) = $get->('cds', 'static');
    my ($socket) = dig($bytes, 33, 2, 2, 1, 1, 1);
    is_deeply [map { dig($socket, $_) } 2, 3], ['127.0.0.1', 65000], 'an address and its port';
    ($bytes, my $version) = $get->('address', 'w');
    is_deeply [dig($bytes, 1, 3)], [inet_aton('127.0.0.1'), 'x' x 16], 'of a workload';
    is_deeply [dig($bytes, 1, 8, 2, 2)], [inet_aton('127.0.0.2')], 'of its waypoint';
    isnt $version, 'recorded', 'which has another version now';
    ($bytes) = $get->('address', 's');
    is_deeply [map { dig($bytes, 2, 4, $_) } 1, 2], ['net', inet_aton('127.0.0.1')],
        'of a service, the rest as it was';
    is +($get->('address', 't'))[1], 'recorded', 'what stays keeps its version';

    $plane->load(recording => '02-vs-split', only => ['eds']);
    is_deeply [$plane->names(type => 'cds')], ['static'], 'only some types can be loaded';
    is scalar($plane->names(type => 'eds')), keys %EDS, 'which are added';
};


subtest 'changes: 200 of weights, endpoints, bytes' => sub {
    fresh();
    my $stream = stream($plane);
    subscribe($stream, 'cds', node => \%NODE);
    subscribe($stream, 'lds');
    is_deeply $plane->weights->{weights}[0]{weights}, { $V1 => 90, $V2 => 10 }, 'as recorded';

    my %seen;
    for my $weight (1 .. 200) {
        $plane->set_weights(weights => { $V1 => $weight, $V2 => 1000 - $weight });
        hear_and_ack($stream, brief => 1);
        $seen{ resource(hear_and_ack($stream, brief => 1), 'main_internal') } = 1;
    }
    is scalar keys %seen, 200, '200 pushes, each another';
    is_deeply $plane->weights->{weights}[0]{weights}, { $V1 => 200, $V2 => 800 }, 'the last';
    my ($last) = $plane->records(kind => 'response', type => 'lds', generation => $plane->{generation});
    ok $last, 'which is recorded with its generation';
    ok !eval { $plane->set_weights(weights => { a => 1 }); 1 }, 'nothing splits among others';
    like $@, qr/nothing in 'main_internal' splits/, 'which it says';
    ok !eval { $plane->set_weights(weights => { $V1 => 1, $V2 => 1 }, route => 'none'); 1 },
        'nor in another route';
    client('cancel', id => $stream);

    $plane->set_endpoints(cluster => $V1, endpoints => ['127.0.0.9:1',
        { address => '127.0.0.8:2', hbone => 0, health => 'unhealthy', weight => 3, priority => 1 }]);
    my $expected = [
        { address => '127.0.0.9:1', hbone => 1, health => 'healthy', weight => 1, priority => 0 },
        { address => '127.0.0.8:2', hbone => 0, health => 'unhealthy', weight => 3, priority => 1 },
    ];
    my $got = $plane->endpoints->{$V1};
    $_->{hbone} = $_->{hbone} ? 1 : 0 for @{$got};
    is_deeply $got, $expected, 'endpoints';

    $plane->replace(type => 'lds', name => 'main_internal', old => 'reviews', new => 'REVIEWS');
    my $bytes = pack 'H*', $plane->get(type => 'lds', name => 'main_internal')->{hex};
    ok index($bytes, 'reviews') < 0 && index($bytes, 'REVIEWS') > 0, 'bytes for bytes';
    ok !eval { $plane->replace(type => 'lds', name => 'main_internal', old => 'a', new => ''); 1 },
        'only as many';
    $plane->edit(type => 'cds', name => $V1, path => ['4', '1'], set => 1234567);
    is +(dig(pack('H*', $plane->get(type => 'cds', name => $V1)->{hex}), 4, 1))[0], 1234567,
        'a number within a message';
    $plane->edit(type => 'cds', name => $V1, path => [4], delete => 1);
    is_deeply [dig(pack('H*', $plane->get(type => 'cds', name => $V1)->{hex}), 4)], [], 'a field less';
    ok !eval { $plane->get(type => 'cds', name => 'nobody'); 1 }, 'what is not there is an error';
};


subtest 'only who may, gets' => sub {
    fresh();
    my $denied = sub {
        my (%option) = @_;
        my $stream = stream($plane, %option);
        say_to($stream, 'cds', node => $option{node} // \%NODE);
        my $heard = hear($stream);
        return $heard->{status} ? "$heard->{status} $heard->{message}" : 'served';
    };

    is $denied->(), 'served', 'with its token';
    is $denied->(node => {}), 'INVALID_ARGUMENT missing node information', 'without a name';
    is $denied->(metadata => {}), 'UNAUTHENTICATED authentication failure', 'no token';
    is $denied->(metadata => { authorization => 'Bearer x' }),
        'UNAUTHENTICATED authentication failure', 'a bad one';
    is $denied->(metadata => { %GOOD, clusterid => 'other' }),
        'UNAUTHENTICATED authentication failure', 'another cluster';
    is $denied->(metadata => { authorization => $GOOD{authorization} }), 'served', 'or none named';
    like $denied->(node => { %NODE, metadata => { NAMESPACE => 'a', SERVICE_ACCOUNT => 'b' } }),
        qr{^PERMISSION_DENIED .*default/sa/waypoint\]\) matched a/b$}, "another node's name";
    is $denied->(metadata => {}, channel => channel($plane, root => undef,
        target => $plane->plaintext_address)), 'served', 'nobody is asked in plaintext';
    like $denied->(channel => channel($plane, root => root_file('other'))), qr/^UNAVAILABLE /,
        'a client that trusts another root does not get through';
    like $denied->(channel => channel($plane, name => 'other.svc')), qr/^UNAVAILABLE /,
        'nor one that wants another name';
    is $denied->(channel => channel($plane, name => 'localhost')), 'served', 'localhost is one';

    $plane->tokens({ fresh => 'default/waypoint' }, 'fresh');
    is slurp($plane->token_file), 'fresh', 'another token in the file';
    like $denied->(), qr/^UNAUTHENTICATED/, 'the old one is over';
    is $denied->(metadata => { authorization => 'Bearer fresh' }), 'served', 'the new one is good';
    $plane->tokens({ $TOKEN => 'default/waypoint' }, $TOKEN);
};


subtest 'misbehaviour of discovery' => sub {
    fresh();
    my $stream = stream($plane);
    subscribe($stream, 'cds', node => \%NODE);
    my $next = sub { $plane->push('cds'); return hear_and_ack($stream) };

    $plane->behave(garbage => { kind => 'bytes', name => $V1, bytes => 99, times => 1 });
    my $clusters = $next->();
    is length resource($clusters, $V1), 99, 'garbage in a resource';
    is resource($clusters, $V2), $CDS{$V2}, 'in one of them';
    is resource($next->(), $V1), $CDS{$V1}, 'once';
    $plane->behave(garbage => { kind => 'truncated', name => $V1, type => 'cds', times => 1 });
    is length resource($next->(), $V1), int(length($CDS{$V1}) / 2), 'half of a resource';
    $plane->behave(garbage => { kind => 'empty', name => $V1, type => 'lds' });
    is resource($next->(), $V1), $CDS{$V1}, 'another type is not meant';
    $plane->behave(garbage => { kind => 'type_url', name => $V1 });
    my ($typed) = grep { $_->{name} eq $V1 } @{ $next->()->{resources} };
    is $typed->{type}, "${GOOGLE}no.such.Type", 'another type within';
    $plane->behave(garbage => { kind => 'response', bytes => 300, times => 1 });
    $plane->push('cds');
    is_deeply hear($stream), { undecodable => 300 }, 'garbage instead of a response';

    my $nonce = $next->()->{nonce};
    $plane->behave(nonce => { kind => 'repeat', times => 1 });
    is $next->()->{nonce}, $nonce, 'the same nonce again';
    $plane->behave(nonce => { kind => 'empty', times => 1 });
    is $next->()->{nonce}, '', 'an empty nonce';

    $plane->behave(huge => { bytes => 20 << 20, times => 1 });
    my ($huge) = grep { $_->{name} eq 'huge' } @{ $next->()->{resources} };
    cmp_ok $huge->{hex}, '>', 20 << 20, 'a message of 20 MiB';

    $plane->behave(delay_ms => 400);
    my $start = now();
    $next->();
    cmp_ok now() - $start, '>', 0.39, 'late';
    $plane->behave(delay_ms => undef, hold => ['cds']);
    $plane->push('cds');
    ok silent($stream), 'never';
    say_to($stream, 'lds');
    is scalar @{ hear_and_ack($stream)->{resources} }, 5, 'but other types';
    $plane->behave(hold => undef);
    is scalar @{ hear_and_ack($stream)->{resources} }, keys %CDS, 'until it is over';

    $plane->send(hex => '22017a');
    is_deeply hear($stream)->{type}, 'z', 'any bytes as a response';
    $plane->abort_streams(code => 'RESOURCE_EXHAUSTED', message => 'enough');
    is_deeply hear($stream), { status => 'RESOURCE_EXHAUSTED', message => 'enough' }, 'an end';

    $plane->behave(refuse => { code => 'UNAVAILABLE', message => 'later', times => 2 });
    my @heard = map { hear(stream($plane)) } 1 .. 2;
    is_deeply \@heard, [({ status => 'UNAVAILABLE', message => 'later' }) x 2], 'refused twice';
    my $good = stream($plane);
    say_to($good, 'cds', node => \%NODE);
    ok hear($good)->{resources}, 'then no more';
    ok !eval { $plane->behave(colour => 1); 1 }, 'what it cannot do is an error';
    client('cancel', id => $good);
};


subtest 'misbehaviour of connections' => sub {
    fresh();
    my $serves = sub {
        my $stream = stream($plane);
        say_to($stream, 'cds', node => \%NODE);
        my $heard = hear($stream);
        return $heard->{resources} ? $stream : undef;
    };

    for my $how (qw(rst fin)) {
        my $stream = $serves->();
        is $plane->wait_record(kind => 'subscribe')->{type}, $GOOGLE . $TYPE{cds}, 'a stream';
        cmp_ok $plane->drop(how => $how)->{connections}, '>=', 1, "connections end with $how";
        is hear($stream)->{status}, 'UNAVAILABLE', 'which the client sees';
    }
    ok wait_for(sub { !$plane->streams }, 5), 'their streams are gone';

    my $stream = $serves->();
    $plane->freeze;
    $plane->push('cds');
    say_to($stream, 'lds');
    ok silent($stream), 'a frozen connection says nothing';
    $plane->freeze(frozen => 0);
    is hear($stream)->{type}, $GOOGLE . $TYPE{lds}, 'then it does';

    my $port = $plane->port('tls');
    my $raw = sub {
        my $socket = IO::Socket::INET->new(PeerAddr => $plane->{listen}, PeerPort => $port,
            Timeout => 5) or return $!{ECONNREFUSED} ? 'refused' : 'reset';
        my $read = IO::Select->new($socket)->can_read(0.3) ? sysread $socket, my $bytes, 4096 : -1;
        return defined $read ? $read < 0 ? 'silent' : $read ? 'bytes' : 'closed' : 'reset';
    };
    my %expected = (refuse => 'refused', reset => 'reset', hang => 'silent', garbage => 'bytes');

    for my $mode (sort keys %expected) {
        $plane->listen(mode => $mode);
        is $raw->(), $expected{$mode}, "new connections: $mode";
    }
    $plane->listen;
    is $raw->(), 'silent', 'and a server again, which waits';
    is $plane->port('tls'), $port, 'behind the same port';

    $plane->drop;
    my $last = $serves->();
    ok $last, 'it serves';
    $plane->restart(grace => 1);
    ok $serves->(), 'a new server serves';
    is hear($last)->{status}, 'UNAVAILABLE', 'the streams of the old one end';
    $plane->drop;
};


subtest 'certificates: the identity is that of the token' => sub {
    fresh();
    my $channel = channel($plane);
    my $ask = sub { return client('csr', channel => $channel, metadata => \%GOOD, @_) };

    for my $key (qw(p256 p384 rsa)) {
        my $answer = $ask->(key => $key, ttl => 3600, uris => ['spiffe://evil/ns/a/sa/b']);
        my ($leaf, $root) = @{ $answer->{chain} };
        is scalar @{ $answer->{chain} }, 2, "$key: a leaf and the root";
        is_deeply $leaf->{uris}, ['spiffe://cluster.local/ns/default/sa/waypoint'],
            "the token's name, not what the CSR asks for";
        is_deeply [@{$leaf}{qw(subject critical ca own_key)}],
            ['', JSON::PP::true, JSON::PP::false, JSON::PP::true], 'the form of the leaf';
        ok abs($leaf->{left} - 3600) < 10, 'of the lifetime asked for';
        ok abs($leaf->{begun} - 120) < 10, 'begun two minutes ago';
        ok $answer->{holds}, 'the chain holds';
        is $root->{pem} =~ s/\s+//gr, slurp($plane->root_file) =~ s/\s+//gr, 'up to the root';
    }

    my @refused = (
        ['no token', 'UNAUTHENTICATED request authenticate failure', metadata => {}],
        ['a bad one', 'UNAUTHENTICATED request authenticate failure',
            metadata => { authorization => 'Bearer x' }],
        ['another cluster', 'UNAUTHENTICATED request authenticate failure',
            metadata => { %GOOD, clusterid => 'x' }],
        ['garbage', 'INVALID_ARGUMENT CSR signing error (certificate signing request is not '
            . 'properly encoded)', text => 'x'],
        ['100 days', 'INVALID_ARGUMENT CSR signing error (requested TTL 8640000s is greater than '
            . 'the max allowed TTL 7776000s)', ttl => 8640000],
    );

    for my $case (@refused) {
        my ($name, $expected, @arguments) = @{$case};
        my $answer = $ask->(@arguments);
        is "$answer->{status} $answer->{message}", $expected, "refused: $name";
    }
    ok abs($ask->(ttl => 0)->{chain}[0]{left} - 86400) < 10, 'a day, if none is asked for';

    my ($first) = $plane->records(kind => 'csr');
    is_deeply [@{$first}{qw(result identity ttl)}, $first->{asked}{key}],
        ['OK', 'default/waypoint', 3600, 'ec256'], 'requests are recorded';
    is scalar(map { $_->{result} eq 'UNAUTHENTICATED' ? 1 : () } $plane->records(kind => 'csr')), 3,
        'refused ones too';
};


subtest 'misbehaviour of the authority' => sub {
    fresh();
    my $channel = channel($plane);
    my $ask = sub {
        my ($ca, @arguments) = @_;
        $plane->behave(ca => $ca);
        return client('csr', channel => $channel, metadata => \%GOOD, @arguments);
    };
    my $leaf = sub { return $ask->(@_)->{chain}[0] };

    is $ask->({ mode => 'refuse', code => 'INTERNAL', message => 'no' })->{status}, 'INTERNAL',
        'refused';
    is $ask->({ mode => 'hang' }, seconds => 0.5)->{status}, 'DEADLINE_EXCEEDED', 'no answer';
    is scalar @{ $ask->({ mode => 'short' })->{chain} }, 1, 'no root';
    is scalar @{ $ask->({ mode => 'empty' })->{chain} }, 0, 'nothing';
    is scalar @{ $ask->({ mode => 'long', extra => 30 })->{chain} }, 32, 'a long chain';
    ok $ask->({ mode => 'reversed' })->{chain}[0]{ca}, 'the wrong order';
    ok $leaf->({ mode => 'garbage' })->{junk}, 'no certificate';
    ok $ask->({ mode => 'garbage_root' })->{chain}[-1]{junk}, 'no root certificate';
    ok $ask->({ mode => 'garbage_message' })->{undecodable}, 'no message';
    cmp_ok $leaf->({ mode => 'expired' })->{left}, '<', 0, 'an expired one';
    cmp_ok $leaf->({ mode => 'future' })->{begun}, '<', 0, 'one of the future';
    ok !$leaf->({ mode => 'other_key' })->{own_key}, 'another key';
    my $foreign = $ask->({ mode => 'foreign' });
    ok $foreign->{holds}, 'a whole chain';
    ok index(slurp($plane->root_file), $foreign->{chain}[1]{pem}) < 0, 'of another root';
    is_deeply $leaf->({ identity => 'a/b' })->{uris}, ['spiffe://cluster.local/ns/a/sa/b'],
        'another identity';
    cmp_ok $leaf->({ ttl => 5 })->{left}, '<', 6, 'a short life';
    my $start = now();
    is $ask->({ delay_ms => 300, times => 1 })->{status}, 'OK', 'late';
    cmp_ok now() - $start, '>', 0.29, 'indeed';
    $start = now();
    is $ask->(undef)->{status}, 'OK', 'as it should be';
};


subtest 'roots, intermediates and the server: change and rotation' => sub {
    my $own = Test::Cairn::ControlPlane->start(root => '', intermediates => 2);
    my $ask = sub {
        return client('csr', channel => channel($own, @_), metadata => \%GOOD, seconds => 5);
    };
    my $old = spew(test_dir() . '/old-root.pem', slurp($own->root_file));

    my $answer = $ask->();
    is scalar @{ $answer->{chain} }, 4, 'leaf, two intermediates, root';
    ok $answer->{holds}, 'each signed by the next';

    is $own->new_root->{roots}, 2, 'a new root';
    my @roots = slurp($own->root_file) =~ /BEGIN CERT/g;
    is scalar @roots, 2, 'both are served';
    my $next = $ask->();
    isnt $next->{chain}[3]{pem}, $answer->{chain}[3]{pem}, 'the new one signs';
    ok $next->{holds}, 'with its own intermediates';
    is $ask->(root => $old)->{status}, 'UNAVAILABLE', 'who has the old root only, is left behind';
    is $next->{chain}[3]{pem} =~ s/\s+//gr, slurp($own->root_file) =~ s/\s+//gr,
        'the last element has both roots';
    $own->retire_roots;
    is slurp($own->root_file) =~ s/\s+//gr, $ask->()->{chain}[3]{pem} =~ s/\s+//gr,
        'at last only the new one';
    is scalar(() = slurp($own->root_file) =~ /BEGIN CERT/g), 1, 'which is one';

    $own->server_certificate(expired => 1);
    is $ask->()->{status}, 'UNAVAILABLE', 'an expired server';
    $own->server_certificate(names => ['other.svc']);
    is $ask->()->{status}, 'UNAVAILABLE', 'a server of another name';
    is $ask->(name => 'other.svc')->{status}, 'OK', 'which has that name';
    $own->server_certificate;
    is $ask->()->{status}, 'OK', 'and its own again';
    $own->stop;
};


subtest "peers of the harness and certificates signed here trust each other" => sub {
    my $pod = Test::Cairn::Pod->new('reviews-v1', {});
    $pod->start;

    my $reach = sub {
        my ($identity) = @_;
        my $hbone = Test::Cairn::HBONE->connect(to => $pod->ip . ':15008', identity => $identity,
            expect => spiffe_id('default/reviews'), seconds => 5) or return "refused: $@";
        my $tunnel = $hbone->tunnel($pod->ip . ':' . $pod->port);
        return $tunnel->http->request(GET => '/')->status;
    };
    my $answer = client('csr', channel => channel($plane), metadata => \%GOOD);
    my %signed = (
        certificate => spew(test_dir() . '/signed.pem', $answer->{chain}[0]{pem}),
        key => spew(test_dir() . '/signed.key', $answer->{key}),
        root => $plane->root_file,
    );

    is $reach->(\%signed), 200, 'a pod lets in who has a certificate of the control plane';
    my ($seen) = $pod->wait_seen('request');
    is $seen->{peer}, spiffe_id('default/waypoint'), 'by its name';
    is $reach->($plane->issue(identity => 'default/other')), 200, 'or one issued for a test';
    like $reach->($plane->issue(identity => 'default/other', expired => 1)), qr/^refused/,
        'but an expired one';
    is $reach->(identity_files('sleep')), 200, "as it does the harness's own";

    $plane->new_harness_root('second');
    my @roots = slurp($plane->root_file) =~ /BEGIN CERT/g;
    is scalar @roots, 2, 'a second root of the harness';
    my $second = client('csr', channel => channel($plane), metadata => \%GOOD);
    is index($second->{chain}[1]{pem} =~ s/\s+//gr, slurp(root_file('second')) =~ s/\s+//gr), 0,
        'signs now';
    $pod->stop;
};


subtest 'nothing is left, whatever becomes of the test' => sub {
    is $plane->output, '', 'it had nothing to say';
    my $pid = $plane->pid;
    $plane->stop;
    ok !process_alive($pid), 'stopped';

    my $file = test_dir() . '/pid';
    my $child = spawn_child(sub {
        my $doomed = Test::Cairn::ControlPlane->start;
        spew("$file.new", $doomed->pid);
        rename "$file.new", $file;
        sleep 600;
    });
    ok wait_for(sub { -e $file }, 30), 'one that another process started';
    my $doomed = slurp($file);
    ok process_alive($doomed), 'runs';
    kill_child($child, 'KILL');
    ok wait_for(sub { !process_alive($doomed) }, 5), 'and ends when that one is killed';

    ok !eval { Test::Cairn::ControlPlane->start(colour => 1); 1 }, 'an unknown option is an error';
    ok !eval { Test::Cairn::ControlPlane->start(recording => '/nonexistent'); 1 },
        'and so is a recording that is not there';
};

close $TO_CLIENT;
kill_child($CLIENT, 'TERM');
done_testing;
