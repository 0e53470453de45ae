"""`/git-credential/…` over the real socket: git's text in and out, one token for everybody, and whose matter it is."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from atl_sign.sandbox import Sandbox
from atl_sign.sandbox.tokens import PersonalToken
from tests.fork_server import ForkServer
from tests.lab import Daemon, Reply, wait_for


@pytest.fixture
def bitbucket() -> Iterator[Sandbox]:
    """A Bitbucket and a Jira of the test's own."""
    with Sandbox() as started:
        yield started


@pytest.fixture
def ready(daemon: Daemon, bitbucket: Sandbox) -> Daemon:
    """A daemon that may sign for alice there."""
    daemon.dance(bitbucket, "bitbucket")
    daemon.link(bitbucket, "jira")
    return daemon


def host_of(sandbox: Sandbox) -> str:
    return sandbox.base_url("bitbucket").split("/")[2]


def ask(daemon: Daemon, operation: str, lines: str, link: str | None = None) -> Reply:
    path = f"/git-credential/{operation}" + (f"?link={link}" if link else "")
    return daemon.request("POST", path, lines.encode(), text=True, headers={"Content-Type": "text/plain"})


def describe(sandbox: Sandbox, *more: str) -> str:
    return "\n".join(["protocol=http", f"host={host_of(sandbox)}", *more, ""])


def fields_of(reply: Reply) -> dict[str, str]:
    assert reply.status == 200, reply.text
    return dict(line.split("=", 1) for line in reply.text.splitlines())


def tokens_of(sandbox: Sandbox, user: str = "alice") -> list[PersonalToken]:
    found: list[PersonalToken] = sandbox.state.sites["bitbucket"].state.tokens.of_user(user)
    return found


def count_made(sandbox: Sandbox) -> int:
    return sum(received.method == "PUT" and b"access-tokens" in received.target for received in sandbox.state.requests)


def test_get_for_an_older_git(ready: Daemon, bitbucket: Sandbox) -> None:
    """User, password and when it ends."""
    fields = fields_of(ask(ready, "get", describe(bitbucket)))

    (token,) = tokens_of(bitbucket)
    assert fields.keys() == {"username", "password", "password_expiry_utc"}
    assert (fields["username"], fields["password"]) == ("alice", token.secret)
    assert token.expires_at is not None
    assert abs(int(fields["password_expiry_utc"]) - token.expires_at) < 5


def test_get_for_git_2_46(ready: Daemon, bitbucket: Sandbox) -> None:
    """The capability first, then scheme and credential, which git is not to keep (git-credential(1))."""
    reply = ask(ready, "get", f"capability[]=authtype\ncapability[]=state\n{describe(bitbucket)}")

    (token,) = tokens_of(bitbucket)
    assert reply.text.splitlines()[:4] == [
        "capability[]=authtype",
        "authtype=Bearer",
        f"credential={token.secret}",
        "ephemeral=1",
    ]
    assert set(fields_of(reply)) == {"capability[]", "authtype", "credential", "ephemeral", "password_expiry_utc"}


def test_capability(ready: Daemon) -> None:
    """As `git credential-… capability` prints it."""
    assert ask(ready, "capability", "").text == "version 0\ncapability authtype\n"


@pytest.mark.parametrize("operation", ["store", "reject", "approve", "nonsense"])
def test_what_is_stored_or_unknown_is_ignored(operation: str, ready: Daemon, bitbucket: Sandbox) -> None:
    """Whatever it holds."""
    reply = ask(ready, operation, describe(bitbucket, "username=alice", "password=canary"))

    assert (reply.status, reply.text) == (200, "")
    assert count_made(bitbucket) == 0


@pytest.mark.parametrize(
    "lines",
    [
        "protocol=https\nhost=github.com\n",
        "protocol=https\nhost=HOST\n",
        "protocol=http\nhost=HOST\npath=jira/x.git\n",
        "protocol=http\nhost=HOST\npath=elsewhere/scm/x.git\n",
        "protocol=http\nhost=HOST\nusername=bob\n",
        "protocol=http\nhost=127.0.0.1\n",
        "",
    ],
)
def test_another_helpers_matter(lines: str, ready: Daemon, bitbucket: Sandbox) -> None:
    """No answer, no token made, nothing asked: another host, port, scheme, product, path or user."""
    reply = ask(ready, "get", lines.replace("HOST", host_of(bitbucket)))

    assert (reply.status, reply.text) == (200, "")
    assert count_made(bitbucket) == 0


def test_many_at_once_make_one(ready: Daemon, bitbucket: Sandbox) -> None:
    """More than the daemon has threads, with and without the capability; all get the same."""
    secrets: list[str] = []

    def run(number: int) -> None:
        fields = fields_of(ask(ready, "get", ("capability[]=authtype\n" if number % 2 else "") + describe(bitbucket)))
        secrets.append(fields.get("credential") or fields["password"])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(secrets) == 60
    assert len(set(secrets)) == 1
    assert count_made(bitbucket) == 1


def test_others_are_answered_while_a_provider_is_slow(ready: Daemon, bitbucket: Sandbox) -> None:
    """Sixty who wait for one token hold no thread that others need."""
    fields_of(ask(ready, "get", describe(bitbucket)))  # so that the product is known
    ready.request("DELETE", "/links/bitbucket/token")
    ready.dance(bitbucket, "bitbucket")
    replies: list[Reply] = []
    bitbucket._lock.acquire()
    try:
        threads = [threading.Thread(target=lambda: replies.append(ask(ready, "get", describe(bitbucket)))) for _ in range(60)]
        for thread in threads:
            thread.start()
        assert ready.request("GET", "/status").status == 200
        assert ready.request("GET", "/links").status == 200
        assert replies == []
    finally:
        bitbucket._lock.release()
    for thread in threads:
        thread.join(30)
    assert len({reply.text for reply in replies}) == 1


def test_erase_drops_that_very_one(ready: Daemon, bitbucket: Sandbox) -> None:
    """By password or credential; the next get makes a new one, and the old one is gone at the provider."""
    first = fields_of(ask(ready, "get", describe(bitbucket)))["password"]

    for wrong in ("password=other", f"password={first}x", "credential=", "username=alice"):
        ask(ready, "erase", describe(bitbucket, wrong))
    ask(ready, "erase", f"protocol=https\nhost=github.com\npassword={first}\n")
    assert fields_of(ask(ready, "get", describe(bitbucket)))["password"] == first
    assert ask(ready, "erase", describe(bitbucket, f"password={first}")).text == ""
    second = fields_of(ask(ready, "get", describe(bitbucket)))["password"]
    assert second != first
    assert [token.secret for token in tokens_of(bitbucket)] == [second]
    ask(ready, "erase", describe(bitbucket, "authtype=Bearer", f"credential={second}"))
    assert fields_of(ask(ready, "get", describe(bitbucket)))["password"] not in (first, second)


def test_without_a_dance_there_is_a_hint(daemon: Daemon, bitbucket: Sandbox) -> None:
    """In the shape of every failure; git's helper tells it on standard error."""
    daemon.link(bitbucket, "bitbucket")

    reply = daemon.request("POST", "/git-credential/get", describe(bitbucket).encode())

    assert (reply.status, reply.code, reply.hint) == (409, "dance_needed", "atl-sign dance bitbucket")


def test_two_bitbuckets_on_one_host(daemon: Daemon) -> None:
    """Told apart by the path or by the link's name; with neither it is refused rather than guessed."""
    with Sandbox(["bitbucket"], context_path="/") as sandbox:
        daemon.dance(sandbox, "bitbucket")
        base = sandbox.base_url("bitbucket")
        # The second is the same server by another path: what counts is what the daemon knows of them.
        reply = daemon.request("PUT", "/links/second", {"url": base, "consumer_key": "second"})
        assert reply.status == 201
        lines = describe(sandbox)

        for more in ("", "path=scm/web/shop.git\n"):
            ambiguous = ask(daemon, "get", lines + more)
            assert (ambiguous.status, ambiguous.text.splitlines()) == (
                409,
                ["several links could be meant: bitbucket, second", "hint: atl-sign git setup bitbucket"],
            )
        assert fields_of(ask(daemon, "get", lines, "bitbucket"))["username"] == "alice"
        assert ask(daemon, "get", lines, "second").text.startswith("no access token for link second")
        assert ask(daemon, "get", "protocol=http\nhost=elsewhere\n", "bitbucket").text == ""
        assert ask(daemon, "get", lines, "nobody").status == 404
        assert ask(daemon, "get", lines, "a%0ab").status == 422


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"host=a\rb\n", 400),
        (b"host=a\0b\n", 400),
        (b"nonsense\n", 400),
        (b"path=" + b"x" * 70_000, 400),
        (b"\xff\n", 400),
        (b"x" * (1 << 20) + b"x", 413),
    ],
)
def test_broken_text(body: bytes, status: int, ready: Daemon) -> None:
    """Is refused in the one shape."""
    for operation in ("get", "erase", "store"):
        reply = ready.request("POST", f"/git-credential/{operation}", body)
        assert reply.status == status
        assert reply.json["error"]["code"] in ("bad_request", "too_large")


def test_bytes_that_are_not_utf_8(ready: Daemon, bitbucket: Sandbox) -> None:
    """In an attribute that is not known they change nothing; another user, path or secret is another one, and no failure."""
    lines = describe(bitbucket).encode()
    given = fields_of(ask(ready, "get", describe(bitbucket)))

    assert fields_of(ready.request("POST", "/git-credential/get", lines + b'wwwauth[]=Basic realm="B\xfccher"\n')) == given
    for other in (b"username=Andr\xe9\n", b"path=scm/B\xfccher.git\n", b"host=B\xfccher.example\n"):
        reply = ready.request("POST", "/git-credential/get", lines + other)
        assert (reply.status, reply.text) == (200, ""), other
    assert ready.request("POST", "/git-credential/erase", lines + b"password=\xff\xfe\n").status == 200
    assert fields_of(ask(ready, "get", describe(bitbucket))) == given


def test_logout_revokes_it(ready: Daemon, bitbucket: Sandbox) -> None:
    """At the provider too; afterwards there is nothing to make another with."""
    fields_of(ask(ready, "get", describe(bitbucket)))

    reply = ready.request("DELETE", "/links/bitbucket/token")

    assert (reply.json["git_token"], reply.json["git_left"]) == ("revoked", [])
    assert tokens_of(bitbucket) == []
    assert ask(ready, "get", describe(bitbucket)).status == 409
    again = ready.request("DELETE", "/links/bitbucket/token")
    assert (again.json["git_token"], again.json["git_left"]) == ("none", [])


def test_logout_can_keep_it(ready: Daemon, bitbucket: Sandbox) -> None:
    """Then git goes on until it ends."""
    first = fields_of(ask(ready, "get", describe(bitbucket)))["password"]

    reply = ready.request("DELETE", "/links/bitbucket/token?keep_git_token=true", text=True)

    assert "kept the token for git" in reply.text
    assert fields_of(ask(ready, "get", describe(bitbucket)))["password"] == first
    assert len(tokens_of(bitbucket)) == 1
    assert ready.request("DELETE", "/links/jira/token?keep_git_token=true").json["git_token"] == "none"


@pytest.mark.parametrize("way", ["logout", "remove", "move"])
def test_a_provider_that_is_away_keeps_nothing_here(way: str, daemon: Daemon) -> None:
    """The tokens go from this machine, and the answer names what is left to revoke."""
    with Sandbox(["bitbucket"]) as sandbox:
        daemon.dance(sandbox, "bitbucket")
        lines = describe(sandbox)
        fields_of(ask(daemon, "get", lines))
        (token,) = tokens_of(sandbox)
        sandbox.stop()

        if way == "logout":
            reply = daemon.request("DELETE", "/links/bitbucket/token", text=True)
        elif way == "remove":
            reply = daemon.request("DELETE", "/links/bitbucket", text=True)
        else:
            reply = daemon.request("PUT", "/links/bitbucket", {"url": "http://127.0.0.1:9"}, text=True)

        assert reply.status == 200
        assert token.name in reply.text
        assert ask(daemon, "get", lines).status == (409 if way == "logout" else 200)
        assert "password" not in ask(daemon, "get", lines).text


def test_removing_and_moving_a_link_revokes(ready: Daemon, bitbucket: Sandbox) -> None:
    """What the link could do goes with it."""
    fields_of(ask(ready, "get", describe(bitbucket)))
    moved = ready.request("PUT", "/links/bitbucket", {"url": bitbucket.base_url("bitbucket"), "consumer_key": "other"})
    assert moved.json["warnings"] == []
    assert tokens_of(bitbucket) == []
    ready.dance(bitbucket, "bitbucket")
    fields_of(ask(ready, "get", describe(bitbucket)))
    assert ready.request("DELETE", "/links/bitbucket", text=True).text == "removed link bitbucket\n"

    assert tokens_of(bitbucket) == []


def test_killed_while_it_is_made(bitbucket: Sandbox, fork_server: ForkServer) -> None:
    """kill -9 after the provider made it and before the daemon kept it: the next start removes the orphan."""
    from tests.keyring_lab import KeyringLab

    with KeyringLab() as keyring, Daemon(fork_server, ATL_SIGN_STORE="secret-service", **keyring.env) as daemon:
        daemon.dance(bitbucket, "bitbucket")
        tokens: Any = bitbucket.state.sites["bitbucket"].state.tokens
        add = tokens.add

        def kill_first(*arguments: object) -> PersonalToken:
            token: PersonalToken = add(*arguments)
            assert daemon.process is not None
            daemon.process.kill()
            daemon.process.wait(10)
            return token

        tokens.add = kill_first
        with pytest.raises((ConnectionError, AssertionError)):
            ask(daemon, "get", describe(bitbucket))
        wait_for(lambda: len(tokens_of(bitbucket)) == 1)
        (orphan,) = tokens_of(bitbucket)
        tokens.add = add
        assert daemon.process is not None
        daemon.process.wait(10)  # until then its socket still takes connections
        daemon.process = None

        daemon.start()
        secret = fields_of(ask(daemon, "get", describe(bitbucket)))["password"]
        assert [token.secret for token in tokens_of(bitbucket)] == [secret]
        assert secret != orphan.secret

        daemon.stop()
        daemon.start()
        assert fields_of(ask(daemon, "get", describe(bitbucket)))["password"] == secret
        assert count_made(bitbucket) == 2


def test_settings_travel(daemon: Daemon, bitbucket: Sandbox) -> None:
    """In the file, in JSON and as a form; what is not set is null."""
    url = bitbucket.base_url("bitbucket")
    reply = daemon.request("PUT", "/links/bb", {"url": url, "git": "read", "git_days": "14"}, form=True)
    assert (reply.json["git"], reply.json["git_days"]) == ("read", 14)
    assert 'git = "read"\ngit_days = 14\n' in daemon.config.read_text()
    reply = daemon.request("PUT", "/links/bb", {"url": url})
    assert (reply.json["git"], reply.json["git_days"]) == (None, None)
    assert "git" not in daemon.config.read_text().replace("bitbucket", "")
    for wrong in ({"git": "all"}, {"git_days": 91}, {"git_days": 0}):
        assert daemon.request("PUT", "/links/bb", {"url": url, **wrong}).status == 422
