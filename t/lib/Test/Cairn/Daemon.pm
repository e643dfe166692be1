# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::Daemon - a running cairn: its directory, bootstrap file, resources, processes, logs
# and status port.
#
#     DIR/cairn.yaml  DIR/resources/*.yaml  DIR/error.log  DIR/access.log
#     DIR/output, which has standard output and error
#
# The program is $TEST_CAIRN_BINARY or objs/cairn. A stop checks that it ends with status 0, that
# no process is left, and that nothing in the logs says alarm; problems() tells what was wrong.

package Test::Cairn::Daemon;

use strict;
use warnings;

use Carp qw(croak);
use Cwd ();
use File::Basename ();
use POSIX ();
use YAML::PP ();

use Test::Cairn::CA qw(identity_files);
use Test::Cairn::HBONE ();
use Test::Cairn::HTTP1 ();
use Test::Cairn::Net qw(free_port waypoint_address);
use Test::Cairn::Socket ();
use Test::Cairn::Util qw(
    deadline_in forget_child kill_child lines_from now process_alive slurp spawn_child spew wait_child
    test_dir wait_for
);

my $ALARM = qr/\[alert\]|\[emerg\]|\bBUG\b|AddressSanitizer|LeakSanitizer|runtime error/;
my $ROOT = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../../../..');
my $NUMBER = 0;


sub binary {
    return $ENV{TEST_CAIRN_BINARY} // "$ROOT/objs/cairn";
}

# left_out(): the modules that the build leaves out; their tests are skipped.
my $LEFT_OUT;

sub left_out {
    $LEFT_OUT //= [-x binary() ? qx{\Q@{[binary()]}\E -v} =~ /^without module: (\w+)/mg : ()];
    return @{$LEFT_OUT};
}

# The module that its configuration needs and the build leaves out, if any: the program says so.
sub needs_left_out {
    my ($self) = @_;

    return if !left_out();
    return $self->run('-t')->{err} =~ /needs the module (\w+), which/ ? $1 : ();
}

# new(resources => { FILE => TEXT }, bootstrap => sub { DAEMON } that returns what is merged over
# the defaults, identity => 'ns/sa', args => [...]): the directory and the files of a cairn; start()
# runs it.
sub new {
    my ($class, %option) = @_;

    my $dir = test_dir() . '/cairn-' . ++$NUMBER;
    my $address = waypoint_address();
    my $self = bless {
        dir => $dir, address => $address, args => $option{args} // [], problems => [], offset => {},
        port => { map { $_ => free_port($address) } qw(HBONE PLAINTEXT STATUS METRICS ADMIN) },
    }, $class;

    mkdir $dir or croak "cannot make $dir: $!";
    mkdir "$dir/resources";

    my $over = $option{bootstrap} ? $option{bootstrap}->($self) : {};
    my $defaults = $self->defaults($option{identity} // 'default/waypoint');
    $self->{bootstrap} = merge($defaults, $over // {});
    spew("$dir/cairn.yaml", YAML::PP->new->dump_string($self->{bootstrap}));
    $self->write_resources($option{resources} // {});

    return $self;
}

sub defaults {
    my ($self, $identity) = @_;

    my ($dir, $address, $port) = @{$self}{qw(dir address port)};
    my $files = identity_files($identity);

    return {
        workers => 2,
        log => { path => "$dir/error.log", level => 'info' },
        access_log => {
            path => (grep { $_ eq 'access_log' } left_out()) ? 'off' : "$dir/access.log",
            format => 'istio'
        },
        pid => "$dir/cairn.pid",
        drain_time => '0s',
        source => { files => "$dir/resources", watch => 'no' },
        identity => { files => {
            certificate => $files->{certificate}, key => $files->{key}, root => $files->{root}
        } },
        listen => {
            hbone => "$address:$port->{HBONE}", plaintext => ["$address:$port->{PLAINTEXT}"]
        },
        admin => {
            address => "$address:$port->{ADMIN}", status => "$address:$port->{STATUS}",
            metrics => ["$address:$port->{METRICS}"]
        },
    };
}

# Mappings are merged, anything else replaces; a null takes the key away.
sub merge {
    my ($base, $over) = @_;

    return $over if ref $base ne 'HASH' || ref $over ne 'HASH';

    my %merged = %{$base};

    for my $key (keys %{$over}) {
        if (defined $over->{$key}) {
            $merged{$key} = merge($merged{$key}, $over->{$key});

        } else {
            delete $merged{$key};
        }
    }
    return \%merged;
}

# write_resources({ FILE => TEXT or undef }): writes or removes files of the resources directory,
# each of them at once.
sub write_resources {
    my ($self, $files) = @_;

    for my $name (sort keys %{$files}) {
        my $path = "$self->{dir}/resources/$name";

        if (defined $files->{$name}) {
            spew("$path.new", $files->{$name});
            rename "$path.new", $path or croak "cannot rename $path: $!";

        } else {
            unlink $path;
        }
    }
    return;
}

sub dir { return $_[0]{dir} }
sub address { return $_[0]{address} }
sub port { return $_[0]{port}{ $_[1] } // croak("no port $_[1]") }
sub hbone_address { return "$_[0]{address}:$_[0]{port}{HBONE}" }
sub plaintext_address { return "$_[0]{address}:$_[0]{port}{PLAINTEXT}" }


# Start.

sub command_line {
    my ($self, @more) = @_;

    my $dir = $self->{dir};
    my @wrap = $ENV{TEST_CAIRN_USE_VALGRIND} ? qw(valgrind -q --trace-children=yes) : ();

    my @resources = exists $self->{bootstrap}{source}{files} ? ('-r', "$dir/resources") : ();

    return (@wrap, binary(), '-c', "$dir/cairn.yaml", @resources, '-p', $dir, @{ $self->{args} },
        @more);
}

sub exec_with_output {
    my ($self, $out, $err, @command) = @_;

    POSIX::setsid();
    open STDIN, '<', '/dev/null' or die "cannot open /dev/null: $!";
    open STDOUT, '>>', $out or die "cannot append to $out: $!";
    open STDERR, '>>', $err or die "cannot append to $err: $!";
    chdir '/' or die "cannot chdir: $!";

    local $ENV{ASAN_OPTIONS} = $ENV{ASAN_OPTIONS} // 'abort_on_error=1:detect_leaks=1';
    local $ENV{UBSAN_OPTIONS} = $ENV{UBSAN_OPTIONS} // 'print_stacktrace=1';
    exec { $command[0] } @command or die "cannot run $command[0]: $!";
}

# run(ARGS): runs the program once in the foreground with the same files and these arguments more
# (-t, -T, -s ...); returns { status, signal, out, err }.
sub run {
    my ($self, @more) = @_;

    return $self->run_command($self->command_line(@more));
}

# run_command(COMMAND): the same for a whole command line of another form (cairn show ...).
sub run_command {
    my ($self, @command) = @_;

    my ($out, $err) = map { "$self->{dir}/run.$_" } qw(out err);
    unlink $out, $err;

    my $pid = spawn_child(sub { $self->exec_with_output($out, $err, @command) });
    my $status = wait_child($pid, 30);

    return {
        status => defined $status ? $status >> 8 : 'timeout',
        signal => defined $status ? $status & 127 : 9,
        out => slurp($out), err => slurp($err)
    };
}

# Starts it and waits until it is ready. False if it ended or is not ready in time; then problems()
# says so and exit_status() tells how it ended.
sub start {
    my ($self, %option) = @_;

    my $output = "$self->{dir}/output";
    my @command = $self->command_line;

    if (!-x binary()) {
        push @{ $self->{problems} }, 'there is no program ' . binary();
        return 0;
    }

    delete $self->{exit_status};
    $self->{pid} = spawn_child(sub { $self->exec_with_output($output, $output, @command) });

    my $ready = wait_for(sub { $self->exited || $self->ready }, $option{seconds} // 15);
    return 1 if $ready && defined $self->{pid};

    push @{ $self->{problems} }, $ready ? "cairn ended at start with status $self->{exit_status}"
        : 'cairn is not ready in time';
    return 0;
}

# True if the guard has ended by itself; reaps it.
sub exited {
    my ($self) = @_;

    my $pid = $self->{pid} // return 1;
    return 0 if waitpid($pid, POSIX::WNOHANG()) != $pid;

    $self->{exit_status} = $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
    forget_child($pid);
    delete $self->{pid};
    return 1;
}

sub exit_status { return $_[0]{exit_status} }

# Waits until it has ended, and returns the exit status.
sub wait_exit {
    my ($self, $seconds) = @_;

    wait_for(sub { $self->exited }, $seconds // 10);
    return $self->{exit_status};
}

sub ready {
    my ($self) = @_;

    my $response = $self->http_get('STATUS', '/healthz/ready', 1);
    return $response && $response->status == 200;
}

# http_get(PORT NAME, PATH, SECONDS, HOST): a response of one of its own HTTP ports, or nothing.
sub http_get {
    my ($self, $name, $path, $seconds, $host) = @_;

    my $to = "$self->{address}:" . $self->port($name);
    my $socket = Test::Cairn::Socket->connect(to => $to) or return;
    my $response = Test::Cairn::HTTP1->new($socket, keep => 1 << 28)->request(
        GET => $path, headers => [['host', $host // $to], ['connection', 'close']],
        seconds => $seconds // 10
    );
    $socket->close;
    return $response;
}


# Processes.

sub pid { return $_[0]{pid} }

# All processes under the guard: pid => command line.
sub processes {
    my ($self) = @_;

    my (%parent, %found);
    my $guard = $self->{pid} // return {};

    for my $path (glob '/proc/[0-9]*/stat') {
        open my $file, '<', $path or next;
        my $line = <$file> // next;
        $parent{$1} = $2 if $line =~ /^(\d+) \(.*\) [^ZX] (\d+) /s;
    }

    my @row = ($guard);

    while (defined(my $pid = shift @row)) {
        my $line = -e "/proc/$pid/cmdline" ? eval { slurp("/proc/$pid/cmdline") } // '' : '';
        $line =~ tr/\0/ /;
        $found{$pid} = $line;
        push @row, grep { $parent{$_} == $pid } keys %parent;
    }
    return \%found;
}

sub pids_like {
    my ($self, $pattern) = @_;

    my $processes = $self->processes;
    delete $processes->{ $self->{pid} // 0 };
    my @pids = sort { $a <=> $b } grep { $processes->{$_} =~ $pattern } keys %{$processes};
    return @pids;
}

sub master_pid { return ($_[0]->pids_like(qr/\bmaster\b/))[0] }
sub worker_pids { return $_[0]->pids_like(qr/\bworker\b/) }

sub signal {
    my ($self, $signal, $pid) = @_;

    kill $signal, $pid // $self->{pid} // croak 'cairn does not run';
    return;
}

# kill_hard(PID): kill -9 of a master or worker; waits until it is gone.
sub kill_hard {
    my ($self, $pid) = @_;

    kill 'KILL', $pid;
    return wait_for(sub { !process_alive($pid) }, 5);
}

# Memory of all its processes in KiB (PSS).
sub memory_kib {
    my ($self, @pids) = @_;

    my $sum = 0;

    for my $pid (@pids ? @pids : keys %{ $self->processes }) {
        my $text = eval { slurp("/proc/$pid/smaps_rollup") } // '';
        $sum += $1 if $text =~ /^Pss:\s+(\d+)/m;
    }
    return $sum;
}

# reload(FILES): writes resources, sends HUP, and waits until the reload is over: the error log has
# a line more that matches `until` (default: that the reload is done, failed, or changes nothing).
# Returns that line, nothing if none came in time.
sub reload {
    my ($self, $files, %option) = @_;

    my $until = $option{until} // qr/\breload(?:ed|\b.*\b(?:done|complete|unchanged|failed))/;
    my $offset = -s $self->log_path('error') // 0;

    $self->write_resources($files // {});
    $self->signal('HUP');

    return wait_for(sub {
        my ($line) = grep { $_ =~ $until } lines_from($self->log_path('error'), $offset);
        return $line;
    }, $option{seconds} // 10);
}


# Stop.

# stop(SIGNAL = QUIT): ends it and checks its end. What was wrong is added to problems().
sub stop {
    my ($self, $signal) = @_;

    return if !defined $self->{pid};

    my @pids = keys %{ $self->processes };
    my $group = $self->{pid};

    kill $signal // $ENV{TEST_CAIRN_STOP} // 'QUIT', $self->{pid};

    if (!wait_for(sub { $self->exited }, 15)) {
        push @{ $self->{problems} }, 'cairn does not stop';
        kill 'KILL', -$group, @pids;
        kill_child(delete $self->{pid});
        return;
    }

    push @{ $self->{problems} }, "cairn ended with status $self->{exit_status}"
        if $self->{exit_status} ne '0';

    if (!wait_for(sub { !grep { process_alive($_) } @pids }, 5)) {
        my @left = grep { process_alive($_) } @pids;
        push @{ $self->{problems} }, "processes are left: @left";
        kill 'KILL', -$group, @left;
    }
    return;
}

# What was wrong so far: with the process, or with the lines of its logs.
sub problems {
    my ($self) = @_;

    my @lines;

    for my $path ($self->log_path('error'), "$self->{dir}/output") {
        push @lines, map { "$path: $_" } grep { /$ALARM/ && !$self->is_expected($_) }
            lines_from($path);
    }
    return (@{ $self->{problems} }, @lines[0 .. ($#lines > 9 ? 9 : $#lines)]);
}

# expect_alarm(REGEX): lines of the log that the test provokes are no problem.
sub expect_alarm {
    my ($self, $pattern) = @_;

    push @{ $self->{expected} }, $pattern;
    return;
}

sub is_expected {
    my ($self, $line) = @_;

    return scalar grep { $line =~ $_ } @{ $self->{expected} // [] };
}

# Problems that a test has expected are struck off.
sub forgive {
    my ($self) = @_;

    $self->{problems} = [];
    return;
}

sub DESTROY {
    my ($self) = @_;

    $self->stop('INT') if defined $self->{pid};
    return;
}


# Logs and metrics.

sub log_path {
    my ($self, $which) = @_;

    return "$self->{dir}/$which.log";
}

# log_lines('error' | 'access' | 'output'): the lines since the last log_mark.
sub log_lines {
    my ($self, $which) = @_;

    my $path = $which eq 'output' ? "$self->{dir}/output" : $self->log_path($which);
    return lines_from($path, $self->{offset}{$which});
}

sub log_mark {
    my ($self) = @_;

    $self->{offset}{$_} = -s $self->log_path($_) // 0 for qw(error access);
    $self->{offset}{output} = -s "$self->{dir}/output" // 0;
    return;
}

# wait_log(WHICH, PATTERN, SECONDS = 5): the first line since the mark that matches.
sub wait_log {
    my ($self, $which, $pattern, $seconds) = @_;

    return wait_for(sub { (grep { $_ =~ $pattern } $self->log_lines($which))[0] }, $seconds // 5);
}

# metrics(): all samples, 'name{label="value",...}' => number, the labels sorted.
sub metrics {
    my ($self) = @_;

    my $response = $self->http_get('METRICS', '/stats/prometheus') // return {};
    my %sample;

    for my $line (split /\n/, $response->body) {
        next if $line =~ /^#/;
        my ($name, $labels, $value) = $line =~ /^(\w[\w:]*)(?:\{(.*)\})? ([-+.\w]+)/ or next;
        my @labels = sort(($labels // '') =~ /(\w+="(?:[^"\\]|\\.)*")/g);
        $sample{ $name . (@labels ? '{' . join(',', @labels) . '}' : '') } = $value;
    }
    return \%sample;
}

# metric('name{label="value"}'): the sum of all samples that have that name and these labels.
sub metric {
    my ($self, $selector, $metrics) = @_;

    $metrics //= $self->metrics;
    my ($name, $labels) = $selector =~ /^(\w[\w:]*)(?:\{(.*)\})?$/
        or croak "not a metric: $selector";
    my @labels = ($labels // '') =~ /(\w+="(?:[^"\\]|\\.)*")/g;
    my $sum = 0;

    SAMPLE: for my $sample (keys %{$metrics}) {
        next if $sample !~ /^\Q$name\E(?:\{|$)/;

        for my $label (@labels) {
            next SAMPLE if $sample !~ /[{,]\Q$label\E[,}]/;
        }
        $sum += $metrics->{$sample};
    }
    return $sum;
}

1;
