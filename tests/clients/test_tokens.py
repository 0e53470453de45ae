"""The clients with tokens instead of signatures: pasted at the command line, sent where they are good, hidden when shown."""

import os
import pty
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import httpx
import pytest
import requests

from atl_sign.sandbox import Cloud, Sandbox
from atl_sign_client import AtlSign, AtlSignAuth, AtlSignHTTPXAuth
from tests.clients.person import Person
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


def run(daemon: Daemon, *arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """Without a terminal."""
    return subprocess.run(
        [str(ATL_SIGN), *arguments],
        env={**daemon.environment, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
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
    assert "Bearer" not in shown.stderr  # curl does not have it
    assert token.secret not in shown.stderr


@pytest.mark.parametrize(
    ("stdin", "ending"),
    [
        ("", "no token was given"),
        ("\n", "no token was given"),
        ("wrong-token-0123\n", "or begin again: atl-sign dance jira\natl-sign: no other token was given"),
    ],
)
def test_no_good_token_from_standard_input(stdin: str, ending: str, own: Sandbox, daemon: Daemon) -> None:
    """The dance is cancelled, so that none waits for an answer that nobody will bring."""
    run(daemon, "link", "add", "jira", own.base_url("jira"), "--scheme", "bearer")

    refused = run(daemon, "dance", "jira", stdin=stdin)

    assert refused.returncode == 1
    assert refused.stderr.endswith(f"{ending}; the dance is cancelled\n")
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


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-G", "-d", "expand=lead"),
        ("--url-query", "expand=lead"),
        ("-L", "--retry", "1"),
        ("-o", "/dev/null", "-w", "%{http_code}"),
    ],
)
def test_curl_sends_a_scoped_token_to_the_gateway(options: tuple[str, ...], scoped: Cloud, daemon: Daemon) -> None:
    """With the query that the line makes, and once; the twin: the site itself is asked for nothing."""
    before = len(scoped.state.requests)

    sent = run(daemon, "curl", "-sS", *options, f"{scoped.url('site')}/rest/api/3/project?maxResults=5")

    assert sent.returncode == 0, sent.stderr
    assert "WEB" in sent.stdout or sent.stdout == "200"
    (request,) = scoped.state.requests[before:]
    query = "?maxResults=5&expand=lead" if "expand=lead" in options else "?maxResults=5"
    assert (request.product, request.status) == ("gateway", 200)
    assert request.target.decode() == f"/ex/jira/{scoped.cloud_id}/rest/api/3/project{query}"


def test_a_scoped_token_is_good_at_the_gateways_own_address(scoped: Cloud, daemon: Daemon) -> None:
    """Every client, as it is written there; the twin: another site's address at the same gateway."""
    base = f"{scoped.url('gateway')}/ex/jira/{scoped.cloud_id}"

    answer = run(daemon, "curl", "-sS", f"{base}/rest/api/3/myself")

    assert '"accountId"' in answer.stdout, answer.stderr
    assert requests.get(f"{base}/rest/api/3/myself", auth=AtlSignAuth(str(daemon.socket)), timeout=10).status_code == 200
    assert httpx.get(f"{base}/rest/api/3/myself", auth=AtlSignHTTPXAuth(str(daemon.socket)), timeout=10).status_code == 200
    assert run(daemon, "curl", "--link", "cloud", "-sS", f"{base}/rest/api/3/myself").returncode == 0
    refused = run(daemon, "curl", "-sS", f"{scoped.url('gateway')}/ex/jira/another/rest/api/3/myself")
    assert (refused.returncode, "no application link covers this URL" in refused.stderr) == (125, True)


@pytest.mark.parametrize("client", ["curl", "requests", "httpx", "node"])
@pytest.mark.parametrize("location", ["project", "/ex/jira/{id}/rest/api/3/project", "{gateway}/ex/jira/{id}/rest/api/3/project"])
def test_a_redirect_inside_the_gateway_is_authorized(client: str, location: str, daemon: Daemon, tmp_path: Path) -> None:
    """Each hop; the twin: one that leads out of the gateway's part for this site goes without the token."""
    with Cloud() as cloud, Gateway(cloud) as gateway:
        token = cloud.make_token("alice@example.com", scopes=["read:jira-user", "read:jira-work"])
        added = run(daemon, "link", "add", "cloud", cloud.url("site"), "--scheme", "basic", "--user", "alice@example.com",
                    "--gateway", gateway.url)  # fmt: skip
        assert run(daemon, "dance", "cloud", stdin=f"{token.secret}\n").returncode == 0, added.stderr
        gateway.seen.clear()
        for gateway.location, is_authorized in ((location, True), ("{gateway}/elsewhere", False)):
            ask(client, daemon, f"{cloud.url('site')}/rest/api/3/moved", tmp_path)
            first, second = gateway.seen[-2:]
            assert first == (f"/ex/jira/{cloud.cloud_id}/rest/api/3/moved", True)
            assert second[1] == is_authorized, gateway.seen


def ask(client: str, daemon: Daemon, url: str, folder: Path) -> None:
    """Follow redirects from *url*."""
    if client == "curl":
        run(daemon, "curl", "-sSL", url)
    elif client == "requests":
        requests.get(url, auth=AtlSignAuth(str(daemon.socket)), timeout=10)
    elif client == "httpx":
        httpx.get(url, auth=AtlSignHTTPXAuth(str(daemon.socket)), timeout=10, follow_redirects=True)
    else:
        node = shutil.which("node")
        assert node is not None
        script = folder / "ask.mjs"
        script.write_text(
            f"import {{AtlSign}} from {str(NODE_CLIENT)!r};\n"
            f"await new AtlSign({{socketPath: {str(daemon.socket)!r}}}).fetch('{url}');\n"
        )
        subprocess.run([node, str(script)], check=True, capture_output=True, timeout=60, env=daemon.environment)


class Gateway(ThreadingHTTPServer):
    """A gateway before the sandbox's, which moves some of its addresses."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.location = ""
        self.seen: list[tuple[str, bool]] = []  # each path, and whether the request had credentials
        super().__init__(("127.0.0.1", 0), MovingHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()


class MovingHandler(BaseHTTPRequestHandler):
    """Answers for `Gateway`."""

    server: Gateway

    def do_GET(self) -> None:
        """Move what ends with /moved; let the sandbox's gateway answer the rest."""
        own = self.server
        authorization = self.headers["Authorization"]
        own.seen.append((self.path, authorization is not None))
        if self.path.endswith("/moved"):
            self.send_response(302)
            self.send_header("Location", own.location.format(id=own.cloud.cloud_id, gateway=own.url))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = requests.get(own.cloud.url("gateway") + self.path, headers=headers, timeout=10)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def test_a_program_asks_for_a_token_where_standard_input_has_none(own: Sandbox, daemon: Daemon) -> None:
    """The one that SSH_ASKPASS names, with a question that names the link; the twin: one that is cancelled."""
    token = own.make_token("jira", "alice")
    run(daemon, "link", "add", "jira", own.base_url("jira"), "--scheme", "bearer")
    program, secret, asked = (daemon.folder / name for name in ("ask", "secret", "asked"))
    secret.write_text(f"{token.secret}\n")
    program.write_text(f'#!/bin/bash\nprintf %s "$1" >"{asked}"\ncat "{secret}"\n')
    program.chmod(0o755)

    danced = run(daemon, "dance", "jira", SSH_ASKPASS=str(program))

    assert danced.returncode == 0, danced.stderr
    assert danced.stderr.endswith("signed in as alice at jira\n")
    assert asked.read_text() == "The token for link jira: "
    assert token.secret not in danced.stdout + danced.stderr
    asked.unlink()
    wrong = run(daemon, "dance", "jira", stdin="wrong-token-0123\n", SSH_ASKPASS=str(program))
    assert (wrong.returncode, asked.exists()) == (1, False)  # standard input did bring one
    cancelled = run(daemon, "dance", "jira", SSH_ASKPASS="/bin/false")
    assert cancelled.returncode == 1
    assert "no token was given; the dance is cancelled" in cancelled.stderr


def test_a_token_is_not_printed_to_a_terminal(daemon: Daemon) -> None:
    """By the command that the shell calls for it."""
    person = Person(["atl-signd", "ask", "The token"], daemon.environment)

    assert person.finish() == 1
    assert "the answer is not for a terminal to show" in person.seen
