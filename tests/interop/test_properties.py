"""Whatever we sign verifies in oauthlib, Authlib and the sandbox; with one byte changed it verifies in none of them."""

import base64
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

import pytest
from hypothesis import assume, given, note, settings
from hypothesis import strategies as st

from atl_sign.base.credentials import Consumer, Secret
from atl_sign.base.request import Request
from atl_sign.base.urls import DEFAULT_PORTS, parse_pairs, parse_url
from atl_sign.custody.keys.software import make_private_key
from atl_sign.schemes.oauth1.signature import sign
from atl_sign.schemes.oauth1.tokens import AccessToken
from tests.interop.judges import CONSUMER_KEY, TIMESTAMP, Authlib, Judge, Oauthlib, SandboxProvider, encode_raw
from tests.vectors import private_key

pytestmark = pytest.mark.slow

interop = settings.get_profile("interop")

URL = "https://jira.example.com/x?a=1"
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it stands on the wire."""

    method: str
    url: str
    form: str | None
    header: str


@pytest.fixture(scope="module", params=[Oauthlib, Authlib, SandboxProvider])
def judge(request: pytest.FixtureRequest) -> Iterator[Judge]:
    """Each of the three."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
        yield request.param()


def _sign(method: str, url: str, form: str | None = None, *, token: str = "tok123", nonce: str = "0123456789abcdef") -> Sent:
    request = Request(method, parse_url(url), None if form is None else parse_pairs(form, "form"))
    consumer = Consumer(CONSUMER_KEY, private_key())
    header = sign(request, consumer, AccessToken(Secret(token), Secret("")), nonce=nonce, timestamp=TIMESTAMP)
    return Sent(method, url, form, header)


def _accepts(judge: Judge, sent: Sent) -> bool:
    return judge.accepts(sent.method, sent.url, sent.form, sent.header)


# Methods: any token of RFC 9110, the usual ones more often.
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "get", "PropFind"]) | st.text(
    string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=12
)


@st.composite
def _origins(draw: st.DrawFn) -> str:
    """Names in any case and addresses, with and without a port."""
    scheme = draw(st.sampled_from(["http", "https", "HTTPS", "Http"]))
    host = draw(
        st.sampled_from(["jira.example.com", "JIRA.Example.COM", "a", "xn--bcher-kva.example", "a_b-c.example", "127.0.0.1"])
    )
    port = draw(st.sampled_from(["", ":80", ":443", ":8080", ":1", ":65535"]))
    return f"{scheme}://{host}{port}"


# Paths: what RFC 3986 allows. Without a semicolon at the end, which Python's urlparse, and so both libraries, lose.
PATHS = st.lists(
    st.sampled_from(
        [*(string.ascii_letters + "0189-._~!$&'()*+,=:@;/" + "/" * 9), "%2F", "%2f", "%20", "%C3%A9", "%c3%a9", "%25", "%7E"]
    ),
    max_size=20,
).map(lambda parts: "/" + "".join(parts).rstrip(";"))

# Names and values as somebody types them for curl: raw, half encoded, in either case of hex. No letter spells "oauth_".
_TYPED = st.lists(
    st.sampled_from(
        [
            *"abXY019-._~!$'()*+,:;@/?[]{}|^\"<>`\\é漢😀",
            *["%2B", "%2b", "%20", "%26", "%3D", "%25", "%2A", "%7E", "%C3%A9", "%c3%a9", "%F0%9F%98%80", "%00", "%0A", "%5B"],
        ]
    ),
    max_size=8,
).map("".join)
# And any text of Unicode, as a program encodes it.
_ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_ENCODED = st.builds(
    lambda text, encode: encode(text), _ANY, st.sampled_from([quote, quote_plus, lambda text: quote(text, safe="")])
)
_WORDS = _TYPED | _ENCODED
_PART = st.builds(
    lambda name, equals, value: name + equals + (value if equals else ""),
    _WORDS.filter(bool),
    st.sampled_from(["=", ""]),
    _WORDS | _WORDS.map(lambda text: text + "="),
)


# A query or a form: parts, some of them twice, with one "&" or two between.
PARAMETER_TEXTS = st.builds(
    lambda parts, more, ampersand: ampersand.join([*parts, *parts[:more]]),
    st.lists(_PART, max_size=6),
    st.integers(0, 2),
    st.sampled_from(["&", "&", "&&"]),
)


@st.composite
def _requests(draw: st.DrawFn) -> Sent:
    """A request that we signed."""
    url = draw(_origins()) + draw(PATHS | st.just(""))
    query = draw(st.none() | PARAMETER_TEXTS)
    if query is not None:
        url += "?" + query
    form = draw(st.none() | PARAMETER_TEXTS)
    method = draw(METHODS) if form is None else "POST"
    token = draw(st.text(string.ascii_letters + string.digits, min_size=1, max_size=32))
    nonce = draw(st.binary(min_size=16, max_size=16)).hex()
    return _sign(method, url, form, token=token, nonce=nonce)


@interop
@given(sent=_requests())
def test_what_we_sign_verifies(judge: Judge, sent: Sent) -> None:
    """Any method, any URL, any form."""
    note(repr(sent))

    assert _accepts(judge, sent)


@interop
@given(sent=_requests(), data=st.data())
def test_a_changed_byte_does_not_verify(judge: Judge, sent: Sent, data: st.DataObject) -> None:
    """In method, URL, form or header, any character for any other, unless it means the same (as %2f and %2F in a query)."""
    part = data.draw(st.sampled_from(["method", "url", "header", *(["form"] if sent.form else [])]), label="part")
    text: str = getattr(sent, part)
    # One half of the changes to the URL fall behind the host, where most of the meaning is.
    start = data.draw(st.sampled_from([0, min(len(text) - 1, 20)] if part == "url" else [0]))
    place = data.draw(st.integers(start, len(text) - 1), label="place")
    character = data.draw(st.sampled_from(PRINTABLE + (" " if part == "header" else "")), label="character")
    changed = replace(sent, **{part: text[:place] + character + text[place + 1 :]})
    assume(_meaning(changed) != _meaning(sent))
    note(repr(changed))

    assert not _accepts(judge, changed)


@interop
@given(sent=_requests(), bit=st.integers(0, 1023))
def test_a_changed_bit_of_the_signature_does_not_verify(judge: Judge, sent: Sent, bit: int) -> None:
    """Every one of the 1,024 counts."""
    start, name, value = sent.header.rpartition('oauth_signature="')
    signature = int.from_bytes(base64.b64decode(unquote(value.rstrip('"')))) ^ (1 << bit)
    changed = quote(base64.b64encode(signature.to_bytes(128)), safe="")

    assert not _accepts(judge, replace(sent, header=f'{start}{name}{changed}"'))


@interop
@given(sent=_requests(), other=_requests())
def test_the_header_of_another_request_does_not_verify(judge: Judge, sent: Sent, other: Sent) -> None:
    """A header is good for the request that it was made for."""
    assume(_meaning(replace(sent, header="")) != _meaning(replace(other, header="")))

    assert not _accepts(judge, replace(sent, header=other.header))


def test_another_key_does_not_verify(judge: Judge) -> None:
    """The twin of all that verifies: the same request by a stranger's key."""
    request = Request("GET", parse_url(URL))
    token = AccessToken(Secret("tok123"), Secret(""))
    header = sign(request, Consumer(CONSUMER_KEY, make_private_key(2048)), token, nonce="0123456789abcdef", timestamp=TIMESTAMP)

    assert _accepts(judge, _sign("GET", URL))
    assert not _accepts(judge, Sent("GET", URL, None, header))


def test_another_consumer_does_not_verify(judge: Judge) -> None:
    """Nor a header without a signature, or without anything."""
    sent = _sign("GET", URL)

    for header in (
        sent.header.replace(CONSUMER_KEY, "somebody"),
        sent.header.partition(", oauth_signature=")[0],
        "OAuth",
        "Basic YTpi",
        "",
    ):
        assert not _accepts(judge, replace(sent, header=header))


def _meaning(sent: Sent) -> object:
    """
    Return what a provider makes of a request, by nobody's OAuth code: equal meanings may share a signature.

    Query and form are one list (RFC 5849 §3.4.1.3), whose order does not count.
    """
    form = parse_qsl(encode_raw(sent.form or ""), keep_blank_values=True)
    try:
        url = urlsplit(sent.url)
        port = url.port or DEFAULT_PORTS.get(url.scheme)
        where: object = url.scheme, url.username, url.hostname, port, url.path or "/"
        parameters = sorted(form + parse_qsl(encode_raw(url.query), keep_blank_values=True))
    except ValueError:
        where, parameters = sent.url, form
    return sent.method.upper(), where, parameters, _meaning_of_header(sent.header)


def _meaning_of_header(text: str) -> object:
    scheme, _, rest = text.partition(" ")
    try:
        texts = [text for text in parse_http_list(rest) if text]  # RFC 9110 §5.6.1: an empty item is none
        items = {unquote(name): unquote(value) for name, value in parse_keqv_list(texts).items()}
        signature = base64.b64decode(items.pop("oauth_signature"))
    except (ValueError, IndexError, KeyError):
        return text
    return scheme.lower(), sorted(items.items()), signature
