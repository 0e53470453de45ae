"""The calls about leases: the owner's on the main socket, and the holder's own below `/~/` on its entries."""

from math import ceil
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field

from atl_sign.access.lease import ENTRY_KINDS, EntryKind, Peers, State
from atl_sign.agent.build import Agent
from atl_sign.agent.leases import LIFETIME_S_DEFAULT, LIFETIME_S_MAX, LeaseReport, Wanted
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented, wants_text
from atl_sign.api.fields import caller_of, read_fields
from atl_sign.api.policy import Lines, lines_of
from atl_sign.base.errors import BadFieldsError
from atl_sign.base.text import format_table
from atl_sign.config.links import NAME_PATTERN

USES_MAX = 1_000_000_000
UIDS_MAX = 32
PIDS_MAX = (1 << 31) - 1  # pid_t

_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_CA_VARIABLES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO")

Seconds = Annotated[int, Field(ge=1, le=LIFETIME_S_MAX)]
Count = Annotated[int, Field(ge=1, le=USES_MAX)]


class NarrowerFields(schemas.Fields):
    """A lease to open from another one, within it."""

    name: str | None = Field(None, pattern=f"^{NAME_PATTERN}$", description="for people, and in addresses in place of the id")
    purpose: str | None = Field(None, max_length=200, description="for people")
    links: Lines = Field([], description="names of links; left out: all that there are")
    allow: Lines = Field(["read"], description="rules and names of presets that allow", examples=[["read", "jira:comment"]])
    deny: Lines = Field([], description="rules and names of presets that deny")
    expires_in_s: Seconds = Field(LIFETIME_S_DEFAULT, description="its life in seconds, up to 30 days")
    uses: Count | None = Field(None, description="how many requests; left out: any number")
    entries: Lines = Field(["http"], description=f"its entries: {', '.join(ENTRY_KINDS)}")
    peers: str | list[int] = Field("own", description="the users that may use its sockets: own, any, or uids")
    tunnel: schemas.Flag = Field(False, description="let programs reach addresses of no link through it, unsigned")


class LeaseFields(NarrowerFields):
    """A lease to open."""

    lives_with: Annotated[int, Field(ge=1, le=PIDS_MAX)] | Literal["caller"] | None = Field(
        None, description="the process with which the lease ends: `caller`, or the pid of the caller or an ancestor"
    )
    allow_reusable: schemas.Flag = Field(
        False,
        description="give out tokens of the schemes bearer, basic and oauth2 at `sign.sock`, which are good for any request",
    )


class LeaseChangeFields(schemas.Fields):
    """Another lifetime from now, or another number of uses."""

    expires_in_s: Seconds | None = Field(None, description="seconds from now, up to 30 days")
    uses: Count | None = Field(None, description="how many requests are left")


class PeerAnswer(BaseModel):
    """A process that used a lease."""

    pid: int
    uid: int
    program: str | None


class LeaseAnswer(BaseModel):
    """One lease."""

    id: str
    name: str | None
    purpose: str | None
    state: State = Field(description="ended: the process that it lived with has ended")
    links: list[str]
    rules: list[str] = Field(description="those that deny begin with `deny`")
    entries: list[EntryKind]
    peers: Literal["own", "any"] | list[int]
    tunnel: bool
    expires_at: schemas.Moment
    expires_in_s: int
    uses_left: int | None = Field(description="null: any number")
    allowed: int = Field(description="requests so far")
    denied: int
    last_used_at: schemas.Moment | None
    last_peer: PeerAnswer | None
    parent: str | None = Field(description="the id of the lease that it was made from")
    lives_with: int | None
    sockets: dict[str, str] = Field(description="paths by the kind of entry")
    url: str | None = Field(description="of the port")
    ca_file: str | None = Field(description="the CA certificates for programs that take the lease as their proxy")


class OpenedLeaseAnswer(LeaseAnswer):
    """A new lease."""

    secret: str | None = Field(description="what programs show at its port; this once and never again")
    env: dict[str, str] = Field(description="variables for programs that are to use it")


class LeasesAnswer(BaseModel):
    """Every lease."""

    leases: list[LeaseAnswer]


def add_leases(app: FastAPI, agent: Agent) -> None:
    """Serve leases to their owner on *app*."""

    @app.post("/leases", **documented(app, "Open a lease", OpenedLeaseAnswer, 201, body=LeaseFields))
    async def open_lease(request: Request) -> Response:
        fields = await read_fields(request, LeaseFields)
        report = await agent.leases.open(
            caller_of(request), _wanted(fields, lives_with=fields.lives_with, allow_reusable=fields.allow_reusable)
        )
        return _answer_opened(request, report)

    @app.get("/leases", **documented(app, "List the leases", LeasesAnswer))
    async def list_leases(request: Request) -> Response:
        leases = [_describe(report) for report in agent.leases.list_all(caller_of(request))]
        return answer_with(request, LeasesAnswer(leases=leases), _format_list(leases) if wants_text(request) else None)

    @app.get("/leases/{name}", **documented(app, "Show one lease", LeaseAnswer))
    async def show_lease(request: Request, name: str) -> Response:
        return _answer(request, agent.leases.show(caller_of(request), name))

    @app.patch("/leases/{name}", **documented(app, "Change a lease's time or uses", LeaseAnswer, body=LeaseChangeFields))
    async def change_lease(request: Request, name: str) -> Response:
        fields = await read_fields(request, LeaseChangeFields)
        if fields.expires_in_s is None and fields.uses is None:
            raise BadFieldsError("expires_in_s or uses is missing", "docs/api.md lists the fields of every call")
        return _answer(request, agent.leases.change(caller_of(request), name, fields.expires_in_s, fields.uses))

    @app.post("/leases/{name}/suspend", **documented(app, "Suspend a lease", LeaseAnswer))
    async def suspend_lease(request: Request, name: str) -> Response:
        return _answer(request, agent.leases.suspend(caller_of(request), name))

    @app.post("/leases/{name}/resume", **documented(app, "Resume a lease", LeaseAnswer))
    async def resume_lease(request: Request, name: str) -> Response:
        return _answer(request, agent.leases.resume(caller_of(request), name))

    @app.delete("/leases/{name}", **documented(app, "Revoke a lease", None, 204))
    async def revoke_lease(request: Request, name: str) -> Response:
        agent.leases.revoke(caller_of(request), name)
        return Response(status_code=204)


def add_own_lease(app: FastAPI, agent: Agent) -> None:
    """Serve to the holder of a lease what concerns that lease."""

    @app.get("/~/lease", **documented(app, "Show one's own lease", LeaseAnswer))
    async def show_own_lease(request: Request) -> Response:
        return _answer(request, agent.leases.show_own(caller_of(request)))

    @app.post("/~/leases", **documented(app, "Open a lease within one's own", OpenedLeaseAnswer, 201, body=NarrowerFields))
    async def open_narrower_lease(request: Request) -> Response:
        fields = await read_fields(request, NarrowerFields)
        return _answer_opened(request, await agent.leases.open(caller_of(request), _wanted(fields)))


def _wanted(fields: NarrowerFields, **more: Any) -> Wanted:
    entries = set(lines_of(fields.entries))
    unknown = entries.difference(ENTRY_KINDS)
    if unknown or not entries:
        raise BadFieldsError("entries is not of the right kind", f"name some of: {', '.join(ENTRY_KINDS)}")
    return Wanted(
        links=[line.strip() for line in lines_of(fields.links) if line.strip()],
        allow=lines_of(fields.allow),
        deny=lines_of(fields.deny),
        lifetime_s=fields.expires_in_s,
        uses=fields.uses,
        entries=frozenset(kind for kind in ENTRY_KINDS if kind in entries),
        peers=_read_peers(fields.peers),
        may_tunnel=fields.tunnel,
        name=fields.name,
        purpose=fields.purpose,
        **more,
    )


def _read_peers(peers: str | list[int]) -> Peers:
    if peers == "own":
        return "own"
    if peers == "any":
        return "any"
    uids = peers.replace(",", " ").split() if isinstance(peers, str) else list(map(str, peers))
    if not 0 < len(uids) <= UIDS_MAX or any(not uid.isascii() or not uid.isdecimal() or len(uid) > 10 for uid in uids):
        raise BadFieldsError("peers is not of the right kind", f"give own, any, or 1 to {UIDS_MAX} uids")
    return frozenset(map(int, uids))


def _describe(report: LeaseReport) -> LeaseAnswer:
    return LeaseAnswer(**_fields_of(report))


def _fields_of(report: LeaseReport) -> dict[str, Any]:
    lease, place = report.lease, report.place
    terms, usage = lease.terms, lease.usage
    rules = [rule.text for rule in terms.rules.allow] + [f"deny {rule.text}" for rule in terms.rules.deny]
    peer = usage.last_peer
    return {
        "id": lease.id,
        "name": terms.name,
        "purpose": terms.purpose,
        "state": lease.state,
        "links": sorted(terms.links),
        "rules": rules,
        "entries": [kind for kind in ENTRY_KINDS if kind in terms.entries],
        "peers": terms.peers if isinstance(terms.peers, str) else sorted(terms.peers),
        "tunnel": terms.may_tunnel,
        "expires_at": lease.expires_at,
        "expires_in_s": ceil(lease.left_s),
        "uses_left": lease.uses_left,
        "allowed": usage.allowed,
        "denied": usage.denied,
        "last_used_at": usage.last_used_at,
        "last_peer": None if peer is None else PeerAnswer(pid=peer.pid, uid=peer.uid, program=peer.program),
        "parent": None if lease.parent is None else lease.parent.id,
        "lives_with": terms.lives_with,
        "sockets": dict(place.sockets),
        "url": place.url,
        "ca_file": place.ca_file,
    }


def _answer(request: Request, report: LeaseReport) -> Response:
    return answer_with(request, _describe(report))


def _answer_opened(request: Request, report: LeaseReport) -> Response:
    answer = OpenedLeaseAnswer(**_fields_of(report), secret=report.secret, env=_environment(report))
    return answer_with(request, answer, status=201)


def _environment(report: LeaseReport) -> dict[str, str]:
    """Return what programs take their proxy, their CA certificates and the signing socket from."""
    place = report.place
    variables = {}
    if "sign" in place.sockets:
        variables["ATL_SIGN_SOCK"] = place.sockets["sign"]
    if place.url is not None and report.secret is not None:
        proxy = f"http://lease:{report.secret}@{place.url.removeprefix('http://')}"
        for name in _PROXY_VARIABLES:
            variables |= {name: proxy, name.lower(): proxy}
        variables |= {"NO_PROXY": "", "no_proxy": "", "NODE_USE_ENV_PROXY": "1"}
        variables |= dict.fromkeys(_CA_VARIABLES, place.ca_file or "")
    return variables | {"ATL_SIGN_LEASE": report.lease.id}


def _format_list(leases: list[LeaseAnswer]) -> list[str]:
    rows = [
        (each.id, each.name or "-", each.state, f"until {each.expires_at:%Y-%m-%d %H:%M:%S}", " ".join(each.links), _uses(each))
        for each in leases
    ]
    return format_table(rows)


def _uses(lease: LeaseAnswer) -> str:
    left = "" if lease.uses_left is None else f", {lease.uses_left} left"
    return f"{lease.allowed} allowed, {lease.denied} denied{left}"
