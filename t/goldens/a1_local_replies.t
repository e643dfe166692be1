#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# a1_local_replies

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::Goldens qw(replay);

replay('a1_local_replies');
done_testing;
