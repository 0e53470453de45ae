"""The calls that lock, unlock and move the store."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response

from atl_sign.agent.build import Agent
from atl_sign.agent.store import StoreReport
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented
from atl_sign.api.fields import caller_of, fields_of, passphrases_of, pin_of


def add_store_calls(app: FastAPI, agent: Agent) -> None:
    """Serve what the user does with the store on *app*."""

    @app.post("/lock", **documented(app, "Forget every secret in memory", schemas.StoreAnswer))
    def lock(request: Request) -> Response:
        report = agent.store.lock(caller_of(request))
        return _answer_store(request, report)

    @app.post(
        "/unlock",
        **documented(
            app,
            "Read the store again, or open the token with the key",
            schemas.StoreAnswer | schemas.KeyPlaceAnswer,
            body=schemas.UnlockFields,
        ),
    )
    def unlock(request: Request, fields: Annotated[schemas.UnlockFields, Depends(fields_of(schemas.UnlockFields))]) -> Response:
        with pin_of(fields) as pin:
            if pin is not None:
                key = agent.keys.unlock(caller_of(request), pin, fields.key, may_be_last=fields.try_again)
                return answer_with(request, schemas.KeyPlaceAnswer(reference=key.reference, state=key.state))
        with passphrases_of(fields) as (passphrase, new):
            report = agent.store.unlock(caller_of(request), passphrase, new)
        return _answer_store(request, report)

    @app.post(
        "/store/move", **documented(app, "Move every secret to another store", schemas.MovedAnswer, body=schemas.MoveFields)
    )
    def move_store(request: Request, fields: Annotated[schemas.MoveFields, Depends(fields_of(schemas.MoveFields))]) -> Response:
        with passphrases_of(fields) as (passphrase, new):
            report = agent.store.move(
                caller_of(request), fields.backend, passphrase=passphrase, new=new, volatile=fields.volatile
            )
        again = f"atl-sign store move {report.backend}"
        warnings = [f"the other store may still have the item {name}: {again}" for name in report.left]
        if report.unread is not None:
            warnings = [f"the new store starts empty: {report.unread}"]
        return answer_with(request, schemas.MovedAnswer(store=report.backend, warnings=warnings))


def _answer_store(request: Request, report: StoreReport) -> Response:
    return answer_with(request, schemas.StoreAnswer(store=report.backend, state=report.state))
