"""What the daemon finds out of a link, over every refusal that the doctor words apart."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atl_sign.agent.diagnosis import diagnose_link
from atl_sign.base.credentials import Credentials, Grant, Secret
from atl_sign.base.errors import (
    DaemonError,
    DanceNeededError,
    KeyMissingError,
    ProviderRefusedError,
    ProviderUnreachableError,
    StoreLockedError,
    StoreUnavailableError,
)
from atl_sign.base.findings import GRANT_CHECKS, Finding
from atl_sign.config.links import Link
from atl_sign.custody.keys.software import make_private_key
from atl_sign.providers.answer import Answer
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.manifest import Manifest
from atl_sign.providers.who_am_i import CheckResult, check_link
from atl_sign.sandbox import Sandbox
from atl_sign.schemes.base import Scheme
from atl_sign.schemes.oauth1.scheme import OAuth1
from atl_sign.schemes.oauth1.tokens import AccessToken
from tests.unit.provider_lab import CONSUMER_KEY, Provider, make_grant, make_link, make_provider, private_key
from tests.unit.raw_server import RawServer, reply


def fail(exc: Exception) -> Callable[[], object]:
    def raise_it() -> object:
        raise exc

    return raise_it


def results(findings: list[Finding]) -> str:
    assert tuple(finding.check for finding in findings) == GRANT_CHECKS
    return "".join(finding.result[0] for finding in findings)


@pytest.fixture
def well(sandbox: Sandbox) -> Callable[[], Provider]:
    sandbox.register_consumer("jira", CONSUMER_KEY, private_key().public.pem, name="unit tests")
    return lambda: make_provider(make_link(sandbox.base_url("jira")))


def answered() -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, '{"name": "alice"}', None)


class Played:
    """One link's credentials and provider, which do what a test says."""

    clocks = Clocks()

    def __init__(self, provider: Callable[[], object], grant: Callable[[], object], ask: Callable[[], object]) -> None:
        self.provider, self.grant, self.ask = provider, grant, ask

    def of(self, link: Link) -> "Played":
        return self

    def scheme(self, link: Link) -> Scheme:
        return OAuth1()

    def begin(self, callback: str) -> object:
        return self.provider().fetch_request_token(callback)  # type: ignore[attr-defined]  # what fails has no type

    def load(self, link: Link) -> Credentials:
        return Credentials(None, self.grant())  # type: ignore[arg-type]

    def check(self, credentials: Credentials) -> CheckResult:
        def send(method: str, path: str, body: object) -> Any:
            return self.ask()

        return check_link(make_link("http://127.0.0.1:1"), send, self.clocks, Manifest("jira", "9", ""))


def diagnose(
    provider: Callable[[], object], grant: Callable[[], object] = make_grant, ask: Callable[[], object] = answered
) -> list[Finding]:
    return diagnose_link(make_link("http://127.0.0.1:1"), Played(provider, grant, ask))  # type: ignore[arg-type]


def test_all_is_well(well: Callable[[], Provider]) -> None:
    """The provider named no end."""
    findings = diagnose(well)

    assert results(findings) == "ooooo"
    assert findings[3].cause == "the provider takes it, the provider named no end"
    assert findings[4].cause == "alice, jira 9"


@pytest.mark.parametrize(("days", "handle", "result"), [(3, None, "warning"), (3, Secret("handle"), "ok"), (30, None, "ok")])
def test_a_token_that_ends_soon(well: Callable[[], Provider], days: int, handle: Secret | None, result: str) -> None:
    """Is warned of, unless it can be renewed."""
    end = datetime.now(UTC) + timedelta(days=days, hours=1)
    token = Grant(AccessToken(Secret("t"), Secret("s"), session_handle=handle), expires_at=end)

    finding = diagnose(well, lambda: token)[3]

    assert finding.result == result
    assert (finding.hint is None) == (result == "ok")


@pytest.mark.parametrize(
    ("exc", "shape"),
    [
        (KeyMissingError("no key", "atl-sign key new"), "sssss"),
        (StoreLockedError("locked", "unlock it"), "sssss"),
        (StoreUnavailableError("no bus", "start one"), "sssss"),
        (ProviderUnreachableError("nobody", "look"), "bssss"),
    ],
)
def test_what_stands_before_the_provider(exc: DaemonError, shape: str) -> None:
    """No key and no store are no fault of the link; no network may be."""
    findings = diagnose(fail(exc))

    assert results(findings) == shape
    assert exc.message in findings[0].cause
    assert findings[0].hint == (exc.hint if shape[0] == "b" else None)


@pytest.mark.parametrize(
    ("problem", "shape"),
    [
        ("consumer_key_unknown", "bssss"),
        ("consumer_key_rejected", "bssss"),
        ("signature_invalid", "obsss"),
        ("signature_method_rejected", "obsss"),
        ("timestamp_refused", "obsss"),
        ("permission_denied", "oobss"),
        ("version_rejected", "bssss"),
    ],
)
def test_what_a_provider_says_to_a_request_for_a_token(problem: str, shape: str) -> None:
    """Its word decides which check failed."""
    with RawServer(reply(f"oauth_problem={problem}", 401)) as server:
        findings = diagnose(lambda: make_provider(make_link(server.url)))

    assert results(findings) == shape
    assert problem in next(finding.cause for finding in findings if finding.result == "broken")


def test_a_public_key_of_another_length(sandbox: Sandbox) -> None:
    """The consumer is known, and what differs is the key."""
    sandbox.register_consumer("jira", CONSUMER_KEY, make_private_key(3072).public.pem, name="unit tests")

    findings = diagnose(lambda: make_provider(make_link(sandbox.base_url("jira"))))

    assert results(findings) == "obsss"
    assert "the provider has another public key for this consumer: it has 3072 bits" in findings[1].cause
    assert findings[1].hint == "an administrator enters the key that `atl-sign key` prints"


@pytest.mark.parametrize(
    ("exc", "shape"),
    [
        (DanceNeededError("token_rejected", "atl-sign dance jira"), "ooobs"),
        (ProviderRefusedError("link jira: no", "ask", problem="permission_denied"), "oobss"),
        (ProviderRefusedError("link jira: as to nobody", "ask"), "ooosb"),
    ],
)
def test_what_it_says_to_the_who_am_i(well: Callable[[], Provider], exc: Exception, shape: str) -> None:
    """Of the token or of the user."""
    assert results(diagnose(well, ask=fail(exc))) == shape


def test_without_a_token(well: Callable[[], Provider]) -> None:
    """Nobody is asked who the user is."""
    assert results(diagnose(well, fail(DanceNeededError("none", "atl-sign dance jira")), fail(AssertionError()))) == "ooobs"
