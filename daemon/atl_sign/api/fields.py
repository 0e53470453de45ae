"""A request's body as fields: JSON or a form, bounded, and refused by name without a value in the words."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from atl_sign.access.caller import Caller
from atl_sign.api import schemas
from atl_sign.base.credentials import Passphrase
from atl_sign.base.errors import BadFieldsError, BadRequestError, DaemonError, TooLargeError

BODY_BYTES_MAX = 1 << 20
LOOP_BYTES_MAX = 1 << 15  # what takes longer to read is read in a thread, so that the loop goes on for others
_FORM_FIELDS_MAX = 100

_Model = TypeVar("_Model", bound=schemas.Fields)


def caller_of(request: Request) -> Caller:
    """Return who calls: the peer of the connection, and the lease by whose entry it came."""
    return Caller(request.state.peer, getattr(request.state, "lease", None))


def fields_of(model: type[_Model], form_model: type[_Model] | None = None) -> Callable[[Request], Awaitable[_Model]]:
    """Return the dependency that gives a route its body as *model*; *form_model* reads forms where texts need another type."""

    async def read(request: Request) -> _Model:
        return await read_fields(request, model, form_model)

    return read


async def read_fields(
    request: Request, model: type[_Model], form_model: type[_Model] | None = None, *, bytes_max: int = BODY_BYTES_MAX
) -> _Model:
    """Return the body's fields; raises TooLargeError, BadRequestError, BadFieldsError, never with a value in their words."""
    body = await read_body(request, bytes_max)
    kind = request.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
    if len(body) > LOOP_BYTES_MAX:
        return await run_in_threadpool(_parse_fields, body, kind, model, form_model)
    return _parse_fields(body, kind, model, form_model)


def _parse_fields(body: bytes, kind: str, model: type[_Model], form_model: type[_Model] | None) -> _Model:
    try:
        if kind == "application/json":
            # Strict: 0 is not false, and "5" is not a number. In a form every value is a text, and is converted.
            return model.model_validate_json(body or b"{}", strict=True)
        if kind == "application/x-www-form-urlencoded":
            return (form_model or model).model_validate(_parse_form(body))
    except ValidationError as exc:
        raise _refuse_fields(exc) from None
    raise BadRequestError(
        f"the content type {kind[:80]!r} is not read here", "send application/json or application/x-www-form-urlencoded"
    )


@contextmanager
def passphrases_of(fields: schemas.PassphraseFields) -> Iterator[tuple[Passphrase | None, Passphrase | None]]:
    """Give the passphrase and the new one in buffers that are overwritten at the end; raises BadFieldsError."""
    given = []
    for name, value in (("passphrase", fields.passphrase), ("new_passphrase", fields.new_passphrase)):
        try:
            given.append(None if value is None else Passphrase(value.get_secret_value().encode()))
        except UnicodeEncodeError:
            raise BadFieldsError(f"{name} is not of the right kind") from None
    try:
        yield given[0], given[1]
    finally:
        for passphrase in given:
            if passphrase is not None:
                passphrase.wipe()


@contextmanager
def pin_of(fields: schemas.UnlockFields) -> Iterator[Passphrase | None]:
    """Give the PIN in a buffer that is overwritten at the end; raises BadFieldsError."""
    if fields.pin is None:
        if fields.key is not None or fields.try_again:
            raise BadFieldsError("key and try_again go with pin")
        yield None
        return
    if fields.passphrase is not None or fields.new_passphrase is not None:
        raise BadFieldsError("pin opens a token, and a passphrase the store: send one of them")
    try:
        pin = Passphrase(fields.pin.get_secret_value().encode())
    except UnicodeEncodeError:
        raise BadFieldsError("pin is not of the right kind") from None
    try:
        yield pin
    finally:
        pin.wipe()


async def read_body(request: Request, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """Return the whole body; raises TooLargeError."""
    length = request.headers.get("Content-Length", "0").strip().lstrip("0") or "0"
    if len(length) > 12 or int(length) > bytes_max:  # httptools lets only digits through; int() takes only so many
        raise _too_large(bytes_max)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > bytes_max:
            raise _too_large(bytes_max)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(bytes_max: int) -> TooLargeError:
    return TooLargeError(
        f"the body is over {bytes_max} bytes",
        "send a shorter one; for /sign, leave out a body that is not a form",
    )


def _parse_form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=bool(body), errors="strict", max_num_fields=_FORM_FIELDS_MAX
        )
    except ValueError:  # UnicodeDecodeError too
        raise BadRequestError("the body is not application/x-www-form-urlencoded text in UTF-8") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise BadFieldsError(f"the field {name[:80]} stands twice")
        fields[name] = value
    return fields


def _refuse_fields(exc: ValidationError) -> DaemonError:
    details = exc.errors(include_url=False, include_context=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        return BadRequestError("the body is not a JSON object in UTF-8", "check quotes and commas")
    return refuse_details(details)


def refuse_details(details: Any) -> BadFieldsError:
    words = {"missing": "is missing", "extra_forbidden": "is not known here"}
    reasons: dict[str, str] = {}
    for detail in details:
        # For a list of pairs the place goes on below the field; the field's name is enough.
        place = [str(part) for part in detail["loc"] if part not in ("query", "body")]
        field = place[0][:80] if place else "body"
        reasons.setdefault(field, words.get(detail["type"], "is not of the right kind"))
    return BadFieldsError(
        "; ".join(f"{field} {reason}" for field, reason in reasons.items()), "docs/api.md lists the fields of every call"
    )
