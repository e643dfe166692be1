# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::ControlPlane - an istiod for tests: discovery (ADS, delta and state of the world) and
# the certificate authority of a mesh, in one process of its own (t/lib/control_plane, in Python,
# none of cairn's code).  It serves what a real istiod was recorded to send, changes it when a test
# says so, tells what it was asked, and misbehaves on demand.
#
#     my $plane = Test::Cairn::ControlPlane->start(recording => '02-vs-split',
#         addresses => { '10.244.1.13' => $mesh->pod('reviews-v1')->ip, ... });
#     # a client of $plane->address, with $plane->root_file and $plane->token_file
#     $plane->wait_settled(['cds', 'eds', 'lds']);
#     $plane->set_weights(weights => { $v1 => 0, $v2 => 100 });
#     is $plane->wait_settled(['cds', 'lds'])->{verdict}, 'ack';
#     $plane->stop;
#
# start(OPTIONS), all of them optional; dies if it does not come up:
#
#     recording     a directory with cds.pb, eds.pb, ..., or the name of one in
#                   t/unit/modules/recorded; without it nothing is served at first
#     addresses     { '10.244.1.4' => '127.x.y.z', '10.244.1.4:9080' => '127.x.y.z:8080' }: in the
#                   recording's endpoints, IP matchers, listeners, workloads and services each
#                   address, or address and port, is another.  Conditions of policies stay as they
#                   are, and so does what is put or edited later.  endpoints() and workloads()
#                   tell which there are, so that load() can be told later
#     root          the harness's root that signs (Test::Cairn::CA, by name): 'mesh', so that the
#                   harness's pods and the certificates signed here trust each other; '' for a
#                   root of its own (RSA, as istiod's)
#     intermediates how many stand between the root and what is signed: 0
#     tokens        { TEXT => 'ns/sa' }: the good tokens; { 'token-of-default-waypoint' =>
#                   'default/waypoint' }.  token_file has the first of them by the alphabet
#     plaintext     listens without TLS too; nobody is authenticated there, as at istiod's 15010
#     trust_domain, cluster_id ('Kubernetes'), names (of the server's certificate), listen (the
#     address: 127.A.B.2 of this test's network), min_ping_ms (15000; who pings more often gets
#     GOAWAY too_many_pings)
#
# It has: address, plaintext_address (IP:PORT), port(NAME), root_file, token_file, dir, pid; and
# bootstrap(source => {}, ca => {}): what a cairn's bootstrap file needs to have its configuration
# and its certificate from here, with these keys of source.istiod and identity.istio_ca besides.
#
# Types are short: cds eds lds rds sds ecds workload address authorization; or a message's full
# name.  All methods take named arguments unless it is shown otherwise, return a hash, and die if
# what is asked cannot be done.
#
# What is served.  Each of these pushes what it changed, as istiod does, to all streams; push => 0
# changes without a push, push => [TYPES] pushes others.  {generation} of the answer tells the push.
#
#     load(recording =>, addresses =>, only => [TYPES])   all anew, or only some types
#     put(type =>, name =>, file => PATH or hex =>, version =>)     remove(type =>, name =>)
#     copy(type =>, name =>, to =>)      the same resource by another name
#     multiply(host =>, count => N, address => '10.97.0.1')   services like the one of that host,
#                                        beside it: s000001.NAMESPACE... (a name as long as its own)
#                                        at addresses from that on; {hosts} are theirs
#     set_weights(weights => { CLUSTER => N }, listener => 'main_internal', chain =>, route =>)
#                                        of all routes that split among just these clusters; pushes
#                                        CDS and LDS.  weights(listener =>) tells what there is
#     set_endpoints(cluster =>, endpoints => ['IP:PORT' or { address =>, hbone => 1, health =>
#         'healthy', weight => 1, priority => 0, workload => 'pod;ns;app;version;cluster' }])
#     endpoints()                        { CLUSTER => [{ address, hbone, health, weight, priority }] }
#     workloads()                        a list: { uid, name, namespace, addresses, service_account, app,
#                                        version }, of which pods the endpoints are
#     replace(type =>, name =>, old =>, new =>)   text by text of the same length
#     edit(type =>, name =>, path => ['3:1', 4, 2], set => or append => or delete => 1, hex => 1)
#                                        a field by its path of field numbers (with the occurrence
#                                        after the colon); a number is a varint, all else bytes
#     get(type =>, name =>), names(type =>)       push(TYPES...): a push without a change
#     send(hex => BYTES)                 these bytes as a response, on every stream
#
# How it serves: a push of a type is whole and its resources have no version, except those of
# workloads and addresses, of which only the changed ones go out and initial_resource_versions count.
# Order: CDS, EDS, LDS, RDS, SDS, addresses, workloads, authorizations, others.  No type has a second
# response before the first was ACKed or NACKed.  EDS, SDS, ECDS and RDS are by name, the others
# wildcards; an unknown name of EDS gets an empty assignment, of others a removal.
#
# What was seen.  A record is { number, kind, time, stream, protocol, ... }; its kind is
#
#     open           metadata, identity ('ns/sa' of the token), secure
#     subscribe, change, ack, nack, stale    requests: type, subscribe, unsubscribe, initial, nonce,
#                    error { code, message }, node { id, cluster, metadata }; subscribe is the first
#                    of a type in its stream, stale has a nonce that is not the newest
#     response       type, nonce, version, generation, names, removed
#     refuse, close  the end of a stream
#     csr            result ('OK', a status, 'HANG'), identity, metadata, ttl, csr, asked { key,
#                    uris, subject }, chain (how many)
#
#     mark()                             from here on records() and wait_record() begin
#     records(kind =>, type =>, ...)     a list: those that have these values; since => N
#     wait_record(seconds => 10, count => 1, kind =>, ...)   waits for so many; the last of them
#     wait_settled([TYPES], seconds => 10, generation => newest)   waits until every stream that
#                    watches the types has answered the push: { verdict => 'ack', 'nack' or undef }
#     streams()      [{ number, protocol, node, identity, types => { URL => { wildcard, names,
#                    unacked, generation, verdict, idle } } }]      connections()
#
# Misbehaviour: behave(NAME => VALUE, ...); undef ends it.  A hash may have times => N, and (but for
# refuse and ca) type.
#
#     delay_ms => N           before each response         hold => 1 or [TYPES]   no response
#     order => 'random', seed => N; or 'sorted'            of resources in a response
#     garbage => { kind => 'bytes' (the resource name =>, or the first), 'truncated', 'empty',
#                  'type_url', or 'response' (all of the message); bytes => N, seed => N }
#     nonce => { kind => 'empty' or 'repeat' }             huge => { bytes => N }: a resource of it
#     refuse => { code => 'UNAVAILABLE', message => }      of new streams
#     ca => { mode => ..., times =>, delay_ms =>, ttl => SECONDS, identity => 'ns/sa' }; mode is
#         refuse (code =>, message =>), hang, garbage, garbage_root, garbage_message, empty, short
#         (the leaf alone), long (extra => N), reversed, expired, future, other_key, foreign (an
#         unknown root); without a mode it signs
#
#     abort_streams(code =>, message =>)     all streams end with a status
#     drop(how => 'rst' or 'fin')            all connections end
#     freeze(frozen => 1)                    nothing passes on connections, which stay open
#     listen(mode => 'pass', 'refuse' (port closed), 'hang', 'reset', 'garbage', 'drip' (all that is
#                             said comes a few octets at a time))   new connections
#     restart(grace => SECONDS)              GOAWAY on connections; a new server behind the port
#
# Certificates:
#
#     server_certificate(names => [...], expired => 1)     another one for new connections
#     new_root(certificate => FILE, key => FILE)           signs by a new root (made if not given);
#                        root_file has the old ones too, until retire_roots().  The server's
#                        certificate is of the new root
#     new_harness_root(NAME)     the same by a root of Test::Cairn::CA
#     issue(identity => 'ns/sa', uris =>, ttl =>, expired => 1, key => 'p256' or 'p384' or 'rsa')
#                        for another peer: { certificate, key, root, id }
#     tokens({ TEXT => 'ns/sa' }, TEXT)      only these are good; the second is what token_file has
#
# It is ended by its pid: by stop(), when the object goes, at the test's end, and by the kernel
# if the test dies.

package Test::Cairn::ControlPlane;

use strict;
use warnings;

use Carp qw(croak);
use Cwd ();
use File::Basename ();
use IO::Socket::INET ();
use JSON::PP ();
use Socket qw(SOL_SOCKET SO_RCVTIMEO);

use Test::Cairn::CA ();
use Test::Cairn::Net qw(network);
use Test::Cairn::Util qw(
    deadline_in kill_child now process_alive slurp spawn_child test_dir wait_for
);

my $LIB = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../..');
my $RECORDED = "$LIB/../unit/modules/recorded";
my $PYTHON = '/usr/bin/python3';
my $PROGRAM = "$LIB/control_plane/main.py";
my $JSON = JSON::PP->new->utf8->canonical;
my $NUMBER = 0;
my @SERVER_NAMES = qw(istiod.istio-system.svc localhost);
my $TOKEN = 'token-of-default-waypoint';

my %KNOWN = map { $_ => 1 } qw(
    recording addresses root intermediates tokens plaintext trust_domain cluster_id names listen
    min_ping_ms
);

# Commands whose arguments go through as they are.
my @COMMANDS = qw(
    put remove copy multiply set_weights weights set_endpoints replace edit get send behave abort_streams
    drop freeze listen restart server_certificate new_root retire_roots issue connections
);


sub start {
    my ($class, %option) = @_;

    for my $key (sort keys %option) {
        croak "a control plane has no option '$key'" if !$KNOWN{$key};
    }

    my $dir = test_dir() . '/plane-' . ++$NUMBER;
    mkdir $dir or croak "cannot make $dir: $!";

    my $listen = $option{listen} // network() . '.2';
    my $self = bless { dir => $dir, listen => $listen, mark => 0, generation => 0 }, $class;
    my $root = $option{root} // 'mesh';
    my $tokens = $option{tokens} // { $TOKEN => 'default/waypoint' };

    $self->{log} = "$dir/output";
    $self->spawn({
        dir => $dir, address => $listen, parent => $$,
        names => $option{names} // [@SERVER_NAMES, $listen],
        tokens => $tokens,
        plaintext => $option{plaintext} ? JSON::PP::true() : JSON::PP::false(),
        (map { defined $option{$_} ? ($_ => $option{$_}) : () }
            qw(trust_domain cluster_id intermediates min_ping_ms)),
        $root ne '' ? (root => harness_root($root)) : (),
    });
    $self->load(map { $_ => $option{$_} } grep { $option{$_} } qw(recording addresses))
        if $option{recording};

    return $self;
}

sub harness_root {
    my ($name) = @_;

    return { certificate => Test::Cairn::CA::root_file($name),
        key => Test::Cairn::CA::root_key_file($name) };
}

sub spawn {
    my ($self, $options) = @_;

    my $ready = "$self->{dir}/ready.json";
    my $json = $JSON->encode($options);

    $self->{owner} = $$;
    $self->{pid} = spawn_child(sub {
        open STDIN, '<', '/dev/null' or die "cannot open /dev/null: $!";
        open STDOUT, '>>', $self->{log} or die "cannot append to $self->{log}: $!";
        open STDERR, '>&', \*STDOUT or die "cannot append to $self->{log}: $!";
        local $ENV{GRPC_VERBOSITY} = $ENV{GRPC_VERBOSITY} // 'NONE';
        exec { $PYTHON } $PYTHON, '-B', $PROGRAM, $json or die "cannot run $PYTHON: $!";
    });
    my $up = wait_for(sub { -e $ready || !process_alive($self->{pid}) }, 30);

    if (!$up || !-e $ready) {
        my $why = -e $self->{log} ? slurp($self->{log}) : '';
        $self->stop;
        croak "the control plane does not come up: $why";
    }

    $self->{port} = $JSON->decode(slurp($ready));
    return;
}

sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} // return;
    kill_child($pid, 'TERM') if $self->{owner} == $$;
    return;
}

sub DESTROY { $_[0]->stop; return }

sub dir { return $_[0]{dir} }
sub pid { return $_[0]{pid} }
sub port { return $_[0]{port}{ $_[1] // 'tls' } // croak "no port $_[1]" }
sub address { return "$_[0]{listen}:" . $_[0]->port('tls') }
sub plaintext_address { return "$_[0]{listen}:" . $_[0]->port('plaintext') }
sub root_file { return "$_[0]{dir}/root-cert.pem" }
sub token_file { return "$_[0]{dir}/token" }

# What it has written to its output: nothing, if all is well.

sub bootstrap {
    my ($self, %option) = @_;

    my %server = (
        address => $self->address, server_name => $SERVER_NAMES[0], root => $self->root_file,
        token => $self->token_file
    );
    my $node = {
        id => 'waypoint~10.244.1.50~waypoint-6d5f7b8c9-abcde.default~default.svc.cluster.local',
        cluster => 'waypoint.default',
        metadata => { NAMESPACE => 'default', SERVICE_ACCOUNT => 'waypoint',
            CLUSTER_ID => 'Kubernetes', ISTIO_VERSION => '1.31.0' }
    };

    return {
        waypoint => 'default/waypoint',
        source => { files => undef, watch => undef, istiod => { %server, node => $node,
            %{ $option{source} // {} } } },
        identity => { files => undef, istio_ca => { %server, %{ $option{ca} // {} } } },
    };
}

sub output { return -e $_[0]{log} ? slurp($_[0]{log}) : '' }


# Commands.

# command(NAME, { arguments }): one command and its answer; dies with what the control plane says
# against it.
sub command {
    my ($self, $name, $arguments) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->port('control'))
        or croak "control plane: $name: $@";
    my $seconds = deadline_in(60) - now() + ($arguments->{seconds} // 0);
    setsockopt $socket, SOL_SOCKET, SO_RCVTIMEO, pack 'l!l!', $seconds, 0;
    print {$socket} $JSON->encode({ %{$arguments}, do => $name }), "\n";

    my $answer = $JSON->decode(<$socket> // croak "control plane: $name: no answer");
    croak "control plane: $answer->{error}" if defined $answer->{error};

    $self->{generation} = $answer->{generation} if defined $answer->{generation};
    return $answer;
}

for my $name (@COMMANDS) {
    no strict 'refs';
    *{$name} = sub {
        my ($self, %arguments) = @_;
        return $self->command($name, \%arguments);
    };
}

sub load {
    my ($self, %arguments) = @_;

    my $recording = $arguments{recording};
    $recording = "$RECORDED/$recording" if $recording !~ m{/};
    return $self->command('load', { %arguments, recording => $recording });
}

sub push {
    my ($self, @types) = @_;

    return $self->command('push', { types => \@types });
}

sub names {
    my ($self, %arguments) = @_;

    return @{ $self->command('names', \%arguments)->{names} };
}

sub endpoints { return $_[0]->command('endpoints', {})->{endpoints} }
sub workloads { return @{ $_[0]->command('workloads', {})->{workloads} } }
sub streams { return @{ $_[0]->command('streams', {})->{streams} } }

sub tokens {
    my ($self, $tokens, $file) = @_;

    return $self->command('tokens', { tokens => $tokens, file => $file });
}

sub new_harness_root {
    my ($self, $name) = @_;

    return $self->new_root(%{ harness_root($name) });
}


# Records.

sub mark {
    my ($self) = @_;

    return $self->{mark} = $self->command('records', { kind => 'none' })->{count};
}

sub records {
    my ($self, %wanted) = @_;

    return @{ $self->command('records', { since => $self->{mark}, %wanted })->{records} };
}

sub wait_record {
    my ($self, %wanted) = @_;

    my $seconds = deadline_in(delete $wanted{seconds} // 10) - now();
    my $found = $self->command('wait',
        { since => $self->{mark}, %wanted, seconds => $seconds })->{records};
    return $found->[-1];
}

sub wait_settled {
    my ($self, $types, %option) = @_;

    return $self->command('wait_settled', {
        types => $types, generation => $option{generation} // $self->{generation},
        seconds => deadline_in($option{seconds} // 10) - now()
    });
}

1;
