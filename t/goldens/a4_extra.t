#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# a4_extra

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::Goldens qw(replay);

replay('a4_extra');
done_testing;
