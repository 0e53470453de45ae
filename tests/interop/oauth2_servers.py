"""
OAuth 2.0 authorization servers that others wrote, each in its own process on a loopback port: oidc-provider and Authlib.

Both have the user alice and four clients. They differ as servers in the field do:

- oidc-provider has only OpenID's metadata document; Authlib has that of RFC 8414, and an issuer with a path;
- when a refresh token or a code is used twice, oidc-provider revokes all tokens of the grant; Authlib only rejects it;
- the access token from before a refresh stays valid at oidc-provider; Authlib revokes it;
- Authlib names a polling interval for devices and answers `slow_down`; oidc-provider does neither;
- oidc-provider gives a refresh token only for the scope `offline_access` with `prompt=consent`.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, Self

from tests.interop.web_person import WebPerson
from tests.lab import REPOSITORY
from tests.oauth2_lab import PORT

HERE = Path(__file__).parent
USER, PASSWORD = "alice", "wonderland"
SCOPES = ("openid", "offline_access", "profile", "email")
DEADLINE_S = 20.0

Kind = Literal["basic", "post", "public", "exact"]

_AUTHS: Mapping[Kind, str] = {
    "basic": "client_secret_basic",
    "post": "client_secret_post",
    "public": "none",
    "exact": "client_secret_basic",
}
_DAEMON_PATH = "/callback/127.0.0.1-{port}"
_GRANT_TYPES = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]


@dataclass(frozen=True, slots=True)
class Registration:
    """One client as it is registered at the server."""

    client_id: str
    secret: str | None
    auth: str  # client_secret_basic, client_secret_post or none
    # The second is the daemon's, with `{port}` for the server's port. A native application's are valid with any port of 127.0.0.1
    # (RFC 8252 §7.3), those of the client "exact" only as they are.
    redirects: tuple[str, str]

    def redirect_at(self, port: int) -> str:
        """Return the redirect for a listener of the tests on *port*; the client "exact" has only one."""
        return self.redirects[0].replace("//127.0.0.1/", f"//127.0.0.1:{port}/")


class ForeignServer:
    """A server that runs inside `with`."""

    command: ClassVar[Sequence[str]]  # reads the configuration from standard input, and prints its port
    path: ClassVar[str]  # the issuer's
    protected_path: ClassVar[str]
    extra: ClassVar[Mapping[str, str]]  # for the authorization request, so that a refresh token is given

    def __init__(
        self,
        *,
        access_s: int = 3_600,
        refresh_s: int = 86_400,
        code_s: int = 60,
        device_s: int = 600,
        device_interval_s: int = 5,
        exact_redirect: str | None = None,
    ) -> None:
        """
        Prepare.

        Args:
            access_s: lifetime of an access token.
            refresh_s: lifetime of a refresh token.
            code_s: lifetime of an authorization code.
            device_s: lifetime of a device code.
            device_interval_s: seconds between two polls of a device; only Authlib uses it.
            exact_redirect: of the client "exact"; None means `http://localhost:PORT/callback` with a port that is free now.
        """
        self._lifetimes_s = {"AccessToken": access_s, "RefreshToken": refresh_s, "AuthorizationCode": code_s}
        self._lifetimes_s["DeviceCode"] = device_s
        self._device_interval_s = device_interval_s
        exact = exact_redirect or f"http://localhost:{_find_port()}/callback"
        self._clients: Mapping[Kind, Registration] = {kind: _register(kind, auth, exact) for kind, auth in _AUTHS.items()}
        self.origin = ""  # scheme, host and port, once it runs
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=REPOSITORY,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended already
            print(json.dumps(self._make_configuration()), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            self.__exit__()  # it prints the log
            raise AssertionError(f"{type(self).__name__} did not start")
        self.origin = f"http://127.0.0.1:{json.loads(line)['port']}"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._log is not None
        try:
            self._process.communicate(timeout=DEADLINE_S)  # this closes its standard input, so it ends
        finally:
            self._process.kill()
            self._process.wait()
            self._log.seek(0)
            print(self._log.read())  # pytest shows it if the test fails
            self._log.close()

    @property
    def issuer(self) -> str:
        return f"{self.origin}{self.path}"

    @property
    def protected_url(self) -> str:
        """A resource: it answers a valid access token with a JSON object whose `sub` is the user, and another one with 401."""
        return f"{self.origin}{self.protected_path}"

    def client(self, kind: Kind) -> Registration:
        """
        Return a client.

        Args:
            kind: "basic" and "post" send their secret in the header or the body, "public" has no secret; each has loopback
                redirects with any port. "exact" is like "basic", but its redirects have a fixed port, and one the host localhost.
        """
        return self._clients[kind]

    def consent(self, authorize_url: str, *, deny: bool = False, password: str = PASSWORD) -> str:
        """
        Log in as alice, allow or deny, and return the address of the redirect, which is not opened.

        Raises:
            LostPersonError: the server shows an error, or rejects the password.
        """
        return WebPerson(self.origin, USER, password).consent(authorize_url, deny=deny)

    def enter_device_code(self, verification_uri: str, user_code: str, *, deny: bool = False) -> str:
        """
        Log in as alice, enter the code, allow or deny, and return the last page's heading.

        Raises:
            LostPersonError: the code is rejected.
        """
        return WebPerson(self.origin, USER, PASSWORD).enter_code(verification_uri, user_code, deny=deny)

    def read_token_requests(self) -> list[tuple[str, str]]:
        """Return each request to the token endpoint so far: its grant type, and "ok" or the error code."""
        assert self._log is not None
        descriptor = self._log.fileno()
        text = os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()  # the position is shared with the server's process
        return [(grant_type, outcome) for grant_type, outcome in re.findall(r"^token: (\S+) (\S+)$", text, re.M)]

    def _make_configuration(self) -> dict[str, Any]:
        clients = []
        for kind, client in self._clients.items():
            metadata = {
                "client_id": client.client_id,
                "token_endpoint_auth_method": client.auth,
                "application_type": "web" if kind == "exact" else "native",
                "redirect_uris": client.redirects,
                "grant_types": _GRANT_TYPES,
                "response_types": ["code"],
            }
            clients.append(metadata if client.secret is None else {**metadata, "client_secret": client.secret})
        return {
            "clients": clients,
            "users": {USER: PASSWORD},
            "scopes": SCOPES,
            "lifetimes_s": self._lifetimes_s,
            "device_interval_s": self._device_interval_s,
        }


class OidcProvider(ForeignServer):
    """The npm package oidc-provider, certified by the OpenID Foundation; 8.x, since 9.x does not run on Debian 12's Node 18."""

    command = (shutil.which("node") or "node", str(HERE / "oidc_provider.mjs"))
    path = ""
    protected_path = "/me"
    extra: ClassVar[Mapping[str, str]] = {"prompt": "consent"}  # OpenID Connect Core §11

    def __enter__(self) -> Self:
        assert (HERE / "node_modules/oidc-provider").is_dir(), "first: make tests/interop/node_modules/.installed"
        return super().__enter__()


class AuthlibServer(ForeignServer):
    """Authlib's server in Flask."""

    command = (sys.executable, "-m", "tests.interop.authlib_server")
    path = "/as"
    protected_path = "/whoami"
    extra: ClassVar[Mapping[str, str]] = {}


def _register(kind: Kind, auth: str, exact: str) -> Registration:
    # The characters must be form-encoded in the Basic header (RFC 6749 §2.3.1).
    secret = None if auth == "none" else f"p:ss/w%rd+&={secrets.token_hex(16)}"
    redirects = exact, f"http://127.0.0.1:{PORT}{_DAEMON_PATH}"
    if kind != "exact":
        redirects = "http://127.0.0.1/callback", f"http://127.0.0.1{_DAEMON_PATH}"
    return Registration(f"app-{kind}", secret, auth, redirects)


def _find_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
