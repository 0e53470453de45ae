"""Atlassian Cloud itself: six hosts, each on a port of its own."""

import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from types import TracebackType
from typing import Any, Self

from atl_sign.sandbox.call import Call, RefusalError, Route
from atl_sign.sandbox.cloud.account import SCOPES, TOKEN_PAGE
from atl_sign.sandbox.cloud.bitbucket import admit, answer_api
from atl_sign.sandbox.cloud.bitbucket_access import make_error
from atl_sign.sandbox.cloud.consumers import BackEnd
from atl_sign.sandbox.cloud.gate import make_site_error
from atl_sign.sandbox.cloud.hosts import HOSTS, AppServer, Host, make_cloud_state
from atl_sign.sandbox.cloud.site import answer_gateway, answer_site
from atl_sign.sandbox.cloud.three_legged import CloudSite
from atl_sign.sandbox.git_backend import GitRefusalError, Repositories, run_backend
from atl_sign.sandbox.listener import ServedPort, StreamingHandler
from atl_sign.sandbox.oauth2.host import answer_host, make_host_routes
from atl_sign.sandbox.oauth2.records import App
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.pages import BAD_PATH_PAGE
from atl_sign.sandbox.parameters import is_bad_path
from atl_sign.sandbox.person import Person
from atl_sign.sandbox.received import Received
from atl_sign.sandbox.site import answer, decode_path
from atl_sign.sandbox.tokens import DAY_S, PersonalToken
from atl_sign.sandbox.wire import Answer, Request, StreamedAnswer, make_text

_LINKS_LEAD_TO: dict[Host, Host] = {"gateway": "site", "bitbucket-api": "bitbucket"}  # from what these hosts answer


class Cloud:
    """A Cloud site, its gateway, the account pages and Bitbucket Cloud, on 127.0.0.1; also a context manager."""

    def __init__(
        self,
        *,
        port: int = 0,
        clock: Callable[[], float] = time.time,
        takes_classic_at_gateway: bool = True,
        bitbucket_back_end: BackEnd = "new",
    ) -> None:
        """
        Prepare the hosts; `start` serves them.

        Args:
            port: the first host's; the others follow. 0 for any free ones, which `start` keeps when it is called again.
            clock: the servers' clock, in seconds since 1970; may be replaced later.
            takes_classic_at_gateway: whether a token without scopes works at the gateway too.
            bitbucket_back_end: "new", whose refresh tokens rotate, or "old".

        Raises:
            ValueError: there are not enough ports after *port*, or no such back end.
        """
        if port + len(HOSTS) > 65_536:
            raise ValueError(f"there are no {len(HOSTS)} ports from {port} on")
        self.clock = clock
        self._takes_classic = takes_classic_at_gateway
        self._lock = threading.Lock()
        self._repositories = Repositories()
        self.state, self._sites = make_cloud_state(self._now, bitbucket_back_end)
        self._routes: dict[Host, tuple[Route, ...]] = {
            host: make_host_routes(self._sites[host].product) for host in self.state.oauth2
        }
        self._ports = {host: self._make_port(host, port + number if port else 0) for number, host in enumerate(HOSTS)}

    def start(self) -> Self:
        """Listen and serve; returns once connections are taken. After `stop` it may be called again: ports and state stay."""
        try:
            for served in self._ports.values():
                served.start()
        except OSError:
            self.stop()
            raise
        for host, site in self._sites.items():
            site.base_url = self.url(_LINKS_LEAD_TO.get(host, host))
        return self

    def stop(self) -> None:
        """Close every connection and the ports; does nothing when nothing is started."""
        for served in self._ports.values():
            served.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def url(self, host: Host) -> str:
        """Return the address of *host*, once it was started; Jira's base URL is the site's, Confluence's is `/wiki` below it."""
        return self._ports[host].origin

    @property
    def cloud_id(self) -> str:
        """The site's id, as `/_edge/tenant_info` tells it."""
        return self.state.cloud_id

    def oauth2(self, server: AppServer) -> OAuth2Server:
        """Return the OAuth 2.0 server of "auth" or "bitbucket", with its knobs."""
        return self.state.oauth2[server]

    def register_app(self, server: AppServer, *, redirect_uris: Sequence[str], scopes: Sequence[str], **others: Any) -> App:
        """
        Register an app, as a developer would.

        Args:
            server: "auth" for an app of Jira and Confluence, "bitbucket" for an OAuth consumer.
            redirect_uris: its callback URLs; a real app has one.
            scopes: all that it may ask for; `offline_access` needs no place among them.
            others: client_id, client_secret, name, as `Sandbox.register_app` has them.

        Raises:
            ValueError: there is no such scope.
        """
        with self._lock:
            return self.oauth2(server).register_app(redirect_uris, scopes, **others)

    def approve(self, authorize_url: str, user: str = "alice", *, deny: bool = False) -> str:
        """
        Log in as *user* and press Allow (or Deny) on the page at *authorize_url*, over HTTP.

        Args:
            authorize_url: at "auth" or "bitbucket".
            user: an e-mail address, or the part before the @.
            deny: press Deny.

        Returns:
            The address that the browser would be sent to; "" when a page ends it.

        Raises:
            ApproveError: the pages do not lead there.
        """
        name = user if "@" in user else f"{user}@example.com"
        return Person(name, self.state.accounts.users[name].password).decide(authorize_url, deny=deny)

    def add_site(self, name: str, url: str) -> str:
        """Let the accounts have one more site, which only apps and the gateway know; returns its cloud id."""
        site = CloudSite(str(uuid.uuid4()), name, url)
        self.state.sites[site.id] = site
        return site.id

    def make_token(
        self,
        user: str = "alice@example.com",
        *,
        scopes: Sequence[str] = (),
        name: str = "test",
        days: float | None = 365,
    ) -> PersonalToken:
        """
        Make an API token of *user*, as the user would on the account's page; `revoke_token` deletes it.

        Args:
            user: an e-mail address: alice@example.com, bob@example.com or admin@example.com.
            scopes: of `SCOPES`; none for a classic token.
            name: what the page shows.
            days: the token's life; negative for a token that has expired, None for one of before tokens had an end.

        Raises:
            ValueError: there is no such user or scope.
        """
        if user not in self.state.accounts.users:
            raise ValueError(f"no account {user}")
        unknown = set(scopes) - set(SCOPES)
        if unknown:
            raise ValueError(f"no scope {min(unknown)}")
        with self._lock:
            now = self.clock()
            end = now + days * DAY_S if days is not None else None
            return self.state.accounts.tokens.add(user, name, tuple(scopes), now, end)

    def revoke_token(self, token: PersonalToken) -> None:
        """Delete *token*, as its user would on the account's page."""
        with self._lock:
            self.state.accounts.tokens.remove(token)

    def ask_for_token(self, user: str = "alice@example.com", *, name: str = "test", days: str = "365", scope: str = "") -> str:
        """
        Log in as *user*, fill in the form of the account's token page, and copy the token from there, over HTTP.

        Raises:
            ApproveError: the pages do not lead there.
        """
        fields = {"name": name, "days": days, **({"permission": scope} if scope else {})}
        return Person(user, self.state.accounts.users[user].password).make_token(self.url("account") + TOKEN_PAGE, fields)

    def _now(self) -> float:
        return self.clock()  # asked each time: the clock may be replaced

    def _make_port(self, host: Host, port: int) -> ServedPort:
        def find_git(request: Request) -> StreamingHandler | None:
            is_for_git = host == "bitbucket" and not is_bad_path(request.path) and not self._is_page(host, request)
            return self._answer_git if is_for_git else None

        return ServedPort(port, lambda request: self._answer(host, request), self._format_date, find_git)

    def _is_page(self, host: Host, request: Request) -> bool:
        path = decode_path(request.path)
        return any(route.pattern.fullmatch(path) for route in self._routes[host])

    def _format_date(self) -> str:
        return formatdate(self.clock(), usegmt=True)

    def _answer(self, host: Host, request: Request) -> Answer:
        site = self._sites[host]
        call = Call(site, request, decode_path(request.path))
        with self._lock:
            if is_bad_path(request.path):
                call.verdict, found = "bad path", BAD_PATH_PAGE
            elif host == "account":
                found, call = answer(site, request)
            else:
                found = self._dispatch(host, call)
            self._remember(host, call, found.status)
        return found

    def _dispatch(self, host: Host, call: Call) -> Answer:
        try:
            if host in self._routes:
                return answer_host(call, self._routes[host])
            if host == "bitbucket-api":
                return answer_api(call)
            if host == "gateway":
                return answer_gateway(call, self.state.sites, takes_classic=self._takes_classic)
            return answer_site(call, self.cloud_id)
        except RefusalError as exc:
            make = make_error if host == "bitbucket-api" else make_site_error
            return make(exc.status, exc.message).with_headers(*exc.headers)
        except Exception:  # the outermost handler: a fault of the sandbox must not look like an answer of Atlassian's
            traceback.print_exc(file=sys.stderr)
            call.verdict = "sandbox fault"
            return make_text("The sandbox is at fault here; see its standard error.", 500)

    def _answer_git(self, request: Request, body: Iterator[bytes]) -> Answer | StreamedAnswer:
        call = Call(self._sites["bitbucket"], request, decode_path(request.path))
        environment, refusal = {}, None
        with self._lock:
            try:
                environment = admit(call, self._repositories)
            except GitRefusalError as exc:
                refusal = exc.answer
            self._remember("bitbucket", call, 200 if refusal is None else refusal.status)
        return run_backend(environment, body) if refusal is None else refusal

    def _remember(self, host: Host, call: Call, status: int) -> None:
        user = call.user.name if call.user is not None else None
        self.state.add(Received(host, call.request.method, call.request.target, call.verdict, user, status))
