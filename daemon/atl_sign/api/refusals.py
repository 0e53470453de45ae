"""`GET /refusals`: the last refusals."""

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field

from atl_sign.agent.build import Agent
from atl_sign.agent.refusals import By, Refusal
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented
from atl_sign.api.fields import caller_of
from atl_sign.base.text import one_line


class KeptRefusalAnswer(BaseModel):
    """One refusal, or several in a row that differ only in their time."""

    last_at: schemas.Moment = Field(description="the time of the last one")
    count: int = Field(description="how often in a row")
    by: By = Field(description="daemon: nothing was sent; product: it refused a request that the daemon had sent")
    code: str = Field(
        description="of an error; of a product the word of its `oauth_problem`, or `unauthorized`, `forbidden`, "
        "`insufficient_scope`, `sso_required`, `anonymous`, `refusal_too_long`"
    )
    message: str
    hint: str | None = Field(description="for the owner of the leases; the program got another one")
    lease: str | None = Field(description="the id of the lease; null at a socket of your own")
    lease_name: str | None = Field(description="its name, or that of the lease that it was made from")
    link: str | None
    method: str | None = Field(description="null, as host and path, if the request could not be read")
    host: str | None
    path: str | None = Field(description="without the query")


class RefusalsAnswer(BaseModel):
    """The last refusals, the youngest first."""

    refusals: list[KeptRefusalAnswer]


def add_refusals(app: FastAPI, agent: Agent) -> None:
    """Serve what was refused on *app*."""

    @app.get("/refusals", **documented(app, "List the last refusals", RefusalsAnswer))
    def list_refusals(request: Request, lease: str | None = None) -> Response:  # in a thread: presets may have to be read
        answers = [_describe(each) for each in agent.refusals.list_all(caller_of(request), lease)]
        return answer_with(request, RefusalsAnswer(refusals=answers), [line for each in answers for line in _format(each)])


def _describe(refusal: Refusal) -> KeptRefusalAnswer:
    address = refusal.address
    return KeptRefusalAnswer(
        last_at=refusal.last_at,
        count=refusal.count,
        by=refusal.by,
        code=refusal.code,
        message=refusal.message,
        hint=refusal.hint,
        lease=refusal.leases[0] if refusal.leases else None,
        lease_name=refusal.lease_name,
        link=refusal.link,
        method=address.method,
        host=address.host,
        path=address.path,
    )


def _format(refusal: KeptRefusalAnswer) -> list[str]:
    """Return the lines on one refusal: when and which request, the cause, and the remedy."""
    name = "" if refusal.lease_name is None else f" ({refusal.lease_name})"
    lease = "no lease" if refusal.lease is None else f"lease {refusal.lease}{name}"
    request = "a request that could not be read"
    if refusal.method is not None:
        request = f"{refusal.method} {refusal.host or ''}{refusal.path or ''}"
    count = "" if refusal.count == 1 else f", {refusal.count} times"
    lines = [
        f"{refusal.last_at:%Y-%m-%d %H:%M:%S}  {lease}  {request}",
        f"  {refusal.code} (by the {refusal.by}{count}): {refusal.message}",
    ]
    return [one_line(line) for line in [*lines, *([f"  hint: {refusal.hint}"] if refusal.hint else [])]]
