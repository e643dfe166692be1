#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# b_headers

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::Goldens qw(replay);

replay('b_headers');
done_testing;
