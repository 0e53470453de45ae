"""The calls: ask for a signature, and for a refusal in words."""

from __future__ import annotations

import functools
import json
import os
import re
import time
import warnings
import weakref
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Union
from urllib.parse import quote

from atl_sign_client.connection import Connection, StaleConnectionError, open_connection
from atl_sign_client.errors import AtlSignError
from atl_sign_client.finding import check_path, find_socket
from atl_sign_client.starting import start_daemon

DEADLINE_S = 5.0
_IDLE_MAX = 8  # connections kept open for the next calls; more than that are open only while they are used
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

Form = Union[str, bytes, Mapping[str, str], Iterable["tuple[str, str]"]]


class SignedHeader(str):
    """
    The value of an Authorization header: a signature, good once, for some five minutes, or a token, good until it ends.

    A text in every way, but `repr` hides it, and with it every dictionary of headers that an error or a log shows.
    """

    __slots__ = ("asked_url", "link", "url")
    link: str  # the application link that it is signed for
    url: str | None  # where to send the request, when that is not the URL that was asked for
    asked_url: str | None  # the URL that was asked for, or that a redirect to here began with; None if that is not known

    def __new__(cls, value: str, link: str, url: str | None = None, asked_url: str | None = None) -> SignedHeader:
        """Return *value*, signed for *link*, to be sent to *url* where one is given."""
        made = super().__new__(cls, value)
        made.link = link
        made.url = url
        made.asked_url = asked_url
        return made

    def __getnewargs__(self) -> tuple[str, str, str | None, str | None]:  # type: ignore[override]  # a text's own has one
        """Give `copy` and `pickle` what `__new__` takes."""
        return str(self), self.link, self.url, self.asked_url

    def __repr__(self) -> str:
        """Return a text without secrets."""
        return f"<signature for link {self.link}>"


class AtlSign:
    """
    The user's daemon, as one program sees it: for any number of threads, also after a fork.

    Connections are kept open between calls, one for each call at a time. One that the daemon has closed is replaced.
    """

    def __init__(
        self, socket_path: str | os.PathLike[str] | None = None, link: str | None = None, timeout_s: float = DEADLINE_S
    ) -> None:
        """
        Connect to nothing yet.

        Args:
            socket_path: where the daemon listens; None finds it anew for each call (docs/configuration.md).
            link: sign only for this link; None for that of `ATL_SIGN_LINK`, else the daemon chooses by the URL.
            timeout_s: deadline for one call: connection, request and the whole answer.
        """
        self.socket_path = socket_path
        self.link = link
        self.timeout_s = timeout_s
        self._idle: list[Connection] = []
        weakref.finalize(self, _close_all, self._idle)

    def sign(self, method: str, url: str, form: Form | None = None, *, link: str | None = None) -> SignedHeader:
        """
        Return the value of the Authorization header for one request.

        Args:
            method: as it will be sent.
            url: absolute, exactly as it will be sent.
            form: the body when its content type is application/x-www-form-urlencoded: as it will be sent, or as names and values.
                None for every other body.
            link: sign for this link, instead of the one that was named at the start.

        Raises:
            AtlSignError: with the daemon's code, or one of this package's own.
        """
        fields: dict[str, Any] = {"method": method, "url": url}
        if form is not None:
            fields["form"] = _make_form(form)
        name = link if link is not None else self.link if self.link is not None else os.environ.get("ATL_SIGN_LINK") or None
        if name is not None:
            fields["link"] = name
        answer = self._call("/sign", fields)
        authorization, signed_for = answer.get("authorization"), answer.get("link")
        is_header = isinstance(authorization, str) and _HEADER_VALUE.fullmatch(authorization) is not None
        if not is_header or not isinstance(signed_for, str):
            raise _no_daemons_answer()
        if isinstance(answer.get("warning"), str):
            warnings.warn(answer["warning"], stacklevel=2)
        target = answer.get("url")
        if target is not None and (not isinstance(target, str) or not target.startswith(("https://", "http://"))):
            raise _no_daemons_answer()
        return SignedHeader(str(authorization), signed_for, target, url)

    def explain_refusal(self, link: str, www_authenticate: str) -> str | None:
        """
        Return in words what a provider refused and what to do; None when it named no `oauth_problem`.

        The daemon learns from it too: after a `timestamp_refused` its next signature has the provider's time.

        Args:
            link: the one that was signed for.
            www_authenticate: the value of that header in the provider's answer.

        Raises:
            AtlSignError: with the daemon's code, or one of this package's own.
        """
        answer = self._call(f"/links/{quote(link, safe='')}/problem", {"www_authenticate": www_authenticate})
        message, hint = answer.get("message"), answer.get("hint")
        if not isinstance(message, str):
            return None
        return f"{message} (hint: {hint})" if isinstance(hint, str) and hint else message

    def close(self) -> None:
        """Close the connections that nobody uses; a later call opens new ones."""
        _close_all(self._idle)

    def __enter__(self) -> AtlSign:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close what is open."""
        self.close()

    def __repr__(self) -> str:
        """Return the settings."""
        return f"AtlSign(socket_path={self.socket_path!r}, link={self.link!r}, timeout_s={self.timeout_s!r})"

    def __reduce__(self) -> tuple[type[AtlSign], tuple[Any, ...]]:
        """Give `copy` and `pickle` the settings; connections stay here."""
        return AtlSign, (self.socket_path, self.link, self.timeout_s)

    def _call(self, target: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        status, content = self._post(target, _encode(fields))
        answer = _decode(content)
        if answer is not None and status == 200:
            return answer
        error = answer.get("error") if answer is not None else None
        if not isinstance(error, dict) or not all(isinstance(error.get(name), str) for name in ("code", "message")):
            raise _no_daemons_answer()
        hint = error.get("hint")
        raise AtlSignError(error["code"], error["message"], hint if isinstance(hint, str) and hint else None)

    def _post(self, target: str, body: bytes) -> tuple[int, bytes]:
        deadline = time.monotonic() + self.timeout_s
        path = find_socket(os.environ) if self.socket_path is None else check_path(self.socket_path)
        connection = self._take_idle(path)
        if connection is not None:
            try:
                return self._ask(connection, target, body, deadline)
            except StaleConnectionError:  # the daemon was started anew, or the connection lay idle for too long
                self.close()
        try:
            connection = open_connection(path, deadline)
        except AtlSignError as exc:
            # A program that names a socket of its own has a daemon of its own.
            if exc.code != "no_daemon" or path != find_socket(os.environ):
                raise
            start_daemon(exc)
            deadline = time.monotonic() + self.timeout_s
            connection = open_connection(path, deadline)
        try:
            return self._ask(connection, target, body, deadline)
        except StaleConnectionError as exc:
            raise AtlSignError(
                "bad_answer", f"the daemon on {path} closed the connection without an answer", "its log says why"
            ) from exc

    def _ask(self, connection: Connection, target: str, body: bytes, deadline: float) -> tuple[int, bytes]:
        answer = connection.ask(target, body, deadline)
        if connection.is_open:
            self._idle.append(connection)  # append and pop are each done at once, whatever other threads do
            if len(self._idle) > _IDLE_MAX:
                _close_all(self._idle, _IDLE_MAX)
        return answer

    def _take_idle(self, path: str) -> Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            # A child process must not write into its parent's connection.
            if connection.pid == os.getpid() and connection.path == path:
                return connection
            connection.close()


def sign(
    method: str,
    url: str,
    form: Form | None = None,
    *,
    link: str | None = None,
    socket_path: str | os.PathLike[str] | None = None,
    timeout_s: float = DEADLINE_S,
) -> SignedHeader:
    """Return the value of the Authorization header for one request; `AtlSign` says what the arguments are."""
    return _shared(None if socket_path is None else os.fspath(socket_path), timeout_s).sign(method, url, form, link=link)


@functools.lru_cache(maxsize=4)
def _shared(socket_path: str | None, timeout_s: float) -> AtlSign:
    return AtlSign(socket_path, timeout_s=timeout_s)


def _close_all(idle: list[Connection], keep: int = 0) -> None:
    while len(idle) > keep:
        try:
            connection = idle.pop()
        except IndexError:  # another thread took it
            return
        connection.close()


def _make_form(form: Form) -> str | list[list[str]]:
    if isinstance(form, str):
        return form
    if isinstance(form, bytes):
        try:
            return form.decode()
        except UnicodeDecodeError:
            raise AtlSignError("bad_request", "the form is not UTF-8", "write other bytes as percent escapes") from None
    try:
        return [[name, value] for name, value in (form.items() if isinstance(form, Mapping) else form)]
    except (TypeError, ValueError):
        raise AtlSignError("bad_request", "the form is neither a text nor names and values") from None


def _encode(fields: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(fields).encode()
    except (TypeError, ValueError, RecursionError):
        raise AtlSignError("bad_request", "method, URL, form and link must be texts") from None


def _decode(content: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _no_daemons_answer() -> AtlSignError:
    return AtlSignError("bad_answer", "the answer is not one that the daemon gives", "is it atl-signd that listens there?")
