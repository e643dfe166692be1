#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A certificate in files that somebody else renews (FILE_MOUNTED_CERTS): it is read when it changes,
# as a file, as a mounted Secret of Kubernetes, and on HUP; what cannot be used leaves the old one.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::ControlPlane ();
use Test::Cairn::Util qw(test_dir);

use File::Copy qw(copy);
use JSON::PP ();

my $plane = Test::Cairn::ControlPlane->start(root => 'mesh');
my $upstreams = "reviews-v1:\nsleep: {client: yes}\n";
my ($mesh, $dir);

# Another certificate of the waypoint's, for so many seconds.
sub issue { return $plane->issue(identity => 'default/waypoint', ttl => 3600, @_) }

# Puts the files in the place of those of before, each at once.
sub put {
    my ($to, $files, @which) = @_;

    for my $which (@which ? @which : qw(root key certificate)) {
        my $path = "$to/$which.pem";

        copy($files->{$which}, "$path.new") or die "cannot write $path: $!";
        chmod 0600, "$path.new";
        rename "$path.new", $path or die "cannot rename $path: $!";
    }
    return;
}

sub start {
    my ($name) = @_;

    $dir = test_dir() . "/identity-$name";
    $mesh = Test::Cairn->new(upstreams => $upstreams, bootstrap => { identity => { files => {
        map { $_ => "$dir/$_.pem" } qw(certificate key root) } } });
    $mesh->mesh->start;
    return;
}

sub serial {
    my $hbone = $mesh->hbone(as => 'sleep') or return '';
    return $hbone->peer_serial;
}

sub page { return JSON::PP->new->decode($mesh->daemon->http_get('ADMIN', $_[0])->body) }
sub identity { return page('/status.json')->{identity} }

# That new connections of all workers see another certificate, as /certs.
sub changes {
    my ($what, $do) = @_;
    my $old = serial();

    $do->();
    ok wait_for(sub { !grep { $_ eq $old || $_ eq '' } map { serial() } 1 .. 6 }, 10), $what;
    my $certs = page('/certs')->{certificates}[0];
    is $certs->{cert_chain}[0]{serial_number}, serial(), 'the admin page has it';
    return;
}

subtest 'what changes is read, without a signal' => sub {
    start('plain');
    mkdir $dir;
    put($dir, issue());
    ok $mesh->daemon->start, 'it starts';
    my $open = $mesh->tunnel(as => 'sleep', to => 'reviews')->http;

    changes('another certificate', sub { put($dir, issue()) });
    changes('and another, key last', sub { put($dir, issue(), qw(certificate root key)) });

    my $certs = page('/certs')->{certificates}[0];
    is $certs->{cert_chain}[0]{path}, "$dir/certificate.pem", 'the path';
    is_deeply $certs->{cert_chain}[0]{subject_alt_names}, [{ uri => spiffe_id('default/waypoint') }],
        'the names';
    is $certs->{ca_cert}[0]{path}, "$dir/root.pem", 'and of the root';
    like $certs->{cert_chain}[0]{expiration_time}, qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'its end';
    like $mesh->daemon->http_get('METRICS', '/stats/prometheus')->body,
        qr/^istio_agent_cert_expiry_seconds\{resource_name="default"\} 3[56]\d\d$/m, 'as a metric';

    is $open->request(GET => '/', headers => [['host', 'test']])->status, 200,
        'the tunnel of before serves';
    $mesh->stop;
};

subtest 'what cannot be used leaves the old one' => sub {
    start('broken');
    mkdir $dir;
    put($dir, issue());
    ok $mesh->daemon->start, 'it starts';
    my $serial = serial();
    my $next = issue();

    put($dir, $next, 'certificate');
    ok $mesh->daemon->wait_log('error', qr/get certificate: failures=1 .*it is not the key of/),
        'a certificate without its key is told';
    is serial(), $serial, 'and not used';
    is identity()->{certificate}, 'valid', 'the old one is there';
    like identity()->{reason}, qr/it is not the key/, 'and the status says why no other';
    changes('its key comes', sub { put($dir, $next, 'key') });
    is identity()->{failures}, 0, 'all is well';

    $serial = serial();
    unlink "$dir/key.pem";
    $mesh->daemon->signal('HUP');
    ok wait_for(sub { identity()->{failures} > 0 }, 10), 'a file is gone';
    is serial(), $serial, 'the old one serves';
    changes('it comes', sub { put($dir, issue()) });
    $mesh->stop;
};

subtest 'a mounted Secret, which is changed by a link' => sub {
    start('mounted');
    mkdir $dir;

    my $number = 0;
    my $turn = sub {
        my $data = '..data-' . ++$number;

        mkdir "$dir/$data";
        put("$dir/$data", issue());
        symlink $data, "$dir/..data_tmp";
        rename "$dir/..data_tmp", "$dir/..data" or die "cannot rename: $!";
    };

    $turn->();
    symlink "..data/$_.pem", "$dir/$_.pem" for qw(certificate key root);
    ok $mesh->daemon->start, 'it starts';
    changes('the link is turned', $turn);
    changes('and again', $turn);
    $mesh->stop;
};

subtest 'a directory that comes later' => sub {
    start('late');
    ok !$mesh->daemon->start(seconds => 2), 'it is not ready without';
    $mesh->daemon->forgive;
    ok $mesh->daemon->wait_log('error', qr/get certificate: .*certificate\.pem: No such file/),
        'it says why';
    mkdir $dir;
    put($dir, issue());
    $mesh->daemon->signal('HUP');
    ok wait_for(sub { $mesh->daemon->ready }, 10), 'HUP reads it';
    changes('and it is watched', sub { put($dir, issue()) });
    $mesh->stop;
};

$plane->stop;
done_testing;
