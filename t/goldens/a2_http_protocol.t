#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# a2_http_protocol

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;
use Test::Cairn::Goldens qw(replay);

replay('a2_http_protocol');
done_testing;
