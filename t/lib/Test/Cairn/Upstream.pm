# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Upstream - the process of one pod: an HBONE server on its address, port 15008, with
# the pod's identity, and plain HTTP servers on its application ports. One poll loop, no blocking.
#
# It writes what it sees to a file of JSON lines, an event each: `connection` (peer, serial), `tunnel`
# (authority, headers of the CONNECT), `request`, `broken` (a request that did not end), `closed`,
# and `bad`: what no correct waypoint does, which fails the test. Test::Cairn::Pod is the test's
# end of it and reads that file; a socket between both carries commands.

package Test::Cairn::Upstream;

use strict;
use warnings;

use IO::Handle ();
use IO::Poll qw(POLLIN POLLOUT POLLHUP POLLERR);
use IO::Socket::SSL ();
use JSON::PP ();

use Test::Cairn::Behaviour ();
use Test::Cairn::H2 ();
use Test::Cairn::Socket ();
use Test::Cairn::UpstreamH2 ();
use Test::Cairn::UpstreamRaw ();
use Test::Cairn::Util qw(now);

my $JSON = JSON::PP->new->latin1->canonical;


# run(pod => { name, ip, ports, hbone, plain, identity, program, connect, settings, goaway_after,
# any_authority }, listeners => [[kind, socket]], control => SOCKET, file => PATH): until the
# control socket closes.
sub run {
    my ($class, %option) = @_;

    my $self = bless {
        %option, poll => IO::Poll->new, connections => {}, timers => [], number => 0,
        requests => 0, tunnels => 0, at => {}
    }, $class;

    open $self->{out}, '>>:raw', $option{file} or die "cannot append to $option{file}: $!";
    $self->{out}->autoflush(1);
    $self->{control}->blocking(0);
    $self->{poll}->mask($self->{control} => POLLIN);
    $self->{at}{ fileno $self->{control} } = sub { $self->on_command };

    for my $listener (@{ $self->{listeners} }) {
        my ($kind, $socket) = @{$listener};

        $self->{poll}->mask($socket => POLLIN);
        $self->{at}{ fileno $socket } = sub { $self->on_accept($kind, $socket) };
    }

    $self->{tls} = $self->tls_context if $option{pod}{hbone};
    $self->turn while !$self->{stop};
    return 0;
}

sub tls_context {
    my ($self) = @_;

    my $context = IO::Socket::SSL::SSL_Context->new(
        SSL_server => 1, Test::Cairn::Socket::tls_options($self->{pod}{identity})
    );
    return $context // die "no TLS context: $IO::Socket::SSL::SSL_ERROR";
}

sub turn {
    my ($self) = @_;

    my $timers = $self->{timers};
    my $wait = @{$timers} ? $timers->[0][0] - now() : 60;

    $self->{poll}->poll($wait > 0 ? $wait : 0);

    for my $handle ($self->{poll}->handles(POLLIN | POLLOUT | POLLHUP | POLLERR)) {
        my $fd = fileno $handle;
        my $run = defined $fd ? $self->{at}{$fd} : undef;

        $run->() if $run;
    }

    while (@{$timers} && $timers->[0][0] <= now()) {
        (shift @{$timers})->[1]->();
    }
    return;
}

sub after {
    my ($self, $seconds, $run) = @_;

    my $timers = $self->{timers};

    @{$timers} = sort { $a->[0] <=> $b->[0] } @{$timers}, [now() + $seconds, $run];
    return;
}

sub record {
    my ($self, $fields) = @_;

    print { $self->{out} } $JSON->encode({
        pod => $self->{pod}{name}, time => now(), %{$fields}
    }), "\n";
    return;
}

sub on_accept {
    my ($self, $kind, $listener) = @_;

    while (my $accepted = $listener->accept) {
        my $connection = Test::Cairn::Upstream::Connection->new($self, $kind, $accepted);
        $self->{connections}{ $connection->{number} } = $connection;
        $connection->step;
    }
    return;
}

# Commands are JSON lines, and so are the answers.
sub on_command {
    my ($self) = @_;

    my $count = sysread $self->{control}, my $bytes, 65536;

    return if !defined $count;
    return $self->{stop} = 1 if $count == 0;

    $self->{commands} .= $bytes;

    while ($self->{commands} =~ s/^([^\n]*)\n//) {
        my $command = $JSON->decode($1);
        my $answer = $JSON->encode($self->command($command)) . "\n";
        syswrite $self->{control}, $answer;
    }
    return;
}

sub command {
    my ($self, $command) = @_;

    my @connections = values %{ $self->{connections} };

    if ($command->{set}) {
        $self->{pod}{$_} = $command->{set}{$_} for keys %{ $command->{set} };
        $self->{requests} = $self->{tunnels} = 0;
    }

    for my $connection (grep { $_->{h2} } @connections) {
        next if !$command->{goaway};
        $connection->{h2}->goaway;
        $connection->settle;
    }

    for my $connection ($command->{inner_goaway} ? @connections : ()) {
        $_->goaway for values %{ $connection->{sessions} };
        $connection->settle;
    }

    if ($command->{abort}) {
        $_->abort for @connections;
    }

    my ($tunnels, $sent) = (0, 0);

    for my $connection (grep { $_->{h2} } @connections) {
        $tunnels += keys %{ $connection->{sessions} };
        $sent += $connection->{sent};
    }
    return {
        connections => scalar @connections, tunnels => $tunnels, sent => $sent,
        cuts => scalar @{ $self->{pod}{cuts} // [] }
    };
}


# A connection to the pod. Its sessions are those in it, by stream; a plain one has the session 0
# only. What the client says first makes one of HTTP/1.1 or HTTP/2.
package Test::Cairn::Upstream::Connection;

use strict;
use warnings;

use IO::Poll qw(POLLIN POLLOUT);

sub new {
    my ($class, $loop, $kind, $accepted) = @_;

    my $self = bless {
        loop => $loop, kind => $kind, number => ++$loop->{number}, sessions => {}, peer => '',
        sent => 0,
        socket => Test::Cairn::Socket->new($accepted), from => $accepted->peerhost
    }, $class;

    my $socket = $self->{socket};
    my $fd = $socket->fd;

    if ($kind eq 'hbone') {
        $socket->start_tls(SSL_server => 1, SSL_reuse_ctx => $loop->{tls});
        $self->{cut} = shift @{ $loop->{pod}{cuts} // [] };

    } else {
        $self->opened;
    }

    $self->{fd} = $fd;
    $loop->{at}{$fd} = sub { $self->step };
    $self->watch;
    return $self;
}

sub opened {
    my ($self) = @_;

    my $pod = $self->{loop}{pod};
    my $socket = $self->{socket};

    if ($self->{kind} eq 'hbone') {
        $self->{peer} = $socket->peer_id;
        $self->{h2} = Test::Cairn::H2->new(
            role => 'server', window => $pod->{window} // 262144,
            settings => { max_streams => 100, %{ $pod->{settings} // {} } }
        );
        $self->bad('no ALPN h2') if $socket->alpn ne 'h2';
    }

    $self->note('connection', $self->{kind} eq 'hbone' ? (serial => $socket->peer_serial) : ());
    $self->{sessions}{0} = $self->session(0, {}) if $self->{kind} ne 'hbone';
    return;
}

sub note {
    my ($self, $event, %more) = @_;

    $self->{loop}->record({ %{ $self->about }, event => $event, %more });
    return;
}

sub bad {
    my ($self, $why) = @_;

    $self->note('bad', why => $why);
    return;
}

sub about {
    my ($self) = @_;

    return { via => $self->{kind}, connection => $self->{number}, peer => $self->{peer},
        from => $self->{from} };
}

sub session {
    my ($self, $stream, $about) = @_;

    my $pipe = bless { connection => $self, stream => $stream }, 'Test::Cairn::Upstream::Pipe';

    return Test::Cairn::Upstream::Session->new(
        pipe => $pipe, pod => $self->{loop}{pod}, counter => \$self->{loop}{requests},
        record => sub { $self->{loop}->record($_[0]) }, about => { %{ $self->about }, %{$about} }
    );
}

# All that can be done now for this connection.
sub step {
    my ($self) = @_;

    my $socket = $self->{socket};

    if ($socket->{handshake}) {
        return $self->closed if !$socket->handshake_step && $socket->ended;
        return $self->watch if $socket->{handshake};
        $self->opened;
    }

    if (!$self->{deaf}) {
        $socket->read_more;
        my $bytes = $socket->take;

        if ($self->{h2}) {
            $self->on_event($_) for $self->{h2}->feed($bytes);

        } elsif ($bytes ne '' || $socket->ended eq 'eof') {
            $self->{sessions}{0}->feed($bytes, $socket->ended eq 'eof');
        }
    }

    $self->settle;
    return;
}

# Writes out, lets those who wait for room go on, and looks whether all is over.
sub settle {
    my ($self) = @_;

    my $socket = $self->{socket};
    return if $self->{gone};

    for my $stream ($self->{h2} ? keys %{ $self->{sessions} } : ()) {
        delete $self->{sessions}{$stream} if !$self->{h2}->stream($stream);
    }

    for (1 .. 4) {
        $self->write_frames if $self->{h2};
        $socket->flush if !$socket->{closed};
        return $self->break_off if $self->{cut} && $self->{cut}[0] <= $self->{sent};
        $_->drained for values %{ $self->{sessions} };
        last if $socket->unsent || !$self->{h2} || !$self->{h2}->output_size;
    }

    return $self->closed if $socket->{closed} || $socket->error ne '';
    return $self->closed if $socket->ended && ($self->{h2} || $self->plain_over);
    $self->watch;
    return;
}

# HTTP/2's bytes, up to where this connection is to be cut.
sub write_frames {
    my ($self) = @_;

    my $bytes = $self->{h2}->output;
    my $room = $self->{cut} ? $self->{cut}[0] - $self->{sent} : length $bytes;

    $bytes = substr $bytes, 0, $room if length $bytes > $room;
    $self->{sent} += length $bytes;
    $self->{socket}{out} .= $bytes;
    return;
}

# The end of a connection that is to be cut: `fin` is close_notify and the end, `rst` a reset.
sub break_off {
    my ($self) = @_;

    $self->{loop}{poll}->remove($self->{socket}{socket});
    $self->{socket}->finish if $self->{cut}[1] eq 'fin';
    $self->{socket}->abort if $self->{cut}[1] eq 'rst';
    $self->closed;
    return;
}

# A plain connection is over when the client has ended and nothing is left to be sent.
sub plain_over {
    my ($self) = @_;

    my $session = $self->{sessions}{0};
    return $session->{done} && !$self->{socket}->unsent;
}

sub watch {
    my ($self) = @_;

    my $socket = $self->{socket};
    return if $self->{gone} || $socket->{closed};

    my $mask = $self->{deaf} || $socket->ended ? 0 : POLLIN;
    $mask |= POLLOUT if $socket->wants_write;

    $self->{loop}{poll}->mask($socket->{socket} => $mask);
    return;
}

sub closed {
    my ($self) = @_;

    return if $self->{gone}++;

    my $socket = $self->{socket};
    my $loop = $self->{loop};
    my $why = $socket->error || 'connection closed';

    $_->gone($why) for values %{ $self->{sessions} };
    $self->bad($_) for $self->{h2} ? $self->{h2}->violations : ();
    $self->note('closed', why => $why);

    $loop->{poll}->remove($socket->{socket}) if !$socket->{closed};
    delete $loop->{at}{ $self->{fd} };
    delete $loop->{connections}{ $self->{number} };
    $self->{sessions} = {};
    $socket->close;
    return;
}

sub abort {
    my ($self) = @_;

    $self->{loop}{poll}->remove($self->{socket}{socket});
    $self->{socket}->abort;
    $self->closed;
    return;
}


# HTTP/2: tunnels.

sub on_event {
    my ($self, $event) = @_;

    my $stream = $event->{stream};
    my $session = $self->{sessions}{$stream};

    if ($event->{type} eq 'headers' && !$session) {
        $self->on_connect($stream, $event);

    } elsif ($event->{type} eq 'data' && $session) {
        my $length = length $event->{bytes};
        $session->feed($event->{bytes}, $event->{end});
        $self->{h2}->consumed($stream, $length) if !$session->{pipe}{deaf};

    } elsif ($event->{type} eq 'reset' && $session) {
        $session->gone("RST_STREAM $event->{code}");
        $self->note('tunnel_reset', stream => $stream, code => $event->{code});
    }

    my $open = $self->{h2}->stream($stream);
    delete $self->{sessions}{$stream} if $stream && !$open;
    return;
}

sub on_connect {
    my ($self, $stream, $event) = @_;

    my $loop = $self->{loop};
    my $pod = $loop->{pod};
    my %header = map { $_->[0] => $_->[1] } @{ $event->{headers} };
    my $authority = $header{':authority'} // '';
    my @row = @{ $pod->{connect} // [] };
    my $turn = $loop->{tunnels}++;
    my $do = $row[$turn < @row ? $turn : -1] // {};

    $self->note('tunnel', stream => $stream, authority => $authority,
        headers => $event->{headers});

    if (($header{':method'} // '') ne 'CONNECT') {
        $self->bad('not a CONNECT: ' . ($header{':method'} // ''));
        return $self->{h2}->headers($stream, [[':status', 404]], 1);
    }

    if (!$pod->{any_authority} && !grep { $authority eq "$pod->{ip}:$_" } @{ $pod->{ports} }) {
        $self->bad("CONNECT to $authority");
        return $self->{h2}->headers($stream, [[':status', 400]], 1);
    }

    return if $do->{hold};
    return $self->{h2}->reset_stream($stream, $do->{rst}) if $do->{rst};

    my $status = $do->{status} // 200;
    my $refused = $status !~ /^2/;

    $self->{h2}->headers($stream, [[':status', $status]], $refused);
    $self->{sessions}{$stream} = $self->session($stream, { authority => $authority,
        stream => $stream }) if !$refused;

    if ($pod->{goaway_after} && $loop->{tunnels} == $pod->{goaway_after}) {
        $self->{h2}->goaway;
    }
    return;
}


# A session of which nothing is known until its first bytes have come.
package Test::Cairn::Upstream::Session;

use strict;
use warnings;

my $PREFACE = 'PRI * HTTP/2';

sub new {
    my ($class, %option) = @_;

    return Test::Cairn::UpstreamRaw->new(%option) if $option{pod}{raw};
    return bless { option => \%option, pipe => $option{pipe}, in => '', done => 0 }, $class;
}

sub feed {
    my ($self, $bytes, $end) = @_;

    my $session = $self->{session};

    if (!$session) {
        $self->{in} .= $bytes;
        $bytes = $self->{in};
        return if !$end && length $bytes < length $PREFACE && index($PREFACE, $bytes) == 0;

        my $kind = index($bytes, $PREFACE) == 0 ? 'Test::Cairn::UpstreamH2'
            : 'Test::Cairn::Behaviour';
        $session = $self->{session} = $kind->new(%{ $self->{option} });
    }

    $session->feed($bytes, $end);
    $self->{done} = $session->{done};
    return;
}

# Whatever else is asked of it, the session answers.
for my $name (qw(drained gone goaway)) {
    no strict 'refs';
    *{$name} = sub {
        my ($self, @arguments) = @_;

        $self->{session}->$name(@arguments)
            if $self->{session} && $self->{session}->can($name);
        $self->{done} = 1 if $name eq 'gone' || ($self->{session} && $self->{session}{done});
        return;
    };
}


# What a session writes to: a tunnel or a plain connection.
package Test::Cairn::Upstream::Pipe;

use strict;
use warnings;

sub tunnel { return $_[0]{connection}{h2} }

sub send {
    my ($self, $bytes) = @_;

    my $connection = $self->{connection};

    $connection->{h2} ? $connection->{h2}->data($self->{stream}, $bytes, 0)
        : ($connection->{socket}{out} .= $bytes);
    return;
}

sub queued {
    my ($self) = @_;

    my $connection = $self->{connection};
    my $h2 = $connection->{h2};
    return length($connection->{socket}{out})
        + ($h2 ? $h2->unsent($self->{stream}) + $h2->output_size : 0);
}

sub finish {
    my ($self) = @_;

    my $connection = $self->{connection};

    $connection->{h2} ? $connection->{h2}->data($self->{stream}, '', 1)
        : $connection->{socket}->finish;
    return;
}

sub abort {
    my ($self, $code) = @_;

    my $connection = $self->{connection};

    return $connection->abort if !$connection->{h2};

    $connection->{h2}->reset_stream($self->{stream}, $code eq 'abort' ? 'INTERNAL_ERROR' : $code);
    delete $connection->{sessions}{ $self->{stream} };
    return;
}

# No more of the request is taken, so that the windows (or the socket's buffers) fill.
sub stop_reading {
    my ($self) = @_;

    $self->{deaf} = 1;
    $self->{connection}{deaf} = 1 if !$self->{connection}{h2};
    return;
}

sub after {
    my ($self, $seconds, $run) = @_;

    my $connection = $self->{connection};

    $connection->{loop}->after($seconds, sub {
        return if $connection->{gone};
        $run->();
        $connection->settle;
    });
    return;
}

1;
