"""The calls of the consumer's key."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response

from atl_sign.agent.build import Agent
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented
from atl_sign.api.fields import caller_of, fields_of
from atl_sign.custody.keys.base import Signer


def add_key(app: FastAPI, agent: Agent) -> None:
    """Serve the consumer's key on *app*."""

    @app.get("/key", **documented("The consumer's public key", schemas.KeyAnswer))
    def show_key(request: Request) -> Response:
        return _answer_key(request, agent.keys.show(caller_of(request)))

    @app.post("/key", **documented("Make a consumer key", schemas.KeyAnswer, 201, body=schemas.KeyFields))
    def make_key(
        request: Request, fields: Annotated[schemas.KeyFields, Depends(fields_of(schemas.KeyFields, schemas.FormKeyFields))]
    ) -> Response:
        key = agent.keys.make(caller_of(request), int(fields.bits), replace=fields.replace)
        return _answer_key(request, key, status=201)


def _answer_key(request: Request, key: Signer, status: int = 200) -> Response:
    pem = key.public_pem()
    return answer_with(
        request, schemas.KeyAnswer(public_key=pem, fingerprint=key.fingerprint(), bits=key.bits), pem.splitlines(), status
    )
