"""Promise 1: canary secrets go down every path, and then everything that leaves the daemon is searched for them."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from socket import socket as Socket

import pytest

from atl_sign.access.decision import Rules
from atl_sign.access.lease import Lease, Terms
from atl_sign.access.presets.loading import parse_rules
from atl_sign.base.credentials import App, Credentials, Secret
from atl_sign.custody.keys.software import make_private_key
from atl_sign.proxy.certificates import Authority
from atl_sign.sandbox import Sandbox
from atl_sign.schemes.base import Consent
from atl_sign.schemes.oauth1.tokens import AccessToken, RequestToken
from atl_sign.schemes.oauth2.begun import Begun
from atl_sign.schemes.oauth2.redirect import Expected
from atl_sign.schemes.oauth2.server import Server
from atl_sign.schemes.oauth2.token_answer import Tokens
from atl_sign.schemes.oauth2.token_request import TokenRequests
from atl_sign.schemes.oauth2.tokens import OAuth2Tokens, make_grant
from tests.api.test_dance import begin, visit
from tests.lab import Daemon, Reply, revoke_tokens, secrets_of, wait_for
from tests.lease_lab import ask
from tests.oauth2_lab import PORT
from tests.openbao import Space
from tests.strange_server import Asked, Script, StrangeServer, as_json, back_from, reset, sent_by, settings_of, tokens
from tests.token_lab import SoftHsm
from tests.unit.raw_server import RawServer, reply
from tests.vault.conftest import Lab
from tests.vault.test_login import AppRole

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
        trail.request("GET", "/links/jira/registration-script", text=text)
        trail.request("GET", "/link-file", text=text)
        bad = f"[links.a]\nurl = 'https://a:{CANARY}@b'\nconsumer_key = 'a {CANARY}'"
        trail.request("POST", "/link-file", {"content": bad}, text=text)
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


def test_an_administrators_password_is_kept_nowhere(trail: Trail) -> None:
    """Wrong, right, refused, unencrypted, with a CAPTCHA, and repeated by the product: it stands in no answer and no file."""
    daemon, path = trail.daemon, "/links/jira/registration"
    daemon.request("POST", "/key")
    with Sandbox(["jira"]) as sandbox:
        state = sandbox.state.sites["jira"].state
        state.users["admin"].password = f"{CANARY}-right"
        trail.request("PUT", "/links/jira", {"url": sandbox.base_url("jira")})
        for user, password in (("admin", f"{CANARY}-wrong"), ("a:b", CANARY), ("", CANARY), ("alice", CANARY)):
            for text in (False, True):
                trail.request("POST", path, {"user": user, "password": password}, text=text)
        trail.request("POST", path, {"user": "admin", "password": [CANARY]})
        trail.request("POST", path, {"user": "admin", "passwort": CANARY})
        trail.request("POST", path, f'{{"password": "{CANARY}'.encode())
        state.has_websudo = True
        trail.request("POST", path, {"user": "admin", "password": f"{CANARY}-right"})
        state.has_websudo, state.captcha_after = False, 1
        trail.request("POST", path, {"user": "admin", "password": f"{CANARY}-right"})
        state.captcha_after = None
        assert trail.request("POST", path, {"user": "admin", "password": f"{CANARY}-right"}).json["is_new"] is True
        trail.request("PUT", "/links/jira", {"url": "http://jira.example.com"})
        trail.request("POST", path, {"user": "admin", "password": CANARY})

    def repeat(connection: Socket, request: bytes) -> None:
        answers = {b"manifest": reply("<manifest><typeId>jira</typeId><version>9</version></manifest>")}
        unknown = {"WWW-Authenticate": 'OAuth realm="x", oauth_problem="consumer_key_unknown"'}
        answers[b"request-token"] = reply("", 401, unknown)
        basic = b64encode(f"admin:{CANARY}".encode()).decode()
        other = reply(f'{{"message": "{basic} {CANARY}"}}', 400, {"Location": f"/{CANARY}", "X-Seraph-LoginReason": CANARY})
        connection.sendall(next((each for word, each in answers.items() if word in request.split(b"\r\n")[0]), other))

    with RawServer(repeat) as server:
        trail.request("PUT", "/links/jira", {"url": server.url})
        for text in (False, True):
            assert trail.request("POST", path, {"user": "admin", "password": CANARY}, text=text).status == 502
    for text in (False, True):
        trail.request("GET", "/status", text=text)
        trail.request("GET", "/refusals", text=text)

    secrets = {CANARY, *(b64encode(f"admin:{CANARY}{end}".encode()).decode() for end in ("", "-right", "-wrong"))}
    assert trail.search(secrets) == []


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


def echo(status: int, kind: str) -> Script:
    """Answer with all that was asked, secrets too, wherever an answer has a place for it."""

    def answer(connection: Socket, asked: Asked) -> None:
        heard = f"{asked.target} {asked.body.decode('latin-1')} {asked.headers.get('authorization', '')}"
        fields = {"error": kind, "error_description": heard, "error_uri": f"https://h.example/?{heard}", "message": heard}
        headers = {
            "Content-Type": "application/json" if kind else "text/html",
            "WWW-Authenticate": f'Bearer realm="{heard}", error="invalid_token", error_description="{heard}"',
            "Location": f"https://h.example/?{heard}",
            "Set-Cookie": f"heard={heard}",
        }
        connection.sendall(reply(json.dumps(fields) if kind else f"<!doctype html><title>{heard}</title>", status, headers))

    return answer


ECHOES: list[bytes | Script] = [
    echo(400, "invalid_request"),
    echo(401, "invalid_client"),
    echo(200, "invalid_grant"),
    echo(200, ""),
    echo(403, ""),
    echo(500, "server_error"),
    echo(302, "moved"),
    as_json({"access_token": [CANARY], "refresh_token": CANARY}),
    tokens(access_token=f"{CANARY} {CANARY}"),
    reset,
]


def test_secrets_of_oauth2_are_in_no_answer_but_the_header(trail: Trail) -> None:
    """The app's secret, codes, states, verifiers, device codes and tokens, at a server that repeats all that it hears."""
    secrets = {CANARY}
    with StrangeServer() as server:
        settings = settings_of(server, redirect_port=PORT, device_url=f"{server.url}/device", revoke_url=f"{server.url}/revoke")
        settings |= {"who_url": f"{server.url}/who"}
        trail.request("PUT", "/links/app", settings)
        for secret in (f"{CANARY} x", [CANARY], f"{CANARY}-secret-of-the-app"):
            trail.request("PUT", "/links/app/secret", {"secret": secret})
            trail.request("PUT", "/links/app/secret", {"secret": secret, "unknown": CANARY}, text=True)
        secrets.add(b64encode(f"the-app:{CANARY}-secret-of-the-app".encode()).decode())
        for client_auth in ("basic", "body"):
            trail.request("PUT", "/links/app", {**settings, "client_auth": client_auth})
            for number, answer in enumerate(ECHOES):
                _dance_wrongly(trail, server, answer, f"{CANARY}-code-{number}", secrets)
        secrets |= {each.fields["code_verifier"] for each in server.asked("/token")}
        _ask_devices_wrongly(trail, server)
        _renew_wrongly(trail, server)
        server.answer("/revoke", echo(500, "server_error"))
        trail.request("DELETE", "/links/app/token")
        assert any(CANARY in each.everything for each in server.asked("/revoke"))
    for text in (False, True):
        trail.request("GET", "/status", text=text)
        trail.request("GET", "/refusals", text=text)

    assert len(secrets) > 20
    assert trail.search(secrets) == []
    assert trail.search({"the-app"}), "the search itself finds what is there"


def _dance_wrongly(trail: Trail, server: StrangeServer, answer: bytes | Script, code: str, secrets: set[str]) -> None:
    """Dance by both ways to no good end, with wrong redirects before; adds the dance's state to *secrets*."""
    server.answer("/token", answer)
    for callback in ("oob", "loopback"):
        begun = begin(trail.daemon, callback, "app")
        asked, path = sent_by(begun["authorize_url"]), f"/dance/{begun['id']}"
        secrets.add(asked["state"])
        for wrong in (
            back_from(begun["authorize_url"], code=code, state=CANARY),
            back_from(begun["authorize_url"], ("code", CANARY), code=code),
            back_from(begun["authorize_url"], code=None),
        ):
            trail.request("POST", path, {"redirect_url": wrong})
            if callback == "loopback":
                trail.texts.append(visit(wrong)[1])
        trail.request("POST", path, {"verifier": code})
        right = back_from(begun["authorize_url"], code=code)
        if callback == "loopback":
            trail.texts.append(visit(right)[1])
        trail.request("POST", path, {"redirect_url": right}, text=True)
        for text in (False, True):
            trail.request("GET", path, text=text)


def _ask_devices_wrongly(trail: Trail, server: StrangeServer) -> None:
    for answer in (echo(400, "invalid_client"), as_json({"device_code": CANARY, "user_code": None})):
        server.answer("/device", answer)
        trail.request("POST", "/dance", {"link": "app", "callback": "device"})
    page = "https://h.example/device"
    server.answer("/device", as_json({"device_code": CANARY, "user_code": "WDJB-MJHT", "verification_uri": page, "interval": 1}))
    server.answer("/token", echo(400, "weird_error"))
    begun = trail.request("POST", "/dance", {"link": "app", "callback": "device"}).json
    assert trail.request("GET", f"/dance/{begun['id']}?wait=10").json["state"] == "failed"


def _renew_wrongly(trail: Trail, server: StrangeServer) -> None:
    """Get tokens that end soon, and ask for a signature while their renewal fails, before and after the end."""
    daemon, url = trail.daemon, f"{server.url}/api/x"
    server.answer("/who", echo(401, "invalid_token"))
    server.answer("/api/x", echo(401, "invalid_token"))
    for number, answer in enumerate((echo(500, ""), echo(401, "invalid_client"), echo(400, "invalid_grant"))):
        access, refresh = f"{CANARY}-access-{number}", f"{CANARY}-refresh-{number}"
        server.answer("/token", tokens(access_token=access, refresh_token=refresh, expires_in=2))
        begun = begin(daemon, "oob", "app")
        trail.request("POST", f"/dance/{begun['id']}", {"redirect_url": back_from(begun["authorize_url"], code=CANARY)})
        signed = daemon.request("POST", "/sign", {"method": "GET", "url": url})
        assert CANARY in signed.json["authorization"]
        server.answer("/token", answer)
        for text in (False, True):
            trail.request("POST", "/links/app/check", text=text)
            trail.request("POST", "/links/app/diagnosis", text=text)
            trail.request("GET", "/links/app", text=text)
        wait_for(lambda: daemon.request("POST", "/sign", {"method": "GET", "url": url}).status != 200)
        for text in (False, True):
            trail.request("POST", "/sign", {"method": "GET", "url": url}, text=text)
            trail.request("GET", "/links", text=text)


def test_values_of_oauth2_hide_themselves() -> None:
    """repr, str and format of all that has a secret, and of what holds that."""
    secret = Secret(CANARY)
    material = OAuth2Tokens(secret, secret, secret, sites={"https://a.example": "1"})
    begun = Begun(Server("https://a.example", "https://t.example", None, None, "body", None), "http://localhost:1/x")
    requests = TokenRequests(App("the-app", secret), "body")
    values = [
        material,
        App("the-app", secret),
        Tokens(secret, secret, 5.0, None),
        Consent("https://a.example", secret, secret, begun),
        Expected(secret, "https://a.example", announces_issuer=True),
        make_grant(material, 5.0, datetime.now(UTC), "alice"),
        Credentials(App("the-app", secret), make_grant(material, None, datetime.now(UTC))),
        requests.for_code(secret, "http://localhost:1/x", secret),
        requests.for_refresh(secret),
        requests.for_device(secret),
        TokenRequests(App("the-app", secret), "basic").for_revocation(secret, "access_token"),
    ]
    for value in values:
        for text in (repr(value), str(value), f"{value}", repr([value])):
            assert CANARY not in text
            assert "<secret>" in text
    assert CANARY not in repr(requests)


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


def test_a_pin_leaves_nothing_behind(sandbox: Sandbox, tmp_path: Path) -> None:
    """Right, wrong, refused, kept, used again after a crash, and forgotten: no answer, log, argv, environment or file has it."""
    hsm = SoftHsm(tmp_path / "hsm")
    hsm.prepare()
    pin = f"{CANARY}-pin"
    hsm.add_token(pin=pin)
    with Daemon(**hsm.environment) as daemon:
        trail = Trail(daemon)
        uri = hsm.uri()
        assert trail.request("POST", "/unlock", {"pin": pin, "key": uri}).status == 200
        assert trail.request("POST", "/key", {"reference": uri}).status == 201
        daemon.dance(sandbox, "jira")
        assert daemon.process is not None
        module = find_children(daemon.process.pid)[0]
        beside = "".join(Path(f"/proc/{module}/{name}").read_text() for name in ("cmdline", "environ"))
        for fields in (
            {"pin": f"{pin}-wrong"},
            {"pin": pin},
            {"pin": pin, "try_again": True},
            {"pin": pin, "key": f"{uri}&pin-value={CANARY}"},
            {"pin": pin, "passphrase": CANARY},
            {"pin": [pin]},
            {"pin": CANARY * 100},
            {"pins": pin},
        ):
            for text in (False, True):
                trail.request("POST", "/unlock", fields, text=text)
        assert trail.request("POST", "/unlock", {"pin": pin, "try_again": True}).status == 200
        os.kill(find_children(daemon.process.pid)[0], signal.SIGSEGV)  # it leaves no core
        assert trail.request("POST", "/links/jira/check").status == 200
        for text in (False, True):
            for method, call in (("GET", "/status"), ("GET", "/key"), ("POST", "/key/check"), ("POST", "/lock")):
                trail.request(method, call, text=text)
        secrets = {CANARY, *(secret for secret in secrets_of(sandbox, "jira") if len(secret) >= 6)}

        assert CANARY not in beside
        assert trail.search(secrets) == []
        assert trail.search({"pkcs11:token=atl"}), "the search itself finds what is there"
        assert not [path for path in (*tmp_path.rglob("core*"), *daemon.folder.rglob("core*")) if path.is_file()]


def find_children(pid: int) -> list[int]:
    """Return the pids of the processes that a thread of *pid* has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


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


@pytest.fixture
def vault_lab(space: Space, tmp_path: Path) -> Iterator[Lab]:
    """A vault and the login of a machine, whose files are outside of the daemon's folder."""
    lab = Lab(space, tmp_path)
    yield lab
    lab.vaults.forget()


def write_vaults(daemon: Daemon, **vaults: dict[str, str]) -> None:
    """Write the configuration with *vaults*."""
    lines = []
    for name, settings in vaults.items():
        lines += [f"[vaults.{name}]", *(f'{key} = "{value}"' for key, value in settings.items())]
    daemon.config.parent.mkdir(parents=True, exist_ok=True)
    daemon.config.write_text("\n".join([*lines, ""]))


def repeat_everything(connection: Socket, request: bytes) -> None:
    """Refuse as a vault, with all that was sent in the words."""
    connection.settimeout(0.2)
    with suppress(TimeoutError):
        while more := connection.recv(65_536):
            request += more
    text = request.decode("latin-1")
    connection.sendall(as_json({"errors": [text[max(0, text.find(CANARY) - 100) :]]}, 400))


def test_secrets_of_a_vault_go_to_the_vault_alone(trail: Trail, vault_lab: Lab) -> None:
    """Token, secret id, JSON Web Token and items, right and wrong, and repeated by what answers: in no answer and no file."""
    daemon, lab, folder = trail.daemon, vault_lab, vault_lab.folder
    key, store = "transit/atl-sign", "secret/atl-sign"
    lab.make_key()
    approle = AppRole(lab)
    files = {name: str(lab.space.token_file(folder / name, f"{CANARY}-{name}")) for name in ("token", "id", "secret", "jwt")}
    wrong = {"role_id_file": files["id"], "secret_id_file": files["secret"]}
    good = {"role_id_file": str(folder / "role-id"), "secret_id_file": str(approle.secret_id_file)}
    ways: dict[str, dict[str, str]] = {
        "file": {"token_file": files["token"]},
        "approle": {"auth": "approle", **wrong},
        "jwt": {"auth": "jwt", "role": "x", "jwt_file": files["jwt"]},
        "good": {"auth": "approle", **good},
        "token": {"token_file": str(lab.token_file)},
    }
    where = {"address": lab.space.server.address, "namespace": lab.space.name}
    with RawServer(repeat_everything) as server:
        vaults = {name: {**where, **way} for name, way in ways.items()}
        vaults |= {f"strange-{name}": {**where, **way, "address": server.url} for name, way in ways.items()}
        write_vaults(daemon, **vaults)
        for text in (False, True):
            for name in vaults:
                trail.request("POST", "/key/use", {"reference": f"vault:{name}/{key}", "replace": True}, text=text)
                trail.request("POST", "/key/import", {"reference": f"vault:{name}/{key}2"}, text=text)
                trail.request("POST", "/store/move", {"backend": f"vault:{name}/{store}"}, text=text)
                trail.request("GET", "/key", text=text)
                trail.request("GET", "/status", text=text)
        trail.texts += [daemon.run_program("doctor", *more).stdout for more in ([], ["--json"])]
        assert daemon.run_program("doctor", "--report", str(daemon.folder / "report.json")).returncode in (0, 1)
        assert server.requests
    assert (daemon.folder / "report.json").exists()

    assert trail.search({CANARY, lab.token, approle.secret_id, approle.role_id}) == []
    assert any("strange-jwt" in text for text in trail.texts)
