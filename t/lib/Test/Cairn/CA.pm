# SPDX-License-Identifier: Apache-2.0
#
# Test::Cairn::CA - a mesh's certificate authority: one root for the process, and workload
# certificates (ECDSA P-256) whose only name is a SPIFFE URI, as Istio's CA makes them. A second
# root can be asked for by name, to test that its certificates are refused.

package Test::Cairn::CA;

use strict;
use warnings;

use Exporter qw(import);
use IO::Socket::SSL::Utils qw(CERT_create KEY_create_ec PEM_cert2string PEM_key2string);

use Test::Cairn::Util qw(test_dir spew);

our @EXPORT_OK = qw(root_file root_key_file identity_files spiffe_id);

my (%ROOT, %BUNDLE, %LEAF);
my $SERIAL = 1000;


# spiffe_id('ns/sa' | 'sa' | 'spiffe://...', TRUST_DOMAIN = cluster.local); a bare name is in the
# namespace default.
sub spiffe_id {
    my ($name, $trust_domain) = @_;

    return $name if $name =~ m{^spiffe://};

    my ($namespace, $account) = $name =~ m{^([^/]+)/(.+)$} ? ($1, $2) : ('default', $name);
    $trust_domain //= 'cluster.local';
    return "spiffe://$trust_domain/ns/$namespace/sa/$account";
}

sub root_of {
    my ($name) = @_;

    return $ROOT{$name} if $ROOT{$name};

    my ($certificate, $key) = CERT_create(
        CA => 1,
        key => KEY_create_ec('prime256v1'),
        serial => $SERIAL++,
        not_before => time() - 3600,
        not_after => time() + 86400,
        subject => { organizationName => 'cluster.local', commonName => "root $name" },
    );
    my $file = spew(test_dir() . "/root-$name.pem", PEM_cert2string($certificate));

    return $ROOT{$name} = { certificate => $certificate, key => $key, file => $file };
}

# The file with the root certificate; NAME tells roots apart.
sub root_file {
    my ($name) = @_;

    return root_of($name // 'mesh')->{file};
}

# The file with its key, for another authority that signs by the same root.
sub root_key_file {
    my ($name) = @_;

    my $root = root_of($name // 'mesh');
    return $root->{key_file} //= spew(test_dir() . '/root-' . ($name // 'mesh') . '.key',
        PEM_key2string($root->{key}));
}

# A file with several roots: what a peer trusts while they change.
sub roots_file {
    my (@names) = @_;

    return $BUNDLE{"@names"} //= spew(test_dir() . '/roots-' . join('-', @names) . '.pem',
        join '', map { PEM_cert2string(root_of($_)->{certificate}) } @names);
}

# identity_files(NAME, root => NAME, trusts => [NAMES of roots], expired => 1, uris => [...]): a
# certificate for the identity, of a root; returns { certificate, key, root, id }, the first three of
# them files.  It trusts that root if nothing else is said.
sub identity_files {
    my ($name, %option) = @_;

    if (my $trusts = delete $option{trusts}) {
        return { %{ identity_files($name, %option) }, root => roots_file(@{$trusts}) };
    }

    my $id = spiffe_id($name);
    my $root = root_of($option{root} // 'mesh');
    my $uris = $option{uris} // [$id];
    my $cache = join "\n", $id, $root->{file}, $option{expired} // '', @{$uris};

    return $LEAF{$cache} if $LEAF{$cache};

    my $serial = $SERIAL++;
    my ($certificate, $key) = CERT_create(
        key => KEY_create_ec('prime256v1'),
        issuer_cert => $root->{certificate},
        issuer_key => $root->{key},
        serial => $serial,
        not_before => time() - 7200,
        not_after => $option{expired} ? time() - 3600 : time() + 43200,
        subject => { organizationName => 'cluster.local' },
        subjectAltNames => [map { ['URI', $_] } @{$uris}],
        purpose => 'digitalSignature,client,server',
    );
    my $stem = test_dir() . "/leaf-$serial";

    return $LEAF{$cache} = {
        certificate => spew("$stem.pem", PEM_cert2string($certificate)),
        key => spew("$stem.key", PEM_key2string($key)),
        root => $root->{file},
        id => $id,
    };
}

1;
