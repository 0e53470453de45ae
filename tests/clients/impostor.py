"""
Another user of the machine who plays the daemon: their folder's link leads by turns to the victim's socket and to their own.

    with Impostor(victim=daemon.folder / "run") as impostor:
        run_client(XDG_RUNTIME_DIR=str(impostor.link))
    assert impostor.captured() == []

For root alone: the impostor is a process of another uid.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import wait_for

IMPOSTOR_UID = 65534  # nobody
FORGED = "canary-forged"
_PROGRAM = r"""
import os, socket, sys, threading, time

folder, victim, period_s, forged, uid = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4], int(sys.argv[5])
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
os.umask(0)
os.chdir(folder)
os.makedirs("own/atl-sign")
listener = socket.socket(socket.AF_UNIX)
listener.bind("own/atl-sign/agent.sock")
listener.listen(128)
os.symlink(victim, "run")
os.symlink(folder + "/own", "next")


def answer_to(request):
    if request.startswith(b"POST /git-credential"):
        return "username=x\npassword=" + forged + "\n"
    if b"application/json" in request.lower():
        return '{"authorization":"OAuth ' + forged + '","link":"jira","scheme":"oauth1"}'
    if b"details" in request:
        return "Authorization: OAuth " + forged + "\nlink: jira\nbase_url: http://127.0.0.1\n"
    return "Authorization: OAuth " + forged + "\n"


def serve(connection):
    with connection:
        connection.settimeout(1)
        request = b""
        try:
            while b"\r\n\r\n" not in request or not request.endswith(b"}") and len(request) < 200:
                data = connection.recv(65536)
                if not data:
                    break
                request += data
                connection.settimeout(0.05)
        except OSError:
            pass
        if request:
            with open("captured", "a") as file:
                file.write(ascii(request) + "\n")
            body = answer_to(request).encode()
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            except OSError:
                pass


def accept():
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
open("ready", "w").close()
while True:
    time.sleep(period_s or 3600)
    for target in (folder + "/own", victim):
        os.symlink(target, "turn")
        os.rename("turn", "run")
        time.sleep(period_s)
"""


class Impostor:
    """The other user's process and folder, inside `with`."""

    def __init__(self, victim: Path, period_s: float = 0.004) -> None:
        """
        Prepare one against the folder *victim*, which holds `atl-sign/agent.sock`.

        Args:
            period_s: how long the link leads to the one and to the other; 0: it leads to *victim* until it is moved by hand.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="atlx-"))  # not pytest's tmp_path: a socket's address holds 107 bytes
        self.link = self.folder / "run"
        self.next = self.folder / "next"  # a link to the impostor's own folder, to be moved to `link`
        self.socket = self.link / "atl-sign/agent.sock"
        self._command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
        self._command += [str(self.folder), str(victim), str(period_s), FORGED, str(IMPOSTOR_UID)]

    def __enter__(self) -> Self:
        os.chown(self.folder, IMPOSTOR_UID, IMPOSTOR_UID)
        self.folder.chmod(0o755)
        # It becomes the other user itself: that user may not be able to enter the folder that our Python is in.
        self._process = subprocess.Popen(self._command, cwd="/", stdin=subprocess.DEVNULL)
        wait_for((self.folder / "ready").exists, lambda: "the impostor did not start")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder)

    def captured(self) -> list[str]:
        """Return every request of which a byte came to the impostor."""
        path = self.folder / "captured"
        return path.read_text().splitlines() if path.exists() else []
