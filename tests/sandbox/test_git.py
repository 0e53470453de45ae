"""Bitbucket's repositories below /scm: real git against them, with each scheme that is taken, and with what is refused."""

import gzip
import http.client
import json
import os
import socket
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from atl_sign.sandbox import Sandbox
from atl_sign.sandbox.tokens import PersonalToken
from tests.sandbox.consumer import JSON, Clock, Consumer, KeyPair

CHALLENGE = 'Basic realm="Atlassian Bitbucket"'
UPLOAD = "/scm/web/shop.git/info/refs?service=git-upload-pack"
RECEIVE = "/scm/web/shop.git/info/refs?service=git-receive-pack"


@pytest.fixture
def git(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Git with no settings but its own, in an empty folder; `header` is sent along."""

    def run(*arguments: str, header: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "x",
            "GIT_AUTHOR_EMAIL": "x@example.com",
            "GIT_COMMITTER_NAME": "x",
            "GIT_COMMITTER_EMAIL": "x@example.com",
        }
        given = ["-c", f"http.extraHeader=Authorization: {header}"] if header else []
        return subprocess.run(
            ["git", *given, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def make_token(provider: Sandbox, clock: Clock, *permissions: str, user: str = "alice", days: float = 7) -> PersonalToken:
    tokens = provider.state.sites["bitbucket"].state.tokens
    return tokens.add(user, "test", permissions or ("REPO_WRITE",), clock(), clock() + days * 86_400)


def basic(name: str, password: str) -> str:
    return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


@pytest.fixture
def ask(provider: Sandbox) -> Iterator[Callable[..., http.client.HTTPResponse]]:
    """Send one request to Bitbucket on the one open connection; the answer is read."""
    parts = urlsplit(provider.base_url("bitbucket"))
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 80, timeout=20)

    def send(method: str, path: str, header: str | None = None, body: object = None, **headers: str) -> http.client.HTTPResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if header:
            sent["Authorization"] = header
        connection.request(method, f"{parts.path}{path}", body=body, headers=sent)  # type: ignore[arg-type]  # bytes or an iterator
        answer = connection.getresponse()
        answer.text = answer.read()  # type: ignore[attr-defined]  # beside the answer, for the test
        return answer

    yield send
    connection.close()


@pytest.mark.parametrize("scheme", ["password", "token as password", "bearer"])
def test_clone_fetch_and_push(
    scheme: str, provider: Sandbox, clock: Clock, git: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """By the three schemes that Bitbucket takes (facts 11.1); what is pushed comes back with the next clone."""
    token = make_token(provider, clock).secret
    header = {
        "password": basic("alice", "alice"),
        "token as password": basic("alice", token),
        "bearer": f"Bearer {token}",
    }[scheme]
    url = f"{provider.base_url('bitbucket')}/scm/web/shop.git"

    assert git("clone", "-q", url, "one", header=header).returncode == 0
    assert (tmp_path / "one/src/main.py").read_text() == "def main() -> None:\n    print('Grüße')\n"
    (tmp_path / "one/large").write_bytes(os.urandom(3_000_000))  # past git's own limit of 1 MiB it sends in chunks
    assert git("-C", "one", "add", ".").returncode == 0
    assert git("-C", "one", "commit", "-qm", "large").returncode == 0
    pushed = git("-C", "one", "push", "-q", "origin", "main", header=header)
    assert pushed.returncode == 0, pushed.stderr
    assert git("clone", "-q", url, "two", header=header).returncode == 0
    assert (tmp_path / "two/large").stat().st_size == 3_000_000
    assert git("-C", "one", "fetch", "-q", "origin", "feature/1", header=header).returncode == 0


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        (None, "anonymous"),
        (basic("alice", "wrong"), "wrong password"),
        ("Basic not-base64", "wrong password"),
        ("Bearer wrong", "wrong token"),
        ("Negotiate abc", "anonymous"),
    ],
)
def test_the_wrong_is_challenged(
    header: str | None, verdict: str, provider: Sandbox, ask: Callable[..., http.client.HTTPResponse]
) -> None:
    """With the words that clients match on."""
    answer = ask("GET", UPLOAD, header)

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == CHALLENGE
    assert provider.state.requests[-1].verdict == verdict


def test_a_token_wants_its_owners_name(provider: Sandbox, clock: Clock, ask: Callable[..., http.client.HTTPResponse]) -> None:
    """As a password; as a bearer it needs none (facts 11.2)."""
    token = make_token(provider, clock).secret

    assert ask("GET", UPLOAD, basic("x-token-auth", token)).status == 401
    assert ask("GET", UPLOAD, basic("bob", token)).status == 401
    assert ask("GET", UPLOAD, basic("alice", token)).status == 200


def test_an_expired_token_is_refused(provider: Sandbox, clock: Clock, ask: Callable[..., http.client.HTTPResponse]) -> None:
    """From the moment on that it was made for."""
    token = make_token(provider, clock, days=1).secret

    clock.now += 86_399
    assert ask("GET", UPLOAD, f"Bearer {token}").status == 200
    clock.now += 1
    assert ask("GET", UPLOAD, f"Bearer {token}").status == 401


def test_a_deactivated_users_token_is_refused(
    provider: Sandbox, clock: Clock, ask: Callable[..., http.client.HTTPResponse]
) -> None:
    """Like its password."""
    token = make_token(provider, clock).secret
    provider.state.sites["bitbucket"].state.users["alice"].is_active = False

    assert ask("GET", UPLOAD, f"Bearer {token}").status == 401
    assert ask("GET", UPLOAD, basic("alice", token)).status == 401


def test_a_signature_counts_for_nothing(
    danced: Callable[[str], Consumer], provider: Sandbox, ask: Callable[..., http.client.HTTPResponse]
) -> None:
    """Signed well enough for REST, and nobody below /scm (facts 11.1)."""
    consumer = danced("bitbucket")
    header = consumer.sign("GET", f"{provider.base_url('bitbucket')}{UPLOAD}")["Authorization"]

    answer = ask("GET", UPLOAD, header)

    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, CHALLENGE)
    assert provider.state.requests[-1].verdict == "signature ignored"


def test_permissions_of_a_token(provider: Sandbox, clock: Clock, ask: Callable[..., http.client.HTTPResponse]) -> None:
    """REPO_READ reads and does not write; what an administrator of repositories may, includes both."""
    read, admin = make_token(provider, clock, "REPO_READ").secret, make_token(provider, clock, "REPO_ADMIN").secret

    assert ask("GET", UPLOAD, f"Bearer {read}").status == 200
    refused = ask("GET", RECEIVE, f"Bearer {read}")
    assert refused.status == 403
    assert "REPO_WRITE" in refused.text.decode()  # type: ignore[attr-defined]
    assert ask("POST", "/scm/web/shop.git/git-receive-pack", f"Bearer {read}", b"0000").status == 403
    assert ask("GET", RECEIVE, f"Bearer {admin}").status == 200


def test_public_repositories(ask: Callable[..., http.client.HTTPResponse]) -> None:
    """Everybody reads them, nobody in particular writes, and no name is told to nobody."""
    assert ask("GET", "/scm/pub/docs.git/info/refs?service=git-upload-pack").status == 200
    assert ask("GET", "/scm/pub/docs.git/info/refs?service=git-receive-pack").status == 401
    assert ask("GET", "/scm/web/nothing.git/info/refs?service=git-upload-pack").status == 401
    missing = ask("GET", "/scm/web/nothing.git/info/refs?service=git-upload-pack", basic("bob", "bob"))
    assert missing.status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/scm/web/shop.git/HEAD"),
        ("GET", "/scm/web/shop.git/info/refs"),
        ("GET", "/scm/web/shop.git/info/refs?service=git-daemon"),
        ("GET", "/scm/web/shop.git/git-upload-pack"),
        ("POST", "/scm/web/shop.git/info/refs?service=git-upload-pack"),
        ("GET", "/scm/web/../../../etc/passwd"),
    ],
)
def test_nothing_else_is_there(method: str, path: str, ask: Callable[..., http.client.HTTPResponse]) -> None:
    """Git's old protocol without a program on the server neither."""
    assert ask(method, path, basic("alice", "alice")).status == 404


def ls_refs() -> bytes:
    """A request of protocol 2 (gitprotocol-v2, "ls-refs"): packets with their length in hex."""
    lines = [b"command=ls-refs\n", None, b"ref-prefix refs/heads/\n"]
    return b"".join(b"0001" if line is None else b"%04x%b" % (len(line) + 4, line) for line in lines) + b"0000"


@pytest.mark.parametrize("way", ["length", "chunked", "gzip"])
def test_a_body_may_come_in_every_way(way: str, ask: Callable[..., http.client.HTTPResponse]) -> None:
    """With a length, in chunks, compressed; and the connection is good for the next request."""
    headers = {
        "Git_Protocol": "version=2",
        "Content_Type": "application/x-git-upload-pack-request",
    }
    body: object = ls_refs()
    if way == "gzip":
        body, headers["Content_Encoding"] = gzip.compress(ls_refs()), "gzip"
    elif way == "chunked":
        body = iter([ls_refs()[:7], ls_refs()[7:]])

    for _ in range(2):
        answer = ask("POST", "/scm/web/shop.git/git-upload-pack", basic("alice", "alice"), body, **headers)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/x-git-upload-pack-result"
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert b"refs/heads/main\n" in answer.text  # type: ignore[attr-defined]
        if way == "chunked":
            body = iter([ls_refs()])


def test_a_broken_body_ends_the_connection(provider: Sandbox) -> None:
    """Nobody knows where the next request would begin."""
    parts = urlsplit(provider.base_url("bitbucket"))
    with socket.create_connection((str(parts.hostname), parts.port or 80), timeout=20) as peer:
        peer.sendall(
            b"POST /bitbucket/scm/pub/docs.git/git-upload-pack HTTP/1.1\r\nHost: x\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"
        )
        answer = b""
        while piece := peer.recv(65_536):
            answer += piece

    assert not answer.endswith(b"0\r\n\r\n")


def test_http_1_0_gets_no_chunks(provider: Sandbox) -> None:
    """The end of the body is that of the connection."""
    parts = urlsplit(provider.base_url("bitbucket"))
    with socket.create_connection((str(parts.hostname), parts.port or 80), timeout=20) as peer:
        peer.sendall(b"GET /bitbucket/scm/pub/docs.git/info/refs?service=git-upload-pack HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := peer.recv(65_536):
            answer += piece

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"Connection: close" in head
    assert body.endswith(b"0000")


def test_without_git_it_says_so(
    provider: Sandbox, ask: Callable[..., http.client.HTTPResponse], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """501, and everything else works."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert ask("GET", "/scm/pub/docs.git/info/refs?service=git-upload-pack").status == 501
    assert ask("GET", "/status").status == 200


def test_the_administrators_maximum(clock: Clock, key_pair: KeyPair) -> None:
    """More days than that are refused by name, as many are not."""
    with Sandbox(["bitbucket"], clock=clock, token_days_max=3) as strict:
        consumer = Consumer(strict, "bitbucket", key_pair, clock)
        consumer.dance()
        replies = [
            consumer.call(
                "PUT",
                "/rest/access-tokens/1.0/users/alice",
                json.dumps({"name": "x", "permissions": ["REPO_READ"], "expiryDays": days}),
                JSON,
            )
            for days in (4, 3)
        ]

    assert [reply.status for reply in replies] == [400, 200]
    assert "from 1 to 3" in replies[0].text
