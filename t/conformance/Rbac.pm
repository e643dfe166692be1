# SPDX-License-Identifier: Apache-2.0
#
# Rbac - what istiod makes of an AuthorizationPolicy: policies of Envoy's RBAC filter. It shares
# nothing with cairn's own reading of them; what it knows is the documented mapping.

package Rbac;

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP ();

our @EXPORT_OK = qw(rbac_of);

my $TEMPLATE = 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig';
my $TRUE = JSON::PP::true;


sub regex { return { safe_regex => { regex => $_[0] } } }

# "*" is of something, "*x" a suffix, "x*" a prefix; with BEFORE in front of what is compared.
sub string_match {
    my ($value, $before) = @_;

    $before //= '';
    return regex('.+') if $value eq '*';
    return $before eq '' ? { suffix => $1 } : regex("$before.*$1") if $value =~ /^\*(.*)/;
    return { prefix => $before . $1 } if $value =~ /^(.*)\*$/;
    return { exact => $before . $value };
}

sub header {
    my ($name, $value, %option) = @_;

    return { header => { name => $name, present_match => $TRUE } } if $value eq '*';
    return { header => { name => $name, string_match => { %{ string_match($value) }, %option } } };
}

sub range {
    my ($value) = @_;

    my ($address, $bits) = split m{/}, $value;
    return { address_prefix => $address, prefix_len => 0 + ($bits // ($address =~ /:/ ? 128 : 32)) };
}

sub peer { return { filter_state => { key => 'io.istio.peer_principal', string_match => $_[0] } } }

sub service_account {
    my ($value) = @_;

    my ($namespace, $account) = $value =~ m{/} ? split(m{/}, $value) : ('default', $value);
    return peer(regex("spiffe://.+/ns/$namespace/(.+/|)sa/$account(/.+)?"));
}

sub path {
    my ($value) = @_;

    return { url_path => { path => string_match($value) } } if $value !~ /\{/;
    return { uri_template => { name => 'uri-template',
        typed_config => { '@type' => $TEMPLATE, path_template => $value =~ tr/{}//dr } } };
}

my %principal = (
    principals => sub { peer(string_match($_[0], 'spiffe://')) },
    namespaces => sub { peer(regex('.*/ns/' . $_[0] =~ s/\*/.*/gr . '/.*')) },
    serviceAccounts => \&service_account,
    ipBlocks => sub { +{ direct_remote_ip => range($_[0]) } },
    remoteIpBlocks => sub { +{ remote_ip => range($_[0]) } },
);
my %permission = (
    hosts => sub { header(':authority', $_[0], ignore_case => $TRUE) },
    methods => sub { header(':method', $_[0]) },
    paths => \&path,
    ports => sub { +{ destination_port => 0 + "$_[0]" } },
    'destination.ip' => sub { +{ destination_ip => range($_[0]) } },
    'connection.sni' => sub { +{ requested_server_name => string_match($_[0]) } },
);

$principal{'source.principal'} = $principal{principals};
$principal{'source.namespace'} = $principal{namespaces};
$principal{'source.serviceAccount'} = $principal{serviceAccounts};
$principal{'source.ip'} = $principal{ipBlocks};
$principal{'remote.ip'} = $principal{remoteIpBlocks};
$permission{'destination.port'} = $permission{ports};


# The two sides have the same form under other names.
my %who = (known => \%principal, all => 'and_ids', any => 'or_ids', not => 'not_id', list => 'ids');
my %what = (known => \%permission, all => 'and_rules', any => 'or_rules', not => 'not_rule', list => 'rules');

sub of_side {
    my ($side, $key) = @_;

    return $side->{known}{$key} if $side->{known}{$key};
    return if $side != \%who || $key !~ /^request\.headers\[(.*)\]$/;

    my $name = $1;
    return sub { header($name, $_[0]) };
}

sub conditions {
    my ($side, $make, $values, $not_values) = @_;

    my $any = sub { +{ $side->{any} => { $side->{list} => [map { $make->($_) } @{ $_[0] }] } } };
    return (
        $values ? $any->($values) : (),
        $not_values ? { $side->{not} => $any->($not_values) } : (),
    );
}

# One source or operation with the rule's `when`.
sub alternative {
    my ($side, $fields, $when) = @_;

    my @all;

    for my $name (sort keys %{ $side->{known} }) {
        push @all, conditions($side, $side->{known}{$name}, $fields->{$name},
            $fields->{ 'not' . ucfirst $name });
    }

    for my $entry (@{$when}) {
        my $make = of_side($side, $entry->{key}) or next;
        push @all, conditions($side, $make, $entry->{values}, $entry->{notValues});
    }

    return { $side->{all} => { $side->{list} => @all ? \@all : [{ any => $TRUE }] } };
}

sub rule {
    my ($rule) = @_;

    my $when = $rule->{when} // [];
    my @from = map { $_->{source} } @{ $rule->{from} // [{}] };
    my @to = map { $_->{operation} } @{ $rule->{to} // [{}] };

    return {
        principals => [map { alternative(\%who, $_ // {}, $when) } @from],
        permissions => [map { alternative(\%what, $_ // {}, $when) } @to],
    };
}

# rbac_of(ACTION, POLICIES): the rules of the filter of that action; nothing: there is no such filter.
sub rbac_of {
    my ($action, @policies) = @_;

    my @mine = grep { $_->{spec}{action} eq $action } @policies or return;
    my %made;

    for my $policy (@mine) {
        my $number = 0;
        my $name = "ns[default]-policy[$policy->{metadata}{name}]";

        $made{ "$name-rule[" . $number++ . ']' } = rule($_) for @{ $policy->{spec}{rules} // [] };
    }
    return { action => $action, policies => \%made };
}

1;
