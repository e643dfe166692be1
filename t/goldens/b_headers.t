#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Headers that are added, changed and removed on the way up and down; when a connection ends.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(access_log authz fault headers)];
use Test::Cairn::Goldens qw(replay);

replay('b_headers');
done_testing;
