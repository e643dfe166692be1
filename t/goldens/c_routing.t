#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Matches, rewrites, redirects, header operations, weights and retries.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(access_log authz fault headers)];
use Test::Cairn::Goldens qw(replay);

replay('c_routing');
done_testing;
