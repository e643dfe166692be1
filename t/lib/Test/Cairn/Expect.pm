# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Expect - what tests say must come back, or must have arrived: a first line, then
# lines about headers, then after an empty line the whole body.
#
#     503                          HTTP/1.1 GET /path          (first line; 2xx, /regex/ too)
#     server: istio-envoy          equal
#     x-request-id: /^[0-9a-f-]+$/ a regular expression
#     !x-powered-by                absent
#     @size 1000                   properties: see the tables below
#
# Each line is one test. Functions here call Test::More's.

package Test::Cairn::Expect;

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use Test::More ();

our @EXPORT_OK = qw(check_response check_seen check_tunnel same);

# name => sub { MESSAGE } that gives the value which a line `@name value` speaks of.
my %OF_RESPONSE = (
    size => sub { $_[0]{length} },
    sha256 => sub { $_[0]{sha256} },
    body => sub { $_[0]{body} =~ s/\n\z//r },
    error => sub { $_[0]->error },
    ended => sub { $_[0]{closed} },
    pod => sub { $_[0]->header('x-pod') },
    reason => sub { $_[0]{reason} },
    interim => sub { join ' ', map { $_->status } @{ $_[0]{interim} } },
    trailers => sub { join '; ', map { "$_->[0]: $_->[1]" } @{ $_[0]{trailers} } },
);
my %OF_SEEN = (
    (map { my $key = $_; $key => sub { $_[0]{$key} } } qw(pod peer authority via from)),
    size => sub { $_[0]{body_length} },
    sha256 => sub { $_[0]{body_sha256} },
    body => sub { $_[0]{body} =~ s/\n\z//r },
    trailers => sub { join '; ', map { "$_->[0]: $_->[1]" } @{ $_[0]{trailers} } },
);
my %OF_TUNNEL = (
    reset => sub { $_[0]->reset_code },
    ended => sub { $_[0]->wait_end(3); $_[0]->ended },
    body => sub { $_[0]->wait_end(3); $_[0]{in} =~ s/\n\z//r },
);


# same(GOT, WANTED, NAME): WANTED is a text or /regex/.
sub same {
    my ($got, $wanted, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    if ($wanted =~ m{^/(.*)/([ims]*)$}s) {
        my $pattern = qr/(?$2:$1)/;
        return Test::More::like($got, $pattern, $name);
    }
    return Test::More::is($got, $wanted, $name);
}

# The lines of an expectation: the first, the others, and the body if there is an empty line.
sub lines_of {
    my ($text) = @_;

    my ($head, $body) = split /\n[ \t]*\n/, $text =~ s/\A\s+//r, 2;
    my ($first, @lines) = split /\n/, $head;

    $body =~ s/\n\z// if defined $body;
    return ($first =~ s/\s+$//r, \@lines, $body);
}

# HEADERS is a list of [name, value].
sub check_lines {
    my ($subject, $headers, $lines, $properties) = @_;

    my %value;
    push @{ $value{ lc $_->[0] } }, $_->[1] for @{$headers};

    for my $line (@{$lines}) {
        $line =~ s/\s+$//;
        next if $line =~ /^#/;

        if ($line =~ /^!(\S+)$/) {
            my $found = $value{ lc $1 };
            Test::More::is($found ? join(',', @{$found}) : undef, undef, "there is no $1");

        } elsif ($line =~ /^\@(\w+)\s*(.*)$/) {
            my $property = $properties->{$1} // croak "nothing is known of $line";
            same($property->($subject), $2, $line);

        } elsif ($line =~ /^([^:\s]+):\s*(.*)$/) {
            my $found = $value{ lc $1 };
            same($found ? join(',', @{$found}) : undef, $2, $line);

        } else {
            croak "not a line of an expectation: $line";
        }
    }
    return;
}

sub status_matches {
    my ($status, $wanted) = @_;

    return same($status, $wanted, "status $wanted") if $wanted =~ m{^(?:\d{3}|/.*/)$};
    croak "not a status: $wanted" if $wanted !~ /^(\d)xx$/;
    return Test::More::like($status, qr/^$1\d\d$/, "status $wanted");
}

# check_response(RESPONSE, TEXT)
sub check_response {
    my ($response, $text) = @_;

    my ($first, $lines, $body) = lines_of($text);

    if ($first ne 'error') {
        status_matches($response->status, $first);
        Test::More::is($response->error, '', 'the response is well-formed and whole')
            if !grep { /^\@error/ } @{$lines};
    }
    check_lines($response, $response->{headers}, $lines, \%OF_RESPONSE);
    Test::More::is($response->body =~ s/\n\z//r, $body, 'body') if defined $body;
    return;
}

# check_tunnel(TUNNEL, TEXT): the answer to a CONNECT; `reset` as first line when there is none.
sub check_tunnel {
    my ($tunnel, $text) = @_;

    my ($first, $lines, $body) = lines_of($text);

    $tunnel->answered;
    status_matches($tunnel->status, $first eq 'reset' ? '/^0$/' : $first);
    check_lines($tunnel, $tunnel->headers, $lines, \%OF_TUNNEL);
    same($OF_TUNNEL{body}->($tunnel), $body, 'body') if defined $body;
    return;
}

# check_seen(RECORD, TEXT): a request that an upstream has recorded; the first line is [POD] METHOD
# TARGET [HTTP/1.1 or HTTP/2].
sub check_seen {
    my ($seen, $text) = @_;

    my ($first, $lines, $body) = lines_of($text);
    my ($pod, $method, $target, $version) =
        $first =~ m{^(?:([a-z]\S*)\s+)?([A-Z]+)\s+(\S+)(?:\s+(HTTP/\S+))?$}
        or croak "not a request that an upstream may see: $first";

    Test::More::is($seen->{pod}, $pod, "$pod is asked") if defined $pod;
    Test::More::is($seen->{method}, $method, "the upstream sees $method");
    same($seen->{target}, $target, "target $target");
    Test::More::is($seen->{version}, $version, $version) if defined $version;
    check_lines($seen, $seen->{headers}, $lines, \%OF_SEEN);
    Test::More::is($seen->{body} =~ s/\n\z//r, $body, 'body at the upstream') if defined $body;
    return;
}

1;
