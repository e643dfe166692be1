# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Net - addresses and ports that no other test uses at the same time.
#
# A test process owns one loopback network 127.A.B.0/24 while it lives: a locked file in a shared
# directory stands for it. So every pod has an address of its own and can listen on 15008 and on
# its application's port, and tests run side by side.  127.A.B.1 is the waypoint's.

package Test::Cairn::Net;

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use Fcntl qw(:flock O_CREAT O_RDWR);
use File::Spec ();
use IO::Socket::INET ();
use Socket qw(SOMAXCONN);

our @EXPORT_OK = qw(network waypoint_address pod_address free_port listen_on);

my ($NETWORK, $LOCK, $NEXT_POD);
my %GIVEN;


# "127.A.B", locked for this process.
sub network {
    return $NETWORK if defined $NETWORK;

    my $dir = File::Spec->catdir(File::Spec->tmpdir, "cairn-test-networks-$<");
    mkdir $dir, 0700;

    for my $try (0 .. 24999) {
        my $number = ($$ + $try) % 25000;
        my $name = sprintf '127.%d.%d', 100 + int($number / 250), $number % 250;

        sysopen my $lock, "$dir/$name", O_CREAT | O_RDWR or croak "cannot open $dir/$name: $!";
        next if !flock $lock, LOCK_EX | LOCK_NB;

        ($NETWORK, $LOCK, $NEXT_POD) = ($name, $lock, 10);
        return $NETWORK;
    }

    croak 'all loopback networks for tests are taken';
}

sub waypoint_address {
    return network() . '.1';
}

# The next address for a pod: 127.A.B.10 and up.
sub pod_address {
    my $network = network();

    croak 'too many pods in one test' if $NEXT_POD > 254;
    return "$network." . $NEXT_POD++;
}

# free_port(ADDRESS): a port on which nothing listens there, given only once by this process. It
# stays free because the network is ours.
sub free_port {
    my ($address) = @_;

    for (1 .. 100) {
        my $socket = IO::Socket::INET->new(LocalAddr => $address, LocalPort => 0, Listen => 1)
            or croak "cannot listen on $address: $@";
        my $port = $socket->sockport;

        return $port if !$GIVEN{"$address:$port"}++;
    }

    croak "no free port on $address";
}

sub listen_on {
    my ($address, $port) = @_;

    return IO::Socket::INET->new(
        LocalAddr => $address, LocalPort => $port, Listen => SOMAXCONN, ReuseAddr => 1,
        Blocking => 0
    ) || croak "cannot listen on $address:$port: $@";
}

1;
