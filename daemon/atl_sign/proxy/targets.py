"""Where a SOCKS5 or CONNECT request leads: to a link's host, where requests are read and signed, or through a tunnel."""

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atl_sign.agent.tunnels import Tunnels
from atl_sign.base.errors import AuditUnavailableError, BadUrlError, UnknownLinkError
from atl_sign.base.urls import Url, parse_url
from atl_sign.proxy.heads import Framing, Head, check_origin
from atl_sign.proxy.refusals import MalformedError, UpgradeRefusedError
from atl_sign.proxy.routes import Origins, Way
from atl_sign.proxy.tunnel import Streams, open_tunnel

if TYPE_CHECKING:  # with the first connection in TLS
    from atl_sign.proxy.certificates import Authority

_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^:/?#@\[\]\\\x80-\xff]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Opened:
    """Where a connection leads: to a link's host, or through a tunnel."""

    origin: Url | None = None
    context: ssl.SSLContext | None = None  # of the TLS that ends here; None for a link without
    streams: Streams | None = None  # of the tunnel


def read_target(head: Head, framing: Framing, way: Way) -> tuple[str, int]:
    """
    Return host and port of a CONNECT request.

    Raises:
        UpgradeRefusedError: it came inside another one.
        MalformedError: it has a body, its target is not a host and a port, or its Host header names another one.
    """
    if way.origin is not None:
        raise UpgradeRefusedError("there is no tunnel inside a tunnel", "connect to the proxy again")
    if framing.has_body:
        raise MalformedError("a CONNECT request has no body", "leave Content-Length and Transfer-Encoding out")
    match = _AUTHORITY.fullmatch(head.target)
    if match is None:
        raise MalformedError("the target of CONNECT is not a host and a port", "send HOST:PORT")
    host, port = match[1].decode("ascii"), int(match[2])
    check_origin(head, _parse_origin(host, port))
    return host, port


async def open_target(
    way: Way, host: str, port: int, origins: Origins, authority: "Callable[[], Authority]", *, tunnels: Tunnels
) -> Opened:
    """
    Return where a connection to *host* and *port* leads; one to a link's host never leads through a tunnel.

    Args:
        way: how the request came in.
        host: a name, or an address; IPv6 in brackets.
        port: where to.
        origins: of every link.
        authority: gives the one that signs for the links' hosts.
        tunnels: where a tunnel is recorded.

    Raises:
        DaemonError: it is not allowed, or nobody is there.
    """
    lease = way.caller.lease
    _parse_origin(host, port)
    origin = origins.find(host, port)
    if origin is not None:
        if origin.scheme == "http":
            return Opened(origin)
        try:
            return Opened(origin, authority().context_for(origin.host))
        except (KeyError, ValueError):
            pass
        raise UnknownLinkError("the proxy has no certificate for this host") if lease is None else lease.deny_address()
    if way.is_dry_run:
        raise UnknownLinkError("no application link covers this URL", "leave --dry-run out")
    streams = None
    try:
        with tunnels.opening(way.caller, host, port):
            if lease is not None:
                lease.check_usable()
                if not lease.terms.may_tunnel:
                    raise lease.deny_address()
            streams = await open_tunnel(host, port, is_leased=lease is not None)
    except AuditUnavailableError:
        if streams is not None:
            streams[1].transport.abort()
        raise
    return Opened(streams=streams)


def _parse_origin(host: str, port: int) -> Url:
    """Return *host* and *port* taken apart as those of a URL; raises MalformedError."""
    try:
        return parse_url(f"https://{host}:{port}/")
    except BadUrlError as exc:
        raise MalformedError(exc.message, exc.hint) from None
