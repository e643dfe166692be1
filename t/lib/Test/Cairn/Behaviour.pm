# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Behaviour - an HTTP/1.1 server session of an upstream, and what it answers.
#
# The session is given bytes (feed) and writes to a pipe: send(BYTES), queued, finish, abort,
# stop_reading, after(SECONDS, SUB). The pipe is a tunnel or a plain connection of
# Test::Cairn::Upstream. Every request is recorded; then the pod's program says what to do.
# t/README.md lists the keys.

package Test::Cairn::Behaviour;

use strict;
use warnings;

use JSON::PP ();

use Test::Cairn::HTTP1 ();

my $SLICE = 32768;
my $QUEUE = 262144;
my $KEPT_IN_RECORD = 4096;
my $JSON = JSON::PP->new->latin1->canonical;


# check_program(PROGRAM): dies if a behaviour has a key that nobody knows, because a misspelt key
# would make a test that tests nothing. Makes flags of YAML's yes and no.
my %KNOWN = map { $_ => 1 } qw(
    match status reason headers body size chunked trailers delay delay_body echo continue early
    close finish_at abort_at rst raw hold interim read until_close
);
my @FLAGS = qw(chunked echo continue early close hold read until_close);

sub check_program {
    my ($program) = @_;

    for my $behaviour (@{$program}) {
        for my $key (sort keys %{$behaviour}) {
            die "an upstream's behaviour has no key '$key'\n" if !$KNOWN{$key};
        }

        for my $flag (grep { defined $behaviour->{$_} } @FLAGS) {
            $behaviour->{$flag} = 0 if $behaviour->{$flag} =~ /^(?:no|false|)$/;
        }
    }
    return;
}

# new(pipe => PIPE, pod => { name, program }, counter => \COUNT of requests of this pod, record =>
# sub { hash }, about => { fields for each record })
sub new {
    my ($class, %option) = @_;

    return bless {
        %option,
        reader => Test::Cairn::HTTP1::Reader->new(kind => 'request', keep => 1 << 24),
        busy => 0,
    }, $class;
}

# Bytes from the client, or their END. While a request is being answered the rest waits.
sub feed {
    my ($self, $bytes, $end) = @_;

    $self->{reader}->feed($bytes);
    $self->{client_ended} = 1 if $end;
    $self->advance;
    return;
}

sub advance {
    my ($self) = @_;

    local $self->{advancing} = 1;

    while (!$self->{done}) {
        return if $self->{busy} && !$self->{reading};

        my $part = $self->{reader}->next($self->{client_ended});

        if (!$part) {
            $self->idle_end if $self->{client_ended} && !$self->{busy};
            return;
        }

        my ($type, $message) = @{$part};
        $self->on_head($message) if $type eq 'head';
        $self->on_end($message) if $type eq 'end';
        $self->on_error($message) if $type eq 'error';
    }
    return;
}

# The client has ended between two requests.
sub idle_end {
    my ($self) = @_;

    $self->{done} = 1;
    $self->{pipe}->finish;
    return;
}

# The client is gone: a request not yet whole is recorded as it is.
sub gone {
    my ($self, $why) = @_;

    return if $self->{done}++;

    my $message = $self->{reader}{message};
    $self->note('broken', $message, why => $why) if $message && $message->{method};
    $self->note('broken', $self->{request}, why => $why) if $self->{request} && $self->{busy};
    return;
}

sub on_head {
    my ($self, $message) = @_;

    my $behaviour = $self->choose($message);

    $self->{request} = $message;
    $self->{behaviour} = $behaviour;
    $self->{busy} = 1;
    $self->{reading} = 1;
    $self->{answered} = 0;

    my $expects = lc($message->header('expect') // '') eq '100-continue';

    if ($expects && ($behaviour->{continue} // 1)) {
        $self->{pipe}->send("HTTP/1.1 100 Continue\r\n\r\n");
    }
    $self->{pipe}->stop_reading if !($behaviour->{read} // 1);
    $self->answer_soon if $behaviour->{early};
    return;
}

sub on_end {
    my ($self, $message) = @_;

    $self->{reading} = 0;
    $self->note('request', $message);
    $self->{behaviour}{early} ? $self->finish_answer : $self->answer_soon;
    return;
}

sub on_error {
    my ($self, $message) = @_;

    return if $self->{done};

    $self->note('bad', $message, why => $message->error);
    $self->{done} = 1;
    $self->{pipe}->send("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n"
        . "content-length: 0\r\n\r\n");
    $self->{pipe}->finish;
    return;
}

sub note {
    my ($self, $event, $message, %more) = @_;

    my $body = $message->{body} // '';

    $self->{record}->({
        %{ $self->{about} }, event => $event,
        method => $message->{method}, target => $message->{target},
        version => $self->{version} // $message->{version}, headers => $message->{headers},
        trailers => $message->{trailers}, body_length => $message->{length} // 0,
        body_sha256 => $message->{sha256}, body => substr($body, 0, $KEPT_IN_RECORD), %more
    });
    return;
}

# The behaviour for a request: the one it asks for itself (header x-program, JSON), else the first
# whose `match` begins its target, else the next without `match`; the last of these repeats.
sub choose {
    my ($self, $message) = @_;

    my $asked = $message->header('x-program');
    return $JSON->decode($asked) if defined $asked;

    my @program = @{ $self->{pod}{program} // [] };

    for my $behaviour (grep { defined $_->{match} } @program) {
        return $behaviour if index($message->{target}, $behaviour->{match}) == 0;
    }

    my @row = grep { !defined $_->{match} } @program;
    my $turn = ${ $self->{counter} }++;
    return $row[$turn < @row ? $turn : -1] // {};
}


# The answer.

sub answer_soon {
    my ($self) = @_;

    my $behaviour = $self->{behaviour};

    return if $behaviour->{hold};
    return $self->answer if !$behaviour->{delay};

    $self->{pipe}->after($behaviour->{delay}, sub { $self->answer if !$self->{done} });
    return;
}

sub answer {
    my ($self) = @_;

    my ($behaviour, $pipe) = @{$self}{qw(behaviour pipe)};

    return $self->break_off($behaviour->{rst}) if $behaviour->{rst};

    if (defined $behaviour->{raw}) {
        $pipe->send($behaviour->{raw});
        return $self->answer_done;
    }

    for my $interim (@{ $behaviour->{interim} // [] }) {
        $pipe->send("HTTP/1.1 $interim\r\n\r\n");
    }

    my ($head, $body, $size) = $self->compose;
    $pipe->send($head);

    $self->{left} = $size;
    $self->{made} = 0;
    $self->{body} = $body;

    return $self->answer_done if $self->{request}{method} eq 'HEAD';
    return $self->send_body if !$behaviour->{delay_body};

    $pipe->after($behaviour->{delay_body}, sub { $self->send_body if !$self->{done} });
    return;
}

# The head, the body (undefined: made up while it is sent) and its size.
sub compose {
    my ($self) = @_;

    my ($behaviour, $request) = @{$self}{qw(behaviour request)};
    my $status = $behaviour->{status} // 200;
    my $body = $behaviour->{body} // "$self->{pod}{name}\n";
    my @headers = header_list($behaviour->{headers});

    if ($behaviour->{echo}) {
        $body = $JSON->encode({
            pod => $self->{pod}{name},
            map { $_ => $request->{$_} } qw(method target version headers length sha256)
        });
        push @headers, ['content-type', 'application/json'];
    }

    my $size = $behaviour->{size} // length $body;
    $body = undef if defined $behaviour->{size};

    my %have = map { lc $_->[0] => 1 } @headers;
    my $bodyless = $status == 204 || $status == 304 || $status < 200;

    unshift @headers, ['x-pod', $self->{pod}{name}] if !$have{'x-pod'};
    push @headers, ['content-type', 'text/plain'] if !$have{'content-type'} && !$bodyless;

    if ($behaviour->{chunked} || $behaviour->{trailers}) {
        push @headers, ['transfer-encoding', 'chunked'];

    } elsif (!$bodyless && !$behaviour->{until_close} && !$have{'content-length'}) {
        push @headers, ['content-length', $size];
    }
    push @headers, ['connection', 'close'] if $behaviour->{close} && !$have{connection};
    $size = 0 if $bodyless;

    my $reason = $behaviour->{reason} // 'OK';
    my $head = join '', map { "$_->[0]: $_->[1]\r\n" } @headers;
    return ("HTTP/1.1 $status $reason\r\n$head\r\n", $body, $size);
}

# Headers as a mapping (a list as value repeats the name) or as a list of 'name: value'.
sub header_list {
    my ($headers) = @_;

    return if !$headers;
    return map { [/^([^:]+):\s*(.*)$/s] } @{$headers} if ref $headers eq 'ARRAY';
    return map {
        my $name = $_;
        map { [$name, $_] } ref $headers->{$name} ? @{ $headers->{$name} } : $headers->{$name}
    } sort keys %{$headers};
}

# Sends the body as far as the pipe takes it; the pipe calls drained() when it wants more.
sub send_body {
    my ($self) = @_;

    my ($behaviour, $pipe) = @{$self}{qw(behaviour pipe)};
    my $chunked = $behaviour->{chunked} || $behaviour->{trailers};
    my $slice = $chunked && $chunked =~ /^\d\d+$/ ? $chunked : $SLICE;

    $self->{sending} = 1;

    while ($self->{left} > 0 && $pipe->queued < $QUEUE) {
        my $length = $self->{left} < $slice ? $self->{left} : $slice;
        my $stop = $behaviour->{abort_at} // $behaviour->{finish_at};

        if (defined $stop && $self->{made} + $length >= $stop) {
            $pipe->send($self->piece($stop - $self->{made}));
            return $self->break_off('abort') if defined $behaviour->{abort_at};
            return $self->break_off('finish');
        }

        my $bytes = $self->piece($length);
        $bytes = sprintf "%x\r\n%s\r\n", $length, $bytes if $chunked;
        $pipe->send($bytes);
        $self->{made} += $length;
        $self->{left} -= $length;
    }

    return if $self->{left} > 0;

    if ($chunked) {
        my @trailers = header_list($behaviour->{trailers});
        $pipe->send("0\r\n" . join('', map { "$_->[0]: $_->[1]\r\n" } @trailers) . "\r\n");
    }
    $self->{sending} = 0;
    $self->answer_done;
    return;
}

sub piece {
    my ($self, $length) = @_;

    return substr $self->{body}, $self->{made}, $length if defined $self->{body};
    return 'x' x $length;
}

sub drained {
    my ($self) = @_;

    $self->send_body if $self->{sending} && !$self->{done};
    return;
}

# Ends the connection in the middle: 'finish' is an orderly end, 'abort' a reset, anything else
# the HTTP/2 error code of a tunnel's reset.
sub break_off {
    my ($self, $how) = @_;

    $self->{done} = 1;
    $how eq 'finish' ? $self->{pipe}->finish : $self->{pipe}->abort($how);
    return;
}

sub answer_done {
    my ($self) = @_;

    $self->{answered} = 1;
    $self->finish_answer if !$self->{reading};
    return;
}

# When both the request and the answer are whole, the next request may begin.
sub finish_answer {
    my ($self) = @_;

    return if !$self->{answered};

    my $behaviour = $self->{behaviour};
    my $close = lc($self->{request}->header('connection') // '') eq 'close'
        || $behaviour->{close} || $behaviour->{until_close};

    $self->{busy} = 0;

    if ($close) {
        $self->{done} = 1;
        $self->{pipe}->finish;
        return;
    }

    $self->advance if !$self->{advancing};
    return;
}

1;
