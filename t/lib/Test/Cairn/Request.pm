# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Request - requests as tests write them:
#
#     as sleep to reviews GET /reviews/0 HTTP/1.1
#     end-user: jason
#     @seconds 3
#
#     the body
#
# The words before the method say how it goes: `as NAME` through HBONE with that identity, else to
# the plaintext listener; `to SERVICE` or `to AUTHORITY`; `from IP`. t/README.md has the rest.

package Test::Cairn::Request;

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);

use Test::Cairn::HTTP1 qw(http1_request);

our @EXPORT_OK = qw(parse_request split_items unescape);

my %OPTION = map { $_ => 1 } qw(size chunked seconds keep window trailer);


# Items of a section are separated by lines of ~~~.
sub split_items {
    my ($text) = @_;

    return split /^~~~+[ \t]*\n/m, $text;
}

# \r \n \t \0 \\ and \xHH in raw bytes; a real line end stands for nothing.
sub unescape {
    my ($text) = @_;

    my %plain = (r => "\r", n => "\n", t => "\t", 0 => "\0", '\\' => '\\');

    $text =~ s/\n//g;
    $text =~ s/\\(?:x([0-9A-Fa-f]{2})|([rnt0\\]))/defined $1 ? chr hex $1 : $plain{$2}/ge;
    return $text;
}

# parse_request(TEXT): { as, to, from, method, target, version, headers, body, size, chunked,
# seconds, trailer }; a method of RAW has its bytes in body.
sub parse_request {
    my ($text) = @_;

    my ($head, $body) = split /\n[ \t]*\n/, $text =~ s/\A\s+//r, 2;
    my ($first, @lines) = split /\n/, $head;
    my %request = (headers => [], version => '1.1');

    while ($first =~ s/^(as|to|from)\s+(\S+)\s+//) {
        $request{$1} = $2;
    }

    $first =~ m{^(\S+)(?:\s+(\S+))?(?:\s+HTTP/(\S+))?\s*$}
        or croak "not a request: $first";
    $request{method} = $1;
    $request{target} = $2 // '/';
    $request{version} = $3 // '1.1';

    for my $line (@lines) {
        if ($line =~ /^\@(\w+)(?:\s+(.*?))?\s*$/) {
            croak "a request has no option $line" if !$OPTION{$1};
            $request{$1} = $2 // 1;

        } elsif ($line =~ /^([^:\s]+):[ \t]*(.*?)[ \t]*$/) {
            push @{ $request{headers} }, [$1, $2];

        } else {
            croak "neither a header nor an option: $line";
        }
    }

    if ($request{method} eq 'RAW') {
        $body = unescape($body // '');

    } elsif (defined $body) {
        $body =~ s/\n\z//;
    }

    $request{body} = $body if defined $body && ($body ne '' || $request{method} eq 'RAW');
    return \%request;
}

# The options of Test::Cairn->tunnel() that are in a request.
sub who_of {
    my ($request) = @_;

    return map { $_ => $request->{$_} } grep { defined $request->{$_} } qw(as to from window);
}

# The bytes of a request to HOST.
sub bytes_of {
    my ($request, $host) = @_;

    return $request->{body} if $request->{method} eq 'RAW';
    return http1_request($request->{method}, $request->{target}, %{$request}, host => $host);
}

# send_h2(HTTP2 CLIENT, REQUEST, HOST): sends it on a stream of its own.
sub send_h2 {
    my ($http, $request, $host) = @_;

    my @trailers = map { [split /:\s*/, $_, 2] } grep { defined } $request->{trailer};

    $http->send(
        $request->{method}, $request->{target}, headers => $request->{headers}, host => $host,
        body => $request->{body}, open => defined $request->{size},
        @trailers ? (trailers => \@trailers) : ()
    );
    $http->send_body($request->{size}) if defined $request->{size};
    return;
}

# The methods to which bytes_of() will be answered.
sub methods_of {
    my ($request) = @_;

    return $request->{method} if $request->{method} ne 'RAW';
    return $request->{body} =~ m{^([A-Z]+) \S+ HTTP/1\.\d\r\n}mg;
}

1;
