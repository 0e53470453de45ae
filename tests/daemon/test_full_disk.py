"""The disk is full when a dance's token, the name of a token for git or the first key is stored: told, and nothing is lost."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from atl_sign.sandbox import Sandbox
from tests.daemon.small_disk import SmallDisk
from tests.lab import DEADLINE_S, Daemon, secrets_of

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount the small disk")]


@pytest.fixture
def small() -> Iterator[SmallDisk]:
    with SmallDisk() as started:
        yield started


def begin(daemon: Daemon, sandbox: Sandbox, product: str) -> tuple[str, str]:
    """A dance that alice has allowed: its path and the code."""
    begun = daemon.request("POST", "/dance", {"link": product, "callback": "oob"}).json
    return f"/dance/{begun['id']}", sandbox.approve(product, begun["authorize_url"])


def left_on(disk: Path) -> list[str]:
    return sorted(each.name for each in disk.iterdir())


def test_a_dance_whose_token_cannot_be_stored_is_no_success(small: SmallDisk, sandbox: Sandbox) -> None:
    """The user is told of the room that is missing; key and older tokens are there as before; with room a new dance does it."""
    small.dance(sandbox, "bamboo")
    small.link(sandbox, "jira")
    path, code = begin(small, sandbox, "jira")
    small.fill()

    reply = small.request("POST", path, {"verifier": code})
    state = small.request("GET", path).json

    assert (reply.status, reply.code) == (503, "store_unavailable")
    assert "No space left" in reply.message
    assert "room" in reply.hint
    assert state["state"] == "failed"
    assert small.request("GET", "/links/jira").json["token"]["state"] == "none"
    assert [secret for secret in secrets_of(sandbox, "jira") if secret and secret in small.log.read_text() + reply.text] == []
    assert left_on(small.disk) == ["rest", "store", "store.changes", "store.lock"]
    assert small.request("POST", "/links/bamboo/check").json["user"] == "alice"
    small.make_room()
    path, code = begin(small, sandbox, "jira")
    assert small.request("POST", path, {"verifier": code}).json["state"] == "granted"
    small.start_anew()
    for name in ("bamboo", "jira"):
        assert small.request("POST", f"/links/{name}/check").json["user"] == "alice"


def test_no_token_for_git_is_made_that_could_not_be_noted(small: SmallDisk, sandbox: Sandbox) -> None:
    """Its name is stored first: with a full disk the provider is not asked for one, and git is told to ask elsewhere or why."""
    small.dance(sandbox, "bitbucket")
    description = f"protocol=http\nhost={sandbox.base_url('bitbucket').split('/')[2]}\npath=bitbucket/scm/demo/app.git\n\n"

    def get() -> tuple[int, str]:
        reply = small.request("POST", "/git-credential/get", description.encode(), headers={"Content-Type": "text/plain"})
        return reply.status, reply.text

    small.fill()
    refused = get()
    made = [each for each in sandbox.state.requests if each.method == "PUT" and b"/access-tokens/" in each.target]
    small.make_room()
    given = get()
    small.fill()
    again = get()  # from memory: nothing is to be noted

    assert refused[0] == 503
    assert "No space left" in refused[1]
    assert made == []
    assert (given[0], again) == (200, given)
    assert "password=" in given[1]


def test_link_add_adds_nothing_without_its_key(small: SmallDisk, sandbox: Sandbox) -> None:
    """The first link makes the key; where that cannot be stored, the command says so, and works when it is given again."""
    command = ["atl-sign", "link", "add", "jira", sandbox.base_url("jira")]

    def add() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, env=small.environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False)

    small.fill()
    refused = add()
    links = small.request("GET", "/links").json["links"]
    small.make_room()
    added = add()
    small.start_anew()

    assert refused.returncode == 1
    assert "No space left" in refused.stderr
    assert "hint: " in refused.stderr
    assert links == []
    assert added.returncode == 0, added.stderr
    assert small.request("GET", "/key").status == 200
