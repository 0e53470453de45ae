"""The sandbox's verification against published vectors, and each rule of it alone."""

import hashlib
from base64 import b64decode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from atl_sign.sandbox.parameters import PARAMETERS_MAX, ServerThrowsError, parse_authorization, parse_parameters
from atl_sign.sandbox.problems import OAuthProblemError
from atl_sign.sandbox.verify import NonceMemory, OAuthMessage, make_base_uri, verify

# The public test key of wiki.oauth.net "TestCases" 9.3 (facts section 13.1).
WIKI_KEY = (
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC0YjCwIfYoprq/FQO6lb3asXrxLlJFuCvtinTF5p0GxvQGu5O3gYytUvtC2JlYzypSRjVxwxrsuRcP3e641SdASwfr"
    "mzyvIgP08N4S0IFzEURkV1wp/IpH7kH41EtbmUmrXSwfNZsnQRE5SYSOhh+LcK2wyQkdgcMv11l4KoBkcwIDAQAB"
)
WIKI_BASE_STRING = (
    "GET&http%3A%2F%2Fphotos.example.net%2Fphotos&file%3Dvacaction.jpg%26oauth_consumer_key%3Ddpf43f3p2l4k3l03%26"
    "oauth_nonce%3D13917289812797014437%26oauth_signature_method%3DRSA-SHA1%26oauth_timestamp%3D1196666512%26oauth_version%3D1.0%26"
    "size%3Doriginal"
)
WIKI_SIGNATURE = (
    "jvTp/wX1TYtByB1m+Pbyo0lnCOLIsyGCH7wke8AUs3BpnwZJtAuEJkvQL2/9n4s5wUmUl4aCI4BwpraNx4RtEXMe5qg5T1LVTGliMRpKasKsW//e+RinhejgCuzoH26dyF8"
    "iY2ZZ/5D1ilgeijhV/vBka5twt399mXwaYdCwFYE="
)
# Facts section 13.3, vectors A to E: method, URL, form body, extra protocol parameters, signature.
ATLASSIAN_VECTORS: list[tuple[str, str, bytes, tuple[tuple[str, str], ...], str]] = [
    (
        "POST",
        "https://jira.example.com/jira/plugins/servlet/oauth/request-token",
        b"",
        (("oauth_callback", "http://127.0.0.1:8765/cb?i=1"),),
        "FxBEROjESa+9I38axpIGpTHZm4diRoZFORFmaHro1W1EkEzRiifOo08HUKnFRutbECvzHBcpW63XM3sUb2m0B1C5sdkBvUHkHnqVnmdzFoVXcycV5XzRkeMA954xYkdunu9R"
        "2vXYaX77IIh1aaTY0qCPlcymtl134Qmf1qeGzJ8=",
    ),
    (
        "GET",
        "https://JIRA.example.com:443/jira/rest/api/2/search?jql=project%20%3D%20%22A%20B%22&fields=*all&x=a+b",
        b"",
        (("oauth_token", "tok123"),),
        "YyuHDZ+FmS0PiQDoqcW2gsXWKkVOaRugVLnYZkYUAJeZgg1L5IIwSSPEhwL0S/1RlyuU8UfFD/D8pJgaYlLw5B8hP8O30auNNtXrrCQw0sI2h1PzcoSee2i2WrXacsihMBiI8X"
        "4gw1HXXsB5XSWMmYcAiPiTNTXEOvAuPY+PetI=",
    ),
    (
        "POST",
        "http://bamboo.example.com:8085/bamboo/rest/api/latest/queue/PRJ-PLAN?os_authType=basic",
        b"stage=&a=1&b=hello+world&c=%C3%A9~&a=0",
        (("oauth_token", "tok123"),),
        "RqNV8gcAf7pjxQ53k9dji1rSKL1sJhjLt1D4G2gOygCD9hLOoiDoctitHy1+y8UrPJZvo55bAQzFx3BINXJuYBGAPk7D4MJa8mShw3xIXAaFyHyJcfAdlhjC1ucdAYMkOQeQS6"
        "I9bbATmgn8spIVmHbHHjZeoCiP16QnKnBe7XI=",
    ),
    (
        "GET",
        "http://bitbucket.example.com:7990/rest/api/1.0/projects/~bob/repos/x%20y/browse?at=refs%2Fheads%2Ffeature%2F1",
        b"",
        (("oauth_token", "tok123"),),
        "G9n8McPW4zvEhDSwkMuAS+MozKl5xlvkKHyBIaXRoyrjL5TNr+xKUMipebHmXa0XtMTD0T139Auc2TL4LP+69Ag3fFCsRrEhOHWFeQr4w/QMdIbpqPTQIp2lm0/wOD+qXr5ET2p"
        "QUTn0wfNwZibukP+qGf9AHSH3t3GkftRhsys=",
    ),
    (
        "PUT",
        "https://bitbucket.example.com/rest/access-tokens/1.0/users/bob",
        b"",
        (("oauth_token", "tok123"),),
        "PjKQy8nSnQObnhmYIVj1nxiMcG6oq5Pd84R0e8xWsyEZxeIZR7cJu1+h6vfCWVFYfnBAVw0kTABmPjXcN2ZEPWIzhnLeyzAoZ0sAmD+KkKyowUD5HR9qA+wsLL8iP+F5drLvDVTa"
        "0B4wO4z7iUyR/4iQ666szTczwZj6MSaShrA=",
    ),
]
BASE_STRING_C = (
    "POST&http%3A%2F%2Fbamboo.example.com%3A8085%2Fbamboo%2Frest%2Fapi%2Flatest%2Fqueue%2FPRJ-PLAN&a%3D0%26a%3D1%26b%3Dhello%2520world%26"
    "c%3D%25C3%25A9~%26oauth_consumer_key%3Dexample-consumer%26oauth_nonce%3Dn-0003%26oauth_signature_method%3DRSA-SHA1%26"
    "oauth_timestamp%3D1700000002%26oauth_token%3Dtok123%26oauth_version%3D1.0%26os_authType%3Dbasic%26stage%3D"
)


def wiki_key() -> RSAPublicKey:
    key = load_der_public_key(b64decode(WIKI_KEY))
    assert isinstance(key, RSAPublicKey)
    return key


def wiki_message(**changes: str) -> OAuthMessage:
    parameters = {
        "oauth_consumer_key": "dpf43f3p2l4k3l03",
        "oauth_signature_method": "RSA-SHA1",
        "oauth_signature": WIKI_SIGNATURE,
        "oauth_timestamp": "1196666512",
        "oauth_nonce": "13917289812797014437",
        "oauth_version": "1.0",
        "file": "vacaction.jpg",
        "size": "original",
        **changes,
    }
    return OAuthMessage("GET", b"http://photos.example.net/photos", tuple(parameters.items()))


def problem_of(message: OAuthMessage, now: float = 1_196_666_512, nonces: NonceMemory | None = None) -> OAuthProblemError:
    with pytest.raises(OAuthProblemError) as caught:
        verify(message, wiki_key(), nonces or NonceMemory(), now)
    return caught.value


def test_wiki_vector_comes_out_to_the_byte() -> None:
    """wiki.oauth.net TestCases 9.3: base string and signature, as published."""
    message = wiki_message()

    verify(message, wiki_key(), NonceMemory(), 1_196_666_512)

    assert message.base_string == WIKI_BASE_STRING
    assert len(message.base_string) == 249
    assert hashlib.sha1(message.base_string.encode()).hexdigest() == "411e14424bd4a702b6fc09de72efc33a2e4ff0cd"


@pytest.mark.parametrize("name", ["file", "size", "oauth_consumer_key", "oauth_nonce", "oauth_timestamp", "oauth_token"])
def test_wiki_vector_with_anything_changed_is_invalid(name: str) -> None:
    """One changed or added parameter, and the signature does not hold; the problem brings what it was checked against."""
    message = wiki_message(**{name: "1196666513"})

    problem = problem_of(message)

    assert problem.problem == "signature_invalid"
    assert problem.fields == {
        "oauth_signature": WIKI_SIGNATURE,
        "oauth_signature_base_string": message.base_string,
        "oauth_signature_method": "RSA-SHA1",
    }


@pytest.mark.parametrize("number", range(1, 6))
def test_atlassian_shaped_vectors_verify(number: int) -> None:
    """Facts section 13.3: five requests as the four products get them; with another method each fails."""
    method, url, form, extra, signature = ATLASSIAN_VECTORS[number - 1]
    scheme, _, rest = url.partition("://")
    address, _, query = rest.partition("?")
    host, slash, path = address.partition("/")
    oauth = (
        ("oauth_consumer_key", "example-consumer"),
        ("oauth_signature_method", "RSA-SHA1"),
        ("oauth_version", "1.0"),
        ("oauth_nonce", f"n-000{number}"),
        ("oauth_timestamp", str(1_700_000_000 + number - 1)),
        ("oauth_signature", signature),
        *extra,
    )
    base_uri = make_base_uri(scheme, host.encode(), (slash + path).encode())
    parameters = oauth + parse_parameters(query.encode()) + parse_parameters(form)

    verify(OAuthMessage(method, base_uri, parameters), wiki_key(), NonceMemory(), 1_700_000_000)

    assert number != 3 or OAuthMessage(method, base_uri, parameters).base_string == BASE_STRING_C
    assert problem_of(OAuthMessage("DELETE", base_uri, parameters), 1_700_000_000).problem == "signature_invalid"


def test_rfc_5849_base_string_comes_out_to_the_byte() -> None:
    """RFC 5849 §3.4.1.1: the example's base string."""
    header = parse_authorization(
        'OAuth realm="Example", oauth_consumer_key="9djdj82h48djs9d2", oauth_token="kkk9d7dh3k39sjv7", '
        'oauth_signature_method="HMAC-SHA1", '
        'oauth_timestamp="137131201", oauth_nonce="7d8f3e4a", oauth_signature="bYT5CMsGcbgUdFHObYMEfcx6bsw%3D"'
    )
    parameters = header + parse_parameters(b"b5=%3D%253D&a3=a&c%40=&a2=r%20b") + parse_parameters(b"c2&a3=2+q")

    message = OAuthMessage("post", make_base_uri("http", b"example.com", b"/request"), parameters)

    assert message.base_string == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26"
        "oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
        "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


@pytest.mark.parametrize(
    ("scheme", "authority", "path", "expected"),
    [
        ("http", b"EXAMPLE.COM:80", b"/r%20v/X", b"http://example.com/r%20v/X"),
        ("https", b"www.example.net:8080", b"", b"https://www.example.net:8080/"),
        ("https", b"h:443", b"/", b"https://h/"),
        ("https", b"h:80", b"/", b"https://h:80/"),
        ("http", b"h:443", b"/a%2fb", b"http://h:443/a%2fb"),
    ],
)
def test_base_uri_is_that_of_rfc_5849(scheme: str, authority: bytes, path: bytes, expected: bytes) -> None:
    """RFC 5849 §3.4.1.2: lower case down to the port, the scheme's own port dropped, the path as sent."""
    assert make_base_uri(scheme, authority, path) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", ()),
        (b"a=1&a=0&&b", (("a", "1"), ("a", "0"), ("b", ""))),
        (b"a=b=c&d=x;y", (("a", "b=c"), ("d", "x;y"))),
        (b"a+b=c+d%2B%20", (("a b", "c d+ "),)),
        ('é=ü&[x]={"^|}'.encode(), (("é", "ü"), ("[x]", '{"^|}'))),
        (b"=lost&a=1", (("a", "1"),)),
        (b"a=%zz&b=%4&c=%41", (("c", "A"),)),
        (b"a=%FF", (("a", "\ufffd"),)),
    ],
)
def test_parameters_are_read_as_by_tomcat(raw: bytes, expected: object) -> None:
    """Split at "&" alone, "+" a blank, nameless and broken parts dropped."""
    assert parse_parameters(raw) == expected


def test_parameters_after_the_limit_are_not_read() -> None:
    """Tomcat's maxParameterCount."""
    assert len(parse_parameters(b"a=1&" * (PARAMETERS_MAX + 5))) == PARAMETERS_MAX


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('OAuth realm="x", a="1",b = "%20"', (("a", "1"), ("b", " "))),
        ('oauth REALM="x",a="b+c"', (("a", "b c"),)),
        ('OAuth a=1, b="2", , c', (("b", "2"),)),
        ('Basic a="1"', ()),
        ("OAuth", ()),
        ("", ()),
    ],
)
def test_authorization_is_read_as_by_net_oauth(value: str, expected: object) -> None:
    """The realm is ignored, "+" is a blank, items without quotes are passed over, other schemes are not OAuth."""
    assert parse_authorization(value) == expected


def test_broken_escape_in_the_header_makes_the_server_throw() -> None:
    """Java's URLDecoder throws at it."""
    with pytest.raises(ServerThrowsError):
        parse_authorization('OAuth a="%zz"')


def test_signature_method_is_looked_at_before_anything_else() -> None:
    """Everything else is wrong too, and still it is the method that is told."""
    message = wiki_message(oauth_signature_method="HMAC-SHA1", oauth_version="3", oauth_timestamp="0")

    assert problem_of(message).problem == "signature_method_rejected"
    assert problem_of(OAuthMessage("GET", b"http://h/", ())).problem == "signature_method_rejected"


def test_repeated_protocol_parameter_is_rejected_with_its_values() -> None:
    """Once in the header, once in the query: told before the version is looked at."""
    message = wiki_message(oauth_version="3")
    message = OAuthMessage(message.method, message.base_uri, (*message.parameters, ("oauth_nonce", "a b")))

    problem = problem_of(message)

    assert problem.problem == "parameter_rejected"
    assert problem.fields == {"oauth_parameters_rejected": "oauth_nonce=13917289812797014437&oauth_nonce=a%20b"}


@pytest.mark.parametrize("version", ["2.0", "1.1", "0.9"])
def test_other_version_is_rejected(version: str) -> None:
    """Before the timestamp is looked at."""
    problem = problem_of(wiki_message(oauth_version=version, oauth_timestamp="0"))

    assert (problem.problem, problem.fields) == ("version_rejected", {"oauth_acceptable_versions": "1.0-1.0"})


def test_version_may_be_missing_or_short() -> None:
    """It is optional, and need only be the number one."""
    short, missing = wiki_message(oauth_version="1"), dict(wiki_message().parameters)
    del missing["oauth_version"]

    # Both get as far as the signature, which was made over "1.0".
    assert problem_of(short).problem == "signature_invalid"
    assert problem_of(OAuthMessage("GET", short.base_uri, tuple(missing.items()))).problem == "signature_invalid"


@pytest.mark.parametrize(
    "changes",
    [
        *({"oauth_version": text} for text in ("one", "", "1_0", "1.0x", "nan", "NaNf", "\u0661", "1e")),
        *(
            {"oauth_timestamp": text}
            for text in (
                "now",
                "",
                " 5",
                "5 ",
                "5\n",
                "+",
                "-",
                "--5",
                "1_0",
                "0x5",
                "5L",
                "5.0",
                "9223372036854775808",
                "9" * 1_000,
            )
        ),
    ],
)
def test_what_is_no_number_makes_the_server_throw(changes: dict[str, str]) -> None:
    """Java's parsers throw; that is a 500 and no OAuth problem."""
    with pytest.raises(ServerThrowsError):
        verify(wiki_message(**changes), wiki_key(), NonceMemory(), 1_196_666_512)


@pytest.mark.parametrize("offset", [-300, 300])
def test_timestamp_at_the_edge_of_the_window_is_taken(offset: int) -> None:
    """Five minutes either way."""
    verify(wiki_message(), wiki_key(), NonceMemory(), 1_196_666_512 + offset)


@pytest.mark.parametrize("offset", [-301, 301])
def test_timestamp_outside_the_window_is_refused_with_the_window(offset: int) -> None:
    """One second more, and the middle of what is acceptable tells the server's clock."""
    now = 1_196_666_512 + offset

    problem = problem_of(wiki_message(), now)

    assert (problem.problem, problem.fields) == ("timestamp_refused", {"oauth_acceptable_timestamps": f"{now - 300}-{now + 300}"})


@pytest.mark.parametrize("timestamp", ["-5", "+5", "005", "\u0663", "9223372036854775807", "-9223372036854775808"])
def test_a_timestamp_is_any_number_that_java_parses(timestamp: str) -> None:
    """Long.parseLong takes a sign, leading zeros and other scripts' digits: far away, and no fault (measured with OpenJDK 17)."""
    assert problem_of(wiki_message(oauth_timestamp=timestamp)).problem == "timestamp_refused"


@pytest.mark.parametrize("timestamp", ["+1196666512", "001196666512"])
def test_another_spelling_of_now_is_taken(timestamp: str) -> None:
    """As far as the signature, which was made over another text."""
    assert problem_of(wiki_message(oauth_timestamp=timestamp)).problem == "signature_invalid"


@pytest.mark.parametrize("version", [" 1.0 ", "+1", "1f", "1.d", "1e0", ".1e1", "NaN"])
def test_a_version_is_any_number_that_java_parses(version: str) -> None:
    """Double.parseDouble; NaN is neither less nor more than 1.0."""
    assert problem_of(wiki_message(oauth_version=version)).problem == "signature_invalid"


def test_nonce_is_good_once_for_one_consumer() -> None:
    """Whatever the token and the timestamp, even when the first signature was wrong."""
    nonces = NonceMemory()
    first = problem_of(wiki_message(oauth_token="a"), nonces=nonces)

    second = problem_of(wiki_message(oauth_token="b", oauth_timestamp="1196666513"), nonces=nonces)
    other_consumer = problem_of(wiki_message(oauth_consumer_key="other"), nonces=nonces)

    assert first.problem == "signature_invalid"
    assert second.problem == "nonce_used"
    assert other_consumer.problem == "signature_invalid"


def test_nonce_is_forgotten_after_twice_the_window() -> None:
    """Its timestamp would be refused by then."""
    nonces = NonceMemory()
    nonces.use("c", "n", 1_000.0)

    nonces.use("c", "n", 1_601.0)

    with pytest.raises(OAuthProblemError):
        nonces.use("c", "n", 1_602.0)


@pytest.mark.parametrize("signature", ["", "A", "not base64!", "ü", "AAAA", WIKI_SIGNATURE[4:], WIKI_SIGNATURE[:-1] + "AAAA"])
def test_a_signature_of_another_length_makes_the_server_throw(signature: str) -> None:
    """Java's Signature.verify throws for what is not as long as the key (measured with OpenJDK 17): 500, and no OAuth problem."""
    with pytest.raises(ServerThrowsError):
        verify(wiki_message(oauth_signature=signature), wiki_key(), NonceMemory(), 1_196_666_512)


@pytest.mark.parametrize("signature", ["AAAA" + WIKI_SIGNATURE[4:], "/" * 170 + "8=", "A" * 171 + "="])
def test_what_is_as_long_as_the_key_is_invalid(signature: str) -> None:
    """Changed, more than the modulus, zero: Java returns false for each."""
    assert problem_of(wiki_message(oauth_signature=signature)).problem == "signature_invalid"


@pytest.mark.parametrize("name", ["oauth_timestamp", "oauth_nonce", "oauth_signature", "oauth_consumer_key"])
def test_missing_parameter_is_named(name: str) -> None:
    """The list is percent-encoded names, joined by "&"."""
    parameters: dict[str, Any] = dict(wiki_message().parameters)
    del parameters[name]

    problem = problem_of(OAuthMessage("GET", b"http://photos.example.net/photos", tuple(parameters.items())))

    assert (problem.problem, problem.fields) == ("parameter_absent", {"oauth_parameters_absent": name})
