"""The sandbox itself: four products on one loopback port, in a thread of their own."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from email.utils import formatdate
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

from atl_sign.sandbox.bamboo import BAMBOO
from atl_sign.sandbox.bitbucket import BITBUCKET
from atl_sign.sandbox.call import Call, Product, Site
from atl_sign.sandbox.confluence import CONFLUENCE
from atl_sign.sandbox.git_access import admit, is_for_git
from atl_sign.sandbox.git_backend import GitRefusalError, Repositories, run_backend
from atl_sign.sandbox.jira import JIRA
from atl_sign.sandbox.keys import parse_public_key
from atl_sign.sandbox.listener import ServedPort, StreamingHandler
from atl_sign.sandbox.oauth2.records import App
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.pages import BAD_PATH_PAGE
from atl_sign.sandbox.parameters import is_bad_path
from atl_sign.sandbox.person import Person
from atl_sign.sandbox.problems import RefusalForm
from atl_sign.sandbox.received import Received, SandboxState
from atl_sign.sandbox.site import answer, decode_path
from atl_sign.sandbox.state import REQUEST_TOKEN_LIFE_S, TOKEN_LIFE_S, Consumer, SiteState
from atl_sign.sandbox.tokens import DAY_S, DAYS_MAX, PersonalToken, TokenStore
from atl_sign.sandbox.verify import make_base_uri
from atl_sign.sandbox.wire import Answer, Request, StreamedAnswer, make_text

PRODUCTS: dict[str, Product] = {product.type_id: product for product in (BAMBOO, JIRA, CONFLUENCE, BITBUCKET)}


class Sandbox:
    """A provider that behaves like Bamboo, Jira, Confluence and Bitbucket, on 127.0.0.1; also a context manager."""

    def __init__(
        self,
        products: Sequence[str] = tuple(PRODUCTS),
        *,
        versions: Mapping[str, str] | None = None,
        port: int = 0,
        context_path: str | None = None,
        base_url: str | None = None,
        is_behind_proxy: bool = False,
        clock: Callable[[], float] = time.time,
        token_life_s: float = TOKEN_LIFE_S,
        request_token_life_s: float = REQUEST_TOKEN_LIFE_S,
        token_days_max: int = DAYS_MAX,
        tokens_must_expire: bool = False,
        signed_makes_tokens: bool = True,
        refusals: RefusalForm = "both",
    ) -> None:
        """
        Prepare *products*; `start` serves them.

        Args:
            products: of "bamboo", "jira", "confluence", "bitbucket".
            versions: of products that are not to have their usual one, such as {"jira": "8.13.0"}.
            port: where to listen; 0 for any free port, which `start` keeps when it is called again.
            context_path: instead of "/PRODUCT", for a single product; "/" for none.
            base_url: the configured base URL, when it is to differ from the real one. Without a path the context path is added.
            is_behind_proxy: check signatures against *base_url* instead of the address that the caller used.
            clock: the servers' clock, in seconds since 1970; may be replaced later.
            token_life_s: an access token's life in seconds.
            request_token_life_s: a request token's.
            token_days_max: for how many days an administrator lets personal access tokens live.
            tokens_must_expire: whether an administrator refuses personal access tokens without an end.
            signed_makes_tokens: whether an OAuth 1.0a signature makes personal access tokens; at Bitbucket it does in any case.
            refusals: how an OAuth problem arrives, as of `problems.make_problem_answer`.

        Raises:
            ValueError: the arguments do not go together.
        """
        versions = versions or {}
        _check_arguments(products, context_path, base_url, is_behind_proxy)
        _check_versions(products, versions)
        self.clock = clock
        self._given_base_url = base_url
        self._is_behind_proxy = is_behind_proxy
        self._lock = threading.Lock()
        sites = {}
        for name in products:
            product = replace(PRODUCTS[name], version=versions.get(name, PRODUCTS[name].version))
            tokens = TokenStore(
                product.tokens.prefix,
                token_days_max,
                must_expire=tokens_must_expire and product.has_expiring_tokens,
                refuses_signed=not signed_makes_tokens and name != BITBUCKET.type_id,
            )
            state = SiteState(self._now, token_life_s, request_token_life_s, tokens)
            path = f"/{name}" if context_path is None else context_path.rstrip("/")
            oauth2 = None
            if product.oauth2 is not None and product.has_oauth2:
                oauth2 = OAuth2Server(product.oauth2.flavour, self._now)
            sites[name] = Site(product, state, path, "", refusals=refusals, data=product.make_data(), oauth2=oauth2)
        self.state = SandboxState(sites)
        self._repositories = Repositories()
        self._served = ServedPort(port, self._answer, lambda: formatdate(self.clock(), usegmt=True), self._find_streaming)

    def start(self) -> Self:
        """Listen and serve; returns once connections are taken. After `stop` it may be called again: port and state stay."""
        self._served.start()
        for site in self.state.sites.values():
            site.base_url = self._configured_base_url(site)
            if self._is_behind_proxy:
                parts = urlsplit(site.base_url)
                site.signed_base = make_base_uri(parts.scheme, parts.netloc.encode(), parts.path.encode()).rstrip(b"/")
        return self

    def stop(self) -> None:
        """Close every connection and the port; does nothing when the sandbox is not started."""
        self._served.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def base_url(self, product: str) -> str:
        """Return the address where *product* really is, once the sandbox was started."""
        return self._served.origin + self.state.sites[product].context_path

    @property
    def port(self) -> int:
        """The port; 0 for any free one before the first start."""
        return self._served.port

    def register_consumer(self, product: str, key: str, public_key_pem: str, *, name: str = "atl-sign") -> None:
        """
        Make an application link with a consumer, as an administrator would.

        A consumer of this key that is there already goes first, with its tokens.

        Raises:
            ValueError: the product would not take the public key.
        """
        state = self.state.sites[product].state
        consumer = Consumer(key, name, parse_public_key(public_key_pem, may_be_certificate=True))
        with self._lock:
            for link in [link for link in state.links.values() if link.consumer is not None and link.consumer.key == key]:
                state.remove_link(link.id)
            state.set_consumer(state.add_link(name, "http://generic.example", "http://generic.example"), consumer)

    def oauth2(self, product: str) -> OAuth2Server:
        """Return the OAuth 2.0 server of *product*, with its knobs; raises ValueError when this version has none."""
        site = self.state.sites[product]
        if site.oauth2 is None:
            raise ValueError(f"{site.product.title} {site.product.version} has no OAuth 2.0")
        return site.oauth2

    def register_app(
        self,
        product: str,
        *,
        redirect_uris: Sequence[str],
        scopes: Sequence[str] = (),
        client_id: str | None = None,
        client_secret: str | None = None,
        name: str = "atl-sign",
    ) -> App:
        """
        Register an external application for OAuth 2.0, as an administrator would.

        Args:
            product: "bamboo", "jira", "confluence" or "bitbucket".
            redirect_uris: https addresses, or http://localhost:PORT with a path.
            scopes: the most that it may ask for; none for no limit.
            client_id: instead of a new one; an application that has it already goes first, with its tokens.
            client_secret: instead of a new one.
            name: what users see.

        Raises:
            ValueError: the product would not take it, or has no OAuth 2.0.
        """
        server = self.oauth2(product)
        with self._lock:
            return server.register_app(redirect_uris, scopes, name=name, client_id=client_id, client_secret=client_secret)

    def make_token(
        self,
        product: str,
        user: str = "alice",
        *,
        name: str = "test",
        days: float | None = 90,
        permissions: Sequence[str] | None = None,
    ) -> PersonalToken:
        """
        Make a personal access token of *user*, as the user would on the product's page; it is deleted by `revoke_token`.

        Args:
            product: "bamboo", "jira", "confluence" or "bitbucket".
            user: "alice", "bob" or "admin".
            name: what the product's list of tokens shows.
            days: the token's life; negative for a token that has expired, None for one without an end.
            permissions: what it may do, of Bamboo's and Bitbucket's; all of them without it. No others have any.

        Raises:
            ValueError: this version of the product has no such tokens, or not with these permissions.
        """
        site = self.state.sites[product]
        known = site.product.tokens.permissions
        chosen = tuple(permissions if permissions is not None else known)
        if not site.product.has_tokens:
            raise ValueError(f"{site.product.title} {site.product.version} has no personal access tokens")
        if not set(chosen) <= set(known):
            raise ValueError(f"permissions of {site.product.title} are {', '.join(known) or 'not there'}")
        with self._lock:
            now = self.clock()
            return site.state.tokens.add(user, name, chosen, now, now + days * DAY_S if days is not None else None)

    def revoke_token(self, product: str, token: PersonalToken) -> None:
        """Delete *token*, as its user would on the product's page."""
        with self._lock:
            self.state.sites[product].state.tokens.remove(token)

    def ask_for_token(self, product: str, user: str = "alice", *, name: str = "test", days: str = "90") -> str:
        """
        Log in as *user*, fill in the form of the product's token page, and copy the token from there, over HTTP.

        Raises:
            ApproveError: the pages do not lead there.
        """
        site = self.state.sites[product]
        page = self.base_url(product) + site.product.tokens.page_path
        return Person(user, site.state.users[user].password).make_token(page, {"name": name, "days": days})

    def approve(self, product: str, authorize_url: str, user: str = "alice", *, deny: bool = False) -> str:
        """
        Log in as *user* and press Allow (or Deny) on the page at *authorize_url*, over HTTP.

        Returns:
            The address that the browser would be sent to. For an oob dance the code to type, or "denied".

        Raises:
            ApproveError: the pages do not lead there.
        """
        return Person(user, self.state.sites[product].state.users[user].password).decide(authorize_url, deny=deny)

    def _now(self) -> float:
        return self.clock()  # asked each time: the clock may be replaced

    def _configured_base_url(self, site: Site) -> str:
        if self._given_base_url is None:
            return self.base_url(site.product.type_id)
        has_path = urlsplit(self._given_base_url).path != ""
        return self._given_base_url.rstrip("/") if has_path else self._given_base_url + site.context_path

    def _answer(self, request: Request) -> Answer:
        with self._lock:
            site = self._find_site(request.path)
            if is_bad_path(request.path):
                name = site.product.type_id if site is not None else None
                self.state.add(Received(name, request.method, request.target, "bad path", None, 400))
                return BAD_PATH_PAGE
            if site is None:
                self.state.add(Received(None, request.method, request.target, "anonymous", None, 404))
                there = "".join(f"{self.base_url(name)}/\n" for name in self.state.sites)
                return make_text(f"Nothing is here. The products are at:\n{there}", 404)
            found, call = answer(site, request)
            user = call.user.name if call.user is not None else None
            self.state.add(Received(site.product.type_id, request.method, request.target, call.verdict, user, found.status))
            return found

    def _find_streaming(self, request: Request) -> StreamingHandler | None:
        """Return what answers *request* while its body still comes: what concerns Bitbucket's repositories."""
        site = self._find_site(request.path)
        if site is None or site.product.type_id != BITBUCKET.type_id or is_bad_path(request.path):
            return None
        path = decode_path(request.path[len(site.context_path) :])
        return (lambda head, body: self._answer_git(Call(site, head, path), body)) if is_for_git(path) else None

    def _answer_git(self, call: Call, body: Iterator[bytes]) -> Answer | StreamedAnswer:
        with self._lock:
            try:
                environment = admit(call, self._repositories)
                refusal = None
            except GitRefusalError as exc:
                refusal = exc.answer
            user = call.user.name if call.user is not None else None
            status = 200 if refusal is None else refusal.status
            self.state.add(Received("bitbucket", call.request.method, call.request.target, call.verdict, user, status))
        return run_backend(environment, body) if refusal is None else refusal

    def _find_site(self, path: bytes) -> Site | None:
        for site in self.state.sites.values():
            context_path = quote(site.context_path).encode()
            if path == context_path or path.startswith(context_path + b"/"):
                return site
        return None


def _check_versions(products: Sequence[str], versions: Mapping[str, str]) -> None:
    for name, version in versions.items():
        if name not in products:
            raise ValueError(f"a version for {name}, which is not served")
        if not re.fullmatch(r"\d{1,4}(\.\d{1,4}){1,3}", version, re.A):
            raise ValueError("a version is numbers with dots between them, such as 9.12.15")


def _check_arguments(products: Sequence[str], context_path: str | None, base_url: str | None, is_behind_proxy: bool) -> None:
    unknown = [name for name in products if name not in PRODUCTS]
    if unknown or not products:
        raise ValueError(f"products are {', '.join(PRODUCTS)}")
    if context_path is not None:
        if len(products) != 1:
            raise ValueError("a context path of one's own goes with a single product")
        if not context_path.startswith("/") or context_path != quote(context_path) or "//" in context_path:
            raise ValueError("a context path begins with a slash and holds plain characters")
    if base_url is not None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("a base URL is http://HOST or https://HOST, with or without a path")
        if parts.path and len(products) != 1:
            raise ValueError("a base URL with a path goes with a single product")
    elif is_behind_proxy:
        raise ValueError("behind a proxy there is a base URL that differs")
