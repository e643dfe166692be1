#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Stands in for cairn where the harness itself is tested: it takes the same arguments and bootstrap
# file, listens where it is told, and answers every request by itself with an echo of it. Words in
# the resources make it misbehave, so that tests can prove that the harness notices:
#
#     fault: alert         writes an alert       fault: start    ends at start with status 3
#     fault: leave         leaves a process      fault: status   ends with status 4

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/../lib";

use Getopt::Std qw(getopts);
use IO::Handle ();
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
use YAML::PP ();

use Test::Cairn::Net qw(listen_on);
use Test::Cairn::Upstream ();
use Test::Cairn::Util qw(nap process_alive slurp);

getopts('tc:r:p:', \my %option) or exit 2;

my $bootstrap = YAML::PP->new->load_file($option{c});
my ($fault, $log);

sub read_resources {
    my $text = join '', map { slurp($_) } sort glob "$option{r}/*.yaml";

    $fault = $text =~ /^fault: (\w+)/m ? $1 : '';
    return $text;
}

sub say_in_log {
    my ($line) = @_;

    print {$log} "$line\n";
    return;
}

my $text = read_resources();

if ($option{t}) {
    print "checked ", length $text, " bytes\n";
    print STDERR "50-test.yaml:1: broken\n" if $fault eq 'start';
    exit($fault eq 'start' ? 1 : 0);
}

open $log, '>>', $bootstrap->{log}{path} or die "cannot open the log: $!";
$log->autoflush(1);

if ($fault eq 'start') {
    say_in_log('[error] config: "no service"');
    print STDERR "no service\n";
    exit 3;
}

socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";

my $files = $bootstrap->{identity}{files};
my $admin = $bootstrap->{admin};
my @listeners = map {
    my ($kind, $address) = @{$_};
    [$kind, listen_on(split /:/, $address)]
} ['hbone', $bootstrap->{listen}{hbone}], map { ['plain', $_] } $bootstrap->{listen}{plaintext}[0],
    $admin->{status}, $admin->{metrics}[0];

my $worker = fork // die "fork: $!";

if ($worker == 0) {
    $0 = 'cairn: worker 0';
    close $ours if $fault ne 'leave';       # it ends when the other end is closed
    Test::Cairn::Upstream->run(
        pod => {
            name => 'double', ip => '', ports => [], hbone => 1, any_authority => 1,
            identity => $files, program => [
                { match => '/healthz/ready' },
                { match => '/stats/prometheus', body => join "\n", '# TYPE x counter',
                    'x_total{a="1",b="two, or 2"} 5', 'x_total{a="2"} 7', 'y 1.5', '' },
                { match => '/no', status => 403, reason => 'Forbidden',
                    body => 'RBAC: access denied' },
                { echo => 1 },
            ],
        },
        listeners => \@listeners, control => $theirs, file => $bootstrap->{access_log}{path}
    );
    POSIX::_exit(0);
}

close $theirs;
@listeners = ();
$0 = 'cairn: guard';

my %asked;
$SIG{$_} = sub { $asked{ $_[0] } = 1 } for qw(QUIT TERM INT HUP);
say_in_log('[alert] something is wrong') if $fault eq 'alert';

while (!$asked{QUIT} && !$asked{TERM} && !$asked{INT}) {
    nap(0.01);

    if (delete $asked{HUP}) {
        my $length = length read_resources();
        say_in_log("[info] master: reload done: bytes=$length");
    }
}

kill 'TERM', $worker if $fault ne 'leave';
waitpid $worker, 0 if $fault ne 'leave';
exit($fault eq 'status' ? 4 : 0);
