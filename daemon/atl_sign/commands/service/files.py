"""The files by which systemd knows the daemon: linked or written for one installation of the package, and removed."""

from contextlib import suppress
from pathlib import Path
from shlex import quote

from atl_sign.base.errors import AtlSignError
from atl_sign.base.folders import explain_failure, is_link, is_there, make_folder
from atl_sign.commands.autostart import SERVICE_UNIT, SOCKET_UNIT

DROP_IN = f"{SERVICE_UNIT}.d/atl-sign-command.conf"
MARK = "written by atl-sign service install"


class ServiceError(AtlSignError):
    """The service could not be installed or removed; says why, and in `hint` what to do."""


def format_drop_in(command: Path) -> str:
    """
    Return what tells the service unit where its command is (systemd.service(5), "Command lines").

    Raises:
        ServiceError: systemd takes no command whose path holds a quote, a backslash or a control character.
    """
    if any(each in "\"'\\" or not each.isprintable() for each in str(command)):
        raise ServiceError(f"systemd takes no command of this name: {str(command)!r}", "install the package in another folder")
    word = str(command).replace("%", "%%")  # else it begins a specifier; "$" means nothing in the first word
    return f'# {MARK}\n[Service]\nExecStart=\nExecStart="{word}" serve\n'


def link_units(folder: Path, units: Path, command: Path) -> bool:
    """
    Link the unit files in *units* into *folder*, beside what tells them of *command*; tells whether anything changed.

    Raises:
        ServiceError: something of another kind stands in the place of a link, or the folder cannot be written.
            And as `format_drop_in`.
    """
    drop_in = format_drop_in(command)
    try:
        make_folder(folder)
        changes = [_link(folder / name, units / name) for name in (SOCKET_UNIT, SERVICE_UNIT)]
        return any([*changes, _write(folder / DROP_IN, drop_in.encode())])
    except OSError as exc:
        hint = f"check who may write there: ls -ld {quote(str(folder))}"
        raise ServiceError(f"{exc.filename or folder}: {explain_failure(exc, folder / SOCKET_UNIT)}", hint) from exc


def unlink_units(folder: Path) -> bool:
    """Remove what `link_units` made, and what enabling left; a unit file of the user's own stays. Tells whether there was any."""
    found = False
    drop_in = folder / DROP_IN
    # Enabling makes the second; a systemd that is not there cannot remove it.
    for path in (folder / SOCKET_UNIT, folder / "sockets.target.wants" / SOCKET_UNIT, folder / SERVICE_UNIT, drop_in):
        if is_link(path) or (path == drop_in and is_there(path)):
            path.unlink()
            found = True
    for path in (drop_in.parent, folder / "sockets.target.wants"):
        with suppress(OSError):  # others are in it, or it is not there
            path.rmdir()
    return found


def _link(path: Path, target: Path) -> bool:
    if is_there(path) and not path.is_symlink():
        raise ServiceError(f"{path} is a file of your own", "move it away, or start the daemon by it yourself")
    if path.is_symlink():
        if path.readlink() == target:
            return False
        path.unlink()  # of an installation that was moved or replaced
    path.symlink_to(target)
    return True


def _write(path: Path, content: bytes) -> bool:
    if path.is_file() and path.read_bytes() == content:
        return False
    make_folder(path.parent)
    path.write_bytes(content)
    return True
