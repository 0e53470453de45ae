"""The settings of a link of OAuth 2.0 beside its URL and its network."""

from dataclasses import dataclass
from typing import Any

from atl_sign.base.errors import BadFieldsError, BadUrlError
from atl_sign.config.setting import Choice, Number, Setting, Text, read_line
from atl_sign.schemes.gateway import GATEWAY
from atl_sign.schemes.oauth2.flavours import FLAVOURS
from atl_sign.schemes.oauth2.metadata import parse_server_address

GENERIC = "generic"  # the flavour of a server that describes itself, or that the user describes


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """An address of an authorization server: https, or on this machine."""

    type: Any = str

    def read(self, name: str, value: object) -> str:
        """Return it as it was written, since an issuer is compared character by character."""
        text = read_line(name, value)
        try:
            parse_server_address(text)
        except BadUrlError as exc:
            raise BadFieldsError(f"{name}: {exc.message}", exc.hint) from None
        return text


FLAVOUR = Setting(
    "flavour",
    Choice((*FLAVOURS, GENERIC), f"is not one of {', '.join((*FLAVOURS, GENERIC))}"),
    is_needed=True,
    is_kept=True,
    option="--flavour FLAVOUR",
    help=f"the provider's OAuth 2.0: {', '.join((*FLAVOURS, GENERIC))} (default: found by URL)",
    asked="the provider's flavour of OAuth 2.0; left out: unchanged, for a new link found by its URL",
    docs=f"the provider's flavour of OAuth 2.0: {', '.join(f'`{each}`' for each in (*FLAVOURS, GENERIC))}; `atl-sign link add` "
    "finds it by the URL and by what the server says",
)
CLIENT_ID = Setting(
    "client_id",
    Text(r"[\x21-\x7e]{1,255}", "is not 1 to 255 printable ASCII characters without a blank"),
    is_kept=True,
    option="--client-id ID",
    help="the id of the app that was registered for you; its secret follows with link secret",
    asked="the id of the app at the provider; left out: unchanged. Its secret goes to `PUT /links/{name}/secret`",
    docs="the id of the app (the OAuth client) that was registered at the provider; not a secret. The secret is in the "
    "[store](oauth2.md#set-one-up)",
)
ACCOUNT = Setting(
    "account",
    Text(r".{1,255}", "is not 1 to 255 characters"),
    option="--account USER",
    help="the only user who may consent, as the provider names them (default: anybody)",
    asked="the only user who may consent; anybody when left out",
    docs="the only user who may consent, as the provider names them; a dance as another one is refused. Two links of one app "
    "at Atlassian Cloud share a grant unless they have different accounts",
)
ISSUER = Setting(
    "issuer",
    ServerAddress(),
    option="--issuer URL",
    help="the authorization server's own name for itself, whose metadata say the rest",
    asked="the authorization server's issuer identifier",
    docs="the authorization server's identifier: for `generic` its metadata (RFC 8414, OpenID Connect) are read, and an `iss` in "
    "the browser's address must be the same",
)
SCOPES = Setting(
    "scopes",
    Text(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*", "is not a list of scopes with a blank between them"),
    option="--scopes LIST",
    help='the rights to ask for, with blanks between them: "READ" (default: the flavour\'s)',
    asked="the scopes to ask for, with a blank between them; the flavour's when left out",
    docs="the scopes to ask for, with a blank between them; by default those of the flavour, which `atl-sign link setup` shows",
)
REDIRECT_PORT = Setting(
    "redirect_port",
    Number(1024, 65_535, "is not a whole number from 1024 to 65535", int),
    option="--redirect-port PORT",
    help="the port on this machine in the registered redirect address (default: 47813)",
    asked="the port in the registered redirect address; 47813 when left out, or any free one where the provider allows that",
    docs="the port on this machine in the redirect address that was registered; `47813` by default. Where the provider takes any "
    "port, a free one is used unless you set this",
)


def _address(name: str, option: str, words: str) -> Setting:
    return Setting(
        name,
        ServerAddress(),
        option=f"{option} URL",
        help=words,
        asked=words,
        docs=words,
    )


AUTHORIZE_URL = _address("authorize_url", "--authorize-url", "where the user consents, instead of what flavour or metadata say")
TOKEN_URL = _address("token_url", "--token-url", "where tokens are requested, instead of what flavour or metadata say")
DEVICE_URL = _address("device_url", "--device-url", "where a device flow begins, instead of what flavour or metadata say")
REVOKE_URL = _address("revoke_url", "--revoke-url", "where tokens are revoked, instead of what flavour or metadata say")
WHO_URL = _address("who_url", "--who-url", "answers who the user is, as a JSON object")
WHO_FIELD = Setting(
    "who_field",
    Text(r"[A-Za-z0-9_.-]{1,64}", "is not 1 to 64 letters, digits, dots, dashes and underscores"),
    option="--who-field NAME",
    help="the field of that answer with the user's name (default: sub)",
    asked="the field with the user's name in the answer of `who_url`; sub when left out",
    docs="the field of the answer of `who_url` that has the user's name; `sub` by default",
)
CLIENT_AUTH = Setting(
    "client_auth",
    Choice(("basic", "body", "none"), "is not one of basic, body, none"),
    option="--client-auth basic|body|none",
    help="how the secret is sent to the token endpoint (default: as flavour or metadata say)",
    asked="how the secret is sent to the token endpoint; as flavour or metadata say when left out",
    docs="how the secret is sent to the token endpoint, `basic`, `body`, or `none` for an app without one; by default as flavour "
    "or metadata say, else `basic`",
)
GIT_MINUTES = Setting(
    "git_minutes",
    Number(1, 120, "is not a whole number from 1 to 120", int),
    option="--git-minutes MINUTES",
    help="how long a token that git gets must be good for at least, 1 to 120 (default: 15)",
    asked="minutes for which a token that git gets must be good at least, 1 to 120; 15 when left out",
    answered="null: 15",
    docs="for how many minutes a token that git gets must be valid at least, 1 to 120; 15 by default. One that ends sooner is "
    "renewed first",
)
SETTINGS = (
    FLAVOUR,
    CLIENT_ID,
    ACCOUNT,
    ISSUER,
    SCOPES,
    REDIRECT_PORT,
    GATEWAY,
    AUTHORIZE_URL,
    TOKEN_URL,
    DEVICE_URL,
    REVOKE_URL,
    WHO_URL,
    WHO_FIELD,
    CLIENT_AUTH,
    GIT_MINUTES,
)
