#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Paths are normalised as Envoy was seen to, and policy, router, upstream and log see the same.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(access_log authz fault headers)];
use Test::Cairn::Goldens qw(replay);

replay('a3_paths');
done_testing;
