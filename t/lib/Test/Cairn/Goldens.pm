# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Goldens - replays what a real Envoy was seen to do (t/goldens): a cairn that has a
# group's configurations from a control plane, each on a plain listener of its own.
#
#     use Test::Cairn::Goldens qw(replay);
#     replay('a3_paths');
#
# replay(GROUP, only => [ID...]) is one test for each case and a line of counts. TEST_GOLDENS in the
# environment names the only cases, separated by commas.

package Test::Cairn::Goldens;

use strict;
use warnings;

use Cwd ();
use Exporter qw(import);
use File::Basename ();
use IPC::Open2 qw(open2);
use JSON::PP ();
use Test::More ();

use Test::Cairn ();
use Test::Cairn::ControlPlane ();
use Test::Cairn::Net qw(free_port network);
use Test::Cairn::Util qw(kill_child);

our @EXPORT_OK = qw(replay);

my $DIR = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../../../goldens');
my $JSON = JSON::PP->new->utf8->canonical;


sub replay {
    my ($group, %option) = @_;

    my @only = $option{only} ? @{ $option{only} } : split /,/, $ENV{TEST_GOLDENS} // '';
    my $pid = open2(my $from, my $to, '/usr/bin/python3', '-B', "$DIR/replay.py", $group,
        network(), @only);
    my $told = $JSON->decode(<$from> // die "replay.py does not begin\n");
    my %listeners = map { $_ => "127.0.0.1:0" } @{ $told->{services} };
    my $plane;

    my $mesh = Test::Cairn->start(upstreams => {}, services => {}, bootstrap => sub {
        my ($self, $daemon) = @_;

        $plane = Test::Cairn::ControlPlane->start(
            recording => "$DIR/pushes/$group", root => 'mesh', addresses => $told->{addresses}
        );
        $_ = network() . '.1:' . free_port(network() . '.1') for values %listeners;

        my $bootstrap = $plane->bootstrap;
        $bootstrap->{workers} = 1;
        $bootstrap->{listen} = { plaintext => [
            map { { address => $listeners{$_}, service => "golden/c$_:9080" } } sort keys %listeners
        ] };
        return $bootstrap;
    });

    print {$to} $JSON->encode({
        listeners => \%listeners, access_log => $mesh->daemon->log_path('access')
    }), "\n";
    close $to;
    judge($group, $from);
    waitpid $pid, 0;
    Test::More::is($?, 0, "$group: the runner is well");
    $mesh->stop;
    $plane->stop;
    return;
}

sub judge {
    my ($group, $from) = @_;

    my ($done, $asked, $again) = (0, 0, 0);
    my %count;

    while (my $line = <$from>) {
        my $case = $JSON->decode($line);

        if (defined $case->{done}) {
            ($asked, $again) = @{$case}{qw(done again)};
            next;
        }

        my $result = $case->{result};
        my $good = $result !~ /^(?:fail|stale)$/;
        my $listed = $good && $result ne 'pass' ? " # $result: $case->{reason}" : '';

        $count{$result}++;
        $done++;
        Test::More::ok($good, "$group $case->{id}: " . ($case->{title} =~ s/#/\\#/gr) . $listed);
        Test::More::diag("$case->{id} is listed, but differs in nothing any more")
            if $result eq 'stale';
        Test::More::diag(map { "$_: " . $JSON->encode($case->{difference}{$_}) . "\n" }
                sort keys %{ $case->{difference} }) if $result eq 'fail';
    }

    Test::More::is($done, $asked, "$group: all cases were replayed");
    Test::More::note(sprintf '%s: %d passed, %d skipped, %d better; %d were tried twice',
        $group, (map { $count{$_} // 0 } qw(pass skip better)), $again);
    return;
}

1;
