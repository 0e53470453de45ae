"""What a peer can tell of a daemon, and of what is none."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atl_sign.commands import daemon_call
from atl_sign.commands.daemon_call import NoAnswerError, ask_status, call_daemon, find_listener
from tests.lab import Daemon


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """A listener at *path* that gives one connection this answer."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(20)


def whole(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def test_a_daemon_answers(daemon: Daemon) -> None:
    """With its status; and the kernel names it."""
    assert daemon.process is not None

    assert ask_status(daemon.socket)["pid"] == daemon.process.pid
    listener = find_listener(daemon.socket)
    assert listener is not None
    assert listener.pid == daemon.process.pid


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"", "foreign", "no daemon answers at .*: the connection was closed"),
        (b"SSH-2.0-x\r\n", "foreign", "no daemon answers at .*: the program that listens there is not atl-signd"),
        (whole(b"{"), "foreign", "no daemon answers at .*: the program that listens there is not atl-signd"),
        (whole(b"[" * 100_000), "foreign", "no daemon answers at .*: the program that listens there is not atl-signd"),
        (whole(b"[]"), "foreign", "is not atl-signd"),
        (whole(b"{}"), "foreign", "is not atl-signd"),
        (whole(b"{}", b"500 Oops"), "foreign", "is not atl-signd"),
        (whole(b'{"error": {"code": "x"}}', b"500 Oops"), "foreign", "is not atl-signd"),
        (whole(b'{"error": {"message": "no store is called x"}}', b"503 Service Unavailable"), "failing", "no store is called x"),
    ],
)
def test_what_is_no_daemon_is_told(tmp_path: Path, answer: bytes, kind: str, words: str) -> None:
    """One error, whatever is there instead; the kernel says whose it is."""
    with answering(tmp_path / "s", answer), pytest.raises(NoAnswerError, match=words) as caught:
        ask_status(tmp_path / "s", 5.0)

    assert (caught.value.kind, caught.value.pid) == (kind, os.getpid())


def test_nobody_is_told(tmp_path: Path) -> None:
    """No file at all; one that nobody serves any more; one that is no socket's to open."""
    path = tmp_path / "s"
    assert find_listener(path) is None
    with pytest.raises(NoAnswerError, match=r"no daemon answers at .*: there is no such socket") as absent:
        ask_status(path, 1.0)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert find_listener(path) is None
    with pytest.raises(NoAnswerError, match=r"no daemon answers at .*: nobody listens there") as dead:
        ask_status(path, 1.0)
    with pytest.raises(NoAnswerError, match=r"no daemon answers at .*: not a directory") as other:
        ask_status(path / "below", 1.0)

    # Where nothing can be connected to, nothing foreign listens either.
    assert [each.value.kind for each in (absent, dead, other)] == ["absent", "dead", "closed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_another_user_who_listens_is_sent_nothing(tmp_path: Path) -> None:
    """Though the socket's file is ours: the kernel says who listens."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        # The user who calls listen is the one that the kernel names (unix(7), SO_PEERCRED).
        code = "import os, socket; its = socket.socket(fileno=%d); os.setuid(12345); its.listen(4); its.detach()"
        subprocess.run([sys.executable, "-c", code % listener.fileno()], pass_fds=[listener.fileno()], check=True)

        found = find_listener(path)
        with pytest.raises(NoAnswerError, match="the user with uid 12345 listens there") as caught:
            ask_status(path, 5.0)

        assert caught.value.kind == "foreign"
        assert found is not None
        assert not found.is_ours()
        listener.settimeout(2)
        for _ in range(2):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.recv(1) == b""


def test_who_keeps_silent_is_told(tmp_path: Path) -> None:
    """A listener that takes no connection is there all the same; without an answer it is given up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)
        found = find_listener(tmp_path / "s")
        with pytest.raises(NoAnswerError, match=r"no daemon answers at .* within 0\.2 s") as caught:
            call_daemon(tmp_path / "s", "GET", "/status", 0.2)

    assert found is not None
    assert (found.pid, caught.value.kind, caught.value.pid) == (os.getpid(), "silent", os.getpid())


def test_an_answer_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read up to a bound, and so is none; within the bound it is one."""
    body = whole(b'{"version": "1"}')
    with answering(tmp_path / "s", body):
        assert call_daemon(tmp_path / "s", "GET", "/status", 5.0).fields == {"version": "1"}
    (tmp_path / "s").unlink()
    monkeypatch.setattr(daemon_call, "_ANSWER_BYTES_MAX", 8)

    with answering(tmp_path / "s", body), pytest.raises(NoAnswerError, match="is not atl-signd"):
        call_daemon(tmp_path / "s", "GET", "/status", 5.0)
