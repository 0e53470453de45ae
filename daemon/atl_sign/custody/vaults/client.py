"""Calls of one vault, with its login; every failure is a VaultError that says whose it is."""

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from atl_sign import __version__
from atl_sign.base.credentials import Secret
from atl_sign.config.vaults import VaultServer
from atl_sign.custody.vaults.connections import Call, Connections, RawAnswer
from atl_sign.custody.vaults.login import Login
from atl_sign.custody.vaults.problems import Kind, VaultError, repeats_secret, words_of

LOGIN_S = 5.0  # that a login may take on top of the call that needs it
_RETRY_S = 0.2  # after a node that is behind, when it does not say how long
_SILENCE = "it does not say why"
_CONFLICT = "check-and-set parameter did not match"
_CAPABILITIES = {"GET": ("read",), "POST": ("create", "update")}  # an item that is not there yet is created, all else updated


@dataclass(frozen=True, slots=True)
class VaultAnswer:
    """A call's answer: 200, 204, or 404 with a body that a caller reads."""

    status: int
    data: Mapping[str, Any] = field(repr=False)  # `data` of the answer; {} where there is none
    index: str | None = None  # of the store behind the vault: a node that is behind it does not answer a call that names it


class VaultClient:
    """One vault of the configuration. Every method may be called from any thread."""

    def __init__(self, server: VaultServer) -> None:
        """Call *server*; nothing is sent yet."""
        self.server = server
        self._connections = Connections(server)
        self._login = Login(server, self._send_alone)

    @property
    def name(self) -> str:
        """The name in the configuration."""
        return self.server.name

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout_s: float, index: str | None = None
    ) -> VaultAnswer:
        """
        Call the vault as the login's user.

        Args:
            method: GET or POST.
            path: below `/v1/`, escaped.
            body: goes out as JSON.
            timeout_s: for the call with all its repetitions; a login has `LOGIN_S` of its own.
            index: as in `VaultAnswer`; the answer is not older.

        Raises:
            VaultError: of each kind; "absent" for a 404 that says nothing but that.
        """
        token = self._login.token(time.monotonic() + LOGIN_S)
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self._send(method, path, body, token, deadline, index)
            content = self._parse(answer)
            if answer.status != 403:
                return self._take(path, answer, content)
            if self._is_good(token, deadline):
                raise self._denied(method, path)
            other = self._login.replace(token, time.monotonic() + LOGIN_S)
            if other is None:
                raise VaultError("locked", f"the vault {self.name} refuses the login: it has ended", self._login.remedy)
            token = other

    def health(self, timeout_s: float) -> VaultError | None:
        """Return None for a vault that is open, else what is wrong with it; needs no login."""
        deadline = time.monotonic() + timeout_s
        try:
            answer = self._send("GET", "sys/health?standbyok=true&perfstandbyok=true", None, None, deadline)
            self._parse(answer)
        except VaultError as exc:
            return exc
        if answer.status == 200:
            return None
        states = {
            501: ("is not initialized", "its operators must initialize it"),
            503: ("is sealed", "its operators must unseal it"),
        }
        state, hint = states.get(answer.status, (f"answers with status {answer.status}", "ask its operators"))
        return VaultError("unavailable", f"the vault {self.name} {state}", hint)

    def may(self, needs: Mapping[str, Collection[str]], timeout_s: float) -> dict[str, list[str]]:
        """Return what the login lacks of the capabilities that it *needs* at each path; raises as `call`."""
        told = self.call("POST", "sys/capabilities-self", {"paths": list(needs)}, timeout_s=timeout_s).data
        lacks: dict[str, list[str]] = {}
        for path, wanted in needs.items():
            has = told.get(path)
            has = has if isinstance(has, list) else []
            missing = [] if "root" in has else [each for each in wanted if each not in has]
            if missing:
                lacks[path] = missing
        return lacks

    def forget(self) -> None:
        """Forget the login."""
        self._login.forget()
        self._connections.close()

    def _send_alone(
        self, method: str, path: str, body: Mapping[str, Any] | None, token: Secret | None, deadline: float
    ) -> tuple[int, Mapping[str, Any]]:
        """Return the answer to one call of the login; one that is not about the login is an error as for every call."""
        answer = self._send(method, path, body, token, deadline)
        content = self._parse(answer)
        if answer.status not in (400, 403):
            self._take(path, answer, content)
        return answer.status, content

    def _send(  # noqa: PLR0917
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        token: Secret | None,
        deadline: float,
        index: str | None = None,
    ) -> RawAnswer:
        """Return the answer to one request; one that says "not yet" is asked for again until *deadline*."""
        headers = {"X-Vault-Request": "true", "User-Agent": f"atl-sign/{__version__}"}
        if token is not None:
            headers["X-Vault-Token"] = token.reveal()
        if self.server.namespace is not None and not path.startswith("sys/health"):  # which only the whole vault has
            headers["X-Vault-Namespace"] = self.server.namespace
        if index is not None:
            headers["X-Vault-Index"] = index
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        while True:
            answer = self._connections.exchange(Call(method, path, headers, content), deadline)
            if answer.status >= 400 and repeats_secret(answer.content, token, body):
                answer = RawAnswer(answer.status, answer.headers, b'{"errors": []}')
            if answer.status not in (412, 429):
                return answer
            wait_s = _seconds(answer.headers.get("retry-after")) or _RETRY_S
            if time.monotonic() + wait_s >= deadline:
                return answer
            time.sleep(wait_s)

    def _parse(self, answer: RawAnswer) -> Mapping[str, Any]:
        """Return the answer's JSON; raises VaultError for what is not an answer of a vault."""
        if not answer.content:
            return {}
        try:
            content = json.loads(answer.content)
        except (ValueError, RecursionError):
            content = None
        if isinstance(content, dict):
            return content
        if b"HTTP request to an HTTPS server" in answer.content:
            hint = f"write https in the address of [vaults.{self.name}]"
            raise VaultError("unavailable", f"the vault {self.name} at {self.server.place} speaks TLS", hint)
        raise VaultError(
            "unavailable",
            f"what answers at {self.server.place} is not a vault (status {answer.status})",
            f"check the address of [vaults.{self.name}], and whether a proxy is in the way",
        )

    def _take(self, path: str, answer: RawAnswer, content: Mapping[str, Any]) -> VaultAnswer:
        status, name = answer.status, self.name
        data = content.get("data")
        data = data if isinstance(data, dict) else {}
        if status in (200, 204) or (status == 404 and data):
            return VaultAnswer(status, data, answer.headers.get("x-vault-index"))
        words, path = words_of(content), unquote(path)
        if status == 404 and "namespace not found" in words:
            cause = f"the vault {name} has no namespace {self.server.namespace}"
            raise VaultError("unavailable", cause, f"correct namespace of [vaults.{name}]")
        if status == 404:  # with words it is the mount that is not there
            kind: Kind = "missing" if words else "absent"
            raise VaultError(kind, f"the vault {name} has nothing at {path}", f"check the mount and the name in {path}")
        if status == 400 and _CONFLICT in words:
            raise VaultError("conflict", f"another machine has changed {path} in the vault {name}")
        if status == 400 and "not found" in words:
            raise VaultError("missing", f"the vault {name} has nothing at {path}", "ask its operators")
        if status == 503 and "sealed" in words:
            raise VaultError("unavailable", f"the vault {name} is sealed", "its operators must unseal it", was_sent=False)
        if status in (412, 429):
            raise VaultError("unavailable", f"the vault {name} limits this machine's calls (status {status})", "try again later")
        if status == 400:  # of our own making, or a path of another kind; the words are about the call and hold no value
            raise VaultError(
                "unavailable", f"the vault {name} refuses the call of {path}: {words or _SILENCE}", "ask its operators"
            )
        hint = "ask its operators: it answers so when its audit device fails, too"
        raise VaultError("unavailable", f"the vault {name} failed at {path} (status {status}): {words or _SILENCE}", hint)

    def _is_good(self, token: Secret | None, deadline: float) -> bool:
        """Ask whether *token* is alive: what a 403 says does not tell a dead one from a policy that is too narrow."""
        # The second is for policies without the first: every living token may list the mounts that it can use.
        for path in ("auth/token/lookup-self", "sys/internal/ui/mounts"):
            answer = self._send("GET", path, None, token, deadline)
            if answer.status != 403:
                self._take(path, answer, self._parse(answer))
                return True
        return False

    def _denied(self, method: str, path: str) -> VaultError:
        name = self.name
        path, verb = unquote(path), "read" if method == "GET" else "write"
        line = f"path {json.dumps(path)} {{ capabilities = {json.dumps(_CAPABILITIES[method])} }}"
        return VaultError(
            "denied",
            f"the vault {name} does not allow this login to {verb} {path}",
            f"ask its operators for a policy with: {line}",
        )


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 6 else None
