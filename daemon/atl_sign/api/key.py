"""The calls of the consumer's key."""

from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field

from atl_sign.agent.build import Agent
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented
from atl_sign.api.fields import caller_of, fields_of
from atl_sign.custody.keys.base import Signer


class KeyFields(schemas.Fields):
    """A consumer key to make."""

    bits: Literal[2048, 3072, 4096] = 2048
    replace: schemas.Flag = Field(False, description="needed when there is a key")


class FormKeyFields(KeyFields):
    """The same, from an `application/x-www-form-urlencoded` request, where every value is a text."""

    bits: Literal["2048", "3072", "4096"] = "2048"  # type: ignore[assignment]


class KeyAnswer(BaseModel):
    """The consumer's public key."""

    public_key: str = Field(description="SubjectPublicKeyInfo, PEM")
    fingerprint: str = Field(description="SHA256: and the base64 of the DER's SHA-256")
    bits: int


def add_key(app: FastAPI, agent: Agent) -> None:
    """Serve the consumer's key on *app*."""

    @app.get("/key", **documented(app, "Show the consumer's public key", KeyAnswer))
    def show_key(request: Request) -> Response:
        return _answer_key(request, agent.keys.show(caller_of(request)))

    @app.post("/key", **documented(app, "Make a consumer key", KeyAnswer, 201, body=KeyFields))
    def make_key(request: Request, fields: Annotated[KeyFields, Depends(fields_of(KeyFields, FormKeyFields))]) -> Response:
        key = agent.keys.make(caller_of(request), int(fields.bits), replace=fields.replace)
        return _answer_key(request, key, status=201)


def _answer_key(request: Request, key: Signer, status: int = 200) -> Response:
    pem = key.public_pem()
    return answer_with(request, KeyAnswer(public_key=pem, fingerprint=key.fingerprint(), bits=key.bits), pem.splitlines(), status)
