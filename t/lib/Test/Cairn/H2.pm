# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::H2 - one side of an HTTP/2 connection, without a socket: bytes in, events out.
#
#     feed(BYTES)  -> events     output() -> bytes to be written
#
# Client and server use the same code. It frames by itself, because tunnels need what a request
# library hides: DATA of many streams interleaved, windows that the test holds back, a reset or a
# raw frame at any moment. HPACK is Protocol::HTTP2's.
#
# An event is { type, stream, ... }; types: settings, headers (headers, end), data (bytes, end),
# reset (code), goaway (code, last, text), ping_ack, window.
#
# Received bytes give the connection's credit back at once; a stream's credit comes back when its
# consumer says consumed(). What the peer does against the protocol is kept in violations().

package Test::Cairn::H2;

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use Protocol::HTTP2::Constants qw(SETTINGS_HEADER_TABLE_SIZE);
use Protocol::HTTP2::HeaderCompression qw(headers_decode headers_encode);

our @EXPORT_OK = qw(%H2_ERROR h2_error_name h2_frame);

my $PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

my ($DATA, $HEADERS, $PRIORITY, $RST_STREAM, $SETTINGS, $PUSH_PROMISE, $PING, $GOAWAY,
    $WINDOW_UPDATE, $CONTINUATION) = (0 .. 9);
my ($END_STREAM, $ACK, $END_HEADERS, $PADDED, $WITH_PRIORITY) = (1, 1, 4, 8, 32);
my $MAX_FRAME = 16384;

our %H2_ERROR = (
    NO_ERROR => 0, PROTOCOL_ERROR => 1, INTERNAL_ERROR => 2, FLOW_CONTROL_ERROR => 3,
    SETTINGS_TIMEOUT => 4, STREAM_CLOSED => 5, FRAME_SIZE_ERROR => 6, REFUSED_STREAM => 7,
    CANCEL => 8, COMPRESSION_ERROR => 9, CONNECT_ERROR => 10, ENHANCE_YOUR_CALM => 11,
    INADEQUATE_SECURITY => 12, HTTP_1_1_REQUIRED => 13
);
my %ERROR_NAME = reverse %H2_ERROR;

my %SETTING = (
    header_table_size => 1, enable_push => 2, max_streams => 3, window => 4, max_frame => 5,
    max_header_list => 6, enable_connect => 8
);
my %SETTING_NAME = reverse %SETTING;


sub h2_error_name {
    my ($code) = @_;

    return $ERROR_NAME{$code} // $code;
}

# h2_frame(TYPE, FLAGS, STREAM, PAYLOAD): the bytes of one frame, right or wrong.
sub h2_frame {
    my ($type, $flags, $stream, $payload) = @_;

    my $length = length $payload;
    return pack('CnCCN', $length >> 16, $length & 0xffff, $type, $flags, $stream) . $payload;
}

# What Protocol::HTTP2's HPACK wants of a connection.
sub hpack_context {
    return {
        header_table => [], emitted_headers => [], ht_size => 0, max_ht_size => 4096,
        settings => { SETTINGS_HEADER_TABLE_SIZE() => 4096 }
    };
}

sub decode_context { return $_[0]{decode} }
sub error { $_[0]->violation("header block that cannot be decoded, error $_[1]"); return }
sub stream_error { $_[0]->violation("malformed header on stream $_[1]"); return }

# new(role => client|server, window => BYTES a stream, conn_window => BYTES, settings => {...})
sub new {
    my ($class, %option) = @_;

    my $self = bless {
        role => $option{role},
        in => '',
        out => '',
        preface => $option{role} eq 'server' ? $PREFACE : '',
        window => $option{window} // 262144,
        recv_window => 65535,
        send_window => 65535,
        peer => { window => 65535, max_frame => $MAX_FRAME },
        next_stream => 1,
        last_stream => 0,
        streams => {},
        sending => [],
        violations => [],
        encode => hpack_context(),
        decode => hpack_context(),
    }, $class;

    my %settings = (window => $self->{window}, %{ $option{settings} // {} });
    my $payload = join '', map { pack 'nN', $SETTING{$_} // croak("no setting $_"), $settings{$_} }
        sort keys %settings;
    my $extra = ($option{conn_window} // 16 << 20) - 65535;

    $self->{out} = $PREFACE if $self->{role} eq 'client';
    $self->{out} .= h2_frame($SETTINGS, 0, 0, $payload);

    if ($extra > 0) {
        $self->{out} .= h2_frame($WINDOW_UPDATE, 0, 0, pack 'N', $extra);
        $self->{recv_window} += $extra;
    }
    $self->{conn_window} = $self->{recv_window};

    return $self;
}

sub violation {
    my ($self, $text) = @_;

    push @{ $self->{violations} }, $text if @{ $self->{violations} } < 20;
    return;
}

sub violations { return @{ $_[0]{violations} } }
sub peer_setting { return $_[0]{peer}{ $_[1] } }


# Streams.

sub add_stream {
    my ($self, $id) = @_;

    return $self->{streams}{$id} = {
        id => $id,
        send_window => $self->{peer}{window},
        recv_window => $self->{window},
        uncredited => 0,
        out => '',
        out_end => 0,
        local_end => 0,
        remote_end => 0,
    };
}

# Streams that are not there any more answer as closed ones.
sub stream {
    my ($self, $id) = @_;

    return $self->{streams}{$id};
}

sub drop_if_done {
    my ($self, $stream) = @_;

    delete $self->{streams}{ $stream->{id} } if $stream->{local_end} && $stream->{remote_end};
    return;
}

# The number of bytes of a stream that the peer's window (or frames before them) still holds back.
sub unsent {
    my ($self, $id) = @_;

    my $stream = $self->{streams}{$id} or return 0;
    return length $stream->{out};
}


# Sending.

# request(HEADERS, END): opens a stream; HEADERS is a list of [name, value]. Returns its id.
sub request {
    my ($self, $headers, $end) = @_;

    my $id = $self->{next_stream};
    $self->{next_stream} += 2;
    $self->add_stream($id);
    $self->headers($id, $headers, $end);
    return $id;
}

sub headers {
    my ($self, $id, $headers, $end) = @_;

    my $stream = $self->{streams}{$id} or return;
    my $block = headers_encode($self->{encode}, [map { ($_->[0], $_->[1]) } @{$headers}]);
    my $type = $HEADERS;
    my $flags = $end ? $END_STREAM : 0;
    my $max = $self->{peer}{max_frame};

    while (length $block > $max) {
        $self->{out} .= h2_frame($type, $flags, $id, substr $block, 0, $max, '');
        ($type, $flags) = ($CONTINUATION, 0);
    }
    $self->{out} .= h2_frame($type, $flags | $END_HEADERS, $id, $block);

    if ($end) {
        $stream->{local_end} = 1;
        $self->drop_if_done($stream);
    }
    return;
}

# Queues bytes on a stream, and its end. They go out as the windows allow.
sub data {
    my ($self, $id, $bytes, $end) = @_;

    my $stream = $self->{streams}{$id} or return;
    croak "stream $id has ended" if $stream->{out_end} || $stream->{local_end};

    $stream->{out} .= $bytes;
    $stream->{out_end} = 1 if $end;
    $self->schedule($stream);
    $self->send_data;
    return;
}

sub schedule {
    my ($self, $stream) = @_;

    push @{ $self->{sending} }, $stream if !$stream->{scheduled}++;
    return;
}

# One frame of each stream in turn, while there is anything to send and window for it.
sub send_data {
    my ($self) = @_;

    my $waiting = $self->{sending};
    my @blocked;

    while (my $stream = shift @{$waiting}) {
        my $length = length $stream->{out};
        my $room = $self->{peer}{max_frame};

        for my $limit ($length, $stream->{send_window}, $self->{send_window}) {
            $room = $limit if $limit < $room;
        }

        if ($stream->{local_end} || ($length == 0 && !$stream->{out_end})) {
            $stream->{scheduled} = 0;
            next;
        }

        if ($length > 0 && $room <= 0) {
            push @blocked, $stream;
            next;
        }

        $self->send_frame_of($stream, $room);
        push @{$waiting}, $stream;
    }

    $self->{sending} = \@blocked;
    return;
}

sub send_frame_of {
    my ($self, $stream, $size) = @_;

    my $bytes = substr $stream->{out}, 0, $size, '';
    my $last = $stream->{out_end} && $stream->{out} eq '';

    $self->{out} .= h2_frame($DATA, $last ? $END_STREAM : 0, $stream->{id}, $bytes);
    $stream->{send_window} -= $size;
    $self->{send_window} -= $size;

    if ($last) {
        $stream->{local_end} = 1;
        $self->drop_if_done($stream);
    }
    return;
}

sub reset_stream {
    my ($self, $id, $code) = @_;

    my $stream = delete $self->{streams}{$id} or return;
    $code = $H2_ERROR{$code} // croak "no error $code" if $code !~ /^\d+$/;

    $stream->{local_end} = $stream->{remote_end} = 1;
    $self->{out} .= h2_frame($RST_STREAM, 0, $id, pack 'N', $code);
    return;
}

sub goaway {
    my ($self, $code) = @_;

    $self->{out} .= h2_frame($GOAWAY, 0, 0, pack 'NN', $self->{last_stream}, $code // 0);
    return;
}

sub ping {
    my ($self, $eight) = @_;

    $self->{out} .= h2_frame($PING, 0, 0, $eight // "cairn\0\0\0");
    return;
}

# Bytes as they are, for what no correct peer sends.
sub raw {
    my ($self, $bytes) = @_;

    $self->{out} .= $bytes;
    return;
}

# The consumer of a stream has taken so many bytes: their credit may go back.
sub consumed {
    my ($self, $id, $count) = @_;

    my $stream = $self->{streams}{$id} or return;
    return if $stream->{remote_end};

    $stream->{uncredited} += $count;
    return if $stream->{uncredited} * 2 < $self->{window};

    $stream->{recv_window} += $stream->{uncredited};
    $self->{out} .= h2_frame($WINDOW_UPDATE, 0, $id, pack 'N', $stream->{uncredited});
    $stream->{uncredited} = 0;
    return;
}

# All that waits to be written; the caller takes it over.
sub output {
    my ($self) = @_;

    my $out = $self->{out};
    $self->{out} = '';
    return $out;
}

sub output_size { return length $_[0]{out} }


# Receiving.

sub feed {
    my ($self, $bytes) = @_;

    $self->{in} .= $bytes;
    my @events;

    if ($self->{preface} ne '') {
        return if length $self->{in} < length $PREFACE;

        $self->violation('no connection preface') if substr($self->{in}, 0, 24, '') ne $PREFACE;
        $self->{preface} = '';
    }

    while (length $self->{in} >= 9) {
        my ($high, $low, $type, $flags, $id) = unpack 'CnCCN', $self->{in};
        my $length = $high << 16 | $low;

        if ($length > $MAX_FRAME) {
            $self->violation("frame of $length bytes");
        }
        last if length $self->{in} < 9 + $length;

        substr $self->{in}, 0, 9, '';
        my $payload = substr $self->{in}, 0, $length, '';
        push @events, $self->frame($type, $flags, $id & 0x7fffffff, $payload);
    }
    return @events;
}

my %ON_FRAME = (
    $DATA => 'on_data', $HEADERS => 'on_headers', $RST_STREAM => 'on_reset',
    $SETTINGS => 'on_settings', $PING => 'on_ping', $GOAWAY => 'on_goaway',
    $WINDOW_UPDATE => 'on_window', $CONTINUATION => 'on_continuation',
);

sub frame {
    my ($self, $type, $flags, $id, $payload) = @_;

    if ($self->{block} && ($type != $CONTINUATION || $id != $self->{block}{id})) {
        $self->violation("frame of type $type inside a header block");
    }
    $self->violation('PUSH_PROMISE') if $type == $PUSH_PROMISE;

    my $method = $ON_FRAME{$type} or return;
    return $self->$method($flags, $id, $payload);
}

sub without_padding {
    my ($self, $flags, $payload) = @_;

    return $payload if !($flags & $PADDED);

    my $padding = unpack 'C', substr $payload, 0, 1, '';
    $self->violation('padding longer than the frame') if $padding > length $payload;
    return substr $payload, 0, length($payload) - $padding;
}

sub on_data {
    my ($self, $flags, $id, $payload) = @_;

    my $size = length $payload;
    $self->{recv_window} -= $size;
    $self->violation('DATA past the window of the connection') if $self->{recv_window} < 0;

    if ($self->{recv_window} * 2 < $self->{conn_window}) {
        my $credit = $self->{conn_window} - $self->{recv_window};
        $self->{out} .= h2_frame($WINDOW_UPDATE, 0, 0, pack 'N', $credit);
        $self->{recv_window} += $credit;
    }

    my $stream = $self->{streams}{$id} or return;
    $self->violation("DATA on stream $id after its end") if $stream->{remote_end};
    $stream->{recv_window} -= $size;
    $self->violation("DATA past the window of stream $id") if $stream->{recv_window} < 0;

    my $end = $flags & $END_STREAM;
    my $bytes = $self->without_padding($flags, $payload);
    $self->consumed($id, $size - length $bytes);

    if ($end) {
        $stream->{remote_end} = 1;
        $self->drop_if_done($stream);
    }
    return { type => 'data', stream => $id, bytes => $bytes, end => $end ? 1 : 0 };
}

sub on_headers {
    my ($self, $flags, $id, $payload) = @_;

    $payload = $self->without_padding($flags, $payload);
    substr $payload, 0, 5, '' if $flags & $WITH_PRIORITY;

    $self->{block} = { id => $id, end => $flags & $END_STREAM, bytes => $payload };
    return $flags & $END_HEADERS ? $self->header_block : ();
}

sub on_continuation {
    my ($self, $flags, $id, $payload) = @_;

    return $self->violation('CONTINUATION without HEADERS') if !$self->{block};

    $self->{block}{bytes} .= $payload;
    return $flags & $END_HEADERS ? $self->header_block : ();
}

sub header_block {
    my ($self) = @_;

    my $block = delete $self->{block};
    my $id = $block->{id};
    my $bytes = $block->{bytes};

    $self->{decode}{emitted_headers} = [];
    headers_decode($self, \$bytes, 0, length $bytes, $id);
    my @flat = @{ $self->{decode}{emitted_headers} };
    my @headers;
    push @headers, [splice @flat, 0, 2] while @flat;

    my $stream = $self->{streams}{$id};

    if (!$stream) {
        return if $self->{role} eq 'client' || $id <= $self->{last_stream};

        $self->violation("stream $id opened by a client") if $id % 2 == 0;
        $self->{last_stream} = $id;
        $stream = $self->add_stream($id);
    }

    if ($block->{end}) {
        $stream->{remote_end} = 1;
        $self->drop_if_done($stream);
    }
    return { type => 'headers', stream => $id, headers => \@headers, end => $block->{end} ? 1 : 0 };
}

sub on_reset {
    my ($self, $flags, $id, $payload) = @_;

    my $stream = delete $self->{streams}{$id} or return;
    $stream->{local_end} = $stream->{remote_end} = 1;
    return { type => 'reset', stream => $id, code => h2_error_name(unpack 'N', $payload) };
}

sub on_settings {
    my ($self, $flags, $id, $payload) = @_;

    return if $flags & $ACK;
    $self->violation('SETTINGS of a wrong size') if length($payload) % 6 != 0;

    while (length $payload >= 6) {
        my ($key, $value) = unpack 'nN', substr $payload, 0, 6, '';
        my $name = $SETTING_NAME{$key} // $key;

        if ($name eq 'window') {
            $_->{send_window} += $value - $self->{peer}{window} for values %{ $self->{streams} };
        }
        $self->{peer}{$name} = $value;
    }

    $self->{out} .= h2_frame($SETTINGS, $ACK, 0, '');
    $self->send_data;
    return { type => 'settings', stream => 0 };
}

sub on_ping {
    my ($self, $flags, $id, $payload) = @_;

    return { type => 'ping_ack', stream => 0 } if $flags & $ACK;

    $self->{out} .= h2_frame($PING, $ACK, 0, $payload);
    return;
}

sub on_goaway {
    my ($self, $flags, $id, $payload) = @_;

    my ($last, $code) = unpack 'NN', $payload;
    return {
        type => 'goaway', stream => 0, last => $last & 0x7fffffff, code => h2_error_name($code),
        text => substr $payload, 8
    };
}

sub on_window {
    my ($self, $flags, $id, $payload) = @_;

    my $credit = unpack('N', $payload) & 0x7fffffff;
    $self->violation('WINDOW_UPDATE of 0') if $credit == 0;

    if ($id == 0) {
        $self->{send_window} += $credit;

    } elsif (my $stream = $self->{streams}{$id}) {
        $stream->{send_window} += $credit;
    }

    $self->send_data;
    return { type => 'window', stream => $id };
}

1;
