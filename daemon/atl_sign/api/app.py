"""The HTTP contract: one route a call, one shape for every failure, JSON or the text that a shell would print."""

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from atl_sign import __version__
from atl_sign.access.policy import check_form_length, warn_of
from atl_sign.agent.agent import Agent
from atl_sign.agent.links import LinkReport
from atl_sign.api import schemas
from atl_sign.api.answers import add_error_handlers, answer_text, answer_with, documented, wants_text
from atl_sign.api.fields import LOOP_BYTES_MAX, fields_of, read_fields
from atl_sign.api.git import add_git_credential
from atl_sign.api.status import add_status_calls, describe_token
from atl_sign.api.store import add_store_calls
from atl_sign.base.credentials import Secret
from atl_sign.base.errors import BadFieldsError
from atl_sign.base.text import format_error, format_lines, format_table
from atl_sign.base.urls import Pairs, parse_pairs
from atl_sign.config.link_fields import link_to_fields
from atl_sign.config.links import Link
from atl_sign.custody.keys.base import Signer
from atl_sign.custody.vault import NotInMemoryError
from atl_sign.grants.dance import Dance
from atl_sign.grants.states import Cancelled, Failed, Granted
from atl_sign.schemes.oauth1.setup import format_form

WAIT_S_MAX = 60.0
# A form of 1 MiB and a URL of 64 KiB of which each byte is escaped (%25), and room for the rest.
_SIGN_BODY_BYTES_MAX = 1 << 22
_POLL_S = 0.05  # how late an answer to a waiting peer may be
# FastAPI would set up OpenTelemetry by itself (facts platform.md).
_NO_TELEMETRY = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False}


def make_app(agent: Agent) -> FastAPI:
    """Return the application that serves *agent*."""
    app = FastAPI(
        title="atl-sign",
        version=__version__,
        description="Signs requests to Atlassian products for the user's own programs.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,  # type: ignore[arg-type]  # its TypedDict is not exported
        responses={"default": {"model": schemas.ErrorAnswer, "description": "Every failure"}},
    )
    app.state.agent = agent
    add_error_handlers(app)
    _add_sign(app, agent)
    _add_dances(app, agent)
    _add_links(app, agent)
    _add_key(app, agent)
    add_git_credential(app, agent)
    add_status_calls(app, agent)
    add_store_calls(app, agent)
    return app


def _add_sign(app: FastAPI, agent: Agent) -> None:
    @app.post("/sign", **documented("Sign one request", schemas.SignAnswer | schemas.DryRunAnswer, body=schemas.SignFields))
    async def sign(request: Request) -> Response:
        fields = await read_fields(request, schemas.SignFields, bytes_max=_SIGN_BODY_BYTES_MAX)
        is_long = sum(map(len, [fields.url, *_texts_of(fields.form)])) > LOOP_BYTES_MAX
        form = await run_in_threadpool(_read_form, fields.form) if is_long else _read_form(fields.form)
        if fields.dry_run:
            return answer_with(request, await run_in_threadpool(_dry_run, agent, fields, form))
        sign_it = partial(agent.sign, fields.method, fields.url, form, fields.link, request.state.peer)
        # The loop itself signs: a hop to a thread takes longer than the signature, unless the form is long or the store must be
        # asked first.
        try:
            if is_long:
                authorization, link = await run_in_threadpool(sign_it, from_memory=True)
            else:
                authorization, link = sign_it(from_memory=True)
        except NotInMemoryError as exc:
            if exc.renewal is not None:  # here, for any number may wait for it, and threads are few
                await asyncio.wait([asyncio.wrap_future(exc.renewal)])
            authorization, link = await run_in_threadpool(sign_it)
        details = _describe_sending(link) if fields.details else {}
        warning = warn_of(fields.url, form)
        if warning is not None and (fields.details or not wants_text(request)):
            details["warning"] = warning
        if wants_text(request):
            return answer_text(
                [f"Authorization: {authorization}", *(format_lines({"link": link.name, **details}) if details else ())]
            )
        answer = {"authorization": authorization, "link": link.name, "scheme": "oauth1", **details}
        return Response(json.dumps(answer), media_type="application/json")


def _add_dances(app: FastAPI, agent: Agent) -> None:
    @app.post("/dance", **documented("Begin a dance", schemas.DanceBegun, 201, body=schemas.DanceFields))
    def begin_dance(
        request: Request, fields: Annotated[schemas.DanceFields, Depends(fields_of(schemas.DanceFields))]
    ) -> Response:
        with agent.recording("dance", request.state.peer, fields.link):
            dance = agent.begin_dance(fields.link, fields.callback, request.state.peer)
        begun = schemas.DanceBegun(
            id=dance.id,
            authorize_url=dance.authorize_url,
            callback=dance.callback,
            state=dance.state.word,
            expires_at=dance.expires_at,
            wait_s=int(agent.dances.lifetime_s),
        )
        return answer_with(request, begun, status=201)

    @app.get("/dance/{dance_id}", **documented("How far a dance is", schemas.DanceAnswer))
    async def show_dance(request: Request, dance_id: str, wait: Annotated[float, Query(ge=0, le=WAIT_S_MAX)] = 0.0) -> Response:
        dance = agent.dances.get(dance_id)
        deadline = time.monotonic() + wait
        while not dance.is_settled and time.monotonic() < deadline and not await request.is_disconnected():
            await asyncio.sleep(_POLL_S)
        return answer_with(request, _describe_dance(dance))

    @app.post("/dance/{dance_id}", **documented("Bring the verifier", schemas.DanceAnswer, body=schemas.VerifierFields))
    def finish_dance(
        request: Request, dance_id: str, fields: Annotated[schemas.VerifierFields, Depends(fields_of(schemas.VerifierFields))]
    ) -> Response:
        dance = agent.dances.get(dance_id)
        if (fields.verifier is None) == (fields.redirect_url is None):
            raise BadFieldsError("give verifier or redirect_url, one of them")
        if fields.verifier is not None:
            dance.finish(Secret(fields.verifier.strip()))
        else:
            dance.finish_by_url(Secret(str(fields.redirect_url).strip()))
        return answer_with(request, _describe_dance(dance))

    @app.delete("/dance/{dance_id}", **documented("Cancel a dance", schemas.DanceAnswer))
    def cancel_dance(request: Request, dance_id: str) -> Response:
        dance = agent.dances.get(dance_id)
        dance.cancel()
        lines = [f"cancelled the dance with {dance.link.name}"] if isinstance(dance.state, Cancelled) else None
        return answer_with(request, _describe_dance(dance), lines)


def _add_links(app: FastAPI, agent: Agent) -> None:
    @app.get("/links", **documented("Every link", schemas.LinksAnswer))
    def list_links(request: Request) -> Response:
        reports, settings = agent.links.list_links(), agent.read_settings()
        problems = [schemas.ProblemAnswer(line=each.line, part=each.part, cause=each.cause) for each in settings.problems]
        answer = schemas.LinksAnswer(links=[_describe_link(each) for each in reports], problems=problems)
        lines = None
        if wants_text(request):
            rows = [(report.link.name, str(report.link.url), report.token_state) for report in reports]
            heads = [("NAME", "URL", "TOKEN")] if rows else []
            lines = [*format_table([*heads, *rows]), *(f"warning: {problem}" for problem in settings.problems)]
        return answer_with(request, answer, lines)

    @app.get("/links/{name}", **documented("One link", schemas.LinkAnswer))
    def show_link(request: Request, name: str) -> Response:
        return answer_with(request, _describe_link(agent.links.show_link(name)))

    @app.put(
        "/links/{name}", **documented("Add or change a link", schemas.ProbedLinkAnswer, body=schemas.LinkFields, creates=True)
    )
    def put_link(
        request: Request, name: str, fields: Annotated[schemas.LinkFields, Depends(fields_of(schemas.LinkFields))]
    ) -> Response:
        with agent.recording("link", request.state.peer, name):
            probed = agent.links.put_link(name, fields.model_dump(), only_new=request.headers.get("If-None-Match") == "*")
        manifest = probed.manifest
        answer = schemas.ProbedLinkAnswer(
            **_describe_link(probed.report).model_dump(),
            product=manifest.type_id if manifest else None,
            version=manifest.version if manifest else None,
            base_url=manifest.url if manifest else None,
            warnings=list(probed.warnings),
            hint=probed.hint,
        )
        return answer_with(request, answer, status=201 if probed.is_new else 200)

    @app.delete("/links/{name}", **documented("Remove a link and forget its token", schemas.RemovedAnswer))
    def remove_link(request: Request, name: str) -> Response:
        with agent.recording("link", request.state.peer, name):
            left = agent.links.remove_link(name)
        words = [f"removed link {name}", *_tell_git_left(left)]
        return answer_with(request, schemas.RemovedAnswer(removed=name, git_left=list(left)), words)

    @app.get("/links/{name}/setup", **documented("What an administrator enters", schemas.SetupAnswer))
    def show_setup(request: Request, name: str) -> Response:
        link, product, form = agent.make_setup(name)
        answer = schemas.SetupAnswer(
            link=name,
            product=product.type_id if product else None,
            page=form.page,
            menu=form.menu,
            new_steps=list(form.new_steps),
            old_steps=list(form.old_steps),
            old_form_until=form.old_form_until,
            fields=[schemas.SetupField(label=field.label, value=field.value) for field in form.fields],
            leave_alone=list(form.leave_alone),
        )
        return answer_with(request, answer, format_form(form, link, product))

    @app.post("/links/{name}/default", **documented("Make a link its address's default", schemas.LinkAnswer))
    def make_default(request: Request, name: str) -> Response:
        with agent.recording("link", request.state.peer, name):
            report = agent.links.make_default(name)
        lines = [f"{name} is the default of {report.link.url}"]
        return answer_with(request, _describe_link(report), lines)

    @app.post("/links/{name}/check", **documented("Who am I there", schemas.CheckAnswer))
    def check_link(request: Request, name: str) -> Response:
        with agent.recording("check", request.state.peer, name):
            result = agent.check(name)
        offset = None if result.clock_offset_s is None else round(result.clock_offset_s, 1)
        answer = schemas.CheckAnswer(
            link=name,
            user=result.user,
            product=result.product,
            version=result.version,
            base_url=result.base_url,
            clock_offset_s=offset,
            warnings=list(result.warnings),
        )
        return answer_with(request, answer)

    @app.post("/links/{name}/diagnosis", **documented("Why a link does not work", schemas.DiagnosisAnswer))
    def diagnose_link(request: Request, name: str) -> Response:
        with agent.recording("check", request.state.peer, name):
            found = agent.diagnose(name)
        findings = [
            schemas.FindingAnswer(check=each.check, result=each.result, cause=each.cause, hint=each.hint) for each in found
        ]
        answer = schemas.DiagnosisAnswer(link=name, findings=findings)
        rows = [(each.result, each.check, each.cause) for each in findings]
        return answer_with(request, answer, format_table(rows))

    @app.post("/links/{name}/problem", **documented("A refusal in words", schemas.RefusalAnswer, body=schemas.ProblemFields))
    def explain_problem(
        request: Request, name: str, fields: Annotated[schemas.ProblemFields, Depends(fields_of(schemas.ProblemFields))]
    ) -> Response:
        problem, message, hint = agent.explain_problem(name, fields.www_authenticate) or (None, None, None)
        answer = schemas.RefusalAnswer(problem=problem, message=message, hint=hint)
        return answer_with(request, answer, format_error(message, hint) if message else [])

    @app.delete("/links/{name}/token", **documented("Log out", schemas.LogoutAnswer))
    def log_out(request: Request, name: str, keep_git_token: bool = False) -> Response:
        with agent.recording("logout", request.state.peer, name):
            report = agent.links.log_out(name, keep_git_token=keep_git_token)
        lines = [f"forgot the token of link {name}", f"to revoke it at the provider too: {report.revoke_url}"]
        if report.git_fate == "revoked":
            lines.append("revoked the token for git at the provider")
        elif report.git_fate == "kept":
            lines.append("kept the token for git, which stays good until it ends")
        answer = schemas.LogoutAnswer(
            link=name, revoke_url=report.revoke_url, git_token=report.git_fate, git_left=list(report.git_left)
        )
        return answer_with(request, answer, [*lines, *_tell_git_left(report.git_left)])


def _add_key(app: FastAPI, agent: Agent) -> None:
    @app.get("/key", **documented("The consumer's public key", schemas.KeyAnswer))
    def show_key(request: Request) -> Response:
        return _answer_key(request, agent.get_key())

    @app.post("/key", **documented("Make a consumer key", schemas.KeyAnswer, 201, body=schemas.KeyFields))
    def make_key(
        request: Request, fields: Annotated[schemas.KeyFields, Depends(fields_of(schemas.KeyFields, schemas.FormKeyFields))]
    ) -> Response:
        with agent.recording("key", request.state.peer):
            key = agent.make_key(int(fields.bits), replace=fields.replace)
        return _answer_key(request, key, status=201)


def _describe_link(report: LinkReport) -> schemas.LinkAnswer:
    return schemas.LinkAnswer(
        name=report.link.name,
        **link_to_fields(report.link),
        token=describe_token(report),
    )


def _tell_git_left(names: Sequence[str]) -> list[str]:
    """Return a line for each of git's tokens that is at the provider still; people find them by their names."""
    return [f"still good at the provider, revoke it there under HTTP access tokens: {name}" for name in names]


def _describe_sending(link: Link) -> dict[str, Any]:
    """Return what the sender of a signed request needs to know of its link; what is not set is left out."""
    settings = link_to_fields(link)
    described = {"base_url": str(link.url), **{name: settings[name] for name in ("ca_bundle", "client_cert", "proxy")}}
    return {name: value for name, value in described.items() if value} | ({"allow_insecure": True} if link.allow_insecure else {})


def _texts_of(form: str | list[tuple[str, str]] | None) -> Iterable[str]:
    return (form,) if isinstance(form, str) else chain.from_iterable(form or ())


def _read_form(form: str | list[tuple[str, str]] | None) -> Pairs | None:
    """Return the form's decoded names and values; None for none. Raises TooLargeError and BadUrlError."""
    check_form_length(form or "")
    if isinstance(form, str):
        return parse_pairs(form, "form") if form else None
    return None if form is None else tuple(form)


def _dry_run(agent: Agent, fields: schemas.SignFields, form: Pairs | None) -> schemas.DryRunAnswer:
    base_string, link = agent.sign_dry(fields.method, fields.url, form, fields.link)
    return schemas.DryRunAnswer(
        method=fields.method, url=fields.url, form=fields.form, link=link.name, base_url=str(link.url), base_string=base_string
    )


def _describe_dance(dance: Dance) -> schemas.DanceAnswer:
    state = dance.state
    error = state.error if isinstance(state, Failed) else None
    return schemas.DanceAnswer(
        state=state.word,
        user=state.user if isinstance(state, Granted) else None,
        error=schemas.ErrorDetail(code=error.code, message=error.message, hint=error.hint) if error else None,
    )


def _answer_key(request: Request, key: Signer, status: int = 200) -> Response:
    pem = key.public_pem()
    return answer_with(
        request, schemas.KeyAnswer(public_key=pem, fingerprint=key.fingerprint(), bits=key.bits), pem.splitlines(), status
    )
