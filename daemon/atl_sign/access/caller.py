"""The caller: the process at the other end of a socket, with its lease, or the daemon itself."""

from dataclasses import dataclass

from atl_sign.access.lease import Lease
from atl_sign.base.peer import Peer


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller."""

    peer: Peer | None  # None for the daemon itself
    lease: Lease | None = None  # by whose entry the caller came; None at the owner's own sockets


DAEMON = Caller(None)
