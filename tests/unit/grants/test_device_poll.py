"""The questions whether a user has answered at another device: how often, how long, and what ends them (RFC 8628 §3.5)."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from atl_sign.base.credentials import Grant, Secret
from atl_sign.base.errors import (
    BadRequestError,
    DanceExpiredError,
    DanceRefusedError,
    ProviderBusyError,
    ProviderRefusedError,
    ProviderUnreachableError,
    StoreLockedError,
)
from atl_sign.config.links import Link
from atl_sign.grants import dance as dancing
from atl_sign.grants.dance import Dance
from atl_sign.schemes.base import Consent, DeviceCode, PendingError, RedirectPlace
from atl_sign.schemes.static import StaticToken
from tests.lab import wait_for
from tests.oauth2_links import make_link

PAUSE_S = 0.02
GRANT = Grant(StaticToken(Secret("canary-access")), user="alice")
Outcome = Exception | Grant


class Provider:
    """A provider that answers each question by the next of *outcomes*, and the last one again and again."""

    def __init__(self, *outcomes: Outcome, lifetime_s: float = 60.0) -> None:
        self.link: Link = make_link()
        self.outcomes = list(outcomes)
        self.lifetime_s = lifetime_s
        self.asked_at: list[float] = []
        self.answers: list[Secret] = []
        self.kept: list[Grant] = []
        self.on_keep: Callable[[], None] = lambda: None

    def begin(self, callback: str) -> Consent:
        assert callback == "device"
        device = DeviceCode("WDJB-MJHT", None, PAUSE_S, self.lifetime_s)
        return Consent("https://example.com/device", Secret("canary-device"), device=device)

    def redirect_place(self) -> RedirectPlace:
        raise AssertionError("nothing listens in a device flow")

    def read_redirect(self, consent: Consent, query: str) -> Secret:
        raise AssertionError("no redirect comes in a device flow")

    def redeem(self, consent: Consent, answer: Secret) -> Grant:
        self.asked_at.append(time.monotonic())
        self.answers.append(answer)
        found = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(found, Exception):
            raise found
        return found

    def find_user(self) -> str | None:
        return None

    def keep(self, grant: Grant) -> None:
        self.on_keep()
        self.kept.append(grant)

    def learn_user(self, grant: Grant) -> str | None:
        return grant.user

    @property
    def pauses_s(self) -> list[float]:
        return [later - earlier for earlier, later in itertools.pairwise(self.asked_at)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dancing, "SLOWER_S", 0.2)
    monkeypatch.setattr(dancing, "POLL_S_MAX", 0.3)


@pytest.fixture
def run() -> Iterator[Callable[[Provider], Dance]]:
    """Begin a dance; it ends with the test."""
    begun: list[Dance] = []

    def begin(provider: Provider) -> Dance:
        dance = Dance(provider, "device")
        begun.append(dance)
        dance.begin()
        return dance

    yield begin
    for dance in begun:
        dance.cancel()
    wait_for(lambda: not any(thread.name == "device-poll" for thread in threading.enumerate()))


def end_of(dance: Dance) -> str:
    wait_for(lambda: dance.is_settled)
    return str(dance.state.word)


def busy(retry_after_s: int | None) -> ProviderBusyError:
    return ProviderBusyError("too many", "wait", link="app", retry_after_s=retry_after_s)


def test_it_asks_until_the_user_has_answered(run: Callable[[Provider], Dance]) -> None:
    """Always with the device's code; the first time after the pause, not at once."""
    provider = Provider(PendingError(), PendingError(), GRANT)
    began = time.monotonic()
    dance = run(provider)

    assert end_of(dance) == "granted"

    assert provider.kept == [GRANT]
    assert [each.reveal() for each in provider.answers] == ["canary-device"] * 3
    assert provider.asked_at[0] - began >= PAUSE_S
    assert all(pause_s >= PAUSE_S for pause_s in provider.pauses_s)


def test_slow_down_is_for_good(run: Callable[[Provider], Dance]) -> None:
    """RFC 8628 §3.5: for this and all following questions."""
    provider = Provider(PendingError(is_slower=True), PendingError(), PendingError(), GRANT)

    assert end_of(run(provider)) == "granted"

    assert all(pause_s >= PAUSE_S + 0.2 for pause_s in provider.pauses_s)


def test_each_slow_down_adds_to_the_one_before(run: Callable[[Provider], Dance]) -> None:
    provider = Provider(PendingError(is_slower=True), PendingError(is_slower=True), GRANT)

    assert end_of(run(provider)) == "granted"

    assert provider.pauses_s[1] >= PAUSE_S + 0.4


def test_a_provider_that_is_away_is_asked_less_often(run: Callable[[Provider], Dance]) -> None:
    """RFC 8628 §3.5: twice the pause after each time-out; up to a limit, and not until the end of the dance."""
    provider = Provider(*[ProviderUnreachableError("away")] * 7, GRANT)

    assert end_of(run(provider)) == "granted"

    assert all(later >= min(earlier * 1.2, 0.3) for earlier, later in itertools.pairwise(provider.pauses_s))
    assert max(provider.pauses_s) < 2


def test_retry_after_counts(run: Callable[[Provider], Dance]) -> None:
    """More than the pause; without a time, as for one that is away."""
    provider = Provider(busy(1), busy(None), GRANT)

    assert end_of(run(provider)) == "granted"

    assert provider.pauses_s[0] >= 1


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (DanceRefusedError("the user refused access"), "refused"),
        (DanceExpiredError("the code came too late"), "expired"),
        (ProviderRefusedError("no such thing (weird_error)", problem="weird_error"), "failed"),
        (BadRequestError("the link has no app"), "failed"),
        (ValueError("unforeseen"), "failed"),
    ],
)
def test_what_is_final_ends_the_questions(outcome: Exception, word: str, run: Callable[[Provider], Dance]) -> None:
    """Nobody asks again."""
    provider = Provider(PendingError(), outcome)
    hook, threading.excepthook = threading.excepthook, lambda _: None  # which the unforeseen one reaches
    try:
        dance = run(provider)
        assert end_of(dance) == word
        wait_for(lambda: not any(thread.name == "device-poll" for thread in threading.enumerate()))
    finally:
        threading.excepthook = hook

    assert len(provider.asked_at) == 2
    assert provider.kept == []


def test_a_store_that_keeps_nothing_ends_the_questions(run: Callable[[Provider], Dance]) -> None:
    """The code is used up."""
    provider = Provider(GRANT)

    def fail() -> None:
        raise StoreLockedError("the keyring is locked", "unlock it")

    provider.on_keep = fail

    assert end_of(run(provider)) == "failed"
    assert len(provider.asked_at) == 1


def test_a_cancelled_dance_asks_no_more(run: Callable[[Provider], Dance]) -> None:
    provider = Provider(PendingError())
    dance = run(provider)
    wait_for(lambda: len(provider.asked_at) >= 2)

    dance.cancel()

    wait_for(lambda: not any(thread.name == "device-poll" for thread in threading.enumerate()))
    count = len(provider.asked_at)
    assert end_of(dance) == "cancelled"
    assert len(provider.asked_at) == count


def test_the_codes_end_is_the_dances(run: Callable[[Provider], Dance]) -> None:
    """RFC 8628 §3.2: expires_in; nobody asks after it."""
    provider = Provider(PendingError(), lifetime_s=0.2)
    dance = run(provider)

    assert dance.lifetime_s == 0.2
    assert dance.expires_at < datetime.now(UTC) + timedelta(seconds=1)
    assert end_of(dance) == "expired"
    wait_for(lambda: not any(thread.name == "device-poll" for thread in threading.enumerate()))
    assert provider.asked_at[-1] - provider.asked_at[0] < 1


def test_a_code_that_lives_longer_than_a_dance_ends_with_it(run: Callable[[Provider], Dance]) -> None:
    """Ten minutes."""
    assert run(Provider(PendingError(), lifetime_s=3_600.0)).lifetime_s == dancing.DANCE_LIFETIME_S
