# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::UpstreamH2 - an HTTP/2 session of an upstream, in a tunnel or on a plain connection.
# Each of its streams is a session of Test::Cairn::Behaviour: a request is given to it as HTTP/1.1
# would have it, and what it answers becomes frames.

package Test::Cairn::UpstreamH2;

use strict;
use warnings;

use Test::Cairn::Behaviour ();
use Test::Cairn::H2 ();
use Test::Cairn::HTTP1 ();


# new(pipe =>, pod =>, counter =>, record =>, about =>): as Test::Cairn::Behaviour->new().
sub new {
    my ($class, %option) = @_;

    my $pod = $option{pod};

    return bless {
        %option, streams => {},
        h2 => Test::Cairn::H2->new(
            role => 'server', window => $pod->{h2_window} // 262144,
            settings => { max_streams => 100, %{ $pod->{h2_settings} // {} } }
        ),
    }, $class;
}

sub feed {
    my ($self, $bytes, $end) = @_;

    $self->on_event($_) for $self->{h2}->feed($bytes);
    $self->bad($_) for $self->{h2}->violations;
    $self->flush;

    if ($end) {
        $self->gone('connection closed');
        $self->{pipe}->finish;
    }
    return;
}

sub bad {
    my ($self, $why) = @_;

    $self->{record}->({ %{ $self->{about} }, event => 'bad', why => $why }) if !$self->{told}++;
    return;
}

sub flush {
    my ($self) = @_;

    my $out = $self->{h2}->output;
    $self->{pipe}->send($out) if $out ne '';
    return;
}

sub on_event {
    my ($self, $event) = @_;

    my $id = $event->{stream};
    my $stream = $self->{streams}{$id};

    if ($event->{type} eq 'headers' && !$stream) {
        $stream = $self->{streams}{$id} = $self->begin($id, $event);

    } elsif ($event->{type} eq 'headers') {
        $self->finish_request($stream, $event->{headers});

    } elsif ($event->{type} eq 'data' && $stream) {
        my $length = length $event->{bytes};

        $stream->{session}->feed(chunk_of($stream, $event->{bytes})) if $length > 0;
        $self->{h2}->consumed($id, $length) if !$stream->{pipe}{deaf};
        $self->finish_request($stream, []) if $event->{end};

    } elsif ($event->{type} eq 'reset' && $stream) {
        $stream->{session}->gone("RST_STREAM $event->{code}");
        $self->{record}->({
            %{ $self->{about} }, event => 'reset', code => $event->{code}
        });
        delete $self->{streams}{$id};
    }
    return;
}

sub chunk_of {
    my ($stream, $bytes) = @_;

    return $bytes if !$stream->{chunked};
    return sprintf "%x\r\n%s\r\n", length $bytes, $bytes;
}

sub begin {
    my ($self, $id, $event) = @_;

    my %pseudo = map { $_->[0] => $_->[1] } grep { $_->[0] =~ /^:/ } @{ $event->{headers} };
    my @headers = grep { $_->[0] !~ /^:/ } @{ $event->{headers} };
    my %have = map { $_->[0] => 1 } @headers;
    my $chunked = !$event->{end} && !$have{'content-length'};
    my $pipe = bless { up => $self, id => $id }, 'Test::Cairn::UpstreamH2::Pipe';
    my $stream = { id => $id, pipe => $pipe, chunked => $chunked };

    for my $name (grep { $have{$_} } qw(connection host transfer-encoding keep-alive upgrade)) {
        $self->bad("a request with $name");
    }

    $pipe->{reader} = Test::Cairn::HTTP1::Reader->new(kind => 'response');
    $pipe->{reader}->asked($pseudo{':method'} // 'GET');
    $stream->{session} = Test::Cairn::Behaviour->new(
        pipe => $pipe, map({ $_ => $self->{$_} } qw(pod counter record)), version => 'HTTP/2',
        about => { %{ $self->{about} }, scheme => $pseudo{':scheme'}, inner => $id }
    );

    unshift @headers, ['host', $pseudo{':authority'} // ''];
    push @headers, ['transfer-encoding', 'chunked'] if $chunked;
    my $head = join '', map { "$_->[0]: $_->[1]\r\n" } @headers;

    $self->{streams}{$id} = $stream;
    $stream->{session}->feed("$pseudo{':method'} $pseudo{':path'} HTTP/1.1\r\n$head\r\n");
    return $stream;
}

sub finish_request {
    my ($self, $stream, $trailers) = @_;

    return if !$stream->{chunked};

    my $lines = join '', map { "$_->[0]: $_->[1]\r\n" } @{$trailers};
    $stream->{session}->feed("0\r\n$lines\r\n");
    return;
}

# The pipe below has room again.
sub drained {
    my ($self) = @_;

    for my $stream (values %{ $self->{streams} }) {
        $stream->{session}->drained;
    }

    for my $id (keys %{ $self->{streams} }) {
        delete $self->{streams}{$id} if !$self->{h2}->stream($id);
    }
    $self->flush;
    return;
}

sub gone {
    my ($self, $why) = @_;

    $_->{session}->gone($why) for values %{ $self->{streams} };
    $self->{streams} = {};
    $self->{done} = 1;
    return;
}

sub goaway {
    my ($self) = @_;

    $self->{h2}->goaway;
    $self->flush;
    return;
}


# What the session of one stream writes to.
package Test::Cairn::UpstreamH2::Pipe;

use strict;
use warnings;

sub send {
    my ($self, $bytes) = @_;

    my $h2 = $self->{up}{h2};
    my $reader = $self->{reader};

    $reader->feed($bytes);

    while (my $part = $reader->next(0)) {
        my ($type, $message, $what) = @{$part};

        $self->head($message) if $type eq 'head';
        $h2->data($self->{id}, $what, 0) if $type eq 'data' && $h2->stream($self->{id});
        $self->end($message) if $type eq 'end' && !$message->{interim_response};
        die "an upstream's program makes no response: $what\n" if $type eq 'error';
    }

    $self->{up}->flush;
    return;
}

sub head {
    my ($self, $message) = @_;

    my @headers = grep { $_->[0] !~ /^(?:connection|transfer-encoding|keep-alive)$/ }
        map { [lc $_->[0], $_->[1]] } @{ $message->{headers} };

    $self->{up}{h2}->headers($self->{id}, [[':status', $message->{status}], @headers], 0);
    return;
}

sub end {
    my ($self, $message) = @_;

    my $h2 = $self->{up}{h2};

    return if !$h2->stream($self->{id});
    return $h2->headers($self->{id}, $message->{trailers}, 1) if @{ $message->{trailers} };

    $h2->data($self->{id}, '', 1);
    return;
}

sub queued {
    my ($self) = @_;

    return $self->{up}{h2}->unsent($self->{id}) + $self->{up}{pipe}->queued;
}

# An orderly end in the middle of a response is a reset that says so.
sub finish {
    my ($self) = @_;

    my $h2 = $self->{up}{h2};

    return if !$h2->stream($self->{id}) || !$self->{reader}{message};

    $h2->reset_stream($self->{id}, 'NO_ERROR');
    $self->{up}->flush;
    return;
}

sub abort {
    my ($self, $code) = @_;

    $self->{up}{h2}->reset_stream($self->{id}, $code eq 'abort' ? 'INTERNAL_ERROR' : $code);
    $self->{up}->flush;
    return;
}

sub stop_reading { $_[0]{deaf} = 1; return }

sub after {
    my ($self, $seconds, $run) = @_;

    $self->{up}{pipe}->after($seconds, sub { $run->(); $self->{up}->flush });
    return;
}

1;
