#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# As process 1 of a container: it hears signals that have no default there, and reaps what others
# have left behind.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

use POSIX ();
use Test::Cairn::Util qw(slurp spawn_child wait_child);

my @unshare = ('unshare', $< == 0 ? () : '-Ur', qw(--pid --fork --kill-child));

plan skip_all => 'no PID namespaces here' if system("@unshare true 2>/dev/null") != 0;

my $mesh = Test::Cairn->start(upstreams => "reviews-v1:\n", bootstrap => 'drain_time: 1s');
my $daemon = $mesh->daemon;
my @command = $daemon->command_line;

$daemon->stop('INT');

# The children of a process: [pid, state, name].
sub children {
    my ($parent) = @_;
    my @found;

    for my $path (glob '/proc/[0-9]*/stat') {
        open my $file, '<', $path or next;
        my $line = <$file> // next;
        push @found, [$1, $3, $2] if $line =~ /^(\d+) \((.*)\) (\S) $parent /s;
    }

    return @found;
}

# A shell that leaves a child to process 1, which it then becomes.
my $outer = spawn_child(sub {
    $daemon->exec_with_output(("$daemon->{dir}/output") x 2, @unshare, 'sh', '-c',
        '(sleep 1 &); exec "$@"', 'sh', @command);
});

ok wait_for(sub { $daemon->ready }, 15), 'it serves';

my ($guard) = map { $_->[0] } children($outer);

is slurp("$daemon->{dir}/cairn.pid"), "1\n", 'as process 1';
ok wait_for(sub { grep { $_->[2] eq 'sleep' } children($guard) }, 5), 'it has been left a child'
    or diag join ' ', map { "@$_" } children($guard);
ok wait_for(sub { !grep { $_->[2] eq 'sleep' } children($guard) }, 5), 'which it reaps';
ok $daemon->ready, 'and serves on';

kill 'TERM', $guard;

my $status = wait_child($outer, 10);

ok defined $status, 'TERM ends it';
is $status, 0, 'with status 0';

done_testing;
