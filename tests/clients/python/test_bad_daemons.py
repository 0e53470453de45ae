"""What else may be on the socket: a typed error within the deadline, and nothing of an answer in its words."""

import json
import os
import pickle
import socket
import struct
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
import requests

from atl_sign_client import AtlSign, AtlSignAuth, AtlSignError
from atl_sign_client.connection import _DeadlineSocket
from tests.clients.bad_daemons import KINDS, BadDaemon
from tests.clients.python.fake_daemon import SIGNATURE, SIGNED, FakeDaemon, answer

CODES = {"no_daemon", "daemon_timeout", "bad_answer", "bad_socket", "bad_request"}
CANARY = json.dumps({"authorization": SIGNATURE, "link": "x"}).encode()


def refused(path: Path, timeout_s: float = 5.0) -> AtlSignError:
    """Return the error of one call, which must come within the deadline and hold nothing of a signature."""
    started_at = time.monotonic()
    with pytest.raises(AtlSignError) as caught:
        AtlSign(path, timeout_s=timeout_s).sign("GET", "http://h/")
    assert time.monotonic() - started_at < timeout_s + 2
    assert caught.value.code in CODES
    assert caught.value.hint
    words = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "canary" not in words
    assert b"canary" not in pickle.dumps(caught.value)
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_daemon(kind: str) -> None:
    """Absent, silent or broken; what cannot be a socket is said in words of its own."""
    visible = KINDS[kind].visible
    codes = {"absent": "no_daemon", "silent": "daemon_timeout", "broken": "bad_answer"}
    code = "bad_socket" if kind in ("no_socket", "folder") else codes[visible]
    with BadDaemon(kind) as bad:
        assert refused(bad.socket, 0.3 if visible == "silent" else 5.0).code == code


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n" + CANARY,
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n" + CANARY,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + CANARY,
        b"HTTP/1.1 200 OK\r\n\r\n" + CANARY,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + CANARY,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        answer(b"[" * 100_000),
        answer({"authorization": None, "link": "x"}),
        answer({"authorization": SIGNATURE}),
        answer({"authorization": "canary é", "link": "x"}),
        answer({"authorization": " canary", "link": "x"}),
        answer({"authorization": SIGNATURE, "link": "x"}, "302 Found"),
    ],
    ids=lambda said: repr(said[:60]),
)
def test_what_is_no_daemons_answer(said: bytes) -> None:
    """Beside those of every client: lengths that lie, more than is read, and fields that are not quite right."""

    def say(_: FakeDaemon, connection: socket.socket) -> None:
        connection.sendall(said)

    with FakeDaemon(say) as fake:
        assert refused(fake.path).code == "bad_answer"


def test_a_whole_answer_is_taken() -> None:
    """The twin of them all; so is a refusal without a hint."""
    with FakeDaemon(SIGNED) as fake:
        assert AtlSign(fake.path).sign("GET", "http://h/") == SIGNATURE
    with FakeDaemon(answer({"error": {"code": "new_code", "message": "m", "hint": None}}, "418 New")) as fake:
        with pytest.raises(AtlSignError) as caught:
            AtlSign(fake.path).sign("GET", "http://h/")
        assert (caught.value.code, caught.value.message, caught.value.hint) == ("new_code", "m", None)


@pytest.mark.parametrize("how", ["hang", "trickle"])
def test_silence_and_slowness_end_at_the_deadline(how: str) -> None:
    """Also when a byte comes now and then, and on a connection that was used before."""
    with FakeDaemon(SIGNED, getattr(FakeDaemon, how)) as fake:
        caller = AtlSign(fake.path, timeout_s=0.3)
        caller.sign("GET", "http://h/")
        started_at = time.monotonic()
        with pytest.raises(AtlSignError) as caught:
            caller.sign("GET", "http://h/")

        assert caught.value.code == "daemon_timeout"
        assert 0.2 < time.monotonic() - started_at < 2.5
        assert refused(fake.path, 0.3).code == "daemon_timeout"


def test_nobody_is_there() -> None:
    """No file, no folder, a stale socket."""
    with FakeDaemon(SIGNED) as fake:
        stale = fake.folder / "stale.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(stale))

        for path in (fake.folder / "nothing", fake.folder / "no/folder", stale, fake.path / "below"):
            assert refused(path).code == "no_daemon", path


def test_a_path_that_cannot_be_a_sockets() -> None:
    """Too long, a file, a folder, a zero byte, a loop of links."""
    with FakeDaemon(SIGNED) as fake:
        plain, loop = fake.folder / "plain", fake.folder / "loop"
        plain.write_text("x")
        loop.symlink_to(loop)

        for path in (Path("/" + "x" * 107), plain, fake.folder, Path("/x\0y"), loop):
            assert refused(path).code == "bad_socket", path
        assert fake.connections == 0


def test_a_link_to_ones_own_socket_is_followed() -> None:
    """As forwarded sockets are often reached."""
    with FakeDaemon(SIGNED) as fake:
        link = fake.folder / "link"
        link.symlink_to(fake.path)

        assert AtlSign(link).sign("GET", "http://h/") == SIGNATURE


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


@needs_root
@pytest.mark.parametrize("what", ["socket", "link", "link to it"])
def test_another_users_socket_is_refused(what: str) -> None:
    """Itself, a link of another user's, and a link of ours to it; nobody is connected."""
    with FakeDaemon(SIGNED) as fake:
        link = fake.folder / "link"
        link.symlink_to(fake.path)
        os.chown(link if what == "link" else fake.path, 12_345, -1, follow_symlinks=False)

        assert refused(fake.path if what == "socket" else link).code == "bad_socket"
        assert fake.connections == 0


@needs_root
def test_another_user_who_listens_is_refused() -> None:
    """Though the file is ours: the kernel says who listens, and nothing is sent."""
    with FakeDaemon() as unused:
        path = unused.folder / "theirs.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            # Who calls listen is who is asked for (unix(7), SO_PEERCRED).
            code = (
                "import os, socket; listener = socket.socket(fileno=%d); os.setuid(12345); listener.listen(1); listener.detach()"
            )
            subprocess.run([sys.executable, "-c", code % listener.fileno()], pass_fds=[listener.fileno()], check=True)

            assert refused(path).code == "bad_socket"
            listener.settimeout(2)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.recv(1) == b""


@pytest.mark.parametrize(("uid", "is_taken"), [(os.geteuid(), True), (54_321, False)])
def test_the_peer_is_asked_for_on_macos_too(monkeypatch: pytest.MonkeyPatch, uid: int, is_taken: bool) -> None:
    """By LOCAL_PEERCRED, whose struct begins with version and uid (<sys/ucred.h>): no Mac runs these tests."""
    real = socket.socket.getsockopt
    monkeypatch.delattr(socket, "SO_PEERCRED")
    monkeypatch.setattr(
        _DeadlineSocket,
        "getsockopt",
        lambda self, *asked: struct.pack("<IIhxx16I", 0, uid, 1, *[20] * 16) if asked == (0, 1, 76) else real(self, *asked),
        raising=False,
    )
    with FakeDaemon(SIGNED) as fake:
        if is_taken:
            assert AtlSign(fake.path).sign("GET", "http://h/") == SIGNATURE
        else:
            assert refused(fake.path).code == "bad_socket"


@pytest.mark.parametrize("said", [b"", answer({"authorization": "x\r\nX-Injected: 1", "link": "x"})])
def test_nothing_goes_to_the_provider(said: bytes) -> None:
    """When there is no signature, no request is sent."""
    with FakeDaemon(lambda _, connection: connection.sendall(said)) as fake, socket.create_server(("127.0.0.1", 0)) as provider:
        with pytest.raises(AtlSignError):
            requests.get(f"http://127.0.0.1:{provider.getsockname()[1]}/x", auth=AtlSignAuth(fake.path), timeout=5)

        provider.settimeout(0)
        with pytest.raises(BlockingIOError):
            provider.accept()
