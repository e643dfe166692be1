# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Load - load that a Perl client cannot make: the benchmarks' generator and upstream
# (t/bench/tools), built when a test first needs them.
#
#     my $load = Test::Cairn::Load->start($mesh, as => 'sleep', to => 'reviews',
#         options => [qw(-c 4 -t 4 -r 2000 -d 30 --reconnect)]);    # it is under way
#     ...
#     my $result = $load->finish;                                    # its JSON
#
# An upstream for it is a pod with the key `native`: see t/README.md.

package Test::Cairn::Load;

use strict;
use warnings;

use Carp qw(croak);
use Cwd ();
use Fcntl qw(:flock O_CREAT O_RDWR);
use File::Basename ();
use File::Path qw(make_path);
use JSON::PP ();
use POSIX ();

use Test::Cairn::CA qw(identity_files);
use Test::Cairn::Util qw(
    forget_child kill_child lines_from slurp spawn_child test_dir wait_for
);

my $ROOT = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../../../..');
my $OUT = "$ROOT/objs/bench/bin";
my $NUMBER = 0;
my $BUILT;


# tool('hboneload' | 'hboneserver'): its path; it is built if need be, by one test at a time, with
# cairn's own OpenSSL where that was built.
sub tool {
    my ($name) = @_;

    build() if !$BUILT++;
    return "$OUT/$name";
}

sub build {
    my $openssl = "$ROOT/objs/deps/openssl";
    my @tls = -e "$openssl/lib/libssl.a"
        ? ("TLS_CFLAGS=-isystem $openssl/include",
            "TLS_LIBS=$openssl/lib/libssl.a $openssl/lib/libcrypto.a")
        : ();

    make_path($OUT);
    sysopen my $lock, "$OUT/lock", O_CREAT | O_RDWR or croak "cannot open $OUT/lock: $!";
    flock $lock, LOCK_EX or croak "cannot lock $OUT/lock: $!";

    # make hands its own flags and variables down: they are not meant for the tools
    local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS CFLAGS LDFLAGS)};
    delete @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS CFLAGS LDFLAGS)};

    my $said = qx{@{[join ' ', map { quotemeta } 'make', '-s', '-C', "$ROOT/t/bench/tools",
        "OUT=$OUT", @tls]} 2>&1};
    croak "the tools of t/bench cannot be built:\n$said" if $? != 0;
    return;
}

# start(MESH, as => IDENTITY, identity => files, to => SERVICE, options => [...]): runs the generator against the
# waypoint and waits until its tunnels are open and its measured time has begun.
sub start {
    my ($class, $mesh, %option) = @_;

    my $program = tool('hboneload');
    my $identity = $option{identity} // identity_files($option{as} // 'sleep');
    my $stem = test_dir() . '/load-' . ++$NUMBER;
    my @command = ($program, '--announce', '--ca', $identity->{root}, '--cert',
        $identity->{certificate}, '--key', $identity->{key}, '-w', 0,
        '-a', $mesh->target($option{to}), '-A', $mesh->host_of($option{to}),
        @{ $option{options} // [] }, $mesh->daemon->hbone_address);
    my $self = bless { out => "$stem.out", err => "$stem.err" }, $class;

    $self->{pid} = spawn_child(sub {
        open STDOUT, '>', $self->{out} or die "cannot write $self->{out}: $!";
        open STDERR, '>', $self->{err} or die "cannot write $self->{err}: $!";
        exec { $command[0] } @command or die "cannot run $command[0]: $!";
    });

    wait_for(sub { (lines_from($self->{out}))[0] || $self->ended }, 30);
    croak 'the load generator did not start: ' . slurp($self->{err})
        if !defined((lines_from($self->{out}))[0]);
    return $self;
}

# True if it has ended by itself; reaps it.
sub ended {
    my ($self) = @_;

    return 1 if !defined $self->{pid};
    return 0 if waitpid($self->{pid}, POSIX::WNOHANG()) != $self->{pid};

    forget_child(delete $self->{pid});
    return 1;
}

# Ends it and returns its result.
sub finish {
    my ($self) = @_;

    kill 'TERM', $self->{pid} if defined $self->{pid};
    return $self->result(10);
}

# result(SECONDS = 60): waits until it has ended by itself and returns its result.
sub result {
    my ($self, $seconds) = @_;

    if (!wait_for(sub { $self->ended }, $seconds // 60)) {
        kill_child(delete $self->{pid});
        croak 'the load generator does not end';
    }

    my $line = (lines_from($self->{out}))[1]
        // croak 'the load generator has no result: ' . slurp($self->{err});
    return JSON::PP->new->decode($line);
}

sub DESTROY {
    my ($self) = @_;

    kill_child($self->{pid}) if defined $self->{pid};
    return;
}

1;
