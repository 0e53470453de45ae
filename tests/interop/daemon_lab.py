"""A daemon's link to a server that others wrote: added, given its app, and used as a program does."""

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from atl_sign.base.credentials import Passphrase, Secret
from atl_sign.custody.stores.file import FileStore
from atl_sign.schemes.oauth2.token_answer import Tokens
from tests.fork_server import ForkServer
from tests.interop.oauth2_servers import SCOPES, ForeignServer, Kind
from tests.interop.stranger import read_document
from tests.lab import DEADLINE_S, Daemon, Reply, send, wait_for
from tests.oauth2_lab import PORT, put_link, redirect_of, visit

By = Literal["issuer", "hand"]  # by the server's metadata, or by addresses that the user names

_CLIENT_AUTHS = {"client_secret_basic": "basic", "client_secret_post": "body", "none": "none"}


@dataclass(frozen=True, slots=True)
class ForeignLink:
    """One link; its base URL is the origin of the protected resource."""

    daemon: Daemon
    server: ForeignServer
    port: int  # of the redirect address
    name: str = "app"

    @property
    def redirect(self) -> str:
        """The redirect address that the daemon should use."""
        return redirect_of(self.server.issuer, self.port, "127.0.0.1")

    def begin(self, callback: str = "loopback") -> dict[str, Any]:
        """Begin a dance."""
        reply = self.daemon.request("POST", "/dance", {"link": self.name, "callback": callback})
        assert reply.status == 201, reply.text
        begun: dict[str, Any] = reply.json
        return begun

    def dance(self) -> dict[str, Any]:
        """Let alice allow a dance whose answer comes to the listener; returns its state."""
        begun = self.begin()
        status, page = visit(self.server.consent(begun["authorize_url"]))
        assert status == 200, page
        return self.ask(begun)

    def paste(self, begun: dict[str, Any], redirect: str) -> Reply:
        """Bring *redirect*, the address that the browser ended on."""
        return self.daemon.request("POST", f"/dance/{begun['id']}", {"redirect_url": redirect})

    def ask(self, begun: dict[str, Any], wait_s: int = 20) -> dict[str, Any]:
        """Return the dance's state, after its end if that comes within *wait_s*."""
        reply = self.daemon.request("GET", f"/dance/{begun['id']}?wait={wait_s}")
        assert reply.status == 200, reply.text
        state: dict[str, Any] = reply.json
        return state

    def sign(self) -> Reply:
        """Ask for a header for the protected resource."""
        return self.daemon.request("POST", "/sign", {"method": "GET", "url": self.server.protected_url, "link": self.name})

    def fetch_header(self) -> str:
        """Return such a header."""
        reply = self.sign()
        assert reply.status == 200, reply.text
        return str(reply.json["authorization"])

    def use(self) -> str:
        """Return the user whom the protected resource sees; "" for nobody."""
        return who_is(self.server, self.fetch_header())

    def check(self) -> Reply:
        """Have the daemon ask who the user is."""
        return self.daemon.request("POST", f"/links/{self.name}/check")

    def read_token(self) -> dict[str, Any]:
        """Return what the daemon reports of the token."""
        token: dict[str, Any] = self.daemon.request("GET", f"/links/{self.name}").json["token"]
        return token


def assert_signed_out(link: ForeignLink) -> None:
    """No token, and nothing is signed."""
    assert link.read_token()["state"] == "none"
    assert link.sign().code == "dance_needed"
    assert link.check().code == "dance_needed"


class FileDaemon(Daemon):
    """A daemon whose store is an encrypted file that opens by itself, and that a test can read."""

    def __init__(self, fork_server: ForkServer | None = None) -> None:
        super().__init__(fork_server, ATL_SIGN_STORE="file")
        (self.folder / "atl-sign-store-key").write_text("passphrase\n")
        self.environment["CREDENTIALS_DIRECTORY"] = str(self.folder)

    def read_grant(self, name: str = "app") -> dict[str, Any] | None:
        """Return the grant of the link called *name* as the store has it."""
        store = FileStore(self.folder / ".local/state/atl-sign/store")
        store.unlock(Passphrase(b"passphrase"), None)
        item = store.read(f"token:{name}")
        return None if item is None else json.loads(item.value.reveal())["grant"]

    def read_tokens(self, name: str = "app") -> Tokens:
        """Return its tokens, as somebody who has stolen the store."""
        grant = self.read_grant(name)
        assert grant is not None
        return Tokens(Secret(grant["access_token"]), Secret(grant["refresh_token"]), None, None)


def add_link(
    daemon: Daemon,
    server: ForeignServer,
    kind: Kind = "basic",
    by: By = "issuer",
    *,
    name: str = "app",
    port: int = PORT,
    **settings: object,
) -> ForeignLink:
    """
    Add a link for the client *kind* of *server*, and keep the client's secret.

    Args:
        daemon: gets the link.
        server: has the client.
        kind: see `ForeignServer.client`.
        by: how the link describes the server.
        name: the link's.
        port: of the redirect address.
        settings: more of the link's settings, or others.
    """
    client = server.client(kind)
    ways: dict[By, dict[str, object]] = {"issuer": describe_by_issuer(server), "hand": describe_by_hand(server)}
    # The metadata of both servers allow every way to authenticate, but a client has only the one it is registered with.
    auth = _CLIENT_AUTHS[client.auth]
    named = {"client_id": client.client_id, "client_auth": auth, "scopes": " ".join(SCOPES), "redirect_port": port}
    given = {**ways[by], **named, **settings}
    put_link(daemon, name, server.origin, flavour="generic", **{key: value for key, value in given.items() if value is not None})
    if client.secret is not None:
        kept = daemon.request("PUT", f"/links/{name}/secret", {"secret": client.secret})
        assert kept.status == 200, kept.text
    return ForeignLink(daemon, server, port, name)


def describe_by_issuer(server: ForeignServer) -> dict[str, object]:
    """Return the settings with which the daemon reads the server's metadata."""
    return {"issuer": server.issuer, "who_url": server.protected_url}


def describe_by_hand(server: ForeignServer) -> dict[str, object]:
    """Return the settings with which it reads none; `iss` in a redirect is then unknown."""
    document = read_document(server)
    return {
        # A query in the address stays (RFC 6749 §3.1).
        "authorize_url": document["authorization_endpoint"] + (f"?{urlencode(server.extra)}" if server.extra else ""),
        "token_url": document["token_endpoint"],
        "device_url": document["device_authorization_endpoint"],
        "revoke_url": document["revocation_endpoint"],
        "who_url": server.protected_url,
        "who_field": "email",  # not the default
    }


def who_is(server: ForeignServer, authorization: str) -> str:
    """Return the user whom the protected resource sees with this header; "" for nobody."""
    status, text = send(server.protected_url, authorization)
    assert status in (200, 401), text
    return str(json.loads(text)["sub"]) if status == 200 else ""


def refreshes(server: ForeignServer) -> list[str]:
    """Return the outcome of each refresh so far."""
    return [outcome for grant_type, outcome in server.read_token_requests() if grant_type == "refresh_token"]


def wait_for_end(server: ForeignServer, authorization: str) -> None:
    """Return when the server no longer takes the header."""
    wait_for(lambda: who_is(server, authorization) == "")


def query_of(url: str) -> dict[str, str]:
    """Return the query, in which nothing is repeated."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def change_query(url: str, **fields: str | None) -> str:
    """Return *url* with other query fields; None takes one away."""
    query = {**query_of(url), **fields}
    kept = {name: value for name, value in query.items() if value is not None}
    return f"{url.partition('?')[0]}?{urlencode(kept)}"


def run(daemon: Daemon, line: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the shell command *line* as the daemon's user, with *typed* on standard input."""
    return subprocess.run(
        ["bash", "-c", line],
        env=daemon.environment,
        cwd=daemon.folder,
        input=typed,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def commands_in(hint: str) -> list[str]:
    """Return the commands of a hint as a person would paste them."""
    return re.findall(r"atl-sign [^;,]+", hint)
