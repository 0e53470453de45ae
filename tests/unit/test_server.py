"""The rules of the process that need no process: where socket and configuration are, and what systemd may hand over."""

import os
import socket
from pathlib import Path

import pytest

from atl_sign import server
from atl_sign.server import StartError, config_path, socket_path


def test_the_socket_is_where_the_design_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ATL_SIGN_SOCK, then XDG_RUNTIME_DIR, then /run/user when it is ours, then the home (design, section 3)."""
    monkeypatch.setenv("HOME", str(tmp_path))
    both = {"ATL_SIGN_SOCK": "/a/b", "XDG_RUNTIME_DIR": "/c"}

    assert socket_path(both) == Path("/a/b")
    assert socket_path({"XDG_RUNTIME_DIR": "/c"}) == Path("/c/atl-sign/agent.sock")
    assert socket_path({"ATL_SIGN_SOCK": "", "XDG_RUNTIME_DIR": "/c"}) == Path("/c/atl-sign/agent.sock")
    run = Path(f"/run/user/{os.getuid()}")
    is_ours = run.is_dir() and run.stat().st_uid == os.getuid()
    base = run if is_ours else tmp_path / ".local/state"
    assert socket_path({}) == base / "atl-sign/agent.sock"


def test_a_foreign_run_folder_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """/run/user/UID of another uid is not ours."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)

    assert socket_path({}) == tmp_path / ".local/state/atl-sign/agent.sock"


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    """Counted in bytes, not in characters."""
    assert socket_path({"ATL_SIGN_SOCK": "/" + "x" * 106})
    for path in ("/" + "x" * 107, "/" + "ü" * 54):
        with pytest.raises(StartError, match="over 107 bytes"):
            socket_path({"ATL_SIGN_SOCK": path})


def test_the_configuration_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_CONFIG_HOME, else ~/.config."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert config_path({"XDG_CONFIG_HOME": "/c"}) == Path("/c/atl-sign/config.toml")
    assert config_path({}) == tmp_path / ".config/atl-sign/config.toml"


def test_a_socket_meant_for_another_process_is_not_taken() -> None:
    """LISTEN_PID names who the sockets are for (sd_listen_fds(3))."""
    assert server._inherited_socket({}) is None
    assert server._inherited_socket({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) is None


def test_several_sockets_are_refused() -> None:
    """The .socket unit has one."""
    with pytest.raises(StartError, match="another number of sockets"):
        server._inherited_socket({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"})


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_tcp_socket_is_refused(monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily) -> None:
    """Never a TCP port, also when systemd hands one over; the Unix socket is the twin."""
    with socket.socket(family) as given:
        monkeypatch.setattr(server, "_FIRST_INHERITED_FD", os.dup(given.fileno()))
        environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
        if family == socket.AF_INET:
            with pytest.raises(StartError, match="no Unix socket"):
                server._inherited_socket(environment)
        else:
            inherited = server._inherited_socket(environment)
            assert inherited is not None
            inherited.close()
