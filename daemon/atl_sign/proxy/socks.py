"""
SOCKS5, the server's side, as pure functions: each takes the bytes that came so far, and returns what they say.

User name and password carry choices, and prove nothing: the name is that of the link to use, or "-"; the password is "dry-run",
the name of a note for `atl-sign curl`, or "dry-run." with such a name.

Source: RFC 1928 (SOCKS5), RFC 1929 (user name and password).
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from atl_sign.config.links import is_name

VERSION = 5
NO_LINK = "-"
DRY_RUN = "dry-run"
_NOTE = re.compile(r"[0-9]{1,20}-[0-9]{1,20}", re.ASCII)

NO_AUTHENTICATION = b"\x05\x00"
USER_AND_PASSWORD = b"\x05\x02"
NO_METHOD = b"\x05\xff"
LOGIN_TAKEN = b"\x01\x00"
LOGIN_REFUSED = b"\x01\x01"
CONNECTED, FAILED, NOT_ALLOWED, UNREACHABLE, REFUSED, BAD_COMMAND, BAD_ADDRESS = 0, 1, 2, 4, 5, 7, 8

_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4


class SocksError(Exception):
    """The client does not speak SOCKS5, or asks for what is not there; *answer* is the last thing that it gets."""

    def __init__(self, answer: bytes = b"") -> None:
        """Answer with these bytes, and close."""
        super().__init__("not a SOCKS5 request that is served")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Login:
    """The client's choices."""

    link: str | None = None  # the name of the link to use
    is_dry_run: bool = False  # nothing is to be sent
    note: str | None = None  # the name of the note for it


@dataclass(frozen=True, slots=True)
class Target:
    """Where the client wants to go."""

    host: str  # a name, or an address; IPv6 in brackets
    port: int


def read_greeting(data: bytes) -> tuple[bytes, int] | None:
    """
    Return the answer to the client's first message, and how long that is; None while it is not whole.

    A client that can give a name is asked for one.

    Raises:
        SocksError: another version, or no method that is served.
    """
    if data[:1] != b"\x05":
        raise SocksError
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    methods = data[2 : 2 + data[1]]
    if 2 in methods:
        return USER_AND_PASSWORD, 2 + data[1]
    if 0 in methods:
        return NO_AUTHENTICATION, 2 + data[1]
    raise SocksError(NO_METHOD)


def read_login(data: bytes) -> tuple[Login, int] | None:
    """
    Return the client's choices, and how long its message is; None while that is not whole.

    Raises:
        SocksError: it is not a login, or one that chooses what is not there.
    """
    if data[:1] not in (b"", b"\x01"):
        raise SocksError
    if len(data) < 2 or len(data) < 3 + data[1] or len(data) < 3 + data[1] + data[2 + data[1]]:
        return None
    user, password = data[2 : 2 + data[1]], data[3 + data[1] :][: data[2 + data[1]]]
    name, word = user.decode("latin-1"), password.decode("latin-1")
    is_dry_run = word == DRY_RUN or word.startswith(f"{DRY_RUN}.")
    note = word.removeprefix(DRY_RUN).removeprefix(".") if is_dry_run else word
    if (name not in ("", NO_LINK) and not is_name(name)) or (note and not _NOTE.fullmatch(note)):
        raise SocksError(LOGIN_REFUSED)
    return Login(name if name not in ("", NO_LINK) else None, is_dry_run, note or None), 3 + len(user) + len(password)


def read_request(data: bytes) -> tuple[Target, int] | None:
    """
    Return where the client wants to go, and how long its message is; None while that is not whole.

    Raises:
        SocksError: it wants something else than a connection, or the address cannot be read.
    """
    if data[:1] not in (b"", b"\x05"):
        raise SocksError
    if len(data) < 5:
        return None
    if data[1] != _CONNECT:
        raise SocksError(make_reply(BAD_COMMAND))
    kind, length = data[3], {_IPV4: 4, _IPV6: 16, _NAME: 1 + data[4]}.get(data[3])
    if length is None or data[2] != 0:
        raise SocksError(make_reply(BAD_ADDRESS))
    end = 4 + length + 2
    if len(data) < end:
        return None
    address, port = data[4 : 4 + length], int.from_bytes(data[end - 2 : end], "big")
    if kind == _IPV4:
        return Target(str(IPv4Address(address)), port), end
    if kind == _IPV6:
        return Target(f"[{IPv6Address(address)}]", port), end
    try:
        return Target(address[1:].decode("ascii"), port), end
    except UnicodeDecodeError:
        raise SocksError(make_reply(BAD_ADDRESS)) from None


def make_reply(code: int) -> bytes:
    """Return the reply to a request; the address in it, which nobody needs, is 0.0.0.0."""
    return bytes([VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0])
