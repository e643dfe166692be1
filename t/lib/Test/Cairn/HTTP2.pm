# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::HTTP2 - an HTTP/2 client with prior knowledge over a byte channel
# (Test::Cairn::Socket, Test::Cairn::Tunnel), with as many requests at a time as wanted.
#
#     my $http = Test::Cairn::HTTP2->new($tunnel);
#     my $id = $http->send(POST => '/x', host => 'reviews', body => 'abc', trailers => [[a => 'b']]);
#     my $response = $http->response(id => $id);
#
# A response is a Test::Cairn::HTTP1::Message. Without an id response() waits for the oldest request
# whose response was not taken yet, so that it can stand where an HTTP/1.1 client does.

package Test::Cairn::HTTP2;

use strict;
use warnings;

use Digest::SHA ();

use Test::Cairn::H2 ();
use Test::Cairn::HTTP1 ();
use Test::Cairn::Util qw(deadline_in now);

my $SLICE = 65536;
my $MUCH = 1 << 20;


# new(CHANNEL, keep => BYTES, window =>, conn_window =>, settings =>, hold => 1): with hold nothing of
# a response's body is given back until release().
sub new {
    my ($class, $channel, %option) = @_;

    return bless {
        channel => $channel, keep => $option{keep} // 1 << 20, hold => $option{hold},
        h2 => Test::Cairn::H2->new(role => 'client', map { $_ => $option{$_} }
            grep { defined $option{$_} } qw(window conn_window settings)),
        answers => {}, waiting => [], goaway => undef
    }, $class;
}

sub channel { return $_[0]{channel} }
sub h2 { return $_[0]{h2} }
sub goaway { return $_[0]{goaway} }
sub violations { return $_[0]{h2}->violations }

# send(METHOD, TARGET, host => NAME, headers => [[name, value]], body => BYTES, trailers => [...],
# open => 1: more body will follow by write()). Returns the stream's id.
sub send {
    my ($self, $method, $target, %option) = @_;

    my @headers = map { [lc $_->[0], $_->[1]] } @{ $option{headers} // [] };
    my ($host) = map { $_->[1] } grep { $_->[0] eq 'host' } @headers;
    my $body = $option{body} // '';
    my $ended = !$option{open} && $body eq '' && !$option{trailers};

    @headers = grep { $_->[0] ne 'host' } @headers;
    my $id = $self->{h2}->request([
        [':method', $method], [':scheme', 'http'], [':authority', $host // $option{host} // 'test'],
        [':path', $target], @headers
    ], $ended);

    $self->{answers}{$id} = bless {
        headers => [], trailers => [], body => '', length => 0, complete => 0, interim => [],
        version => 'HTTP/2', sha => Digest::SHA->new(256)
    }, 'Test::Cairn::HTTP1::Message';
    push @{ $self->{waiting} }, $id;

    $self->{h2}->data($id, $body, !$option{open} && !$option{trailers}) if $body ne '';
    $self->trailers($id, $option{trailers}) if $option{trailers};
    $self->flush;
    return $id;
}

sub write {
    my ($self, $id, $bytes, $end) = @_;

    $self->{h2}->data($id, $bytes, $end);
    $self->flush;
    return;
}

# Ends a request; all of its body must have gone.
sub trailers {
    my ($self, $id, $trailers) = @_;

    my $deadline = deadline_in(10);

    while ($self->{h2}->unsent($id) > 0) {
        last if !$self->pump($deadline);
    }
    $self->{h2}->headers($id, $trailers, 1);
    $self->flush;
    return;
}

sub rst {
    my ($self, $id, $code) = @_;

    $self->{h2}->reset_stream($id, $code // 'CANCEL');
    $self->flush;
    return;
}

# Gives back what a held response's body has taken of the window.
sub release {
    my ($self, $id) = @_;

    $self->{h2}->consumed($id, delete $self->{held}{$id}) if $self->{held}{$id};
    $self->flush;
    return;
}

# send_body(SIZE): SIZE made-up bytes as the body of the newest request, and its end.
sub send_body {
    my ($self, $size, %option) = @_;

    my $deadline = deadline_in($option{seconds} // 60);
    my $id = $self->{waiting}[-1];
    my $slice = substr 'cairn holds the trail. ' x (1 + $SLICE / 23), 0, $SLICE;
    my $sent = 0;

    while ($sent < $size) {
        my $length = $size - $sent < $SLICE ? $size - $sent : $SLICE;

        while ($self->{h2}->unsent($id) > $MUCH) {
            return $sent if !$self->{h2}->stream($id) || !$self->pump($deadline);
        }
        return $sent if !$self->{h2}->stream($id);

        $sent += $length;
        $self->write($id, substr($slice, 0, $length), $sent == $size);
    }
    return $sent;
}

sub flush {
    my ($self) = @_;

    my $out = $self->{h2}->output;
    $self->{channel}->write($out) if $out ne '';
    return;
}

# One step; false when nothing came before the deadline or nothing can come any more.
sub pump {
    my ($self, $deadline) = @_;

    my $channel = $self->{channel};

    $self->flush;
    return 0 if !$channel->fill($deadline);

    my $bytes = $channel->take;
    $self->on_event($_) for $self->{h2}->feed($bytes);
    $self->flush;

    if ($channel->ended) {
        my $why = $channel->error || 'the channel has ended';

        $_->{error} ||= $why for grep { !$_->{complete} } values %{ $self->{answers} };
    }
    return $bytes ne '' || !$channel->ended;
}

sub on_event {
    my ($self, $event) = @_;

    $self->{goaway} = $event if $event->{type} eq 'goaway';

    my $message = $self->{answers}{ $event->{stream} } or return;

    $self->on_headers($message, $event->{headers}) if $event->{type} eq 'headers';

    if ($event->{type} eq 'data') {
        my $bytes = $event->{bytes};

        $message->{length} += length $bytes;
        $message->{sha}->add($bytes);
        $message->{body} .= $bytes if length $message->{body} < $self->{keep};
        $self->{hold} ? ($self->{held}{ $event->{stream} } += length $bytes)
            : $self->{h2}->consumed($event->{stream}, length $bytes);
    }

    if ($event->{type} eq 'reset') {
        $message->{error} = "RST_STREAM $event->{code}" if !$message->{complete};
        $message->{reset} = $event->{code};
    }

    if ($event->{end}) {
        $message->{complete} = 1;
        $message->{sha256} = $message->{sha}->hexdigest;
    }
    return;
}

sub on_headers {
    my ($self, $message, $headers) = @_;

    my ($status) = map { $_->[1] } grep { $_->[0] eq ':status' } @{$headers};
    my @others = grep { $_->[0] !~ /^:/ } @{$headers};

    if (!defined $status) {
        $message->{trailers} = \@others;

    } elsif ($status < 200) {
        push @{ $message->{interim} },
            bless { status => $status, headers => \@others }, 'Test::Cairn::HTTP1::Message';

    } else {
        @{$message}{qw(status headers)} = ($status, \@others);
    }

    for my $header (grep { $_->[0] =~ /^(?:connection|transfer-encoding|keep-alive)$/ } @others) {
        $message->{error} = "a response with $header->[0]";
    }
    return;
}

# response(id => STREAM, seconds => 10): always returns a message; error() says what is wrong with
# one that is not complete.
sub response {
    my ($self, %option) = @_;

    my $deadline = deadline_in($option{seconds} // 10);
    my $id = $option{id} // shift @{ $self->{waiting} };
    my $message = $self->{answers}{$id};

    while (!$message->{complete} && !$message->{error}) {
        next if $self->pump($deadline);
        $message->{error} ||= now() >= $deadline ? 'timeout' : 'closed without a response';
    }

    $message->{error} ||= join '; ', $self->violations if $self->violations;
    $message->{closed} = $self->{channel}->ended;
    return $message;
}

# Waits until the head of a response is there, and returns the message as it then is.
sub head {
    my ($self, $id, $seconds) = @_;

    my $deadline = deadline_in($seconds // 10);
    my $message = $self->{answers}{$id};

    while (!$message->{status} && !$message->{error}) {
        last if !$self->pump($deadline);
    }
    return $message;
}

# Waits until so many bytes of a response's body have come.
sub wait_length {
    my ($self, $id, $length, $seconds) = @_;

    my $deadline = deadline_in($seconds // 10);
    my $message = $self->{answers}{$id};

    while ($message->{length} < $length && !$message->{error} && !$message->{complete}) {
        last if !$self->pump($deadline);
    }
    return $message->{length};
}

1;
