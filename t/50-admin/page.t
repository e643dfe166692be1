#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The live page of the admin address, as a browser shows it, and what it asks.

use FindBin ();
use lib "$FindBin::Bin/../lib";
use Test::Cairn;

use JSON::PP ();
use POSIX ();

my $resources = <<'Y';
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {exact: /only-v2}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{headers: {x-name: {exact: "<script>alert(1)</script>"}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route:
    - {destination: {host: reviews, subset: v1}, weight: 75}
    - {destination: {host: reviews, subset: v2}, weight: 25}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: default}
spec:
  targetRefs: [{group: "", kind: Service, name: reviews}]
  rules: [{to: [{operation: {methods: [GET]}}]}]
Y

my $mesh = Test::Cairn->start(upstreams => <<'Y', resources => $resources);
reviews-v1:
reviews-v2:
web-v1: {program: {status: 503}}
sleep: {client: yes}
Y
my $daemon = $mesh->daemon;

$mesh->request('as sleep to reviews GET /only-v2') for 1 .. 7;
$mesh->request('as sleep to reviews GET /') for 1 .. 20;
$mesh->request('as sleep to reviews POST /') for 1 .. 3;
$mesh->request('as sleep to web GET /') for 1 .. 2;

sub routes {
    my $body = $daemon->http_get('ADMIN', '/traffic.json')->body;

    return @{ JSON::PP::decode_json($body)->{routes} };
}

# One figure, summed over all entries that have these values.
sub figure {
    my ($name, %where) = @_;
    my $sum = 0;

    for my $entry (routes()) {
        next if grep { ($entry->{$_} // '') ne $where{$_} } keys %where;
        $sum += $name =~ /^(\d)xx$/ ? $entry->{by_class}[$1] : $entry->{$name};
    }
    return $sum;
}

my $reviews = 'reviews.default.svc.cluster.local';
my $web     = 'web.default.svc.cluster.local';

subtest '/traffic.json counts by route and by where it led' => sub {
    ok wait_for(sub { figure('requests', host => $web) == 2 }, 5), 'all requests are counted';
    is figure('requests', host => $reviews, port => 9080, route => 0), 7, 'the first route';
    is figure('requests', host => $reviews, route => 1), 0, 'nothing took the second';
    is figure('requests', host => $reviews, route => 2), 23, 'the third, denied ones too';
    is figure('denied', host => $reviews), 3, 'denied';
    is figure('4xx', host => $reviews), 3, 'which are the 403';
    is figure('2xx', host => $reviews), 27, 'and 200';
    is figure('5xx', host => $web), 2, 'failures of another service';
    my $v1 = "inbound-vip|9080|http/v1|$reviews";
    my $v2 = "inbound-vip|9080|http/v2|$reviews";
    is figure('requests', route => 2, cluster => $v1) + figure('requests', route => 2, cluster => $v2),
        20, 'what was denied led nowhere';
    unlike $daemon->http_get('METRICS', '/stats/prometheus')->body, qr/only-v2|route=/,
        'routes are no labels of metrics';
};

subtest 'the files' => sub {
    my %type = ('/' => 'text/html', '/page.css' => 'text/css', '/page.js' => 'text/javascript');

    for my $path (sort keys %type) {
        my $answer = $daemon->http_get('ADMIN', $path);

        is $answer->status, 200, $path;
        like $answer->header('content-type'), qr/^\Q$type{$path}\E;/, "$path: type";
        like $answer->header('content-security-policy'), qr/default-src 'none'/, "$path: policy";
    }

    is $daemon->http_get('ADMIN', '/../conf/cairn.yaml')->status, 404, 'nothing else is a file';
    is $daemon->http_get('METRICS', '/page.js')->status, 404, 'nor elsewhere';
};

subtest 'a page of somebody else cannot ask under a name of theirs' => sub {
    my %status = ('localhost' => 200, 'LOCALHOST:15000' => 200, '127.0.0.1' => 200, '[::1]:80' => 200,
        'evil.example' => 403, 'localhost.evil.example' => 403, '127.0.0.1.evil.example:80' => 403);

    for my $host (sort keys %status) {
        is $daemon->http_get('ADMIN', '/status.json', 10, $host)->status, $status{$host}, $host;
    }
};

# The browser's command: it looks up and reaches nothing but this machine.  Without one the subtest
# says so and is skipped.
sub chromium_or_skip {
    my ($dir) = @_;
    my ($chromium) = grep { -x } map { ("$_/chromium", "$_/chromium-browser", "$_/google-chrome") }
        split /:/, $ENV{PATH};
    plan skip_all => 'no Chromium here (auto/deps --packages browser)' if !defined $chromium;

    return ($chromium, qw(--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run
        --disable-quic --disable-background-networking --disable-component-update --disable-sync),
        '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE ' . $daemon->address, "--user-data-dir=$dir");
}

subtest 'a browser' => sub {
    my @chromium = chromium_or_skip(test_dir() . '/browser');
    my $url = sprintf 'http://%s:%d/', $daemon->address, $daemon->port('ADMIN');
    open my $page, '-|', 'timeout', 60, @chromium, '--virtual-time-budget=4000', '--dump-dom', $url
        or die "timeout: $!";
    my $dom = do { local $/; <$page> };
    close $page;

    like $dom, qr{<title>default/waypoint – cairn</title>}, 'whose waypoint it is';
    like $dom, qr/id="denied">3</, 'denied';
    like $dom, qr/id="allowed">29</, 'allowed';
    like $dom, qr/id="failed">2</, 'failed';
    like $dom, qr/ready, version/, 'the state';
    my ($section) = $dom =~ m{(<section class="service"[^>]*><h2>\Q$reviews\E.*?</section>)}s;
    ok defined $section, 'the service' or return;
    like $section, qr/allowed 27, denied 3/, 'its sums';
    like $section, qr{1\. = /only-v2<.*2\. /.*3\. /}s, 'its routes in order';
    like $section, qr{reviews v1:9080<.*[\d.]+ % of 75 %.*reviews v2:9080<.*[\d.]+ % of 25 %}s, 'the split, seen and configured';
    like $section, qr{&lt;script&gt;alert\(1\)&lt;/script&gt;}, 'a name with markup in it is text';
};

# A page that stays open, over DevTools on descriptors 3 and 4 of the browser.
my ($to_browser, $from_browser, $browser, $session, $last_id);

sub open_browser {
    my ($log, @chromium) = @_;

    pipe my $commands, $to_browser or die "pipe: $!";
    pipe $from_browser, my $answers or die "pipe: $!";
    $to_browser->autoflush(1);
    $browser = fork // die "fork: $!";
    return if $browser;

    # Copied beyond 4 first: either pipe may already be one of the two.
    my ($in, $out) = map { fcntl $_, POSIX::F_DUPFD(), 10 } $commands, $answers;
    POSIX::dup2($in, 3);
    POSIX::dup2($out, 4);
    open STDERR, '>', $log;
    { exec @chromium, '--remote-debugging-pipe', 'about:blank' }
    POSIX::_exit(127);
}

sub devtools {
    my ($method, %params) = @_;
    my $id = ++$last_id;
    my %call = (id => $id, method => $method, params => \%params);

    $call{sessionId} = $session if defined $session;
    print {$to_browser} JSON::PP::encode_json(\%call), "\0";
    local $/ = "\0";

    while (defined(my $text = readline $from_browser)) {
        chomp $text;
        my $message = JSON::PP::decode_json($text);
        return $message->{result} if ($message->{id} // 0) == $id;
    }
    die "the browser is gone at $method\n";
}

sub shown {
    my ($expression) = @_;

    return devtools('Runtime.evaluate', expression => $expression)->{result}{value};
}

subtest 'a page that is open learns what a reload refuses, though that makes no generation' => sub {
    my @chromium = chromium_or_skip(test_dir() . '/open');

    local $SIG{ALRM} = sub { die "the browser does not answer\n" };
    alarm 60;
    open_browser(test_dir() . '/open.log', @chromium);
    my $url = sprintf 'http://%s:%d/', $daemon->address, $daemon->port('ADMIN');
    my $target = devtools('Target.createTarget', url => $url)->{targetId};
    $session = devtools('Target.attachToTarget', targetId => $target, flatten => JSON::PP::true)
        ->{sessionId};
    my $faults = 'document.getElementById("faults")';

    ok wait_for(sub { shown('/ready, version/.test(document.body.innerText)') }, 10), 'it is open';
    ok shown("$faults.hidden"), 'nothing is refused';
    my $generation = shown('document.getElementById("generation").textContent');

    $daemon->reload({ '80-refused.yaml' => <<'Y' });
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: refused, namespace: default}
spec:
  hosts: [reviews.elsewhere]
  http: 7
Y
    ok wait_for(sub { !shown("$faults.hidden") }, 10), 'what is refused is shown';
    like shown("$faults.innerText"), qr{VirtualService default/refused spec\.http: .*/80-refused\.yaml:6},
        'resource, field, file and line';
    is shown('document.getElementById("generation").textContent'), $generation, 'of no new generation';

    $daemon->reload({ '80-refused.yaml' => undef });
    ok wait_for(sub { shown("$faults.hidden") }, 10), 'and gone when it is mended';
    kill TERM => $browser;
    waitpid $browser, 0;
    alarm 0;
};

$mesh->stop;
done_testing;
