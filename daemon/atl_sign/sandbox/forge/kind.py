"""A kind of forge: its OAuth 2.0 flavour, its API, and git."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from atl_sign.sandbox.call import Call, Product, Route
from atl_sign.sandbox.oauth2.flavour import Flavour
from atl_sign.sandbox.wire import Answer

ForgeName = Literal["github", "github-enterprise", "gitlab", "generic"]


@dataclass(frozen=True, slots=True)
class GitRule:
    """How git is let in: with an access token as the password beside any name."""

    challenge: str
    read_scopes: tuple[str, ...]  # one of them reads what is not public
    write_scopes: tuple[str, ...]
    missing_status: int  # for a private repository without the scope


@dataclass(frozen=True, slots=True, eq=False)
class ForgeKind:
    """The differences of one kind from the others."""

    product: Product
    flavour: Flavour
    api_routes: tuple[Route, ...]
    identify: Callable[[Call], Answer | None]  # sets the user of an API call, or refuses
    finish: Callable[[Call, Answer], Answer]  # adds what every API answer has
    api_path: str = ""  # below the site's address
    has_api_host: bool = False  # whether the API is a host of its own
    strips_api_path: bool = False  # whether the paths of `api_routes` begin below `api_path`
    git: GitRule | None = None


def number_of(call: Call) -> int:
    """Return the number of the call's user, which never changes."""
    return list(call.state.users).index(call.require_user().name) + 1


def leave_as_is(call: Call, found: Answer) -> Answer:
    """Return *found*."""
    del call
    return found
