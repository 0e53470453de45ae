"""A handler's argument and the errors that it may raise: one call to one product, and that product's description."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atl_sign.sandbox.oauth2.data_center import ProductOAuth2
from atl_sign.sandbox.oauth2.records import AccessToken
from atl_sign.sandbox.oauth2.scopes import include
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.problems import RefusalForm
from atl_sign.sandbox.state import Session, SiteState, User
from atl_sign.sandbox.tokens import PersonalToken
from atl_sign.sandbox.wire import Answer, Request, make_json


class RefusalError(Exception):
    """The call is refused with an HTTP status and words; the product gives them its own shape."""

    def __init__(self, status: int, message: str, *headers: tuple[str, str]) -> None:
        """Refuse with *status*."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


class PluginRefusalError(RefusalError):
    """As RefusalError, by the plugin of application links, whose refusals have one shape in all products."""


@dataclass(frozen=True, slots=True)
class Route:
    """One address of a product; *pattern* matches the decoded path below the context path."""

    method: str
    path: str  # as written in the table of routes
    pattern: re.Pattern[str]
    handler: "Callable[[Call], Answer]"
    scopes: tuple[str, ...] = ()  # at Atlassian Cloud: what a scoped token needs, one of them


def make_routes(*rows: "tuple[str, str, Callable[[Call], Answer]]") -> tuple[Route, ...]:
    """Return routes from rows of method, path and handler; `{name}` stands for one segment and `{name*}` for the rest."""
    return tuple(Route(method, path, _compile(path), handler) for method, path, handler in rows)


@dataclass(frozen=True, slots=True)
class TokenKind:
    """How a product's personal access tokens work (facts section 9)."""

    since: tuple[int, ...]  # the first version that has them
    page_path: str
    routes: tuple[Route, ...]
    permissions: tuple[str, ...] = ()  # what a token may be made for, the usual first; empty: always what its user may do
    title: str = "Personal access tokens"  # what the product calls them
    prefix: str = ""
    is_password: bool = False  # whether a token also works as its owner's password
    needs_permissions: bool = True  # whether a token cannot do without permissions where there are some
    is_ignored_when_wrong: bool = True  # whether a wrong one makes the caller anonymous; False: it is refused
    can_expire_since: tuple[int, ...] = ()  # the first version whose tokens can expire
    # From these versions on, each in its own line and the last one for all later lines, tokens only work below /rest and /scm.
    confined_since: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Product:
    """The differences of one product from the others."""

    type_id: str
    title: str
    version: str
    build_number: str
    login_path: str
    routes: tuple[Route, ...]
    make_data: Callable[[], Any]
    make_error: Callable[[int, str], Answer]
    tokens: TokenKind
    anonymous_name: str | None = None  # what X-AUSERNAME says when nobody is logged in; None: the header is left out
    tells_user: bool = False  # whether answers carry X-AUSERNAME
    has_oauth: bool = True  # whether it has application links and OAuth 1.0a
    oauth2: ProductOAuth2 | None = None

    @property
    def version_numbers(self) -> tuple[int, ...]:
        """The version for comparing."""
        return tuple(int(number) for number in self.version.split("."))

    @property
    def has_oauth2(self) -> bool:
        """Whether this version has OAuth 2.0."""
        return self.oauth2 is not None and self.version_numbers >= self.oauth2.since

    @property
    def has_tokens(self) -> bool:
        """Whether this version has personal access tokens."""
        return self.version_numbers >= self.tokens.since

    @property
    def has_expiring_tokens(self) -> bool:
        """Whether this version's personal access tokens can expire."""
        return self.version_numbers >= self.tokens.can_expire_since

    @property
    def confines_tokens(self) -> bool:
        """Whether tokens of any kind work below /rest and /scm only."""
        version, firsts = self.version_numbers, self.tokens.confined_since
        is_fixed = any(version[:2] == first[:2] and version >= first for first in firsts)
        return is_fixed or (firsts != () and version >= firsts[-1])


@dataclass
class Site:
    """One product as served: its description, its address and what it remembers."""

    product: Product
    state: SiteState
    context_path: str  # "" for the root
    base_url: str  # the configured one
    signed_base: bytes | None = None  # the base URL that signatures are checked against; None: the one that the caller used
    refusals: RefusalForm = "both"
    data: Any = None
    oauth2: OAuth2Server | None = None


@dataclass
class Call:
    """One request to one product."""

    site: Site
    request: Request
    path: str  # decoded, below the context path
    groups: Mapping[str, str] = field(default_factory=dict)
    user: User | None = None  # None: anonymous
    session: Session | None = None
    token: PersonalToken | None = None  # the personal access token that the caller is known by
    grant: AccessToken | None = None  # the OAuth 2.0 token that the caller is known by
    verdict: str = "anonymous"  # how the caller was known (anonymous, session, basic, bearer, oauth2, signed), or why not

    @property
    def state(self) -> SiteState:
        """The product's memory."""
        return self.site.state

    def require_user(self) -> User:
        """Return the user; raises RefusalError (401) when the call is anonymous."""
        if self.user is None:
            raise RefusalError(401, "You are not authenticated. Authentication required to perform this operation.")
        return self.user

    def require_admin(self) -> User:
        """Return the user; raises RefusalError (401 or 403) unless he is an administrator."""
        user = self.require_user()
        if not user.is_admin:
            raise RefusalError(403, "Only administrators may do this.")
        return user

    def require_permission(self, *names: str) -> None:
        """Return if the caller's token, if there is one, has one of the permissions *names*; raises RefusalError (403)."""
        if self.token is not None and not set(names).intersection(self.token.permissions):
            raise RefusalError(403, f"The access token lacks the permission {names[0]}.")

    def has_scope(self, name: str) -> bool:
        """Tell whether the caller may do what the OAuth 2.0 scope *name* is for; without such a token always."""
        if self.grant is None or self.site.oauth2 is None:
            return True
        return name in include(self.site.oauth2.flavour.scopes, self.grant.scopes)

    def read_json(self) -> dict[str, Any]:
        """Return the body's JSON object; raises RefusalError (415 or 400) when it is something else."""
        if self.request.media_type != "application/json":
            raise RefusalError(415, "The body's content type must be application/json.")
        try:
            value = json.loads(self.request.body)
        except (ValueError, RecursionError) as exc:
            raise RefusalError(400, "The body is not valid JSON.") from exc
        if not isinstance(value, dict):
            raise RefusalError(400, "The body must be a JSON object.")
        return value

    def read_page(self, start_name: str, limit_name: str, default_limit: int = 25) -> tuple[int, int]:
        """Return the first item's index and the number of items asked for; raises RefusalError (400)."""
        values = []
        for name, default in ((start_name, 0), (limit_name, default_limit)):
            text = self.request.parameter(name) or str(default)
            if not (text.isascii() and text.isdigit() and len(text) < 10):
                raise RefusalError(400, f"The parameter {name} must be a number.")
            values.append(int(text))
        return values[0], min(values[1], 1_000)

    def link_to(self, path: str) -> str:
        """Return the absolute address of *path* (below the context path) at the configured base URL."""
        return self.site.base_url + path

    def local(self, path: str) -> str:
        """Return *path* with the context path before it, for pages and redirects."""
        return self.site.context_path + path


def find_route(call: Call, routes: Sequence[Route]) -> Route:
    """Return the route that answers *call*, whose groups it sets; raises RefusalError (404 or 405)."""
    methods = set()
    method = "GET" if call.request.method == "HEAD" else call.request.method
    for route in routes:
        match = route.pattern.fullmatch(call.path)
        if match is None:
            continue
        methods.add(route.method)
        if route.method == method:
            call.groups = match.groupdict()
            return route
    if methods:
        allowed = ("Allow", ", ".join(sorted(methods)))
        raise RefusalError(405, f"The method {call.request.method} is not allowed here.", allowed)
    raise RefusalError(404, "There is nothing at this address.")


def show_running(call: Call) -> Answer:
    """Answer that the product is up, as load balancers ask for it."""
    del call
    return make_json({"state": "RUNNING"})


def text_field(fields: Mapping[str, Any], name: str) -> str:
    """Return the non-empty text *name* of a JSON object; raises RefusalError (400)."""
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RefusalError(400, f"The field {name} is missing or not a text.")
    return value


def cut_page(items: Sequence[Any], start: int, limit: int) -> list[Any]:
    """Return *limit* of *items* from *start* on."""
    return list(items[start : start + limit])


def _compile(path: str) -> re.Pattern[str]:
    pattern = re.sub(r"\\\{(\w+)\\\*\\\}", r"(?P<\1>.*)", re.escape(path))
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", pattern), re.S)
