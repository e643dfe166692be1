# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Blocks - runs the blocks of a test file (Test::Base reads them).
#
# A block is one subtest. The sections `resources`, `services`, `upstreams` and `bootstrap` stay in
# force for the blocks after it until they are given anew; then the mesh is started afresh, or, with
# the section `reload`, cairn is told to reload. What a section means is in t/README.md; one that
# nobody knows is an error, because a misspelt section would test nothing.

package Test::Cairn::Blocks;

use strict;
use warnings;

use Carp qw(croak);
use Test::More ();

use Test::Cairn::Expect qw(check_response check_seen check_tunnel same);
use Test::Cairn::Request qw(parse_request split_items);
use Test::Cairn::Util qw(wait_for);

# Test::Base would compare the first two sections of all blocks at the end, and takes over die.
BEGIN {
    require Test::Base;
    Test::Base->import;
    Test::Builder::plan(Test::More->builder);
    delete $SIG{__DIE__};
}

my @LASTING = qw(resources services upstreams bootstrap);
my %SECTION = map { $_ => 1 } @LASTING, qw(
    reload request requests pipelined keepalive repeat shares expect upstream_saw error_log
    no_error_log access_log no_access_log metrics run exit_code stdout stderr seconds allow_bad
);

my %lasting;
my $mesh;
my $afresh;      # what runs is of a block before the last: that one was skipped


sub run_blocks {
    my ($spec) = @_;

    Test::Base::spec_string($spec) if defined $spec;
    my @blocks = Test::Base::blocks();
    croak 'there are no blocks' if !@blocks;

    run_block($_) for @blocks;

    $mesh->stop if $mesh;
    undef $mesh;
    Test::More::done_testing();
    return;
}

# The text of a section, undefined if the block has none.
sub section {
    my ($block, $name) = @_;

    return exists $block->{$name} ? $block->{$name}[0] // '' : undef;
}

sub run_block {
    my ($block) = @_;

    for my $name (grep { !/^(?:ONLY|SKIP|LAST)$/ } @{ $block->{_section_order}[0] }) {
        croak "block '" . $block->name . "' has an unknown section '$name'" if !$SECTION{$name};
    }

    my $changed = !$mesh || $afresh;

    $afresh = 0;

    for my $name (grep { defined section($block, $_) } @LASTING) {
        $changed = 1 if section($block, $name) ne ($lasting{$name} // '');
        $lasting{$name} = section($block, $name);
    }

    Test::More::subtest($block->name, sub {
        skip_left_out($changed);

        my $runs = prepare($block, $changed);
        my $growth = (section($block, 'metrics') // '') =~ /\s\+\d/;

        $block->{before} = [$mesh->daemon->metrics] if $runs && $growth;
        exchange($block) if $runs;
        check_afterwards($block) if $mesh;
    });
    return;
}


# A block whose configuration needs what the build leaves out is skipped; the next one starts afresh.
sub skip_left_out {
    my ($changed) = @_;

    return if !Test::Cairn::Daemon::left_out();

    my $asked = Test::Cairn->new(%lasting);
    my $module = $asked->daemon->needs_left_out;

    $asked->{stopped} = 1;
    $afresh = 1 if $changed && $module;
    Test::Cairn::skip_left_out($module);
    return;
}

# Brings the mesh into the state that the block asks for. True if cairn runs then.
sub prepare {
    my ($block, $changed) = @_;

    return run_once($block) if defined section($block, 'run');

    if ($changed && defined section($block, 'reload') && $mesh) {
        $mesh->daemon->log_mark;
        $mesh->forget;
        return Test::More::ok($mesh->reload($lasting{resources}), 'cairn has reloaded');
    }

    if ($changed) {
        $mesh->stop if $mesh;
        $mesh = Test::Cairn->new(%lasting);
        $mesh->mesh->start;
        return start_fails($block) if defined section($block, 'exit_code');

        if (!$mesh->daemon->start) {
            $mesh->stop;
            undef $mesh;
            return 0;
        }
    }

    $mesh->allow_bad if defined section($block, 'allow_bad');
    $mesh->daemon->log_mark;
    $mesh->forget;
    return 1;
}

# `--- run: ARGUMENTS`: one run of the program to its end.
sub run_once {
    my ($block) = @_;

    my $own = Test::Cairn->new(%lasting);
    my $run = $own->daemon->run(split ' ', $own->expand(section($block, 'run')));

    Test::More::is($run->{status}, section($block, 'exit_code') // 0, 'exit status');
    check_output($own, $run->{out}, section($block, 'stdout'), 'stdout');
    check_output($own, $run->{err}, section($block, 'stderr'), 'stderr');
    $own->{stopped} = 1;
    return 0;
}

# `--- exit_code: N` without `run`: cairn ends by itself at its start.
sub start_fails {
    my ($block) = @_;

    my $daemon = $mesh->daemon;

    Test::More::ok(!$daemon->start, 'cairn does not start');
    Test::More::is($daemon->exit_status, section($block, 'exit_code'), 'exit status');
    check_output($mesh, join("\n", $daemon->log_lines('output')), section($block, 'stderr'),
        'stderr');
    check_logs($block, 'error_log', 'error');
    $daemon->forgive;
    $mesh->stop;
    undef $mesh;
    return 0;
}

sub check_output {
    my ($of, $text, $wanted, $name) = @_;

    return if !defined $wanted;

    for my $line (grep { /\S/ } split /\n/, $of->expand($wanted)) {
        Test::More::like($text, pattern_of($line), "$name: $line");
    }
    return;
}

# A line of a log section: /regex/, or a text that must be in it.
sub pattern_of {
    my ($line) = @_;

    $line =~ s/\s+$//;
    return $line =~ m{^/(.*)/$} ? qr/$1/ : qr/\Q$line\E/;
}


# Requests and responses.

sub exchange {
    my ($block) = @_;

    my $text = section($block, 'request') // section($block, 'requests');
    return if !defined $text;

    my @requests = map { parse_request($mesh->expand($_)) } split_items($text);
    my @expected = split_items($mesh->expand(section($block, 'expect') // ''));

    return repeat_requests($block, \@requests) if defined section($block, 'repeat');

    croak @requests . ' requests, but ' . @expected . ' expectations'
        if @expected && @expected != @requests;

    if (defined section($block, 'pipelined')) {
        pipeline(\@requests, \@expected);

    } else {
        one_by_one(\@requests, \@expected, defined section($block, 'keepalive'));
    }

    check_seen_requests(section($block, 'upstream_saw'));
    return;
}

sub one_by_one {
    my ($requests, $expected, $keepalive) = @_;

    my $http;

    for my $number (0 .. $#{$requests}) {
        my $request = $requests->[$number];

        Test::More::note("request $number: $request->{method} $request->{target}");

        if ($request->{method} eq 'CONNECT' && defined $request->{as}) {
            my %who = Test::Cairn::Request::who_of($request);
            my $tunnel = $mesh->tunnel(
                %who, to => $request->{target}, headers => $request->{headers}
            );
            check_tunnel($tunnel, $expected->[$number] // '200');
            next;
        }

        $http = $mesh->client_for($request) if !$http || !$keepalive;
        $mesh->send_request($http, $request);

        my $response = $http->response(seconds => $request->{seconds} // 10);
        check_response($response, $expected->[$number]) if defined $expected->[$number];
    }
    return;
}

# All requests in one write, then all responses in their order.
sub pipeline {
    my ($requests, $expected) = @_;

    my $http = $mesh->client_for($requests->[0]);
    my $bytes = join '', map {
        Test::Cairn::Request::bytes_of($_, $mesh->host_of($_->{to}))
    } @{$requests};

    $http->send_raw($bytes, map { Test::Cairn::Request::methods_of($_) } @{$requests});

    for my $number (0 .. $#{$requests}) {
        my $response = $http->response(seconds => $requests->[$number]{seconds} // 10);
        check_response($response, $expected->[$number]) if defined $expected->[$number];
    }
    return;
}

# `--- repeat: N`: each request N times over one connection; the statuses must be those expected,
# and `--- shares` says which pods answer how often.
sub repeat_requests {
    my ($block, $requests) = @_;

    my $times = section($block, 'repeat');
    my $shares = section($block, 'shares');
    my $wanted = section($block, 'expect') // '200';
    my (%status, %pod);

    $wanted =~ s/\s//g;

    for my $request (@{$requests}) {
        my $http = $mesh->client_for($request);

        for (1 .. $times) {
            $mesh->send_request($http, $request);
            my $response = $http->response(seconds => $request->{seconds} // 10);
            $status{ $response->error || $response->status }++;
            $pod{ $response->header('x-pod') // '-' }++;
            last if !$response->complete;
        }
    }

    my $count = $times * @{$requests};
    Test::More::is_deeply(\%status, { $wanted => $count }, "$count times $wanted");
    check_shares($count, \%pod, $shares) if defined $shares;
    return;
}

sub check_shares {
    my ($count, $pod, $shares) = @_;

    for my $line (grep { /\S/ } split /\n/, $shares) {
        my ($name, $percent) = $line =~ /^(\S+)\s+([\d.]+)%\s*$/ or croak "not a share: $line";
        my ($low, $high) = Test::Cairn::binomial_bounds($count, $percent / 100);
        my $got = $pod->{$name} // 0;

        Test::More::ok($got >= $low && $got <= $high,
            sprintf '%s has %d of %d: %s %%', $name, $got, $count, $percent);
    }
    return;
}

sub check_seen_requests {
    my ($text) = @_;

    return if !defined $text;

    if ($text =~ /^\s*nothing\s*$/) {
        my @seen = $mesh->seen;
        Test::More::is(scalar @seen, 0, 'no upstream was asked');
        return;
    }

    my @wanted = split_items($mesh->expand($text));
    my @seen;
    wait_for(sub { (@seen = $mesh->seen) >= @wanted }, 5);

    Test::More::is(scalar @seen, scalar @wanted, 'the number of requests that upstreams saw');

    for my $number (0 .. ($#seen < $#wanted ? $#seen : $#wanted)) {
        check_seen($seen[$number], $wanted[$number]);
    }
    return;
}


# Logs and metrics, when all is done.

sub check_afterwards {
    my ($block) = @_;

    check_logs($block, 'error_log', 'error');
    check_logs($block, 'access_log', 'access') if is_built('access_log', $block, 'access_log');
    check_no_logs($block, 'no_error_log', 'error');
    check_no_logs($block, 'no_access_log', 'access');
    check_metrics($block)
        if defined section($block, 'metrics') && is_built('metrics', $block, 'metrics');
    return;
}

# Whether a section can be checked in this build; if not, it is one skipped test.
sub is_built {
    my ($module, $block, $section) = @_;

    return 1 if !defined section($block, $section)
        || !grep { $_ eq $module } Test::Cairn::Daemon::left_out();

    SKIP: { Test::More::skip("the module $module is left out of this build", 1) }
    return 0;
}

sub log_patterns {
    my ($block, $name) = @_;

    return grep { /\S/ } split /\n/, $mesh->expand(section($block, $name) // '');
}

sub check_logs {
    my ($block, $name, $which) = @_;

    for my $line (log_patterns($block, $name)) {
        my $found = $mesh->daemon->wait_log($which, pattern_of($line));

        Test::More::ok(defined $found, "$name: $line")
            or Test::More::diag(map { "$_\n" } 'it has:', $mesh->daemon->log_lines($which));
    }
    return;
}

sub check_no_logs {
    my ($block, $name, $which) = @_;

    for my $line (log_patterns($block, $name)) {
        my $pattern = pattern_of($line);
        my ($found) = grep { $_ =~ $pattern } $mesh->daemon->log_lines($which);

        Test::More::is($found, undef, "$name: $line");
    }
    return;
}

# `--- metrics`: lines `name{label="value"} N`, or +N for the growth since the block began.
sub check_metrics {
    my ($block) = @_;

    for my $line (grep { /\S/ } split /\n/, $mesh->expand(section($block, 'metrics'))) {
        my ($selector, $plus, $wanted) = $line =~ /^(\S.*?)\s+(\+?)(\d+(?:\.\d+)?)\s*$/
            or croak "not a metric: $line";
        my $start = $plus ? $mesh->daemon->metric($selector, $block->{before}[0]) : 0;
        my $got;

        wait_for(sub {
            $got = $mesh->daemon->metric($selector) - $start;
            return $got == $wanted;
        }, 5);
        Test::More::is($got, $wanted, "$selector $plus$wanted");
    }
    return;
}

1;
