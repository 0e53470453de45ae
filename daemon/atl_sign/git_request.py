"""What git asks a credential helper for, out of the text of its protocol, and which links that can mean (facts section 11.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from atl_sign.errors import BadRequestError, BadUrlError
from atl_sign.links import Link, LinkTable
from atl_sign.urls import Url, parse_url

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
    Read *body*, lines of `name=value` up to an empty line or the end. What is not known is ignored.

    Args:
        body: as git wrote it to the helper.
        link: the name that the helper was given, if any.

    Raises:
        BadRequestError: a line has no "=", is longer than git's own, or holds NUL, CR or what is not UTF-8.

    Source: git-credential(1), "Input/output format".
    """
    fields, capabilities = _parse_lines(body)
    host, path = fields.get("host", ""), fields.get("path")
    url = None
    if fields.get("protocol", "") in ("http", "https") and host:
        try:
            # Git tells the path decoded.
            url = parse_url(f"{fields['protocol']}://{host}/{quote(path or '')}")
        except BadUrlError:
            url = None  # not what a link could be; another helper may know it
    return GitRequest(
        url,
        has_path=bool(path),
        user=fields.get("username"),
        link=link,
        can_authtype="authtype" in capabilities,
        credential=fields.get("credential", fields.get("password")),
    )


def _parse_lines(body: bytes) -> tuple[Mapping[str, str], list[str]]:
    fields: dict[str, str] = {}
    capabilities: list[str] = []
    for line in body.split(b"\n"):
        if not line:
            break
        if len(line) > LINE_BYTES_MAX:
            raise BadRequestError(f"a line is longer than {LINE_BYTES_MAX} bytes")
        if b"\0" in line or b"\r" in line:
            raise BadRequestError("a line holds NUL or CR")
        try:
            name, equals, value = line.decode().partition("=")
        except UnicodeDecodeError:
            raise BadRequestError("a line is not UTF-8") from None
        if not equals or not name:
            raise BadRequestError("a line is not of the form name=value")
        if name != "capability[]":
            fields[name] = value  # of several the last counts, as in git
        elif value:
            capabilities.append(value)
        else:  # an empty one takes back those before
            capabilities.clear()
    return fields, capabilities
