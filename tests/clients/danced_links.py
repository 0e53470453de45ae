"""Links of OAuth 2.0 for the tests of clients: danced with, and a Cloud gateway that moves addresses and keeps what came in."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import requests

from atl_sign.sandbox import Cloud, Forge, Sandbox
from tests.lab import REPOSITORY, Daemon
from tests.oauth2_lab import PORT, dance, give_app, put_link, redirect_of

ATL_SIGN = REPOSITORY / "clients/bash/atl-sign"
JIRA = ("read:jira-work", "read:jira-user", "write:jira-work")
CONFLUENCE = ("read:confluence-content.all", "read:confluence-user", "write:confluence-content")
MYSELF = "/rest/api/3/myself"
MEDIA_FILE = "the attachment"
KINDS = ("datacenter", "bitbucket-cloud", "github", "github-enterprise", "gitlab", "generic")  # of `add_link`


def atl_sign(daemon: Daemon, *arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command without a terminal."""
    return subprocess.run(
        [str(ATL_SIGN), *arguments],
        env={**daemon.environment, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that came in."""

    method: str
    path: str  # with its query
    authorization: str | None
    body: bytes
    status: int  # of the answer

    @property
    def is_authorized(self) -> bool:
        return self.authorization is not None


Reply = tuple[int, dict[str, str], "bytes | Iterator[bytes]"]  # status, headers and body; an iterator's pieces go out as chunks


class Host(ThreadingHTTPServer):
    """A host on 127.0.0.1 that answers each request with `answer`; a context manager."""

    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Return status, headers and body, here a file; names of *headers* are like Content-Type."""
        del method, path, headers, body
        return 200, {"Content-Type": "application/octet-stream"}, MEDIA_FILE.encode()


class Front(Host):
    """
    A host before a sandbox's, which answers what the sandbox does but for some paths.

    It moves each path that ends with /moved to `location`.
    """

    def __init__(self, origin: str, **names: str) -> None:
        super().__init__()
        self._origin = origin
        self._names = names
        self.status = 302
        self.location = ""  # may hold {front}, and the names
        self.places: dict[str, str] = {}  # others, by the end of the path
        self.fixed: dict[str, Callable[[], Reply]] = {}  # answers by the end of the path

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Return the sandbox's answer, or that of one of these paths."""
        bare = path.partition("?")[0]
        fixed = next((each for end, each in self.fixed.items() if bare.endswith(end)), None)
        if fixed is not None:
            return fixed()
        if bare.endswith("/moved"):
            there = next((place for end, place in self.places.items() if bare.endswith(end)), self.location)
            return self.status, {"Location": there.format(front=self.url, **self._names)}, b""
        if bare.endswith("/attachments") and method in ("POST", "PUT"):
            return 200, {"Content-Type": "application/json"}, b"[]"
        kept: dict[str, str] = {name: headers[name] for name in ("Authorization", "Content-Type", "Accept") if name in headers}
        found = requests.request(method, self._origin + path, headers=kept, data=body, timeout=10, allow_redirects=False)
        return found.status_code, {name: found.headers[name] for name in _PASSED if name in found.headers}, found.content


class Gateway(Front):
    """A gateway before the sandbox's; an attachment's content is at the address *media*."""

    def __init__(self, cloud: Cloud, media: str = "http://127.0.0.1:1") -> None:
        super().__init__(cloud.url("gateway"), id=cloud.cloud_id, site=cloud.url("site"), media=media)
        self._media = media

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Return what the sandbox's gateway answers, but for those addresses."""
        if "/attachment/content/" in path.partition("?")[0]:
            return 303, {"Location": f"{self._media}/file/1?token=media"}, b""
        return super().answer(method, path, headers, body)


_PASSED = ("Content-Type", "WWW-Authenticate")


class _Handler(BaseHTTPRequestHandler):
    """Reads requests for a `Host`."""

    protocol_version = "HTTP/1.1"
    server: Host

    def _serve(self) -> None:
        body = (
            self._read_chunks()
            if self.headers["Transfer-Encoding"]
            else self.rfile.read(int(self.headers["Content-Length"] or 0))
        )
        own = {name.title(): value for name, value in self.headers.items()}
        status, headers, content = self.server.answer(self.command, self.path, own, body)
        self.server.seen.append(Seen(self.command, self.path, self.headers["Authorization"], body, status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if isinstance(content, bytes):
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(OSError):  # the other side has gone
            for piece in content:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Site:
    """A Cloud site with a link of 3LO called cloud, and one to its Confluence called wiki; both danced with as alice."""

    daemon: Daemon
    cloud: Cloud
    gateway: Gateway
    media: Host

    @property
    def url(self) -> str:
        """The site's address."""
        return self.cloud.url("site")

    @property
    def there(self) -> str:
        """The gateway's address in its place."""
        return f"{self.gateway.url}{self.prefix}"

    @property
    def prefix(self) -> str:
        return f"/ex/jira/{self.cloud.cloud_id}"

    def take(self) -> list[Seen]:
        """Return what the gateway has got since the last time, and forget it."""
        found = list(self.gateway.seen)
        self.gateway.seen.clear()
        return found

    def at_site(self) -> int:
        """Return how many requests have come to the site itself."""
        return sum(each.product == "site" for each in self.cloud.state.requests)

    def tokens(self) -> tuple[str, ...]:
        """Return every secret that the consent has brought."""
        server = self.cloud.oauth2("auth")
        return (*server.access_tokens, *server.refresh_tokens)


def start_site(stack: ExitStack, daemon: Daemon) -> Site:
    """Start Atlassian Cloud, a gateway before it and a media host; link both products, and dance."""
    cloud = stack.enter_context(Cloud())
    media = stack.enter_context(Host())
    gateway = stack.enter_context(Gateway(cloud, media.url))
    scopes = [*JIRA, *CONFLUENCE]
    app = cloud.register_app("auth", redirect_uris=[redirect_of(cloud.url("auth"))], scopes=[*scopes, "read:me"])
    for name, path, own in (("cloud", "", JIRA), ("wiki", "/wiki", CONFLUENCE)):
        settings = {"flavour": "atlassian-cloud", "issuer": cloud.url("auth"), "gateway": gateway.url, "scopes": " ".join(own)}
        put_link(daemon, name, cloud.url("site") + path, **settings)
        give_app(daemon, name, app)
    state = dance(daemon, "cloud", cloud.approve)
    assert state["state"] == "granted", state
    gateway.seen.clear()
    return Site(daemon, cloud, gateway, media)


@dataclass(frozen=True, slots=True)
class Danced:
    """A link that was danced with as alice."""

    double: Any  # Sandbox, Cloud or Forge
    base: str
    asked: str  # an address that says who one is
    sent: str  # where it is answered
    user: str = "alice"  # stands in the answer


@dataclass(frozen=True, slots=True)
class Jira:
    """A Data Center Jira with a link called jira, danced with as alice."""

    daemon: Daemon
    sandbox: Sandbox
    front: Front
    media: Host

    @property
    def url(self) -> str:
        """The link's base URL."""
        return f"{self.front.url}/jira"

    def take(self) -> list[Seen]:
        """Return what the front has got since the last time, and forget it."""
        found = list(self.front.seen)
        self.front.seen.clear()
        return found


def start_jira(stack: ExitStack, daemon: Daemon) -> Jira:
    """Start Jira, a front before it and another host; link and dance."""
    sandbox = stack.enter_context(Sandbox(["jira"]))
    media = stack.enter_context(Host())
    own = sandbox.base_url("jira")
    front = stack.enter_context(Front(own.removesuffix("/jira"), media=media.url))
    put_link(daemon, "jira", f"{front.url}/jira", flavour="datacenter", issuer=own)
    give_app(daemon, "jira", sandbox.register_app("jira", redirect_uris=[redirect_of(own)]))
    state = dance(daemon, "jira", lambda address: sandbox.approve("jira", address))
    assert state["state"] == "granted", state
    front.seen.clear()
    return Jira(daemon, sandbox, front, media)


def add_link(stack: ExitStack, daemon: Daemon, kind: str, name: str) -> Danced:
    """Start a provider of this *kind*, and dance with it by a link called *name*."""
    if kind == "datacenter":
        sandbox = stack.enter_context(Sandbox(["jira"]))
        url = sandbox.base_url("jira")
        put_link(daemon, name, url)
        give_app(daemon, name, sandbox.register_app("jira", redirect_uris=[redirect_of(url)]))
        dance(daemon, name, lambda address: sandbox.approve("jira", address))
        return Danced(sandbox, url, f"{url}/rest/api/2/myself", f"{url}/rest/api/2/myself")
    if kind == "bitbucket-cloud":
        cloud = stack.enter_context(Cloud())
        url, api = cloud.url("bitbucket"), cloud.url("bitbucket-api")
        put_link(daemon, name, url, flavour=kind, gateway=api)
        scopes = ["account", "repository:write", "pullrequest:write"]
        give_app(daemon, name, cloud.register_app("bitbucket", redirect_uris=[redirect_of(url)], scopes=scopes))
        dance(daemon, name, cloud.approve)
        return Danced(cloud, url, f"{url}/2.0/user", f"{api}/2.0/user")
    forge = stack.enter_context(Forge(kind))  # type: ignore[arg-type]
    url = forge.url("site")
    settings: dict[str, str] = {"gateway": forge.url("api")} if kind == "github" else {}
    if kind == "generic":
        who = {"who_url": f"{url}/userinfo", "who_field": "preferred_username"}
        settings = {"issuer": url, **who, "scopes": "openid profile"}
    put_link(daemon, name, url, flavour=kind, **settings)
    host = "localhost" if kind == "github-enterprise" else "127.0.0.1"
    give_app(daemon, name, forge.register_app(redirect_uris=[redirect_of(url, PORT, host)]))
    dance(daemon, name, forge.approve)
    path = {"github": "/user", "github-enterprise": "/api/v3/user", "gitlab": "/api/v4/user", "generic": "/userinfo"}[kind]
    there = (forge.url("api") if kind == "github" else url) + path
    return Danced(forge, url, there, there)


def shorten_life(site: Site) -> None:
    """Dance again, for a token that the daemon renews after two seconds, and by one with the usual life."""
    server = site.cloud.oauth2("auth")
    usual, server.access_token_life_s = server.access_token_life_s, 4.0
    try:
        state = dance(site.daemon, "cloud", site.cloud.approve)
        assert state["state"] == "granted", state
    finally:
        server.access_token_life_s = usual
    site.take()
