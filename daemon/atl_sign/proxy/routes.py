"""The way of a request: whether it may come in at all, and which address it means."""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, field

from atl_sign.access.caller import Caller
from atl_sign.base.errors import AmbiguousLinkError, BadUrlError, UnknownLinkError
from atl_sign.base.urls import DEFAULT_PORTS, Url, parse_url
from atl_sign.config.links import Link
from atl_sign.proxy.heads import Head, check_origin, check_pages, check_port, names_place, read_host, read_places
from atl_sign.proxy.notes import Note
from atl_sign.proxy.refusals import MalformedError, OwnCredentialsError, ProxySecretNeededError, SecretNeededError

OWN_PATH = b"/~/"  # below it a lease's entry answers itself

_SEGMENT_END = re.compile(r"[/?#]")
_PLAIN_HOST = re.compile(rb"[-.:\[\]\w]+")


@dataclass(frozen=True, slots=True)
class Way:
    """How the requests on a connection come in."""

    caller: Caller
    port_hosts: frozenset[bytes] = frozenset()  # on a port of ours: what Host may be; empty on a Unix socket
    origin: Url | None = None  # in a connection to a link's host: scheme, host and port
    link: str | None = None  # the name of the link to use, if the client chose one
    is_dry_run: bool = False
    note: Note | None = None  # of the curl that sends them

    @property
    def is_port(self) -> bool:
        """Whether this is a port of ours rather than a Unix socket."""
        return bool(self.port_hosts)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The address that a request means."""

    text: str  # the URL, exactly as it will be sent
    link: str | None = None  # the name of the link to use; None for the one that covers the URL
    is_below_link: bool = False  # it came as /LINK/…, from a program that does not know the real address
    here: tuple[str, ...] = ()  # then: the addresses of /LINK that it may use, first the one that it has used


@dataclass(frozen=True, slots=True)
class Origins:
    """The hosts and ports of links and of their gateways."""

    urls: tuple[Url, ...] = field(default=())

    def find(self, host: str, port: int) -> Url | None:
        """Return the origin at *host*, as it was written, and *port*; None when it is not a link's."""
        found = [url for url in self.urls if url.port == port and _is_host(host, url.host)]
        return min(found, key=lambda url: url.scheme != "https", default=None)


def list_origins(urls: Iterable[Url]) -> Origins:
    """Return the origins of *urls*."""
    return Origins(tuple(dict.fromkeys(Url(url.scheme, url.host, url.port, "/") for url in urls)))


def check_entry(head: Head, way: Way) -> None:
    """
    Refuse a request that may not come in.

    Raises:
        MalformedError: no Host, or several.
        BrowserRefusedError: it comes to a port of ours from a web page.
        SecretNeededError: it comes to a port of ours, and does not show the lease's secret.
        OwnCredentialsError: it has an Authorization header that would not be sent.
    """
    read_host(head)
    lease = way.caller.lease
    own = head.find_all(b"authorization")
    if lease is None:
        if own:
            raise OwnCredentialsError(
                "the request has credentials of its own, and would be signed as well",
                "leave -u, -n, --oauth2-bearer or Authorization out",
            )
        return
    if not way.is_port:
        return  # what a tool must send, it may: nothing of it goes out
    if way.origin is None:
        is_proxied = head.method == "CONNECT" or _is_absolute(head.target)
        if is_proxied:
            check_pages(head)
            _check_proxy_secret(head, way)
        else:
            check_port(head, way.port_hosts)
            if not own:
                raise SecretNeededError(
                    "this port takes only requests with the lease's secret",
                    "give the secret as the tool's token, or its password",
                )
    if own and not (len(own) == 1 and any(map(lease.is_secret, _read_secrets(own[0])))):
        raise OwnCredentialsError(
            "the request has credentials that are not the lease's secret", "give the secret as the tool's token, or its password"
        )


def _check_proxy_secret(head: Head, way: Way) -> None:
    given = head.find_all(b"proxy-authorization")
    lease = way.caller.lease
    if not given:
        raise ProxySecretNeededError("this proxy wants the lease's secret", "give it as the proxy's password")
    if lease is None or len(given) > 1 or not any(map(lease.is_secret, _read_secrets(given[0]))):
        raise SecretNeededError("this is not the lease's secret", "give it as the proxy's password")


def _read_secrets(value: bytes) -> list[str]:
    """Return what may be the secret in an Authorization header's value: a bearer token, or a password."""
    scheme, _, rest = value.partition(b" ")
    text = rest.strip()
    if scheme.lower() == b"bearer":
        return [text.decode("latin-1")]
    if scheme.lower() != b"basic":
        return []
    try:
        return [b64decode(text, validate=True).partition(b":")[2].decode("latin-1")]
    except binascii.Error:
        return []


def find_wanted(head: Head, way: Way, links: tuple[Link, ...], origins: Origins) -> Wanted:
    """
    Return the address that a request means.

    Args:
        head: its head.
        way: how it comes in.
        links: those that the caller may use.
        origins: of those links and of their gateways; for a URL, of every link.

    Raises:
        MalformedError: the target is of no form that is served, or the Host header names another host than the target.
        BadUrlError: nobody could sign this exactly.
        UnknownLinkError, AmbiguousLinkError: it means no link, or could mean two.
    """
    target = _decode(head.target)
    if _is_absolute(head.target):
        return _find_absolute(target, head, way, links, origins)
    if not target.startswith("/"):
        raise MalformedError("the request's target is neither a path nor a URL", "send a path")
    if way.origin is not None:
        check_origin(head, way.origin)
        return Wanted(way.origin.origin + target, way.link)
    below = _find_below_link(target, head, way, links)
    if way.is_port:
        if below is None:
            raise UnknownLinkError(
                "the path does not begin with the name of a link", "begin the path with a slash and the link's name"
            )
        return below
    at_host = _find_by_host(target, head, links, origins)
    if below is not None and at_host is not None and below.text != at_host.text:
        raise AmbiguousLinkError(
            "the path could begin with a link's name, or be the path at a link's host", "write another Host, such as localhost"
        )
    wanted = at_host or below
    if wanted is None:
        raise UnknownLinkError(
            "the request means no link", "name the link's host in Host, or begin the path with a slash and the link's name"
        )
    return wanted


def _find_absolute(target: str, head: Head, way: Way, links: tuple[Link, ...], origins: Origins) -> Wanted:
    url = parse_url(target)
    check_origin(head, url)
    if way.origin is not None:
        if url.origin != way.origin.origin:
            raise MalformedError("the request's target is another host than the connection goes to", "send a path")
        return Wanted(target, way.link)
    rest = target[target.index("/", target.index("://") + 3) :] if "/" in target.partition("://")[2] else None
    if rest is None:  # http://host or http://host?query
        raise BadUrlError("the URL has no path", "write a / behind the host")
    if f"{url.host}:{url.port}".encode() in way.port_hosts:
        # A program that has this port both for its proxy and, in place of the product, for its base URL.
        below = _find_below_link(rest, head, way, links)
        if below is not None:
            return below
    # Programs send this form only for http, and without TLS; the link may be https.
    port = DEFAULT_PORTS["https"] if url.port == DEFAULT_PORTS["http"] else url.port
    known = [each for each in origins.urls if _is_host(url.host, each.host)]
    for scheme, port_there in ((url.scheme, url.port), ("https", port)):
        for each in known:
            if (each.scheme, each.port) == (scheme, port_there):
                return Wanted(each.origin + rest)
    raise UnknownLinkError("no application link covers this URL", "only requests to links come in by this form")


def _find_below_link(target: str, head: Head, way: Way, links: tuple[Link, ...]) -> Wanted | None:
    """Return what *target* means if its first segment is a link's name: nothing is joined, one prefix is put for another."""
    name = _SEGMENT_END.split(target[1:], maxsplit=1)[0]
    link = next((link for link in links if link.name == name), None)
    if link is None:
        return None
    rest = target[1 + len(name) :]
    text = f"{link.url}{rest}" if link.url.path or rest.startswith("/") else f"{link.url}/{rest}"
    return Wanted(text, link.name, is_below_link=True, here=_list_addresses(link, head, way))


def _list_addresses(link: Link, head: Head, way: Way) -> tuple[str, ...]:
    host = read_host(head)
    if host is None or _PLAIN_HOST.fullmatch(host) is None:  # it is going to stand in JSON
        return ()
    hosts = dict.fromkeys([host, *sorted(way.port_hosts)])
    return tuple(f"http://{each.decode('ascii')}/{link.name}" for each in hosts)


def _find_by_host(target: str, head: Head, links: tuple[Link, ...], origins: Origins) -> Wanted | None:
    """
    Return what *target* means if Host names a link's host: on a Unix socket, programs keep the real address and need no TLS.

    Raises AmbiguousLinkError when links at that host differ in scheme or port, and Host does not decide.
    """
    host = read_host(head)
    if host is None:
        return None
    named = read_places(host)
    for among in ([link.url for link in links], origins.urls):  # gateways too
        found = {url.origin for url in among if names_place(named, url)}
        if len(found) > 1:
            raise AmbiguousLinkError(
                "links at this host differ in scheme or port", "begin the path with a slash and the link's name"
            )
        if found:
            return Wanted(found.pop() + target)
    return None


def _is_absolute(target: bytes) -> bool:
    return target[:7].lower() == b"http://" or target[:8].lower() == b"https://"


def _is_host(written: str, host: str) -> bool:
    return written.lower().rstrip(".") == host.rstrip(".")


def _decode(target: bytes) -> str:
    try:
        text = target.decode("utf-8")
    except UnicodeDecodeError:
        raise BadUrlError("the URL is not valid UTF-8", "encode the text as UTF-8 first") from None
    if "#" in text:
        raise BadUrlError("the URL has a fragment, which is not for the server", "write %23 for a number sign")
    return text
