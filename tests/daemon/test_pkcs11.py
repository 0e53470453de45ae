"""A consumer's key in a token, from end to end: taken into use, unlocked, danced with, lost, locked, and shown."""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from atl_sign.sandbox import Sandbox
from tests.fork_server import ForkServer
from tests.lab import REPOSITORY, Daemon, wait_for
from tests.token_lab import PIN, SoftHsm


@pytest.fixture
def hsm(tmp_path: Path) -> SoftHsm:
    """A token called atl, with no key in it."""
    made = SoftHsm(tmp_path / "hsm")
    made.prepare()
    made.add_token()
    return made


@pytest.fixture
def daemon(fork_server: ForkServer, hsm: SoftHsm) -> Iterator[Daemon]:
    """A daemon that finds the token."""
    with Daemon(fork_server, **hsm.environment) as started:
        yield started


def unlock(daemon: Daemon, **fields: Any) -> Any:
    reply = daemon.request("POST", "/unlock", {"pin": PIN, **fields})
    assert reply.status == 200, reply.text
    return reply.json


def use_key(daemon: Daemon, hsm: SoftHsm) -> None:
    """Make a key in the token and take it into use."""
    unlock(daemon, key=hsm.uri())
    reply = daemon.request("POST", "/key", {"reference": hsm.uri()})
    assert reply.status == 201, reply.text


def module_of(daemon: Daemon) -> int:
    """Return the pid of the program that has loaded the module: the daemon's only child."""
    assert daemon.process is not None
    children = Path(f"/proc/{daemon.process.pid}/task")
    found = {int(pid) for task in children.iterdir() for pid in (task / "children").read_text().split()}
    assert len(found) == 1
    return found.pop()


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def ask(daemon: Daemon, sandbox: Sandbox, product: str = "jira") -> Any:
    """Return the answer to one request to sign."""
    url = f"{sandbox.base_url(product)}/rest/api/2/myself"
    return daemon.request("POST", "/sign", {"method": "GET", "url": url})


def atl_sign(daemon: Daemon, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    command = ["bash", str(REPOSITORY / "clients/bash/atl-sign"), *arguments]
    return subprocess.run(
        command, env=daemon.environment, input=stdin, capture_output=True, text=True, timeout=60, start_new_session=True
    )


def test_a_key_of_a_token_dances_and_signs(daemon: Daemon, hsm: SoftHsm, sandbox: Sandbox) -> None:
    """The sandbox verifies with the public half; the twin: locked, it signs nothing, and the PIN opens it again."""
    use_key(daemon, hsm)

    daemon.dance(sandbox, "jira")

    assert daemon.request("POST", "/links/jira/check").json["user"] == "alice"
    assert daemon.request("POST", "/lock").status == 400  # the store is memory; what was unlocked is locked all the same
    refused = ask(daemon, sandbox)
    assert (refused.status, refused.code, refused.hint) == (423, "key_locked", "atl-sign unlock --key")
    assert unlock(daemon)["state"] == "ready"
    assert daemon.request("POST", "/links/jira/check").json["user"] == "alice"


def test_a_key_is_used_and_imported_by_the_command(daemon: Daemon, hsm: SoftHsm, sandbox: Sandbox) -> None:
    """`key use` of a locked token names the command; `key import-to` moves the key, and no provider sees a change."""
    daemon.dance(sandbox, "jira")
    before = atl_sign(daemon, "key").stdout
    uri = hsm.uri("moved")

    locked = atl_sign(daemon, "key", "import-to", uri)
    opened = atl_sign(daemon, "unlock", "--key", uri, "--stdin", stdin=f"{PIN}\n")
    moved = atl_sign(daemon, "key", "import-to", uri)

    assert locked.returncode == 1
    assert f"hint: atl-sign unlock --key '{uri}'" in locked.stderr
    assert opened.returncode == 0, opened.stderr
    assert "state: ready" in opened.stdout
    assert moved.returncode == 0, moved.stderr
    assert atl_sign(daemon, "key").stdout == before
    assert daemon.request("POST", "/links/jira/check").json["user"] == "alice"
    status = atl_sign(daemon, "status").stdout
    assert "key: ready" in status
    assert "reference: pkcs11:token=atl;serial=" in status
    again = atl_sign(daemon, "key", "use", uri)
    assert again.returncode == 0, again.stderr
    other = atl_sign(daemon, "key", "new", "--in", hsm.uri("other"))
    assert "there is a consumer key already" in other.stderr
    made = atl_sign(daemon, "key", "new", "--in", hsm.uri("other"), "--replace")
    assert made.returncode == 0, made.stderr
    assert made.stdout != before


def test_wrong_pins_are_told_apart(daemon: Daemon, hsm: SoftHsm) -> None:
    """Wrong, then too many unless the caller says the word; a key in the store has none."""
    use_key(daemon, hsm)

    wrong = atl_sign(daemon, "unlock", "--key", "--stdin", stdin="not-the-pin\n")
    low = atl_sign(daemon, "unlock", "--key", "--stdin", stdin=f"{PIN}\n")
    right = atl_sign(daemon, "unlock", "--key", "--try-again", "--stdin", stdin=f"{PIN}\n")

    assert wrong.returncode == 1
    assert "the token atl with serial" in wrong.stderr
    assert "hint: atl-sign unlock --key --try-again" in wrong.stderr
    assert low.returncode == 1
    assert "has had a wrong PIN" in low.stderr
    assert right.returncode == 0, right.stderr
    assert daemon.request("POST", "/unlock", {"pin": "not-the-pin"}).code == "wrong_passphrase"
    assert daemon.request("POST", "/unlock", {"pin": PIN}).code == "too_many_tries"
    assert daemon.request("POST", "/unlock", {"pin": PIN, "passphrase": "x"}).status == 422
    assert daemon.request("POST", "/unlock", {"try_again": True}).status == 422


def test_a_key_in_the_store_has_no_pin(daemon: Daemon) -> None:
    """Nothing is asked for then."""
    daemon.make_key()

    done = atl_sign(daemon, "unlock", "--key", "--stdin", stdin=f"{PIN}\n")

    assert done.returncode == 1
    assert "the key is in the store, and has no PIN" in done.stderr
    assert daemon.request("POST", "/unlock", {"pin": PIN}).code == "bad_request"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_module_holds_up_nobody_else(daemon: Daemon, hsm: SoftHsm, sandbox: Sandbox, number: int) -> None:
    """Other links sign as fast as before while sixteen wait for the token; then it is back by itself."""
    use_key(daemon, hsm)
    daemon.dance(sandbox, "jira")
    url = sandbox.base_url("confluence")
    reply = daemon.request("PUT", "/links/other", {"url": url, "scheme": "bearer"})
    assert reply.status == 201, reply.text
    begun = daemon.request("POST", "/dance", {"link": "other"}).json
    token = sandbox.make_token("confluence", "alice", days=5)
    assert daemon.request("POST", f"/dance/{begun['id']}", {"secret": token.secret}).status == 200
    wanted = {"method": "GET", "url": f"{url}/x"}

    def time_other() -> float:
        times = []
        for _ in range(20):
            began = time.perf_counter()
            assert daemon.request("POST", "/sign", wanted).status == 200
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    assert ask(daemon, sandbox).status == 200
    before = time_other()
    pid = module_of(daemon)

    os.kill(pid, number)
    with ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(ask, daemon, sandbox) for _ in range(16)]
        meanwhile = time_other()
        answers = [each.result() for each in waiting]

    expected = {200} if number == signal.SIGKILL else {503}
    assert {answer.status for answer in answers} == expected
    assert all(answer.code == "key_unavailable" for answer in answers if answer.status != 200)
    assert meanwhile < 5 * before + 0.05
    wait_for(lambda: ask(daemon, sandbox).status == 200)
    wait_for(lambda: not is_there(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_module_outlives_the_daemon(daemon: Daemon, hsm: SoftHsm, number: int) -> None:
    """However that ends."""
    use_key(daemon, hsm)
    pid = module_of(daemon)

    daemon.stop(number)

    wait_for(lambda: not is_there(pid))
    if number == signal.SIGTERM:
        assert not list((daemon.folder / "run").rglob("*.p11/*"))


def test_the_daemon_with_a_stopped_module_still_ends(daemon: Daemon, hsm: SoftHsm) -> None:
    """And takes it along."""
    use_key(daemon, hsm)
    pid = module_of(daemon)
    os.kill(pid, signal.SIGSTOP)

    assert daemon.stop() == 0

    wait_for(lambda: not is_there(pid))


def test_a_token_is_let_go_of_when_idle(daemon: Daemon, hsm: SoftHsm, sandbox: Sandbox) -> None:
    """As `[pkcs11] idle_s` says; and it is there again for the next request."""
    daemon.config.parent.mkdir(parents=True, exist_ok=True)
    daemon.config.write_text("[pkcs11]\nidle_s = 1\n")
    use_key(daemon, hsm)
    daemon.dance(sandbox, "jira")
    pid = module_of(daemon)

    wait_for(lambda: not is_there(pid))

    assert ask(daemon, sandbox).status == 200


def test_the_doctor_tries_the_key(daemon: Daemon, hsm: SoftHsm) -> None:
    """A signature shows that module, token and SHA-1 are there; locked is a warning, and a lost token broken."""

    def look() -> str:
        done = daemon.run_program("doctor")
        lines = done.stdout.splitlines()
        at = next(number for number, line in enumerate(lines) if line.split()[1:2] == ["key"])
        return " ".join(lines[at : at + 2])

    use_key(daemon, hsm)
    ready = look()
    daemon.request("POST", "/lock")
    locked = look()
    unlock(daemon)
    (hsm.folder / "tokens").rename(hsm.folder / "away")
    (hsm.folder / "tokens").mkdir()
    lost = look()

    assert ready.startswith("ok")
    assert "pkcs11:token=atl;serial=" in ready
    assert locked.startswith("warning")
    assert "hint: atl-sign unlock --key" in locked
    assert lost.startswith("broken")
    assert "is not there" in lost


def test_without_the_library_the_command_to_install_it_is_named(fork_server: ForkServer, hsm: SoftHsm, tmp_path: Path) -> None:
    """PKCS#11 is optional: everything else works without it."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/pkcs11.py").write_text("raise ImportError('hidden')\n")

    with Daemon(PYTHONPATH=str(tmp_path / "hidden"), **hsm.environment) as daemon:
        refused = daemon.request("POST", "/key/use", {"reference": hsm.uri()})
        assert daemon.make_key()

    assert (refused.status, refused.code) == (503, "key_unavailable")
    assert f"{sys.executable} -m pip install 'python-pkcs11" in refused.hint


def test_references_with_a_pin_are_refused_and_not_repeated(daemon: Daemon) -> None:
    """By name."""
    for query in ("pin-value=7391", "pin-source=file:/7391"):
        reply = daemon.request("POST", "/key/use", {"reference": f"pkcs11:token=atl;object=key?{query}"})

        assert (reply.status, reply.code) == (400, "bad_request")
        assert query.partition("=")[0] in reply.message
        assert "7391" not in reply.text
