#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# Request targets through the whole waypoint, as Envoy treats them at Istio's default level: what
# the upstream sees, what the log says, what is refused. t/goldens/paths.tsv was recorded from it.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(access_log)];

my @goldens;

for my $line (split /\n/, slurp("$FindBin::Bin/../goldens/paths.tsv")) {
    my ($level, $sent, $becomes) = split /\t/, $line;

    next if $line =~ /^#/ || $level ne 'BASE';
    push @goldens, [map { s/\\x(..)/chr hex $1/ger } $sent, $becomes];
}
cmp_ok scalar(@goldens), '>', 50, scalar(@goldens) . ' targets were recorded';

my $mesh = Test::Cairn->start(upstreams => <<'Y');
reviews-v1:
sleep: {client: yes}
Y
my $hbone = $mesh->hbone(as => 'sleep');

sub clients {
    return (
        HBONE => $hbone->tunnel($mesh->authority('reviews'))->http,
        plain => $mesh->plain,
    );
}

for my $golden (@goldens) {
    my ($target, $becomes) = @{$golden};
    my %client = clients();

    for my $way (sort keys %client) {
        $mesh->forget;
        $mesh->daemon->log_mark;
        $client{$way}->send(GET => $target, host => 'reviews:9080');

        my $response = $client{$way}->response;
        my @seen = $mesh->pod('reviews-v1')->requests;
        my ($status, $details) = $becomes =~ /^!(\d+) (\S+)/;

        if ($status) {
            is $response->status, $status, "$way: $target is refused";
            is $response->body, '', "$way: $target: without a body";
            is scalar(@seen), 0, "$way: $target: nobody saw it";
            ok $mesh->daemon->wait_log('access', qr{"GET \Q$target\E HTTP/1.1" $status - \Q$details\E }),
                "$way: $target: the log says why";
            next;
        }

        is $response->status, 200, "$way: $target is served";
        is @seen == 1 ? $seen[0]{target} : undef, $becomes, "$way: $target becomes $becomes";
        ok $mesh->daemon->wait_log('access', qr{"GET \Q$becomes\E HTTP/1.1" 200 }),
            "$way: $target: the log has what it became";
    }
}

$mesh->stop;
done_testing;
