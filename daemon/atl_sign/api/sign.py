"""`POST /sign`: the Authorization header for one request."""

import json
from collections.abc import Iterable
from itertools import chain

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from atl_sign.access.caller import Caller
from atl_sign.access.policy import check_form_length, warn_of
from atl_sign.agent.build import Agent
from atl_sign.agent.refusals import split_address
from atl_sign.agent.sign import LOOP_CHARS_MAX, Asked
from atl_sign.api import schemas
from atl_sign.api.answers import answer_text, answer_with, documented, wants_text
from atl_sign.api.fields import caller_of, read_fields
from atl_sign.base.errors import DaemonError
from atl_sign.base.text import format_lines
from atl_sign.base.urls import Pairs, parse_pairs

# A form of 1 MiB and a URL of 64 KiB of which each byte is escaped (%25), and room for the rest.
_BODY_BYTES_MAX = 1 << 22


def add_sign(app: FastAPI, agent: Agent) -> None:
    """Serve signatures on *app*."""

    @app.post("/sign", **documented(app, "Sign one request", schemas.SignAnswer | schemas.DryRunAnswer, body=schemas.SignFields))
    async def sign(request: Request) -> Response:
        fields = await read_fields(request, schemas.SignFields, bytes_max=_BODY_BYTES_MAX)
        is_long = sum(map(len, [fields.url, *_texts_of(fields.form)])) > LOOP_CHARS_MAX
        form = await run_in_threadpool(read_form, fields.form) if is_long else read_form(fields.form)
        asked = Asked(fields.method, fields.url, form, fields.link)
        caller = caller_of(request)
        if fields.dry_run:
            return answer_with(request, await run_in_threadpool(_dry_run, agent, caller, asked, fields))
        try:
            signed = await agent.signing.sign(caller, asked)
        except DaemonError as exc:
            agent.refusals.add(caller, exc, split_address(fields.method, fields.url))
            raise
        link, authorization = signed.link, signed.authorization.reveal()
        details = {}
        if signed.url is not None and (fields.details or not wants_text(request)):
            details["url"] = signed.url
        if signed.expires_at is not None and not wants_text(request):
            details["expires_at"] = f"{signed.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        warning = warn_of(fields.url, form)
        if warning is not None and (fields.details or not wants_text(request)):
            details["warning"] = warning
        if wants_text(request):
            return answer_text(
                [f"Authorization: {authorization}", *(format_lines({"link": link.name, **details}) if fields.details else ())]
            )
        answer = {"authorization": authorization, "link": link.name, "scheme": link.scheme, "uses": signed.uses, **details}
        return Response(json.dumps(answer), media_type="application/json")


def _texts_of(form: str | list[tuple[str, str]] | None) -> Iterable[str]:
    return (form,) if isinstance(form, str) else chain.from_iterable(form or ())


def read_form(form: str | list[tuple[str, str]] | None) -> Pairs | None:
    """Return the form's decoded names and values; None for none. Raises TooLargeError and BadUrlError."""
    check_form_length(form or "")
    if isinstance(form, str):
        return parse_pairs(form, "form") if form else None
    return None if form is None else tuple(form)


def _dry_run(agent: Agent, caller: Caller, asked: Asked, fields: schemas.SignFields) -> schemas.DryRunAnswer:
    base_string, link = agent.signing.show_base_string(caller, asked)
    return schemas.DryRunAnswer(
        method=fields.method, url=fields.url, form=fields.form, link=link.name, base_url=str(link.url), base_string=base_string
    )
