"""An answer as JSON, or as the text that a shell would print; how failures look; what OpenAPI says of both."""

import asyncio
import json
import logging
from collections.abc import Iterable, MutableMapping, Sequence
from types import UnionType
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from atl_sign.api import schemas
from atl_sign.api.fields import refuse_details
from atl_sign.base.errors import BadRequestError, DaemonError, InternalError, MethodNotAllowedError, NotFoundError
from atl_sign.base.text import format_error, format_lines, one_line, printable, to_text

CODE_HEADER = b"atl-sign-code"

_log = logging.getLogger("atl_sign")
_Scope = MutableMapping[str, Any]


def add_error_handlers(app: FastAPI) -> None:
    """Make *app* answer every failure in the one shape."""
    app.add_exception_handler(DaemonError, _answer_daemon_error)  # type: ignore[arg-type]  # the handler knows its own class
    app.add_exception_handler(HTTPException, _answer_http_exception)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _answer_validation_error)  # type: ignore[arg-type]
    app.add_middleware(_Guard)


def documented(
    app: FastAPI,
    summary: str,
    answer: type[BaseModel] | UnionType | None,
    status: int = 200,
    *,
    body: type[schemas.Fields] | None = None,
    creates: bool = False,
) -> dict[str, Any]:
    """Return what the OpenAPI document says of a route that reads and answers by itself; little on an app that only serves."""
    route: dict[str, Any] = {"summary": summary, "status_code": status, "response_class": Response}
    if not app.state.is_described:
        return route
    if answer is not None:
        described = {"model": answer, "content": {"text/plain": {"schema": {"type": "string"}}}}
        route["responses"] = {status: described, **({201: described} if creates else {})}
    if body is not None:
        schema = body.model_json_schema()
        content = {"schema": schema}
        route["openapi_extra"] = {
            "requestBody": {
                "required": "required" in schema,
                "content": {"application/json": content, "application/x-www-form-urlencoded": content},
            }
        }
    return route


def answer_with(request: Request, answer: BaseModel, lines: Sequence[str] | None = None, status: int = 200) -> Response:
    """Answer with *answer* as JSON, or with *lines* (else one line a field) when the peer wants text."""
    if not wants_text(request):
        return Response(printable(answer.model_dump_json()), status, media_type="application/json")
    return answer_text(format_lines(answer.model_dump(mode="json")) if lines is None else lines, status)


def wants_text(request: Request) -> bool:
    """Tell whether the peer would rather have text than JSON: its Accept begins with text/plain."""
    return request.headers.get("Accept", "").lstrip().lower().startswith("text/plain")


def answer_text(lines: Iterable[str], status: int = 200) -> Response:
    """Answer with *lines* for a terminal: each stays one line, and control characters are escaped."""
    return Response(to_text(lines), status, media_type="text/plain")


def answer_error(error: DaemonError, *, as_text: bool) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return body and headers of the one shape that every failure has; the code is a header too, for peers without JSON."""
    headers = [(CODE_HEADER, error.code.encode())]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    if as_text:
        text = to_text(format_error(error.message, error.hint))
        return text.encode(), [(b"content-type", b"text/plain; charset=utf-8"), *headers]
    # Programs print these two as they are.
    detail = {"code": error.code, "message": one_line(error.message), "hint": error.hint and one_line(error.hint)}
    if error.link is not None:  # first: programs without a JSON parser know the hint as the last
        detail = {"link": error.link, **detail}
    return json.dumps({"error": detail}).encode(), [(b"content-type", b"application/json"), *headers]


def _answer_daemon_error(request: Request, exc: DaemonError) -> Response:
    body, headers = answer_error(exc, as_text=wants_text(request))
    return Response(body, exc.status, {name.decode(): value.decode() for name, value in headers})


def _answer_http_exception(request: Request, exc: HTTPException) -> Response:
    if exc.status_code == 405:
        error: DaemonError = MethodNotAllowedError(f"{request.method} is not for this address", "docs/api.md lists every call")
    elif exc.status_code == 404:
        error = NotFoundError("nothing is at this address", "docs/api.md lists every call")
    else:
        error = BadRequestError("the request cannot be read")
    answer = _answer_daemon_error(request, error)
    answer.headers.update({name: value for name, value in (exc.headers or {}).items() if name.lower() == "allow"})
    return answer


def _answer_validation_error(request: Request, exc: RequestValidationError) -> Response:
    return _answer_daemon_error(request, refuse_details(exc.errors()))


class _Guard:
    """The outermost handler: an unforeseen error is reported as `internal`, and logged without texts that may hold a secret."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: _Scope, receive: Any, send: Any) -> None:
        is_answered = False

        async def watch(message: _Scope) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            return  # the peer hung up before its request was whole: nobody is there to be answered
        except asyncio.CancelledError:
            if is_answered:  # uvicorn closes the connection
                return
            await _send_error(InternalError("the daemon is ending", "try again when it runs again"), scope, send)
        except Exception as exc:
            _log.error("internal error: %s at %s", type(exc).__name__, _place_of(exc))
            if is_answered or scope["type"] != "http":
                return
            error = InternalError("the daemon failed", "its log says where; please report it")
            if isinstance(exc, ImportError) and (exc.name or "").startswith("atl_sign"):  # what a later call needs is not there
                error = InternalError("another version of atl-sign was installed while this daemon runs", "atl-sign restart")
            await _send_error(error, scope, send)


async def _send_error(error: DaemonError, scope: _Scope, send: Any) -> None:
    body, headers = answer_error(error, as_text=wants_text(Request(scope)))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _place_of(exc: BaseException) -> str:
    trace = exc.__traceback__
    places = []
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(places[-6:])
