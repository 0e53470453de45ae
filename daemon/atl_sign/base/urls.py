"""
A URL as curl or a browser puts it on the wire, taken apart once and changed nowhere.

A URL that the provider could read otherwise is refused with `bad_url` and the reason.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from atl_sign.base.errors import BadUrlError

URL_BYTES_MAX = 65_536  # Tomcat takes 8 KiB of request head by default; nobody sends more than this
PARAMETERS_MAX = 10_000  # Tomcat's maxParameterCount: what comes after is not read, so it cannot be signed
DEFAULT_PORTS = {"http": 80, "https": 443}

# RFC 3986 appendix B, narrowed to absolute URLs with an authority.
_PARTS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#.*)?", re.S
)
_HOST_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
# RFC 3986 §3.3: a path's own characters, and "%". Tomcat answers 400 to others, and where it is set to accept them
# (relaxedPathChars), net.oauth answers 500, since Java's URI does not. Measured with Tomcat 9.0.70 and 10.1.60.
_NOT_IN_PATH = re.compile(r"[^A-Za-z0-9._~!$&'()*+,;=:@/%-]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*\.?")
_NUMERIC_LAST_LABEL = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!$)|$)){4}")

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute http or https URL; `path` and `query` are the very characters that go out."""

    scheme: str  # "http" or "https"
    host: str  # lower case, ASCII (IDN as A-labels); an IPv6 address keeps its brackets
    port: int  # the default one of the scheme when the URL names none
    path: str  # never empty: "/" when the URL has none
    query: str | None = None  # without "?"; None when there is none, "" when there is an empty one

    @property
    def origin(self) -> str:
        """Scheme, host and port as the base string URI has them: default ports left out (RFC 5849 §3.4.1.2)."""
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def is_loopback(self) -> bool:
        """Tell whether the host is this machine, so that nobody else hears what is said in the clear."""
        from ipaddress import ip_address  # no request needs it

        try:
            return self.host == "localhost" or ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return self.origin + self.path + ("" if self.query is None else f"?{self.query}")


def parse_url(text: str) -> Url:
    """
    Take *text*, a URL exactly as it will be sent, apart.

    A fragment is dropped, as every HTTP client does. Nothing else is changed or guessed.

    Raises:
        BadUrlError: it is not absolute, not http or https, too long, or holds something that two programs read differently:
            control characters and blanks, a user name, a broken percent escape, an odd host or port; or its path holds what no
            provider takes there unescaped: `[]{}|^"<>`, a backquote, a backslash, bare UTF-8.

    Source: RFC 3986 §3; RFC 5849 §3.4.1.2; facts atlassian-auth.md section 3.
    """
    if len(text) > URL_BYTES_MAX or len(text.encode("utf-8", "surrogatepass")) > URL_BYTES_MAX:
        raise BadUrlError(f"the URL is longer than {URL_BYTES_MAX} bytes", "send long parameters as a form or JSON body")
    if _CONTROL.search(text):
        raise BadUrlError("the URL holds a blank or a control character", "write it as a percent escape, %20 for a blank")
    if not text.isascii():
        _refuse_surrogates(text)
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise BadUrlError("the URL is not absolute", "begin it with https:// and the host")
    scheme = parts["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise BadUrlError("the URL is neither http nor https", "only http and https requests are signed")
    path, query = parts["path"] or "/", parts["query"]
    if not path.isascii():
        # curl 7.88 sends "é" in a path as %c3%a9, browsers as %C3%A9, others as bare bytes: each has its own base string URI.
        raise BadUrlError("the URL's path holds a letter beyond ASCII", "write it in percent escapes, %C3%A9 for é")
    if _BAD_ESCAPE.search(path) or (query is not None and _BAD_ESCAPE.search(query)):
        raise BadUrlError("the URL holds a percent sign without two hex digits", "write a percent sign itself as %25")
    host, port = _parse_authority(parts["authority"], scheme)
    raw = _NOT_IN_PATH.search(path)
    if raw is not None:
        raise BadUrlError(f"the URL's path holds a raw {raw[0]}", f"write %{ord(raw[0]):02X}")
    return Url(scheme, host, port, path, query)


def parse_pairs(text: str, what: str) -> Pairs:
    """
    Decode *text*, a query or an `application/x-www-form-urlencoded` body, as a servlet container does.

    Parts are split only at "&", "+" is a blank, a name without "=" has the empty value, empty parts do not count.

    Args:
        text: the characters as they will be sent.
        what: "query" or "form", for the refusal's words.

    Raises:
        BadUrlError: an escape is broken or is not UTF-8, a part has no name (Tomcat drops it), or there are over 10,000 parts.

    Source: RFC 5849 §3.4.1.3.1; facts atlassian-auth.md section 3.
    """
    pairs = []
    for part in text.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        if not name:
            raise BadUrlError(f"the {what} has a part without a name", "the provider would drop it: take the lone = out")
        pairs.append((_decode(name, what), _decode(value, what)))
        if len(pairs) > PARAMETERS_MAX:
            raise BadUrlError(f"the {what} has more than {PARAMETERS_MAX} parameters", "the provider would not read them all")
    return tuple(pairs)


def _decode(text: str, what: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    if _BAD_ESCAPE.search(text):
        raise BadUrlError(f"the {what} holds a percent sign without two hex digits", "write a percent sign itself as %25")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        # No chain: the cause would show the value.
        raise BadUrlError(f"the {what} holds percent escapes that are not UTF-8", "encode the text as UTF-8 first") from None


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadUrlError("the URL is not valid UTF-8", "encode the text as UTF-8 first") from None


def _parse_authority(authority: str, scheme: str) -> tuple[str, int]:
    if "@" in authority:
        raise BadUrlError("the URL carries a user name or password", "take user:password@ out: the signature says who you are")
    match = _HOST_PORT.fullmatch(authority)
    if match is None or not match["host"]:
        raise BadUrlError("the URL's host or port cannot be read", "write https://host/ or https://host:port/")
    port = int(match["port"]) if match["port"] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65_536:
        raise BadUrlError("the URL's port is not between 1 and 65535")
    return _parse_host(match["host"]), port


def _parse_host(host: str) -> str:
    if host.startswith("["):
        return _parse_ipv6(host[1:-1])
    host = host.lower() if host.isascii() else _to_ascii(host)
    if _NUMERIC_LAST_LABEL.fullmatch(host):
        # curl and browsers rewrite "127.1" and "0x7f.1" to dotted quads; only the form they arrive at is taken.
        if not _IPV4.fullmatch(host):
            raise BadUrlError("the URL's host is not a plain IPv4 address", "write it as four decimal numbers")
    elif len(host) > 254 or not _HOST_NAME.fullmatch(host):
        raise BadUrlError("the URL's host is not a host name", "percent escapes and other signs have no place there")
    return host


def _parse_ipv6(address: str) -> str:
    from ipaddress import AddressValueError, IPv6Address

    if "%" in address:
        raise BadUrlError("the URL's IPv6 address has a zone", "programs send it differently: use a name instead")
    try:
        parsed = IPv6Address(address)
    except AddressValueError:
        raise BadUrlError("the URL's host is not an IPv6 address") from None
    if parsed.ipv4_mapped is not None or 0xFFFF < int(parsed) <= 0xFFFF_FFFF:
        # "::ffff:1.2.3.4" or "::ffff:102:304": browsers, C libraries and Python's own versions each prefer another.
        raise BadUrlError("the URL's IPv6 address stands for an IPv4 address", "programs write it differently: give that one")
    canonical = str(parsed)
    if canonical != address.lower():
        # Some curl versions send the address as typed, others in its short form: only where both agree is the host known.
        raise BadUrlError("the URL's IPv6 address is not in its short form", f"write [{canonical}]")
    return f"[{canonical}]"


def _to_ascii(host: str) -> str:
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise BadUrlError("the URL's host is not a valid international name", "write it in its xn-- form") from None
