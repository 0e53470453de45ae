"""The calls about the store, on the real program: lock, unlock, move, keys that nobody types, and a wait that blocks nobody."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.api.test_dance import begin
from tests.fork_server import ForkServer
from tests.lab import REPOSITORY, Daemon, Reply, wait_for
from tests.store.readers import read_file

WORD = "correct horse battery staple"


@pytest.fixture
def kept(fork_server: ForkServer) -> Iterator[Daemon]:
    """A daemon whose store is a file that is not there yet, as the configuration says."""
    with closed_daemon(fork_server) as daemon:
        yield daemon


def closed_daemon(fork_server: ForkServer | None = None, /, **environment: str) -> Daemon:
    daemon = Daemon(fork_server, ATL_SIGN_STORE="", **environment)
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text('# mine\n[store]\nbackend = "file" # chosen\n')
    return daemon


def path_of(daemon: Daemon) -> Path:
    return daemon.folder / ".local/state/atl-sign/store"


def sign(daemon: Daemon, sandbox: Sandbox) -> Reply:
    return daemon.request("POST", "/sign", {"method": "GET", "url": f"{sandbox.base_url('jira')}/rest/api/2/myself"})


def unlock(daemon: Daemon, passphrase: str | None = WORD, **fields: str) -> Reply:
    return daemon.request("POST", "/unlock", {**({} if passphrase is None else {"passphrase": passphrase}), **fields})


def test_the_file_is_made_locked_and_opened(kept: Daemon, sandbox: Sandbox) -> None:
    """Without a passphrase nothing; with one a key and a token that outlive a kill; after the start locked, then as before."""
    assert (sign(kept, sandbox).code, kept.request("GET", "/key").code) == ("unknown_link", "store_missing")
    reply = kept.request("POST", "/key")
    assert (reply.status, reply.code, reply.hint) == (428, "store_missing", "atl-sign unlock --new")
    assert unlock(kept, None).status == 428
    assert unlock(kept).code == "store_missing"
    reply = unlock(kept, None, new_passphrase=WORD)
    assert (reply.status, reply.json) == (200, {"store": "file", "state": "ready"})
    assert unlock(kept, None, new_passphrase=WORD).code == "store_exists"
    kept.dance(sandbox, "jira")
    key = kept.request("GET", "/key").json["public_key"]

    kept.stop(signal.SIGKILL)
    kept.start()

    reply = sign(kept, sandbox)
    assert (reply.status, reply.code, reply.hint) == (423, "store_locked", "atl-sign unlock")
    assert kept.request("GET", "/status").json["store_state"] == "locked"
    assert unlock(kept, None).code == "passphrase_needed"
    assert unlock(kept).json == {"store": "file", "state": "ready"}
    assert unlock(kept, None).status == 200
    assert sign(kept, sandbox).status == 200
    assert kept.request("GET", "/key").json["public_key"] == key
    assert kept.request("POST", "/links/jira/check").json["user"] == "alice"
    assert read_file(path_of(kept).read_bytes(), WORD.encode()).keys() == {"consumer-key", "token:jira"}


def test_a_locked_store_is_no_reason_to_dance(kept: Daemon, sandbox: Sandbox) -> None:
    """Status says what helps, and a script that asks whether all is well gets no; the twin: after the unlock it gets yes."""
    unlock(kept, None, new_passphrase=WORD)
    kept.dance(sandbox, "jira")

    def exit_code(*arguments: str) -> int:
        command = [str(REPOSITORY / "clients/bash/atl-sign"), "status", "--exit-code", *arguments]
        return subprocess.run(command, env=kept.environment, stdout=subprocess.DEVNULL).returncode

    assert (exit_code(), exit_code("--json")) == (0, 0)
    kept.request("POST", "/lock")
    status = kept.request("GET", "/status").json

    assert (status["dance_needed"], status["links"][0]["token"]["state"]) == ([], "unknown")
    assert status["warnings"] == ["the store does not say whether 1 of the links have tokens: atl-sign unlock"]
    assert (exit_code(), exit_code("--json"), exit_code("jira")) == (1, 1, 1)
    wait_for(lambda: unlock(kept).status == 200)
    assert (exit_code(), exit_code("--json")) == (0, 0)


def test_lock_forgets_everything_and_unlock_brings_it_back(kept: Daemon, sandbox: Sandbox) -> None:
    """Signing, checking, dancing and the key are refused; a dance that waits is cancelled; the twin: all of it comes back."""
    unlock(kept, None, new_passphrase=WORD)
    kept.dance(sandbox, "jira")
    waiting = begin(kept, "oob")["id"]

    reply = kept.request("POST", "/lock")

    assert (reply.status, reply.json) == (200, {"store": "file", "state": "locked"})
    assert kept.request("GET", f"/dance/{waiting}").json["state"] == "cancelled"
    for method, path, fields in (
        ("POST", "/sign", {"method": "GET", "url": f"{sandbox.base_url('jira')}/x"}),
        ("POST", "/links/jira/check", None),
        ("POST", "/dance", {"link": "jira"}),
        ("GET", "/key", None),
        ("POST", "/key", {"bits": 2048, "replace": True}),
        ("DELETE", "/links/jira/token", None),
    ):
        reply = kept.request(method, path, fields)
        assert (reply.status, reply.code, reply.hint) == (423, "store_locked", "atl-sign unlock"), path
    assert kept.request("GET", "/links").status == kept.request("GET", "/status").status == 200
    assert kept.request("POST", "/lock").status == 200
    assert unlock(kept, "wrong").code == "wrong_passphrase"
    assert sign(kept, sandbox).code == "store_locked"
    wait_for(lambda: unlock(kept).status == 200)
    assert kept.request("GET", "/key").status == 200


def test_a_locked_daemon_signs_again_after_unlock(kept: Daemon, sandbox: Sandbox) -> None:
    """With the token of before."""
    unlock(kept, None, new_passphrase=WORD)
    kept.dance(sandbox, "jira")
    kept.request("POST", "/lock")
    assert sign(kept, sandbox).code == "store_locked"

    unlock(kept)

    assert sign(kept, sandbox).status == 200


def test_the_memory_store_is_not_locked(danced: Daemon, sandbox: Sandbox) -> None:
    """Nothing could bring its secrets back; it has no passphrase; unlocking what is open is fine."""
    assert danced.request("POST", "/lock").code == "bad_request"
    assert unlock(danced).code == "bad_request"
    assert unlock(danced, None).json == {"store": "memory", "state": "ready"}
    assert sign(danced, sandbox).status == 200


def test_a_wrong_passphrase_waits_and_holds_nobody_up(kept: Daemon, sandbox: Sandbox) -> None:
    """`Retry-After` grows; whoever comes early is told at once; signatures go on while one is tried."""
    unlock(kept, None, new_passphrase=WORD)
    kept.dance(sandbox, "jira")

    reply = unlock(kept, "wrong")
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (403, "wrong_passphrase", "1")
    assert reply.hint == "try again in 1 s"
    early = unlock(kept)
    assert (early.status, early.code, early.headers["retry-after"]) == (429, "too_many_tries", "1")
    wait_for(lambda: unlock(kept, "wrong").status == 403)
    reply = unlock(kept, "wrong")
    assert (reply.status, reply.headers["retry-after"]) == (429, "2")

    assert sign(kept, sandbox).status == 200, "a store that is open stays open"
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(unlock(kept).status)) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert sign(kept, sandbox).status == 200
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 429}


def test_a_changed_passphrase_counts_from_now_on(kept: Daemon) -> None:
    """The old one opens nothing after the next start."""
    unlock(kept, None, new_passphrase=WORD)
    assert unlock(kept, WORD, new_passphrase="next").status == 200
    kept.stop()
    kept.start()

    assert unlock(kept, WORD).code == "wrong_passphrase"
    wait_for(lambda: unlock(kept, "next").status == 200)


@pytest.mark.parametrize(
    "fields",
    [
        {"passphrase": ""},
        {"new_passphrase": ""},
        {"passphrase": "canary-" * 1000},
        {"passphrase": ["canary-1"]},
        {"passphrase": {"a": "canary-1"}},
        {"canary_field": "canary-1"},
        b'{"passphrase": "canary-\\ud800"}',
        b'{"passphrase": "canary-1"',
    ],
)
def test_a_passphrase_of_the_wrong_kind_is_refused_without_being_shown(kept: Daemon, fields: dict[str, str] | bytes) -> None:
    """400 or 422, the field's name alone."""
    reply = kept.request("POST", "/unlock", fields)

    assert reply.status in (400, 422), reply.text
    assert "canary-" not in reply.text + kept.log.read_text()


# --- keys that nobody types ---


def test_a_credential_of_systemd_opens_it(sandbox: Sandbox, fork_server: ForkServer) -> None:
    """`LoadCredential=` puts a file into a folder; it makes the store, opens it after a start, and after `atl-sign lock`."""
    daemon = closed_daemon(fork_server, CREDENTIALS_DIRECTORY="credentials")
    (daemon.folder / "credentials").mkdir()
    (daemon.folder / "credentials/atl-sign-store-key").write_text(f"{WORD}\n")
    with daemon:
        daemon.dance(sandbox, "jira")
        daemon.stop()
        daemon.start()
        assert sign(daemon, sandbox).status == 200
        daemon.request("POST", "/lock")
        assert sign(daemon, sandbox).code == "store_locked"

        assert unlock(daemon, None).status == 200

        assert sign(daemon, sandbox).status == 200
        assert "consumer-key" in read_file(path_of(daemon).read_bytes(), WORD.encode())


@pytest.mark.parametrize(("key", "words"), [("wrong", "another passphrase than atl-sign-store-key"), ("", "1 to 1024 bytes")])
def test_a_wrong_key_leaves_it_locked_and_is_told(kept: Daemon, key: str, words: str) -> None:
    """The daemon serves, the log says why; the right passphrase still opens it."""
    unlock(kept, None, new_passphrase=WORD)
    kept.stop()
    (kept.folder / "credentials").mkdir()
    (kept.folder / "credentials/atl-sign-store-key").write_text(key)
    kept.environment["CREDENTIALS_DIRECTORY"] = str(kept.folder / "credentials")
    kept.start()

    assert kept.request("GET", "/key").code == "store_locked"
    assert words in kept.log.read_text()
    refused = unlock(kept, None)
    assert (refused.code, refused.hint) == ("passphrase_needed", "atl-sign unlock")
    assert words in refused.message
    assert unlock(kept).status == 200  # at once: nobody has guessed


def test_other_credentials_of_the_unit_do_not_matter(kept: Daemon) -> None:
    """The folder is there, our key is not."""
    unlock(kept, None, new_passphrase=WORD)
    kept.stop()
    kept.environment["CREDENTIALS_DIRECTORY"] = str(kept.folder)
    kept.start()

    assert unlock(kept, None).code == "passphrase_needed"
    assert unlock(kept).status == 200


def test_a_descriptor_opens_it(kept: Daemon, sandbox: Sandbox) -> None:
    """`--key-fd N`; the twin: with another key it stays locked."""
    kept.stop()
    for key, state in ((WORD, "ready"), ("wrong", "locked"), (WORD, "ready")):
        reader, writer = os.pipe()
        os.write(writer, key.encode())
        os.close(writer)
        command = [sys.executable, "-m", "atl_sign.commands.cli", "serve", "--key-fd", str(reader)]
        with kept.log.open("ab") as log:
            kept.process = subprocess.Popen(
                command,
                env=kept.environment,
                cwd=kept.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[reader],
            )
        os.close(reader)
        wait_for(kept._answers)

        assert kept.request("GET", "/status").json["store_state"] == state
        kept.stop()


@pytest.mark.parametrize("number", ["-1", "x", ""])
def test_what_is_no_descriptor_is_usage(daemon: Daemon, number: str) -> None:
    """Status 2."""
    done = subprocess.run(
        [sys.executable, "-m", "atl_sign.commands.cli", "serve", f"--key-fd={number}"],
        env=daemon.environment,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, "--key-fd" in done.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [["--key-fd", "0"], ["--key-fd", "77"]])
def test_a_key_for_a_store_that_takes_none_stops_the_start(daemon: Daemon, arguments: list[str]) -> None:
    """With the memory store."""
    done = subprocess.run(
        [sys.executable, "-m", "atl_sign.commands.cli", "serve", *arguments],
        env={**daemon.environment, "ATL_SIGN_SOCK": str(daemon.folder / "other")},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode == 1
    assert "the store memory takes no key" in done.stderr


# --- moving ---


def test_a_move_carries_everything_over(kept: Daemon, sandbox: Sandbox) -> None:
    """From file to memory and back: key and tokens sign on, the configuration keeps its comments, the old store is gone."""
    unlock(kept, None, new_passphrase=WORD)
    kept.dance(sandbox, "jira")
    kept.dance(sandbox, "bamboo")
    items = read_file(path_of(kept).read_bytes(), WORD.encode())
    assert items.keys() == {"consumer-key", "token:jira", "token:bamboo"}

    refused = kept.request("POST", "/store/move", {"backend": "memory"})
    assert (refused.code, refused.hint) == ("bad_request", "if that is meant: --volatile")
    moved = kept.request("POST", "/store/move", {"backend": "memory", "volatile": True})

    assert (moved.status, moved.json) == (200, {"store": "memory", "warnings": []})
    assert not path_of(kept).exists()
    assert sign(kept, sandbox).status == 200
    assert 'backend = "memory" # chosen\n' in kept.config.read_text()
    assert kept.config.read_text().startswith("# mine\n")
    assert kept.request("POST", "/store/move", {"backend": "file"}).code == "store_missing"
    assert sign(kept, sandbox).status == 200
    assert kept.request("POST", "/store/move", {"backend": "file", "new_passphrase": "next"}).status == 200
    assert read_file(path_of(kept).read_bytes(), b"next") == items
    kept.stop()
    kept.start()
    assert unlock(kept, "next").status == 200
    assert sign(kept, sandbox).status == 200


@pytest.mark.parametrize(
    ("named", "code", "why"),
    [
        ("secret-service", "keyring_missing", "there is no session bus: DBUS_SESSION_BUS_ADDRESS is not set"),
        ("keyring:nowhere.Keyring", "keyring_missing", "the keyring back end's module nowhere is missing"),
        ("file", "store_missing", "there is no store yet: it is made with a passphrase of your choice"),
    ],
)
def test_a_store_that_is_not_there_can_be_left(fork_server: ForkServer, named: str, code: str, why: str) -> None:
    """There is nothing to carry over, which the answer says; the next start has the store that was moved to."""
    with Daemon(fork_server, ATL_SIGN_STORE="") as daemon:
        daemon.stop()
        daemon.config.parent.mkdir(parents=True)
        daemon.config.write_text(f'[store]\nbackend = "{named}"\n')
        daemon.start()
        assert daemon.request("GET", "/key").code == code

        backend = "memory" if named == "file" else "file"
        fields = {"backend": backend, "volatile": True} if named == "file" else {"backend": backend, "new_passphrase": WORD}
        moved = daemon.request("POST", "/store/move", fields)

        assert (moved.status, moved.json) == (200, {"store": backend, "warnings": [f"the new store starts empty: {why}"]})
        daemon.make_key()
        assert f'backend = "{backend}"' in daemon.config.read_text()
        if named != "file":
            assert "consumer-key" in read_file(path_of(daemon).read_bytes(), WORD.encode())


def test_a_store_that_was_there_a_moment_ago_is_not_left(kept: Daemon) -> None:
    """The twin: a file that went away while the daemon had read it, is no store without secrets."""
    unlock(kept, None, new_passphrase=WORD)
    kept.make_key()
    path_of(kept).rename(path_of(kept).with_name("elsewhere"))

    reply = kept.request("POST", "/store/move", {"backend": "memory", "volatile": True})

    assert reply.code == "store_unavailable"
    assert 'backend = "file"' in kept.config.read_text()


def test_a_refusal_has_its_code_as_a_header(kept: Daemon) -> None:
    """For those who ask for text; the twin: an answer that is no refusal has none."""
    for text in (True, False):
        refused = kept.request("GET", "/key", text=text)
        headers = {name.lower(): value for name, value in refused.headers.items()}
        assert headers["atl-sign-code"] == "store_missing"
    assert "atl-sign-code" not in {name.lower() for name in kept.request("GET", "/status").headers}


@pytest.mark.parametrize("backend", ["file", "nowhere", "keyring:keyring.backends.null.Keyring", "keyring:x"])
def test_a_move_to_itself_or_nowhere_is_refused(kept: Daemon, backend: str) -> None:
    """The file stays as it is."""
    unlock(kept, None, new_passphrase=WORD)
    before = kept.config.read_text()

    assert kept.request("POST", "/store/move", {"backend": backend}).code == "bad_request"

    assert kept.config.read_text() == before


def test_a_move_while_the_environment_names_the_store_is_refused(daemon: Daemon) -> None:
    """The next start would look into the old one."""
    reply = daemon.request("POST", "/store/move", {"backend": "file", "new_passphrase": WORD})

    assert (reply.code, "ATL_SIGN_STORE" in reply.message) == ("bad_request", True)
    assert not path_of(daemon).exists()


def test_a_locked_store_is_not_moved(kept: Daemon) -> None:
    """Neither by `atl-sign lock` nor before it was opened."""
    unlock(kept, None, new_passphrase=WORD)
    kept.make_key()
    kept.request("POST", "/lock")

    reply = kept.request("POST", "/store/move", {"backend": "memory", "volatile": True})

    assert reply.code == "store_locked"
    assert "consumer-key" in read_file(path_of(kept).read_bytes(), WORD.encode())


def test_it_locks_by_itself(kept: Daemon, sandbox: Sandbox) -> None:
    """A lifetime of less than a minute is told and counts as one; here the real daemon reads the setting while it runs."""
    unlock(kept, None, new_passphrase=WORD)
    kept.make_key()
    kept.config.write_text('[store]\nbackend = "file"\nlock_after_minutes = 0\n')

    warnings = kept.request("GET", "/status").json["warnings"]

    assert warnings == ["config.toml line 3, store.lock_after_minutes: not a number of minutes from 1 to 525,600"]
    assert kept.request("GET", "/key").status == 200


@pytest.mark.parametrize("way", ["lock", "restart"])
@pytest.mark.parametrize("path", ["/links/bitbucket/token", "/links/bitbucket"])
def test_a_logout_that_a_lock_refused_can_be_done_again(path: str, way: str, kept: Daemon) -> None:
    """It has not cost the names of the tokens for git: the second one revokes them."""
    unlock(kept, None, new_passphrase=WORD)
    with Sandbox(["bitbucket"]) as bitbucket:
        kept.dance(bitbucket, "bitbucket")
        host = bitbucket.base_url("bitbucket").split("/")[2]
        asked = f"protocol=http\nhost={host}\n".encode()
        assert kept.request("POST", "/git-credential/get", asked, headers={"Content-Type": "text/plain"}).status == 200
        if way == "lock":
            kept.request("POST", "/lock")
        else:
            kept.stop(signal.SIGKILL)
            kept.start()
        assert kept.request("DELETE", path).code == "store_locked"
        unlock(kept)

        reply = kept.request("DELETE", path)

        assert reply.json["git_left"] == []
        assert not bitbucket.state.sites["bitbucket"].state.tokens.of_user("alice")
    assert read_file(path_of(kept).read_bytes(), WORD.encode()).keys() == {"consumer-key"}
