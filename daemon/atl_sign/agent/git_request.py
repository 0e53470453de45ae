"""Git's question to a credential helper, read from its protocol's text, and the links that it can mean (facts section 11.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from atl_sign.base.errors import BadRequestError, BadUrlError
from atl_sign.base.urls import Url, parse_url
from atl_sign.config.links import Link
from atl_sign.config.table import LinkTable

LINE_BYTES_MAX = 65_535  # git's own limit


@dataclass(frozen=True, slots=True)
class GitRequest:
    """One request to the helper."""

    url: Url | None  # with the path when git tells it; None when it is nothing that a link could cover
    has_path: bool = False
    user: str | None = None  # whom git wants to be
    link: str | None = None  # the name that the helper was given
    can_authtype: bool = False  # whether git takes a scheme and a credential instead of a user and a password
    credential: str | None = None  # in `store` and `erase`: the password or the credential that was tried

    def is_below(self, link: Link) -> bool:
        """Tell whether *link* covers this; without a path its scheme, host and port have to do."""
        if self.url is None or link.url.origin != self.url.origin:
            return False
        return not self.has_path or link in LinkTable([link]).covering(self.url)

    def choose(self, links: LinkTable) -> list[Link]:
        """Return the links that this can mean; which of them are Bitbuckets, is not known here."""
        if self.url is None:
            return []
        return links.covering(self.url) if self.has_path else links.at_origin(self.url)


def parse_git_request(body: bytes, link: str | None = None) -> GitRequest:
    """
    Read *body*, lines of `name=value` up to an empty line or the end; unknown attributes are ignored, whatever they hold.

    Git passes bytes. Those of a path are what is asked for; a host, user or secret that is not UTF-8 equals none of ours.

    Args:
        body: as git wrote it to the helper.
        link: the name that the helper was given, if any.

    Raises:
        BadRequestError: a line has no "=", or a known attribute is longer than git's own limit, or holds NUL or CR.

    Source: git-credential(1), "Input/output format".
    """
    attributes, capabilities = _parse_lines(body)
    scheme, host, path = (_read(attributes, name) for name in (b"protocol", b"host", b"path"))
    credential = _read(attributes, b"credential")
    url = None
    if scheme in ("http", "https") and host:
        try:
            # Git decodes the path's percent escapes.
            url = parse_url(f"{scheme}://{host}/{quote(path or '', errors='surrogateescape')}")
        except BadUrlError:
            url = None  # not what a link could be; another helper may know it
    return GitRequest(
        url,
        has_path=bool(path),
        user=_read(attributes, b"username"),
        link=link,
        can_authtype=b"authtype" in capabilities,
        credential=credential if credential is not None else _read(attributes, b"password"),
    )


def _parse_lines(body: bytes) -> tuple[Mapping[bytes, bytes], list[bytes]]:
    attributes: dict[bytes, bytes] = {}
    capabilities: list[bytes] = []
    for line in body.split(b"\n"):
        if not line:
            break
        name, equals, value = line.partition(b"=")
        if not equals or not name:
            raise BadRequestError("a line is not of the form name=value")
        if name != b"capability[]":
            attributes[name] = value  # of several the last counts, as in git
        elif value:
            capabilities.append(value)
        else:  # an empty one takes back those before
            capabilities.clear()
    return attributes, capabilities


def _read(attributes: Mapping[bytes, bytes], name: bytes) -> str | None:
    """Return the attribute *name* as text, with lone surrogates for what is not UTF-8 (PEP 383); None when it is absent."""
    value = attributes.get(name)
    if value is None:
        return None
    if len(name) + 1 + len(value) > LINE_BYTES_MAX:
        raise BadRequestError(f"a line is longer than {LINE_BYTES_MAX} bytes")
    if b"\0" in value or b"\r" in value:
        raise BadRequestError("a line holds NUL or CR")
    return value.decode("utf-8", "surrogateescape")
