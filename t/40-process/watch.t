#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The directory of resources is watched: what changes there is read without a signal.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::Util qw(slurp spew);

sub rule {
    my ($to) = @_;

    return <<"Y";
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - headers: {response: {set: {x-rule: $to}}}
    route: [{destination: {host: reviews}}]
Y
}

my $upstreams = <<'Y';
reviews-v1:
sleep: {client: yes}
Y

sub start {
    my (%option) = @_;

    return Test::Cairn->start(
        upstreams => $upstreams, resources => rule('one'), bootstrap => 'source: {watch: yes}',
        %option,
    );
}

sub answer {
    my ($mesh) = @_;

    return $mesh->request('as sleep to reviews GET /')->header('x-rule') // 'none';
}

sub comes_to {
    my ($mesh, $what, $name) = @_;

    ok wait_for(sub { answer($mesh) eq $what }, 10), $name;
    return;
}

subtest 'files written, added and removed' => sub {
    my $mesh = start();
    my $dir  = $mesh->daemon->dir . '/resources';

    is answer($mesh), 'one', 'what was there at the start';
    $mesh->daemon->write_resources({ '50-test.yaml' => rule('two') });
    comes_to($mesh, 'two', 'a file that is renamed into its place');
    spew("$dir/50-test.yaml", rule('three'));
    comes_to($mesh, 'three', 'a file that is written where it stands');
    $mesh->daemon->write_resources({ '50-test.yaml' => undef });
    comes_to($mesh, 'none', 'a file that is gone');
    spew("$dir/60-more.yaml", rule('four'));
    comes_to($mesh, 'four', 'a new file');
    spew("$dir/60-more.yaml", rule('five') =~ s/hosts:.*/hosts: {/r);
    ok $mesh->daemon->wait_log('error', qr/60-more\.yaml:\d+:\d+: error/), 'a broken file is named';
    is answer($mesh), 'four', 'and the last good version stays';
    $mesh->stop;
};

subtest 'many changes are one reload, and names that are not read are none' => sub {
    my $mesh = start();
    my $dir  = $mesh->daemon->dir . '/resources';

    $mesh->daemon->log_mark;
    spew("$dir/notes.txt", 'x');
    spew("$dir/.hidden.yaml", 'x');

    for my $number (1 .. 40) {
        $mesh->daemon->write_resources({ '50-test.yaml' => rule("n$number") });
    }

    comes_to($mesh, 'n40', 'the last of them counts');

    my @reloads = grep { /reload: changed=/ } $mesh->daemon->log_lines('error');

    cmp_ok scalar @reloads, '<=', 3, 'forty changes are few reloads';
    $mesh->stop;
};

subtest 'a file that is open for writing is waited for' => sub {
    my $mesh = start();
    my $path = $mesh->daemon->dir . '/resources/50-test.yaml';

    open my $file, '>', $path or die "cannot write $path: $!";
    $file->autoflush(1);
    print {$file} substr rule('six'), 0, 40;

    my $until = now() + 0.8;

    wait_for(sub { return now() > $until || answer($mesh) ne 'one' }, 5);
    is answer($mesh), 'one', 'half of a file is not read';
    print {$file} substr rule('six'), 40;
    close $file;
    comes_to($mesh, 'six', 'the whole one is');
    $mesh->stop;
};

subtest 'a mounted ConfigMap, whose link is turned' => sub {
    my $mesh = start();
    my $dir  = $mesh->daemon->dir . '/resources';
    my $text = slurp("$dir/00-mesh.yaml");
    my $put  = sub {
        my ($version, $rule) = @_;

        mkdir "$dir/..$version";
        spew("$dir/..$version/00-mesh.yaml", $text);
        spew("$dir/..$version/50-test.yaml", rule($rule));
        symlink "..$version", "$dir/..data_tmp" or die "cannot link: $!";
        rename "$dir/..data_tmp", "$dir/..data" or die "cannot rename: $!";
    };

    $put->('one', 'first');

    for my $name ('00-mesh.yaml', '50-test.yaml') {
        symlink "..data/$name", "$dir/$name.link" or die "cannot link: $!";
        rename "$dir/$name.link", "$dir/$name" or die "cannot rename: $!";
    }

    comes_to($mesh, 'first', 'links that are put in the place of files');
    $put->('two', 'second');
    comes_to($mesh, 'second', 'the link of all of them turned');
    $mesh->stop;
};

subtest 'a directory that is away for a while' => sub {
    my $mesh = start();
    my $dir  = $mesh->daemon->dir . '/resources';

    $mesh->daemon->log_mark;
    rename $dir, "$dir.away" or die "cannot rename: $!";
    ok $mesh->daemon->wait_log('error', qr/reload failed/), 'a reload fails';
    is answer($mesh), 'one', 'the last good configuration serves on';
    spew("$dir.away/50-test.yaml", rule('back'));
    rename "$dir.away", $dir or die "cannot rename: $!";
    comes_to($mesh, 'back', 'it is read when it is there again');
    spew("$dir/50-test.yaml", rule('again'));
    comes_to($mesh, 'again', 'and watched on');
    $mesh->stop;
};

subtest 'a watch that is switched off' => sub {
    my $mesh = start(bootstrap => 'source: {watch: no}');

    $mesh->daemon->log_mark;
    $mesh->daemon->write_resources({ '50-test.yaml' => rule('two') });

    my $until = now() + 1;

    wait_for(sub { return now() > $until || answer($mesh) ne 'one' }, 5);
    is answer($mesh), 'one', 'nothing is read';
    $mesh->reload(rule('two'));
    is answer($mesh), 'two', 'until HUP';
    $mesh->stop;
};

done_testing;
