#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# `cairn demo`: Bookinfo through a waypoint, the commands that it prints, a changed weight.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::Daemon ();
use Test::Cairn::Net    ();
use Test::Cairn::Util   qw(spawn_child forget_child);

use File::Basename qw(basename);
use HTTP::Tiny     ();
use POSIX          qw(:sys_wait_h);

my $binary  = Test::Cairn::Daemon::binary();
my $network = Test::Cairn::Net::network();
my $dir     = test_dir() . '/demo';
my $yaml    = "$dir/bookinfo";

# Bookinfo as it is, at addresses that no other test uses.
mkdir $_ or die "$_: $!" for $dir, $yaml;

for my $file (glob "$FindBin::Bin/../../conf/bookinfo/*.yaml") {
    my $text = slurp($file);

    $text =~ s/\b127\.0\.10\./$network./g;
    spew("$yaml/" . basename($file), $text);
}

my $pid = spawn_child(sub {
    chdir $dir or die "$dir: $!";
    open STDIN,  '<', '/dev/null';
    open STDOUT, '>', "$dir/out";
    open STDERR, '>&', \*STDOUT;
    { exec { $binary } $binary, '-r', $yaml, 'demo', '--seconds', 60 }
    return 127;
});

sub output { return -e "$dir/out" ? slurp("$dir/out") : '' }

# What a command of the demo's first page prints, with its exit status.
sub paste {
    my ($pattern) = @_;

    my ($command) = grep {/$pattern/} split /\n/, output();
    ok defined $command, "it prints a command like $pattern" or return '';
    $command =~ s/\s+#.*//;
    $command =~ s/^\s+//;

    my $text = qx(cd '$dir' && $command 2>&1);
    return $text;
}

ok wait_for(sub { output() =~ /^requests /m }, 30), 'it is up' or diag output();

my ($page)    = output() =~ m{Open (http://\S+/productpage)};
my ($metrics) = output() =~ m{metrics +(http://\S+)};
my $http      = HTTP::Tiny->new(timeout => 10);
my $answer    = $http->get($page);

is $answer->{status}, 200, 'the ingress answers';
like $answer->{content}, qr/The Comedy of Errors/, "with Bookinfo's page";
like $answer->{content}, qr/"reviews": \[/, 'which has reviews';

like paste('call --as sleep GET .*productpage$'), qr{^HTTP/1\.1 200.*The Comedy of Errors}s, 'sleep';
like paste('call --as notsleep'), qr{^HTTP/1\.1 403.*RBAC: access denied}s, 'notsleep';
like paste('explain --from'), qr/productpage-viewer.*\.yaml:\d+/s, 'explain says which policy, and where';
like paste('show routes'), qr/reviews/, 'show routes';

my $figures = $http->get($metrics)->{content};

like $figures, qr/^istio_requests_total\{[^}]*source_workload="sleep"[^}]*response_code="200"/m,
    'the metrics name the workload that called';
like $figures, qr/^istio_requests_total\{[^}]*source_workload="bookinfo-gateway-istio"/m,
    'and the ingress';

my $reviews = slurp("$yaml/reviews.yaml");

ok $reviews =~ s/weight: 90/weight: 0/ && $reviews =~ s/weight: 10/weight: 100/, 'a new split';
spew("$yaml/reviews.yaml", $reviews);
ok wait_for(sub { output() =~ /v1 0 v2 [1-9]\d* v3 0.*reloads [1-9]/ }, 15), 'the share moves'
    or diag output();

# A process and all below it.
sub family {
    my ($parent) = @_;
    my $children = "/proc/$parent/task/$parent/children";

    return $parent, map { family($_) } -e $children ? split ' ', slurp($children) : ();
}

my @family = family($pid);

cmp_ok scalar @family, '>=', 4, 'guard, master and workers are below it';
kill INT => $pid;
ok wait_for(sub { waitpid($pid, WNOHANG) == $pid }, 10), 'Ctrl-C ends it';
is $?, 0, 'with exit code 0';
forget_child($pid);
is join(' ', grep { process_alive($_) } @family), '', 'and leaves no process';

done_testing;
