"""The calls of the consumer's key."""

from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field

from atl_sign.agent.build import Agent
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented
from atl_sign.api.fields import caller_of, fields_of
from atl_sign.custody.keys.base import Signer

_REFERENCE = "vault:ci/transit/atl-sign"


class KeyFields(schemas.Fields):
    """A consumer key to make."""

    bits: Literal[2048, 3072, 4096] = 2048
    replace: schemas.Flag = Field(False, description="needed when there is a key")
    reference: str | None = Field(None, description="where to make it instead of the store", examples=[_REFERENCE])


class FormKeyFields(KeyFields):
    """The same, from an `application/x-www-form-urlencoded` request, where every value is a text."""

    bits: Literal["2048", "3072", "4096"] = "2048"  # type: ignore[assignment]


class UseFields(schemas.Fields):
    """A key that is elsewhere, to be the consumer's."""

    reference: str = Field(description="of the key", examples=[_REFERENCE])
    replace: schemas.Flag = Field(False, description="needed when there is another key")


class ImportFields(schemas.Fields):
    """The place that the key is to be carried to."""

    reference: str = Field(description="of the key there", examples=[_REFERENCE])


class KeyAnswer(BaseModel):
    """The consumer's public key."""

    public_key: str = Field(description="SubjectPublicKeyInfo, PEM")
    fingerprint: str = Field(description="SHA256: and the base64 of the DER's SHA-256")
    bits: int
    reference: str | None = Field(description="where the key is; null: the store holds it")


class KeyCheckAnswer(BaseModel):
    """The key has made a signature."""

    reference: str | None = Field(description="where the key is; null: the store holds it, and it was not tried")


def add_key(app: FastAPI, agent: Agent) -> None:
    """Serve the consumer's key on *app*."""

    @app.get("/key", **documented(app, "Show the consumer's public key", KeyAnswer))
    def show_key(request: Request) -> Response:
        return _answer_key(request, agent.keys.show(caller_of(request)))

    @app.post("/key", **documented(app, "Make a consumer key", KeyAnswer, 201, body=KeyFields))
    def make_key(request: Request, fields: Annotated[KeyFields, Depends(fields_of(KeyFields, FormKeyFields))]) -> Response:
        reference = fields.reference
        key = agent.keys.make(caller_of(request), int(fields.bits), replace=fields.replace, reference=reference)
        return _answer_key(request, key, status=201)

    @app.post("/key/use", **documented(app, "Sign with a key that is elsewhere", KeyAnswer, body=UseFields))
    def use_key(request: Request, fields: Annotated[UseFields, Depends(fields_of(UseFields, UseFields))]) -> Response:
        return _answer_key(request, agent.keys.use(caller_of(request), fields.reference, replace=fields.replace))

    @app.post("/key/check", **documented(app, "Try a key that is elsewhere", KeyCheckAnswer))
    def check_key(request: Request) -> Response:
        report = agent.keys.check(caller_of(request))
        return answer_with(request, KeyCheckAnswer(reference=report.reference if report else None))

    @app.post("/key/import", **documented(app, "Carry the key from the store to another place", KeyAnswer, body=ImportFields))
    def import_key(request: Request, fields: Annotated[ImportFields, Depends(fields_of(ImportFields, ImportFields))]) -> Response:
        return _answer_key(request, agent.keys.import_to(caller_of(request), fields.reference))


def _answer_key(request: Request, key: Signer, status: int = 200) -> Response:
    public = key.public
    answer = KeyAnswer(public_key=public.pem, fingerprint=public.fingerprint, bits=public.bits, reference=key.reference)
    return answer_with(request, answer, public.pem.splitlines(), status)
