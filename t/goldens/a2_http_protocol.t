#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What a client may send in HTTP/1 and HTTP/2, and what comes of what it may not.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(access_log authz fault headers)];
use Test::Cairn::Goldens qw(replay);

replay('a2_http_protocol');
done_testing;
