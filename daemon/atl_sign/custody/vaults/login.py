"""
The token that a vault is called with: read from a file, or got for an id, a secret or a JSON Web Token, and kept alive.

Source: facts custody.md section 4.
"""

import os
import shlex
import stat
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atl_sign.base.credentials import Secret
from atl_sign.base.files import open_without_waiting
from atl_sign.base.ownership import trusted_owners
from atl_sign.config.vaults import KUBERNETES_JWT, VaultServer
from atl_sign.custody.vaults.problems import VaultError, words_of

_FILE_BYTES_MAX = 1 << 16
_AGAIN_S = 5.0  # after a renewal that the vault did not answer
# One call without a token of ours: method, path, body, a token for it, the deadline. Returns the status and the answer's JSON.
Send = Callable[[str, str, Mapping[str, Any] | None, Secret | None, float], tuple[int, Mapping[str, Any]]]


@dataclass(slots=True)
class _Token:
    secret: Secret
    lifetime_s: float = 0.0  # that it was given with
    ends_at: float | None = None  # by the clock; None for no end, or one that others look after
    renews_at: float | None = None  # None when it cannot be renewed
    stamp: tuple[int, int, int] | None = None  # of the file that it was read from


class Login:
    """The login at one vault."""

    def __init__(self, server: VaultServer, send: Send) -> None:
        """Log in to *server* by *send*, when a token is wanted."""
        self._server = server
        self._send = send
        self._token: _Token | None = None
        self._unwrapped: Secret | None = None  # the secret id that a wrapping token gave: it gives it once
        self._lock = threading.Lock()

    def token(self, deadline: float) -> Secret | None:
        """Return the token for a call, None for a proxy that has its own; raises VaultError "locked" or "unavailable"."""
        server = self._server
        if server.auth == "proxy":
            return None
        with self._lock:
            known, now = self._token, time.monotonic()
            if known is not None and known.stamp is not None and known.stamp != self._stamp():
                known = None  # somebody has put another one there
            if known is not None and known.renews_at is not None and known.renews_at <= now:
                self._renew(known, deadline)
            if known is None or (known.ends_at is not None and known.ends_at <= now):
                known = self._token = self._read_file() if server.auth == "token-file" else self._log_in(deadline)
            return known.secret

    def replace(self, refused: Secret | None, deadline: float) -> Secret | None:
        """Return another token than the *refused* one, or None if there is no other; raises as `token`."""
        if refused is None:
            return None
        with self._lock:
            if self._token is not None and self._token.secret is refused:
                self._token = None
        again = self.token(deadline)
        return again if again is not None and again.reveal() != refused.reveal() else None

    def forget(self) -> None:
        """Forget the token; the next call logs in again."""
        with self._lock:
            self._token = self._unwrapped = None

    @property
    def remedy(self) -> str:
        """The remedy when the vault does not take the login."""
        server = self._server
        match server.auth:
            case "token-file":
                return f"bao login, or vault login; the token belongs into {self._token_file}"
            case "approle":
                return f"ask the vault's operators for another secret id, and put it into {server.secret_id_file}"
            case "proxy":
                return "check the log of the vault's proxy on this machine"
            case _:
                return f"check the role {server.role} of the vault, and {self._jwt_file}"

    @property
    def _mount(self) -> str:
        return self._server.auth_mount or self._server.auth

    @property
    def _token_file(self) -> Path:
        return self._server.token_file or Path.home() / ".vault-token"

    @property
    def _jwt_file(self) -> Path:
        return self._server.jwt_file or KUBERNETES_JWT

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self._token_file.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read_file(self) -> _Token:
        stamp = self._stamp()
        return _Token(self._read(self._token_file), stamp=stamp)

    def _read(self, path: Path, *, may_be_open: bool = False) -> Secret:
        """Return the secret in the file *path*, which only its owner may read; raises VaultError "locked"."""
        name = self._server.name
        try:
            with os.fdopen(open_without_waiting(path, os.O_RDONLY, follow=True), "rb") as file:
                status = os.fstat(file.fileno())
                content = file.read(_FILE_BYTES_MAX + 1)
        except OSError as exc:
            words = f"the vault {name} cannot be logged in to: {path} cannot be read ({exc.strerror})"
            raise VaultError("locked", words, self.remedy, was_sent=False) from None
        is_ours = status.st_uid in trusted_owners() and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        if not (may_be_open or is_ours):
            words = f"the vault {name} cannot be logged in to: others than you can read {path}"
            raise VaultError("locked", words, f"chmod 600 {shlex.quote(str(path))}", was_sent=False)
        try:
            text = content.decode("ascii").strip()
        except ValueError:
            text = ""
        if len(content) > _FILE_BYTES_MAX or not _is_token(text):
            raise VaultError("locked", f"{path} holds no token for the vault {name}", self.remedy, was_sent=False)
        return Secret(text)

    def _log_in(self, deadline: float) -> _Token:
        server = self._server
        if server.auth == "approle":
            assert server.role_id_file is not None  # noqa: S101 - `VaultServer.check` said so
            body = {"role_id": self._read(server.role_id_file).reveal(), "secret_id": self._secret_id(deadline).reveal()}
        else:
            may_be_open = server.auth == "kubernetes"  # the cluster puts it there, and every container of the pod reads it
            body = {"role": server.role or "", "jwt": self._read(self._jwt_file, may_be_open=may_be_open).reveal()}
        status, answer = self._send("POST", f"auth/{self._mount}/login", body, None, deadline)
        auth = answer.get("auth")
        if status != 200 or not isinstance(auth, dict) or not _is_token(auth.get("client_token")):
            raise self._refused(status, answer)
        return self._kept(auth)

    def _refused(self, status: int, answer: Mapping[str, Any]) -> VaultError:
        """Return the error for a login that failed; the vault's words are about the role, and never hold what we sent."""
        name = self._server.name
        if status == 403:
            cause = f"the vault {name} allows no login at auth/{self._mount}: nothing is mounted there, or not for this machine"
            return VaultError("locked", cause, f"check auth, auth_mount and namespace of [vaults.{name}]")
        words = words_of(answer) if self._server.auth in ("jwt", "kubernetes") else ""
        cause = f"the vault {name} rejects the login ({self._server.auth}, status {status})"
        return VaultError("locked", f"{cause}: {words}" if words else cause, self.remedy)

    def _secret_id(self, deadline: float) -> Secret:
        server = self._server
        assert server.secret_id_file is not None  # noqa: S101 - `VaultServer.check` said so
        if self._unwrapped is not None:
            return self._unwrapped
        found = self._read(server.secret_id_file)
        if not server.secret_id_wrapped:
            return found
        status, answer = self._send("POST", "sys/wrapping/unwrap", None, found, deadline)
        data = answer.get("data")
        if status == 200 and isinstance(data, dict) and _is_token(data.get("secret_id")):
            self._unwrapped = Secret(data["secret_id"])
            return self._unwrapped
        raise VaultError(
            "locked",
            f"the wrapped secret id for the vault {server.name} was opened already, or is too old",
            "if this machine has not opened it, somebody else has: tell the vault's operators; then put another one into "
            f"{server.secret_id_file}",
        )

    def _kept(self, auth: Mapping[str, Any]) -> _Token:
        """Return the token in a login's answer, with its ends on our own clock: a standby may say something else for days."""
        lifetime_s = auth.get("lease_duration")
        secret = Secret(auth["client_token"])
        if not isinstance(lifetime_s, int | float) or lifetime_s <= 0:
            return _Token(secret)
        now = time.monotonic()
        can_renew = auth.get("renewable") is True
        return _Token(secret, lifetime_s, now + lifetime_s, now + lifetime_s * 2 / 3 if can_renew else None)

    def _renew(self, known: _Token, deadline: float) -> None:
        """Have *known* live longer, if the vault lets it: near its greatest age it adds less and less, and then nothing."""
        now = time.monotonic()
        try:
            status, answer = self._send("POST", "auth/token/renew-self", {}, known.secret, deadline)
        except VaultError:
            known.renews_at = now + _AGAIN_S
            return
        auth = answer.get("auth")
        lifetime_s = auth.get("lease_duration") if isinstance(auth, dict) else None
        if status != 200 or not isinstance(lifetime_s, int | float) or lifetime_s <= 0:
            known.renews_at = None  # a token that cannot be renewed; at its end there is another login
            return
        known.ends_at = now + lifetime_s
        known.renews_at = now + lifetime_s * 2 / 3 if lifetime_s > known.lifetime_s / 2 else None


def _is_token(value: object) -> bool:
    """Tell whether *value* can be a token, an id or a JSON Web Token: what fits on one line of a request."""
    return isinstance(value, str) and bool(value) and all(33 <= ord(char) <= 126 for char in value)
