#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The checks of the sources see what they are for: each fault is put into a small
# tree and must be named; the runner of the tests fails where it must.

use strict;
use warnings;

use Cwd qw(getcwd);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use Test::More;

my $top  = getcwd();
my $spdx = "/* SPDX-License-Identifier: Apache-2.0 */\n\n";


# run_in(COMMAND, FILE => TEXT, ...): in a tree with these files and our auto/
sub run_in {
    my ($command, %files) = @_;
    my $tree = tempdir(CLEANUP => 1);

    symlink "$top/auto", "$tree/auto" or die "symlink: $!";
    for my $file (keys %files) {
        make_path(dirname("$tree/$file"));
        open my $out, '>', "$tree/$file" or die "$tree/$file: $!";
        print $out $files{$file};
        close $out;
    }

    local $ENV{HARNESS_ACTIVE};
    my $output = qx{cd $tree && $command 2>&1};
    return ($? >> 8, $output);
}


sub is_caught {
    my ($check, $name, $pattern, %files) = @_;
    my ($code, $output) = run_in("perl auto/$check", %files);

    ok($code != 0 && $output =~ $pattern, $name) or diag("exit $code\n$output");
}


sub passes {
    my ($check, $name, %files) = @_;
    my ($code, $output) = run_in("perl auto/$check", %files);

    is($code, 0, $name) or diag($output);
}


# --- layers

passes('layers', 'a room may use what is below it',
    'src/http/a.c' => qq(#include "stream/b.h"\n), 'src/stream/b.h' => '');
is_caught('layers', 'the data path may not use the model', qr{src/http/a\.c:1: .*http may not use model},
    'src/http/a.c' => qq(#include "model/b.h"\n), 'src/model/b.h' => '');
is_caught('layers', 'the model may not use http', qr{model may not use http},
    'src/model/a.c' => qq(#include "http/b.h"\n), 'src/http/b.h' => '');
is_caught('layers', "a module's run part may not use the model", qr{module_run may not use model},
    'modules/m/m.c' => qq(#include "model/b.h"\n), 'src/model/b.h' => '');
passes('layers', "a module's configuration part may",
    'modules/m/m_config.c' => qq(#include "model/b.h"\n), 'src/model/b.h' => '');
is_caught('layers', "a module's run part may not use its configuration part", qr{the configuration part},
    'modules/m/m.c' => qq(#include "m/m_config.h"\n), 'modules/m/m_config.h' => '');
is_caught('layers', 'src names no module', qr{m is another module's},
    'src/filter/a.c' => qq(#include "m/m_table.h"\n), 'modules/m/m_table.h' => '');
is_caught('layers', 'OpenSSL stays in its rooms', qr{<openssl/ssl\.h> belongs in},
    'src/http/a.c' => "#include <openssl/ssl.h>\n");

# --- style

SKIP: {
    skip 'pmccabe is not installed', 5 if !grep { -x "$_/pmccabe" } split /:/, $ENV{PATH};

    my $function = "int\nf(int n)\n{\n%s    return n;\n}\n";

    passes('lint-style', 'a small file is in order',
        'src/base/a.c' => $spdx . sprintf($function, ''));
    is_caught('lint-style', 'a long function is named', qr{length: f has \d+ lines},
        'src/base/a.c' => $spdx . sprintf($function, "    n++;\n" x 90));
    is_caught('lint-style', 'a complex function is named', qr{complexity: f has complexity},
        'src/base/a.c' => $spdx . sprintf($function, "    if (n) {\n        n++;\n    }\n" x 20));
    is_caught('lint-style', 'malloc outside the pool is named', qr{call: malloc},
        'src/base/a.c' => $spdx . sprintf($function, "    malloc(1);\n"));
    is_caught('lint-style', 'a header function without a comment is named', qr{comment: cn_f },
        'src/base/a.h' => $spdx . "#ifndef CN_BASE_A_H\n#define CN_BASE_A_H\n\nint cn_f(void);\n\n#endif\n");
}

# --- the runner

sub runner_says {
    my ($name, $expected_code, $last, %files) = @_;
    my ($code, $output) = run_in("$^X $top/t/run --builddir=none", %files);
    my ($line) = $output =~ /([^\n]*)\n\z/;

    is("$code: $line", "$expected_code: $last", $name) or diag($output);
}

runner_says('two tests that pass', 0, '2 passed, 0 failed', 't/10-a/a.t' => 'print "1..2\nok 1\nok 2\n"');
runner_says('a failed test is counted', 1, '1 passed, 1 failed',
    't/10-a/a.t' => 'print "1..2\nok 1\nnot ok 2\n"');
runner_says('a file that dies is a failure', 1, '1 passed, 1 failed',
    't/10-a/a.t' => 'print "1..1\nok 1\n"; exit 3');
runner_says('a file that ends early is a failure', 1, '1 passed, 1 failed',
    't/10-a/a.t' => 'print "1..2\nok 1\n"');
runner_says('no test at all is a failure', 1, '0 passed, 0 failed');

done_testing();
