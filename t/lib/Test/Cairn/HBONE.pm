# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::HBONE - an HBONE client: one mutual TLS connection with HTTP/2 on it, and as many
# CONNECT tunnels as wanted, each of them a byte channel (see Test::Cairn::Socket).
#
#     my $hbone = Test::Cairn::HBONE->connect(to => 'IP:PORT', as => 'sleep') or die $@;
#     my $tunnel = $hbone->tunnel('10.96.0.1:9080');
#     my $response = $tunnel->http->request(GET => '/');
#
# Everything received is sorted to the tunnels at once. A tunnel's window is given back only when
# its bytes are taken, so a tunnel that a test does not read blocks itself and nothing else.
#
# A tunnel keeps its connection open; the connection closes when the test holds neither.

package Test::Cairn::HBONE;

use strict;
use warnings;

use Carp qw(croak);
use Scalar::Util ();

use Test::Cairn::CA qw(identity_files);
use Test::Cairn::H2 ();
use Test::Cairn::Socket ();
use Test::Cairn::Util qw(deadline_in now);


# connect(to => 'IP:PORT', as => IDENTITY | identity => files, from => IP, expect => SPIFFE id of
# the server, window => BYTES, conn_window => BYTES, settings => {}, seconds => 10). Returns nothing
# and sets $@ if TLS or HTTP/2 does not come up: that includes a certificate refused by the server,
# which TLS 1.3 shows only after the handshake.
sub connect {
    my ($class, %option) = @_;

    my $deadline = deadline_in($option{seconds} // 10);
    my $identity = $option{identity} // identity_files($option{as} // 'client');
    my $socket = Test::Cairn::Socket->connect(to => $option{to}, from => $option{from}) or return;

    if (!$socket->tls($deadline, Test::Cairn::Socket::tls_options($identity, %option))) {
        $@ = $socket->error;
        return;
    }

    if ($option{expect} && $socket->peer_id ne $option{expect}) {
        $@ = 'the server is ' . $socket->peer_id;
        $socket->close;
        return;
    }

    my $self = bless {
        socket => $socket,
        h2 => Test::Cairn::H2->new(role => 'client', map { $_ => $option{$_} }
            grep { defined $option{$_} } qw(window conn_window settings)),
        tunnels => {},
        goaway => undef,
    }, $class;

    return $self->ready($deadline) ? $self : ();
}

# Waits for the server's SETTINGS.
sub ready {
    my ($self, $deadline) = @_;

    while (!$self->{settings_seen}) {
        if ($self->{socket}->ended) {
            $@ = $self->{socket}->error || 'closed before SETTINGS';
            return 0;
        }

        if (!$self->pump($deadline)) {
            $@ = 'no SETTINGS: timeout';
            $self->{socket}->close;
            return 0;
        }
    }
    return 1;
}

sub h2 { return $_[0]{h2} }
sub socket { return $_[0]{socket} }
sub peer_serial { return $_[0]{socket}->peer_serial }
sub peer_id { return $_[0]{socket}->peer_id }
sub ended { return $_[0]{socket}->ended }
sub goaway { return $_[0]{goaway} }
sub violations { return $_[0]{h2}->violations }
sub local_port { return $_[0]{socket}{socket}->sockport }

# pump(DEADLINE): one step. Sends what can be sent, and sorts what has arrived, after waiting for
# it if nothing is there. False when the deadline passed with nothing done.
sub pump {
    my ($self, $deadline) = @_;

    my $socket = $self->{socket};

    $self->send_out;
    return 1 if $self->read_in;
    return 0 if $socket->ended || !$socket->wait_io($deadline);

    $self->send_out;
    $self->read_in;
    return 1;
}

# pump_all(DEADLINE, CONNECTIONS): one step of several; false when the deadline passed.
sub pump_all {
    my ($deadline, @connections) = @_;

    my $done = 0;

    for my $connection (@connections) {
        $connection->send_out;
        $done += $connection->read_in;
    }
    return 1 if $done;
    return 0
        if !Test::Cairn::Socket::wait_any($deadline, map { $_->{socket} } @connections);

    for my $connection (@connections) {
        $connection->send_out;
        $connection->read_in;
    }
    return 1;
}

sub send_out {
    my ($self) = @_;

    my ($socket, $h2) = @{$self}{qw(socket h2)};

    $socket->{out} .= $h2->output if $h2->output_size && !$socket->{closed};
    $socket->flush if $socket->unsent && !$socket->{closed};
    return;
}

sub read_in {
    my ($self) = @_;

    my $socket = $self->{socket};
    return 0 if !$socket->read_more;

    $self->on_event($_) for $self->{h2}->feed($socket->take);
    $self->send_out;

    if ($socket->ended) {
        $_->on_end('reset', 'connection closed') for grep { $_ } values %{ $self->{tunnels} };
        $self->{tunnels} = {};
    }
    return 1;
}

sub on_event {
    my ($self, $event) = @_;

    my $type = $event->{type};
    my $tunnel = $self->{tunnels}{ $event->{stream} };

    $self->{settings_seen} = 1 if $type eq 'settings';
    $self->{goaway} = $event if $type eq 'goaway';
    $self->{pings}++ if $type eq 'ping_ack';
    return if !$tunnel;

    $tunnel->on_headers($event) if $type eq 'headers';
    $tunnel->on_data($event->{bytes}) if $type eq 'data';
    $tunnel->on_end('eof', '') if $event->{end};

    if ($type eq 'reset') {
        $tunnel->{reset} = $event->{code};
        $tunnel->on_end('reset', "RST_STREAM $event->{code}");
        delete $self->{tunnels}{ $event->{stream} };
    }
    return;
}

# open_tunnel(AUTHORITY, headers => [[name, value]]): sends a CONNECT and does not wait.
sub open_tunnel {
    my ($self, $authority, %option) = @_;

    my @headers = ([':method', $option{method} // 'CONNECT']);
    push @headers, [':authority', $authority] if defined $authority;
    push @headers, @{ $option{headers} // [] };

    my $id = $self->{h2}->request(\@headers, 0);
    my $tunnel = Test::Cairn::Tunnel->new($self, $id, $authority);

    Scalar::Util::weaken($self->{tunnels}{$id} = $tunnel);
    $self->send_out;
    return $tunnel;
}

# tunnel(AUTHORITY, headers => ..., seconds => 10): opens one and waits for the answer, which
# status() tells: 200, another status, or 0 if it was reset or nothing came.
sub tunnel {
    my ($self, $authority, %option) = @_;

    my $tunnel = $self->open_tunnel($authority, %option);

    $tunnel->answered($option{seconds});
    return $tunnel;
}

# Waits for the peer's GOAWAY, and returns it ({ code, last, text }).
sub wait_goaway {
    my ($self, $seconds) = @_;

    my $deadline = deadline_in($seconds // 10);

    while (!$self->{goaway} && !$self->ended) {
        last if !$self->pump($deadline);
    }
    return $self->{goaway};
}

# Sends a PING and waits for its answer: all frames that were sent before have then been seen.
sub ping {
    my ($self, $seconds) = @_;

    my $deadline = deadline_in($seconds // 10);
    my $seen = $self->{pings} // 0;

    $self->{h2}->ping;

    while (($self->{pings} // 0) == $seen) {
        return 0 if $self->ended || !$self->pump($deadline);
    }
    return 1;
}

# Waits until the peer has closed the connection.
sub wait_closed {
    my ($self, $seconds) = @_;

    my $deadline = deadline_in($seconds // 10);

    while (!$self->ended) {
        last if !$self->pump($deadline);
    }
    return $self->ended ? 1 : 0;
}

sub close { $_[0]{socket}->close; return }
sub abort { $_[0]{socket}->abort; return }

sub DESTROY { $_[0]{socket}->close if $_[0]{socket}; return }


package Test::Cairn::Tunnel;

use strict;
use warnings;

use Test::Cairn::HTTP1 ();
use Test::Cairn::Util qw(deadline_in now);


sub new {
    my ($class, $connection, $id, $authority) = @_;

    return bless {
        connection => $connection, id => $id, authority => $authority, status => 0, headers => [],
        in => '', received => 0, ended => '', error => '', reset => undef
    }, $class;
}

sub id { return $_[0]{id} }
sub status { return $_[0]{status} }
sub headers { return $_[0]{headers} }
sub received { return $_[0]{received} }
sub ended { return $_[0]{ended} }
sub error { return $_[0]{error} }
sub reset_code { return $_[0]{reset} }

sub header {
    my ($self, $name) = @_;

    my @values = map { $_->[1] } grep { $_->[0] eq $name } @{ $self->{headers} };
    return @values ? join ',', @values : undef;
}

sub on_headers {
    my ($self, $event) = @_;

    push @{ $self->{headers} }, @{ $event->{headers} };
    $self->{status} ||= $self->header(':status') // 0;
    return;
}

sub on_data {
    my ($self, $bytes) = @_;

    $self->{in} .= $bytes;
    $self->{received} += length $bytes;
    return;
}

sub on_end {
    my ($self, $how, $why) = @_;

    $self->{ended} ||= $how;
    $self->{error} ||= $why;
    return;
}

# Waits for the answer to the CONNECT; true if it is a 2xx.
sub answered {
    my ($self, $seconds) = @_;

    my $deadline = deadline_in($seconds // 10);

    while (!$self->{status} && !$self->{ended}) {
        last if !$self->{connection}->pump($deadline);
    }
    return $self->{status} =~ /^2/ ? 1 : 0;
}

# An HTTP/1.1 client in the tunnel; called again, it goes on where the last one was.
sub http {
    my ($self, %option) = @_;

    my $http = Test::Cairn::HTTP1->new($self, %option, reader => $self->{reader});
    $self->{reader} = $http->reader;
    return $http;
}


# The byte channel.

sub write {
    my ($self, $bytes) = @_;

    $self->{connection}{h2}->data($self->{id}, $bytes, 0);
    $self->{connection}->send_out;
    return;
}

sub unsent {
    my ($self) = @_;

    my $connection = $self->{connection};
    return $connection->{h2}->unsent($self->{id}) + $connection->{socket}->unsent;
}

# Ends our direction with END_STREAM.
sub finish {
    my ($self) = @_;

    $self->{connection}{h2}->data($self->{id}, '', 1);
    $self->{connection}->send_out;
    return;
}

# Resets the tunnel: rst('CANCEL').
sub rst {
    my ($self, $code) = @_;

    $self->{connection}{h2}->reset_stream($self->{id}, $code // 'CANCEL');
    $self->on_end('reset', 'reset by the test');
    $self->{connection}->send_out;
    return;
}

sub progress {
    my ($self, $deadline) = @_;

    $self->{connection}->pump($deadline);
    return;
}

sub fill {
    my ($self, $deadline) = @_;

    while ($self->{in} eq '' && !$self->{ended}) {
        return 0 if !$self->{connection}->pump($deadline);
    }
    return 1;
}

sub take {
    my ($self) = @_;

    my $in = $self->{in};
    $self->{in} = '';

    if ($in ne '') {
        $self->{connection}{h2}->consumed($self->{id}, length $in);
        $self->{connection}->send_out;
    }
    return $in;
}

# read_exactly(COUNT, SECONDS): so many bytes, or what came before the end or the deadline.
sub read_exactly {
    my ($self, $count, $seconds) = @_;

    my $deadline = deadline_in($seconds // 10);
    my $bytes = '';

    while (length $bytes < $count) {
        last if $self->{in} eq '' && ($self->{ended} || !$self->fill($deadline));

        my $part = substr $self->{in}, 0, $count - length $bytes, '';
        $self->{connection}{h2}->consumed($self->{id}, length $part);
        $bytes .= $part;
    }
    $self->{connection}->send_out;
    return $bytes;
}

# Waits for the tunnel's end; returns 'eof' or 'reset'.
sub wait_end {
    my ($self, $seconds) = @_;

    my $deadline = deadline_in($seconds // 10);

    while (!$self->{ended}) {
        last if !$self->{connection}->pump($deadline);
    }
    return $self->{ended};
}

1;
