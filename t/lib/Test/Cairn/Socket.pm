# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Socket - a TCP connection, with TLS over it if wanted, as a byte channel.
#
# A byte channel is what HTTP/1 is spoken over; a tunnel (Test::Cairn::Tunnel) is the other kind:
#
#     write(BYTES)     queues bytes and sends what can be sent
#     unsent           how many queued bytes wait
#     finish           ends our direction
#     fill(DEADLINE)   waits for more input or its end; false when the deadline passed
#     take             the input so far, which is removed (and its window given back)
#     ended            '' while input may come, 'eof' after a clean end, 'reset' after any other
#
# The socket never blocks. flush() and read_more() do one non-blocking step each, so that an event
# loop (Test::Cairn::Upstream) can use it too.

package Test::Cairn::Socket;

use strict;
use warnings;

use Carp qw(croak);
use Errno qw(EAGAIN EINTR EINPROGRESS EWOULDBLOCK);
use IO::Poll qw(POLLIN POLLOUT POLLHUP POLLERR);
use IO::Socket::INET ();
use IO::Socket::SSL;
use Socket qw(SOL_SOCKET SO_LINGER SO_ERROR IPPROTO_TCP TCP_NODELAY SHUT_WR);

use Test::Cairn::Util qw(deadline_in now time_left);

my $READ_SIZE = 65536;


# connect(to => 'IP:PORT', from => IP, deadline => ...): a plain connection, or nothing with $@ set.
sub connect {
    my ($class, %option) = @_;

    my ($host, $port) = $option{to} =~ /^\[?(.*?)\]?:(\d+)$/ or croak "bad address $option{to}";
    my $socket = IO::Socket::INET->new(
        PeerAddr => $host, PeerPort => $port, Proto => 'tcp', Timeout => 5,
        $option{from} ? (LocalAddr => $option{from}) : ()
    );

    return if !$socket;
    return $class->new($socket);
}

# new(SOCKET): takes over a connected socket.
sub new {
    my ($class, $socket) = @_;

    $socket->blocking(0);
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;

    return bless {
        socket => $socket, in => '', out => '', ended => '', error => '', write_error => '',
        finishing => 0, tls => 0, handshake => 0
    }, $class;
}

# The options of IO::Socket::SSL for an identity as identity_files() gives it: TLS 1.3, h2, and a
# peer whose chain ends in the mesh's root. Names are the caller's to check: see peer_id().
sub tls_options {
    my ($identity, %option) = @_;

    return (
        SSL_version => $option{tls_version} // 'TLSv1_3',
        SSL_ca_file => $option{root} // $identity->{root},
        SSL_verify_mode => SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
        SSL_verifycn_scheme => 'none',
        SSL_session_cache_size => 0,
        SSL_alpn_protocols => $option{alpn} // ['h2'],
        $identity->{certificate}
            ? (SSL_cert_file => $identity->{certificate}, SSL_key_file => $identity->{key})
            : (),
    );
}

# Begins TLS; handshake_step() carries it on. Options are those of IO::Socket::SSL.
sub start_tls {
    my ($self, %option) = @_;

    my $socket = IO::Socket::SSL->start_SSL($self->{socket}, SSL_startHandshake => 0, %option);
    return $self->fail("TLS: $SSL_ERROR") if !$socket;

    $self->{tls} = 1;
    $self->{handshake} = $option{SSL_server} ? 'accept_SSL' : 'connect_SSL';
    return 1;
}

# True when the handshake is done; then {handshake} is 0. After a failure ended() is 'reset'.
sub handshake_step {
    my ($self) = @_;

    my $step = $self->{handshake} or return 1;
    local $SIG{PIPE} = 'IGNORE';

    if ($self->{socket}->$step()) {
        $self->{handshake} = 0;
        return 1;
    }

    $self->{tls_wants_write} = $SSL_ERROR == SSL_WANT_WRITE;
    return 0 if $SSL_ERROR == SSL_WANT_READ || $SSL_ERROR == SSL_WANT_WRITE;

    $self->fail("TLS handshake: $SSL_ERROR");
    return 0;
}

# tls(DEADLINE, OPTIONS): the whole handshake. False, and error() says why, if it fails.
sub tls {
    my ($self, $deadline, %option) = @_;

    $self->start_tls(%option) or return 0;

    while (!$self->handshake_step) {
        return 0 if $self->{ended};
        return $self->fail('TLS handshake: timeout') if !$self->wait_io($deadline);
    }
    return 1;
}

sub fail {
    my ($self, $why) = @_;

    $self->{ended} ||= 'reset';
    $self->{error} ||= $why;
    return 0;
}

sub ended { return $_[0]{ended} }
sub error { return $_[0]{error} || $_[0]{write_error} }
sub unsent { return length $_[0]{out} }
sub fd { return fileno $_[0]{socket} }

# The SPIFFE ids in the peer's certificate.
sub peer_ids {
    my ($self) = @_;

    my @names = $self->{socket}->peer_certificate('subjectAltNames');
    my @ids;

    while (my ($type, $name) = splice @names, 0, 2) {
        push @ids, $name if $type == 6;
    }
    return @ids;
}

# The serial number of the peer's certificate, hexadecimal as Envoy writes it.
sub peer_serial {
    my ($self) = @_;

    my $certificate = $self->{socket}->peer_certificate // return '';
    my $number = Net::SSLeay::X509_get_serialNumber($certificate);
    my $serial = lc Net::SSLeay::P_ASN1_INTEGER_get_hex($number);
    return $serial =~ s/^(?:00)+(?=.)//r;
}

sub peer_id { return ($_[0]->peer_ids)[0] // '' }
sub alpn { return $_[0]{socket}->alpn_selected // '' }


# One step of input or output.

sub read_more {
    my ($self) = @_;

    return 0 if $self->{ended} || $self->{handshake};
    my $got = 0;

    while ($got < 4 * $READ_SIZE) {
        my $count = sysread $self->{socket}, $self->{in}, $READ_SIZE, length $self->{in};

        if (!defined $count) {
            last if $self->would_block;
            $self->fail('read: ' . $self->reason);
            return 1;
        }

        if ($count == 0) {
            $self->{ended} = 'eof';
            return 1;
        }
        $got += $count;
    }
    return $got;
}

sub would_block {
    my ($self) = @_;

    if ($self->{tls} && ($SSL_ERROR == SSL_WANT_READ || $SSL_ERROR == SSL_WANT_WRITE)) {
        return 1;
    }
    return $!{EAGAIN} || $!{EINTR} || $!{EWOULDBLOCK};
}

sub reason {
    my ($self) = @_;

    return $self->{tls} ? "$SSL_ERROR ($!)" : "$!";
}

# Writes what the socket takes; false when some is left. An error is only kept: the reason for it,
# an alert for example, is still to be read.
sub flush {
    my ($self) = @_;

    return 0 if $self->{handshake};

    while ($self->{out} ne '') {
        local $SIG{PIPE} = 'IGNORE';
        my $count = syswrite $self->{socket}, $self->{out}, 4 * $READ_SIZE;

        if (!defined $count) {
            return 0 if $self->would_block;
            $self->{write_error} ||= 'write: ' . $self->reason;
            $self->{out} = '';
            last;
        }
        substr $self->{out}, 0, $count, '';
    }

    if ($self->{finishing} && $self->{finishing}++ == 1) {
        $self->{tls}
            ? $self->{socket}->stop_SSL(SSL_fast_shutdown => 1, SSL_ctx_free => 0)
            : shutdown $self->{socket}, SHUT_WR;
    }
    return 1;
}

sub wants_write {
    my ($self) = @_;

    return $self->{handshake} ? $self->{tls_wants_write} : $self->{out} ne '';
}

# Waits until the socket can be read, or written if something waits for that.
sub wait_io {
    my ($self, $deadline) = @_;

    return wait_any($deadline, $self);
}

# wait_any(DEADLINE, SOCKETS): the same for several; false when the deadline has passed.
sub wait_any {
    my ($deadline, @channels) = @_;

    my $poll = IO::Poll->new;

    for my $channel (@channels) {
        next if $channel->{closed} || $channel->{ended};
        $poll->mask($channel->{socket} => POLLIN | ($channel->wants_write ? POLLOUT : 0));
    }

    my $left = time_left($deadline);
    return $poll->poll($left) > 0 ? 1 : 0;
}


# The byte channel.

sub write {
    my ($self, $bytes) = @_;

    $self->{out} .= $bytes;
    $self->flush;
    return;
}

sub finish {
    my ($self) = @_;

    $self->{finishing} ||= 1;
    $self->flush;
    return;
}

sub fill {
    my ($self, $deadline) = @_;

    while (1) {
        $self->flush;
        return 1 if $self->read_more || $self->{ended};
        return 0 if !$self->wait_io($deadline);
    }
}

# Waits for one step of input or output, whichever comes first.
sub progress {
    my ($self, $deadline) = @_;

    $self->wait_io($deadline);
    $self->flush;
    $self->read_more;
    return;
}

sub take {
    my ($self) = @_;

    my $in = $self->{in};
    $self->{in} = '';
    return $in;
}

# Closes without ceremony.
sub close {
    my ($self) = @_;

    return if $self->{closed}++;

    my $socket = $self->{socket};       # a plain one again if its handshake has failed

    return if !defined $socket;         # at the end of the program it may have gone before us
    $socket->isa('IO::Socket::SSL') ? $socket->close(SSL_no_shutdown => 1) : close $socket;
    $self->{ended} ||= 'eof';
    return;
}

# Closes with a TCP RST.
sub abort {
    my ($self) = @_;

    return if $self->{closed};

    setsockopt $self->{socket}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    $self->close;
    return;
}

1;
