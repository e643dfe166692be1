#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Timeouts of gRPC as istiod sets them; headers that come in several lines.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(access_log authz fault headers)];
use Test::Cairn::Goldens qw(replay);

replay('a4_extra');
done_testing;
