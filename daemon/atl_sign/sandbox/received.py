"""The requests that the sandbox has received, for tests to read."""

from dataclasses import dataclass, field

from atl_sign.sandbox.call import Site

_REMEMBERED_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Received:
    """One request that arrived, and what came of it."""

    product: str | None  # or the part of Atlassian Cloud; None: below no product's context path
    method: str
    target: bytes  # exactly as sent
    verdict: str  # how the caller was known, or why not; an oauth_problem in its own word
    user: str | None
    status: int

    def __repr__(self) -> str:
        """Show everything but the query: some servers read secrets from there."""
        path, _, query = self.target.decode("latin-1").partition("?")
        line = f"{self.method} {path}{'?…' if query else ''}"
        return f"<Received {self.product}: {line} by {self.user}: {self.verdict}, {self.status}>"


@dataclass(slots=True)
class RequestLog:
    """The requests that have arrived."""

    requests: list[Received] = field(default_factory=list, kw_only=True)  # the latest, oldest first
    count: int = field(default=0, kw_only=True)  # of all that ever arrived

    def add(self, received: Received) -> None:
        """Remember one request; of very many the oldest are forgotten."""
        self.count += 1
        self.requests.append(received)
        if len(self.requests) > _REMEMBERED_MAX:
            del self.requests[: _REMEMBERED_MAX // 2]


@dataclass(slots=True)
class SandboxState(RequestLog):
    """The requests that the sandbox has received and its products' memory, for tests to read."""

    sites: dict[str, Site]  # by product; `.state` has links and tokens, `.data` the product's own things
