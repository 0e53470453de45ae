"""How far a dance is: one type a state, each with only its own fields."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from atl_sign.errors import DaemonError


@dataclass(frozen=True, slots=True)
class Waiting:
    """The user has not decided yet."""

    word: ClassVar[Literal["waiting"]] = "waiting"


@dataclass(frozen=True, slots=True)
class Granted:
    """The user pressed Allow, and the access token is stored."""

    word: ClassVar[Literal["granted"]] = "granted"
    user: str | None  # as the provider names the user; None when it did not say


@dataclass(frozen=True, slots=True)
class Refused:
    """The user pressed Deny."""

    word: ClassVar[Literal["refused"]] = "refused"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A peer cancelled the dance, or the daemon ended."""

    word: ClassVar[Literal["cancelled"]] = "cancelled"


@dataclass(frozen=True, slots=True)
class Expired:
    """The request token's time ran out."""

    word: ClassVar[Literal["expired"]] = "expired"


@dataclass(frozen=True, slots=True)
class Failed:
    """The last leg failed; a new dance is needed."""

    word: ClassVar[Literal["failed"]] = "failed"
    error: DaemonError


DanceState = Waiting | Granted | Refused | Cancelled | Expired | Failed
