# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Util - what every other part of the harness needs: waiting for a state with a
# deadline (never for a time), files, the temporary directory of this test, and the list of child
# processes that must not outlive it.
#
# All deadlines are multiplied by TEST_CAIRN_SLOW (for example 5 under valgrind).

package Test::Cairn::Util;

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use File::Path qw(remove_tree);
use File::Temp ();
use POSIX ();
use Time::HiRes ();

our @EXPORT_OK = qw(
    now deadline_in time_left nap wait_for
    slurp spew lines_from
    test_dir keep_test_dir spawn_child forget_child wait_child kill_child process_alive
);

my $SLOW = $ENV{TEST_CAIRN_SLOW} || 1;
my $OWNER = $$;
my $DIR;
my $KEEP = $ENV{TEST_CAIRN_KEEP};
my %CHILD;


# Time, in seconds of the monotonic clock.

sub now {
    return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC());
}

sub deadline_in {
    my ($seconds) = @_;

    return now() + $seconds * $SLOW;
}

sub time_left {
    my ($deadline) = @_;

    my $left = $deadline - now();
    return $left > 0 ? $left : 0;
}

# A short pause between two looks at a state; never a substitute for looking.
sub nap {
    my ($seconds) = @_;

    Time::HiRes::sleep($seconds);
}

# wait_for(sub { ... }, SECONDS = 10): calls the sub until it returns something true, and returns
# that; returns nothing when the deadline has passed.
sub wait_for {
    my ($look, $seconds) = @_;

    my $deadline = deadline_in($seconds // 10);
    my $pause = 0.002;

    while (1) {
        my $seen = $look->();
        return $seen if $seen;
        return if now() >= $deadline;

        nap($pause);
        $pause = $pause * 1.5 if $pause < 0.05;
    }
}


# Files.

sub slurp {
    my ($path) = @_;

    open my $file, '<:raw', $path or croak "cannot read $path: $!";
    local $/;
    my $text = <$file>;
    return $text // '';
}

sub spew {
    my ($path, @text) = @_;

    open my $file, '>:raw', $path or croak "cannot write $path: $!";
    print {$file} @text or croak "cannot write $path: $!";
    close $file or croak "cannot write $path: $!";
    return $path;
}

# lines_from(PATH, OFFSET = 0): the complete lines after OFFSET; none if there is no such file. A
# last line without its newline is still being written and is left out.
sub lines_from {
    my ($path, $offset) = @_;

    open my $file, '<:raw', $path or return;
    seek $file, $offset // 0, 0;
    local $/;
    my $text = <$file> // '';
    $text =~ s/[^\n]*\z//;
    return split /\n/, $text;
}


# The directory of this test process: removed at its end if all went well.

sub test_dir {
    $DIR //= File::Temp::tempdir('cairn-test-XXXXXXXX', TMPDIR => 1, CLEANUP => 0);
    return $DIR;
}

sub keep_test_dir {
    $KEEP = 1;
    return;
}


# Children.

# spawn_child(sub { ... }): forks, runs the sub in the child, and returns the pid. The child never
# returns into the test: it ends with the sub's value as its exit status.
sub spawn_child {
    my ($run) = @_;

    my $pid = fork // croak "cannot fork: $!";

    if ($pid == 0) {
        delete $SIG{__DIE__};
        my $status = eval { $run->() };

        if ($@) {
            print STDERR "child of the test died: $@";
            POSIX::_exit(99);
        }

        POSIX::_exit($status // 0);
    }

    $CHILD{$pid} = 1;
    return $pid;
}

sub forget_child {
    my ($pid) = @_;

    delete $CHILD{$pid};
    return;
}

# wait_child(PID, SECONDS): waits until a child has ended by itself; its status as $? has it.  One
# that has not is killed, and there is none.
sub wait_child {
    my ($pid, $seconds) = @_;

    my $status;
    my $over = wait_for(sub {
        my $ended = waitpid($pid, POSIX::WNOHANG()) == $pid;
        $status = $?;
        return $ended;
    }, $seconds);

    $over ? forget_child($pid) : kill_child($pid);
    return $over ? $status : undef;
}

# Kills a child for good and reaps it.
sub kill_child {
    my ($pid, $signal) = @_;

    return if !delete $CHILD{$pid};

    kill $signal // 'KILL', $pid;
    my $deadline = deadline_in(5);

    while (waitpid($pid, POSIX::WNOHANG()) == 0) {
        if (now() > $deadline) {
            kill 'KILL', $pid;
        }
        nap(0.002);
    }
    return;
}

# True while a process runs; one that is dead but not reaped does not count.
sub process_alive {
    my ($pid) = @_;

    open my $file, '<', "/proc/$pid/stat" or return 0;
    my $line = <$file> // return 0;
    return $line =~ /\)\s+[ZX]\s/ ? 0 : 1;
}

END {
    if ($$ == $OWNER) {
        my $status = $?;

        kill_child($_) for keys %CHILD;

        if (defined $DIR) {
            if ($status != 0 || $KEEP) {
                print STDERR "# the files of this test are in $DIR\n";

            } else {
                remove_tree($DIR);
            }
        }

        $? = $status;
    }
}

1;
