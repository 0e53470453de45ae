"""The last refusals: of requests that the daemon did not send, and of products; kept in memory, for `atl-sign why`."""

import re
import threading
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from atl_sign.access.caller import DAEMON, Caller
from atl_sign.agent.leases import Leases
from atl_sign.agent.lookup import Lookup
from atl_sign.base.errors import DaemonError
from atl_sign.base.lease_errors import UnknownLeaseError
from atl_sign.base.text import printable
from atl_sign.base.urls import parse_url

REFUSALS_MAX = 100
_TEXT_CHARS_MAX = 1_000
_PATH_CHARS_MAX = 500
_WORD_CHARS_MAX = 80

_QUERY = re.compile(r"[?#][^\s'\"]+")  # in a sentence; a rule's own "?name=value" goes with it
_CREDENTIALS = re.compile(r"(?<=//)[^/@\s]*@")  # of a URL in a sentence
_METHOD = re.compile(r"[A-Z]{1,20}")

By = Literal["daemon", "product"]


@dataclass(frozen=True, slots=True)
class Address:
    """The request that was refused, as far as it could be read; never with a query."""

    method: str | None = None
    host: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of a refusal."""

    code: str
    message: str
    hint: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal, or several in a row that differ only in their time."""

    by: By
    code: str
    message: str
    hint: str | None
    address: Address
    link: str | None
    leases: tuple[str, ...]  # ids: of the caller's lease, and of those that it was made from; empty without one
    lease_name: str | None  # that the owner gave the outermost of them
    last_at: datetime  # aware, UTC
    count: int = 1


class Refusals:
    """Keeps the last ones; every method can be called from any thread."""

    def __init__(self, lookup: Lookup, leases: Leases) -> None:
        """Look up a link's base URL by *lookup*, and a lease by *leases*."""
        self._lookup = lookup
        self._leases = leases
        self._lock = threading.Lock()
        self._kept: deque[Refusal] = deque(maxlen=REFUSALS_MAX)

    def add(self, caller: Caller, error: DaemonError, address: Address) -> None:
        """Keep *error*, by which the daemon refused a request of *caller*."""
        self._add(caller, "daemon", error.link, Meaning(error.code, error.message, error.hint), address)

    def add_meaning(self, caller: Caller, link: str, meaning: Meaning, address: Address) -> None:
        """Keep what it means that the product of *link* refused a request of *caller*."""
        self._add(caller, "product", link, meaning, address)

    def list_all(self, caller: Caller, lease: str | None = None) -> list[Refusal]:
        """
        Return what is kept, the youngest first, with hints for the owner of the leases.

        Args:
            caller: the owner.
            lease: only for the lease with this id, or of this name, and for those that were made from it.

        Raises:
            UnknownLeaseError: nothing is kept for it, and there is no such lease.
        """
        with self._lock:
            kept = list(reversed(self._kept))
        if lease is not None:
            kept = [each for each in kept if lease in each.leases or (lease == each.lease_name and each.leases)]
            if not kept:
                self._leases.show(caller, lease)
        return [replace(each, hint=self._advise(each)) for each in kept]

    def _add(self, caller: Caller, by: By, link: str | None, meaning: Meaning, address: Address) -> None:
        line = [] if caller.lease is None else caller.lease.line
        refusal = Refusal(
            by=by,
            code=_clean(meaning.code, _WORD_CHARS_MAX),
            message=_clean(meaning.message),
            hint=None if meaning.hint is None else _clean(meaning.hint),
            address=Address(
                address.method if address.method is not None and _METHOD.fullmatch(address.method) else None,
                None if address.host is None else _clean(address.host.rpartition("@")[2], _PATH_CHARS_MAX),
                None if address.path is None else _clean(_without_query(address.path), _PATH_CHARS_MAX),
            ),
            link=link,
            leases=tuple(lease.id for lease in line),
            lease_name=line[-1].terms.name if line else None,
            last_at=datetime.now(UTC),
        )
        with self._lock:
            if self._kept:
                last = self._kept[-1]
                if last == replace(refusal, last_at=last.last_at, count=last.count):  # a program that tries again and again
                    self._kept[-1] = replace(refusal, count=last.count + 1)
                    return
            self._kept.append(refusal)

    def _advise(self, refusal: Refusal) -> str | None:
        """Return what the owner can do: a program with a lease is never told how to get a wider one."""
        if refusal.by == "product" or not refusal.leases:
            return refusal.hint
        lease = refusal.leases[0]
        if refusal.code == "lease_denied":
            preset = self._find_preset(refusal)
            wider = "only another lease can allow it" if preset is None else f"only another lease can allow it: --allow {preset}"
            return f"atl-sign lease show {lease} lists its rules; {wider}"
        if refusal.code in ("lease_expired", "lease_revoked") or self._is_over(lease):
            return "this lease cannot be used again; atl-sign lease new opens another one"
        if refusal.code == "lease_used_up":
            return f"atl-sign lease change {lease} --uses 100"
        if refusal.code == "lease_suspended":
            return f"atl-sign lease resume {lease}"
        return refusal.hint

    def _is_over(self, lease_id: str) -> bool:
        try:
            return self._leases.show(DAEMON, lease_id).lease.is_over
        except UnknownLeaseError:
            return True

    def _find_preset(self, refusal: Refusal) -> str | None:
        """Return the name of the first preset that would allow the request, as far as its path decides that."""
        from atl_sign.access.decision import Rules, decide
        from atl_sign.access.presets import NAMES
        from atl_sign.access.presets.loading import load_preset
        from atl_sign.access.readings import read_request

        address = refusal.address
        try:
            link = self._lookup.get(refusal.link or "")
            url = parse_url(f"{link.url.origin}{address.path}")
            readings = read_request(url, link.url.path, None)
        except DaemonError:  # the link is gone, or the path cannot be read
            return None
        names = (name for name in NAMES if decide(Rules(load_preset(name).rules), address.method or "", readings).is_allowed)
        return next(names, None)


def split_address(method: str, url: str) -> Address:
    """Return the parts of *url* that are kept; its query is not."""
    _, _, rest = url.partition("://")
    rest = rest.partition("?")[0].partition("#")[0]
    host, slash, path = rest.partition("/")
    return Address(method, host, f"{slash}{path}" or "/")


def _clean(text: str, chars_max: int = _TEXT_CHARS_MAX) -> str:
    text = _QUERY.sub("", _CREDENTIALS.sub("", text))
    return printable(text if len(text) <= chars_max else f"{text[: chars_max - 1]}…")


def _without_query(path: str) -> str:
    return re.split(r"[?#]", path, maxsplit=1)[0]
