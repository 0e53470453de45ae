"""A link: one provider's base URL and how to authorize there. Each of its fields is a setting, with its row."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from atl_sign.base.credentials import GitPermission
from atl_sign.base.errors import BadUrlError
from atl_sign.base.urls import Url, parse_url
from atl_sign.config.setting import AbsolutePath, Choice, Number, Setting, Switch, Text, read_line, setting, settings_of

SCHEME_DEFAULT = "oauth1"
TIMEOUT_S_DEFAULT = 30.0
GIT_PERMISSION_DEFAULT: GitPermission = "write"
GIT_DAYS_DEFAULT = 7
GIT_DAYS_MAX = 90
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

# The settings of the links of each scheme beside those that all links have. They are with the schemes, which are right of here.
Schemes = Mapping[str, tuple[Setting, ...]]

_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """A base URL."""

    type: Any = str

    def read(self, name: str, value: object) -> Url:
        """Return it taken apart; raises BadFieldsError and BadUrlError."""
        try:
            return parse_base_url(read_line(name, value))
        except BadUrlError as exc:
            raise BadUrlError(f"{name}: {exc.message}", exc.hint) from None


@dataclass(frozen=True, slots=True)
class OwnSettings:
    """The settings that one link has of its scheme, each with its row."""

    rows: tuple[Setting, ...] = ()
    values: tuple[Any, ...] = ()  # one for each row

    def get(self, name: str) -> Any:
        """Return the value of the setting called *name*; None when it is not set, or another scheme's."""
        return next((value for row, value in zip(self.rows, self.values, strict=True) if row.name == name), None)


@dataclass(frozen=True, slots=True)
class Link:
    """One application link: a provider's base URL, and how to authorize there."""

    name: str
    url: Url = setting(  # its path has no slash at the end, "" when there is no context path
        BaseUrl(),
        is_needed=True,
        option="URL",
        asked="the product's base URL, with its context path",
        docs="the base URL with the context path, as the addresses of the product's own pages begin; without a query or a "
        "fragment, and without dots, semicolons or encoded slashes in its path",
    )
    scheme: str = setting(
        Text(),  # `link_settings` knows which there are
        default=SCHEME_DEFAULT,
        is_kept=True,
        help="how requests are authorized",
        asked="how requests are authorized; left out: unchanged, oauth1 for a new link",
        docs="how requests are authorized; `oauth1` by default",
    )
    own: OwnSettings = OwnSettings()
    ca_bundle: Path | None = setting(
        AbsolutePath(),
        option="--ca-bundle FILE",
        help="PEM file of the certificate authorities to trust for this link",
        asked="PEM file of authorities, an absolute path",
        docs="PEM file of the CA certificates to trust for this link instead of the system's; an absolute path",
    )
    client_cert: Path | None = setting(
        AbsolutePath(),
        option="--client-cert FILE",
        help="PEM file of certificate and key for TLS client authentication",
        asked="PEM file of certificate and key, an absolute path",
        docs="PEM file with the certificate and unencrypted key for TLS client authentication; an absolute path",
    )
    proxy: str | None = setting(
        Text(r"https?://[^/?#@\s]+/?", "is not of the form http://host:port", "a proxy that wants a password is not supported"),
        option="--proxy URL",
        help="proxy for the daemon's own requests",
        asked="http://host:port for the daemon's own requests",
        docs="`http://host:port` or `https://host:port`, without a user name or password",
    )
    timeout_s: float = setting(
        Number(1, 300, "is not a number of seconds from 1 to 300"),
        default=TIMEOUT_S_DEFAULT,
        option="--timeout SECONDS",
        help="how long the daemon waits for the product",
        asked="seconds that one exchange may take, 1 to 300; 30 when left out",
        docs="how many seconds a whole exchange with the provider may take, 1 to 300; 30 by default",
    )
    git: GitPermission | None = setting(  # None: `GIT_PERMISSION_DEFAULT`
        Choice(("read", "write"), "is neither read nor write", GitPermission),
        option="--git read|write",
        help="the access that git has at this Bitbucket (default: write)",
        asked="what git's token may do at a Bitbucket; write when left out",
        answered="null: write",
        example="read",
        docs="for a Bitbucket: what [git](git.md) may do there, `read` (a token with `REPO_READ`) or `write` (`REPO_WRITE`); "
        "`write` by default",
    )
    git_days: int | None = setting(  # None: `GIT_DAYS_DEFAULT`
        Number(1, GIT_DAYS_MAX, f"is not a whole number from 1 to {GIT_DAYS_MAX}", int),
        option="--git-days DAYS",
        help="how long a token for git lives, 1 to 90 (default: 7)",
        asked="days that git's token lives, 1 to 90; 7 when left out",
        answered="null: 7",
        docs="for a Bitbucket: how many days a token for git lives, 1 to 90; 7 by default. If the administrator's limit is "
        "lower, it applies",
    )
    default: bool = setting(
        Switch(),
        default=False,
        option="atl-sign link default NAME",
        asked="whether it is the default among links with its base URL; left out: unchanged, false for a new link",
        answered="whether it is the default among links with its base URL",
        docs="`true`: this link signs if several links have its base URL and none is named",
    )

    @property
    def consumer_key(self) -> str:
        """How the provider knows the user's consumer, OAuth 1.0a; "" in a link of another scheme."""
        return self.own.get("consumer_key") or ""

    @property
    def client(self) -> str:
        """The name of the user's client, or of the user, at the provider beside the grant; "" when there is none."""
        return self.consumer_key or self.own.get("user") or ""

    @property
    def signing_url(self) -> Url | None:
        """The base URL as the provider behind its proxy sees it, when that differs; OAuth 1.0a."""
        url: Url | None = self.own.get("signing_url")
        return url

    def settings(self) -> Iterator[tuple[Setting, Any]]:
        """Give the row of each setting with its value, in the order in which they are shown."""
        for name, row in settings_of(Link).items():
            yield row, getattr(self, name)
            if name == "scheme":
                yield from zip(self.own.rows, self.own.values, strict=True)

    @property
    def git_permission(self) -> GitPermission:
        """The rights and life that a token for git is requested with."""
        return self.git or GIT_PERMISSION_DEFAULT

    def as_signed(self, url: Url) -> Url:
        """Return *url*, which this link covers, as the provider believes it was called: under `signing_url` when there is one."""
        if self.signing_url is None:
            return url
        path = self.signing_url.path + url.path[len(self.url.path) :]
        return Url(self.signing_url.scheme, self.signing_url.host, self.signing_url.port, path or "/", url.query)


def parse_base_url(text: str) -> Url:
    """
    Take a link's base URL, with its context path, apart.

    Raises:
        BadUrlError: `parse_url` refuses it, or it has a query, a fragment, or in its path what some server reads as another path:
            dot segments, empty segments (slashes at the end do not count), semicolons, encoded slashes.
    """
    url = parse_url(text)
    if url.query is not None or "#" in text:
        raise BadUrlError("a base URL has no query and no fragment", "give the address that the product's own pages begin with")
    path = url.path.rstrip("/")
    segments = decoded_segments(path)
    if (
        segments is None
        or len(segments) != len(path.split("/"))
        or any(segment in ("", ".", "..") or ";" in segment for segment in segments[1:])
    ):
        raise BadUrlError(
            "a base URL's path has no dots, semicolons, encoded slashes or empty parts", "give it as the browser shows it"
        )
    return Url(url.scheme, url.host, url.port, path)


def is_name(text: str) -> bool:
    """Tell whether *text* can name a link: 1 to 64 ASCII letters, digits and ". _ -", beginning with a letter or digit."""
    return _NAME.fullmatch(text) is not None


def decoded_segments(path: str) -> list[str] | None:
    """
    Return the segments of *path* as the most obliging server reads them: every escape decoded, "\\" a slash.

    None when it is encoded more than four times over; nobody means that, and decoding to the end could take long.
    """
    for _ in range(5):
        decoded = unquote(path, errors="replace")
        if decoded == path:
            return path.replace("\\", "/").split("/")
        path = decoded
    return None
