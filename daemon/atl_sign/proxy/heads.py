"""
The heads of requests and answers: what is refused, what is not passed on, and what is added.

Everything that two servers could read differently is refused and never repaired: what was decided on is what goes out.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from atl_sign.base.errors import BadRequestError, BadUrlError
from atl_sign.base.urls import DEFAULT_PORTS, Url, parse_url
from atl_sign.proxy.refusals import BrowserRefusedError, MalformedError, UpgradeRefusedError

HEAD_BYTES_MAX = 1 << 15

Header = tuple[bytes, bytes]
Places = Mapping[str, tuple[str, int]]  # host, without the dot that ends a full name, and port; by scheme

# A target may hold bare UTF-8: curl sends it so in a query, and the signature covers it.
_REQUEST_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]{1,64}) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_HOST = re.compile(rb"[^/?#@\\\s]+")

# RFC 9110 §7.6.1; a proxy takes these away from both requests and answers. "proxy-…" besides.
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
# Written by us, or for another place than the provider. The products would take some for another method, path or address than the
# one that was decided on (facts leases-proxy.md section 2.3), and a cookie for a session, for which they ignore the signature.
FORM_TYPE = b"application/x-www-form-urlencoded"
_NOT_SENT = _HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"authorization",
    b"cookie",
    b"cookie2",
    b"expect",
    b"http2-settings",
    b"forwarded",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-real-ip",
    b"x-rewrite-url",
    b"x-appid",
    b"x-apptype",
    b"x-apppath",
}
_NOT_SENT_PREFIXES = (b"proxy-", b"x-forwarded-", b"x-original-")
# A session would be a right beside the signature's, another address would be one past the proxy, and X-Atl-Sign is our own word.
_NOT_ANSWERED = _HOP_BY_HOP | {b"set-cookie", b"set-cookie2", b"alt-svc", b"x-atl-sign"}
_OF_PAGES = (b"origin", b"referer")


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request, taken apart."""

    method: str
    target: bytes  # as it came
    is_1_0: bool
    headers: tuple[Header, ...]  # names as they came; values without the blanks around them

    def find_all(self, name: bytes) -> list[bytes]:
        """Return every value of the header called *name* (in small letters)."""
        return [value for each, value in self.headers if each.lower() == name]

    def list_words(self, name: bytes) -> set[bytes]:
        """Return the comma-separated words in all headers called *name*, in small letters."""
        return {word.strip().lower() for value in self.find_all(name) for word in value.split(b",")} - {b""}

    @property
    def media_type(self) -> bytes:
        """The type of the body, in small letters and without its parameters; b"" when the head names none, or several."""
        values = self.find_all(b"content-type")
        return values[0].partition(b";")[0].strip().lower() if len(values) == 1 else b""

    @property
    def wants_close(self) -> bool:
        """Whether the connection ends with the answer."""
        return self.is_1_0 or b"close" in self.list_words(b"connection")

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits with its body until it is asked for it."""
        return not self.is_1_0 and b"100-continue" in self.list_words(b"expect")


@dataclass(frozen=True, slots=True)
class Framing:
    """How the end of a request's body is found."""

    length: int | None = None  # None when the head names none
    is_chunked: bool = False

    @property
    def has_body(self) -> bool:
        """Whether there is a body of at least one byte, as far as that is known."""
        return self.is_chunked or bool(self.length)

    def headers(self) -> list[Header]:
        """Return the headers that say so."""
        if self.is_chunked:
            return [(b"Transfer-Encoding", b"chunked")]
        return [] if self.length is None else [(b"Content-Length", b"%d" % self.length)]


def parse_head(raw: bytes) -> Head:
    """
    Take *raw*, a head up to and with its empty line, apart.

    Raises:
        MalformedError: something in it is not as RFC 9112 has it: a line that ends without a carriage return, or is folded, a
            control character, a blank in a name or around the target, another protocol or version.
    """
    first, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise MalformedError("this is not an HTTP/1.1 request", "begin it with a method, a target and HTTP/1.1")
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or _NAME.fullmatch(name) is None:
            raise MalformedError("a line of the request's head is not a header", "send each header in one line, as Name: value")
        if _CONTROL.search(value):
            raise MalformedError("a header holds a control character", "take it out")
        headers.append((name, value.strip(b" \t")))
    return Head(match[1].decode("ascii"), match[2], match[3] == b"0", tuple(headers))


def is_hopeless(data: bytes | bytearray) -> bool:
    """Tell whether *data*, the beginning of a head, has a line that ends without a carriage return: its end might not be seen."""
    return data.count(b"\n") != data.count(b"\r\n")


def read_framing(head: Head) -> Framing:
    """
    Return how the body's end is found.

    Raises:
        MalformedError: two servers could find it in different places (RFC 9112 §6.3, §11.2): a length twice, even the same one; a
            length and a transfer coding; another coding than chunked.
        UpgradeRefusedError: what follows would not be HTTP/1.1.
    """
    lengths, codings = head.find_all(b"content-length"), head.find_all(b"transfer-encoding")
    upgrades = {value.strip().lower() for value in head.find_all(b"upgrade")}
    # curl --http2 offers this one, and takes HTTP/1.1 for an answer: the offer goes no further.
    if upgrades - {b"h2c"} or (not upgrades and b"upgrade" in head.list_words(b"connection")):
        raise UpgradeRefusedError("the connection would become something else than HTTP/1.1", "leave the Upgrade header out")
    if len(lengths) > 1 or (lengths and codings):
        raise MalformedError("the request says twice how long it is", "send one Content-Length, or Transfer-Encoding: chunked")
    if codings:
        if [coding.lower() for coding in codings] != [b"chunked"] or head.is_1_0:
            raise MalformedError(
                "the request has a transfer coding that is not supported", "send only Transfer-Encoding: chunked"
            )
        return Framing(is_chunked=True)
    if lengths:
        if _LENGTH.fullmatch(lengths[0]) is None:
            raise MalformedError("the request's Content-Length is not a number", "send the number of bytes")
        return Framing(int(lengths[0]))
    return Framing()


def read_host(head: Head) -> bytes | None:
    """
    Return the Host header's value; None when there is none, which only HTTP/1.0 allows.

    Raises:
        MalformedError: it is missing, or there twice, or not a host.
    """
    hosts = head.find_all(b"host")
    if not hosts and head.is_1_0:
        return None
    if len(hosts) != 1:
        raise MalformedError("the request has no Host header, or several", "send one")
    if _HOST.fullmatch(hosts[0]) is None:
        raise MalformedError("the Host header is not a host and a port", "send the URL's host")
    return hosts[0]


@lru_cache(maxsize=64)
def read_places(host: bytes, *schemes: str) -> Places:
    """Return what *host*, a Host header's value, names in each scheme: a port that it leaves out is the default one."""
    places = {}
    for scheme in schemes or DEFAULT_PORTS:
        with suppress(BadUrlError, UnicodeDecodeError):
            url = parse_url(f"{scheme}://{host.decode('utf-8')}/")
            places[scheme] = (url.host.rstrip("."), url.port)
    return places


def names_place(places: Places, origin: Url) -> bool:
    """Tell whether the place of *origin* is the one that its scheme has in *places*."""
    return places.get(origin.scheme) == (origin.host.rstrip("."), origin.port)


def check_origin(head: Head, origin: Url) -> None:
    """Raise MalformedError when the Host header names another host and port than *origin*."""
    host = read_host(head)
    if host is not None and not names_place(read_places(host, origin.scheme), origin):
        raise MalformedError("the Host header names another host than the request goes to", "send the URL's host")


def check_pages(head: Head) -> None:
    """Raise BrowserRefusedError when a request to a port of ours comes from a web page, as one of these headers says."""
    if any(name.lower() in _OF_PAGES or name.lower().startswith(b"sec-fetch-") for name, _ in head.headers):
        raise BrowserRefusedError("the request comes from a web page", "use a program that is not a browser")


def check_port(head: Head, hosts: Iterable[bytes]) -> None:
    """
    Raise BrowserRefusedError when a request to a port of ours, for the port itself, may come from a web page.

    A page whose name was bound to the loopback address afterwards (DNS rebinding) is of the port's own origin for the browser,
    but its name stands in Host.

    Args:
        head: the request's.
        hosts: what Host may be, in small letters.
    """
    check_pages(head)
    host = read_host(head)
    if host is None or host.lower() not in hosts:
        raise BrowserRefusedError("the Host header is not this port's", "write 127.0.0.1 or localhost and the port")


def check_form_type(head: Head) -> None:
    """
    Raise BadRequestError for a form that a product may not read as the one that is signed.

    Tomcat before 9.0.98 knows the type in small letters only, and another charset makes other parameters of the same bytes.
    """
    kind, *parameters = (part.strip(b" \t") for part in b";".join(head.find_all(b"content-type")).split(b";"))
    if kind != FORM_TYPE:
        raise BadRequestError(
            "the form's Content-Type is not in lower case, which some servers do not read as a form",
            f"write {FORM_TYPE.decode()}",
        )
    for parameter in parameters:
        name, _, value = (part.strip(b" \t") for part in parameter.lower().partition(b"="))
        if name == b"charset" and value.replace(b'"', b"") not in (b"utf-8", b"utf8"):
            raise BadRequestError("a form in another encoding than UTF-8 cannot be signed", "take the charset out")


def make_request_headers(
    head: Head, origin: Url, framing: Framing, authorization: str | None, *, has_cookies: bool = False
) -> list[Header]:
    """Return the headers that a request goes out to *origin* with: Host first, our Authorization last, if there is one."""
    named = head.list_words(b"connection")
    # How the body ends is said where the program says it, so that the product sees what was written.
    ends = {name.lower(): (name, value) for name, value in framing.headers()}
    kept = []
    for name, value in head.headers:
        lowered = name.lower()
        if lowered in ends:
            kept.append((name, ends.pop(lowered)[1]))
        elif _is_sent(lowered, named) or (has_cookies and lowered == b"cookie"):
            kept.append((name, value))
    host = origin.origin.partition("://")[2].encode("ascii")
    added = [(b"X-Atlassian-Token", b"no-check")] if _wants_no_check(head) else []
    return [
        (b"Host", host),
        *kept,
        *added,
        *ends.values(),
        *(() if authorization is None else [(b"Authorization", authorization.encode("latin-1"))]),
    ]


def _is_sent(name: bytes, named: set[bytes]) -> bool:
    # Servers that hand headers on as variables (CGI, WSGI) do not tell "_" from "-".
    plain = name.replace(b"_", b"-")
    return not (plain in _NOT_SENT or name in named or plain.startswith(_NOT_SENT_PREFIXES))


def _wants_no_check(head: Head) -> bool:
    """
    Tell whether the products would ask for the token against forged requests: of POSTs that a form on a web page could send.

    No page is involved here. A program that looks like a browser (User-Agent) is asked even so, and its request goes as it is.
    """
    kind = head.media_type
    is_simple = kind == FORM_TYPE or kind.startswith((b"multipart/", b"text/"))
    return head.method == "POST" and not head.find_all(b"x-atlassian-token") and (is_simple or not head.find_all(b"content-type"))


def says_close(headers: Sequence[Header]) -> bool:
    """Tell whether a provider's answer with these *headers* is the last one on its connection."""
    values = b",".join(value for name, value in headers if name.lower() == b"connection")
    return b"close" in {word.strip().lower() for word in values.split(b",")}


def make_answer_headers(headers: Sequence[Header], status: int, *, has_cookies: bool = False) -> list[Header]:
    """Return those of a provider's *headers* that the client gets; how the body ends is said anew. A session is the owner's."""
    lowered = [name.lower() for name, _ in headers]
    named = {
        word.strip().lower()
        for name, (_, value) in zip(lowered, headers, strict=True)
        if name == b"connection"
        for word in value.split(b",")
    }
    has_length = status != 204 and b"transfer-encoding" not in lowered
    kept = []
    for name, header in zip(lowered, headers, strict=True):
        if has_cookies and name == b"set-cookie" and name not in named:
            kept.append(header)
            continue
        if name in _NOT_ANSWERED or name in named or name.startswith(b"proxy-"):
            continue
        if name == b"content-length":
            if not has_length:
                continue
            has_length = False  # once
        kept.append(header)
    return kept
