"""Daemons whose clocks are not those of the tests: set while they run, or gone on over a sleep of the machine."""

from pathlib import Path

from tests.lab import Daemon

WORD = "correct horse battery staple"
HOUR_S = 3600


class JumpingDaemon(Daemon):
    """A daemon whose clock goes wrong as it is told to."""

    def __init__(self) -> None:
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        super().__init__(
            LD_PRELOAD=str(library), FAKETIME_DONT_FAKE_MONOTONIC="1", DONT_FAKE_MONOTONIC="1", FAKETIME_NO_CACHE="1"
        )
        self._offset = self.folder / "offset"
        self.environment["FAKETIME_TIMESTAMP_FILE"] = str(self._offset)
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Set the clock so far ahead of the real one (behind it when negative)."""
        self._offset.write_text(f"{seconds:+d}\n")


class SleepingDaemon(Daemon):
    """A daemon on a machine that can be put to sleep, with the encrypted file as its store."""

    def __init__(self, library: Path) -> None:
        super().__init__(LD_PRELOAD=str(library), ATL_SIGN_STORE="file")
        self._slept = self.folder / "slept"
        self._slept.write_bytes(bytes(8))
        self.environment["SUSPENDED_FILE"] = str(self._slept)
        self.config.parent.mkdir(parents=True)
        self.config.write_text("[store]\nlock_after_minutes = 60\n")

    def start(self) -> None:
        super().start()
        assert self.request("POST", "/unlock", {"new_passphrase": WORD}).status == 200

    def sleep(self, hours: float) -> None:
        """Let the machine wake after so many hours, counted from the daemon's start."""
        with self._slept.open("r+b") as file:
            file.write(int(hours * HOUR_S).to_bytes(8, "little"))

    def store_state(self) -> str:
        return str(self.request("GET", "/status").json["store_state"])
