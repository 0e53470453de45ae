"""The real daemon killed in the middle of `store move`, between a real keyring and the file, and what the next one does."""

import random
import signal
import threading
import time
from contextlib import suppress

import pytest

from atl_sign.sandbox import Sandbox
from tests.keyring_lab import KeyringLab
from tests.lab import Daemon, wait_for
from tests.store.readers import read_file

pytestmark = pytest.mark.slow

KILLS = 8
WORD = b"a word"
ITEMS = {"consumer-key", "token:jira"}


def test_kill_9_in_a_move_leaves_one_whole_store_and_an_empty_one(sandbox: Sandbox) -> None:
    """Every time the next daemon signs, and removes by itself what the move has left in the other store."""
    moments = random.Random(20261125)
    cut_off = 0
    with KeyringLab() as keyring, Daemon(ATL_SIGN_STORE="", **keyring.env) as daemon:
        credentials = daemon.folder / "credentials"
        credentials.mkdir()
        (credentials / "atl-sign-store-key").write_bytes(WORD)
        daemon.stop()
        daemon.environment["CREDENTIALS_DIRECTORY"] = str(credentials)
        daemon.start()
        daemon.dance(sandbox, "jira")
        path = daemon.folder / ".local/state/atl-sign/store"
        note = daemon.config.with_name("store-move.json")

        def names_in_the_file() -> set[str]:
            return set(read_file(path.read_bytes(), WORD)) if path.exists() else set()

        def names_in_the_keyring() -> set[str]:
            return {name for name in ITEMS if keyring.read(name)}

        for _ in range(KILLS):
            before = daemon.request("GET", "/status").json["store"]
            backend = "file" if before == "secret-service" else "secret-service"

            def move(backend: str = backend) -> None:
                with suppress(OSError):  # cut off by the kill
                    daemon.request("POST", "/store/move", {"backend": backend})

            moving = threading.Thread(target=move)
            moving.start()
            wait_for(lambda: note.exists() or not moving.is_alive())  # noqa: B023 - waited for at once
            time.sleep(moments.uniform(0.0, 0.1))  # the moment is what varies; nothing is waited for
            daemon.stop(signal.SIGKILL)
            moving.join(20)
            cut_off += note.exists()
            daemon.start()

            reply = daemon.request("POST", "/sign", {"method": "GET", "url": f"{sandbox.base_url('jira')}/x"})

            assert reply.status == 200, reply.text
            wait_for(lambda: not note.exists())
            here = daemon.request("GET", "/status").json["store"]
            found = {"file": names_in_the_file(), "secret-service": names_in_the_keyring()}
            assert found.pop(here) == ITEMS
            assert list(found.values()) == [set()]
            assert daemon.request("GET", "/status").json["warnings"] == []
    assert cut_off, "no kill has met a move"
