"""The calls of tokens."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field

from atl_sign.agent.build import Agent
from atl_sign.agent.tokens import Rotation
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented
from atl_sign.api.fields import caller_of, fields_of


class RotateFields(schemas.Fields):
    """How long the new token is to be good."""

    days: int = Field(90, ge=1, le=3650, description="days until the new token ends; an administrator may allow fewer")


class MakeFields(RotateFields):
    """Which link's signature asks for the token."""

    source: str = Field(description="the name of a link of the scheme oauth1 with the same URL")


class RotatedAnswer(BaseModel):
    """The token that is used from now on."""

    link: str
    user: str | None
    expires_at: schemas.Moment | None
    warnings: list[str]


def add_tokens(app: FastAPI, agent: Agent) -> None:
    """Serve tokens on *app*."""

    @app.post("/links/{name}/rotate", **documented(app, "Replace a token with a new one", RotatedAnswer, body=RotateFields))
    def rotate(request: Request, name: str, fields: Annotated[RotateFields, Depends(fields_of(RotateFields))]) -> Response:
        return _answer(request, agent.tokens.rotate(caller_of(request), name, fields.days))

    @app.post("/links/{name}/token", **documented(app, "Get a token with a signed request", RotatedAnswer, 201, body=MakeFields))
    def make_token(request: Request, name: str, fields: Annotated[MakeFields, Depends(fields_of(MakeFields))]) -> Response:
        return _answer(request, agent.tokens.make(caller_of(request), name, fields.source, fields.days), 201)


def _answer(request: Request, rotation: Rotation, status: int = 200) -> Response:
    warnings = [] if rotation.left is None else [f"{rotation.left}: revoke it at {rotation.page}"]
    answer = RotatedAnswer(link=rotation.link.name, user=rotation.user, expires_at=rotation.expires_at, warnings=warnings)
    return answer_with(request, answer, status=status)
