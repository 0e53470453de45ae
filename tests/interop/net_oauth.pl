#!/usr/bin/perl
# Signs requests with Net::OAuth: reads JSON lines from standard input, writes one JSON line for each.
# in:  {"key": PEM, "method", "url", "form"?, "consumer_key", "token"?, "nonce", "timestamp", "oauth": [[name, value], …]}
# out: {"base_string", "signature"} or {"error"}
use strict;
use warnings;

use Crypt::OpenSSL::RSA;
use Encode qw(decode encode FB_CROAK);
use JSON::PP;
use Net::OAuth;
use URI;
use URI::Escape qw(uri_unescape);

$Net::OAuth::PROTOCOL_VERSION = Net::OAuth::PROTOCOL_VERSION_1_0A;
local $SIG{__WARN__} = sub { die @_ };

# Net::OAuth takes the parameters decoded, in a hash.
sub pairs_of {
    my ($text) = @_;
    return () unless defined $text;
    my @pairs;
    for my $part (split /&/, encode('UTF-8', $text)) {
        next if $part eq '';
        my ($name, $value) = split /=/, $part, 2;
        push @pairs, [map { decode('utf8', uri_unescape(tr/+/ /r), FB_CROAK) } $name, $value // ''];
    }
    return @pairs;
}

# It leaves the case of the host and a default port as they are, so URI puts them right; the path stays as it is.
sub without_query {
    my ($text) = @_;
    my $uri = URI->new($text =~ s/[?#].*//sr);
    my $canonical = $uri->canonical;
    $uri->scheme($canonical->scheme);
    $uri->authority($canonical->authority);
    $uri->path('/') if $uri->path eq '';
    return $uri;
}

sub sign {
    my ($in) = @_;
    my ($query) = $in->{url} =~ /\A[^?#]*\?([^#]*)/;
    my %extra = map { @$_ } pairs_of($query), pairs_of($in->{form});
    my %oauth = map { ($_->[0] =~ s/\Aoauth_//r) => $_->[1] } @{$in->{oauth}};
    my $kind = exists $oauth{callback} ? 'request token' : exists $oauth{verifier} ? 'access token' : 'protected resource';
    my $key = Crypt::OpenSSL::RSA->new_private_key($in->{key});
    my $request = Net::OAuth->request($kind)->new(
        %oauth,
        consumer_key => $in->{consumer_key},
        consumer_secret => '',
        defined $in->{token} ? (token => $in->{token}, token_secret => '') : (),
        request_url => without_query($in->{url}),
        request_method => $in->{method},
        signature_method => 'RSA-SHA1',
        timestamp => $in->{timestamp},
        nonce => $in->{nonce},
        extra_params => \%extra,
    );
    $request->sign($key);
    return {base_string => $request->signature_base_string, signature => $request->signature};
}

my $json = JSON::PP->new->utf8->canonical;
while (my $line = <STDIN>) {
    my $out = eval { sign($json->decode($line)) } // {error => "$@"};
    print $json->encode($out), "\n";
}
