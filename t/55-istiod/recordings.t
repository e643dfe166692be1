#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# What istiod was recorded to send does the same as the resources that it was made from: of each
# recording that is accepted, a list of requests has the same outcome on a cairn that reads
# input.yaml and on one that has the recording from a control plane.  Of each other, the NACKs name
# exactly what is refused, and the rest serves.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn needs => [qw(access_log)];
use Test::Cairn::ControlPlane ();

use YAML::PP ();

my $recorded = "$FindBin::Bin/../unit/modules/recorded";
my ($number, $plane, $mesh) = (0);

# Requests of all that have the bookinfo application.  "count: N" sends one so often and compares
# the set of its outcomes.
my $bookinfo = <<'R';
as default/sleep to 10.96.1.1:9080 GET /productpage
~~~
as default/notsleep to 10.96.1.1:9080 GET /productpage
~~~
as default/sleep to 10.96.1.1:9080 POST /productpage
x-forwarded-for: 192.0.2.1
x-envoy-attempt-count: 7
x-forwarded-client-cert: By=spiffe://a/b

a body
~~~
as default/notsleep to 10.96.1.1:9080 DELETE /productpage
~~~
as other/sleep to 10.96.1.1:9080 GET /productpage
~~~
as default/sleep to 10.96.1.2:9080 GET /a/../details/%2e%2e/%41?q=%20
~~~
as default/sleep to 10.96.1.2:9080 GET //details///0 HTTP/2
x-long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
~~~
as default/sleep to 10.96.1.3:9080 GET /ratings/0
x-program: {"status": 500, "headers": {"server": "ratings", "x-of": "ratings"}, "body": "no"}
~~~
as default/sleep to 10.96.1.3:9080 GET /ratings/1
x-program: {"status": 204}
~~~
as default/sleep to 10.96.1.4:9080 GET /reviews/0
count: 120
~~~
as default/sleep to 10.96.1.20:80 GET /
~~~
as default/sleep to 10.96.1.21:80 OPTIONS /
origin: http://a.example.com
access-control-request-method: GET
R

my %more = (
    '01-plain' => <<'R',
as default/sleep to 10.96.1.30:3306 GET /raw
~~~
as default/sleep to 10.96.1.31:7070 GET /grpc
~~~
as default/sleep to 10.96.1.31:7070 POST /grpc HTTP/2
te: trailers

a message
~~~
as default/sleep to 10.96.1.32:8080 GET /h2
~~~
as default/sleep to 10.96.1.33:80 GET /multi
~~~
as default/sleep to 10.96.1.33:7072 GET /multi
~~~
as default/sleep to 10.96.1.33:7073 GET /multi
~~~
as default/sleep to 10.96.1.33:7777 GET /unknown
~~~
as default/sleep to 10.96.1.33:7777 GET /unknown HTTP/2
~~~
as default/sleep to 10.96.1.33:9000 GET /raw
~~~
as default/sleep to 10.96.1.33:8443 GET /raw
~~~
as default/sleep to 10.96.1.34:80 GET /nobody
R
    '05-vs-routes' => <<'R',
as default/sleep to 10.96.1.4:9080 GET /prefix/1
count: 80
x-rrm: gone
x-d3: gone
x-rset: theirs
~~~
as default/sleep to 10.96.1.4:9080 GET /exact
x-exact: b
~~~
as default/sleep to 10.96.1.4:9080 GET /old/1?a=b
~~~
as default/sleep to 10.96.1.4:9080 GET /olden
~~~
as default/sleep to 10.96.1.4:9080 GET /redir
~~~
as default/sleep to 10.96.1.4:9080 GET /redir/not
~~~
as default/sleep to 10.96.1.4:9080 GET /rp/1
~~~
as default/sleep to 10.96.1.4:9080 GET /direct/1
~~~
as default/sleep to 10.96.1.4:9080 GET /directb
~~~
as default/sleep to 10.96.1.4:9080 GET /ns/1
~~~
as other/sleep to 10.96.1.4:9080 GET /ns/1
~~~
as default/sleep to 10.96.1.4:9080 GET /lbl/1
~~~
as default/sleep to 10.96.1.4:9080 GET /gw/1
~~~
as default/sleep to 10.96.1.4:9080 GET /unknown/1
~~~
as default/sleep to 10.96.1.4:9080 GET /x/../old//1
R
    '09-http-routes' => <<'R',
as default/sleep to 10.96.1.4:9080 GET /exact?q=1&r=22
host: reviews.example.com
count: 60
x-a: a
x-b: bb
x-r: gone
~~~
as default/sleep to 10.96.1.4:9080 GET /exact?q=1&r=a
host: reviews.example.com
x-a: a
x-b: bb
~~~
as default/sleep to 10.96.1.4:9080 GET /re/x
host: reviews.example.com
count: 60
~~~
as default/sleep to 10.96.1.4:9080 GET /re/x
host: other.example.com
count: 60
~~~
as default/sleep to 10.96.1.4:9080 GET /redir/1?a=b
host: reviews.example.com
~~~
as default/sleep to 10.96.1.4:9080 GET /redirf/1
host: reviews.example.com
~~~
as default/sleep to 10.96.1.4:9080 GET /redirected
host: reviews.example.com
~~~
as default/sleep to 10.96.1.4:9080 GET /rw/1/2?a=b
host: reviews.example.com
~~~
as default/sleep to 10.96.1.4:9080 GET /rw
host: reviews.example.com
~~~
as default/sleep to 10.96.1.4:9080 GET /rwf/1
host: reviews.example.com
~~~
as default/sleep to 10.96.1.4:9080 GET /nobackend
host: reviews.example.com
~~~
as default/sleep to 10.96.1.4:9080 GET /invalid
host: reviews.example.com
~~~
as default/sleep to 10.96.1.4:9080 GET /zero
host: reviews.example.com
~~~
as default/sleep to 10.96.1.4:9080 GET /none
host: reviews.example.com
R
);

# The pods that the recording's endpoints are, as upstreams by name; and each one's address.
sub pods_of_recording {
    my %endpoints = %{ $plane->endpoints };
    my (%port, %upstream, %address);

    for my $endpoint (map { @{$_} } values %endpoints) {
        $port{$1}{$2} = 1 if $endpoint->{address} =~ /^(10\.\d+\.\d+\.\d+):(\d+)$/;
    }

    for my $workload ($plane->workloads) {
        my ($ip) = grep { $port{$_} } @{ $workload->{addresses} } or next;

        $upstream{ $workload->{name} } = {
            identity => "$workload->{namespace}/$workload->{service_account}",
            ports => [sort { $a <=> $b } keys %{ $port{$ip} }], manifest => 'no',
        };
        $address{$ip} = $workload->{name};
    }
    return [\%upstream, \%address];
}

# A mesh of the recording's pods with cairn in it, by xds or by files (resources => text).
sub start {
    my (%option) = @_;

    my ($upstreams, $address) = @{ $option{pods} };
    my $yaml = $option{resources};
    my @loads = @{ $option{load} };

    $mesh = Test::Cairn->new(
        upstreams => $upstreams, services => {},
        bootstrap => sub { return defined $yaml ? {} : $plane->bootstrap },
    );
    my %ip = map { $_ => $mesh->pod($address->{$_})->ip } keys %{$address};

    if (defined $yaml) {
        $yaml =~ s/\b\Q$_\E\b/$ip{$_}/g for keys %ip;
        $mesh->mesh->{test_text} = $yaml;
        $mesh->daemon->write_resources($mesh->mesh->files);
    }
    else {
        $plane->load(%{$_}, addresses => \%ip) for @loads;
    }
    $mesh->mesh->start;
    ok $mesh->daemon->start, (defined $yaml ? 'files' : 'xds') . ': cairn is ready' or diag $mesh->explain;
    return;
}

sub app_of { return $_[0] =~ s/-v\d.*$|-\d{3}-.*$//r }

# Headers as lines, without what differs from one moment to the next.
sub headers_of {
    my ($message) = @_;

    return [sort map { lc($_->[0]) . ': ' . $_->[1] =~ s/^(127\.[\d.]+):\d+$/$1:PORT/r }
        grep { $_->[0] !~ /^(?:date|x-request-id|x-envoy-upstream-service-time|x-pod)$/i }
        @{ $message->{headers} }];
}

# What the access log says of a request: status, flags, cluster and route.
sub logged {
    my ($id) = @_;

    my $line;
    my $found = wait_for(sub {
        ($line) = grep { index($_, "\"$id\"") >= 0 } $mesh->daemon->log_lines('access');
        return $line;
    }, 5);

    return 'no line' if !$found;
    my ($result, $rest) = $line =~ /^\[[^]]*\] "[^"]*" (\d+ \S+ \S+)/;
    $result =~ s/ (?:DI,)?(FI|DI) / $1 eq 'FI' ? ' FI ' : ' - '/e;     # who is delayed is chance
    my ($cluster) = $line =~ /"\Q$id\E" "[^"]*" "[^"]*" (\S+)/;
    my ($route) = $line =~ /(\S+)\s*$/;
    return { result => $result, cluster => $cluster, route => $route };
}

# Sends a request once for each id, on a tunnel of its own; (ID => RESPONSE, ...).
sub respond {
    my ($text, $tunnels, @ids) = @_;

    my @sent = map {
        my $request = Test::Cairn::Request::parse_request(
            $text =~ s/\A([^\n]*)\n/$1\nx-request-id: $_\n/r);
        my $client = $tunnels ? (shift @{$tunnels})->http : $mesh->client_for($request);
        $mesh->send_request($client, $request);
        [$_, $client];
    } @ids;
    return map { $_->[0] => $_->[1]->response(seconds => 15) } @sent;
}

# The outcomes of a request, each once: the response, what a pod saw, what the log says.
sub outcomes {
    my ($text) = @_;

    my $count = $text =~ s/^count: (\d+)\n//m ? $1 : 1;
    my @ids = map { 'request-' . ++$number } 1 .. $count;
    my (%outcome, %raw);

    $mesh->forget;
    $mesh->daemon->log_mark;
    my %response = $count == 1 ? respond($text, undef, @ids) : ();
    while ($count > 1 && keys %response < $count) {
        my @batch = @ids[scalar(keys %response) .. $#ids];
        @batch = @batch[0 .. 39] if @batch > 40;    # fewer than a connection may have streams
        my ($as, $to) = $text =~ /^as (\S+) to (\S+)/;
        %response = (%response,
            respond($text, [$mesh->tunnels(scalar @batch, as => $as, to => $to)], @batch));
    }
    my %seen;
    for my $seen ($mesh->seen) {
        my ($id) = map { $_->[1] } grep { lc $_->[0] eq 'x-request-id' } @{ $seen->{headers} };
        $seen{$id} = $seen;
    }

    for my $id (@ids) {
        my ($response, $seen) = ($response{$id}, $seen{$id});
        my $body = $seen && $response->body eq "$seen->{pod}\n" ? 'the name of the pod' : $response->body;
        my $it = {
            status => $response->status, headers => headers_of($response), body => $body,
            log => $text =~ /\/raw/ ? undef : logged($id),
            $seen ? (pod => app_of($seen->{pod}), peer => $seen->{peer}, head => headers_of($seen),
                line => "$seen->{method} $seen->{target}", port => $seen->{authority} =~ s/.*://r) : (),
        };
        $outcome{ JSON::PP->new->canonical->encode($it) } = $it;
    }
    return [map { $outcome{$_} } sort keys %outcome];
}

# The documents of a recording's input.yaml of some kinds, as text.
sub documents {
    my ($name, $kinds) = @_;

    return join '', map { "---\n$_" } grep { /^kind: $kinds$/m }
        split /^---\n/m, slurp("$recorded/$name/input.yaml");
}

for my $case (
    { name => '01-plain' },
    { name => '02-vs-split' },
    { name => '03-httproute-split' },
    { name => '04a-authz-viewer' },
    { name => '08a-mesh-accesslog' },
    { name => '05-vs-routes', on => '02-vs-split' },
    { name => '09-http-routes', on => '03-httproute-split',
        refused => ['inbound-vip|3306|tcp|mysql.default.svc.cluster.local'] },
) {
    subtest "$case->{name}: files and xDS do the same" => sub {
        my $base = $case->{on} // $case->{name};
        my $yaml = documents($case->{name}, '\w+');
        my @requests = split /^~~~\n/m, join "~~~\n",
            $case->{on} ? () : $bookinfo, $more{ $case->{name} } // ();
        my %by;

        # the routes alone, for the services and pods of another recording
        $yaml = documents($case->{name}, '(?!Service$)\w+') . documents($base, '(?:Service|Pod)')
            if $case->{on};
        $plane = Test::Cairn::ControlPlane->start(recording => $base, root => 'mesh');

        my $pods = pods_of_recording();

        for my $source ('xds', 'files') {
            start(
                pods => $pods, resources => $source eq 'files' ? $yaml : undef,
                load => [{ recording => $base },
                    $case->{on} ? { recording => $case->{name}, only => ['lds'] } : ()],
            );
            if ($source eq 'xds') {
                my $verdict = $plane->wait_settled(['cds', 'eds', 'lds'])->{verdict};
                is $verdict, $case->{refused} ? 'nack' : 'ack', 'xds: the verdict';
                is_deeply [refused_chains($plane->records(kind => 'nack'))], $case->{refused} // [],
                    'xds: what is refused';
            }
            $by{$source} = [map { outcomes($_) } @requests];
            $mesh->stop;
        }
        for my $i (0 .. $#requests) {
            my ($title) = $requests[$i] =~ /^([^\n]*)/;
            my @statuses = map { $_->{status} } @{ $by{files}[$i] };
            is_deeply $by{xds}[$i], $by{files}[$i], "$title: @statuses"
                or diag explain $by{xds}[$i], $by{files}[$i];
        }
        $plane->stop;
    };
}

# What of the others is refused, and what serves: a service that has nothing to do with what is
# refused, and one that is.  Where every chain is refused there is none of the first kind.
for my $case (
    { name => '04-authz', serves => 'notsleep', closed => 'details' },
    { name => '04c-jwt', serves => 'notsleep', closed => 'reviews' },
    { name => '05-vs-all', serves => 'notsleep', closed => 'reviews' },
    { name => '06-dr-all', serves => 'notsleep', closed => 'hcookie' },
    { name => '07-egress', serves => 'notsleep', closed => 'static.example.com' },
    { name => '07b-wildcard-tls', serves => 'notsleep', closed => 'none.example.com' },
    { name => '08-telemetry-extensions', closed => 'details' },
    { name => '09-gateway-api-routes', serves => 'notsleep', closed => 'reviews' },
    { name => '10-endpoints', serves => 'notsleep', closed => 'tdist' },
    { name => '10b-waypoint-for-workload' },
    { name => '10c-multinetwork', closed => 'details' },
    { name => '10d-dualstack-proxy', serves => 'notsleep', closed => 'tdist' },
    { name => '11-variants-flags', closed => 'details' },
) {
    subtest "$case->{name}: what is refused is named, the rest serves" => sub {
        $plane = Test::Cairn::ControlPlane->start(recording => $case->{name}, root => 'mesh');
        my $pods = pods_of_recording();
        delete $pods->[0]{$_} for grep { !/^notsleep-/ } keys %{ $pods->[0] };
        delete $pods->[1]{$_} for grep { !$pods->[0]{ $pods->[1]{$_} } } keys %{ $pods->[1] };
        my $model = JSON::PP->new->utf8->decode(slurp("$recorded/$case->{name}/model.json"));

        start(pods => $pods, load => [{ recording => $case->{name} }]);
        is $plane->wait_settled(['cds', 'lds'])->{verdict}, 'nack', 'not all is accepted';
        check_refusals($case->{name}, $plane->records(kind => 'nack'));
        is status_of($model, $case->{serves}), 200, "$case->{serves} answers" if $case->{serves};
        isnt status_of($model, $case->{closed}), 200, "$case->{closed} does not" if $case->{closed};
        isnt status_of($model, '10.244.1.13:9080'), 200, 'nor does a pod by its own address';
        $mesh->stop;
        $plane->stop;
    };
}

# The status of a request to an HTTP service's first port, or to an address; 0: none came.
sub status_of {
    my ($model, $name) = @_;

    my ($service) = grep { $_->{host} eq $name || $_->{host} =~ /^\Q$name\E\.default\.svc/ }
        @{ $model->{services} };
    my $to = $service ? "$service->{addresses}[0]:$service->{chains}[0]{port}" : $name;
    my $response = eval { $mesh->request("as default/sleep to $to GET /") };

    return $response ? $response->status : 0;
}

# The NACKs name the resources of refused.txt and no others; what has no room is counted.
sub check_refusals {
    my ($name, @nacks) = @_;

    my (%expected, %told, %more);

    for (split /\n/, slurp("$recorded/$name/refused.txt")) {
        my ($kind, $resource) = /^(\S+) (\S+):/;
        $expected{ $kind eq 'FilterChain' ? 'Listener' : $kind }{$resource} = 1;
    }
    for my $nack (@nacks) {
        my ($type) = $nack->{type} =~ /(\w+)$/;
        my $message = $nack->{error}{message} =~ s/Listener main_internal: (?=FilterChain)//gr;

        $more{$type} = $1 if $message =~ s/; and (\d+) more$//;
        $told{$type} = { map { $_ => 1 }
            $message =~ /(?:^|; )(?:Cluster|ClusterLoadAssignment|Listener|FilterChain) (\S+): /g };
    }
    is_deeply [sort keys %told], [sort keys %expected], 'the types that are refused';
    for my $type (sort keys %expected) {
        is_deeply [grep { !$expected{$type}{$_} } sort keys %{ $told{$type} }], [],
            "$type: nothing else is named";
        is keys(%{ $told{$type} }) + ($more{$type} // 0), keys %{ $expected{$type} },
            "$type: what is refused is named";
    }
    return;
}

sub refused_chains {
    my %names = map { $_ => 1 } map { $_->{error}{message} =~ /FilterChain (\S+):/g } @_;
    return sort keys %names;
}

done_testing;
