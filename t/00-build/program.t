#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The program is hardened, and runs from where `make install` puts it.

use strict;
use warnings;

use File::Temp qw(tempdir);
use Test::More;

my $binary = $ENV{TEST_CAIRN_BINARY} // 'objs/cairn';


sub run {
    my ($command) = @_;
    my $output = qx{$command 2>&1};
    return ($? >> 8, $output);
}


sub slurp {
    my ($file) = @_;
    open my $in, '<', $file or return undef;
    local $/;
    return scalar <$in>;
}


my (undef, $headers) = run("readelf -hlW $binary");
my (undef, $dynamic) = run("readelf -dW $binary");
my (undef, $symbols) = run("readelf -sW --dyn-syms $binary");

like($headers, qr/Type:\s+DYN/, 'it can be loaded at any address');
like($headers, qr/GNU_RELRO/, 'what is relocated is read-only afterwards');
like($dynamic, qr/\bBIND_NOW\b|\bNOW\b/, 'all symbols are bound at the start');
like($headers, qr/GNU_STACK\s.*\sRW\s/, 'the stack cannot be executed');
ok($symbols =~ /__stack_chk_fail/, 'the stack is guarded');
unlike($dynamic, qr/R(?:UN)?PATH/, 'no library is looked for in odd places');

my $prefix = tempdir(CLEANUP => 1);
my ($code, $output) = run("sh auto/install $binary $prefix");

is($code, 0, 'make install works') or diag($output);
ok(-x "$prefix/sbin/cairn", 'the program is in sbin');

($code, $output) = run("cd / && $prefix/sbin/cairn -v");
is($code, 0, 'the installed program runs');
like($output, qr/\d+\.\d+\.\d+/, 'and tells its version');

SKIP: {
    my ($file) = sort glob 'conf/*.yaml';
    skip 'conf has no file yet', 2 if !$file;

    open my $out, '>', "$prefix/$file" or die "$prefix/$file: $!";
    print $out "mine: true\n";
    close $out;
    run("sh auto/install $binary $prefix");

    is(slurp("$prefix/$file"), "mine: true\n", 'a changed configuration file stays');
    is(slurp("$prefix/$file.default"), slurp($file), 'ours lies beside it');
}

done_testing();
