"""What only the holder of key and token can find out of a link: does the provider know the consumer, the signature, the token?"""

from datetime import UTC, datetime

from atl_sign.base.errors import (
    AppMissingError,
    DaemonError,
    DanceNeededError,
    KeyMissingError,
    ProviderRefusedError,
    StoreLockedError,
    StoreUnavailableError,
)
from atl_sign.base.findings import GRANT_CHECKS, Finding, skip
from atl_sign.config.links import Link
from atl_sign.grants.live import Grants

_UNKNOWN_CONSUMER = frozenset({"consumer_key_unknown", "consumer_key_rejected", "consumer_key_refused"})
# Refusals that the provider gives only to a consumer that it knows, before it looks at the signature or in the place of it.
_BAD_SIGNATURE = frozenset({"signature_invalid", "signature_method_rejected", "timestamp_refused", "nonce_used"})


def diagnose_link(link: Link, grants: Grants) -> list[Finding]:
    """
    Return a finding for each of `GRANT_CHECKS`; raises nothing of ours.

    A request token is asked for, and forgotten: the one signed request that a provider answers without a grant. It dies there
    after ten minutes.

    Args:
        link: what is asked about.
        grants: its credentials.
    """
    findings = _diagnose_consumer(link, grants)
    if grants.scheme(link).needs_key and any(finding.result in ("broken", "skipped") for finding in findings):
        cause = "the provider refuses before it looks at this, or was not reached"
        return [*findings, *skip(GRANT_CHECKS[len(findings) :], cause, link.name)]
    found_of_token = _diagnose_token(link, grants)
    return [*findings[: len(GRANT_CHECKS) - len(found_of_token)], *found_of_token]


def _diagnose_app(link: Link, grants: Grants) -> list[Finding]:
    """Return findings for the app, and for the server where users consent; the app's secret is proved only by a dance."""
    unsigned = skip(["link.signature"], "requests of this scheme are not signed", link.name)
    try:
        page = grants.of(link).begin("oob").authorize_url
    except AppMissingError as exc:
        return [_broken("link.consumer", exc, link), *unsigned, *skip(["link.consent"], "there is no app to ask for", link.name)]
    except DaemonError as exc:
        return [*skip(["link.consumer"], "the provider was not asked", link.name), *unsigned, _broken("link.consent", exc, link)]
    known = Finding("link.consumer", "ok", f"the link has the app {link.own.get('client_id')}", link=link.name)
    return [known, *unsigned, Finding("link.consent", "ok", f"users consent at {page.partition('?')[0]}", link=link.name)]


def _diagnose_consumer(link: Link, grants: Grants) -> list[Finding]:
    if grants.scheme(link).needs_app:
        return _diagnose_app(link, grants)
    if not grants.scheme(link).needs_key:
        return skip(GRANT_CHECKS[:3], f"the scheme {link.scheme} has no consumer", link.name)
    known = Finding("link.consumer", "ok", f"the provider knows {link.consumer_key}", link=link.name)
    signed = Finding("link.signature", "ok", "the provider computes the same signature", link=link.name)
    try:
        grants.of(link).begin("oob")
    except ProviderRefusedError as exc:
        if exc.problem in _BAD_SIGNATURE:
            return [known, _broken("link.signature", exc, link)]
        if exc.problem == "permission_denied":
            return [known, signed, _no_consent(link)]
        return [_broken("link.consumer", exc, link)]
    except (
        KeyMissingError,
        StoreLockedError,
        StoreUnavailableError,
    ) as exc:  # the same for every link, and told of once elsewhere
        return skip(GRANT_CHECKS, f"there is nothing to sign with: {exc.message}", link.name)
    except DaemonError as exc:
        return [_broken("link.consumer", exc, link)]
    return [known, signed, Finding("link.consent", "ok", "users may consent (3LO)", link=link.name)]


def _diagnose_token(link: Link, grants: Grants) -> list[Finding]:
    """Return findings for token and user, with one for the consent before them when that fails only here."""
    try:
        credentials = grants.load(link)
    except DaemonError as exc:
        return [_broken("link.token", exc, link), *skip(["link.user"], "there is no token to ask with", link.name)]
    try:
        result = grants.of(link).check(credentials)
    except DanceNeededError as exc:
        return [_broken("link.token", exc, link), *skip(["link.user"], "the provider does not take the token", link.name)]
    except DaemonError as exc:
        if isinstance(exc, ProviderRefusedError) and exc.problem == "permission_denied":
            return [
                _no_consent(link),
                *skip(["link.token", "link.user"], "the provider refuses before it looks at this", link.name),
            ]
        return [*skip(["link.token"], "the provider said nothing of it", link.name), _broken("link.user", exc, link)]
    token = credentials.grant
    assert token is not None  # noqa: S101 - `load` gives one
    end = (
        "the provider named no end"
        if token.expires_at is None
        else f"until {token.expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    )
    scopes = grants.scheme(link).scopes(token)
    end += f"; it has the scopes {' '.join(scopes)}" if scopes else ""
    taken = Finding("link.token", "ok", f"the provider takes it, {end}", link=link.name)
    if (
        token.expires_at is not None
        and (token.expires_at - datetime.now(UTC)).days < 7
        and not token.may_renew(datetime.now(UTC))
    ):
        taken = Finding(
            "link.token", "warning", f"it ends soon, {end}, and cannot be renewed", f"atl-sign dance {link.name}", link.name
        )
    return [taken, Finding("link.user", "ok", f"{result.user}, {result.product} {result.version}", link=link.name)]


def _no_consent(link: Link) -> Finding:
    cause = "the provider lets no user consent: three-legged OAuth is off on this link (permission_denied)"
    hint = "ask the administrator to allow three-legged OAuth (3LO) on this link"
    return Finding("link.consent", "broken", cause, hint, link.name)


def _broken(check: str, exc: DaemonError, link: Link) -> Finding:
    return Finding(check, "broken", exc.reason, exc.hint, link.name)
