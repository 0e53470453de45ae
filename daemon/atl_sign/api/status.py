"""The calls that tell of the daemon itself, in fields and as text: its state and its environment."""

import os

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field

from atl_sign import __version__
from atl_sign.agent.build import Agent
from atl_sign.agent.lookup import LinkReport
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented, wants_text
from atl_sign.api.fields import caller_of
from atl_sign.base.credentials import StoreState
from atl_sign.base.findings import WarningCode
from atl_sign.base.text import format_lines, format_table
from atl_sign.base.variables import show_variables


class LinkStatus(BaseModel):
    """One link in the daemon's state."""

    name: str
    url: str
    token: schemas.TokenAnswer


class WarningDetail(BaseModel):
    """A warning for programs: they match on its code."""

    code: WarningCode
    message: str
    hint: str | None


class StatusAnswer(BaseModel):
    """The daemon's state."""

    version: str
    pid: int
    started_at: schemas.Moment
    uptime_s: int
    store: str
    store_state: StoreState
    key: schemas.KeyPlaceAnswer | None = Field(description="null: the store holds the key, or there is none")
    audit: str = Field(description='where decisions are recorded: "journal", "off", or a file')
    dances: int = Field(description="how many wait for their users")
    signatures: int = Field(description="since the start")
    links: list[LinkStatus]
    dance_needed: list[str] = Field(description="links that may not sign without a dance: no token, or an expired one")
    warnings: list[str]
    warning_details: list[WarningDetail] = Field(description="the same warnings in the same order, for programs")


class EnvironmentAnswer(BaseModel):
    """The variables of the daemon's environment that affect it."""

    variables: dict[str, str] = Field(description="those that are set; proxies without name and password")


def add_status_calls(app: FastAPI, agent: Agent) -> None:
    """Serve the daemon's state and its environment on *app*."""

    @app.get("/status", **documented(app, "Show the daemon's state", StatusAnswer))
    def show_status(request: Request, link: str | None = None) -> Response:
        status = agent.status.show(caller_of(request), link)
        key = status.key
        links = [
            LinkStatus(name=report.link.name, url=str(report.link.url), token=describe_token(report)) for report in status.links
        ]
        answer = StatusAnswer(
            version=__version__,
            pid=os.getpid(),
            started_at=status.started_at,
            uptime_s=int(status.uptime_s),
            store=status.store,
            store_state=status.store_state,
            key=None if key is None else schemas.KeyPlaceAnswer(state=key.state, reference=key.reference),
            audit=status.audit,
            dances=status.dances,
            signatures=status.signatures,
            links=links,
            dance_needed=[each.link.name for each in status.links if each.token_state in ("none", "expired")],
            warnings=[str(each) for each in status.warnings],
            warning_details=[WarningDetail(code=each.code, message=each.message, hint=each.hint) for each in status.warnings],
        )
        return answer_with(request, answer, _format_status(answer) if wants_text(request) else None)

    @app.get("/environment", **documented(app, "List the variables that affect the daemon", EnvironmentAnswer))
    def show_environment(request: Request) -> Response:
        variables = show_variables(os.environ)
        lines = [f"{name}={value}" for name, value in variables.items()]
        return answer_with(request, EnvironmentAnswer(variables=variables), lines)


def describe_token(report: LinkReport) -> schemas.TokenAnswer:
    """Return the token's part of the answer for *report*."""
    token = report.token
    return schemas.TokenAnswer(
        state=report.token_state,
        user=token.user if token else None,
        expires_at=token.expires_at if token else None,
        scopes=None if report.scopes is None else " ".join(report.scopes),
    )


def _format_status(status: StatusAnswer) -> list[str]:
    """Return *status* as lines, its links as a table."""
    shown = status.model_dump(mode="json", exclude={"warning_details"})
    dance_needed, warnings = shown.pop("dance_needed"), shown.pop("warnings")
    rows = []
    for link in shown.pop("links"):
        token = link["token"]
        until = f"until {token['expires_at']}" if token["expires_at"] else ""
        rows.append((f"link: {link['name']}", token["state"], token["user"] or "", until))
    needs = format_lines({"dance_needed": dance_needed, "warnings": warnings})
    # The fields that people look for come first.
    return [*format_table(rows), *needs, *format_lines(shown)]
