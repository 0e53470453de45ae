"""The caller: the process at the other end of a socket, or the daemon itself."""

from dataclasses import dataclass

from atl_sign.base.peer import Peer


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller."""

    peer: Peer | None  # None for the daemon itself


DAEMON = Caller(None)
