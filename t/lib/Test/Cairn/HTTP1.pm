# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::HTTP1 - HTTP/1.1 as the harness speaks it.
#
# Test::Cairn::HTTP1::Reader takes bytes and gives the parts of messages, of requests or responses.
# It is strict: what no correct peer sends is an error, because cairn must not send it.
# Test::Cairn::HTTP1 is a client over a byte channel (Test::Cairn::Socket, Test::Cairn::Tunnel).

package Test::Cairn::HTTP1::Message;

# A request { method, target } or response { status, reason }, both with { version, headers (list
# of [name, value]), trailers, body, length, sha256, complete, error, closed, interim }.

use strict;
use warnings;

use JSON::PP ();

sub status { return $_[0]{status} // 0 }
sub body { return $_[0]{body} }
sub complete { return $_[0]{complete} }
sub error { return $_[0]{error} // '' }
sub json { return JSON::PP->new->utf8->decode($_[0]{body}) }

# All values of a header, in the order they came.
sub values_of {
    my ($self, $name) = @_;

    return map { $_->[1] } grep { lc $_->[0] eq lc $name } @{ $self->{headers} };
}

# The values of a header joined by a comma; undefined if it is absent.
sub header {
    my ($self, $name) = @_;

    my @values = $self->values_of($name);
    return @values ? join ',', @values : undef;
}

package Test::Cairn::HTTP1::Reader;

use strict;
use warnings;

use Digest::SHA ();

my $TOKEN = qr/[!#\$%&'*+\-.^_`|~0-9A-Za-z]+/;
my $HEAD_LIMIT = 1 << 20;

# new(kind => request|response, keep => BYTES of a body that are kept, default 1 MiB)
sub new {
    my ($class, %option) = @_;

    return bless {
        kind => $option{kind}, keep => $option{keep} // 1 << 20, in => '', state => 'head',
        asked => []
    }, $class;
}

# Responses depend on the method that they answer.
sub asked {
    my ($self, $method) = @_;

    push @{ $self->{asked} }, $method;
    return;
}

sub feed {
    my ($self, $bytes) = @_;

    $self->{in} .= $bytes;
    return;
}

sub buffered { return length $_[0]{in} }

sub wrong {
    my ($self, $why) = @_;

    my $message = $self->{message} // bless { headers => [] }, 'Test::Cairn::HTTP1::Message';
    $message->{error} = $why;
    $self->{state} = 'broken';
    return ['error', $message, $why];
}

# The next part: ['head', message], ['data', message, bytes], ['end', message] or ['error', message,
# why]; nothing while bytes are missing. END says that no more bytes will come.
sub next {
    my ($self, $end) = @_;

    my $state = $self->{state};

    return if $state eq 'broken';
    return $self->next_head($end) if $state eq 'head';
    return $self->next_sized($end) if $state eq 'sized';
    return $self->next_until_end($end) if $state eq 'until_end';
    return $self->next_chunk($end) if $state eq 'chunk';
    return $self->next_trailers($end) if $state eq 'trailers';
    return $self->finished;
}

sub next_head {
    my ($self, $end) = @_;

    my $at = index $self->{in}, "\r\n\r\n";

    if ($at < 0) {
        return $self->wrong('a head longer than 1 MiB') if length $self->{in} > $HEAD_LIMIT;
        return if !$end || $self->{in} eq '';
        return $self->wrong('the end inside a head');
    }

    my ($first, @lines) = split /\r\n/, substr($self->{in}, 0, $at + 4, ''), -1;
    my $message = bless {
        headers => [], trailers => [], body => '', length => 0, complete => 0, interim => []
    }, 'Test::Cairn::HTTP1::Message';

    $self->{message} = $message;
    $self->{sha} = Digest::SHA->new(256);

    if ($self->{kind} eq 'request') {
        $first =~ m{^($TOKEN) (\S+) (HTTP/1\.[01])\z} or return $self->wrong("bad line '$first'");
        @{$message}{qw(method target version)} = ($1, $2, $3);

    } else {
        $first =~ m{^(HTTP/1\.[01]) (\d{3})(?: ([^\r\n]*))?\z}
            or return $self->wrong("bad line '$first'");
        @{$message}{qw(version status reason)} = ($1, $2, $3 // '');
    }

    splice @lines, -2;
    $message->{headers} = $self->fields(@lines) or return $self->wrong('a malformed header');
    return $self->frame_body($message);
}

sub fields {
    my ($self, @lines) = @_;

    my @fields;

    for my $line (@lines) {
        $line =~ /^($TOKEN):[ \t]*([^\r\n\0]*?)[ \t]*\z/ or return;
        push @fields, [$1, $2];
    }
    return \@fields;
}

sub frame_body {
    my ($self, $message) = @_;

    my $coding = $message->header('transfer-encoding');
    my @lengths = $message->values_of('content-length');
    my $status = $message->{status};
    my $next = $self->{kind} eq 'request' ? 'end' : 'until_end';

    return $self->wrong('content-length and transfer-encoding') if defined $coding && @lengths;
    return $self->wrong('two content-lengths') if @lengths > 1;

    if (defined $coding) {
        return $self->wrong("transfer-encoding '$coding'") if lc $coding ne 'chunked';
        $next = 'chunk';

    } elsif (@lengths) {
        return $self->wrong("content-length '$lengths[0]'") if $lengths[0] !~ /^\d{1,15}\z/;
        $self->{left} = $lengths[0];
        $next = $lengths[0] > 0 ? 'sized' : 'end';
    }

    if (defined $status) {
        my $interim = $status >= 100 && $status < 200 && $status != 101;
        my $method = $interim ? '' : shift @{ $self->{asked} } // 'GET';
        my $tunnel = $method eq 'CONNECT' && $status =~ /^2/;

        $message->{interim_response} = $interim;
        $next = 'end' if $interim || $status == 204 || $status == 304 || $method eq 'HEAD';
        $next = 'until_end' if $status == 101 || $tunnel;
    }

    $self->{state} = $next;
    return ['head', $message];
}

sub body_part {
    my ($self, $bytes) = @_;

    my $message = $self->{message};
    my $room = $self->{keep} - length $message->{body};

    $message->{length} += length $bytes;
    $message->{body} .= $room >= length $bytes ? $bytes : substr $bytes, 0, $room if $room > 0;
    $self->{sha}->add($bytes);
    return ['data', $message, $bytes];
}

sub cut_short {
    my ($self, $end) = @_;

    return $end ? $self->wrong('the end inside a body') : ();
}

sub next_sized {
    my ($self, $end) = @_;

    return $self->cut_short($end) if $self->{in} eq '';

    my $bytes = substr $self->{in}, 0, $self->{left}, '';
    $self->{left} -= length $bytes;
    $self->{state} = 'end' if $self->{left} == 0;
    return $self->body_part($bytes);
}

sub next_until_end {
    my ($self, $end) = @_;

    if ($self->{in} ne '') {
        my $bytes = $self->{in};
        $self->{in} = '';
        return $self->body_part($bytes);
    }

    return if !$end;
    $self->{state} = 'end';
    return $self->finished;
}

# {left} is what is left of the current chunk, with its line end.
sub next_chunk {
    my ($self, $end) = @_;

    if ($self->{chunk_left}) {
        return $self->cut_short($end) if $self->{in} eq '';

        my $bytes = substr $self->{in}, 0, $self->{chunk_left}, '';
        $self->{chunk_left} -= length $bytes;
        $self->{chunk_ends} = 1 if $self->{chunk_left} == 0;
        return $self->body_part($bytes);
    }

    if ($self->{chunk_ends}) {
        return $self->cut_short($end) if length $self->{in} < 2;
        return $self->wrong('a chunk without its line end') if $self->{in} !~ s/^\r\n//;
        $self->{chunk_ends} = 0;
    }

    if ($self->{in} !~ s/^([0-9A-Fa-f]{1,12})(?:[ \t]*;[^\r\n]*)?\r\n//) {
        return $self->wrong('a malformed chunk size') if $self->{in} =~ /\n/;
        return $self->cut_short($end);
    }

    $self->{chunk_left} = hex $1;
    $self->{state} = 'trailers' if $self->{chunk_left} == 0;
    return $self->next($end);
}

sub next_trailers {
    my ($self, $end) = @_;

    if ($self->{in} =~ s/^\r\n//) {
        $self->{state} = 'end';
        return $self->finished;
    }

    my $at = index $self->{in}, "\r\n\r\n";
    return $self->cut_short($end) if $at < 0;

    my @lines = split /\r\n/, substr $self->{in}, 0, $at + 4, '';
    $self->{message}{trailers} = $self->fields(@lines) or return $self->wrong('a bad trailer');
    $self->{state} = 'end';
    return $self->finished;
}

sub finished {
    my ($self) = @_;

    my $message = delete $self->{message};

    $message->{complete} = 1;
    $message->{sha256} = $self->{sha}->hexdigest;
    $self->{state} = 'head';
    return ['end', $message];
}

package Test::Cairn::HTTP1;

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);

use Test::Cairn::Util qw(deadline_in now);

our @EXPORT_OK = qw(http1_request http1_chunked);

my $SLICE = 65536;
my $MUCH = 1 << 20;


# new(CHANNEL, keep => BYTES, reader => one to go on with)
sub new {
    my ($class, $channel, %option) = @_;

    return bless {
        channel => $channel,
        reader => $option{reader} // Test::Cairn::HTTP1::Reader->new(kind => 'response', %option),
    }, $class;
}

sub channel { return $_[0]{channel} }
sub reader { return $_[0]{reader} }

# http1_chunked(BYTES, SIZE): the chunked form of a body, in chunks of SIZE, with its end.
sub http1_chunked {
    my ($bytes, $size) = @_;

    my $out = '';
    $size ||= 4096;

    while ($bytes ne '') {
        my $chunk = substr $bytes, 0, $size, '';
        $out .= sprintf "%x\r\n%s\r\n", length $chunk, $chunk;
    }
    return "${out}0\r\n\r\n";
}

# http1_request(METHOD, TARGET, headers => [[name, value]], body => BYTES, size => N, chunked =>
# SIZE, version => '1.1', host => NAME): the bytes of a request. Host and content-length are added
# where they are not given; with `size` only the head is made, for a body of that size to follow.
sub http1_request {
    my ($method, $target, %option) = @_;

    my @headers = @{ $option{headers} // [] };
    my %have = map { lc $_->[0] => 1 } @headers;
    my $version = $option{version} // '1.1';
    my $body = $option{body};
    my $size = $option{size} // (defined $body ? length $body : undef);

    unshift @headers, ['host', $option{host} // 'test'] if !$have{host};

    if ($option{chunked}) {
        push @headers, ['transfer-encoding', 'chunked'] if !$have{'transfer-encoding'};
        $body = http1_chunked($body // '', $option{chunked}) if !defined $option{size};

    } elsif (defined $size && !$have{'content-length'} && !$have{'transfer-encoding'}) {
        push @headers, ['content-length', $size];
    }

    my $head = join '', map { "$_->[0]: $_->[1]\r\n" } @headers;
    $body = '' if !defined $body || defined $option{size};
    return "$method $target HTTP/$version\r\n$head\r\n$body";
}

# send(METHOD, TARGET, options of http1_request): queues a request.
sub send {
    my ($self, $method, $target, %option) = @_;

    $self->{reader}->asked($method);
    $self->{channel}->write(http1_request($method, $target, %option));
    return;
}

# send_raw(BYTES, METHODS): bytes as they are, and the methods of the requests in them.
sub send_raw {
    my ($self, $bytes, @methods) = @_;

    $self->{reader}->asked($_) for @methods;
    $self->{channel}->write($bytes);
    return;
}

# send_body(SIZE, chunked => 0|1): SIZE bytes of a made-up body in slices, reading meanwhile
# nothing but what the channel reads by itself. Returns how many the channel took before the
# deadline.
sub send_body {
    my ($self, $size, %option) = @_;

    my $deadline = deadline_in($option{seconds} // 60);
    my $slice = substr 'cairn holds the trail. ' x (1 + $SLICE / 23), 0, $SLICE;
    my $channel = $self->{channel};
    my $sent = 0;

    while ($sent < $size) {
        while ($channel->unsent > $MUCH) {
            return $sent if now() > $deadline || $channel->ended;
            $channel->progress($deadline);
        }

        my $bytes = $size - $sent < $SLICE ? substr $slice, 0, $size - $sent : $slice;
        $sent += length $bytes;
        $bytes = sprintf "%x\r\n%s\r\n", length $bytes, $bytes if $option{chunked};
        $channel->write($bytes);
    }

    $channel->write("0\r\n\r\n") if $option{chunked};
    return $sent;
}

# response(seconds => 10, on_data => sub { bytes }): the next final response, with the interim ones
# in {interim}. Always returns a message: one that is not complete says in error() why.
sub response {
    my ($self, %option) = @_;

    my $deadline = deadline_in($option{seconds} // 10);
    my @interim;

    while (1) {
        my $part = $self->next_part($deadline);
        my ($type, $message, $what) = @{$part};

        $option{on_data}->($what) if $type eq 'data' && $option{on_data};
        next if $type eq 'data' || $type eq 'head';

        if ($type eq 'end' && $message->{interim_response}) {
            push @interim, $message;
            next;
        }

        $message->{interim} = \@interim;
        $message->{closed} = $self->{channel}->ended;
        return $message;
    }
}

# The next part of a message, as Reader's next(); also ['error', message, 'timeout'].
sub next_part {
    my ($self, $deadline) = @_;

    my ($channel, $reader) = @{$self}{qw(channel reader)};

    while (1) {
        $reader->feed($channel->take);

        my $ended = $channel->ended;
        my $part = $reader->next($ended eq 'eof');

        return $part if $part;
        return $reader->wrong('reset: ' . $channel->error) if $ended eq 'reset';
        return $reader->wrong('closed without a response') if $ended;
        return $reader->wrong('timeout') if !$channel->fill($deadline);
    }
}

# request(METHOD, TARGET, options of http1_request and response): send and wait for the answer.
sub request {
    my ($self, $method, $target, %option) = @_;

    $self->send($method, $target, %option);
    return $self->response(%option);
}

# True if the peer ends the channel before the deadline without sending anything more.
sub closes {
    my ($self, $seconds) = @_;

    my $deadline = deadline_in($seconds // 5);
    my $channel = $self->{channel};

    while (!$channel->ended) {
        return 0 if !$channel->fill($deadline);
    }
    return $channel->take eq '' && $self->{reader}->buffered == 0;
}

1;
