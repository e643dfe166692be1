# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn - tests of cairn from outside: a real cairn, real HBONE on both sides, on loopback.
#
# Data-driven, in a file with blocks after __DATA__:
#
#     use Test::Cairn;
#     run_blocks();
#
# or by hand:
#
#     use Test::Cairn;
#     my $mesh = Test::Cairn->start(upstreams => { 'reviews-v1' => {} });
#     is $mesh->request('as sleep to reviews GET /')->status, 200, 'sleep may';
#     $mesh->stop;
#     done_testing;
#
# An object is one mesh: the upstreams, the resources and a cairn. t/README.md is the manual. `use`
# also brings Test::More, strict and warnings. A mesh that is not stopped is stopped at the end, and
# what was wrong with it fails the test file.

package Test::Cairn;

use strict;
use warnings;

use Carp qw(croak);
use Scalar::Util ();
use Test::More ();
use YAML::PP ();

use Test::Cairn::Blocks ();
use Test::Cairn::CA qw(identity_files spiffe_id root_file);
use Test::Cairn::Daemon ();
use Test::Cairn::H2 qw(h2_frame);
use Test::Cairn::HBONE ();
use Test::Cairn::HTTP2 ();
use Test::Cairn::HTTP1 qw(http1_request http1_chunked);
use Test::Cairn::Load ();
use Test::Cairn::Mesh ();
use Test::Cairn::Request qw(parse_request);
use Test::Cairn::Socket ();
use Test::Cairn::Util qw(
    deadline_in keep_test_dir nap now process_alive slurp spew test_dir wait_for
);

my @EXPORTS = qw(
    run_blocks wait_for now deadline_in slurp spew test_dir process_alive
    identity_files spiffe_id root_file h2_frame http1_request http1_chunked binomial_bounds
);
my %MESH;
my $OWNER = $$;


# use Test::Cairn needs => [MODULE...]: the whole test is skipped in a build without one of them.
sub import {
    my ($class, %option) = @_;

    no strict 'refs';
    my $caller = caller;

    strict->import;
    warnings->import;
    Test::More->export_to_level(1);
    *{"${caller}::$_"} = \&{$_} for @EXPORTS;

    for my $module (@{ $option{needs} // [] }) {
        skip_left_out($module) if grep { $_ eq $module } Test::Cairn::Daemon::left_out();
    }
    return;
}

sub run_blocks {
    Test::Cairn::Blocks::run_blocks(@_);
    return;
}


# Start and stop.

# new(upstreams =>, services =>, bootstrap => (each YAML text or data; bootstrap also a sub that is
# given the object), resources => TEXT, identity => 'ns/sa' of the waypoint, args => [...]): all but
# the processes.
sub new {
    my ($class, %option) = @_;

    my $self = bless {
        mesh => Test::Cairn::Mesh->new(
            upstreams => data_of($option{upstreams}),
            services => data_of($option{services}),
            resources => $option{resources}
        ),
    }, $class;
    my $bootstrap = $option{bootstrap};

    $self->{daemon} = Test::Cairn::Daemon->new(
        resources => $self->{mesh}->files,
        identity => $option{identity},
        args => $option{args},
        bootstrap => sub {
            my ($daemon) = @_;
            return $bootstrap->($self) if ref $bootstrap eq 'CODE';
            return $bootstrap if ref $bootstrap;
            return data_of($self->{mesh}->expand($bootstrap // '', $daemon));
        },
    );

    Scalar::Util::weaken($MESH{ Scalar::Util::refaddr($self) } = $self);
    return $self;
}

sub data_of {
    my ($value) = @_;

    return $value if ref $value;
    return undef if !defined $value || $value !~ /\S/;
    return YAML::PP->new->load_string($value);
}

# start(options of new): also starts the upstreams and cairn, and waits until it is ready; dies if
# it does not come up.
sub start {
    my ($class, %option) = @_;

    my $self = $class->new(%option);

    skip_left_out($self->{daemon}->needs_left_out);
    $self->{mesh}->start;
    return $self if $self->{daemon}->start;

    $self->explain;
    croak join '; ', $self->{daemon}->problems;
}

# skip_left_out(MODULE): ends the test, or the subtest, before its first check, as one skipped.
sub skip_left_out {
    my ($module) = @_;

    Test::More::plan(skip_all => "the module $module is left out of this build")
        if defined $module;
    return;
}

# Stops all, as one test that nothing was wrong.
sub stop {
    my ($self, $signal) = @_;

    return if $self->{stopped}++;

    $self->{daemon}->stop($signal);
    $self->{mesh}->stop;

    my @problems = ($self->{daemon}->problems, $self->bad_records);
    my $well = Test::More::ok(!@problems, 'cairn stopped, and nothing was wrong');

    Test::More::diag($_) for @problems;
    $self->explain if !$well || !Test::More->builder->is_passing;
    return $well;
}

# What upstreams saw that no correct waypoint sends.
sub bad_records {
    my ($self) = @_;

    return if $self->{bad_allowed};
    my @bad;

    for my $pod ($self->pods) {
        $pod->{offset} = 0;
        push @bad, map { $pod->name . " saw: $_->{why}" } $pod->seen('bad');
    }
    return @bad;
}

# A test that provokes such things says so.
sub allow_bad {
    my ($self) = @_;

    $self->{bad_allowed} = 1;
    return;
}

# Shows the ends of the logs.
sub explain {
    my ($self) = @_;

    keep_test_dir();

    for my $which (qw(output error access)) {
        $self->{daemon}{offset} = {};
        my @lines = $self->{daemon}->log_lines($which);
        splice @lines, 0, @lines - 15 if @lines > 15;
        Test::More::diag("$which: $_") for @lines;
    }
    return;
}

END {
    if ($$ == $OWNER) {
        my $status = $?;

        for my $mesh (grep { $_ && !$_->{stopped} } values %MESH) {
            $mesh->{daemon}->stop('INT');
            my @problems = ($mesh->{daemon}->problems, $mesh->bad_records);
            print STDERR "# after the test: $_\n" for @problems;
            $status ||= 1 if @problems;
        }
        $? = $status;
    }
}


# The parts.

sub daemon { return $_[0]{daemon} }
sub mesh { return $_[0]{mesh} }
sub pod { return $_[0]{mesh}->pod($_[1]) }
sub pods { return $_[0]{mesh}->pods }
sub authority { return $_[0]{mesh}->authority($_[1]) }
sub expand { return $_[0]{mesh}->expand($_[1], $_[0]{daemon}) }

# Changes the resources of the test (and others, by file) and waits for the reload.
sub reload {
    my ($self, $resources, %option) = @_;

    my %files = %{ delete $option{files} // {} };

    if (defined $resources) {
        $self->{mesh}{test_text} = $resources;
        %files = (%{ $self->{mesh}->files }, %files);
    }
    return $self->{daemon}->reload(\%files, %option);
}

# All requests that the upstreams have seen since forget(), in their order in time.
sub seen {
    my ($self, $event) = @_;

    my @seen = map { $_->seen($event // 'request') } $self->pods;
    @seen = sort { $a->{time} <=> $b->{time} } @seen;
    return @seen;
}

sub forget { $_[0]{mesh}->forget; return }


# Clients.

# hbone(as => IDENTITY, ...): a connection to the waypoint (options of Test::Cairn::HBONE->connect);
# nothing, and $@, if it is refused. A pod of that name lends its identity and address.
sub hbone {
    my ($self, %option) = @_;

    my $as = $option{as} // 'sleep';
    my ($pod) = grep { $_->name eq $as } $self->pods;

    if ($pod) {
        $option{from} //= $pod->ip;
        $option{as} = $pod->id;
    }
    return Test::Cairn::HBONE->connect(
        as => 'sleep', %option, to => $self->{daemon}->hbone_address
    );
}

# The authority of a CONNECT to a service, or to what is none as it stands.
sub target {
    my ($self, $to) = @_;

    $to //= $self->{mesh}->first_service // croak 'the mesh has no service';
    return exists $self->{mesh}{services}{$to} ? $self->authority($to) : $to;
}

# tunnel(as => IDENTITY, to => SERVICE or AUTHORITY): a tunnel on a connection of its own.
sub tunnel {
    my ($self, %option) = @_;

    my $hbone = $self->hbone(%option) or croak "no HBONE connection: $@";
    return $hbone->tunnel($self->target($option{to}), headers => $option{headers});
}

# tunnels(COUNT, as =>, to =>): so many on one connection, all answered.
sub tunnels {
    my ($self, $count, %option) = @_;

    my $hbone = $self->hbone(%option) or croak "no HBONE connection: $@";
    my @tunnels = map { $hbone->open_tunnel($self->target($option{to})) } 1 .. $count;

    $_->answered for @tunnels;
    return @tunnels;
}

# load(as => IDENTITY, to => SERVICE, options => [...]): the load generator at work on the waypoint.
sub load {
    my ($self, %option) = @_;

    return Test::Cairn::Load->start($self, %option);
}

# An HTTP/1.1 client on the plaintext listener.
sub plain {
    my ($self, %option) = @_;

    my $socket = Test::Cairn::Socket->connect(
        to => $self->{daemon}->plaintext_address, from => $option{from}
    ) or croak "no connection to the plaintext listener: $@";
    return Test::Cairn::HTTP1->new($socket, %option);
}

# The Host for a target where the test gives none.
sub host_of {
    my ($self, $to) = @_;

    $to //= $self->{mesh}->first_service // return 'test';
    return $to if !exists $self->{mesh}{services}{$to};
    return "$to:" . $self->{mesh}->service($to)->{ports}[0]{port};
}

# client_for(REQUEST): the HTTP client that a parsed request asks for.
sub client_for {
    my ($self, $request) = @_;

    my %keep = defined $request->{keep} ? (keep => $request->{keep}) : ();

    return Test::Cairn::HTTP2->new($self->channel_for($request), %keep)
        if $request->{version} eq '2';

    return $self->plain(from => $request->{from}, %keep) if !defined $request->{as};
    return $self->tunnel(Test::Cairn::Request::who_of($request))->http(%keep);
}

# A byte channel to where a parsed request goes.
sub channel_for {
    my ($self, $request) = @_;

    return $self->tunnel(Test::Cairn::Request::who_of($request)) if defined $request->{as};
    return $self->plain(from => $request->{from})->channel;
}

# send_request(HTTP CLIENT, REQUEST): sends a parsed request, without waiting.
sub send_request {
    my ($self, $http, $request) = @_;

    return Test::Cairn::Request::send_h2($http, $request, $self->host_of($request->{to}))
        if $http->isa('Test::Cairn::HTTP2');

    my $bytes = Test::Cairn::Request::bytes_of($request, $self->host_of($request->{to}));

    $http->send_raw($bytes, Test::Cairn::Request::methods_of($request));
    $http->send_body($request->{size}, chunked => $request->{chunked})
        if defined $request->{size};
    return;
}

# request(TEXT, HTTP CLIENT): a request as blocks have it; returns the response. Without a client
# it opens a connection of its own.
sub request {
    my ($self, $text, $http) = @_;

    my $request = parse_request($self->expand($text));

    $http //= $self->client_for($request);
    $self->send_request($http, $request);
    return $http->response(seconds => $request->{seconds} // 10);
}


# binomial_bounds(COUNT, SHARE, SIGMAS = 3.29): between which numbers a share of COUNT falls with
# 99.9 % probability.
sub binomial_bounds {
    my ($count, $share, $sigmas) = @_;

    my $middle = $count * $share;
    my $width = ($sigmas // 3.29) * sqrt($count * $share * (1 - $share));
    return ($middle - $width, $middle + $width);
}

1;
