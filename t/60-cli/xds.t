#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# -T --xds: what a recorded push of istiod comes to.  It is the same as of the resources it was
# made from, and what is not understood closes the chain that it stands in, and no other.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::Daemon ();
use Test::Cairn::Util qw(spawn_child wait_child);

use JSON::PP ();
use POSIX ();

my $recorded = "$FindBin::Bin/../unit/modules/recorded";
my $directory = test_dir();

# The program run once, without a bootstrap file: {status, out, err}.
sub cairn {
    my @arguments = @_;

    my $pid = spawn_child(sub {
        open STDOUT, '>', "$directory/out" or POSIX::_exit(99);
        open STDERR, '>', "$directory/err" or POSIX::_exit(99);
        exec Test::Cairn::Daemon::binary(), @arguments or POSIX::_exit(99);
    });
    my $status = wait_child($pid, 30);

    return {
        status => defined $status ? $status >> 8 : 'timeout',
        out => slurp("$directory/out"), err => slurp("$directory/err"),
    };
}

# The model of a push as a waypoint has it: {CHAIN => 'open' | 'refused' | 'no cluster'}.
sub chains {
    my ($model) = @_;

    my %clusters = map { $_->{name} => 1 } @{ $model->{clusters} };
    my %chains;

    for my $chain (map { @{ $_->{chains} } } @{ $model->{services} }) {
        my @wanted = map { $_->{cluster} } map { @{ $_->{destinations} // [] } } @{ $chain->{routes} // [] };

        push @wanted, $chain->{tcp_cluster} if defined $chain->{tcp_cluster};
        $chains{ $chain->{name} } = $chain->{refused} ? 'refused'
            : (grep { !$clusters{$_} } @wanted) ? 'no cluster' : 'open';
    }

    return \%chains;
}

# "80 http a" of "inbound-vip|80|http|a.default.svc.cluster.local", sorted.
sub short_names {
    return join ', ', sort map { s/^inbound-vip\|//r =~ s/\.default\.svc\.cluster\.local$//r =~ tr/|/ /r } @_;
}

# Those that serve nobody: they are refused, or have nowhere to go.
sub closed {
    my ($chains) = @_;

    return short_names(grep { $chains->{$_} ne 'open' } keys %$chains);
}

for my $scenario (qw(01-plain 02-vs-split 03-httproute-split 04a-authz-viewer)) {
    my $push = cairn('-T', '--xds', "$recorded/$scenario");
    my $resources = cairn('-T', '-r', "$recorded/$scenario/input.yaml");

    is $push->{status}, 0, "$scenario: exit code of the push" or diag $push->{err};
    is $resources->{status}, 0, "$scenario: exit code of its resources" or diag $resources->{err};
    is $push->{err}, '', "$scenario: nothing to complain of";
    ok length $push->{out} > 1000 && $push->{out} eq $resources->{out}, "$scenario: one model";

    my $chains = chains(JSON::PP::decode_json($push->{out}));

    is closed($chains), '', "$scenario: every chain is open";
}

# [recording, chains that are closed, [why]]
my @not_all = (
    [
        '04c-jwt', '9080 http reviews',
        [
            qr/^error: FilterChain \S+reviews\S+: http_filters: \S+JwtAuthentication is not implemented$/m,
            qr/^error: FilterChain \S+reviews\S+: envoy\.filters\.http\.rbac\.\S+\.metadata: is not implemented$/m,
        ],
    ],
    [
        '06-dr-all',
        '80 http hcookie, 80 http hheader, 80 http hip, 80 http hmaglev, 80 http hquery, 80 http locdist,'
            . ' 80 http locfail, 80 http locprio, 80 http lr, 80 http outlier, 80 http pass, 80 http pool,'
            . ' 80 http pp, 80 http pptls, 80 http rbudget, 80 http rrwarm, 80 http subs, 80 http tlscred,'
            . ' 80 http tlsm, 80 http tlss, 80 http tlsskip, 80 http tlssys, 81 http ports,'
            . ' 9001 tcp hmaglev, 9001 tcp pool, 9001 tcp tunnel',
        [
            qr/^error: FilterChain inbound-vip\|80\|http\|hip\S+: \S+\.hash_policy: is not implemented$/m,
            qr/^error: FilterChain inbound-vip\|9001\|tcp\|tunnel\S+: tcp_proxy\.tunneling_config: is not/m,
            qr/^error: Cluster inbound-vip\|80\|http\|tlss\.\S+: \S+: \S+UpstreamTlsContext is not implemented$/m,
            qr/^error: Cluster inbound-vip\|80\|http\|outlier\.\S+: cluster\.outlier_detection: is not/m,
        ],
    ],
);

for my $case (@not_all) {
    my ($scenario, $closed, $reasons) = @$case;
    my $push = cairn('-T', '--xds', "$recorded/$scenario");
    my $chains = chains(JSON::PP::decode_json($push->{out}));
    my @closed = grep { $chains->{$_} ne 'open' } keys %$chains;

    is $push->{status}, 0, "$scenario: there is a model to print";
    is closed($chains), $closed, "$scenario: these are closed, the others not";
    like $push->{err}, $_, "$scenario: why" for @$reasons;
    is join(' ', grep { index($push->{err}, " $_: ") < 0 } @closed), '', "$scenario: each is named";
    is join(' ', grep { index($push->{err}, " $_: ") >= 0 && $chains->{$_} eq 'open' } keys %$chains), '',
        "$scenario: of what is open nothing is amiss";
    unlike $push->{err}, qr/^(?!error: )/m, "$scenario: all of it are errors" if $push->{err} ne '';

    is cairn('-t', '--xds', "$recorded/$scenario")->{status}, 1, "$scenario: -t ends with 1";
}

# Of 05 only what stands in no way of being implemented next: mirrors close reviews, not sleep.
my $virtual_services = cairn('-T', '--xds', "$recorded/05-vs-all");
my $chains = chains(JSON::PP::decode_json($virtual_services->{out}));

is $chains->{'inbound-vip|9080|http|reviews.default.svc.cluster.local'}, 'refused', '05: reviews is refused';
like $virtual_services->{err}, qr/reviews\S+: \S+\.request_mirror_policies: is not implemented/, '05: why';
is $chains->{"inbound-vip|$_.default.svc.cluster.local"}, 'open', "05: $_ is open"
    for '80|http|sleep', '80|http|notsleep', '9080|http|productpage', '9080|http|ratings';

my $good = cairn('-t', '--xds', "$recorded/01-plain");

is $good->{status}, 0, '-t of a push that is understood ends with 0';
like $good->{err}, qr/^0 errors, 0 warnings$/m, 'and says so';

my $absent = cairn('-T', '--xds', "$directory/nothing");

is $absent->{status}, 1, 'no push: exit code';
is $absent->{out}, '', 'no push: no model';
like $absent->{err}, qr{^error: lds\.pb: cannot be read from \S+/nothing$}m, 'no push: which file is missing';

my $empty = "$directory/empty";

mkdir $empty;
spew("$empty/$_.pb", "\x12\x00" x 100_000) for qw(cds eds lds);
my $crowded = cairn('-T', '--xds', $empty);

is $crowded->{status}, 1, 'a push that would fill the memory: exit code';
like $crowded->{err}, qr/^error: lds\.pb: DiscoveryResponse of 200000 octets would take more than \d+ KiB of memory$/m,
    'and why';

my $alone = cairn('--xds', $recorded);

is $alone->{status}, 2, '--xds without -t or -T';
like $alone->{err}, qr/--xds is for -t and -T/, 'is told apart';

done_testing;
