"""
A TPM 2.0 for tests: swtpm, its resource manager on a bus of its own, and tpm2-pkcs11's store with one token.

Debian packages: swtpm, swtpm-tools, tpm2-abrmd, libtss2-tcti-tabrmd0, libtpm2-pkcs11-1, libtpm2-pkcs11-tools, tpm2-tools.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.keyring_lab import KeyringLab
from tests.lab import wait_for
from tests.token_lab import PIN, SO_PIN

TPM_MODULE = next(Path("/usr/lib").glob("*/pkcs11/libtpm2_pkcs11.so"), Path("/usr/lib/pkcs11/libtpm2_pkcs11.so"))
_TCTI = "tabrmd:bus_type=session"


class TpmLab:
    """One TPM and one token in it, called tpm; every process of it ends with `close`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tpm-"))
        self._bus = KeyringLab(unlocked=False, with_keyring=False)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **self._bus.env,
            "TPM2TOOLS_TCTI": _TCTI,
            "TPM2_PKCS11_TCTI": _TCTI,
            "TPM2_PKCS11_STORE": str(self.folder / "store"),
            "TPM2_PKCS11_LOG_LEVEL": "0",
        }

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        self._bus.start()
        state, store = self.folder / "state", self.folder / "store"
        state.mkdir()
        store.mkdir()
        self.run("swtpm_setup", "--tpm2", "--tpmstate", str(state), "--createek")
        port = free_pair()
        options = "--server", f"type=tcp,port={port},bindaddr=127.0.0.1", "--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1"
        self._spawn("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", *options, "--flags", "not-need-init,startup-clear")
        wait_for(lambda: _answers(port + 1))
        self._spawn("tpm2-abrmd", "--session", "--allow-root", "--tcti", f"swtpm:host=127.0.0.1,port={port}")
        wait_for(self._is_ready, (self.folder / "log").read_text)
        self.ptool("init")
        self.ptool("addtoken", "--pid", "1", "--label", "tpm", "--userpin", PIN, "--sopin", SO_PIN)

    def ptool(self, verb: str, *arguments: str) -> None:
        self.run("tpm2_ptool", verb, "--path", str(self.folder / "store"), *arguments)

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def uri(self, key: str) -> str:
        return f"pkcs11:token=tpm;object={key}?module-path={TPM_MODULE}"

    def close(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._bus.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self, *command: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    command, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            )

    def _is_ready(self) -> bool:
        assert self._processes[-1].poll() is None, (self.folder / "log").read_text()
        command = ["tpm2_getrandom", "4", "--hex"]
        return subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, timeout=20).returncode == 0


def free_pair() -> int:
    """Return a port that is free now, as the next one is."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                two.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
