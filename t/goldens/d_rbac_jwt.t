#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# d_rbac_jwt

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::Goldens qw(replay);

replay('d_rbac_jwt');
done_testing;
