"""URLs: taken apart as they will be sent; what two programs would read differently is refused with the reason."""

import contextlib
import time

import pytest

from atl_sign.base.errors import BadUrlError
from atl_sign.base.urls import PARAMETERS_MAX, URL_BYTES_MAX, Pairs, Url, parse_pairs, parse_url

PATH_CHARACTERS = "/-._~!$&'()*+,;=:@aA0"  # RFC 3986 §3.3: pchar without its escapes, and "/"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://jira.example.com", Url("https", "jira.example.com", 443, "/")),
        ("http://jira.example.com/", Url("http", "jira.example.com", 80, "/")),
        ("https://h:8443/jira/rest?a=1", Url("https", "h", 8443, "/jira/rest", "a=1")),
        ("https://h?a=1", Url("https", "h", 443, "/", "a=1")),
        ("https://h/?", Url("https", "h", 443, "/", "")),
        ("https://h#x", Url("https", "h", 443, "/")),
        ("https://h/a#x?b=1", Url("https", "h", 443, "/a")),
        ("https://h/a?b=1#x#y", Url("https", "h", 443, "/a", "b=1")),
        ("https://h/a?b=/c?d://e", Url("https", "h", 443, "/a", "b=/c?d://e")),
        ("https://h//a/./b/../c/", Url("https", "h", 443, "//a/./b/../c/")),
        ("https://h/%7e%7E%2F%c3%A9~;x=1", Url("https", "h", 443, "/%7e%7E%2F%c3%A9~;x=1")),
        ("https://h/aZ9-._~*!$&'()+,;=:@%5b", Url("https", "h", 443, "/aZ9-._~*!$&'()+,;=:@%5b")),
        ('https://h/?a[1]{x}|^"`<>\\é😀', Url("https", "h", 443, "/", 'a[1]{x}|^"`<>\\é😀')),
    ],
)
def test_parse_url_takes_a_url_apart_and_changes_nothing(text: str, url: Url) -> None:
    """RFC 3986 §3: path and query are the very characters that go out; only the fragment, which never does, is gone."""
    assert parse_url(text) == url


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("HTTPS://JIRA.Example.COM/A", "https://jira.example.com"),  # RFC 5849 §3.4.1.2: in lower case
        ("http://h:80/", "http://h"),
        ("https://h:443/", "https://h"),
        ("http://h:443/", "http://h:443"),
        ("https://h:80/", "https://h:80"),
        ("https://h:/", "https://h"),  # RFC 3986 §3.2.3: an empty port is the default one
        ("https://h:00443/", "https://h"),
        ("https://h:1/", "https://h:1"),
        ("https://h:65535/", "https://h:65535"),
        ("https://h.:8443/", "https://h.:8443"),  # curl 7.88 sends the dot in Host
        ("https://a_b-c.d/", "https://a_b-c.d"),
        ("http://127.0.0.1:7990/", "http://127.0.0.1:7990"),
        ("http://255.249.199.9/", "http://255.249.199.9"),
        ("http://1a.example/", "http://1a.example"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("http://[::1]:80/", "http://[::1]"),
        ("https://[2001:DB8::A]/", "https://[2001:db8::a]"),  # RFC 5952 §4.3: in lower case
        ("https://[2001:db8:0:1:1:1:1:1]/", "https://[2001:db8:0:1:1:1:1:1]"),  # RFC 5952 §4.2.2: one group is not shortened
        ("https://bücher.example/", "https://xn--bcher-kva.example"),  # UTS #46 §2
        ("https://Bücher.example:443/", "https://xn--bcher-kva.example"),
        ("https://faß.de/", "https://xn--fa-hia.de"),  # UTS #46 table 2, nontransitional, as curl and browsers do
        ("https://日本語。\uff2a\uff30/", "https://xn--wgv71a119e.jp"),  # UTS #46 §2: ideographic full stop, full-width letters
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example"),
    ],
)
def test_the_origin_is_what_the_base_string_uri_begins_with(text: str, origin: str) -> None:
    """Lower case, A-labels, no default port."""
    assert parse_url(text).origin == origin


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("HTTPS://H:443", "https://h/"),
        ("http://h:8080/a%2f?b=%3d+#c", "http://h:8080/a%2f?b=%3d+"),
        ("http://h/?", "http://h/?"),
    ],
)
def test_a_url_is_written_as_it_goes_out(text: str, written: str) -> None:
    """An empty query keeps its question mark; what is written reads as the same URL."""
    assert str(parse_url(text)) == written
    assert parse_url(written) == parse_url(text)


@pytest.mark.parametrize(
    "text",
    ["", "jira", "/jira/rest", "//h/jira", "h/jira", "h:8080/x", "https:/h/x", "https:h", "://h/", "1https://h/", "https;//h/"],
)
def test_what_is_not_absolute_is_refused(text: str) -> None:
    """The daemon does not guess a scheme or a host."""
    with pytest.raises(BadUrlError, match="not absolute"):
        parse_url(text)


@pytest.mark.parametrize("text", ["ftp://h/", "file:///etc/passwd", "HTTPX://h/", "unix://h/", "h+s://h/"])
def test_another_scheme_is_refused(text: str) -> None:
    """Only http and https requests are signed."""
    with pytest.raises(BadUrlError, match="neither http nor https"):
        parse_url(text)


@pytest.mark.parametrize("character", [*map(chr, range(0x21)), "\x7f"])
@pytest.mark.parametrize(
    "place", ["https://h{}/", "https://h/a{}b", "https://h/?a={}b", "https://h/{}", "{}https://h/", "https://h/#{}"]
)
def test_blanks_and_control_characters_are_refused_anywhere(place: str, character: str) -> None:
    """Some programs strip them, some send them, some begin a new header line."""
    with pytest.raises(BadUrlError, match="a blank or a control character"):
        parse_url(place.format(character))


@pytest.mark.parametrize(
    "text",
    [
        "https://user@h/",
        "https://user:pw@h/",
        "https://@h/",
        "https://h@evil.example/",
        "https://h:443@evil.example/",
        "https://h\\@evil/",
    ],
)
def test_a_user_name_is_refused(text: str) -> None:
    """A password does not belong into a URL, and "h@evil" is the oldest trick."""
    with pytest.raises(BadUrlError, match="a user name or password") as caught:
        parse_url(text)

    assert "pw" not in f"{caught.value.message}{caught.value.hint}".replace("password", "")


def test_an_at_sign_behind_the_host_is_no_user_name() -> None:
    """The twin: it is an ordinary character there."""
    assert parse_url("https://h/@a?b=@c#@d").host == "h"


@pytest.mark.parametrize(
    "text",
    [
        "https://",
        "https:///x",
        "https://?a",
        "https://:8443/",
        "https://h:x/",
        "https://h:-1/",
        "https://h:80:80/",
        "https://h:123456/",
        "https://[::1/",
        "https://::1/",
        "https://h[::1]/",
        "https://[::1]x/",
        "https://[]:/x]/",
        "https://h:\uff18\uff10/",
        "https://h:8+0/",
    ],
)
def test_an_authority_that_cannot_be_read_is_refused(text: str) -> None:
    """RFC 3986 §3.2."""
    with pytest.raises(BadUrlError, match=r"host or port cannot be read|not an IPv6 address"):
        parse_url(text)


@pytest.mark.parametrize("port", ["0", "00000", "65536", "99999"])
def test_a_port_out_of_range_is_refused(port: str) -> None:
    """TCP has 1 to 65535."""
    with pytest.raises(BadUrlError, match="not between 1 and 65535"):
        parse_url(f"https://h:{port}/")


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.01",
        "1.2.3.256",
        "1.2.3.4.5",
        "1.2.3.4.",
        "a.1",
        "a.0x",
        "\uff11\uff12\uff17.1",
    ],
)
def test_an_odd_way_to_write_an_ipv4_address_is_refused(host: str) -> None:
    """WHATWG URL §3.5: browsers and curl make "127.0.0.1" of "127.1", and send that as Host."""
    with pytest.raises(BadUrlError, match="not a plain IPv4 address"):
        parse_url(f"http://{host}/")


@pytest.mark.parametrize(
    "host",
    [
        "-a",
        "a.-b",
        ".",
        "..",
        ".a",
        "a..b",
        "a..",
        "a%2eb",
        "%68",
        "a,b",
        "a;b",
        "a\\b",
        "a!b",
        "a'b",
        "a$b",
        "a" * 64,
        "~",
        ".".join(
            [
                "a" * 63,
            ]
            * 4
        ),
    ],
)
def test_what_is_no_host_name_is_refused(host: str) -> None:
    """RFC 1123 §2.1, with the underscore that people use; a percent escape is decoded by some programs and not by others."""
    with pytest.raises(BadUrlError, match="not a host name"):
        parse_url(f"https://{host}/")


def test_the_longest_host_name_is_taken() -> None:
    """The twin: RFC 1035 §2.3.4, 253 characters, 63 a label."""
    host = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])

    assert parse_url(f"https://{host}/").host == host


@pytest.mark.parametrize(
    "host",
    [
        "a\uff0fb.example",
        "é..example",
        "\u200d.example",
        "☃.example",
        "é" * 64 + ".example",
        "xn--é.example",
        "é\ufffd",
        "é" * 30_000,
    ],
)
def test_what_is_no_international_name_is_refused(host: str) -> None:
    """RFC 5891: a slash in disguise, empty and overlong labels, symbols."""
    with pytest.raises(BadUrlError, match="not a valid international name"):
        parse_url(f"https://{host}/")


@pytest.mark.parametrize("address", ["", ":", ":::", "1", "::g", "1::2::3", "::1.2.3", "1:2:3:4:5:6:7:8:9", "::00001", "v1.x"])
def test_what_is_no_ipv6_address_is_refused(address: str) -> None:
    """RFC 4291 §2.2."""
    with pytest.raises(BadUrlError, match="not an IPv6 address"):
        parse_url(f"http://[{address}]/")


@pytest.mark.parametrize("address", ["fe80::1%25eth0", "fe80::1%eth0"])
def test_an_ipv6_zone_is_refused(address: str) -> None:
    """RFC 6874: it must not be sent in Host, and programs differ."""
    with pytest.raises(BadUrlError, match="has a zone"):
        parse_url(f"http://[{address}]/")


@pytest.mark.parametrize(
    ("address", "short"),
    [
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:0DB8::1", "2001:db8::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),  # RFC 5952 §4.2.3: the first of two runs
        ("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ],
)
def test_a_long_ipv6_address_is_refused_and_its_short_form_taken(address: str, short: str) -> None:
    """Some curl versions send it as typed, others in the form of RFC 5952; the hint is that form."""
    with pytest.raises(BadUrlError, match="not in its short form") as caught:
        parse_url(f"http://[{address}]/")

    assert caught.value.hint == f"write [{short}]"
    assert parse_url(f"http://[{short}]/").host == f"[{short}]"


@pytest.mark.parametrize("address", ["::ffff:127.0.0.1", "::ffff:7f00:1", "::FFFF:7F00:1", "::127.0.0.1", "::7f00:1", "::1:0"])
def test_an_ipv6_address_that_stands_for_an_ipv4_one_is_refused(address: str) -> None:
    """WHATWG URL writes [::ffff:7f00:1] where inet_ntop writes ::ffff:127.0.0.1."""
    with pytest.raises(BadUrlError, match="stands for an IPv4 address"):
        parse_url(f"http://[{address}]/")


@pytest.mark.parametrize("address", ["::", "::ffff", "::1:0:0", "::fffe:7f00:1", "64:ff9b::7f00:1"])
def test_its_neighbours_are_taken(address: str) -> None:
    """The twin: each is written in one way alone."""
    assert parse_url(f"http://[{address}]/").host == f"[{address}]"


@pytest.mark.parametrize("place", ["https://h/{}", "https://h/?a={}", "https://h/?{}=a"])
@pytest.mark.parametrize("escape", ["%", "%4", "%4g", "%g4", "%%41", "%u00e9", "%\uff141"])
def test_a_broken_escape_is_refused(place: str, escape: str) -> None:
    """Tomcat drops such a parameter, Java's URI fails on such a path."""
    if "\uff14" in escape and "?" not in place:
        place = "https://h/?x={}"  # letters beyond ASCII in a path have a refusal of their own
    with pytest.raises(BadUrlError, match="without two hex digits"):
        parse_url(place.format(escape))


def test_a_broken_escape_in_the_fragment_does_not_count() -> None:
    """The twin: it is never sent."""
    assert parse_url("https://h/a#100%").path == "/a"


@pytest.mark.parametrize("character", '"<>[\\]^`{|}')
def test_a_raw_character_that_no_path_has_is_refused(character: str) -> None:
    """
    RFC 3986 §3.3. Tomcat 9.0.70 and 10.1.60 answer 400; with relaxedPathChars they take it, and java.net.URI throws.

    Escaped, and in the query, it is signed.
    """
    escape = f"%{ord(character):02X}"
    for url in (f"https://h/a{character}b", f"https://h/{character}", f"https://h/a{character}?x=1"):
        with pytest.raises(BadUrlError) as caught:
            parse_url(url)
        assert (caught.value.message, caught.value.hint) == (f"the URL's path holds a raw {character}", f"write {escape}")

    assert parse_url(f"https://h/a{escape}b?c{character}d#{character}").path == f"/a{escape}b"


@pytest.mark.parametrize("character", PATH_CHARACTERS)
def test_a_character_that_a_path_has_is_taken(character: str) -> None:
    """The twin: unreserved characters, sub-delimiters, ":", "@" and "/"."""
    assert parse_url(f"https://h/a{character}b").path == f"/a{character}b"


@pytest.mark.parametrize("path", ["/é", "/%C3%A9/日", "/😀", "/a\u00a0b"])
def test_bare_utf8_in_the_path_is_refused(path: str) -> None:
    """
    curl 7.88 sends %c3%a9, browsers %C3%A9, others the bytes, and each signs as another path.

    In the query it is decoded by the provider, so that there all three are one.
    """
    with pytest.raises(BadUrlError, match="a letter beyond ASCII"):
        parse_url(f"https://h{path}")

    assert parse_url(f"https://h/a?{path}").query == path


@pytest.mark.parametrize("text", ["https://h/?a=\ud83d", "https://h/\udce9", "https://\udce9/"])
def test_half_a_surrogate_pair_is_refused(text: str) -> None:
    """What Python makes of bytes that are not UTF-8; the cause would show the URL."""
    with pytest.raises(BadUrlError, match="not valid UTF-8") as caught:
        parse_url(text)

    assert caught.value.__suppress_context__


def test_the_longest_url_is_taken_and_one_byte_more_is_not() -> None:
    """Bytes, not characters."""
    start = "https://h/?"

    assert parse_url(start + "a" * (URL_BYTES_MAX - len(start))).query is not None
    assert parse_url(start + "é" * ((URL_BYTES_MAX - len(start)) // 2)).query is not None
    for text in (start + "a" * (URL_BYTES_MAX - len(start) + 1), start + "é" * (URL_BYTES_MAX // 2), start + "a" * 1_000_000):
        with pytest.raises(BadUrlError, match="longer than 65536 bytes"):
            parse_url(text)


@pytest.mark.parametrize("filler", ["/", "%25", "a.", "1.", "9", "-", "0x.", "[", ":", "&", "=", "?", "é.", "é"])
@pytest.mark.parametrize("start", ["https://", "https://h/", "https://h/?"])
def test_no_url_takes_long(start: str, filler: str) -> None:
    """Every pattern is linear: 64 KiB of the worst that we know take no tenth of a second."""
    text = start + filler * ((URL_BYTES_MAX - 20) // len(filler.encode()))

    begin = time.thread_time()
    with contextlib.suppress(BadUrlError):
        parse_pairs(parse_url(text).query or "", "query")

    assert time.thread_time() - begin < 1.0  # ten times what it takes, for a busy machine


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", ()),
        ("&", ()),
        ("&&a=1&&b=2&", (("a", "1"), ("b", "2"))),
        ("a", (("a", ""),)),
        ("a=", (("a", ""),)),
        ("a=b=c", (("a", "b=c"),)),
        ("a==", (("a", "="),)),
        ("a=1;b=2", (("a", "1;b=2"),)),
        ("a=x+y&b=x%20y&c=x%2By", (("a", "x y"), ("b", "x y"), ("c", "x+y"))),
        ("+=+", ((" ", " "),)),
        ("%26=%3D&%3d=%26", (("&", "="), ("=", "&"))),
        ("a=2&a=1&a=2", (("a", "2"), ("a", "1"), ("a", "2"))),
        ("a=%c3%a9%C3%A9é", (("a", "ééé"),)),
        ("a=%F0%9F%98%80😀", (("a", "😀😀"),)),
        ("a=%00%0A%7f", (("a", "\x00\n\x7f"),)),
        ("a=%25zz&b=%2541", (("a", "%zz"), ("b", "%41"))),
        ('[]{}|^"`<>\\=*~!', (('[]{}|^"`<>\\', "*~!"),)),
    ],
)
def test_parse_pairs_decodes_as_a_servlet_container_does(text: str, pairs: Pairs) -> None:
    """HTML 4.01 §17.13.4 (RFC 5849 §3.4.1.3.1) once, in UTF-8; order and repetition stay."""
    assert parse_pairs(text, "query") == pairs


@pytest.mark.parametrize("text", ["=", "=a", "a=1&=b", "==", "=&a=1"])
def test_a_part_without_a_name_is_refused(text: str) -> None:
    """Tomcat drops it, others keep it."""
    with pytest.raises(BadUrlError, match="the form has a part without a name"):
        parse_pairs(text, "form")


@pytest.mark.parametrize("escapes", ["%FF", "%C3", "%C3%28", "%E9", "%C0%AE", "%ED%A0%80", "%F4%90%80%80"])
@pytest.mark.parametrize("place", ["{}=canary", "canary={}", "canary=%C3%A9{}"])
def test_escapes_that_are_not_utf8_are_refused(place: str, escapes: str) -> None:
    """Latin-1, overlong forms, surrogates, beyond Unicode (RFC 3629 §3): the error does not show the value."""
    with pytest.raises(BadUrlError, match="the query holds percent escapes that are not UTF-8") as caught:
        parse_pairs(place.format(escapes), "query")

    assert "canary" not in caught.value.message
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("text", ["a=%", "a=100%", "%zz=1", "a=%4"])
def test_a_broken_escape_in_a_form_is_refused(text: str) -> None:
    """Tomcat drops the parameter."""
    with pytest.raises(BadUrlError, match="the form holds a percent sign without two hex digits"):
        parse_pairs(text, "form")


def test_as_many_parameters_as_tomcat_reads_are_taken_and_no_more() -> None:
    """Empty parts do not count."""
    most = "&&".join(["a"] * PARAMETERS_MAX)

    assert len(parse_pairs(most, "query")) == PARAMETERS_MAX
    with pytest.raises(BadUrlError, match=f"the query has more than {PARAMETERS_MAX} parameters"):
        parse_pairs(most + "&b", "query")


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        *(("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("[::1]", True)),
        *(("localhost.evil.example", False), ("10.0.0.1", False)),
    ],
)
def test_this_machine_is_known_by_its_names(host: str, is_here: bool) -> None:
    assert parse_url(f"http://{host}:8200/").is_loopback == is_here
