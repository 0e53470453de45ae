"""The configuration file: people edit it, and the daemon rewrites it with their comments kept; no secrets."""

import errno
import os
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote

from atl_sign.base.errors import AtlSignError, ConfigBrokenError, ConfigUnwritableError
from atl_sign.base.files import open_without_waiting, replace_whole
from atl_sign.base.folders import config_home, explain_failure, make_folder
from atl_sign.base.ownership import WeakSpot, find_weak_spot, is_open_to_others, trusted_owners
from atl_sign.config import toml_edit
from atl_sign.config.link_fields import chosen_fields
from atl_sign.config.links import Link, Schemes
from atl_sign.config.settings import BrokenFileError, ConfigProblem, Settings, parse_settings
from atl_sign.config.table import LinkTable

FILE_BYTES_MAX = 4 << 20  # 10,000 links with every setting; reading ten times as much would hold up every signature for seconds

_TOO_LARGE = f"it is larger than {FILE_BYTES_MAX >> 20} MiB"


def config_path(environment: Mapping[str, str]) -> Path:
    """Return where the configuration file is."""
    return config_home(environment) / "atl-sign/config.toml"


class UntrustedConfigError(AtlSignError):
    """Another user can change the file, so it is not obeyed; `hint` is the remedy."""

    def __init__(self, spot: WeakSpot) -> None:
        """Say who can do what."""
        super().__init__(spot.cause, spot.remedy)


class ConfigFile:
    """
    `config.toml`: read again whenever it changed, written whole or not at all.

    A file that is not TOML, or cannot be read, changes nothing: what it said before stays in force. That holds too for a
    file that another user can change or replace: links and `proxy` decide where signed requests go.
    """

    def __init__(self, path: Path, schemes: Schemes) -> None:
        """Stand for the file at *path*, which need not exist and has links of *schemes*."""
        self.path = path
        self.schemes = schemes
        self._name = str(path)  # os.stat takes it in half the time
        self._kept: tuple[object, Settings] = (None, Settings(LinkTable([])))  # in one piece, for many threads read it
        self._good = Settings(LinkTable([]))  # the last reading of a whole file that only we could have written
        self._writing = threading.Lock()  # from reading to replacing: of two changes at once neither may be lost

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
            settings = self._good = parse_settings(self._read_text(), self.schemes)
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

    def _no_file(self) -> Settings:
        self._good = Settings(LinkTable([]))
        return self._good

    def _as_before(self, problem: ConfigProblem | str) -> Settings:
        """Return the last good reading, with *problem*, or its cause, as why there is no newer one."""
        if isinstance(problem, str):
            problem = ConfigProblem(None, "file", problem)
        good = self._good
        return replace(good, problems=(problem, *good.problems), problem_of_file=problem)

    def check_trusted(self) -> None:
        """Raise UntrustedConfigError if the file is there and another user can change it."""
        with suppress(OSError):  # one that cannot be read is no less ours
            self._read_bytes()

    def forget(self) -> None:
        """Read the file at the next call, though it seems unchanged: what it is mounted from may not tell."""
        self._kept = (None, Settings(LinkTable([])))

    def put_link(self, link: Link) -> None:
        """
        Add *link*, or replace the settings of the link with its name.

        Raises:
            ConfigBrokenError: the file is not TOML now; rewriting it would lose what a person wrote there.
            ConfigUnwritableError: the file or its folder cannot be written, or the disk is full.
        """
        self._rewrite(lambda text: toml_edit.put_link(text, link.name, chosen_fields(link)))

    def remove_link(self, name: str) -> None:
        """Take the link called *name* out, if it is there; raises as `put_link`."""
        self._rewrite(lambda text: toml_edit.remove_link(text, name))

    def put_store(self, backend: str) -> None:
        """Name *backend* in `[store] backend`; raises as `put_link`."""
        self._rewrite(lambda text: toml_edit.put_setting(text, "store", "backend", backend))

    def _read_text(self) -> str:
        return self._read_bytes().decode()

    def _read_bytes(self) -> bytes:
        """Return what is in the file; raises OSError, UntrustedConfigError."""
        with os.fdopen(open_without_waiting(self.path, os.O_RDONLY, follow=True), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            self._check_owner(status)
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise OSError(errno.EFBIG, _TOO_LARGE)
        return content

    def _check_owner(self, status: os.stat_result) -> None:
        """Raise UntrustedConfigError if others can change the open file with *status*, or put another one in its place."""
        spot = find_weak_spot(self.path.absolute())
        if status.st_uid not in trusted_owners():
            words = f"{self.path} belongs to another user"
            spot = WeakSpot(words, "run this as that user, or set XDG_CONFIG_HOME to a folder of your own")
        elif is_open_to_others(status):
            spot = WeakSpot(f"others may write {self.path}", f"chmod go-w {quote(str(self.path))}")
        if spot is not None:
            raise UntrustedConfigError(spot)

    def _rewrite(self, change: Callable[[str], str]) -> None:
        with self._writing:
            try:
                before = self._read_text()
            except FileNotFoundError:
                before = ""
            except UntrustedConfigError as exc:
                raise ConfigBrokenError(f"config.toml is not changed while {exc}", exc.hint) from None
            except (OSError, UnicodeDecodeError):
                raise self._broken() from None
            mark, text = ("\ufeff", before[1:]) if before.startswith("\ufeff") else ("", before)
            line_end = "\r\n" if "\r\n" in text else "\n"
            text = text.replace("\r\n", "\n")
            try:
                changed = change(text)
            except toml_edit.EditError:
                raise self._broken() from None
            except RecursionError:
                raise self._broken("config.toml is nested too deeply to be changed from here") from None
            if changed != text:
                content = (mark + changed.replace("\n", line_end)).encode()
                if len(content) > FILE_BYTES_MAX:
                    raise self._unwritable(f"with this {_TOO_LARGE}")
                self._write(content)

    def _broken(self, cause: str | None = None) -> ConfigBrokenError:
        """Return the error for a file that cannot be changed without losing something; *cause* if not what is wrong in it."""
        problems = self.settings().problems
        if cause is None:
            cause = str(problems[0]) if problems else "config.toml is written in a way that cannot be changed from here"
        return ConfigBrokenError(cause, f"fix {self.path} by hand, then try again; nothing was changed")

    def _unwritable(self, cause: str) -> ConfigUnwritableError:
        hint = "make room or fix the permissions; nothing was changed"
        return ConfigUnwritableError(f"{self.path} cannot be written: {cause}", hint)

    def _write(self, content: bytes) -> None:
        path = self.path
        try:
            path = path.resolve()  # a symbolic link stays one: people keep such files elsewhere
            make_folder(path.parent)
            replace_whole(path, content)
        except OSError as exc:
            raise self._unwritable(explain_failure(exc, path)) from exc
