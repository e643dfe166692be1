#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# gRPC between its own library's client and server: through a plain listener, and through an HBONE
# tunnel; every kind of call, and streams that reloads do not cut. `make test-grpc` runs it.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::Net qw(free_port pod_address waypoint_address);
use Test::Cairn::Util qw(kill_child spawn_child);

use IO::Select ();
use IO::Socket::INET ();
use POSIX ();

my $python = $ENV{TEST_GRPC_PYTHON} or plan skip_all => 'make test-grpc runs this';
my $peer = "$FindBin::Bin/peer.py";
my $address = pod_address();
my $calls = $ENV{TEST_GRPC_CALLS} // 10_000;

sub python {
    my ($out, @arguments) = @_;

    return spawn_child(sub {
        open STDOUT, '>', $out or POSIX::_exit(99);
        exec $python, $peer, @arguments or POSIX::_exit(99);
    });
}

# The client's TAP as a subtest.
sub client {
    my ($name, $during, @arguments) = @_;

    subtest $name => sub {
        my $out = test_dir() . '/client.tap';
        my $pid = python($out, 'client', @arguments);

        $during->(sub { waitpid($pid, POSIX::WNOHANG()) != 0 });
        my @lines = split /\n/, slurp($out);
        ok scalar(grep { /^ok / } @lines), 'it ran';
        ok !/^not ok/, $_ for grep { /^(?:not )?ok/ } @lines;
        diag $_ for grep { /^#/ } @lines;
        ok scalar(grep { /^1\.\.\d+$/ } @lines), 'to its end';
    };
    return;
}

sub until_over { my ($over) = @_; wait_for($over, 60) or fail 'the client does not end' }

my $served = test_dir() . '/server.out';
my $server = python($served, 'server', "$address:9000");
wait_for(sub { -e $served && slurp($served) =~ /ready/ }, 20) or die 'the server does not start';

my $mesh = Test::Cairn->start(
    upstreams => "sleep: {client: yes}\n", services => "peer: {port: 9000, protocol: grpc}\n",
    resources => <<"Y");
apiVersion: v1
kind: Pod
metadata: {name: peer-1, namespace: default, uid: peer-1, labels: {app: peer}}
spec:
  serviceAccountName: peer
  containers: [{name: app, image: app, ports: [{containerPort: 9000}]}]
status:
  phase: Running
  podIP: $address
  podIPs: [{ip: $address}]
  conditions: [{type: Ready, status: "True"}]
Y

# What a ztunnel does for a client that knows of no mesh: each connection in a tunnel of its own.
sub relay {
    my ($listener) = @_;

    while (my $client = $listener->accept) {
        next if fork;
        carry($client, $mesh->tunnel(as => 'sleep', to => 'peer'));
        POSIX::_exit(0);
    }
    return;
}

sub carry {
    my ($client, $tunnel) = @_;

    my $inner = $tunnel->{connection}{socket}{socket};
    $client->blocking(1);
    my $select = IO::Select->new($client, $inner);

    while (!$tunnel->ended) {
        my @ready = $inner->pending ? () : $select->can_read(0.05);

        if (grep { $_ == $client } @ready) {
            sysread($client, my $bytes, 65536) or last;
            $tunnel->write($bytes);
        }
        $tunnel->{connection}->pump(deadline_in(0));
        my $bytes = $tunnel->take;
        while ($bytes ne '') {
            my $count = syswrite $client, $bytes;
            return if !$count;
            substr $bytes, 0, $count, '';
        }
    }
    return;
}

my $plain = $mesh->daemon->plaintext_address;
client('through a plain listener', \&until_over, $plain, 'peer:9000');

my $port = free_port(waypoint_address());
my $listener = IO::Socket::INET->new(LocalAddr => waypoint_address(), LocalPort => $port, Listen => 16,
    ReuseAddr => 1) or die "cannot listen: $@";
my $relay = spawn_child(sub { local $SIG{CHLD} = 'IGNORE'; relay($listener) });
client('through a tunnel', \&until_over, waypoint_address() . ":$port", 'peer:9000');

my $reloads = 0;
client("$calls calls over reloads", sub {
    my ($over) = @_;

    while (!$over->()) {
        $mesh->reload(undef, files => { '60-more.yaml' => <<"Y" });
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: default}
spec:
  hosts: [peer]
  http:
  - match: [{uri: {prefix: /x@{[$reloads++]}}}]
    route: [{destination: {host: peer}}]
  - route: [{destination: {host: peer}}]
Y
    }
}, $plain, 'peer:9000', $calls);

my ($generation) = slurp($mesh->daemon->log_path('error')) =~ /.*reload done: generation=(\d+)/s;
note "$reloads reloads, the last generation is $generation";
cmp_ok $reloads, '>=', 50, 'there were reloads';
cmp_ok $generation, '>=', 50, 'which changed something';

kill_child($relay);
kill_child($server);
$mesh->stop;
done_testing;
