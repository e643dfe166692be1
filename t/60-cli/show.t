#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# `cairn show PAGE -o text|yaml|json`: one document in three forms; text on a terminal.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::Daemon ();

use JSON::PP ();
use YAML::PP ();

my $mesh = Test::Cairn->start(upstreams => <<'Y');
reviews-v1:
sleep: {client: yes}
Y
my @command = (Test::Cairn::Daemon::binary(), '-c', $mesh->daemon->dir . '/cairn.yaml');

sub show { return $mesh->daemon->run_command(@command, 'show', @_) }

# It is ready with one worker.
ok wait_for(sub { (() = show('status')->{out} =~ /"state":\s*"serving"/g) == 2 }, 10), 'both serve';

my %MOVES = map { $_ => 1 } qw(requests active_requests connections tunnels attends);

# What changes from one look to the next is left out.
sub still {
    my ($value) = @_;

    return [map { still($_) } @{$value}] if ref $value eq 'ARRAY';
    return { map { $_ => still($value->{$_}) }
        grep { !$MOVES{$_} && !/_us$|_bytes$/ } keys %{$value} } if ref $value eq 'HASH';
    return JSON::PP::is_bool($value) ? ($value ? 'true' : 'false') : defined $value ? "$value" : 'null';
}

for my $page (qw(status routes clusters config traffic)) {
    subtest $page => sub {
        my $json = show($page);
        my $yaml = show($page, '-o', 'yaml');
        my $text = show('-o', 'text', $page);

        is $_->{status}, 0, 'it is shown' for $json, $yaml, $text;
        is_deeply
            still(YAML::PP->new(boolean => 'JSON::PP', schema => ['JSON'])->load_string($yaml->{out})),
            still(JSON::PP->new->decode($json->{out})), 'yaml has what json has';
        isnt $text->{out}, '', 'text is there';
        unlike $text->{out}, qr/[{}"]/, 'and has no syntax' if $page ne 'config';
    };
}

subtest 'text is for people' => sub {
    my $out = show('status', '-o', 'text')->{out};

    like $out, qr/^version +\d+\.\d+/m, 'what is single stands on a line of its own';
    like $out, qr/^workers\n  worker +pid +state .*\n  0 +\d+ +serving .*\n  1 +\d+ +serving /m,
        'a list is a table';
};

subtest 'text on a terminal' => sub {
    my $line = join ' ', map { quotemeta } @command, 'show', 'status';
    my $out = qx{script -qec \Q$line\E /dev/null 2>/dev/null};

    plan skip_all => 'there is no script(1)' if $? != 0 && $out eq '';
    like $out, qr/^version +\d/m, 'is the default there';
    like show('status')->{out}, qr/^\{/, 'json is it elsewhere';
};

subtest 'another form' => sub {
    my $run = show('status', '-o', 'xml');

    is $run->{status}, 2, 'is not known';
    like $run->{err}, qr/-o text\|yaml\|json/, 'it says which are';
};

$mesh->stop;
done_testing;
