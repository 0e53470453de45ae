"""What a client can tell of a daemon, and of what is none."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atl_sign.asking import NoAnswerError, ask_status, find_listener
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
    ("answer", "words"),
    [
        (b"", "no daemon answers at"),
        (b"SSH-2.0-x\r\n", "no daemon answers at"),
        (whole(b"{"), "no daemon answers at"),
        (whole(b"[]"), "is no atl-signd"),
        (whole(b'{"error": {"message": "no store is called x"}}', b"503 Service Unavailable"), "no store is called x"),
        (whole(b"{}", b"500 Oops"), "Oops"),
    ],
)
def test_what_is_no_daemon_is_told(tmp_path: Path, answer: bytes, words: str) -> None:
    """One error, whatever is there instead."""
    with answering(tmp_path / "s", answer), pytest.raises(NoAnswerError, match=words):
        ask_status(tmp_path / "s", 5.0)


def test_nobody_is_told(tmp_path: Path) -> None:
    """No file at all."""
    assert find_listener(tmp_path / "s") is None
    with pytest.raises(NoAnswerError):
        ask_status(tmp_path / "s", 1.0)
