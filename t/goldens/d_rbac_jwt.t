#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Policies as istiod makes them: matchers of headers, paths, addresses and values that are not there.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(access_log authz fault headers)];
use Test::Cairn::Goldens qw(replay);

replay('d_rbac_jwt');
done_testing;
