#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# c_routing

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::Goldens qw(replay);

replay('c_routing');
done_testing;
