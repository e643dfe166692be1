#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The harness must notice what is wrong with a cairn: here a stand-in (double.pl) does wrong things
# on purpose. And the procedural interface: processes, kills, reloads, expectations that fail.

use FindBin ();
use lib "$FindBin::Bin/../lib";

BEGIN { $ENV{TEST_CAIRN_BINARY} = "$FindBin::Bin/double.pl" }

use Test::Builder ();
use Test::Cairn;
use Test::Cairn::Expect ();

# The problems of a cairn with some fault after it was started and stopped.
sub problems_with {
    my ($fault) = @_;

    my $mesh = Test::Cairn->new(upstreams => { a => {} }, resources => "fault: $fault\n");

    $mesh->daemon->start;
    $mesh->daemon->stop;
    $mesh->{stopped} = 1;
    return join '; ', $mesh->daemon->problems;
}

# The names of the tests that fail in a piece of code, which are not failures of this file.
sub failures_of {
    my ($code) = @_;

    my $quiet = Test::Builder->create;
    my ($out, @failed) = ('');
    $quiet->output(\$out);
    $quiet->failure_output(\$out);

    no warnings 'redefine';
    local *Test::More::is = sub { $quiet->is_eq(@_) or push @failed, $_[2]; return };
    local *Test::More::like = sub { $quiet->like(@_) or push @failed, $_[2]; return };

    $code->();
    return \@failed;
}


is problems_with('none'), '', 'a cairn that does nothing wrong has no problems';
like problems_with('alert'), qr/error\.log: \[alert\] something is wrong/, 'an alert is a problem';
like problems_with('status'), qr/ended with status 4/, 'an exit status other than 0 is a problem';
like problems_with('leave'), qr/processes are left: \d+/, 'a process that is left is a problem';
like problems_with('start'), qr/ended at start with status 3/, 'an end at start is a problem';

{
    local $ENV{TEST_CAIRN_BINARY} = '/nonexistent/cairn';
    like problems_with('none'), qr{there is no program /nonexistent}, 'so is a missing program';
}

my $mesh = Test::Cairn->start(upstreams => "sleep: {client: yes}\nreviews: {}\n",
    bootstrap => 'workers: 1');
my $daemon = $mesh->daemon;

is $daemon->{bootstrap}{workers}, 1, 'the bootstrap file is merged over the defaults';
is $daemon->{bootstrap}{drain_time}, '0s', 'which stay where nothing is said';
is scalar($daemon->worker_pids), 1, 'the worker is found';
is $mesh->request('GET /x')->json->{target}, '/x', 'a request in one line';
is scalar($mesh->tunnels(5, as => 'sleep', to => 'reviews')), 5, 'five tunnels';
is +($mesh->hbone(as => 'sleep')->socket->{socket}->sockhost), $mesh->pod('sleep')->ip,
    "a client that is a pod comes from the pod's address";
like $mesh->reload("kind: New\n"), qr/reload done/, 'a reload is waited for';
ok !defined $mesh->reload(undef, until => qr/never said/, seconds => 0.1), 'within its deadline';

my $response = $mesh->request("as sleep to reviews GET /\nx-a: 1");
my %wrong = (
    'status 404' => '404',
    'x-pod: other' => "200\nx-pod: other",
    'there is no x-pod' => "200\n!x-pod",
    'x-none: /./' => "200\nx-none: /./",
    '@body /zebra/' => "200\n\@body /zebra/",
    'body' => "200\n\nzebra",
    '@size 1' => "2xx\n\@size 1",
);

for my $name (sort keys %wrong) {
    my $failed = failures_of(sub { Test::Cairn::Expect::check_response($response, $wrong{$name}) });
    is_deeply $failed, [$name], "an expectation that is not met fails: $name";
}

my $seen = { pod => 'a', method => 'GET', target => '/', version => 'HTTP/1.1', body => '',
    headers => [['host', 'b']], peer => 'spiffe://x' };
my $text = "b POST /x HTTP/1.0\nhost: a\n!host\n\@peer spiffe://y\n\nbody";
is scalar @{ failures_of(sub { Test::Cairn::Expect::check_seen($seen, $text) }) }, 8,
    'each line about what an upstream saw can fail';

for my $broken ("upstreams: {a: {colour: 1}}", "services: {a: {colour: 1}}") {
    my ($what, $rest) = split /: /, $broken, 2;
    ok !eval { Test::Cairn->new($what => $rest) }, "an unknown key in $what is an error";
    like $@, qr/has no key 'colour'/, 'which names it';
}
ok !eval { Test::Cairn->new(upstreams => { a => { program => [{ colour => 1 }] } }) },
    'in a program too';
ok !eval { $mesh->expand('%%POD_nobody%%') }, 'an expansion of nothing is an error';

my ($low, $high) = binomial_bounds(2000, 0.1);
ok $low > 155 && $low < 157 && $high > 243 && $high < 245, 'the bounds of a tenth of 2,000';

my ($worker) = $daemon->worker_pids;
ok $daemon->kill_hard($worker), 'a worker can be killed';
ok !process_alive($worker), 'and is gone';
$mesh->stop;

done_testing;
