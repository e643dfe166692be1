#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What cairn answers itself, for every cause and in HTTP/1, HTTP/2 and gRPC, is what Envoy answers.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(access_log authz fault headers)];
use Test::Cairn::Goldens qw(replay);

replay('a1_local_replies');
done_testing;
