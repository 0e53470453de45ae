"""The doctor on one link: the way to its provider, and what it says to anybody; key and token are the daemon's to try."""

import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from atl_sign.base.errors import AtlSignError, DaemonError
from atl_sign.base.findings import GRANT_CHECKS, NETWORK_CHECKS, VERDICTS, Finding, skip
from atl_sign.commands.daemon_call import NoAnswerError, call_daemon
from atl_sign.commands.doctor.tls_probe import Certificate, TlsError, ca_file, explain, shake_hands
from atl_sign.config.link_command import format_link_command
from atl_sign.config.links import Link, parse_base_url
from atl_sign.providers.answer import Answer
from atl_sign.providers.exchange import fetch, find_proxy, within_deadline
from atl_sign.providers.manifest import Manifest, show_product
from atl_sign.providers.products import find_product
from atl_sign.providers.who_am_i import CLOCK_LIMIT_S, CLOCK_WARNING_S
from atl_sign.schemes.registry import SCHEMES

CONNECT_S = 4.0
EXCHANGE_S_MAX = 8.0  # of a link's own timeout_s: the doctor does not wait as long as a user may want to
CERTIFICATE_DAYS = 21  # that a certificate should have left
_HEAD_BYTES_MAX = 16_384


class _BrokenError(AtlSignError):
    """A check failed, and with it those that need it."""

    def __init__(self, check: str, cause: str, hint: str | None) -> None:
        super().__init__(cause, hint)
        self.check = check


@dataclass(frozen=True, slots=True)
class _Proxy:
    kind: str  # the scheme
    host: str
    port: int
    credentials: str | None  # goes to the proxy and nowhere else

    def __str__(self) -> str:
        return f"{self.kind}://{self.host}:{self.port}"


def check_network(link: Link) -> list[Finding]:
    """Return a finding for each of `NETWORK_CHECKS`, as this process meets the network; takes each step's own deadline."""
    findings: list[Finding] = []
    try:
        for finding in _walk(link):
            findings.append(finding)
    except _BrokenError as exc:
        # A connection that was there can be refused a moment later.
        findings[NETWORK_CHECKS.index(exc.check) :] = [Finding(exc.check, "broken", str(exc), exc.hint, link.name)]
    return [*findings, *skip(NETWORK_CHECKS[len(findings) :], "the provider was not reached", link.name)]


def check_grant(link: Link, path: Path, timeout_s: float) -> list[Finding]:
    """Return a finding for each of `GRANT_CHECKS`, as the daemon at *path* tells."""
    try:
        answer = call_daemon(path, "POST", f"/links/{quote(link.name)}/diagnosis", timeout_s)
    except NoAnswerError as exc:
        words = {"silent": f"the daemon did not answer within {timeout_s:g} s"}.get(exc.kind, "no daemon answers")
        return skip(GRANT_CHECKS, words, link.name)
    error = answer.error
    if error.get("code") == "not_found":
        return skip(GRANT_CHECKS, "the daemon that runs is of another version", link.name)
    if error:
        broken = Finding(GRANT_CHECKS[0], "broken", str(error.get("message")), error.get("hint"), link.name)
        return [broken, *skip(GRANT_CHECKS[1:], "the daemon cannot ask", link.name)]
    told = answer.fields.get("findings", [])
    return [
        Finding(each["check"], each["result"], str(each["cause"]), each.get("hint"), link.name)
        for each in told
        if each.get("check") in GRANT_CHECKS and each.get("result") in VERDICTS
    ]


def _walk(link: Link) -> Iterator[Finding]:
    proxy = _proxy_of(link)

    def say(check: str, cause: str) -> Finding:
        return Finding(check, "ok", cause, link=link.name)

    if proxy is not None and proxy.kind != "http":
        cause = f"the doctor does not speak the language of {proxy}: look at what the product answers"
        yield from skip(("link.proxy", "link.dns", "link.tcp", "link.tls"), cause, link.name)
        yield from _check_product(link)
        return
    if proxy is not None:
        _connect_through(link, proxy).close()
        yield say("link.proxy", f"{proxy} lets us through")
        yield from skip(("link.dns", "link.tcp"), "the proxy does that", link.name)

        def connect() -> socket.socket:
            return _connect_through(link, proxy)
    else:
        yield say("link.proxy", "none is set for it")
        addresses = _resolve(
            "link.dns", link.url.host, link.url.port, "check the base URL for typing errors, the network, and DNS"
        )
        yield say("link.dns", ", ".join(dict.fromkeys(str(address[1][0]) for address in addresses)))

        def connect() -> socket.socket:
            return _connect("link.tcp", addresses, f"{link.url.host}:{link.url.port}", "check the base URL's port, and firewalls")

        connect().close()
        yield say("link.tcp", f"{link.url.host}:{link.url.port} accepts connections")
    yield _check_tls(link, connect)
    yield from _check_product(link)


def _proxy_of(link: Link) -> _Proxy | None:
    address = find_proxy(link)
    if not address:
        return None
    whose = "the link's proxy" if link.proxy else "the proxy in the environment"
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _BrokenError("link.proxy", f"{whose} has an address that cannot be read", "write it as http://host:port") from None
    if not parts.hostname:
        raise _BrokenError("link.proxy", f"{whose} has an address without a host", "write it as http://host:port")
    credentials = None
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return _Proxy(parts.scheme, parts.hostname, port, credentials)


def _resolve(check: str, host: str, port: int, hint: str) -> list[tuple[int, tuple[object, ...]]]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is not a host name"
        raise _BrokenError(check, f"the name {host} is not known: {reason}", hint) from None
    return [(family, address) for family, _, _, _, address in found]


def _connect(check: str, addresses: list[tuple[int, tuple[object, ...]]], place: str, hint: str) -> socket.socket:
    reason = "no address"
    for family, address in addresses:
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_S)
        try:
            connection.connect(address)
        except TimeoutError:
            reason = f"no answer within {CONNECT_S:g} s"
        except OSError as exc:
            reason = (exc.strerror or type(exc).__name__).lower()
        else:
            return connection
        connection.close()
    raise _BrokenError(check, f"{place} accepts no connection: {reason}", hint)


def _connect_through(link: Link, proxy: _Proxy) -> socket.socket:
    """Return a connection that the proxy has made: to the provider for https, else to the proxy itself."""
    hint = "check the link's proxy" if link.proxy else "check http_proxy, https_proxy and no_proxy"
    connection = _connect("link.proxy", _resolve("link.proxy", proxy.host, proxy.port, hint), str(proxy), hint)
    if link.url.scheme != "https":
        return connection
    place = f"{link.url.host}:{link.url.port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if proxy.credentials is not None:
        lines.append(f"Proxy-Authorization: Basic {b64encode(proxy.credentials.encode()).decode()}")
    head = b""
    try:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES_MAX:
            data = connection.recv(1)  # no byte of what comes after the head
            if not data:
                break
            head += data
    except OSError:
        connection.close()
        raise _BrokenError("link.proxy", f"{proxy} does not answer", hint) from None
    status = head[9:12]
    if not head.startswith(b"HTTP/1.") or status[:1] != b"2":
        connection.close()
        if status == b"407":
            hint = hint.replace("check ", "check the user name and the password of ", 1)
        words = f"with status {status.decode('ascii', 'replace')}" if status.isdigit() else "not as an HTTP proxy"
        raise _BrokenError("link.proxy", f"{proxy} does not let us through to {place}: it answered {words}", hint)
    return connection


def _check_tls(link: Link, connect: Callable[[], socket.socket]) -> Finding:
    if link.url.scheme != "https":
        if link.url.is_loopback:
            return Finding("link.tls", "ok", "an http address on this machine", link=link.name)
        cause = "an http address: anyone on the way can read and change what is sent"
        return Finding("link.tls", "warning", cause, "use the https address, if the product has one", link.name)
    try:
        try:
            certificate = shake_hands(link, connect())
        except ssl.SSLCertVerificationError as exc:
            with closing(connect()) as another:
                raise explain(link, exc, another) from None
    except TlsError as exc:
        raise _BrokenError("link.tls", str(exc), exc.hint) from None
    return _describe(link, certificate)


def _describe(link: Link, certificate: Certificate) -> Finding:
    days = (certificate.ends_at - datetime.now(UTC)).days
    cause = f"certificate until {certificate.ends_at:%Y-%m-%d}, issued by {certificate.issuer}, trusted by {ca_file(link)}"
    if days < CERTIFICATE_DAYS:
        return Finding("link.tls", "warning", f"it ends in {days} days: {cause}", "the administrator renews it", link.name)
    return Finding("link.tls", "ok", cause, link=link.name)


def _check_product(link: Link) -> Iterator[Finding]:
    hasty = replace(link, timeout_s=min(link.timeout_s, EXCHANGE_S_MAX))
    described = SCHEMES[link.scheme].describe(link)
    if described is not None and described.product is not None:
        try:
            answer = within_deadline(hasty, lambda: fetch(hasty, "/", {}, time.time))
        except DaemonError as exc:
            raise _BrokenError("link.manifest", exc.reason, exc.hint) from None
        yield Finding("link.manifest", "ok", f"{described.product.name}, as the link says", link=link.name)
        yield from skip(["link.base-url"], "such a provider does not say how it is configured", link.name)
        yield _check_clock(link, answer)
        return
    try:
        manifest, answer = show_product(hasty)
    except DaemonError as exc:
        raise _BrokenError("link.manifest", exc.reason, exc.hint) from None
    if find_product(manifest.type_id) is None:
        cause = f"the product there calls itself {manifest.type_id}, which atl-sign does not know"
        yield Finding("link.manifest", "warning", cause, "check the base URL", link.name)
    else:
        yield Finding("link.manifest", "ok", f"{manifest.type_id} {manifest.version}", link=link.name)
    yield _check_base_url(link, manifest)
    yield _check_clock(link, answer)


def _check_base_url(link: Link, manifest: Manifest) -> Finding:
    seen = link.signing_url or link.url
    if manifest.is_at(seen):
        return Finding("link.base-url", "ok", f"the product is configured with {seen}", link=link.name)
    cause = f"the product is configured with {manifest.url}, the link has {seen}"
    try:
        base = parse_base_url(manifest.url)
    except DaemonError:
        return Finding("link.base-url", "warning", cause, "ask the administrator to correct the product's base URL", link.name)
    hint = f"if signatures fail: {format_link_command(link, signing_url=base)}"
    return Finding("link.base-url", "warning", cause, hint, link.name)


def _check_clock(link: Link, answer: Answer) -> Finding:
    offset = answer.clock_offset_s
    if offset is None:
        return skip(["link.clock"], "its answer has no date", link.name)[0]
    words = f"the provider's clock is {abs(offset):.0f} s {'ahead' if offset > 0 else 'behind'}"
    if abs(offset) > CLOCK_LIMIT_S:
        cause = f"{words}: from {CLOCK_LIMIT_S:.0f} s on it refuses, until the daemon has learned the difference"
        return Finding("link.clock", "broken", cause, "set this machine's clock: sudo timedatectl set-ntp true", link.name)
    if abs(offset) > CLOCK_WARNING_S:
        return Finding("link.clock", "warning", words, "set this machine's clock: sudo timedatectl set-ntp true", link.name)
    return Finding("link.clock", "ok", words, link=link.name)
