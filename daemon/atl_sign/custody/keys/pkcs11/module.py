"""The module as the place calls it: loaded when it is needed, again when it has failed, and let go of when it is idle."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pkcs11._pkcs11 import lib as Library
from pkcs11.exceptions import PKCS11Error

from atl_sign.base.errors import KeyMissingError, KeyUnavailableError
from atl_sign.config.settings import Settings
from atl_sign.custody.keys.pkcs11 import refusals
from atl_sign.custody.keys.pkcs11.connection import Connection
from atl_sign.custody.keys.pkcs11.process import ADDRESS_VARIABLE, ModuleProcess, find_client_library
from atl_sign.custody.keys.pkcs11.thread import OwnerThread
from atl_sign.custody.keys.pkcs11.uri import KeyUri

_T = TypeVar("_T")


class Module:
    """One module at a time, in a program of its own; `call`, `hang_up` and `close` may be called by any thread."""

    def __init__(self, address: Path, read_settings: Callable[[], Settings]) -> None:
        """
        Load nothing yet.

        Args:
            address: a path for the socket between library and module, in a folder for nothing else.
            read_settings: says how long to wait, and when to let go of the tokens.
        """
        self._address = address
        self._read_settings = read_settings
        self._owner = OwnerThread(self.hang_up, self._disconnect)
        self._library: Library | None = None
        self._connection: Connection | None = None
        self._process: ModuleProcess | None = None

    def call(self, uri: KeyUri, work: Callable[[Connection], _T]) -> _T:
        """
        Return what *work* returns, with the module in *uri*; after a failure once more, with the module loaded anew.

        Raises:
            KeyUnavailableError: it has failed twice, cannot be loaded, or does not answer in time.
        """

        def run() -> _T:
            connection = self._connection
            if connection is not None and connection.module == uri.module_path and connection.process.is_running():
                try:
                    return work(connection)
                except (PKCS11Error, refusals.TokenAbsentError, KeyMissingError):  # it may show only what was there at its start
                    self._disconnect()
                    if self._owner.is_current_abandoned():
                        raise
            return self._start_and(uri, work)

        return self._run(uri, run, 0.0)

    def call_once(self, uri: KeyUri, work: Callable[[Connection], _T], timeout_s: float = 0.0) -> _T:
        """Return what *work* returns, with the module in *uri* loaded anew, and never do it twice; raises as `call`."""
        return self._run(uri, lambda: self._start_and(uri, work), timeout_s)

    def is_abandoned(self) -> bool:
        """Tell the work that is under way whether its caller has left."""
        return self._owner.is_current_abandoned()

    def hang_up(self) -> None:
        """End every login and every call that is under way; waits for nothing."""
        process = self._process
        if process is not None:
            process.hang_up()

    def close(self) -> None:
        """End the module's program."""
        process = self._process
        if process is not None:
            process.end()

    def _run(self, uri: KeyUri, run: Callable[[], _T], timeout_s: float) -> _T:
        settings = self._read_settings()
        try:
            return self._owner.run(run, max(timeout_s, settings.pkcs11_timeout_s), settings.pkcs11_idle_s)
        except PKCS11Error as exc:
            raise refusals.failed(uri, exc) from None

    def _start_and(self, uri: KeyUri, work: Callable[[Connection], _T]) -> _T:
        self._disconnect()
        connection = self._connection = self._connect(uri.module_path)
        try:
            return work(connection)
        except PKCS11Error:
            self._disconnect()
            raise

    def _connect(self, module: Path | None) -> Connection:
        """Start *module*, and return the connection to it; raises KeyUnavailableError."""
        name = find_client_library()
        process = self._process = ModuleProcess(self._address, module)
        if self._owner.is_current_abandoned():  # looked at after that line: `hang_up` may have come just before it
            raise KeyUnavailableError("nobody waits for this any more")
        try:
            # The library reads it once, as it is loaded, and there is one daemon in a process.
            os.environ[ADDRESS_VARIABLE] = f"unix:path={self._address}"
            if self._library is None:
                self._library = Library(name)
            else:
                self._library.initialize()
            if process.is_running():
                return Connection(self._library, process, module)
        except PKCS11Error:
            pass
        self._disconnect()
        raise KeyUnavailableError(
            f"the PKCS#11 module {module or 'of p11-kit'} cannot be loaded",
            f"pkcs11-tool --module {module} --list-slots" if module else "p11-kit list-modules",
        )

    def _disconnect(self) -> None:
        """End the module's program, and with it every session."""
        self._connection = None
        process, self._process = self._process, None
        if process is not None:
            process.end()  # first: the library waits for an answer to its farewell, and lets nobody else run meanwhile
        if self._library is not None and self._library.initialized:
            with suppress(PKCS11Error):
                self._library.finalize()
