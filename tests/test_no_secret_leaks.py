"""Promise 1: canary secrets go down every path, and then everything that leaves the daemon is searched for them."""

import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atl_sign.access.decision import Rules
from atl_sign.access.lease import Lease, Terms
from atl_sign.access.presets.loading import parse_rules
from atl_sign.base.credentials import Secret
from atl_sign.custody.keys.software import make_private_key
from atl_sign.proxy.certificates import Authority
from atl_sign.sandbox import Sandbox
from atl_sign.schemes.oauth1.tokens import AccessToken, RequestToken
from tests.api.test_dance import begin, visit
from tests.lab import Daemon, Reply, revoke_tokens, secrets_of
from tests.lease_lab import ask

CANARY = "canary-7f3a9c"


class Trail:
    """Everything that came out of one daemon, but for the signed headers that were asked for."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.texts: list[str] = []

    def request(self, *arguments: object, **options: object) -> Reply:
        reply = self.daemon.request(*arguments, **options)  # type: ignore[arg-type]  # passed on as it is
        self.texts.append(reply.text + str(reply.headers))
        return reply

    def search(self, secrets: set[str]) -> list[str]:
        """Return where one of *secrets* stands: replies, log, argv, environment, files."""
        assert self.daemon.process is not None
        process = Path(f"/proc/{self.daemon.process.pid}")
        places = {f"reply {number}": text for number, text in enumerate(self.texts)}
        places["argv"] = (process / "cmdline").read_text()
        places["environ"] = (process / "environ").read_text()
        for path in self.daemon.folder.rglob("*"):
            if path.is_file() and not path.is_socket():
                places[str(path.relative_to(self.daemon.folder))] = path.read_text(errors="replace")
        return [place for place, text in places.items() if any(secret in text for secret in secrets)]


@pytest.fixture
def trail(sandbox: Sandbox) -> Iterator[Trail]:
    with Daemon() as daemon:
        yield Trail(daemon)


def test_nothing_that_leaves_holds_a_secret(trail: Trail, sandbox: Sandbox) -> None:
    """Dances by both ways, wrong codes, checks, refusals, a revoked token, broken requests: none of it shows a secret."""
    daemon, secrets = trail.daemon, set()
    daemon.link(sandbox, "jira")
    for callback in ("oob", "loopback"):
        begun = begin(daemon, callback)
        secrets.add(begun["authorize_url"].partition("oauth_token=")[2])
        path = f"/dance/{begun['id']}"
        trail.request("GET", path)
        trail.request("POST", path, {"verifier": CANARY})
        answer = sandbox.approve("jira", begun["authorize_url"])
        if callback == "oob":
            secrets.add(answer)
            trail.request("POST", path, {"verifier": answer})
        else:
            secrets.add(answer.partition("oauth_verifier=")[2])
            trail.texts.append(visit(answer)[1])
        trail.request("GET", path, text=True)
    for text in (False, True):
        trail.request("GET", "/links", text=text)
        trail.request("GET", "/links/jira", text=text)
        trail.request("POST", "/links/jira/check", text=text)
        trail.request("POST", "/links/jira/diagnosis", text=text)
        trail.request("GET", "/links/jira/setup", text=text)
        trail.request("GET", "/key", text=text)
        trail.request("GET", "/status", text=text)
        trail.request("GET", "/environment", text=text)
    url = f"{sandbox.base_url('jira')}/rest/api/2/myself"
    header = daemon.request("POST", "/sign", {"method": "GET", "url": url}).json["authorization"]
    secrets |= set(re.findall(r'oauth_(?:token|signature|nonce)="([^"]+)"', header))
    for fields in (
        {"method": "GET", "url": f"{url}?oauth_token={CANARY}"},
        {"method": CANARY + " ", "url": url},
        {"method": "GET", "url": f"https://{CANARY}:{CANARY}@example.com/"},
        {"method": "GET", "url": f"{url}?x=%zz{CANARY}"},
        {"method": "GET", "url": [CANARY]},
        {"method": "GET", "url": url, "form": {"a": CANARY}},
        {"method": "POST", "url": url, "form": f"a=%ff{CANARY}"},
        {"method": "PUT", "url": url, "form": f"a={CANARY}"},
    ):
        trail.request("POST", "/sign", fields)
        trail.request("POST", "/sign", fields, text=True)
        for text in (False, True):
            trail.request("POST", "/policy/check", {"allow": ["* /**"], **fields}, text=text)
            trail.request("POST", "/policy/check", {"deny": ["POST /** ?a=*"], **fields}, text=text)
    trail.request("POST", "/sign", f'{{"method": "{CANARY}'.encode())
    secrets |= secrets_of(sandbox, "jira")
    revoke_tokens(sandbox, "jira")
    trail.request("POST", "/links/jira/check")
    trail.request("DELETE", "/links/jira/token")
    secrets |= {CANARY}
    secrets = {secret for secret in secrets if len(secret) >= 6}
    assert len(secrets) > 8

    assert trail.search(secrets) == []
    assert trail.search({"state"}), "the search itself finds what is there"


def test_a_pasted_token_is_in_its_header_alone(trail: Trail) -> None:
    """Wrong, refused, taken, proved, rotated, revoked and logged out: it stands in the answer of /sign, and nowhere else."""
    daemon = trail.daemon
    with Sandbox(["jira"]) as sandbox:
        url = sandbox.base_url("jira")
        trail.request("PUT", "/links/jira", {"url": url, "scheme": "bearer"})
        token = sandbox.make_token("jira", "alice", days=5)
        begun = daemon.request("POST", "/dance", {"link": "jira"}).json
        path = f"/dance/{begun['id']}"
        for text in (False, True):
            trail.request("POST", path, {"secret": f"{CANARY} {CANARY}"}, text=text)
            trail.request("POST", path, {"secret": f"{CANARY}-{CANARY}"}, text=text)
            trail.request("POST", path, {"secret": token.secret, "verifier": CANARY}, text=text)
            trail.request("POST", path, {"secret": token.secret, "expires_at": CANARY}, text=text)
        trail.request("POST", path, f'{{"secret": "{token.secret}'.encode())
        assert trail.request("POST", path, {"secret": token.secret}).json["state"] == "granted"
        for text in (False, True):
            for method, call in (("GET", "/links/jira"), ("GET", "/status"), ("POST", "/links/jira/check")):
                trail.request(method, call, text=text)
            trail.request("POST", "/links/jira/diagnosis", text=text)
            trail.request("POST", "/sign", {"method": "GET", "url": f"{url}/x", "dry_run": True}, text=text)
        assert trail.request("POST", "/links/jira/rotate", {"days": 9}).status == 200
        header = daemon.request("POST", "/sign", {"method": "GET", "url": f"{url}/x"}).json["authorization"]
        secrets = {CANARY, token.secret, header.removeprefix("Bearer ")}
        assert len(secrets) == 3
        for each in sandbox.state.sites["jira"].state.tokens.of_user("alice"):
            sandbox.revoke_token("jira", each)
        trail.request("POST", "/links/jira/check")
        trail.request("POST", "/links/jira/rotate")
        trail.request("DELETE", "/links/jira/token", text=True)

    assert trail.search(secrets) == []


def test_gits_token_is_in_gits_answer_alone(trail: Trail) -> None:
    """Made, asked for, erased, refused, kept and revoked: it stands in the answer to `get`, and nowhere else."""
    daemon, secrets = trail.daemon, set()
    with Sandbox() as sandbox:
        daemon.dance(sandbox, "bitbucket")
        host = sandbox.base_url("bitbucket").split("/")[2]
        lines = f"protocol=http\nhost={host}\n"
        answers = []
        for capability in ("", "capability[]=authtype\n"):
            answers.append(daemon.request("POST", "/git-credential/get", (capability + lines).encode()))
            secret = sandbox.state.sites["bitbucket"].state.tokens.of_user("alice")[-1].secret
            secrets.add(secret)
            for operation in ("store", "erase"):
                trail.request("POST", f"/git-credential/{operation}", f"{lines}password={CANARY}\n".encode())
            trail.request("POST", "/git-credential/erase", f"password={secret}\nhost={CANARY}\rx\n".encode())
            trail.request("POST", "/git-credential/erase", f"{lines}password={secret}\n".encode())
        trail.request("POST", "/git-credential/get", f"{lines}username={CANARY}\npassword={CANARY}\n".encode())
        for path in ("/links", "/links/bitbucket", "/status"):
            trail.request("GET", path)
        secrets |= secrets_of(sandbox, "bitbucket") | {CANARY}
        sandbox.stop()
        trail.request("POST", "/git-credential/get", lines.encode(), text=True)
        trail.request("DELETE", "/links/bitbucket/token", text=True)

    assert all(any(secret in answer.text for secret in secrets) for answer in answers), "the search itself finds what is there"
    assert trail.search({secret for secret in secrets if len(secret) >= 6}) == []


def test_the_private_key_is_in_no_file_and_no_answer(trail: Trail) -> None:
    """With the memory store nothing is written at all; PKCS#8 begins the same for every 2048-bit key."""
    trail.request("POST", "/key", {})
    trail.request("GET", "/key")

    assert trail.search({"PRIVATE KEY", "MIIEv"}) == []


# How PEM and DER of a P-256 key begin: PKCS#8 as the proxy's authority hands it to OpenSSL, and SEC 1.
EC_KEYS = {"PRIVATE KEY", "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0w", "MHcCAQEE"}


def test_a_leases_secret_is_in_its_first_answer_alone(trail: Trail, sandbox: Sandbox) -> None:
    """Used in every place where a tool may put it, right and wrong; TLS was ended, and no file has the authority's key."""
    daemon = trail.daemon
    daemon.dance(sandbox, "jira")
    url = f"{sandbox.base_url('jira')}/rest/api/2/myself"
    opened = daemon.request("POST", "/leases", {"name": "canary", "entries": ["http", "port", "sign"]})
    lease, base = opened.json, opened.json["url"]
    child = ask(lease["sockets"]["sign"], "POST", "/~/leases", {"entries": ["port"]}).json
    secrets = {lease["secret"], child["secret"]}
    assert all(secret.startswith("atls_") for secret in secrets)

    def send(*arguments: str) -> str:
        # The words of a refusal, and no request: what is shown back of that is curl's own.
        done = subprocess.run(["curl", "-qsSi", "-m", "20", *arguments], capture_output=True, text=True, check=False)
        trail.texts.append(done.stdout)
        return done.stdout

    for secret in secrets:
        for more in ([], ["-H", "Origin: http://evil.example"]):
            send("-H", f"Authorization: Bearer {secret}", *more, f"{base}/jira/rest/api/2/myself")
            send("-H", f"Authorization: {secret}", *more, f"{base}/jira/rest/api/2/myself")
            send("-u", f"{secret}:x", *more, f"{base}/jira/rest/api/2/myself")
            send("-x", f"http://x:{secret}@{base.removeprefix('http://')}", *more, url)
            send("-p", "-x", f"http://x:{secret}@{base.removeprefix('http://')}", *more, url)
            send("-x", f"http://x:{secret}@{base.removeprefix('http://')}", "http://127.0.0.1:1/")
    assert '"alice"' in send("-u", f"x:{lease['secret']}", f"{base}/jira/rest/api/2/myself")
    for text in (False, True):
        for method, path in (("GET", "/leases"), ("GET", "/leases/canary"), ("PATCH", "/leases/canary"), ("GET", "/status")):
            trail.request(method, path, {"uses": 50} if method == "PATCH" else None, text=text)
        trail.request("GET", f"/leases/{child['id']}", text=text)
        for kind in ("http", "sign"):
            reply = ask(lease["sockets"][kind], "GET", "/~/lease", text=text, headers={"Host": "localhost"})
            trail.texts.append(reply.text + str(reply.headers))
    daemon.link(sandbox, "jira", "tls", url="https://127.0.0.1:1/tls")
    tls = daemon.request("POST", "/leases", {"links": ["tls"], "entries": ["http", "port"]}).json
    secrets.add(tls["secret"])
    for socket in (tls["sockets"]["http"], str(daemon.socket.with_name("proxy.sock"))):
        trust = ["--cacert", tls["ca_file"]] if "leases" in socket else ["-k"]
        assert "dance_needed" in send(*trust, "-x", f"socks5h://localhost{socket}", "https://127.0.0.1:1/tls/rest/api/2/myself")

    assert Path(tls["ca_file"]).exists()
    assert trail.search(secrets | EC_KEYS) == []
    for each in ("canary", tls["id"]):
        trail.request("DELETE", f"/leases/{each}")
    assert trail.search(secrets | EC_KEYS) == []
    assert trail.search({"BEGIN CERTIFICATE"}) != [], "the search itself finds what is there"


def test_leases_and_authorities_hide_what_they_have() -> None:
    """repr of a lease, its terms, and the authority, and the message of a refusal; keys are not pickled either."""
    rules = Rules(parse_rules(["read"]), ())
    lease = Lease("1a2b3c4d", Terms(frozenset({"jira"}), rules, frozenset({"port"})), 60, secret=CANARY)
    authority = Authority(["jira.example.com"], 60, lambda: datetime.now(UTC))
    context = authority.context_for("jira.example.com")

    shown = [
        *map(repr, (lease, lease.terms, authority, context)),
        *map(str, vars(lease).values()),
        *map(str, vars(authority).values()),
    ]
    assert not any(word in text for text in shown for word in (CANARY, *EC_KEYS))
    with pytest.raises(TypeError):
        pickle.dumps(authority)


def test_values_hide_themselves() -> None:
    """repr, str, format and a traceback's locals show `<secret>`."""
    token = AccessToken(Secret(CANARY), Secret(CANARY), session_handle=Secret(CANARY))
    request_token = RequestToken(Secret(CANARY), Secret(CANARY))

    for text in (repr(token), str(token), f"{token}", repr(request_token), f"{Secret(CANARY)}", f"{Secret(CANARY)!r:>40}"):
        assert CANARY not in text
        assert "<secret>" in text
    with pytest.raises(TypeError, match="not pickled") as refused:
        Secret(CANARY).__reduce__()
    assert CANARY not in str(refused.value)
    key = make_private_key(2048)
    assert "PRIVATE" not in repr(key)
    assert repr(key.private_pem()) == "<secret>"


def test_a_passphrase_leaves_nothing_behind(sandbox: Sandbox) -> None:
    """Making, opening, changing, moving, locking and every refusal of them: neither replies, log, argv nor files show one."""
    daemon = Daemon(ATL_SIGN_STORE="")
    daemon.config.parent.mkdir(parents=True)
    daemon.config.write_text('[store]\nbackend = "file"\n')
    with daemon:
        trail = Trail(daemon)
        for fields in (
            {"passphrase": f"{CANARY}-missing"},
            {"new_passphrase": f"{CANARY}-first"},
            {"new_passphrase": f"{CANARY}-again"},
            {"passphrase": f"{CANARY}-first", "new_passphrase": f"{CANARY}-next"},
            {"passphrase": f"{CANARY}-wrong"},
            {"passphrase": f"{CANARY}-early"},
            {"passphrase": CANARY * 1000},
            {"passphrase": [CANARY]},
            {"new_passphrase": {"x": CANARY}},
            {CANARY[:6]: "unknown"},
        ):
            for text in (False, True):
                trail.request("POST", "/unlock", fields, text=text)
                trail.request("POST", "/store/move", {"backend": "memory", **fields}, text=text)
        daemon.dance(sandbox, "jira")
        trail.request("POST", "/lock")
        trail.request("GET", "/status")
        secrets = {CANARY, *(secret for secret in secrets_of(sandbox, "jira") if len(secret) >= 6)}

        assert trail.search(secrets) == []
        assert trail.search({"state"}), "the search itself finds what is there"


def test_debug_logging_of_the_libraries_is_held_down(sandbox: Sandbox) -> None:
    """oauthlib, requests-oauthlib and urllib3 print tokens at DEBUG; the daemon's log stays free of them."""
    code = (
        "import logging; from atl_sign.server import process; process.set_up_log(); logging.getLogger().setLevel(logging.DEBUG)\n"
        "names = ('oauthlib', 'oauthlib.oauth1', 'requests_oauthlib', 'urllib3.connectionpool', 'twin')\n"
        "print(*(logging.getLogger(name).isEnabledFor(logging.DEBUG) for name in names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False", "False", "True"]
    with Daemon() as daemon:
        daemon.dance(sandbox, "jira")
        log = daemon.log.read_text()

    assert "oauth_token" not in log
    assert "Signing request" not in log
