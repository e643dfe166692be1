#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What is installed serves from its prefix, without the tree that it was built in: requests, the
# live page, -t, -T, reload and quit.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Cwd        qw(abs_path);
use File::Temp qw(tempdir);

my ($prefix, $installed);

BEGIN {
    my $binary = abs_path($ENV{TEST_CAIRN_BINARY} // "$FindBin::Bin/../../objs/cairn");

    $prefix = tempdir(CLEANUP => 1);
    $installed = system(qq{cd "$FindBin::Bin/../.." && sh auto/install "$binary" "$prefix" >/dev/null}) == 0;
    $ENV{TEST_CAIRN_BINARY} = "$prefix/sbin/cairn";
}

use Test::Cairn;

ok $installed, 'it is installed';
ok chdir('/'), 'and we are elsewhere';

my $mesh = Test::Cairn->start(upstreams => <<'Y');
reviews-v1:
sleep: {client: yes}
Y
my $daemon = $mesh->daemon;

my ($exe) = map { readlink "/proc/$_/exe" } $daemon->{pid};
is $exe, abs_path("$prefix/sbin/cairn"), 'the installed program runs';
is $mesh->hbone(as => 'sleep')->tunnel($mesh->authority('reviews'))->http
    ->request(GET => '/', host => 'reviews:9080')->status, 200, 'a request is answered';
like $daemon->http_get('ADMIN', '/')->body, qr/<title>/, 'the live page is found';

is $daemon->run('-s', 'reload')->{status}, 0, '-s reload';
ok $daemon->wait_log('error', qr/reload unchanged/), 'reads anew';

# Its own configuration file, from its own folder, and by -p from anywhere.
my $own = sub {
    my ($command) = @_;
    my $out = qx{cd "$_[1]" && $command 2>&1};
    return ($? >> 8) . " $out";
};

like $own->('sbin/cairn -t', $prefix), qr/^0 .*0 errors, 0 warnings/s, '-t with the file that came with it';
like $own->("$prefix/sbin/cairn -p $prefix -T", '/'), qr/^0 .*"reviews\.default\.svc\.cluster\.local"/s,
    '-T by the prefix';
like $own->("$prefix/sbin/cairn -p $prefix -r /nowhere -t", '/'), qr{^1 .*/nowhere}s, 'what is not there is named';

is $daemon->run('-s', 'quit')->{status}, 0, '-s quit';
ok wait_for(sub { $daemon->exited }, 10), 'ends it';

$mesh->stop;
done_testing;
