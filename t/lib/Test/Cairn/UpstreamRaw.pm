# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::UpstreamRaw - a session of an upstream that speaks no HTTP: the key `raw` of a pod.
#
#     greet: TEXT       is said first
#     echo: yes         says again what it hears
#     at_end: TEXT      is said when the client has ended its direction
#     finish_at: N      ends its direction when it has heard N bytes
#     abort_at: N       breaks off when it has heard N bytes
#     size: N           says N bytes at the beginning
#     read: no          takes nothing
#     hold: yes         does not end when the client has
#
# It records `raw` (body, body_length, body_sha256) when the client has ended, `raw_broken` when it
# went away before.

package Test::Cairn::UpstreamRaw;

use strict;
use warnings;

use Digest::SHA ();

my %KNOWN = map { $_ => 1 } qw(greet echo at_end finish_at abort_at size read hold);
my $SLICE = 32768;
my $QUEUE = 262144;


sub check {
    my ($raw) = @_;

    for my $key (sort keys %{$raw}) {
        die "a raw upstream has no key '$key'\n" if !$KNOWN{$key};
        $raw->{$key} = 0 if $raw->{$key} =~ /^(?:no|false|)$/;
    }
    return;
}

sub new {
    my ($class, %option) = @_;

    my $self = bless {
        %option, do => $option{pod}{raw}, heard => 0, body => '', sha => Digest::SHA->new(256)
    }, $class;

    $self->{left} = $self->{do}{size} // 0;
    $self->{pipe}->send($self->{do}{greet}) if defined $self->{do}{greet};
    $self->{pipe}->stop_reading if !($self->{do}{read} // 1);
    $self->drained;
    return $self;
}

sub feed {
    my ($self, $bytes, $end) = @_;

    my ($do, $pipe) = @{$self}{qw(do pipe)};

    return if $self->{done};

    $self->{heard} += length $bytes;
    $self->{sha}->add($bytes);
    $self->{body} .= $bytes if length $self->{body} < 65536;
    $pipe->send($bytes) if $do->{echo} && $bytes ne '' && !$self->{finished};

    if (defined $do->{abort_at} && $self->{heard} >= $do->{abort_at}) {
        $self->{done} = 1;
        return $pipe->abort('abort');
    }
    $self->finish if defined $do->{finish_at} && $self->{heard} >= $do->{finish_at};

    if ($end) {
        $self->note('raw');
        $pipe->send($do->{at_end}) if defined $do->{at_end} && !$self->{finished};
        $self->{client_ended} = 1;
        $self->finish if !$do->{hold} && !$self->{left};
    }
    return;
}

sub finish {
    my ($self) = @_;

    return if $self->{finished}++;

    $self->{pipe}->finish;
    $self->{done} = 1 if $self->{client_ended};
    return;
}

sub drained {
    my ($self) = @_;

    return if $self->{done} || $self->{finished};

    while ($self->{left} > 0 && $self->{pipe}->queued < $QUEUE) {
        my $length = $self->{left} < $SLICE ? $self->{left} : $SLICE;

        $self->{left} -= $length;
        $self->{pipe}->send('x' x $length);
        $self->finish if $self->{left} == 0 && $self->{client_ended} && !$self->{do}{hold};
    }
    return;
}

sub gone {
    my ($self, $why) = @_;

    return if $self->{done}++;

    $self->note('raw_broken', why => $why);
    return;
}

sub note {
    my ($self, $event, %more) = @_;

    $self->{record}->({
        %{ $self->{about} }, event => $event, body => $self->{body}, body_length => $self->{heard},
        body_sha256 => $self->{sha}->clone->hexdigest, %more
    });
    return;
}

1;
