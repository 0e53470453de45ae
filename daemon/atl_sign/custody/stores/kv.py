"""
A vault's key-value engine (KV v2) as a store, for many machines: every write is a check-and-set.

An item is removed by an empty one in its place: a removed one's count of versions would begin anew, and a machine with an old
number could win then.

Source: facts custody.md sections 3 and 5.
"""

import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from atl_sign.base.credentials import Passphrase, Secret, StoreState
from atl_sign.base.errors import BadRequestError, DaemonError, StoreConflictError, StoreUnavailableError
from atl_sign.custody.stores.base import ABSENT, TIMEOUT_S, Item, refuse_passphrase
from atl_sign.custody.vaults.client import VaultAnswer, VaultClient
from atl_sign.custody.vaults.problems import VaultError
from atl_sign.custody.vaults.registry import SEGMENT, Vaults

CACHE_S = 30.0
_REFERENCE = re.compile(rf"vault:({SEGMENT})/({SEGMENT})/({SEGMENT}(?:/{SEGMENT})*)", re.ASCII)
_PAUSE_S = 0.1  # after a check-and-set that a node refused which may be behind the others


def split_backend(backend: str) -> tuple[str, str, str]:
    """Return the vault's name, the mount and the prefix in `vault:NAME/MOUNT/PREFIX`; raises BadRequestError for others."""
    found = _REFERENCE.fullmatch(backend)
    if found is None:
        raise BadRequestError("this is not a store in a vault", "name one such as vault:ci/secret/atl-sign")
    vault, mount, prefix = found.groups()
    return vault, mount, prefix


@dataclass(frozen=True, slots=True)
class _Found:
    text: Secret | None  # None: there is no such item, or an empty one
    version: int  # 0 for one that was never written
    write_id: object  # of the last write


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except VaultError as exc:
        raise exc.for_store() from None


class KvStore:
    """Items below one prefix of a KV v2 mount."""

    @property
    def cache_s(self) -> float | None:
        """See `Store.cache_s`."""
        return CACHE_S

    def __init__(self, reference: str, vaults: Vaults) -> None:
        """
        Keep items at *reference*, `vault:NAME/MOUNT/PREFIX`, in one of *vaults*; nothing is asked yet.

        Raises:
            BadRequestError: it is not such a reference, or the configuration has no vault of the name.
        """
        self._vault, self._mount, self._prefix = split_backend(reference)
        self.backend = reference
        self._vaults = vaults
        vaults.client(self._vault)
        self._is_checked = False
        self._index: str | None = None  # of the newest state of the vault that was seen here
        self._lock = threading.Lock()

    def read(self, name: str) -> Item | None:
        """See `Store.read`."""
        with _store_errors():
            found = self._read(name)
        return None if found.text is None else Item(found.text, str(found.version))

    def write(self, name: str, value: Secret, if_version: str | None = None) -> str:
        """See `Store.write`."""
        with _store_errors():
            return str(self._replace(name, value, if_version))

    def delete(self, name: str) -> None:
        """See `Store.delete`; older versions of the item stay in the vault for as long as its `max_versions` has it."""
        with _store_errors():
            if self._read(name).text is not None:
                self._replace(name, None, None)

    def state(self) -> StoreState:
        """See `Store.state`."""
        try:
            self._read("probe")
        except VaultError as exc:
            return "locked" if exc.kind == "locked" else "unavailable"
        except DaemonError:
            return "unavailable"
        return "ready"

    def lock(self) -> None:
        """Forget the login."""
        with suppress(VaultError):
            self._client().forget()

    def unlock(self, passphrase: Passphrase | None, new: Passphrase | None) -> None:
        """See `Store.unlock`; the vault has ways of its own to be logged in to."""
        refuse_passphrase(self.backend, passphrase, new)
        self.read("probe")

    def survives_restart(self) -> bool:
        """See `Store.survives_restart`: the login's secrets are in files."""
        return self.state() == "ready"

    def discard(self) -> None:
        """Do nothing: the rest of it is the operators'."""

    def _client(self) -> VaultClient:
        try:
            return self._vaults.client(self._vault)
        except BadRequestError as exc:  # it was taken out of the configuration, or its settings are wrong now
            raise VaultError("unavailable", f"the store is in a vault, and {exc.message}", exc.hint, was_sent=False) from None

    def _path(self, name: str) -> str:
        return f"{self._mount}/data/{quote(self._prefix)}/{quote(name, safe='')}"

    def _read(self, name: str) -> _Found:
        self._check_mount(name)
        try:
            answer = self._call("GET", self._path(name))
        except VaultError as exc:
            if exc.kind == "absent":
                return _Found(None, 0, None)
            raise
        metadata, data = answer.data.get("metadata"), answer.data.get("data")
        version = metadata.get("version") if isinstance(metadata, dict) else None
        if type(version) is not int:
            raise self._wrong_mount()
        fields = data if answer.status == 200 and isinstance(data, dict) else {}
        text = fields.get("item")
        return _Found(Secret(text) if isinstance(text, str) else None, version, fields.get("write"))

    def _replace(self, name: str, value: Secret | None, if_version: str | None) -> int:
        """Write *value* over the version *if_version*, or over whatever is there; returns its version, and raises as `write`."""
        deadline = time.monotonic() + TIMEOUT_S
        write_id = secrets.token_hex(8)  # tells our write from another machine's when its answer is lost
        current: _Found | None = None
        self._check_mount(name)
        while True:
            if if_version in (None, ABSENT):
                current = current or self._read(name)
                if if_version == ABSENT and current.text is not None:
                    raise self._conflict(name)
                expected = current.version
            else:
                expected = int(str(if_version))
            written = self._try(name, value, expected, write_id)
            if written is not None:
                return written
            # A node that is behind refuses the right version, too: it is a conflict when a read shows that.
            current = self._read(name)
            if current.write_id == write_id:
                return current.version
            is_conflict = current.version > expected and if_version is not None
            if is_conflict or time.monotonic() + _PAUSE_S >= deadline:
                raise self._conflict(name)
            time.sleep(_PAUSE_S)

    def _try(self, name: str, value: Secret | None, expected: int, write_id: str) -> int | None:
        """Return the version that was written; None when the vault says that another one than *expected* is there."""
        data = {"item": None if value is None else value.reveal(), "write": write_id}
        try:
            answer = self._call("POST", self._path(name), {"options": {"cas": expected}, "data": data})
        except VaultError as exc:
            if exc.kind == "conflict":
                return None
            if not exc.was_sent or exc.kind != "unavailable":
                raise
            try:  # it may be there, though its answer was lost
                found = self._read(name)
            except VaultError:
                raise exc from None
            if found.write_id == write_id:
                return found.version
            raise
        if answer.data.get("version") != expected + 1:
            raise self._wrong_mount()  # KV v1 says 204, and has checked nothing
        return expected + 1

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> VaultAnswer:
        answer = self._client().call(method, path, body, timeout_s=TIMEOUT_S, index=self._index if method == "GET" else None)
        if answer.index is not None:
            self._index = answer.index
        return answer

    def _check_mount(self, name: str) -> None:
        """Raise StoreUnavailableError unless the mount is of KV v2: version 1 sets without a check."""
        with self._lock:
            if self._is_checked:
                return
        try:
            answer = self._call("GET", f"sys/internal/ui/mounts/{self._mount}")
        except VaultError as exc:
            if exc.kind == "denied":  # so it is for a login that may use nothing in the mount: its policy lacks the item's path
                self._call("GET", self._path(name))
            raise
        options = answer.data.get("options")
        if answer.data.get("type") != "kv" or not isinstance(options, dict) or options.get("version") != "2":
            raise self._wrong_mount()
        with self._lock:
            self._is_checked = True

    def _wrong_mount(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"the mount {self._mount} of the vault {self._vault} is not KV version 2",
            f"have its operators run: bao kv enable-versioning {self._mount}; or name another mount",
        )

    def _conflict(self, name: str) -> StoreConflictError:
        return StoreConflictError(f"the item {name} of the store was changed by another machine meanwhile", "try again")
