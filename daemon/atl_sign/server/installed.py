"""Where this package is installed: its command, its unit files, and whether it is still the one that runs."""

import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import atl_sign

DISTRIBUTION = "atl-sign"
INSTALL_AGAIN = "install the package again, or run in a checkout: pipx install --force ."

Stamp = tuple[int, int, int, int]


def read_stamp() -> Stamp | None:
    """
    Return what differs after another version was installed; None while the package is not there at all.

    The file that holds the version: every installation writes it anew. Not its change time, which uv moves by making one more
    hard link to the file, for another environment.
    """
    try:
        status = Path(atl_sign.__file__).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev


def read_build() -> str:
    """Return the commit that this package was built from, and its day; `checkout` when it is installed as editable."""
    stamp = _find_file("libexec/atl-sign/build")
    return stamp.read_text().strip() if stamp else "commit unknown"


def find_command() -> Path | None:
    """Return the absolute path of `atl-signd` in the environment that runs us: venv, pipx, uv tool or `pip install --user`."""
    beside = Path(sys.executable).parent / "atl-signd"
    return _find_file("bin/atl-signd") or (beside if beside.is_file() else None)


def serve_command() -> list[str]:
    """Return what starts the daemon of the installed version, whatever folder the process is in."""
    interpreter = [sys.executable, *(["-B"] if sys.dont_write_bytecode else []), "-P"]
    return [*interpreter, "-m", "atl_sign.commands.cli", "serve"]


def find_units() -> Path | None:
    """Return the folder of the unit files that came with the package, or None."""
    unit = _find_file("share/systemd/user/atl-signd.service")
    if unit is None:
        unit = Path(sysconfig.get_path("data")) / "share/systemd/user/atl-signd.service"
    return unit.parent if unit.is_file() else None


def _find_file(end: str) -> Path | None:
    """Return the installed file whose path ends with *end*, as the installer recorded it."""
    try:
        files = distribution(DISTRIBUTION).files or ()
    except PackageNotFoundError:
        return None
    for file in files:
        if file.as_posix().endswith(f"/{end}"):
            # "…/site-packages/../../../bin": without asking the file system, which would follow links out of the environment.
            path = Path(*_without_dots(Path(str(file.locate())).absolute().parts))
            if path.is_file():
                return path
    return None


def _without_dots(parts: tuple[str, ...]) -> list[str]:
    kept: list[str] = []
    for part in parts:
        if part == "..":
            kept.pop()
        else:
            kept.append(part)
    return kept
