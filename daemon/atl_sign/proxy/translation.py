"""The product's address and the one that a tool at a base-URL entry uses: each is put in place of the other."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urljoin

from atl_sign.agent.sign import Signed
from atl_sign.base.urls import Url
from atl_sign.config.links import Link
from atl_sign.proxy.heads import Framing, Head, Header
from atl_sign.proxy.inbound import Inbound
from atl_sign.proxy.rewriting import Addresses, JsonRewriter

JSON_BYTES_MAX = 1 << 20  # of a request's, that is held to learn its new length

_JSON = b"application/json"
# These hold for the content as it came.
_OF_CONTENT = frozenset(
    {b"content-length", b"etag", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"accept-ranges"}
)


def has_json(head: Head) -> bool:
    """Tell whether a request's body is JSON whose addresses can be replaced."""
    return head.media_type == _JSON and not head.list_words(b"content-encoding") - {b"identity"}


def ask_plainly(head: Head) -> Head:
    """Return the *head* of a request whose answer nobody compresses: its addresses could not be found."""
    kept = [(name, value) for name, value in head.headers if name.lower() != b"accept-encoding"]
    return replace(head, headers=(*kept, (b"Accept-Encoding", b"identity")))


async def hold_json(inbound: Inbound, addresses: Addresses) -> tuple[bytes | AsyncIterator[bytes], Framing]:
    """Return a body with *addresses* replaced: in one piece, with its new length, or in chunks if it is longer than a MiB."""
    rewriter, content, reading = JsonRewriter(addresses), bytearray(), inbound.read()
    if (inbound.framing.length or 0) <= JSON_BYTES_MAX:
        async for data in reading:
            content += rewriter.feed(data)
            if len(content) > JSON_BYTES_MAX:
                break
        else:
            content += rewriter.end()
            return bytes(content), Framing(len(content))
    return _go_on(bytes(content), reading, rewriter), Framing(is_chunked=True)


async def _go_on(begun: bytes, reading: AsyncIterator[bytes], rewriter: JsonRewriter) -> AsyncIterator[bytes]:
    yield begun
    async for data in reading:
        yield rewriter.feed(data)
    yield rewriter.end()


def address_product(here: Sequence[str], link: Link) -> Addresses:
    """Return what makes the product's address of *here*, all addresses of the entry."""
    return Addresses(here, str(link.url))


def address_tool(here: Sequence[str], signed: Signed, url: Url, own_url: str | None) -> Addresses:
    """
    Return what makes the entry's address of the product's.

    Args:
        here: the addresses of the entry, first the one that the tool uses.
        signed: a request of the link, signed.
        url: its address below the link's base URL.
        own_url: the base URL that the product is configured with, when that is known.
    """
    base = str(signed.link.url)
    olds = [base]
    if own_url is not None and own_url.startswith(("https://", "http://")):
        olds.append(own_url)
    rest = str(url)[len(base) :]
    if signed.url is not None and signed.url.endswith(rest):  # a gateway's answers name the gateway
        olds.append(signed.url[: len(signed.url) - len(rest)])
    return Addresses(olds, here[0])


def find_rewriter(status: int, headers: Sequence[Header], addresses: Addresses) -> JsonRewriter | None:
    """Return what replaces *addresses* in the body of an answer; None when that passes as it is."""
    fields = {name.lower(): value.strip().lower() for name, value in headers}
    is_json = fields.get(b"content-type", b"").partition(b";")[0].strip() == _JSON
    is_file = fields.get(b"content-disposition", b"").startswith(b"attachment")  # somebody's own, to the byte
    is_plain = fields.get(b"content-encoding", b"identity") == b"identity"
    return JsonRewriter(addresses) if is_json and is_plain and not is_file and status != 206 else None


def change_headers(headers: Sequence[Header], addresses: Addresses, *, is_rewritten: bool, has_moved: bool) -> list[Header]:
    """
    Return the *headers* of an answer as they are right for the tool.

    Args:
        headers: the provider's, as far as they pass.
        addresses: to replace.
        is_rewritten: its body is.
        has_moved: Location is for the tool to see, and not one that the request is taken to.
    """
    kept = [(name, value) for name, value in headers if not (is_rewritten and name.lower() in _OF_CONTENT)]
    return [(name, addresses.replace(value) if has_moved and name.lower() == b"location" else value) for name, value in kept]


def move_location(headers: Sequence[Header], url: Url, sent_to: str) -> list[Header]:
    """
    Return an answer's *headers* with its Location as seen from *url*, the address that the program knows.

    The request went to the gateway at *sent_to*, and what the gateway says is relative to that.
    """
    rest = url.path if url.query is None else f"{url.path}?{url.query}"
    base = sent_to.removesuffix(rest)  # the path below a Cloud site's address is the path below the gateway's
    moved = []
    for name, value in headers:
        text = ""
        if name.lower() == b"location":
            with suppress(ValueError):  # it is not a URL
                text = urljoin(sent_to, value.decode("utf-8", "replace"))
        if text.startswith(f"{base}/"):
            text = f"{url.origin}{text[len(base) :]}"
        moved.append((name, text.encode() if text else value))
    return moved
