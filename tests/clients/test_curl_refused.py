"""`atl-sign curl` after refusals of the real sandbox, whose answers have as little room for their heads as Tomcat's."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from atl_sign.sandbox import Sandbox, server
from atl_sign.sandbox.call import Call, Site
from atl_sign.sandbox.wire import Answer, Request
from tests.lab import DEADLINE_S, Daemon

LONG = "%20OR%20".join(f"a%3D{number}" for number in range(400))
COMMAND = str(Path(sys.executable).with_name("atl-sign"))


@pytest.fixture
def danced_alone() -> Iterator[tuple[Daemon, Sandbox]]:
    """A daemon and a sandbox of the test's own, for it changes what the sandbox knows."""
    with Sandbox(("jira",)) as sandbox, Daemon() as daemon:
        daemon.dance(sandbox, "jira")
        yield daemon, sandbox


def curl(daemon: Daemon, *words: str) -> str:
    """Return what the command says on standard error."""
    done = subprocess.run(
        [COMMAND, "curl", "--no-progress-meter", "-o", "/dev/null", *words],
        env=daemon.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("is_form", [False, True])
def test_a_refusal_that_does_not_fit_is_told_from_a_failure(danced_alone: tuple[Daemon, Sandbox], is_form: bool) -> None:
    """An empty 500 to a long request may be a refused signature; to a short one it is not, and a good one says nothing."""
    daemon, sandbox = danced_alone
    url = f"{sandbox.base_url('jira')}/rest/api/2/search"

    def ask(jql: str) -> str:
        return curl(daemon, "-d", f"jql={jql}", url) if is_form else curl(daemon, f"{url}?jql={jql}")

    assert ask(LONG) == ""
    consumer = next(iter(sandbox.state.sites["jira"].state.links.values())).consumer
    assert consumer is not None
    consumer.public_key = rsa.generate_private_key(65_537, 2_048).public_key()
    told, short = ask(LONG), ask("a%3D1")

    assert sandbox.state.requests[-2].status == 500
    assert sandbox.state.requests[-2].verdict == sandbox.state.requests[-1].verdict == "signature_invalid"
    assert "500 with an empty body: it may have refused the signature" in told
    assert "hint: atl-sign check jira; if that succeeds, send fewer or shorter parameters\n" in told
    assert "signature_invalid" in short
    assert "500" not in short


def test_a_failure_of_the_product_is_not_taken_for_a_refusal(
    danced_alone: tuple[Daemon, Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twins: an empty 500 to a short request, and a 500 with words to a long one."""
    daemon, sandbox = danced_alone
    url = f"{sandbox.base_url('jira')}/rest/api/2/search?jql="
    body = b""

    def fail(site: Site, request: Request) -> tuple[Answer, Call]:
        return Answer(500, body), Call(site, request, "")

    monkeypatch.setattr(server, "answer", fail)
    assert curl(daemon, f"{url}a%3D1") == ""
    body = b"out of memory"
    assert curl(daemon, f"{url}{LONG}") == ""
    body = b""
    assert "an empty body" in curl(daemon, f"{url}{LONG}")
