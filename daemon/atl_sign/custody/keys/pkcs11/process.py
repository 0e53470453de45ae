"""
The program that loads a token's module: `p11-kit remote`, with a socket between it and our library.

A module is foreign code, which may crash, leak or hang. It does so in there, and can be ended.
"""

import os
import shutil
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from atl_sign.base.errors import KeyUnavailableError
from atl_sign.base.folders import explain_failure, make_folder

ADDRESS_VARIABLE = "P11_KIT_SERVER_ADDRESS"  # where p11-kit-client.so finds the other side
END_S = 1.0  # for the module to let go of its token
_ACCEPT_S = 2.0
_CLIENTS = (
    *("/usr/lib/*-linux-*/pkcs11/p11-kit-client.so", "/usr/lib64/pkcs11/p11-kit-client.so", "/usr/lib/pkcs11/p11-kit-client.so"),
    *("/usr/local/lib/pkcs11/p11-kit-client.so", "/opt/homebrew/lib/pkcs11/p11-kit-client.so"),
)
_INSTALL = "sudo apt-get install p11-kit p11-kit-modules"


def find_client_library() -> str:
    """Return the path of p11-kit's client library; raises KeyUnavailableError."""
    for pattern in _CLIENTS:
        for path in sorted(Path("/").glob(pattern.removeprefix("/"))):
            return str(path)
    raise KeyUnavailableError("p11-kit-client.so is not installed, and PKCS#11 modules are loaded through it", _INSTALL)


class ModuleProcess:
    """One run of the program, for one connection of ours. `hang_up` may be called by any thread, the rest only by one."""

    def __init__(self, address: Path, module: Path | None) -> None:
        """
        Listen at *address* for the library, and start the program for it.

        Args:
            address: a socket's path, in a folder that is made with mode 0700.
            module: to load; None for every one that p11-kit is configured with.

        Raises:
            KeyUnavailableError: the program or the module is not there, or there is no place for the socket.
        """
        program = shutil.which("p11-kit")
        if program is None:
            raise KeyUnavailableError("p11-kit is not installed, and PKCS#11 modules are loaded through it", _INSTALL)
        if module is not None and not os.path.isfile(module):  # noqa: PTH113 - False also for one that we may not look at
            raise KeyUnavailableError(f"there is no PKCS#11 module {module}", f"ls -l {module}; install the package that has it")
        provider = [] if module is None else ["--provider", str(module)]
        self._command = [program, "remote", *provider, "pkcs11:"]
        self._address = address
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._is_over = False
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            make_folder(address.parent)
            address.unlink(missing_ok=True)
            self._listener.bind(str(address))
            self._listener.listen(1)
        except OSError as exc:
            self._listener.close()
            raise KeyUnavailableError(f"{address} cannot be made: {explain_failure(exc, address)}", "atl-sign doctor") from exc
        self._listener.settimeout(_ACCEPT_S)
        self._has_started, self._has_ended = threading.Event(), threading.Event()
        threading.Thread(target=self._run, name="pkcs11-program", daemon=True).start()

    def is_running(self) -> bool:
        """Tell whether the library has connected, and the program runs; waits for its start."""
        self._has_started.wait(_ACCEPT_S)
        return self._process is not None and not self._has_ended.is_set()

    def hang_up(self) -> None:
        """Cut the connection: a call that waits for the module returns, and the module lets go of its token."""
        with self._lock:
            self._is_over = True
            for each in (self._connection, self._listener):
                if each is not None:
                    with suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Hang up, and return when the program has ended."""
        self.hang_up()
        if not self._has_ended.wait(END_S) and self._process is not None:
            self._process.kill()
            self._has_ended.wait(END_S)  # one that waits for a device ends when the kernel lets it

    def _run(self) -> None:
        try:
            self._start()
            self._has_started.set()
            if self._process is not None:
                self._process.wait()
        finally:
            self.hang_up()  # the library would wait: the connection stays open in here
            with self._lock:
                if self._connection is not None:
                    self._connection.close()
            self._has_started.set()
            self._has_ended.set()

    def _start(self) -> None:
        """Take the library's connection, and give it to the program as its standard input and output."""
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        finally:
            self._listener.close()
            self._address.unlink(missing_ok=True)
        with self._lock, suppress(OSError):
            self._connection = connection
            if self._is_over:
                return
            environment = {name: value for name, value in os.environ.items() if name != ADDRESS_VARIABLE}
            self._process = subprocess.Popen(  # noqa: S603 - p11-kit
                self._command,
                stdin=connection.fileno(),
                stdout=connection.fileno(),
                stderr=subprocess.DEVNULL,  # pkcs11-spy.so and its like write PINs there
                env=environment,
                start_new_session=True,
            )
