"""Signing: known answers to the byte, and refusals where the provider would come to another signature."""

import hashlib
import re
from base64 import b64decode
from urllib.parse import unquote

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from atl_sign.base.credentials import Consumer, Secret
from atl_sign.base.errors import BadUrlError
from atl_sign.base.request import Request
from atl_sign.base.urls import PARAMETERS_MAX, Pairs, parse_url
from atl_sign.schemes.oauth1 import signature as signing
from atl_sign.schemes.oauth1.signature import (
    PROTOCOL_PARAMETERS,
    LegRequest,
    sign,
    signature_base_string,
)
from atl_sign.schemes.oauth1.tokens import AccessToken, RequestToken
from tests.vectors import Vector, base_string_uris, private_key, public_pem, vector, vectors

URL = "https://jira.example.com/jira/rest/api/2/search"
TOKEN = AccessToken(Secret("tok123"), Secret("unused"))
RSA_SHA1 = [vector for vector in vectors() if vector.signature_method == "RSA-SHA1"]


def _items(header: str) -> dict[str, str]:
    scheme, _, rest = header.partition(" ")
    assert scheme == "OAuth"
    matches = [re.fullmatch(r'([a-z_]+)="([A-Za-z0-9._~%-]*)"', item) for item in rest.split(", ")]
    assert all(matches)
    return {match[1]: unquote(match[2]) for match in matches if match}


def _sign(request: Request, token: AccessToken | RequestToken | None = TOKEN) -> str:
    return sign(request, Consumer("example-consumer", private_key()), token, nonce="n-0001", timestamp=1700000000)


def _base_string(url: str, form: Pairs | None = None, method: str = "POST") -> str:
    consumer = Consumer("k", private_key())
    return signature_base_string(Request(method, parse_url(url), form), consumer, None, nonce="n", timestamp=1)


def _parameters(url: str, form: Pairs | None = None) -> list[str]:
    return [part for part in unquote(_base_string(url, form).split("&")[2]).split("&") if not part.startswith("oauth_")]


@pytest.mark.parametrize("known", RSA_SHA1, ids=lambda known: known.name)
def test_sign_reproduces_a_known_signature(known: Vector) -> None:
    """The header's signature is the published one to the byte, and each parameter is there once."""
    header = sign(known.request(), known.consumer(), known.access_token(), nonce=known.nonce, timestamp=known.timestamp)

    assert _items(header) == {
        "oauth_consumer_key": known.consumer_key,
        **({"oauth_token": known.token} if known.token else {}),
        "oauth_signature_method": "RSA-SHA1",
        "oauth_timestamp": str(known.timestamp),
        "oauth_nonce": known.nonce,
        "oauth_version": "1.0",
        **dict(known.oauth),
        "oauth_signature": known.signature,
    }


@pytest.mark.parametrize("known", RSA_SHA1, ids=lambda known: known.name)
def test_another_nonce_gives_another_signature(known: Vector) -> None:
    """The twin of the known answers: what is signed does decide the signature."""
    header = sign(known.request(), known.consumer(), known.access_token(), nonce=known.nonce + "x", timestamp=known.timestamp)

    assert _items(header)["oauth_signature"] != known.signature


@pytest.mark.parametrize("known", [known for known in RSA_SHA1 if known.base_string], ids=lambda known: known.name)
def test_signature_base_string_reproduces_a_known_one(known: Vector) -> None:
    """What is signed is the published base string to the byte."""
    base_string = signature_base_string(
        known.request(), known.consumer(), known.access_token(), nonce=known.nonce, timestamp=known.timestamp
    )

    assert base_string == known.base_string
    if known.base_string_sha1:
        assert hashlib.sha1(base_string.encode()).hexdigest() == known.base_string_sha1


def test_the_base_string_of_rfc_5849_comes_out_with_its_own_protocol_parameters() -> None:
    """
    RFC 5849 §3.4.1: the worked example, and the RSA signature that oauthlib's authors made over it.

    Its method is called HMAC-SHA1 and it has no version; we never send that, so these stand in for the ones we would send.
    """
    known = vector("rfc5849-3.4.1")
    oauth = [
        ("oauth_consumer_key", known.consumer_key),
        ("oauth_token", str(known.token)),
        ("oauth_signature_method", known.signature_method),
        ("oauth_timestamp", str(known.timestamp)),
        ("oauth_nonce", known.nonce),
    ]

    base_string = signing._base_string(known.request(), oauth)

    assert base_string == known.base_string
    public_key = serialization.load_pem_public_key(public_pem("oauthlib").encode())
    assert isinstance(public_key, rsa.RSAPublicKey)
    public_key.verify(b64decode(known.signature), base_string.encode(), padding.PKCS1v15(), hashes.SHA1())
    with pytest.raises(InvalidSignature):
        public_key.verify(b64decode(known.signature), base_string.encode() + b"x", padding.PKCS1v15(), hashes.SHA1())


@pytest.mark.parametrize(("url", "uri"), base_string_uris())
def test_the_base_string_uris_of_rfc_5849(url: str, uri: str) -> None:
    """RFC 5849 §3.4.1.2: case of the host, default and other ports, the path as sent."""
    assert unquote(_base_string(url).split("&")[1]) == uri


def test_the_method_is_in_upper_case_and_encoded() -> None:
    """RFC 5849 §3.4.1.1: "%" as it may stand in a token."""
    assert _base_string(URL, method="get").startswith("GET&")
    assert _base_string(URL, method="a%b").startswith("A%25B&")


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("b5=%3D%253D", ["b5=%3D%253D"]),  # RFC 5849 §3.4.1.3.2
        ("a=r%20b&c=2+q&d=%2B", ["a=r%20b", "c=2%20q", "d=%2B"]),  # §3.4.1.3.2, HTML 4.01 §17.13.4: "+" is a blank
        ("a=%c3%a9&b=é", ["a=%C3%A9", "b=%C3%A9"]),  # §3.6: hex in upper case
        ("a=*-._~!'()", ["a=%2A-._~%21%27%28%29"]),  # §3.6: unreserved alone stays
        ("%7E=%2D%2E%5F", ["~=-._"]),  # §3.6: unreserved is never encoded
        ("a&b=", ["a=", "b="]),  # §3.4.1.3.2: "even if the value is empty"
        ("a3=a&a3=2%20q", ["a3=2%20q", "a3=a"]),  # §3.4.1.3.2: by value where names are equal
        ("c%40=&c2=", ["c%40=", "c2="]),  # §3.4.1.3.2: by encoded name, "%" before "2"
        ("a1=x&a=y&a-b=z", ["a=y", "a-b=z", "a1=x"]),  # by name before the "=" is put: "-" < "1" < "="
        ("~=1&z=2&%C3%A9=3&Z=4&_=5&0=6", ["%C3%A9=3", "0=6", "Z=4", "_=5", "z=2", "~=1"]),  # bytes of ASCII, not letters
    ],
)
def test_parameters_are_decoded_encoded_and_sorted(query: str, parameters: list[str]) -> None:
    """Alike in the query and, less what curl never sends raw, in a form."""
    assert _parameters(f"{URL}?{query}") == parameters


def test_the_form_is_sorted_among_the_query() -> None:
    """RFC 5849 §3.4.1.3.1: one list, wherever a parameter came from."""
    assert _parameters(f"{URL}?b=2&d=4", (("c", "3"), ("a", "1 é"), ("b", "1"))) == ["a=1%20%C3%A9", "b=1", "b=2", "c=3", "d=4"]


@pytest.mark.parametrize("query", ["", "?"])
def test_without_a_query_and_with_an_empty_one_the_same_is_signed(query: str) -> None:
    """A lone question mark brings no parameter."""
    assert _base_string(URL + query) == _base_string(URL)


def test_a_fragment_is_not_signed() -> None:
    """It is never sent."""
    assert _base_string(URL + "#x?y=1") == _base_string(URL)


def test_the_order_of_sending_does_not_count() -> None:
    """RFC 5849 §3.4.1.3.2; a changed value does."""
    assert _base_string(f"{URL}?a=1&b=2") == _base_string(f"{URL}?b=2&a=1")
    assert _base_string(f"{URL}?a=1&b=2") != _base_string(f"{URL}?a=2&b=1")


@pytest.mark.parametrize("name", sorted(PROTOCOL_PARAMETERS))
def test_a_protocol_parameter_of_the_callers_own_is_refused(name: str) -> None:
    """
    In the query, encoded there, and in the form.

    The provider would see most of them twice and answer parameter_rejected; a token secret has no place in any request.
    """
    encoded = name.replace("oauth_", "%6Fauth%5f")
    for request in (
        Request("GET", parse_url(f"{URL}?a=1&{name}=x")),
        Request("GET", parse_url(f"{URL}?{encoded}")),
        Request("POST", parse_url(URL), ((name, "x"),)),
    ):
        with pytest.raises(BadUrlError, match=f"a parameter {name} of its own"):
            _sign(request)


@pytest.mark.parametrize("name", ["oauth_verifier", "oauth_body_hash", "oauth", "OAUTH_TOKEN", "realm", "xoauth_token"])
def test_a_parameter_that_only_looks_like_one_of_these_is_signed(name: str) -> None:
    """Names are compared exactly; "realm" is left out of the header alone (RFC 5849 §3.4.1.3.1)."""
    assert f"&{name}=x&" in "&" + unquote(_base_string(f"{URL}?{name}=x").split("&")[2]) + "&"


def test_the_names_are_those_that_the_provider_takes_once() -> None:
    """net.oauth 20100527, SimpleOAuthValidator.SINGLE_PARAMETERS, with the constants of OAuth.java."""
    single = "consumer_key token token_secret callback signature_method signature timestamp nonce version"

    assert {f"oauth_{name}" for name in single.split()} == PROTOCOL_PARAMETERS


def test_more_parameters_than_the_provider_reads_are_refused() -> None:
    """Query and form count together; one fewer is signed."""
    half = PARAMETERS_MAX // 2
    url = parse_url(f"{URL}?{'&'.join('a' for _ in range(half))}")
    form = (("a", ""),) * half

    _sign(Request("POST", url, form))
    with pytest.raises(BadUrlError, match=f"more than {PARAMETERS_MAX} parameters"):
        _sign(Request("POST", url, (*form, ("a", ""))))


def test_a_form_part_without_a_name_is_refused() -> None:
    """Tomcat drops it; a blank is a name."""
    _sign(Request("POST", parse_url(URL), ((" ", "x"),)))
    with pytest.raises(BadUrlError, match="a part without a name"):
        _sign(Request("POST", parse_url(URL), (("", "x"),)))


@pytest.mark.parametrize("pair", [("\ud83d", "x"), ("x", "canary\ude00")])
def test_half_a_surrogate_pair_is_refused(pair: tuple[str, str]) -> None:
    """JSON can carry it, UTF-8 cannot; the whole pair is a character like any other. The cause would show the text."""
    _sign(Request("POST", parse_url(URL), (("\U0001f600", "\U0001f600"),)))
    with pytest.raises(BadUrlError, match="not valid Unicode") as caught:
        _sign(Request("POST", parse_url(URL), (pair,)))

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_without_a_token_the_header_has_none() -> None:
    """The dance's first request (RFC 5849 §2.1)."""
    assert "oauth_token" not in _items(_sign(Request("POST", parse_url(URL)), None))


def test_a_request_token_signs_as_an_access_token_does() -> None:
    """The dance's last request (RFC 5849 §2.3); its verifier goes into the header."""
    request = LegRequest("POST", parse_url(URL), oauth=(("oauth_verifier", "a b&c"),))

    header = _sign(request, RequestToken(Secret("tok123"), Secret("unused")))

    assert header == _sign(request)
    assert _items(header)["oauth_verifier"] == "a b&c"
    assert 'oauth_verifier="a%20b%26c"' in header


def test_a_strange_consumer_key_is_encoded_in_header_and_base_string() -> None:
    """RFC 5849 §3.5.1: the header's values are percent-encoded, so nothing in them ends the quotes."""
    consumer = Consumer('a"b, c=%', private_key())

    header = sign(Request("GET", parse_url(URL)), consumer, None, nonce="n", timestamp=1)

    assert header.startswith('OAuth oauth_consumer_key="a%22b%2C%20c%3D%25", ')
    assert _items(header)["oauth_consumer_key"] == consumer.key


def test_a_request_does_not_show_its_protocol_parameters() -> None:
    """A verifier and a session handle are secrets."""
    request = LegRequest("POST", parse_url(URL), oauth=(("oauth_verifier", "canary"),))

    assert "canary" not in repr(request)
