"""Multipart uploads, for attachments."""

from dataclasses import dataclass
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import collapse_rfc2231_value

from atl_sign.sandbox.call import Call, RefusalError


@dataclass(frozen=True, slots=True)
class Upload:
    """One uploaded file."""

    name: str
    media_type: str
    content: bytes


def read_uploads(call: Call) -> list[Upload]:
    """
    Return the files of a `multipart/form-data` body: its parts called "file".

    Raises:
        RefusalError: the body is of another type (415), or has no such part (400).
    """
    if call.request.media_type != "multipart/form-data":
        raise RefusalError(415, "The body must be multipart/form-data.")
    head = f"Content-Type: {call.request.header('content-type')}\r\n\r\n".encode("latin-1", "replace")
    parts = message_from_bytes(head + call.request.body).get_payload()
    uploads = [_make_upload(part) for part in parts if isinstance(part, Message)] if isinstance(parts, list) else []
    found = [upload for upload in uploads if upload is not None]
    if not found:
        raise RefusalError(400, 'The upload has no part called "file" with a file name.')
    return found


def _make_upload(part: Message) -> Upload | None:
    content = part.get_payload(decode=True)
    fields = _read_disposition(part)
    file_name = fields.get("filename")
    if fields.get("name") != "file" or not file_name or not isinstance(content, bytes):
        return None
    return Upload(file_name, part.get_content_type(), content)


def _read_disposition(part: Message) -> dict[str, str]:
    """
    Return the parameters of the part's Content-Disposition.

    A file name comes as UTF-8 in quotes (RFC 7578 §4.2, as browsers and curl send it), as `filename*` (RFC 8187, as older Python
    libraries do) or as an encoded word (RFC 2047, as some mail libraries do); with two of them `filename*` counts.
    """
    raw = next((str(value) for name, value in part.raw_items() if name.lower() == "content-disposition"), "")
    header = Message()
    header["Content-Disposition"] = raw.encode("ascii", "surrogateescape").decode("utf-8", "replace")
    fields: dict[str, str] = {}
    for name, value in sorted(header.get_params([], header="content-disposition"), key=lambda item: isinstance(item[1], tuple)):
        text = collapse_rfc2231_value(value)
        fields[name] = str(make_header(decode_header(text))) if text.startswith("=?") and text.endswith("?=") else text
    return fields
