"""The clients with tokens instead of signatures: pasted at the command line, sent where they are good, hidden when shown."""

import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests

from atl_sign.sandbox import Cloud, Sandbox
from atl_sign_client import AtlSign, AtlSignAuth, AtlSignHTTPXAuth
from tests.lab import REPOSITORY, Daemon

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"
NODE_CLIENT = REPOSITORY / "clients/node/index.js"


@pytest.fixture
def own() -> Iterator[Sandbox]:
    with Sandbox(["jira"]) as sandbox:
        yield sandbox


@pytest.fixture
def scoped(daemon: Daemon) -> Iterator[Cloud]:
    """A site of the Cloud, to which the daemon has a scoped token."""
    with Cloud() as cloud:
        token = cloud.make_token("alice@example.com", scopes=["read:jira-user", "read:jira-work"])
        run(daemon, "link", "add", "cloud", cloud.url("site"), "--scheme", "basic", "--user", "alice@example.com",
            "--gateway", cloud.url("gateway"))  # fmt: skip
        danced = run(daemon, "dance", "cloud", "--expires", "2031-03-01", stdin=f"{token.secret}\n")
        assert danced.returncode == 0, danced.stderr
        yield cloud


def run(daemon: Daemon, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(ATL_SIGN), *arguments], env=daemon.environment, input=stdin, capture_output=True, text=True, timeout=60
    )


def test_a_token_from_standard_input(own: Sandbox, daemon: Daemon) -> None:
    """Into no argument and no environment; what it is then good for."""
    token = own.make_token("jira", "alice", days=30)
    added = run(daemon, "link", "add", "jira", own.base_url("jira"), "--scheme", "bearer")
    assert added.returncode == 0, added.stderr
    assert added.stdout.endswith("\nThen: atl-sign dance jira\n")
    assert daemon.request("GET", "/key").code == "key_missing"  # no key is made for it

    danced = run(daemon, "dance", "jira", stdin=f"  {token.secret} \n")

    assert danced.returncode == 0, danced.stderr
    assert "Make a token on this page:" in danced.stderr
    assert danced.stderr.endswith("signed in as alice at jira\n")
    assert token.secret not in danced.stdout + danced.stderr
    url = f"{own.base_url('jira')}/rest/api/2/myself"
    assert run(daemon, "header", "GET", url).stdout == f"Authorization: Bearer {token.secret}\n"
    shown = run(daemon, "curl", "-sv", url)
    assert shown.returncode == 0, shown.stderr
    assert '"name": "alice"' in shown.stdout
    assert "Authorization: Bearer ***" in shown.stderr
    assert token.secret not in shown.stderr


@pytest.mark.parametrize("stdin", ["", "\n", "wrong-token-0123\n"])
def test_no_good_token_from_standard_input(stdin: str, own: Sandbox, daemon: Daemon) -> None:
    """The dance is cancelled, so that none waits for an answer that nobody will bring."""
    run(daemon, "link", "add", "jira", own.base_url("jira"), "--scheme", "bearer")

    refused = run(daemon, "dance", "jira", stdin=stdin)

    assert refused.returncode == 1
    assert "no token was given; the dance is cancelled" in refused.stderr
    assert daemon.request("GET", "/status").json["dances"] == 0


def test_a_token_is_not_shown_on_a_terminal(own: Sandbox, daemon: Daemon) -> None:
    """It is read without echo."""
    token = own.make_token("jira", "alice")
    run(daemon, "link", "add", "jira", own.base_url("jira"), "--scheme", "bearer")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(ATL_SIGN, [str(ATL_SIGN), "dance", "jira"], daemon.environment)
    seen = b""
    while b"it is not shown" not in seen:
        seen += os.read(terminal, 4096)
    os.write(terminal, token.secret.encode() + b"\n")
    try:
        while True:
            seen += os.read(terminal, 4096)
    except OSError:  # the other side is closed
        pass
    os.close(terminal)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"signed in as alice at jira" in seen
    assert token.secret.encode() not in seen


def test_an_end_is_only_for_a_token(own: Sandbox, daemon: Daemon) -> None:
    """A signature's end is the product's word."""
    daemon.link(own, "jira")

    refused = run(daemon, "dance", "jira", "--oob", "--expires", "2031-03-01")

    assert refused.returncode == 2
    assert "--expires is for a token that is pasted" in refused.stderr
    assert daemon.request("GET", "/status").json["dances"] == 0


def test_the_clients_send_a_scoped_token_to_the_gateway(scoped: Cloud, daemon: Daemon) -> None:
    """The caller's own line names the site, which would refuse it."""
    client = AtlSign(socket_path=str(daemon.socket))
    url = f"{scoped.url('site')}/rest/api/3/myself"

    by_requests = requests.get(url, auth=AtlSignAuth(str(daemon.socket)), timeout=10)
    by_httpx = httpx.get(url, auth=AtlSignHTTPXAuth(str(daemon.socket)), timeout=10)

    for answer in (by_requests, by_httpx):
        assert answer.status_code == 200
        assert str(answer.url).startswith(f"{scoped.url('gateway')}/ex/jira/{scoped.cloud_id}/")
    signed = client.sign("GET", url)
    assert requests.get(url, headers={"Authorization": str(signed)}, timeout=10).status_code == 401


def test_node_sends_a_scoped_token_to_the_gateway(scoped: Cloud, daemon: Daemon, tmp_path: Path) -> None:
    """The global fetch, signed."""
    node = shutil.which("node")
    assert node is not None
    script = tmp_path / "ask.mjs"
    script.write_text(
        f"import {{AtlSign}} from {str(NODE_CLIENT)!r};\n"
        f"const client = new AtlSign({{socketPath: {str(daemon.socket)!r}}});\n"
        f"const answer = await client.fetch('{scoped.url('site')}/rest/api/3/project?expand=lead');\n"
        "console.log(answer.status, answer.url);\n"
    )

    done = subprocess.run([node, str(script)], capture_output=True, text=True, timeout=60, env=daemon.environment)

    assert done.stdout == f"200 {scoped.url('gateway')}/ex/jira/{scoped.cloud_id}/rest/api/3/project?expand=lead\n", done.stderr


def test_curl_says_where_a_scoped_token_is_good(scoped: Cloud, daemon: Daemon) -> None:
    """Nothing is sent to the site, which would refuse it."""
    url = f"{scoped.url('site')}/rest/api/3/myself"
    before = len(scoped.state.requests)

    refused = run(daemon, "curl", "-s", url)

    assert refused.returncode == 125
    assert "good at Atlassian's gateway only" in refused.stderr
    assert f"send it there: {scoped.url('gateway')}/ex/jira/{scoped.cloud_id}/rest/api/3/myself" in refused.stderr
    assert len(scoped.state.requests) == before
