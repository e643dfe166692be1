#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Connections cut at every byte: a recorded HBONE session of a client, its TLS handshake, and what
# an HBONE upstream answers. Nothing breaks, nothing is left, and no answer that was cut looks
# whole. LONG=1 tries every way of each.

use FindBin ();
use lib "$FindBin::Bin/../lib";

use IO::Poll qw(POLLIN);
use IO::Socket::INET ();
use Net::SSLeay ();
use Socket qw(SOL_SOCKET SO_LINGER SHUT_WR);
use Test::Cairn;
use Test::Cairn::H2 ();

my $AT_ONCE = 40;
my $BODY = "what must arrive whole";

my $services = <<'Y';
reviews:
chunked:
sized:
closing:
framed: {protocol: http2}
Y

my $mesh = Test::Cairn->start(
    upstreams => <<"Y", services => $services, bootstrap => 'workers: 1');
reviews-v1: {program: {body: "$BODY"}}
chunked-v1: {program: {body: "$BODY", chunked: 7}}
sized-v1: {program: {body: "$BODY"}}
closing-v1: {program: {body: "$BODY", until_close: yes}}
framed-v1: {program: {body: "$BODY", trailers: {x-after: it}}}
sleep: {client: yes}
Y
my $daemon = $mesh->daemon;
my @ANSWERING = qw(chunked sized closing framed);


# What must be as it was before.

sub worker_fds {
    my ($pid) = $daemon->worker_pids;
    my @fds = glob "/proc/$pid/fd/*";

    return scalar @fds;
}

for my $service ('reviews', @ANSWERING) {
    is $mesh->request("as sleep to $service GET /")->body, $BODY, "$service answers";
}
ok wait_for(sub { $daemon->metric('cairn_worker_connections') == 0 }), 'and all clients are gone';

my ($worker) = $daemon->worker_pids;
my $fds = worker_fds();

sub as_before {
    my ($what) = @_;

    for my $metric (qw(active_requests tunnels connections)) {
        ok wait_for(sub { $daemon->metric("cairn_worker_$metric") == 0 }),
            "$what: $metric are 0 again" or diag $daemon->metric("cairn_worker_$metric");
    }
    is(($daemon->worker_pids)[0], $worker, "$what: the worker is the same");
    ok wait_for(sub { worker_fds() <= $fds }), "$what: no descriptor is left"
        or diag worker_fds() . " and not $fds";
    is $mesh->request('as sleep to reviews GET /')->body, $BODY, "$what: a request is served";
    return;
}


# A TLS client in memory: what is sent, and how much of it, is the test's to say.

my $identity = Test::Cairn::identity_files('sleep');
my $context = Net::SSLeay::CTX_new_with_method(Net::SSLeay::TLS_client_method());
Net::SSLeay::CTX_use_certificate_chain_file($context, $identity->{certificate}) or die 'certificate';
Net::SSLeay::CTX_use_PrivateKey_file($context, $identity->{key}, Net::SSLeay::FILETYPE_PEM())
    or die 'key';
Net::SSLeay::CTX_set_min_proto_version($context, Net::SSLeay::TLS1_3_VERSION());
Net::SSLeay::CTX_set_alpn_protos($context, ['h2']);

sub tls_client {
    my $ssl = Net::SSLeay::new($context);
    my ($in, $out) = map { Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem()) } 1 .. 2;

    Net::SSLeay::set_bio($ssl, $in, $out);
    Net::SSLeay::set_connect_state($ssl);
    return { ssl => $ssl, in => $in, out => $out };
}

sub tls_output {
    my ($tls) = @_;

    my $bytes = '';
    $bytes .= Net::SSLeay::BIO_read($tls->{out}) while Net::SSLeay::BIO_pending($tls->{out}) > 0;
    return $bytes;
}

sub handshake {
    my ($tls, $bytes) = @_;

    Net::SSLeay::BIO_write($tls->{in}, $bytes) if $bytes ne '';
    Net::SSLeay::do_handshake($tls->{ssl});
    Net::SSLeay::ERR_clear_error();
    return tls_output($tls);
}


# A connection that is to be cut: { phase => hello | finished | http2, at => BYTES of it, end =>
# fin | rst, wait => whether the answer to what was sent comes first }.

my ($session, $connect_ends);      # what a client sends in HTTP/2; where its CONNECT is complete

sub open_cut {
    my ($cut) = @_;

    my $self = { %{$cut}, tls => tls_client(), read => 'on_handshake' };
    $self->{socket} = IO::Socket::INET->new(PeerAddr => $daemon->hbone_address) or die "connect: $!";
    $self->{socket}->blocking(0);

    my $hello = handshake($self->{tls}, '');
    return end_cut($self) if send_phase($self, hello => $hello);
    return $self;
}

sub put {
    my ($self, $bytes) = @_;

    local $SIG{PIPE} = 'IGNORE';
    syswrite $self->{socket}, $bytes if $bytes ne '';
    return;
}

# Sends a flight of the handshake, or the part of it that this cut sends; true if it ends there.
sub send_phase {
    my ($self, $phase, $bytes) = @_;

    my $here = $self->{phase} eq $phase;

    put($self, $here ? substr $bytes, 0, $self->{at} : $bytes);
    return $here;
}

sub end_cut {
    my ($self) = @_;

    if ($self->{end} eq 'rst') {
        setsockopt $self->{socket}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
        return close_cut($self);
    }

    if ($self->{phase} eq 'http2') {
        Net::SSLeay::shutdown($self->{tls}{ssl});
        put($self, tls_output($self->{tls}));
    }
    shutdown $self->{socket}, SHUT_WR;
    $self->{read} = 'on_rest';
    return $self;
}

sub close_cut {
    my ($self) = @_;

    Net::SSLeay::free($self->{tls}{ssl});
    close $self->{socket};
    return;
}

sub on_handshake {
    my ($self, $bytes) = @_;

    my $flight = handshake($self->{tls}, $bytes);

    return $self if $flight eq '';
    return end_cut($self) if send_phase($self, finished => $flight);

    $self->{h2} = Test::Cairn::H2->new(role => 'client');
    $self->{read} = 'on_http2';
    return $self->{wait} ? $self : send_http2($self);
}

sub send_http2 {
    my ($self) = @_;

    Net::SSLeay::write($self->{tls}{ssl}, substr $session, 0, $self->{at}) if $self->{at} > 0;
    put($self, tls_output($self->{tls}));
    $self->{http2_sent} = 1;
    $self->{h2}->request([[':method', 'CONNECT']], 0);
    return $self->{wait} && $self->{at} >= $connect_ends ? $self : end_cut($self);
}

# First the server's SETTINGS are waited for, then its answer to the CONNECT.
sub on_http2 {
    my ($self, $bytes) = @_;

    Net::SSLeay::BIO_write($self->{tls}{in}, $bytes);

    while (defined(my $plain = Net::SSLeay::read($self->{tls}{ssl}))) {
        last if $plain eq '';

        for my $event ($self->{h2}->feed($plain)) {
            return send_http2($self) if $event->{type} eq 'settings' && !$self->{http2_sent};
            return end_cut($self) if $event->{type} eq 'headers';
        }
    }
    return $self;
}

sub on_rest { return $_[0] }

# One that can be read: it goes on, or it is over.
sub step_cut {
    my ($self) = @_;

    my $count = sysread $self->{socket}, my $bytes, 65536;

    return close_cut($self) if defined $count ? $count == 0 : !$!{EAGAIN};
    return $self if !defined $count;
    return main->can($self->{read})->($self, $bytes);
}

# All the cuts, some at once; returns how many the waypoint did not end in time.
sub cut_all {
    my (@cuts) = @_;

    my %open;
    my $poll = IO::Poll->new;
    my $deadline = deadline_in(60);

    while ((@cuts || %open) && now() < $deadline) {
        while (@cuts && keys %open < $AT_ONCE) {
            my $self = open_cut(shift @cuts) or next;

            $open{ $self->{socket} } = $self;
            $poll->mask($self->{socket} => POLLIN);
        }

        $poll->poll(1) if %open;

        for my $socket ($poll->handles) {
            next if !$poll->events($socket);

            my $self = $open{$socket};
            $poll->remove($socket);
            delete $open{$socket} if !step_cut($self);
            $poll->mask($socket => POLLIN) if $open{$socket};
        }
    }
    return scalar(@cuts) + keys %open;
}


# A whole session, recorded: the bytes of the connection's HTTP/2, of which the last part may be
# another HTTP/2's in a tunnel, and where its CONNECT is complete.
sub record_session {
    my ($send) = @_;

    my $output = \&Test::Cairn::H2::output;
    my %bytes;

    no warnings 'redefine';
    local *Test::Cairn::H2::output = sub {
        my $out = $output->($_[0]);
        $bytes{ $_[0] } .= $out;
        return $out;
    };

    my $hbone = $mesh->hbone(as => 'sleep');
    my $tunnel = $hbone->tunnel($mesh->authority('reviews'));
    my $ends = length $bytes{ $hbone->h2 };

    is $send->($tunnel)->body, $BODY, 'the session works';
    $tunnel->finish;
    $hbone->ping;
    $hbone->close;
    return ($bytes{ $hbone->h2 }, $ends);
}

my %sessions = (
    'HTTP/1.1 in a tunnel' => sub {
        my $http = $_[0]->http;

        $http->send(POST => '/cut', chunked => 5, body => 'thirteen byte');
        return $http->response;
    },
    'HTTP/2 in a tunnel' => sub {
        my $http = Test::Cairn::HTTP2->new($_[0]);
        my $id = $http->send(POST => '/cut', body => 'thirteen byte', trailers => [['x-after', 'it']]);

        return $http->response(id => $id);
    },
);

for my $what (sort keys %sessions) {
    subtest "a client ends at every byte of $what" => sub {
        ($session, $connect_ends) = record_session($sessions{$what});
        cmp_ok length $session, '>', 150, length($session) . ' bytes';

        my @cuts = map { my $at = $_; map { my $end = $_; map { {
            phase => 'http2', at => $at, end => $end, wait => $_
        } } $ENV{LONG} ? (0, 1) : ($at + ($end eq 'rst')) % 2 } qw(fin rst) } 0 .. length $session;

        is cut_all(@cuts), 0, @cuts . ' cuts, each of them ended by the waypoint too';
        as_before $what;
    };
}

subtest 'a client ends at every byte of its TLS handshake' => sub {
    my $hello = length handshake(tls_client(), '');
    my $finished = 1400;        # more than its flight has: what is cut behind its end is whole
    my @cuts;

    for my $phase ([hello => $hello], [finished => $finished]) {
        my ($name, $size) = @{$phase};
        my $step = $ENV{LONG} ? 1 : 7;

        push @cuts, map { {
            phase => $name, at => $_, end => $_ % 2 ? 'fin' : 'rst', wait => 0
        } } grep { $_ % $step == 0 || $_ < 12 || $_ > $size - 12 } 0 .. $size;
    }

    is cut_all(@cuts), 0, @cuts . ' cuts, each of them ended by the waypoint too';
    as_before 'TLS';
};


# What came back when the upstream was cut: an answer of ours, the whole of its, or a broken one.
sub judge {
    my ($response, $seen) = @_;

    my $status = $response->status;

    return $seen->{broken}++ if !$response->complete || $response->error ne '';
    return $seen->{whole}++ if $status == 200 && $response->body eq $BODY;
    return $seen->{replied}++ if $status == 503 || $status == 502;
    return $seen->{wrong}++;
}

subtest 'an upstream ends at every byte of its HTTP/2' => sub {
    my (%seen, %left);

    for my $service (@ANSWERING) {
        my $pod = $mesh->pod("$service-v1");
        my $size = $pod->bytes_sent;

        $pod->cut(map { my $at = $_; map { [$at, $_] }
            $ENV{LONG} || $service eq 'chunked' ? qw(fin rst) : $at % 2 ? 'fin' : 'rst' } 1 .. $size);
        $pod->abort_connections;
        $left{$service} = $pod->cuts_left;
        cmp_ok $left{$service}, '>', 150, "$service: $left{$service} cuts";
    }

    my $hbone = $mesh->hbone(as => 'sleep');
    my $deadline = deadline_in(60);

    while (%left && now() < $deadline) {
        my @tunnels = map { $hbone->open_tunnel($mesh->authority($_)) } sort keys %left;

        $_->http->send(GET => '/') for @tunnels;
        judge($_->http->response, \%seen) for @tunnels;
        $_->rst('CANCEL') for @tunnels;

        for my $service (keys %left) {
            delete $left{$service} if $mesh->pod("$service-v1")->cuts_left == 0;
        }
    }

    is scalar(keys %left), 0, 'all were made in time';
    is $seen{wrong} // 0, 0, 'no answer that was cut looks whole';
    cmp_ok $seen{$_} // 0, '>', 0, "some are $_: " . ($seen{$_} // 0) for qw(whole broken replied);
    $hbone->close;

    # the last cut is taken up with its connection, and may be made only in the next request
    for my $service (@ANSWERING) {
        ok wait_for(sub { $mesh->request("as sleep to $service GET /")->body eq $BODY }, 5),
            "$service answers again";
    }
    as_before 'upstream';
};

$mesh->stop;
done_testing;
