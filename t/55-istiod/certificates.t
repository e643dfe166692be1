#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Certificates of istiod's CA under load: they are renewed, and the mesh's roots change, without the
# loss of a request, a connection or a tunnel.  LONG=1 runs the full counts at the full rate.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::ControlPlane ();

use JSON::PP ();

my $long = $ENV{LONG};
my $rotations = $long ? 20 : 3;
my $changes = $long ? 3 : 1;
my $rate = $long ? 1000 : 300;

my %service = (reviews => '10.96.1.4:9080', details => '10.96.1.2:9080');
my @roots = ('mesh', map { "mesh-$_" } 1 .. $changes);
my ($mesh, $plane);


# One pod of each service for each root of the mesh; all accept all roots, as the mesh does while it
# changes them.  Those of reviews bear the load, those of details tell who came; as they close each
# tunnel behind its request, a next one is on another connection once they have sent GOAWAY.
sub pods {
    my %pods = (sleep => { client => 1 });

    for my $number (0 .. $changes) {
        my %common = (root => $roots[$number], trusts => \@roots);

        $pods{"reviews-v$number"} = { %common, identity => 'default/bookinfo-reviews', native => 1 };
        $pods{"details-v$number"} = { %common, identity => 'default/bookinfo-details',
            program => [{ close => 1 }] };
    }
    return \%pods;
}

sub prepare {
    my (%option) = @_;

    $mesh = Test::Cairn->new(
        upstreams => pods(),
        bootstrap => sub {
            my ($self) = @_;
            my %at = map { $_ => $self->pod('reviews-v0')->ip } qw(10.244.1.13 10.244.2.14 10.244.1.15);

            $plane = Test::Cairn::ControlPlane->start(
                recording => '01-plain', root => 'mesh',
                addresses => { %at, '10.244.1.11' => $self->pod('details-v0')->ip },
            );
            serve_from($self, 0, push => 0);
            $plane->behave(ca => { ttl => $option{ttl}, mode => $option{mode} });
            return $plane->bootstrap(ca => $option{ca});
        },
    );
    return;
}

sub start {
    prepare(@_);
    $mesh->mesh->start;
    ok $mesh->daemon->start, 'it starts';
    return;
}

# Lets the pods of the numbered root serve.
sub serve_from {
    my ($self, $number, %option) = @_;

    for my $name (sort keys %service) {
        $plane->set_endpoints(
            cluster => "inbound-vip|9080|http|$name.default.svc.cluster.local",
            endpoints => [{ address => $self->pod("$name-v$number")->ip . ':9080', hbone => 1 }],
            %option,
        );
    }
    return;
}

sub stop {
    $mesh->stop;
    $plane->stop;
    return;
}

sub json {
    my ($path) = @_;

    return JSON::PP->new->decode($mesh->daemon->http_get('ADMIN', $path)->body);
}

sub identity { return json('/status.json')->{identity} }
sub serial { return json('/certs')->{certificates}[0]{cert_chain}[0]{serial_number} }

# A client of the mesh with a certificate of a root, which trusts these.
sub client {
    my ($root, @trusts) = @_;

    return identity_files('sleep', root => $root, trusts => [@trusts ? @trusts : @roots]);
}

sub connect_as { return $mesh->hbone(as => 'sleep', identity => $_[0]) }

# The serial number that a new client and a new upstream connection see; '' if one is refused.
sub seen_by_client { return (connect_as(client($_[0])) // return '')->peer_serial }

sub get_details {
    my ($root) = @_;
    my $http = $mesh->tunnel(as => 'sleep', identity => client($root), to => $service{details})->http;

    return $http->request(GET => '/', headers => [['host', 'test']])->status;
}

sub seen_by_upstream {
    my ($root, $number) = @_;
    my $pod = $mesh->pod("details-v$number");

    $pod->goaway;
    $pod->forget;
    return '' if get_details($root) != 200;
    my @came = $pod->seen('connection');
    return @came ? $came[-1]{serial} : '';
}

sub load {
    my ($options, @more) = @_;

    return $mesh->load(to => $service{reviews}, identity => client('mesh'),
        options => ['-c', 4, '-t', 8, '-d', 600, '--reconnect', @{$options}], @more);
}

sub lost_nothing {
    my ($what, $result) = @_;
    my $failed = 0;

    $failed += $_ for values %{ $result->{errors} };
    is $failed, 0, "$what: no request failed";
    is $result->{ok}, $result->{requests}, 'every request was answered well';
    is $result->{lost}{$_}, 0, "no loss of $_" for qw(conns tunnels requests);
    cmp_ok $result->{rps}, '>', 0.95 * $rate, 'at the full rate' if $long;
    note sprintf '%s: %d requests, %.0f a second, latency p99 %.1f ms, longest time without an '
        . 'answer %.1f ms', $what, @{$result}{qw(requests rps)}, $result->{latency_us}{p99} / 1000,
        $result->{longest_gap_ms};
    return;
}

# Waits for a next certificate, and that it is the one that new connections see on both sides.
sub rotate {
    my ($root, $number, $known) = @_;
    my $renewals = identity()->{renewals};

    $known->{ serial() } = 1;
    ok wait_for(sub { identity()->{renewals} > $renewals && !$known->{ serial() } }, 30),
        'a next certificate';
    ok wait_for(sub { my $now = seen_by_client($root); $now ne '' && !$known->{$now} }, 5),
        'new clients see it';
    ok wait_for(sub { my $now = seen_by_upstream($root, $number); $now ne '' && !$known->{$now} }, 5),
        'so do upstreams';
    return;
}

# The mesh's root becomes the next one: both are trusted, all are signed by the new one, the old one
# is given up.
sub change_root {
    my ($number, $known) = @_;
    my ($old, $new) = @roots[$number - 1, $number];

    $plane->new_harness_root($new);
    ok wait_for(sub { connect_as(client($old, $new)) }, 30), "$new signs: who trusts it alone comes";
    ok connect_as(client($new)), 'whose own certificate is of it comes';
    ok connect_as(client($old)), 'and still who has one of the old';
    rotate($new, $number - 1, $known);

    serve_from($mesh, $number);
    is $plane->wait_settled(['eds'])->{verdict}, 'ack', 'pods of the new root serve';
    $plane->mark;
    $plane->retire_roots;
    ok wait_for(sub { !connect_as(client($old)) }, 30), "$old is given up: nobody comes with it";
    rotate($new, $number, $known);

    $plane->drop(how => 'fin');
    ok $plane->wait_record(kind => 'open', seconds => 20), 'istiod is reached by the new root alone';
    $plane->push(qw(cds eds lds));
    is $plane->wait_settled(['cds', 'eds', 'lds'], seconds => 20)->{verdict}, 'ack', 'and heard';
    my $renewals = identity()->{renewals};
    ok wait_for(sub { identity()->{renewals} > $renewals }, 30), 'the CA as well';
    return;
}

subtest 'certificates and roots change, and nothing is lost' => sub {
    start(ttl => 6);
    my %known;
    my @open = map { $mesh->tunnel(as => 'sleep', identity => client('mesh'), to => $_)->http }
        values %service;
    my $loads = [load(['-r', $rate]), load(['-r', 20, '-m', 'h2'])];

    my $used = sub {
        is $_->request(GET => '/', headers => [['host', 'test']])->status, 200,
            'a tunnel of the first certificate serves' for @open;
    };

    for (1 .. $rotations) {
        rotate('mesh', 0, \%known);
        $used->();
    }

    for (1 .. $changes) {
        change_root($_, \%known);
        $used->();
    }

    lost_nothing("$rotations rotations, $changes changes of the root", $loads->[0]->finish);
    my $slow = $loads->[1]->finish;
    is $slow->{ok}, $slow->{requests}, 'HTTP/2 in tunnels that were held';
    is $slow->{lost}{tunnels}, 0, 'which were not closed';
    stop();
};


# What a CA may do, and what is said of it.  Not a chain of another root, which is a good answer: who
# signs for the mesh says what its roots are.
my @bad = (
    [{ mode => 'refuse', code => 'UNAVAILABLE', message => 'is away' }, qr/UNAVAILABLE|is away/],
    [{ mode => 'refuse', code => 'PERMISSION_DENIED', message => 'who?' }, qr/who\?/],
    [{ mode => 'garbage' }, qr/certificate/],
    [{ mode => 'garbage_root' }, qr/certificate/],
    [{ mode => 'garbage_message' }, qr/response|message|certificate/],
    [{ mode => 'empty' }, qr/element/],
    [{ mode => 'short' }, qr/element/],
    [{ mode => 'reversed' }, qr/./],
    [{ mode => 'long', extra => 100 }, qr/certificates/],
    [{ mode => 'expired' }, qr/expired/],
    [{ mode => 'other_key' }, qr/key/],
);

subtest 'without a first certificate it is not ready, and nobody comes in' => sub {
    prepare(ttl => 60, mode => 'refuse');
    $mesh->mesh->start;
    ok !$mesh->daemon->start(seconds => 3), 'it does not get ready';
    $mesh->daemon->forgive;
    is $plane->wait_settled(['cds', 'eds', 'lds'])->{verdict}, 'ack', 'though all else is there';
    is $mesh->daemon->http_get('STATUS', '/healthz/ready')->status, 503, 'and says so';
    is $mesh->daemon->http_get('STATUS', '/healthz/live')->status, 200, 'it is alive';
    is identity()->{certificate}, 'none', 'there is none';
    is_deeply json('/certs'), { certificates => [] }, 'in /certs neither';
    unlike $mesh->daemon->http_get('ADMIN', '/metrics')->body, qr/cert_expiry/, 'so it has no end';

    $plane->behave(ca => { ttl => 60 });
    ok wait_for(sub { $mesh->daemon->ready }, 40), 'with the first one it is ready';
    is get_details('mesh'), 200, 'and serves';
    stop();
};

subtest 'a CA that does wrong harms nothing' => sub {
    # the life is 240 s, of which 120 are left: it is renewed after a second
    start(ttl => 120, ca => { grace_ratio => 0.4958, grace_jitter => 0 });
    my $load = load(['-r', $rate]);

    for my $bad (@bad) {
        my ($behaviour, $said) = @{$bad};
        my $name = join ' ', map { $behaviour->{$_} } grep { /mode|code/ } sort keys %{$behaviour};
        my $serial = serial();
        $plane->mark;
        $plane->behave(ca => $behaviour);
        ok wait_for(sub { identity()->{failures} >= 2 }, 20), "$name: it fails, and is asked again";
        is serial(), $serial, 'the old certificate is there';
        is seen_by_client('mesh'), $serial, 'and serves';
        my $now = identity();
        is $now->{certificate}, 'valid', 'for a while';
        like $now->{reason}, $said, "why: $now->{reason}";
        my @asked = $plane->records(kind => 'csr');
        my @times = map { $_->{time} } @asked;
        my $seconds = @times > 1 ? $times[-1] - $times[0] : 1;
        cmp_ok scalar(@asked), '<=', 6 + $seconds, 'it is not asked all the time';

        $plane->behave(ca => { ttl => 120 });
        ok wait_for(sub { identity()->{renewals} > $now->{renewals} }, 10),
            'it is renewed as soon as the CA is well';
    }

    my @lines = grep { /get certificate: failures=/ } $mesh->daemon->log_lines('error');
    ok scalar(grep { /who\?/ } @lines), 'reasons are logged';
    lost_nothing('a CA that does wrong', $load->finish);
    stop();
};

subtest 'a CA that hangs beyond the end: it is said loudly, and tunnels serve on' => sub {
    start(ttl => 8);
    my $load = load(['-r', $rate]);
    my $open = $mesh->tunnel(as => 'sleep', identity => client('mesh'), to => $service{details})->http;

    is $open->request(GET => '/', headers => [['host', 'test']])->status, 200, 'a tunnel is open';
    $mesh->daemon->expect_alarm(qr/serve with an expired certificate/);
    $plane->behave(ca => { mode => 'hang' });
    ok $mesh->daemon->wait_log('error', qr/\[error\].*the certificate is about to expire: left_s=/, 20),
        'before the end it is an error';
    ok $mesh->daemon->wait_log('error', qr/\[alert\].*serve with an expired certificate/, 20),
        'at the end an alert';
    is identity()->{certificate}, 'expired', 'the status says so';
    is json('/certs')->{certificates}[0]{cert_chain}[0]{days_until_expiration}, '0', 'and /certs';
    my ($left) = $mesh->daemon->http_get('ADMIN', '/metrics')->body
        =~ /^istio_agent_cert_expiry_seconds\{resource_name="default"\} (-?\d+)$/m;
    cmp_ok $left, '<=', 0, 'and the metric';
    is $open->request(GET => '/', headers => [['host', 'test']])->status, 200,
        'a tunnel that is open serves';

    # a restart would not help, and would end what still serves: it stays ready
    ok $mesh->daemon->ready, 'it is ready still';
    ok wait_for(sub { (identity()->{reason} // '') =~ /no answer|DEADLINE|deadline|hung/i }, 20), 'the CA hangs';
    is scalar(() = connect_as(client('mesh'))), 0, 'peers refuse what has expired';

    $plane->behave(ca => { ttl => 60 });
    ok wait_for(sub { identity()->{certificate} eq 'valid' }, 30), 'the CA is well: it is renewed';
    ok wait_for(sub { connect_as(client('mesh')) }, 5), 'new clients come';
    lost_nothing('a CA that hangs', $load->finish);
    stop();
};

done_testing;
