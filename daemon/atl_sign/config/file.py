"""The configuration files: the user's, which the daemon rewrites with its comments kept, and the administrator's beneath it."""

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from atl_sign.base.errors import ConfigBrokenError, ConfigUnwritableError
from atl_sign.base.files import replace_whole
from atl_sign.base.folders import config_home, explain_failure, make_folder
from atl_sign.config import toml_edit
from atl_sign.config.layers import lay_over
from atl_sign.config.link_fields import chosen_fields
from atl_sign.config.links import Link, Schemes
from atl_sign.config.placeholders import own_names
from atl_sign.config.reading import FILE_BYTES_MAX, NO_SETTINGS, TOO_LARGE, FileReading, UntrustedConfigError
from atl_sign.config.settings import USERS_FILE, ConfigProblem, Settings, parse_settings

SYSTEM_CONFIG = Path("/etc/atl-sign/config.toml")


def config_path(environment: Mapping[str, str]) -> Path:
    """Return where the user's file is."""
    return config_home(environment) / "atl-sign/config.toml"


def system_config_path(environment: Mapping[str, str]) -> Path:
    """Return where the administrator's file is: for everybody's daemon, unless a variable moves it."""
    return Path(environment.get("ATL_SIGN_SYSTEM_CONFIG") or SYSTEM_CONFIG)


class ConfigFile:
    """
    The user's `config.toml`, and the administrator's file beneath it; each is read again whenever it changed.

    Only the user's is ever written, whole or not at all.
    """

    def __init__(self, path: Path, schemes: Schemes, system: Path | None = None) -> None:
        """Stand for the file at *path*, with that at *system* beneath it; neither need exist. Links are of *schemes*."""
        self.path = path
        self.schemes = schemes
        self._own = FileReading(path, partial(parse_settings, schemes=schemes))
        self._system: FileReading | None = None
        if system is not None:
            self._system = FileReading(
                system,
                lambda text: parse_settings(text, schemes, own_names()),
                shown=str(system),
                only_root=system == SYSTEM_CONFIG,  # the user who moves it may own the other one
            )
        self._laid = (NO_SETTINGS, NO_SETTINGS, NO_SETTINGS)  # the user's, the administrator's, and both
        self._writing = threading.Lock()  # from reading to replacing: of two changes at once neither may be lost

    def settings(self) -> Settings:
        """
        Return what the files say now; one that did not change since the last call is not read again.

        While one cannot be read, that is what it said when it could, with a problem of the part "file".
        """
        own = self._own.settings()
        beneath = NO_SETTINGS if self._system is None else self._system.settings()
        if beneath is NO_SETTINGS:
            return own
        laid = self._laid
        if laid[0] is not own or laid[1] is not beneath:
            laid = self._laid = (own, beneath, lay_over(own, beneath))
        return laid[2]

    def file_of(self, name: str) -> Path:
        """Return the file that the link called *name* comes from."""
        is_own = self._system is None or name in self._own.settings().links.by_name
        return self.path if is_own or self._system is None else self._system.path

    def files(self) -> list[Path]:
        """Return the files that are there, the administrator's first."""
        readings = [self._own] if self._system is None else [self._system, self._own]
        return [each.path for each in readings if each.settings() is not NO_SETTINGS]

    def remedy(self, problem: ConfigProblem) -> str:
        """Return what to do about *problem*."""
        return f"fix {self.path}" if problem.file == USERS_FILE else f"ask the administrator to fix {problem.file}"

    def check_trusted(self) -> None:
        """Raise UntrustedConfigError if the user's file is there and another user can change it."""
        self._own.check_trusted()

    def forget(self) -> None:
        """Read the files at the next call, though they seem unchanged: what they are mounted from may not tell."""
        self._own.forget()
        if self._system is not None:
            self._system.forget()

    def put_link(self, link: Link) -> None:
        """
        Add *link*, or replace the settings of the link with its name.

        Raises:
            ConfigBrokenError: the file is not TOML now; rewriting it would lose what a person wrote there.
            ConfigUnwritableError: the file or its folder cannot be written, or the disk is full.
        """
        self.put_links([link])

    def put_links(self, links: Iterable[Link]) -> None:
        """Add or replace every one of *links*, all of them or none; raises as `put_link`."""
        fields = {link.name: chosen_fields(link) for link in links}
        self._rewrite(lambda text: toml_edit.put_links(text, fields))

    def remove_link(self, name: str) -> None:
        """Take the link called *name* out, if it is there; raises as `put_link`."""
        self._rewrite(lambda text: toml_edit.remove_link(text, name))

    def put_store(self, backend: str) -> None:
        """Name *backend* in `[store] backend`; raises as `put_link`."""
        self._rewrite(lambda text: toml_edit.put_setting(text, "store", "backend", backend))

    def _rewrite(self, change: Callable[[str], str]) -> None:
        with self._writing:
            try:
                before = self._own.read_text()
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
                    raise self._unwritable(f"with this {TOO_LARGE}")
                self._write(content)

    def _broken(self, cause: str | None = None) -> ConfigBrokenError:
        """Return the error for a file that cannot be changed without losing something; *cause* if not what is wrong in it."""
        problems = self._own.settings().problems
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
