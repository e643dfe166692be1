# SPDX-License-Identifier: Apache-2.0
#
# Policies - random AuthorizationPolicies and random requests, from pools of values so small that
# conditions and requests meet about as often as they miss. The same seed makes the same.

package Policies;

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(random_policies random_request identities);

my @IDENTITIES = qw(
    default/sleep default/admin team-a/worker team-b/worker team-a/admin bad/mallory default/sa
);
my @SOURCES = qw(127.201.0.1 127.201.0.2 127.201.7.1 127.202.0.1);
my @HOSTS = qw(
    reviews reviews:9080 Reviews reviews.default.svc.cluster.local a.example.com A.Example.COM
    b.example.com:8080 example.com xn--bcher-kva.example
);
my @METHODS = qw(GET POST PUT DELETE HEAD OPTIONS PATCH);
my @PATHS = qw(
    / /a /a/b /a/b/ /a/x/b /a/x/y/b /admin /admin/ /admin/users /admin/public /Admin /x /x/ /x/1/2
    /api/v1/items /api/v1/items/7 /api/v2/items/7/parts /files/song.m4s /files/a/b.m4s /b /a%2Fb
    /a%2fb /a//b //admin /./admin /x/../admin /x/%2e%2e/admin /admin%20b /admin;v=1 /a=b /a~b
    /%61dmin /caf%C3%A9 /a*b /a/b.c/d
);
my @QUERIES = ('', '', '', '?q=1', '?/admin', '?');
my @HEADERS = qw(x-user x-kind x-empty user-agent);
my @VALUES = ('', 'one,two', qw(alice bob ALICE alicebob prefix-1 1-suffix one two one two *));
my @FORWARDED = (
    '203.0.113.7', '203.0.113.9', '10.0.0.1, 192.168.1.1', '192.168.1.1,10.0.0.1', 'unknown', '',
    '10.0.0.1, unknown', '2001:db8::1', '[2001:db8::1]', '10.0.0.1:8080', '10.0.0.1 ', '10.0.0.300',
    '10.0.0.1,', '::ffff:10.0.0.1',
);


sub one { return $_[ int rand @_ ] }
sub chance { return rand() < $_[0] }

sub some {
    my ($most, @from) = @_;

    my %value = map { one(@from) => 1 } 1 .. 1 + int rand $most;
    return [sort keys %value];
}

sub identities { return @IDENTITIES }


# What the values of each field are drawn from; %place has the VIPs and the ports.

sub principals {
    my @exact = map { my ($ns, $sa) = split m{/}; "cluster.local/ns/$ns/sa/$sa" } @IDENTITIES;

    return (@exact, @exact, '*', '*/sa/admin', '*/worker', '*admin', 'cluster.local/ns/team-a/*',
        'cluster.local/ns/*', 'cluster.local/*', 'other.domain/ns/default/sa/sleep');
}

sub service_accounts { return (@IDENTITIES, qw(sleep admin sa nobody team-a/nobody)) }

sub namespaces { return qw(default team-a team-b bad nowhere team-* *-a *-b * def* *ault) }

sub source_ranges {
    return (@SOURCES, qw(127.201.0.0/16 127.201.0.0/24 127.0.0.0/8 127.202.0.0/15 127.200.0.0/15
        10.0.0.0/8 0.0.0.0/0 fd00::/8 ::/0 127.201.7.1/32 127.201.0.3/31));
}

sub remote_ranges {
    return (source_ranges(), qw(203.0.113.0/24 203.0.113.7 10.0.0.1 10.0.0.0/8 192.168.0.0/16
        2001:db8::/32 2001:db8::1));
}

sub hosts {
    return (@HOSTS, qw(* *.example.com a.* reviews* *.EXAMPLE.com *:9080 REVIEWS* *com));
}

sub paths {
    my @exact = grep { !m{[*]} } @PATHS;

    return (@exact, qw(* /admin* /admin/* /a/* */b *admin *.m4s /x* /api/{*}/items /api/{*}/items/{*}
        /api/{**} /{*}/b /a/{**} /{**} /a/{*}/b /a/{**}/b /{*} /x/{**} /files/{**} /api/v1/{*} /{*}/{*}
        /admin/{*} /a/b*));
}

sub methods { return (@METHODS, @METHODS, qw(* P* *T get)) }

sub header_values { return ((grep { $_ ne '' } @VALUES), qw(* alice* *bob prefix-* *-suffix o* *o)) }


sub sources_of {
    return {
        principals => [principals()], serviceAccounts => [service_accounts()],
        namespaces => [namespaces()], ipBlocks => [source_ranges()], remoteIpBlocks => [remote_ranges()],
    };
}

sub operations_of {
    my ($place) = @_;

    return {
        hosts => [hosts()], methods => [methods()], paths => [paths()],
        ports => [@{ $place->{ports} }, '1234'],
    };
}

sub attributes_of {
    my ($place) = @_;

    return {
        'source.ip' => [source_ranges()], 'remote.ip' => [remote_ranges()],
        'source.namespace' => [namespaces()], 'source.principal' => [principals()],
        'source.serviceAccount' => [service_accounts()],
        'destination.ip' => [@{ $place->{vips} }, '127.0.0.0/8', "$place->{vips}[0]/25", '10.0.0.0/8'],
        'destination.port' => [@{ $place->{ports} }, '1234'],
        'connection.sni' => [qw(* reviews *.example.com)],
        (map { ("request.headers[$_]" => [header_values()]) } @HEADERS, 'X-User'),
        'request.headers[:method]' => [methods()], 'request.headers[:authority]' => [hosts()],
    };
}


# {principals => [...], notPaths => [...]}: of each field its values, those it must not have, or both.
sub random_conditions {
    my ($pools) = @_;

    my %made;

    for my $field (@{ some(2, sort keys %{$pools}) }) {
        my $kind = rand;
        $made{$field} = some(4, @{ $pools->{$field} }) if $kind < 0.75;
        $made{ 'not' . ucfirst $field } = some(2, @{ $pools->{$field} }) if $kind > 0.65;
    }
    return \%made;
}

sub random_when {
    my ($place) = @_;

    my $attributes = attributes_of($place);

    return [map {
        my $kind = rand;
        {
            key => $_,
            $kind < 0.75 ? (values => some(4, @{ $attributes->{$_} })) : (),
            $kind > 0.65 ? (notValues => some(2, @{ $attributes->{$_} })) : (),
        };
    } @{ some(2, sort keys %{$attributes}) }];
}

sub random_rule {
    my ($place) = @_;

    my %rule;

    $rule{from} = [map { +{ source => random_conditions(sources_of()) } } 1 .. 1 + int rand 2]
        if chance(0.6);
    $rule{to} = [map { +{ operation => random_conditions(operations_of($place)) } } 1 .. 1 + int rand 2]
        if chance(0.6);
    $rule{when} = random_when($place) if chance(0.4) || !%rule;

    return \%rule;
}

# random_policies(SERVICE, {vips => [...], ports => [...]}): the policies of one service.
sub random_policies {
    my ($service, $place) = @_;

    return map { {
        apiVersion => 'security.istio.io/v1', kind => 'AuthorizationPolicy',
        metadata => { name => "$service-$_", namespace => 'default' },
        spec => {
            targetRefs => [{ kind => 'Service', group => '', name => $service }],
            action => one(qw(ALLOW ALLOW DENY)),
            chance(0.98) ? (rules => [map { random_rule($place) } 1 .. 1 + int rand 3]) : (),
        },
    } } 1 .. 1 + int rand 3;
}

# One request: {identity, source, port, method, target, host, headers}.
sub random_request {
    my ($place) = @_;

    my @headers;

    for my $name (@HEADERS) {
        push @headers, [$name, one(@VALUES)] while chance(0.3);
    }
    push @headers, ['x-forwarded-for', one(@FORWARDED)] while chance(0.35);

    return {
        identity => one(@IDENTITIES), source => one(@SOURCES), port => one(@{ $place->{ports} }),
        method => one(@METHODS, 'GET', 'GET'), target => one(@PATHS) . one(@QUERIES),
        host => one(@HOSTS), headers => \@headers,
    };
}

1;
