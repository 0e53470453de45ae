"""Multipart uploads, for attachments."""

from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message

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
    file_name = part.get_filename()
    if part.get_param("name", header="content-disposition") != "file" or not file_name or not isinstance(content, bytes):
        return None
    return Upload(file_name, part.get_content_type(), content)
