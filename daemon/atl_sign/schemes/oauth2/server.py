"""A link's authorization server: where its endpoints are, by the flavour, by its metadata, or as the user says."""

import threading
import time
from dataclasses import dataclass, replace

from atl_sign.base.errors import BadRequestError, BadUrlError, DaemonError, ProviderRefusedError
from atl_sign.config.link_command import format_link_command
from atl_sign.config.links import Link
from atl_sign.schemes.oauth2.flavours import FLAVOURS, Flavour
from atl_sign.schemes.oauth2.metadata import (
    BadMetadataError,
    ClientAuth,
    Metadata,
    find_documents,
    parse_server_address,
    read_metadata,
)

METADATA_S = 3600.0  # for which a document that was read is good
BY_HAND = ("authorize_url", "token_url", "device_url", "revoke_url", "client_auth")  # settings that count before everything else


@dataclass(frozen=True, slots=True)
class Server:
    """The endpoints of an authorization server, and what a dance with it must know."""

    authorize_url: str
    token_url: str
    device_url: str | None
    revoke_url: str | None
    client_auth: ClientAuth
    issuer: str | None  # that a redirect's `iss` must be; None when nobody knows it
    announces_issuer: bool = False


def flavour_of(link: Link) -> Flavour | None:
    """Return the flavour of *link*; None for a generic one."""
    return FLAVOURS.get(link.own.get("flavour") or "")


def address(link: Link, template: str) -> str:
    """Return the address that a flavour's *template* is for *link*."""
    flavour, base = flavour_of(link), link.url
    words = {"base": str(base).rstrip("/"), "origin": base.origin, "host": base.origin.partition("://")[2]}
    if flavour is not None:
        words["server"] = (link.own.get("issuer") or flavour.server.format(**words)).rstrip("/")
        if flavour.api is not None:
            words["api"] = (link.own.get("gateway") or flavour.api.format(**words)).rstrip("/")
    return template.format(**words)


class Servers:
    """The servers of all links; documents that were fetched are kept for a while."""

    def __init__(self) -> None:
        """Begin with none fetched."""
        self._documents: dict[str, tuple[float, Metadata]] = {}  # by issuer
        self._lock = threading.Lock()

    def find(self, link: Link) -> Server:
        """
        Return the server of *link*.

        Raises:
            BadRequestError: the link does not say where it is.
            BadUrlError: it is neither https nor on this machine.
            ProviderRefusedError: it has no metadata that can be used.
            ProviderUnreachableError: no answer in time.
        """
        flavour, own = flavour_of(link), link.own
        by_hand = {name: own.get(name) for name in BY_HAND if own.get(name)}
        if flavour is not None:
            server = _of_flavour(link, flavour)
        elif "authorize_url" in by_hand and "token_url" in by_hand:
            server = Server("", "", None, None, "basic", own.get("issuer"))
        else:
            server = self._by_metadata(link)
        server = replace(server, **by_hand)
        try:
            parse_server_address(server.token_url)
        except BadUrlError as exc:
            raise BadUrlError(f"its token endpoint {server.token_url}: {exc.message}", exc.hint, link=link.name) from None
        return server

    def _by_metadata(self, link: Link) -> Server:
        issuer = link.own.get("issuer")
        if not issuer:
            raise BadRequestError(
                "the link does not say where its authorization server is",
                f"{format_link_command(link)} --issuer URL",
                link=link.name,
            )
        found = self._fetch(link, issuer)
        return Server(
            found.authorize_url,
            found.token_url,
            found.device_url,
            found.revoke_url,
            found.client_auths[0],
            issuer,
            found.announces_issuer,
        )

    def _fetch(self, link: Link, issuer: str) -> Metadata:
        with self._lock:
            known = self._documents.get(issuer)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        found = fetch_metadata(link, issuer)
        with self._lock:
            self._documents[issuer] = time.monotonic() + METADATA_S, found
        return found


def fetch_metadata(link: Link, issuer: str) -> Metadata:
    """
    Return what the server *issuer* says of itself, at the first of the two places where that can be used.

    Args:
        link: how it is reached.
        issuer: as it calls itself.

    Raises:
        ProviderRefusedError: nothing that can be used is there.
        ProviderBusyError, ProviderUnreachableError: no answer in time, or the server is not available.
    """
    from atl_sign.providers.unexpected import explain_bystander
    from atl_sign.schemes.oauth2.exchange import ask

    found: DaemonError | None = None
    for url in find_documents(issuer):
        answer = ask(link, url, {"Accept": "application/json"})
        if answer.status == 429 or answer.status >= 500:
            raise explain_bystander(link, answer) or _unusable(link, url, f"the answer has status {answer.status}")
        try:
            if answer.status == 200:
                return read_metadata(issuer, answer.text)
            cause = f"the answer has status {answer.status}"
        except BadMetadataError as exc:
            cause = str(exc)
        # A server that does not know the first place does not always say 404: some answer every path with a page of their own.
        if answer.status != 404:
            found = found or _unusable(link, url, cause)
    raise found or _unusable(link, issuer, "it has no metadata")


def _unusable(link: Link, url: str, cause: str) -> DaemonError:
    return ProviderRefusedError(
        f"the authorization server's metadata at {url} cannot be used: {cause}",
        "check --issuer, which must be written as the server writes it; or name --authorize-url and --token-url",
        link=link.name,
    )


def _of_flavour(link: Link, flavour: Flavour) -> Server:
    def find(template: str | None) -> str | None:
        return None if template is None else address(link, template)

    return Server(
        address(link, flavour.authorize),
        address(link, flavour.token),
        find(flavour.device),
        find(flavour.revoke),
        flavour.client_auth,
        link.own.get("issuer") or flavour.issuer,
    )
