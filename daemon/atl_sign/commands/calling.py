"""Calls to the daemon for a person: it is started where none answers, and refusals look as in the bash command."""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from atl_sign.base.errors import AtlSignError
from atl_sign.base.terminal import complain, say, say_text
from atl_sign.base.text import format_error, to_text
from atl_sign.commands.autostart import SERVICE_HINT, autostart, has_unit_at
from atl_sign.commands.daemon_call import STATUS_S, DaemonAnswer, NoAnswerError, RawAnswer, call_daemon, find_listener, send_call
from atl_sign.commands.programs import ProgramError
from atl_sign.server.listening import StartError, socket_path

KEY_S = 120.0  # what derives a key, or makes one
PROVIDER_S = 330.0  # a link's own time limit is at most 300 s

_STORE_CODES = ("keyring_", "store_", "passphrase_needed")


class CommandError(AtlSignError):
    """The command cannot do what was asked; says so, and in `hint` what to do."""


class RefusedError(Exception):
    """The daemon refused; `lines` are what is printed."""

    def __init__(self, *lines: str) -> None:
        """Refuse with *lines*."""
        super().__init__(*lines)
        self.lines = lines


FAILURES = (CommandError, RefusedError, ProgramError, StartError, NoAnswerError, KeyboardInterrupt)


def report(failure: BaseException) -> int:
    """Print one of FAILURES; returns the exit status."""
    if isinstance(failure, KeyboardInterrupt):
        say("", out=sys.stderr)
        return 130
    if isinstance(failure, RefusedError):
        say(*failure.lines, out=sys.stderr)
        return 1
    if isinstance(failure, NoAnswerError):
        complain("atl-sign", failure, "atl-sign doctor")
        return 3
    assert isinstance(failure, CommandError | ProgramError | StartError)  # noqa: S101 - there are no others
    complain("atl-sign", failure, failure.hint)
    return 3 if isinstance(failure, StartError) else 1


class Conversation:
    """Calls to the user's daemon, which is started where none answers; answers come as the user wants to see them."""

    def __init__(self, environment: Mapping[str, str], *, as_json: bool) -> None:
        """Find the daemon; raises StartError."""
        self._environment = environment
        self._as_json = as_json
        self._path = socket_path(environment)
        if find_listener(self._path) is None:
            self._start()
        with suppress(OSError):
            if self._path.resolve().parent.stat().st_mode & 0o022:
                hint = "set ATL_SIGN_SOCK to a path in a folder that only you can change (mode 0700)"
                raise StartError(f"other users can change the folder of the socket {self._path}", hint)

    def ask(self, method: str, target: str, fields: Mapping[str, bytes] | None = None, timeout_s: float = STATUS_S) -> RawAnswer:
        """Return the answer, whatever the daemon says; raises NoAnswerError."""
        if timeout_s > STATUS_S:  # on systemd's socket a connection is taken also when no daemon can be started for it
            send_call(self._path, "GET", "/", STATUS_S)
        accept = "application/json" if self._as_json else "text/plain"
        return send_call(self._path, method, target, timeout_s, accept=accept, fields=fields)

    def call(self, method: str, target: str, fields: Mapping[str, bytes] | None = None, timeout_s: float = STATUS_S) -> RawAnswer:
        """As `ask`; raises RefusedError when the daemon refuses."""
        answer = self.ask(method, target, fields, timeout_s)
        if answer.status >= 400:
            raise self.refuse(answer)
        return answer

    def change(self, method: str, target: str, fields: Mapping[str, bytes] | None = None) -> dict[str, Any]:
        """Return the fields of the JSON answer to a call that changes something, {} without a body; raises RefusedError."""
        answer = send_call(self._path, method, target, STATUS_S, fields=fields)
        if answer.status >= 400:
            raise self.refuse(answer if self._as_json else _as_text(answer))
        return json.loads(answer.text) if answer.text else {}

    def fields_of(self, target: str, timeout_s: float = STATUS_S) -> dict[str, Any]:
        """Return what `GET` *target* answers, as fields; raises RefusedError."""
        answer = call_daemon(self._path, "GET", target, timeout_s)
        if answer.status >= 400:
            raise self.refuse(self.ask("GET", target))
        return answer.fields

    def read(self, target: str) -> DaemonAnswer:
        """Return what `GET` *target* answers, whatever that is."""
        return call_daemon(self._path, "GET", target, STATUS_S)

    def refuse(self, answer: RawAnswer) -> RefusedError:
        """Return the error for *answer*, a refusal."""
        if self._as_json:
            return RefusedError(answer.text.rstrip("\n"))
        lines = f"atl-sign: {answer.text}".rstrip("\n").split("\n")
        other = self.other_store() if (answer.code or "").startswith(_STORE_CODES) else None
        if other is not None:
            # The daemon reads ATL_SIGN_STORE when it starts, and no later.
            wanted = self._environment["ATL_SIGN_STORE"]
            lines[1:] = [f"hint: the running daemon uses the store {other}; to use {wanted}: atl-sign restart"]
        return RefusedError(*lines)

    def store(self) -> str:
        """Return the name of the daemon's store; raises RefusedError."""
        return str(self.fields_of("/status")["store"])

    def other_store(self) -> str | None:
        """Return the daemon's store when `ATL_SIGN_STORE` names another one."""
        wanted = self._environment.get("ATL_SIGN_STORE")
        if not wanted:
            return None
        store = self.read("/status").fields.get("store")
        return None if store in (None, wanted) else str(store)

    def _start(self) -> None:
        message = f"there is no daemon on {self._path}"
        if self._environment.get("ATL_SIGN_AUTOSTART") == "0":
            is_units = has_unit_at(self._environment, self._path)
            raise StartError(message, SERVICE_HINT if is_units else "start it: atl-sign serve &")
        try:
            autostart(self._environment)
        except StartError as exc:
            raise StartError(f"{message}, and none could be started: {exc}", exc.hint) from exc


def _as_text(answer: RawAnswer) -> RawAnswer:
    """Return *answer*, an error in JSON, as its text for a person."""
    try:
        error = json.loads(answer.text)["error"]
        text = to_text(format_error(error["message"], error["hint"]))
    except (ValueError, KeyError, TypeError):
        return answer
    return replace(answer, text=text)


def print_answer(text: str) -> None:
    """Print *text* on standard output, with its tabs; raises CommandError when that cannot be written."""
    try:
        say_text(text)
    except OSError as exc:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would try again at its end
        raise CommandError("standard output cannot be written") from exc


def to_json(value: object) -> str:
    """Return *value* as the daemon would print it."""
    return json.dumps(value)
