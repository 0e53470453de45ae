"""How far a dance is: one type a state, each with only its own fields."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from atl_sign.base.errors import DaemonError

DanceWord = Literal["waiting", "granted", "refused", "cancelled", "expired", "failed"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """The user has not decided yet."""

    word: ClassVar[DanceWord] = "waiting"


@dataclass(frozen=True, slots=True)
class Granted:
    """The user pressed Allow, and the access token is stored."""

    word: ClassVar[DanceWord] = "granted"
    user: str | None  # as the provider names the user; None when it did not say
    instead_of: str | None = None  # the user of the grant before, when that was another one


@dataclass(frozen=True, slots=True)
class Refused:
    """The user pressed Deny."""

    word: ClassVar[DanceWord] = "refused"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A peer cancelled the dance, or the daemon ended."""

    word: ClassVar[DanceWord] = "cancelled"


@dataclass(frozen=True, slots=True)
class Expired:
    """The request token's time ran out."""

    word: ClassVar[DanceWord] = "expired"


@dataclass(frozen=True, slots=True)
class Failed:
    """The last leg failed; a new dance is needed."""

    word: ClassVar[DanceWord] = "failed"
    error: DaemonError


DanceState = Waiting | Granted | Refused | Cancelled | Expired | Failed
