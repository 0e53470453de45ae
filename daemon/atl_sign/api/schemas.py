"""The messages on the socket, in and out, as types; `docs/openapi.json` is made of them."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr, create_model

from atl_sign.agent.links import GitFate
from atl_sign.agent.lookup import TokenState
from atl_sign.base.credentials import StoreState
from atl_sign.config.setting import Setting
from atl_sign.custody.keys.base import KeyState
from atl_sign.grants.dance import CallbackKind
from atl_sign.grants.states import DanceWord
from atl_sign.schemes.base import Uses
from atl_sign.schemes.registry import LINK_SETTINGS

Moment = Annotated[
    datetime,
    PlainSerializer(lambda moment: moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), return_type=str, when_used="json"),
]


def _only_words(value: object) -> object:
    if isinstance(value, str) and value not in ("true", "false"):
        raise ValueError("not true or false")
    return value


Flag = Annotated[bool, BeforeValidator(_only_words)]  # in a form: true or false, and not all that Pydantic takes for them


class Fields(BaseModel):
    """A request's fields; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


def make_link_fields(rows: Iterable[Setting]) -> type[Fields]:
    """Return the fields of a request that a link is put by: a setting may be left out unless a link's URL is it."""
    described: dict[str, Any] = {}
    for row in rows:
        is_needed = row.is_needed and not row.is_kept
        told = Field(
            ... if is_needed else None, description=row.asked or row.help or None, examples=[row.example] if row.example else None
        )
        described[row.name] = (row.kind.type if is_needed else row.kind.type | None, told)
    return create_model("LinkFields", __base__=Fields, **described)


class NamedAnswer(BaseModel):
    """An answer that begins with a link's name."""

    name: str


def make_link_answer(rows: Iterable[Setting]) -> type[NamedAnswer]:
    """Return the fields of an answer about a link: name and settings, null for one that is not set, or not of its scheme."""
    described: dict[str, Any] = {}
    for row in rows:
        told = Field(None, description=row.answered or None) if row.schemes else Field(description=row.answered or None)
        is_there = not row.schemes and (row.is_needed or row.default is not None)
        described[row.name] = (row.kind.type if is_there else row.kind.type | None, told)
    return create_model("NamedLink", __base__=NamedAnswer, **described)


class RequestFields(Fields):
    """One request."""

    method: str = Field(description="the HTTP method", examples=["GET"])
    url: str = Field(
        description="the absolute URL, exactly as it will be sent", examples=["https://jira.example.com/rest/api/2/myself"]
    )
    form: str | list[tuple[str, str]] | None = Field(
        None,
        description="the body if its content type is application/x-www-form-urlencoded: as it will be sent, or as decoded "
        "pairs, up to 1 MiB; leave it out for every other body",
    )
    link: str | None = Field(None, description="the link to use for it, which must cover the URL")


class SignFields(RequestFields, defer_build=False):  # the first signature does not wait for it
    """One request that a peer is about to send."""

    details: Flag = Field(False, description="as text: a line for each other field, below the header")
    dry_run: Flag = Field(False, description="sign nothing, and answer with what would be signed")


class DanceFields(Fields):
    """A dance to begin."""

    link: str
    callback: CallbackKind = Field(
        "loopback",
        description="how the answer comes back: to a listener on this machine, by the user's hand, or (`device`) without any, "
        "after the user has entered a code on another device; always `paste` for a link of the schemes bearer and basic, "
        "whatever is asked for",
    )


class VerifierFields(Fields):
    """The user's answer from the provider: one of the first three."""

    verifier: str | None = Field(None, min_length=1, max_length=255, description="the code that the provider's page showed")
    redirect_url: str | None = Field(
        None, min_length=1, max_length=8192, description="the whole address that the browser ended on"
    )
    secret: SecretStr | None = Field(None, max_length=8192, description="the token that the user made, for callback `paste`")
    expires_at: date | None = Field(
        None, description="the last day of that token, for products that do not report it; only with `secret`"
    )


class LinkFields(make_link_fields(LINK_SETTINGS.values())):  # type: ignore[misc]  # mypy knows no base class that is made
    """A link's settings."""


class SecretFields(Fields):
    """The secret of a link's app."""

    secret: SecretStr = Field(min_length=1, max_length=4096, description="as the provider showed it when the app was registered")


class PassphraseFields(Fields):
    """The passphrase that opens the store; empty where the store has none."""

    passphrase: SecretStr | None = Field(None, description="opens the store's file")
    new_passphrase: SecretStr | None = Field(
        None, description="without `passphrase`: makes the store's file; with it: replaces it"
    )


class UnlockFields(PassphraseFields):
    """A passphrase for the store, or a PIN for the token with the consumer's key."""

    pin: SecretStr | None = Field(None, min_length=1, max_length=255, description="opens the token; only without a passphrase")
    key: str | None = Field(
        None,
        description="with `pin`: the reference of a key in the token; null: the consumer's key",
        examples=["pkcs11:token=atl;object=key"],
    )
    try_again: Flag = Field(False, description="with `pin`: needed after a wrong one, for the token locks itself after a few")


class MoveFields(PassphraseFields):
    """Where the secrets go; the passphrases are those of the store to move to."""

    backend: str = Field(description="as in `[store] backend`", max_length=1024)
    volatile: Flag = Field(False, description="needed for `memory`, which ends with the daemon")


class KeyPlaceAnswer(BaseModel):
    """Where the consumer's key is, when the store does not hold it."""

    state: KeyState
    reference: str


class StoreAnswer(BaseModel):
    """The store, after it was locked or unlocked."""

    store: str
    state: StoreState


class MovedAnswer(BaseModel):
    """The store after the move."""

    store: str
    warnings: list[str]


class ErrorDetail(BaseModel):
    """The error, and how to fix it."""

    code: str
    message: str
    hint: str | None
    link: str | None = Field(default=None, description="the name of the link that the error is about; left out if there is none")


class ErrorAnswer(BaseModel):
    """The shape of every error."""

    error: ErrorDetail


class SignAnswer(BaseModel):
    """A header that is good for one request."""

    authorization: str = Field(description="the value of the Authorization header")
    link: str
    scheme: str = Field("oauth1", description="the link's scheme")
    uses: Uses = Field("one", description="how many requests the header is good for: a signature for one, a token for many")
    url: str | None = Field(None, description="where to send the request instead; left out if that is the URL in the request")
    expires_at: Moment | None = Field(None, description="when a header for many requests ends; left out if it is not known")
    warning: str | None = Field(
        None,
        description="why some providers may still refuse the signature; left out if there is no reason; as text only with "
        "`details`",
    )


class DryRunAnswer(BaseModel):
    """The text that would be signed (`dry_run`); placeholders stand for token and nonce in the base string."""

    method: str
    url: str
    form: str | list[tuple[str, str]] | None
    link: str
    base_url: str
    base_string: str = Field(description="the signature base string, RFC 5849 §3.4.1")


class DanceBegun(BaseModel):
    """A dance that waits for the user."""

    id: str
    authorize_url: str = Field(description="the page where the user presses Allow or Deny")
    callback: CallbackKind
    state: DanceWord
    expires_at: Moment
    wait_s: int = Field(description="how many seconds the user has")
    redirect_url: str | None = Field(None, description="for `loopback`: the address that the provider sends the browser to")
    user_code: str | None = Field(None, description="for `device`: the code to enter at `authorize_url`, on any device")
    whole_url: str | None = Field(None, description="for `device`: the page with the code in its address, if there is one")


class DanceAnswer(BaseModel):
    """The state of a dance."""

    state: DanceWord
    user: str | None = None
    instead_of: str | None = Field(None, description="the user before, if the consent is another one's")
    error: ErrorDetail | None = Field(None, description="why it ended without a token")


class TokenAnswer(BaseModel):
    """The state of a link's access token."""

    state: TokenState = Field(description="unknown: the store cannot be read")
    user: str | None = None
    expires_at: Moment | None = None
    scopes: str | None = Field(None, description="its rights, with a blank between them; null if the provider does not say")


class LinkAnswer(make_link_answer(LINK_SETTINGS.values())):  # type: ignore[misc]
    """One link."""

    token: TokenAnswer


class LinkOfProductAnswer(LinkAnswer):
    """One link, and its product (`product`)."""

    product: str | None = Field(
        description="`jira`, `confluence`, `bitbucket`, `bamboo`, one of Atlassian Cloud, or the flavour of another "
        "provider; null if it does not answer, or is another"
    )
    has_git: bool | None = Field(description="whether it has git repositories; null if the product is not known")


class ProbedLinkAnswer(LinkAnswer):
    """One link, and what the daemon learned from its product."""

    product: str | None
    version: str | None
    base_url: str | None = Field(description="the base URL that the product is configured with")
    warnings: list[str]
    found: str | None = Field(None, description="what was found out for a new link, and why: the flavour of OAuth 2.0")
    hint: str | None = Field(
        description="what to do if no product answered; the command with the right base URL if that is known"
    )


class KeptAnswer(BaseModel):
    """The secret is in the store."""

    link: str


class ProblemAnswer(BaseModel):
    """A part of the configuration file that cannot be used."""

    line: int | None
    part: str
    cause: str


class LinksAnswer(BaseModel):
    """Every link."""

    links: list[LinkAnswer]
    problems: list[ProblemAnswer]


class SetupField(BaseModel):
    """One field of the product's form."""

    label: str
    value: str


class SetupAnswer(BaseModel):
    """The fields that an administrator enters for one link."""

    link: str
    product: str | None
    page: str
    menu: str
    new_steps: list[str]
    old_steps: list[str]
    old_form_until: str | None
    fields: list[SetupField]
    leave_alone: list[str]
    then: list[str] = Field(description="the commands that follow; ID stands for the id of the app")


class LogoutAnswer(BaseModel):
    """The token is forgotten here; unless the provider has revoked it, the user revokes it there."""

    link: str
    revoke_url: str
    is_revoked: bool = Field(False, description="whether the provider has revoked it")
    others: list[str] = Field([], description="the links that shared the grant, and are logged out too")
    git_token: GitFate = Field(
        description=(
            "git's token: there was none; it was revoked at the provider too; it was kept as asked; "
            "it was forgotten here, but is still valid there"
        )
    )
    git_left: list[str] = Field(
        description="the names of the tokens that are still valid at the provider, for the user to revoke there"
    )


class RemovedAnswer(BaseModel):
    """The outcome of a removal."""

    removed: str
    git_left: list[str] = Field(description="as after a logout")
