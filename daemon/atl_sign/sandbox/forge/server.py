"""One forge, or the generic provider, on 127.0.0.1, in threads of its own."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from types import TracebackType
from typing import Any, Literal, Self, get_args

from atl_sign.sandbox.call import Call, Site, make_routes
from atl_sign.sandbox.cloud.bitbucket import make_workspace
from atl_sign.sandbox.forge.generic import GENERIC
from atl_sign.sandbox.forge.git import admit
from atl_sign.sandbox.forge.github import GITHUB, GITHUB_ENTERPRISE
from atl_sign.sandbox.forge.gitlab import GITLAB
from atl_sign.sandbox.forge.kind import ForgeKind, ForgeName
from atl_sign.sandbox.git_backend import GitRefusalError, Repositories, is_git_path, run_backend
from atl_sign.sandbox.listener import ServedPort, StreamingHandler
from atl_sign.sandbox.oauth2.faults import Faults
from atl_sign.sandbox.oauth2.host import answer_host, make_host_routes
from atl_sign.sandbox.oauth2.metadata import show_metadata
from atl_sign.sandbox.oauth2.records import App
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.pages import BAD_PATH_PAGE
from atl_sign.sandbox.parameters import is_bad_path
from atl_sign.sandbox.person import Person
from atl_sign.sandbox.received import Received, RequestLog
from atl_sign.sandbox.site import decode_path
from atl_sign.sandbox.state import SiteState
from atl_sign.sandbox.wire import Answer, Request, StreamedAnswer, make_text

FORGES: tuple[ForgeName, ...] = get_args(ForgeName)
ForgeHost = Literal["site", "api"]
KINDS: Mapping[ForgeName, ForgeKind] = {
    "github": GITHUB,
    "github-enterprise": GITHUB_ENTERPRISE,
    "gitlab": GITLAB,
    "generic": GENERIC,
}


@dataclass(slots=True)
class ForgeState(RequestLog):
    """The requests that a forge has received and its memory, for tests to read."""

    accounts: SiteState


class Forge:
    """A provider that behaves like GitHub, GitHub Enterprise, GitLab, or as the RFCs say; also a context manager."""

    def __init__(self, kind: ForgeName, *, port: int = 0, clock: Callable[[], float] = time.time, path: str = "") -> None:
        """
        Prepare the hosts; `start` serves them.

        Args:
            kind: "github", whose API has a host of its own, "github-enterprise", "gitlab" or "generic".
            port: the site's; GitHub's API has the next one. 0 for any free ones, which `start` keeps when it is called again.
            clock: the servers' clock, in seconds since 1970; may be replaced later.
            path: where the site begins, such as "/issuer1"; for "gitlab" and "generic".

        Raises:
            ValueError: there is no such kind, or not with a path.
        """
        if kind not in KINDS:
            raise ValueError(f"forges are {', '.join(FORGES)}")
        if path and (kind not in ("gitlab", "generic") or not path.startswith("/") or path.endswith("/")):
            raise ValueError("a path begins with a slash and goes with gitlab and generic")
        self.clock = clock
        self._kind = KINDS[kind]
        self._lock = threading.Lock()
        self._repositories = Repositories()
        self.state = ForgeState(SiteState(self._now))
        self.oauth2 = OAuth2Server(self._kind.flavour, self._now)
        self._routes = make_host_routes(self._kind.product)
        self._site = Site(self._kind.product, self.state.accounts, path, "", data=make_workspace(), oauth2=self.oauth2)
        hosts: tuple[ForgeHost, ...] = ("site", "api") if self._kind.has_api_host else ("site",)
        self._ports = {host: self._make_port(host, port + number if port else 0) for number, host in enumerate(hosts)}

    def start(self) -> Self:
        """Listen and serve; returns once connections are taken. After `stop` it may be called again: ports and state stay."""
        try:
            for served in self._ports.values():
                served.start()
        except OSError:
            self.stop()
            raise
        self._site.base_url = self.url("site")
        return self

    def stop(self) -> None:
        """Close every connection and the ports; does nothing when nothing is started."""
        for served in self._ports.values():
            served.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def url(self, host: ForgeHost) -> str:
        """Return the address of the site, which is also its issuer, or of its API, once the forge was started."""
        if host in self._ports and host == "api":
            return self._ports[host].origin
        site = self._ports["site"].origin + self._site.context_path
        return site if host == "site" else site + self._kind.api_path

    @property
    def faults(self) -> Faults:
        """The forge's misbehaviour."""
        return self.oauth2.faults

    def register_app(self, *, redirect_uris: Sequence[str] = (), scopes: Sequence[str] = (), **others: Any) -> App:
        """
        Register an app, as a developer would.

        Args:
            redirect_uris: its callback URLs; an app of the device flow needs none.
            scopes: all that it may ask for; none for no limit.
            others: kind ("oauth" or "github-app" at GitHub), is_public (an app without a secret, where there are some),
                has_device_flow, client_id, client_secret, name.

        Raises:
            ValueError: the forge would not take it.
        """
        with self._lock:
            return self.oauth2.register_app(redirect_uris, scopes, **others)

    def approve(self, authorize_url: str, user: str = "alice", *, deny: bool = False) -> str:
        """
        Log in as *user* and press Allow (or Deny) on the page at *authorize_url*, over HTTP.

        Returns:
            The address that the browser would be sent to; "" when a page ends it.

        Raises:
            ApproveError: the pages do not lead there.
        """
        return self._person(user).decide(authorize_url, deny=deny)

    def enter_device_code(self, user_code: str, user: str = "alice", *, deny: bool = False) -> None:
        """Log in as *user*, enter *user_code*, and press Allow (or Deny), over HTTP; raises ApproveError as `approve`."""
        page = self.url("site") + (self._kind.flavour.endpoints.device_page or "")
        self._person(user).enter_device_code(page, user_code, deny=deny)

    def _person(self, user: str) -> Person:
        return Person(user, self.state.accounts.users[user].password)

    def _now(self) -> float:
        return self.clock()  # asked each time: the clock may be replaced

    def _make_port(self, host: ForgeHost, port: int) -> ServedPort:
        def find_git(request: Request) -> StreamingHandler | None:
            is_for_git = host == "site" and self._kind.git is not None and not is_bad_path(request.path)
            return self._answer_git if is_for_git and is_git_path(self._path_of(request)) else None

        return ServedPort(
            port, lambda request: self._answer(host, request), lambda: formatdate(self.clock(), usegmt=True), find_git
        )

    def _path_of(self, request: Request) -> str:
        return decode_path(request.path).removeprefix(self._site.context_path) or "/"

    def _answer(self, host: ForgeHost, request: Request) -> Answer:
        call = Call(self._site, request, self._path_of(request))
        with self._lock:
            found = self._dispatch(host, call)
            self._remember(call, found.status)
        return found

    def _dispatch(self, host: ForgeHost, call: Call) -> Answer:
        kind, whole_path = self._kind, decode_path(call.request.path)
        if is_bad_path(call.request.path):
            call.verdict = "bad path"
            return BAD_PATH_PAGE
        if whole_path == f"/.well-known/oauth-authorization-server{self._site.context_path}":
            return answer_host(call, make_routes(("GET", call.path, show_metadata)))
        if not whole_path.startswith(f"{self._site.context_path}/"):
            return make_text("Nothing is here.", 404)
        if not self._is_api(host, call.path):
            return answer_host(call, self._routes)
        call.path = call.path.removeprefix(kind.api_path if kind.strips_api_path else "")
        return kind.finish(call, answer_host(call, kind.api_routes, kind.identify))

    def _is_api(self, host: ForgeHost, path: str) -> bool:
        kind = self._kind
        if kind.has_api_host:
            return host == "api"
        is_below = path.startswith(f"{kind.api_path}/")
        return is_below or (not kind.strips_api_path and any(route.pattern.fullmatch(path) for route in kind.api_routes))

    def _answer_git(self, request: Request, body: Iterator[bytes]) -> Answer | StreamedAnswer:
        call = Call(self._site, request, self._path_of(request))
        assert self._kind.git is not None  # noqa: S101 - only such kinds come here
        environment, refusal = {}, None
        with self._lock:
            try:
                environment = admit(call, self._repositories, self._kind.git)
            except GitRefusalError as exc:
                refusal = exc.answer
            self._remember(call, 200 if refusal is None else refusal.status)
        return run_backend(environment, body) if refusal is None else refusal

    def _remember(self, call: Call, status: int) -> None:
        user = call.user.name if call.user is not None else None
        name = self._kind.product.type_id
        self.state.add(Received(name, call.request.method, call.request.target, call.verdict, user, status))
