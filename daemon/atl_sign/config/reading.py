"""One configuration file, read again whenever it changed; the last good reading stays in force while it cannot be used."""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote

from atl_sign.base.errors import AtlSignError
from atl_sign.base.files import open_without_waiting
from atl_sign.base.folders import explain_failure
from atl_sign.base.ownership import WeakSpot, find_weak_spot, is_open_to_others, trusted_owners
from atl_sign.config.settings import USERS_FILE, BrokenFileError, ConfigProblem, Settings
from atl_sign.config.table import LinkTable

FILE_BYTES_MAX = 4 << 20  # 10,000 links with every setting; reading ten times as much would hold up every signature for seconds
TOO_LARGE = f"it is larger than {FILE_BYTES_MAX >> 20} MiB"
NO_SETTINGS = Settings(LinkTable([]))  # of a file that is not there


class UntrustedConfigError(AtlSignError):
    """Another user can change the file, so it is not obeyed; `hint` is the remedy."""

    def __init__(self, spot: WeakSpot) -> None:
        """Say who can do what."""
        super().__init__(spot.cause, spot.remedy)


class FileReading:
    """
    A file of links and settings, which need not exist.

    A file that is not TOML, or cannot be read, changes nothing: what it said before stays in force. That holds too for a
    file that another user can change or replace: links and `proxy` decide where signed requests go.
    """

    def __init__(self, path: Path, parse: Callable[[str], Settings], *, shown: str = USERS_FILE, only_root: bool = False) -> None:
        """
        Stand for the file at *path*.

        Args:
            path: the file.
            parse: reads its text; raises BrokenFileError.
            shown: how problems call it.
            only_root: nobody but root may be able to change it; else root and we.
        """
        self.path = path
        self._parse = parse
        self._shown = shown
        self._only_root = only_root
        self._name = str(path)  # os.stat takes it in half the time
        self._kept: tuple[object, Settings] = (None, NO_SETTINGS)  # in one piece, for many threads read it
        self._good = NO_SETTINGS  # the last reading of a whole file that nobody else could have written

    def settings(self) -> Settings:
        """
        Return what the file says now; a file that did not change since the last call is not read again.

        While it cannot be read, that is what it said when it could, with a problem of the part "file" before the others.
        """
        try:
            status = os.stat(self._name)  # noqa: PTH116 - for each signature
        except FileNotFoundError:
            return self._no_file()
        except OSError as exc:
            return self._as_before(explain_failure(exc, self.path))
        # The change time too: a file that is made readable changes nothing else.
        stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)
        kept = self._kept
        if kept[0] == stamp:
            return kept[1]
        try:
            settings = self._good = self._name_file(self._parse(self.read_text()))
        except FileNotFoundError:
            return self._no_file()
        except BrokenFileError as exc:
            settings = self._as_before(exc.problem)
        except UnicodeDecodeError as exc:
            settings = self._as_before(f"byte {exc.start} is not UTF-8")
        except UntrustedConfigError as exc:  # not kept: the way to the file can be closed without a new stamp
            return self._as_before(f"it is not read while {exc}: {exc.hint}")
        except OSError as exc:
            return self._as_before(explain_failure(exc, self.path))  # nor this: open files run out and come back
        self._kept = (stamp, settings)
        return settings

    def forget(self) -> None:
        """Read the file at the next call, though it seems unchanged: what it is mounted from may not tell."""
        self._kept = (None, NO_SETTINGS)

    def check_trusted(self) -> None:
        """Raise UntrustedConfigError if the file is there and another user can change it."""
        with suppress(OSError):  # one that cannot be read is no less ours
            self._read_bytes()

    def read_text(self) -> str:
        """Return the text; raises OSError, UnicodeDecodeError, UntrustedConfigError."""
        return self._read_bytes().decode()

    def _no_file(self) -> Settings:
        self._good = NO_SETTINGS
        return self._good

    def _as_before(self, problem: ConfigProblem | str) -> Settings:
        """Return the last good reading, with *problem*, or its cause, as why there is no newer one."""
        if isinstance(problem, str):
            problem = ConfigProblem(None, "file", problem)
        problem = replace(problem, file=self._shown)
        good = self._good
        return replace(good, problems=(problem, *good.problems), problem_of_file=problem)

    def _name_file(self, settings: Settings) -> Settings:
        """Return *settings* with problems that name this file."""
        if self._shown == USERS_FILE or not settings.problems:
            return settings
        return replace(settings, problems=tuple(replace(each, file=self._shown) for each in settings.problems))

    def _read_bytes(self) -> bytes:
        """Return what is in the file; raises OSError, UntrustedConfigError."""
        with os.fdopen(open_without_waiting(self.path, os.O_RDONLY, follow=True), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            self._check_owner(status)
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise OSError(errno.EFBIG, TOO_LARGE)
        return content

    def _check_owner(self, status: os.stat_result) -> None:
        """Raise UntrustedConfigError if others can change the open file with *status*, or put another one in its place."""
        spot = find_weak_spot(self.path.absolute(), only_root=self._only_root)
        if status.st_uid not in trusted_owners(only_root=self._only_root):
            words = f"{self.path} belongs to another user"
            remedy = "run this as that user, or set XDG_CONFIG_HOME to a folder of your own"
            if self._only_root:
                words, remedy = f"{self.path} does not belong to root", f"chown root {quote(str(self.path))}"
            spot = WeakSpot(words, remedy)
        elif is_open_to_others(status, only_root=self._only_root):
            spot = WeakSpot(f"others may write {self.path}", f"chmod go-w {quote(str(self.path))}")
        if spot is not None:
            raise UntrustedConfigError(spot)
