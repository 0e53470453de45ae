"""OAuth 1.0a behind the seam of the schemes."""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qs

from atl_sign.base.clock import from_seconds, to_seconds
from atl_sign.base.credentials import Client, Consumer, Credentials, Grant, Secret
from atl_sign.base.errors import (
    BadRequestError,
    DaemonError,
    DanceExpiredError,
    DanceNeededError,
    DanceRefusedError,
    ProviderRefusedError,
)
from atl_sign.base.request import Request
from atl_sign.base.urls import Url
from atl_sign.config.links import Link
from atl_sign.config.setting import Setting
from atl_sign.providers.answer import Answer
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.manifest import Manifest
from atl_sign.providers.products import REVOKE_PATH, Product, find_product
from atl_sign.schemes.base import (
    Consent,
    GitSecret,
    NoAnswerError,
    OtherDanceError,
    Place,
    RedirectPlace,
    Refusal,
    Sent,
    Uses,
    change_scheme,
    own_place,
)
from atl_sign.schemes.fields import Fields, dump_known, load_known
from atl_sign.schemes.oauth1.problems import TOKEN_IS_DEAD, explain_problem, parse_clock_offset, parse_problem
from atl_sign.schemes.oauth1.settings import SETTINGS
from atl_sign.schemes.oauth1.signature import sign, signature_base_string
from atl_sign.schemes.oauth1.tokens import AccessToken, RequestToken, access_token_of

DENIED = "denied"  # the verifier that stands for the user's No (facts section 1.4)
VERIFIER_CHARS_MAX = 255  # Atlassian's have 6

_FIELDS_MAX = 32  # of a redirect's query


class OAuth1:
    """OAuth 1.0a with RSA-SHA1 (RFC 5849), over an application link."""

    name: ClassVar[str] = "oauth1"
    settings: ClassVar[tuple[Setting, ...]] = SETTINGS
    uses: ClassVar[Uses] = "one"
    needs_key: ClassVar[bool] = True
    needs_app: ClassVar[bool] = False
    is_pasted: ClassVar[bool] = False
    covers_form: ClassVar[bool] = True
    can_rotate: ClassVar[bool] = False

    def authorize(self, request: Request, credentials: Credentials, moment: int) -> Secret:
        """See `Scheme.authorize`; raises as `signature.sign`."""
        consumer, token = _consumer(credentials.client), access_token_of(credentials)
        return Secret(sign(request, consumer, token, nonce=secrets.token_hex(16), timestamp=moment))

    def check_product(self, link: Link, manifest: Manifest) -> Product | None:
        """See `Scheme.check_product`: Atlassian Cloud has no application links for OAuth 1.0a."""
        if manifest.is_cloud:
            message = "an Atlassian Cloud site has no application links with OAuth 1.0a"
            raise ProviderRefusedError(message, change_scheme(link, "basic --user EMAIL"), link=link.name)
        return find_product(manifest.type_id)

    def place(self, link: Link) -> Place:
        """See `Scheme.place`."""
        return own_place(link)

    def gateway(self, link: Link) -> Url | None:
        """See `Scheme.gateway`."""
        del link
        return None

    def good_at(self, link: Link, grant: Grant) -> str | None:
        """See `Scheme.good_at`."""
        del link, grant
        return None

    def send_to(self, link: Link, credentials: Credentials, url: Url) -> Url:
        """See `Scheme.send_to`."""
        del link, credentials
        return url

    def base_string(self, request: Request, client: Client | None, moment: int) -> str:
        """Return the signature base string for *request*, with token and nonce struck out; raises as `authorize`."""
        token = AccessToken(Secret("TOKEN"), Secret(""))
        return signature_base_string(request, _consumer(client), token, nonce="NONCE", timestamp=moment)

    def describe(self, link: Link) -> Manifest | None:
        """See `Scheme.describe`."""
        del link
        return None

    def begin(self, link: Link, client: Client | None, callback: str, clocks: Clocks, sharing: Sequence[Link] = ()) -> Consent:
        """See `Scheme.begin`; raises as `Legs.fetch_request_token`."""
        from atl_sign.schemes.oauth1.legs import Legs

        del sharing
        _refuse_device(link, callback)
        legs = Legs(link, _consumer(client), clocks)
        token = legs.fetch_request_token(callback)
        return Consent(legs.authorize_url(token), token.key, token.secret)

    def redirect_place(self, link: Link) -> RedirectPlace:
        """See `Scheme.redirect_place`: the products take any."""
        del link
        return RedirectPlace()

    def read_redirect(self, link: Link, consent: Consent, query: str) -> Secret:
        """See `Scheme.read_redirect`; the answer is the verifier."""
        del link
        try:
            fields = parse_qs(query, keep_blank_values=True, max_num_fields=_FIELDS_MAX)
        except ValueError:
            fields = {}
        tokens, verifiers = fields.get("oauth_token", []), fields.get("oauth_verifier", [])
        if len(tokens) != 1 or len(verifiers) != 1 or not all(tokens + verifiers):
            raise NoAnswerError("it does not contain one oauth_token and one oauth_verifier")
        ours = "" if consent.key is None else consent.key.reveal()
        if not hmac.compare_digest(tokens[0].encode(errors="replace"), ours.encode()):
            raise OtherDanceError("its oauth_token is of another dance")
        return Secret(verifiers[0])

    def redeem(self, link: Link, client: Client | None, consent: Consent, answer: Secret, clocks: Clocks) -> Grant:
        """See `Scheme.redeem`; *answer* is the verifier."""
        from atl_sign.schemes.oauth1.legs import Legs

        if not _is_verifier(answer.reveal()):
            raise BadRequestError("this is not a code of the provider", "type the code as the provider's page shows it")
        if hmac.compare_digest(answer.reveal().encode(), DENIED.encode()):
            raise DanceRefusedError("the user refused access")
        assert consent.key is not None  # noqa: S101 - `begin` sets both
        assert consent.secret is not None  # noqa: S101
        try:
            token = RequestToken(consent.key, consent.secret)
            return Legs(link, _consumer(client), clocks).fetch_access_token(token, answer)
        except ProviderRefusedError as exc:
            if exc.problem == "permission_denied":
                raise DanceRefusedError(exc.message, exc.hint) from exc
            if exc.problem in ("token_expired", "token_used", "token_revoked"):
                raise DanceExpiredError(exc.message, exc.hint) from exc
            if exc.problem == "token_rejected":
                raise _wrong_code(link) from exc
            raise

    def renew(self, link: Link, credentials: Credentials, clocks: Clocks) -> Grant:
        """See `Scheme.renew`; raises as `Legs.renew_access_token`."""
        from atl_sign.schemes.oauth1.legs import Legs

        token = access_token_of(credentials)
        assert token is not None  # noqa: S101 - only a grant is renewed
        try:
            return Legs(link, _consumer(credentials.client), clocks).renew_access_token(token)
        except ProviderRefusedError as exc:
            if exc.problem != "token_rejected":
                raise
            words = (
                "its access token is no longer known to the provider: it was revoked, or the application link was created again"
            )
            raise ProviderRefusedError(
                f"{words} (token_rejected)", f"atl-sign dance {link.name}", link=link.name, problem=exc.problem, ends_grant=True
            ) from exc

    def old_dies_at_once(self, link: Link) -> bool:
        """See `Scheme.old_dies_at_once` (facts section 2)."""
        del link
        return True

    def revoke(self, link: Link, client: Client | None, grant: Grant) -> bool:
        """See `Scheme.revoke`: only the user can (facts section 5)."""
        del link, client, grant
        return False

    def revoke_page(self, link: Link, product: Product | None) -> str:
        """See `Scheme.revoke_page`."""
        del product
        return f"{link.url}{REVOKE_PATH}"

    def scopes(self, grant: Grant) -> tuple[str, ...] | None:
        """See `Scheme.scopes`: all that the user has."""
        del grant
        return None

    def git_secret(self, link: Link, grant: Grant, product: Product | None) -> GitSecret | None:
        """See `Scheme.git_secret`: git cannot sign."""
        del link, grant, product
        return None

    def dump(self, grant: Grant) -> Fields:
        """See `Scheme.dump`."""
        token = access_token_of(Credentials(None, grant))
        assert token is not None  # noqa: S101
        handle = token.session_handle
        return {
            "oauth_token": token.key.reveal(),
            "oauth_token_secret": token.secret.reveal(),
            "session_handle": handle.reveal() if handle else None,
            "session_expires_at": to_seconds(token.session_expires_at),
            **dump_known(grant),
        }

    def load(self, fields: Mapping[str, Any]) -> Grant:
        """See `Scheme.load`."""
        handle = fields["session_handle"]
        token = AccessToken(
            Secret(str(fields["oauth_token"])),
            Secret(str(fields["oauth_token_secret"])),
            session_handle=None if handle is None else Secret(str(handle)),
            session_expires_at=from_seconds(fields["session_expires_at"]),
        )
        return load_known(token, fields)

    def explain_challenge(self, link: Link, www_authenticate: str, clocks: Clocks) -> tuple[str, str, str] | None:
        """See `Scheme.explain_challenge`; the word is that of `oauth_problem`."""
        fields = parse_problem(www_authenticate)
        if not fields:
            return None
        offset_s = parse_clock_offset(fields, clocks.now())
        if offset_s is not None:
            clocks.learn(link, offset_s)
        message, hint = explain_problem(fields["oauth_problem"], fields, link)
        return fields["oauth_problem"], f"link {link.name}: {message}", hint

    def explain_lack(self, link: Link, request: Request, answer: Answer) -> tuple[str, str, str] | None:
        """See `Scheme.explain_lack`; a signature has the user's whole right."""
        del link, request, answer
        return None

    def explain_anonymous(self, link: Link) -> DaemonError | None:
        """See `Scheme.explain_anonymous`: a wrong token is refused with an `oauth_problem`."""
        del link
        return None

    def explain(self, link: Link, credentials: Credentials, sent: Sent, clocks: Clocks) -> Refusal | None:
        """See `Scheme.explain`."""
        from atl_sign.schemes.oauth1.refusal import explain_refusal

        token = access_token_of(credentials)
        hidden = () if token is None else (token.key, token.secret)
        refusal = explain_refusal(link, _consumer(credentials.client), sent, clocks, hidden)
        error = refusal.error if refusal is not None else None
        if isinstance(error, ProviderRefusedError) and error.problem in TOKEN_IS_DEAD:
            needed = DanceNeededError(error.message, f"atl-sign dance {link.name}")
            needed.__cause__ = error
            return Refusal(needed)
        return refusal


def _consumer(client: Client | None) -> Consumer:
    assert isinstance(client, Consumer)  # noqa: S101 - `needs_key`: who has the credentials has the key
    return client


def _refuse_device(link: Link, callback: str) -> None:
    if callback == "device":
        raise BadRequestError("OAuth 1.0a has no device flow", f"atl-sign dance {link.name} --oob", link=link.name)


def _is_verifier(text: str) -> bool:
    return 0 < len(text) <= VERIFIER_CHARS_MAX and text.isascii() and text.isprintable() and " " not in text


def _wrong_code(link: Link) -> ProviderRefusedError:
    """Return what `token_rejected` means in the last leg; everywhere else it means a token that is not known."""
    hint = f"type the code as the provider's page shows it; or begin again: atl-sign dance {link.name}"
    message = "the provider does not take this code (token_rejected)"
    return ProviderRefusedError(message, hint, link=link.name, problem="token_rejected")
