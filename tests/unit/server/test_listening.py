"""The rules of the listening socket that need no process: where it is, what systemd may hand over, what is safe on the way."""

import os
import socket
from pathlib import Path

import pytest

from atl_sign.base import folders, ownership
from atl_sign.commands import autostart
from atl_sign.server import listening
from atl_sign.server.listening import Listener, StartError, is_claimed, open_listener, socket_path, take_inherited_sockets

NOBODY = 65_534
HANDED_OVER = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}


def test_the_socket_is_where_the_design_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ATL_SIGN_SOCK, then XDG_RUNTIME_DIR, then /run/user when it is ours, then the home (design, section 3)."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c").mkdir()
    both = {"ATL_SIGN_SOCK": "/a/b", "XDG_RUNTIME_DIR": "c"}

    assert socket_path(both) == Path("/a/b")
    assert socket_path({"XDG_RUNTIME_DIR": "c"}) == tmp_path / "c/atl-sign/agent.sock"
    assert socket_path({"ATL_SIGN_SOCK": "", "XDG_RUNTIME_DIR": "c"}) == tmp_path / "c/atl-sign/agent.sock"
    run = Path(f"/run/user/{os.getuid()}")
    is_ours = run.is_dir() and run.stat().st_uid == os.getuid()
    base = run if is_ours else tmp_path / ".local/state"
    assert socket_path({}) == base / "atl-sign/agent.sock"


def test_a_slash_at_the_end_names_no_socket() -> None:
    """A daemon would listen at the path without it, where no client that was given the same path looks."""
    with pytest.raises(StartError, match="ends in a slash"):
        socket_path({"ATL_SIGN_SOCK": "/a/b/"})


def test_a_foreign_run_folder_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """/run/user/UID of another uid is not ours."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)

    assert socket_path({}) == tmp_path / ".local/state/atl-sign/agent.sock"


@pytest.mark.parametrize("folder", ["missing", "file", "file/below"])
def test_a_runtime_folder_that_is_none_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str) -> None:
    """The next step of the rule holds, as when the variable is not set."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(folders, "RUNTIME_FOLDERS", tmp_path / "none")
    (tmp_path / "file").touch()

    assert socket_path({"XDG_RUNTIME_DIR": str(tmp_path / folder)}) == tmp_path / ".local/state/atl-sign/agent.sock"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_runtime_folder_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`su` leaves it in the environment: socket, unit and manager are looked for in our own; ours, by a link too, is used."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(folders, "RUNTIME_FOLDERS", tmp_path)
    monkeypatch.setattr(autostart, "RUNTIME_FOLDERS", tmp_path)
    theirs, ours = tmp_path / "theirs", tmp_path / "0"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    environment = {"XDG_RUNTIME_DIR": str(theirs), "LANG": "C"}

    assert socket_path(environment) == tmp_path / ".local/state/atl-sign/agent.sock"
    assert autostart.manager_environment(environment) == {"LANG": "C"}
    ours.mkdir()
    assert socket_path(environment) == autostart.unit_socket_path(environment) == ours / "atl-sign/agent.sock"
    assert autostart.manager_environment(environment) == {"LANG": "C", "XDG_RUNTIME_DIR": str(ours)}
    (tmp_path / "link").symlink_to(ours)
    assert socket_path({"XDG_RUNTIME_DIR": str(tmp_path / "link")}) == tmp_path / "link/atl-sign/agent.sock"


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    """Counted in bytes, not in characters."""
    assert socket_path({"ATL_SIGN_SOCK": "/" + "x" * 106})
    for path in ("/" + "x" * 107, "/" + "ü" * 54):
        with pytest.raises(StartError, match="over 107 bytes"):
            socket_path({"ATL_SIGN_SOCK": path})


def test_a_socket_meant_for_another_process_is_not_taken() -> None:
    """LISTEN_PID names who the sockets are for (sd_listen_fds(3))."""
    assert take_inherited_sockets({}) == []
    assert take_inherited_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == []


def test_several_sockets_are_refused() -> None:
    """The .socket unit has one."""
    with pytest.raises(StartError, match="another number of sockets"):
        take_inherited_sockets({**HANDED_OVER, "LISTEN_FDS": "3"})


@pytest.mark.parametrize(
    ("family", "kind", "words"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, "not a Unix socket"),
        (socket.AF_UNIX, socket.SOCK_DGRAM, "does not listen"),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET, "does not listen"),
        (socket.AF_UNIX, socket.SOCK_STREAM, "does not listen"),
    ],
)
def test_another_socket_than_a_listening_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily, kind: socket.SocketKind, words: str
) -> None:
    """Never a TCP port, also when systemd hands one over."""
    with socket.socket(family, kind) as given:
        monkeypatch.setattr(listening, "_FIRST_INHERITED_FD", os.dup(given.fileno()))
        with pytest.raises(StartError, match=words):
            take_inherited_sockets(HANDED_OVER)


def test_what_is_no_socket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, and nothing at all."""
    with Path("/dev/null").open() as file:
        monkeypatch.setattr(listening, "_FIRST_INHERITED_FD", file.fileno())
        with pytest.raises(StartError, match="not a socket"):
            take_inherited_sockets(HANDED_OVER)
    monkeypatch.setattr(listening, "_FIRST_INHERITED_FD", 1 << 20)
    with pytest.raises(StartError, match="handed over nothing"):
        take_inherited_sockets(HANDED_OVER)


def test_a_listening_socket_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The twin; its file is not ours to remove."""
    monkeypatch.chdir(tmp_path)  # a socket's address holds 107 bytes
    with socket.socket(socket.AF_UNIX) as given:
        given.bind("s")
        given.listen()
        monkeypatch.setattr(listening, "_FIRST_INHERITED_FD", os.dup(given.fileno()))

        listener = open_listener(HANDED_OVER)

        listener.socket.close()
        listener.remove()
        assert (tmp_path / "s").is_socket()


def way(base: Path, *names: str) -> Path:
    """Make folders below *base*, one in the other; returns the last."""
    path = base.joinpath(*names)
    path.mkdir(mode=0o700, parents=True)
    return path


@pytest.mark.parametrize("mode", [0o777, 0o772, 0o703])
def test_a_way_that_others_can_rename_is_refused(tmp_path: Path, mode: int) -> None:
    """Who can rename a folder on the way can put his own in its place."""
    folder = way(tmp_path, "open", "between", "ours")
    (tmp_path / "open").chmod(mode)

    with pytest.raises(StartError, match="others may rename what is in"):
        listening.check_way(folder)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o775, 0o1777])
def test_a_way_that_others_cannot_rename_is_taken(tmp_path: Path, mode: int) -> None:
    """Sticky folders as /tmp are made for that, and a group of one's own is nobody else."""
    folder = way(tmp_path, "open", "between", "ours")
    (tmp_path / "open").chmod(mode)

    listening.check_way(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_another_user_owns_on_the_way_is_refused(tmp_path: Path) -> None:
    """A folder, a symbolic link in a sticky folder, and a group that others are in."""
    folder = way(tmp_path, "sticky", "his", "ours")
    sticky = tmp_path / "sticky"
    sticky.chmod(0o1777)
    os.chown(sticky / "his", NOBODY, NOBODY)
    with pytest.raises(StartError, match="others may rename what is in"):
        listening.check_way(folder)
    os.chown(sticky / "his", 0, 0)
    (sticky / "link").symlink_to(folder)
    (tmp_path / "up").symlink_to("sticky/../sticky/link")
    listening.check_way(tmp_path / "up")

    os.chown(sticky / "link", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(StartError, match="another user's symbolic link"):
        listening.check_way(tmp_path / "up")

    os.chown(sticky / "his", 0, 100)
    (sticky / "his").chmod(0o770)
    with pytest.raises(StartError, match="others may rename what is in"):
        listening.check_way(folder)


def test_root_as_a_user_namespace_shows_it_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a toolbox the host's /home is nobody's, as root has no number there; outside, nobody is a user like any other."""
    inside = {"uid_map": "      1000       1000          1\n", "overflowuid": f"{NOBODY}\n"}
    monkeypatch.setattr(Path, "read_text", lambda path: inside[path.name])

    assert ownership.trusted_owners() == {os.geteuid(), 0, NOBODY}
    inside["uid_map"] = "         0          0 4294967295\n"
    assert ownership.trusted_owners() == {os.geteuid(), 0}


def test_symbolic_links_without_an_end_are_refused(tmp_path: Path) -> None:
    """As the kernel refuses them."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to(tmp_path / "a")

    with pytest.raises(StartError, match="too many symbolic links"):
        listening.check_way(tmp_path / "a")


def test_another_socket_in_our_place_is_left_alone(tmp_path: Path) -> None:
    """Device and inode tell whose it is; one that is gone is no failure."""
    path = tmp_path / "s"
    path.touch()
    status = path.stat()
    with socket.socket(socket.AF_UNIX) as given:
        Listener(given, path, (status.st_dev, status.st_ino + 1)).remove()
        assert path.exists()

        for _ in range(2):
            Listener(given, path, (status.st_dev, status.st_ino)).remove()
            assert not path.exists()


def test_a_socket_whose_queue_is_full_is_not_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A daemon under load must not lose its socket to the next start."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting, socket.socket(socket.AF_UNIX) as more:
        busy.bind("s")
        busy.listen(0)
        for each in (waiting, more):
            each.setblocking(False)
            each.connect_ex("s")

        with pytest.raises(StartError, match="another program serves at s already"):
            listening._bind(Path("s"))

        assert Path("s").is_socket()


def test_a_socket_is_passed_on_with_its_lock(tmp_path: Path) -> None:
    """Who waits in its queue stays, nobody else can take the path meanwhile, and the one that has it removes it at its end."""
    path = tmp_path / "s"
    environment = {"ATL_SIGN_SOCK": str(path)}
    before = open_listener(environment)
    passed_on = before.pass_on()
    assert passed_on is not None
    with socket.socket(socket.AF_UNIX) as early:
        early.connect(str(path))
        with pytest.raises(StartError, match="already"):
            open_listener(environment)
        assert all(map(os.get_inheritable, passed_on))
        before.socket.detach()

        listener = open_listener(environment, passed_on)

        with listener.socket, listener.socket.accept()[0] as taken:
            early.sendall(b"x")
            assert taken.recv(1) == b"x"
            assert not any(map(os.get_inheritable, passed_on))
        listener.remove()
    assert [each.name for each in tmp_path.iterdir()] == ["s.lock"]
    assert not is_claimed(path)


def test_what_was_not_passed_on_is_refused(tmp_path: Path) -> None:
    """A descriptor that is no socket, that of another path, and one whose file a cleaner of /run has removed."""
    environment = {"ATL_SIGN_SOCK": str(tmp_path / "s")}
    other = open_listener({"ATL_SIGN_SOCK": str(tmp_path / "other")})
    with (tmp_path / "file").open("w") as file, pytest.raises(StartError, match="was not passed on: Socket operation"):
        open_listener(environment, (os.dup(file.fileno()), file.fileno()))
    with pytest.raises(StartError, match="is not the one at"):
        open_listener(environment, (other.socket.detach(), other.lock or 0))

    listener = open_listener(environment)
    (tmp_path / "s").unlink()
    with pytest.raises(StartError, match="was removed"):
        open_listener(environment, (listener.socket.detach(), listener.lock or 0))


def test_systemds_socket_is_not_passed_on() -> None:
    """systemd keeps it."""
    with socket.socket(socket.AF_UNIX) as theirs:
        assert Listener(theirs).pass_on() is None
