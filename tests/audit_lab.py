"""What tests of the agent need of peers and of the audit log: one peer, and a log that is kept in memory."""

import os

from atl_sign.access.audit import AuditLog
from atl_sign.base.peer import Peer

PEER = Peer(4711, os.geteuid(), os.getegid(), "/usr/bin/curl")


class MemorySink:
    """Lines in a list; fails when it is told to."""

    place = "memory"

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failure: OSError | None = None

    def write(self, line: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.lines.append(line)


def make_audit() -> AuditLog:
    return AuditLog(MemorySink())
