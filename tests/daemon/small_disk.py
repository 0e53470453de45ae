"""A daemon whose store is on a disk that a test fills."""

import subprocess
from contextlib import suppress

from tests.fork_server import ForkServer
from tests.lab import Daemon

WORD = "correct horse battery staple"


class SmallDisk(Daemon):
    """A daemon whose encrypted file, and nothing else, is on a disk of 64 KB."""

    def __init__(self, fork_server: ForkServer | None = None) -> None:
        super().__init__(fork_server, ATL_SIGN_STORE="file")
        self.disk = self.folder / "state/atl-sign"
        self.disk.mkdir(mode=0o700, parents=True)
        self.environment["XDG_STATE_HOME"] = str(self.folder / "state")
        self.config.parent.mkdir(parents=True)
        self.config.write_text('audit = "off"\n')
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", self.disk], check=True)

    def start(self) -> None:
        super().start()
        word = "passphrase" if (self.disk / "store").exists() else "new_passphrase"
        assert self.request("POST", "/unlock", {word: WORD}).status == 200

    def fill(self) -> None:
        with (self.disk / "rest").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1024))

    def make_room(self) -> None:
        (self.disk / "rest").unlink()

    def start_anew(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        try:
            self.stop()
        finally:
            subprocess.run(["umount", "--lazy", self.disk], check=True)
            super().close()
