"""The calls of a dance: begin, wait, bring the answer, cancel."""

import asyncio
from datetime import UTC, datetime, time
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response

from atl_sign.agent.build import Agent
from atl_sign.api import schemas
from atl_sign.api.answers import answer_with, documented
from atl_sign.api.fields import caller_of, fields_of
from atl_sign.base.credentials import Secret
from atl_sign.base.errors import BadFieldsError
from atl_sign.grants.dance import Dance
from atl_sign.grants.states import Cancelled, Failed, Granted

WAIT_S_MAX = 60.0


def add_dances(app: FastAPI, agent: Agent) -> None:
    """Serve dances on *app*."""

    @app.post("/dance", **documented(app, "Begin a dance", schemas.DanceBegun, 201, body=schemas.DanceFields))
    def begin_dance(
        request: Request, fields: Annotated[schemas.DanceFields, Depends(fields_of(schemas.DanceFields))]
    ) -> Response:
        dance = agent.dances.begin(caller_of(request), fields.link, fields.callback)
        begun = schemas.DanceBegun(
            id=dance.id,
            authorize_url=dance.authorize_url,
            callback=dance.callback,
            state=dance.state.word,
            expires_at=dance.expires_at,
            wait_s=int(dance.lifetime_s),
            redirect_url=dance.redirect_url,
            user_code=dance.device.user_code if dance.device is not None else None,
            whole_url=dance.device.whole_url if dance.device is not None else None,
        )
        return answer_with(request, begun, status=201)

    @app.get("/dance/{dance_id}", **documented(app, "Get the state of a dance", schemas.DanceAnswer))
    async def show_dance(request: Request, dance_id: str, wait: Annotated[float, Query(ge=0, le=WAIT_S_MAX)] = 0.0) -> Response:
        dance = agent.dances.show(caller_of(request), dance_id)
        if wait:
            await _wait_for(dance, wait, request)
        return answer_with(request, _describe_dance(dance))

    @app.post("/dance/{dance_id}", **documented(app, "Send the verifier", schemas.DanceAnswer, body=schemas.VerifierFields))
    def finish_dance(
        request: Request, dance_id: str, fields: Annotated[schemas.VerifierFields, Depends(fields_of(schemas.VerifierFields))]
    ) -> Response:
        caller = caller_of(request)
        agent.dances.show(caller, dance_id)  # an unknown one is the first thing to say
        if [fields.verifier, fields.redirect_url, fields.secret].count(None) != 2:
            raise BadFieldsError("give verifier, redirect_url or secret, one of them")
        if fields.expires_at is not None and fields.secret is None:
            raise BadFieldsError("expires_at is only for a secret")
        if fields.secret is not None:
            end = None if fields.expires_at is None else datetime.combine(fields.expires_at, time.max, UTC).replace(microsecond=0)
            dance = agent.dances.finish(caller, dance_id, Secret(fields.secret.get_secret_value()), end)
        elif fields.verifier is not None:
            dance = agent.dances.finish(caller, dance_id, Secret(fields.verifier.strip()))
        else:
            dance = agent.dances.finish_by_url(caller, dance_id, Secret(str(fields.redirect_url).strip()))
        return answer_with(request, _describe_dance(dance))

    @app.delete("/dance/{dance_id}", **documented(app, "Cancel a dance", schemas.DanceAnswer))
    def cancel_dance(request: Request, dance_id: str) -> Response:
        dance = agent.dances.cancel(caller_of(request), dance_id)
        lines = [f"cancelled the dance with {dance.link.name}"] if isinstance(dance.state, Cancelled) else None
        return answer_with(request, _describe_dance(dance), lines)


async def _wait_for(dance: Dance, wait_s: float, request: Request) -> None:
    """Return when *dance* has ended, when *wait_s* are over, or when the peer has gone."""

    async def wait_for_end_of_peer() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    ended = asyncio.wrap_future(dance.settled)
    gone = asyncio.create_task(wait_for_end_of_peer())
    await asyncio.wait([asyncio.shield(ended), gone], timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()


def _describe_dance(dance: Dance) -> schemas.DanceAnswer:
    state = dance.state
    error = state.error if isinstance(state, Failed) else None
    return schemas.DanceAnswer(
        state=state.word,
        user=state.user if isinstance(state, Granted) else None,
        instead_of=state.instead_of if isinstance(state, Granted) else None,
        error=schemas.ErrorDetail(code=error.code, message=error.message, hint=error.hint, link=error.link) if error else None,
    )
