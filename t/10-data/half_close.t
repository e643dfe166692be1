#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# A client that ends its direction when it has asked still gets its answer.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

my $mesh = Test::Cairn->start(
    bootstrap => 'workers: 1', upstreams => <<'Y', services => <<'Y2');
reviews-v1:
echo-v1: {ports: [9000]}
sleep: {client: yes}
Y
reviews: {}
echo: {port: 9000, protocol: grpc}
Y2

my %channels = (
    tunnel => sub { $mesh->tunnel(as => 'sleep', to => $_[0]) },
    plain => sub { $mesh->plain->channel },
);

for my $kind (sort keys %channels) {
    for my $service (qw(reviews echo)) {
        my $host = "$service:" . $mesh->mesh->service($service)->{ports}[0]{port};
        my %headers = (headers => [['x-program', '{"delay":0.2,"size":100000}']]);

        subtest "$kind, $service" => sub {
            my $channel = $channels{$kind}->($service);
            my $http = Test::Cairn::HTTP1->new($channel);

            $http->send(GET => '/a', host => $host, %headers);
            $channel->finish;
            my $response = $http->response;
            is $response->status, 200, 'an answer';
            is $response->{length}, 100_000, 'all of it';
            ok $http->closes, 'then the end';

            $channel = $channels{$kind}->($service);
            $http = Test::Cairn::HTTP1->new($channel);
            $http->send(POST => '/b', host => $host, body => 'x' x 70000, %headers);
            $http->send(GET => '/c', host => $host, %headers);
            $channel->finish;
            is $http->response->{length}, 100_000, 'two requests';
            is $http->response->{length}, 100_000, 'two answers';
            ok $http->closes, 'then the end';

            $channel = $channels{$kind}->($service);
            $http = Test::Cairn::HTTP1->new($channel);
            $http->send_raw("POST /d HTTP/1.1\r\nhost: $host\r\ncontent-length: 10\r\n\r\nabc", 'POST');
            $channel->finish;
            isnt $http->response->status, 200, 'what ends in its middle gets none';
        };
    }
}

$mesh->stop;
done_testing;
