# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Pod - a pod of the mesh as the test sees it: its address, identity and labels, and
# the process that answers for it (Test::Cairn::Upstream), if it has one.

package Test::Cairn::Pod;

use strict;
use warnings;

use Carp qw(croak);
use IO::Handle ();
use IO::Socket::INET ();
use JSON::PP ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

use Test::Cairn::Behaviour ();
use Test::Cairn::CA qw(identity_files spiffe_id);
use Test::Cairn::Load ();
use Test::Cairn::Net qw(pod_address listen_on);
use Test::Cairn::Upstream ();
use Test::Cairn::UpstreamRaw ();
use Test::Cairn::Util qw(lines_from spawn_child kill_child test_dir wait_for);

my $JSON = JSON::PP->new->latin1;
my %KNOWN = map { $_ => 1 } qw(
    ip port ports identity hbone plain client program connect settings window goaway_after
    any_authority h2_settings h2_window raw native labels namespace service_account annotations ready
    uid manifest root trusts
);


# new(NAME, { keys of --- upstreams }): the pod; start() makes it serve.
sub new {
    my ($class, $name, $spec) = @_;

    $spec //= {};
    for my $key (sort keys %{$spec}) {
        croak "upstream $name has no key '$key'" if !$KNOWN{$key};
    }

    my ($app, $version) = $name =~ /^(.+)-(v\d+)$/ ? ($1, $2) : ($name, 'latest');
    my $self = bless {
        ports => [$spec->{port} // 9080],
        %{$spec},
        name => $name,
        ip => $spec->{ip} // pod_address(),
        hbone => yes($spec->{hbone}, !$spec->{client}),
        client => yes($spec->{client}, 0),
        labels => { app => $app, version => $version, %{ $spec->{labels} // {} } },
    }, $class;

    ($self->{namespace}, $self->{service_account}) = account($self->{identity} // $app);
    $self->{namespace} = $spec->{namespace} if $spec->{namespace};
    $self->{id} = spiffe_id($self->{identity} // $app);
    $self->{plain} = yes($spec->{plain}, !$self->{hbone} && !$self->{client});
    $self->{program} = list_of($spec->{program});
    $self->{connect} = list_of($spec->{connect});
    Test::Cairn::Behaviour::check_program($self->{program});
    Test::Cairn::UpstreamRaw::check($self->{raw}) if $self->{raw};
    $self->{file} = test_dir() . "/seen-$name-$self->{ip}.jsonl";

    return $self;
}

sub yes {
    my ($value, $default) = @_;

    return $default ? 1 : 0 if !defined $value;
    return $value =~ /^(?:0|no|false|)$/ ? 0 : 1;
}

sub account {
    my ($identity) = @_;

    return ($1, $2) if $identity =~ m{^(?:spiffe://[^/]+/ns/)?([^/]+)/(?:sa/)?([^/]+)$};
    return ('default', $identity);
}

sub list_of {
    my ($value) = @_;

    return [] if !defined $value;
    return ref $value eq 'ARRAY' ? $value : [$value];
}

# The files of its certificate, of the root `root` and trusting the roots `trusts`.
sub identity {
    my ($self) = @_;

    return identity_files($self->{id}, map { $_ => $self->{$_} } grep { $self->{$_} } qw(root trusts));
}

sub name { return $_[0]{name} }
sub ip { return $_[0]{ip} }
sub id { return $_[0]{id} }
sub port { return $_[0]{ports}[0] }
sub file { return $_[0]{file} }
sub pid { return $_[0]{pid} }

# Starts the process; the sockets listen before this returns.
sub start {
    my ($self) = @_;

    return if $self->{pid} || $self->{client};
    return $self->start_native if $self->{native};

    my @listeners;
    push @listeners, ['hbone', listen_on($self->{ip}, 15008)] if $self->{hbone};
    push @listeners, map { ['plain', listen_on($self->{ip}, $_)] } @{ $self->{ports} }
        if $self->{plain};

    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or croak "socketpair: $!";

    my $identity = $self->identity;

    $self->{pid} = spawn_child(sub {
        close $ours;
        return Test::Cairn::Upstream->run(
            pod => { %{$self}, identity => $identity }, listeners => \@listeners,
            control => $theirs, file => $self->{file}
        );
    });
    $ours->autoflush(1);
    $self->{control} = $ours;
    return;
}

# The same by a server that bears load, but knows no programs and tells nothing of its requests but
# their number, when it is stopped: an event `total`.
sub start_native {
    my ($self) = @_;

    my $program = Test::Cairn::Load::tool('hboneserver');
    my $identity = $self->identity;
    my $option = ref $self->{native} ? $self->{native} : {};
    my @command = ($program, '--hbone', "$self->{ip}:15008", '--name', $self->{name},
        '--ca', $identity->{root}, '--cert', $identity->{certificate}, '--key', $identity->{key},
        '-b', $option->{size} // 128, '--delay', $option->{delay} // 0);

    $self->{pid} = spawn_child(sub {
        open STDOUT, '>>', $self->{file} or die "cannot append to $self->{file}: $!";
        exec { $command[0] } @command or die "cannot run $command[0]: $!";
    });

    wait_for(sub { IO::Socket::INET->new(PeerAddr => $self->{ip}, PeerPort => 15008) }, 10)
        or croak "pod $self->{name} does not listen";
    return;
}

# Stops it: its address refuses connections, those that are open end.
sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;

    kill_child($pid, 'TERM');
    close delete $self->{control} if $self->{control};
    return;
}

# command({ ... }): a command to the process; returns { connections, tunnels, sent, cuts }: how many
# are open, the bytes of HTTP/2 sent on those, and how many cuts are left.
sub command {
    my ($self, $command) = @_;

    my $control = $self->{control} or croak "pod $self->{name} does not run";

    print {$control} $JSON->encode($command), "\n";
    my $line = <$control> // croak "pod $self->{name} died";
    return $JSON->decode($line);
}

# Changes what it answers from now on.
sub program {
    my ($self, @program) = @_;

    Test::Cairn::Behaviour::check_program(\@program);
    $self->command({ set => { program => \@program } });
    return;
}

# cut([BYTES, 'fin' | 'rst'], ...): each of the next HBONE connections ends so when so many bytes of
# HTTP/2 were sent on it.
sub cut {
    my ($self, @cuts) = @_;

    $self->command({ set => { cuts => \@cuts } });
    return;
}

sub cuts_left { return $_[0]->command({})->{cuts} }
sub bytes_sent { return $_[0]->command({})->{sent} }
sub open_connections { return $_[0]->command({})->{connections} }
sub open_tunnels { return $_[0]->command({})->{tunnels} }
sub goaway { return $_[0]->command({ goaway => 1 }) }
sub inner_goaway { return $_[0]->command({ inner_goaway => 1 }) }
sub abort_connections { return $_[0]->command({ abort => 1 }) }


# What it saw.

# seen(EVENT): all records since forget(), or those of one event.
sub seen {
    my ($self, $event) = @_;

    my @records = map { $JSON->decode($_) } lines_from($self->{file}, $self->{offset});
    return grep { !defined $event || $_->{event} eq $event } @records;
}

sub requests { return $_[0]->seen('request') }

# From here on seen() begins anew.
sub forget {
    my ($self) = @_;

    $self->{offset} = -s $self->{file} // 0;
    return;
}

# wait_seen(EVENT, COUNT = 1, SECONDS = 5): waits until so many were seen, and returns them.
sub wait_seen {
    my ($self, $event, $count, $seconds) = @_;

    my @seen;
    wait_for(sub { (@seen = $self->seen($event)) >= ($count // 1) }, $seconds // 5);
    return @seen;
}

sub DESTROY { $_[0]->stop if $_[0]{pid}; return }

1;
