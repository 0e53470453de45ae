"""The dance from its first leg to each of its ends, with the real sandbox and by real HTTP."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from atl_sign.base.clock import now_s
from atl_sign.base.credentials import Grant, Secret
from atl_sign.base.errors import (
    BadRequestError,
    DaemonError,
    DanceExpiredError,
    DanceRefusedError,
    ProviderRefusedError,
    ProviderUnreachableError,
    StoreLockedError,
    StoreUnavailableError,
    UnknownDanceError,
)
from atl_sign.config.links import Link
from atl_sign.grants import loopback as callback
from atl_sign.grants.dance import Dance
from atl_sign.grants.dances import WAITING_MAX, Dances
from atl_sign.grants.states import Cancelled, Expired, Failed, Granted, Refused, Waiting
from atl_sign.providers.clocks import Clocks
from atl_sign.sandbox import Sandbox
from atl_sign.schemes.base import Consent, OtherDanceError, RedirectPlace
from atl_sign.schemes.oauth1.scheme import OAuth1
from tests.lab import wait_for
from tests.unit.provider_lab import CONSUMER_KEY, everything_shown, make_consumer, make_link, private_key, token_of
from tests.unit.raw_server import RawServer, reply

REQUEST_TOKEN = {"oauth_token": "canary-request", "oauth_token_secret": "canary-rs", "oauth_callback_confirmed": "true"}
ACCESS_TOKEN = {"oauth_token": "canary-access", "oauth_token_secret": "canary-as"}
BEGUN = reply(urlencode(REQUEST_TOKEN))


class Kept:
    """What a dance's `keep` stored, and how it fails when a test says so."""

    def __init__(self) -> None:
        self.tokens: list[Grant] = []
        self.failure: Exception | None = None
        self.is_called = threading.Event()
        self.may_return = threading.Event()
        self.may_return.set()

    def __call__(self, token: Grant) -> None:
        self.is_called.set()
        assert self.may_return.wait(10)
        if self.failure is not None:
            raise self.failure
        self.tokens.append(token)

    def name(self, token: Grant) -> str | None:
        """Be the provider that says who the user is."""
        assert token in self.tokens
        return "alice"


class Site:
    """One link's provider, as a dance meets it."""

    def __init__(self, link: Link, keep: Callable[[Grant], None], learn_user: Callable[[Grant], str | None]) -> None:
        self.link = link
        self.keep = keep
        self.learn_user = learn_user
        self.clocks = Clocks()

    def begin(self, callback: str) -> Consent:
        return OAuth1().begin(self.link, make_consumer(self.link.consumer_key), callback, self.clocks)

    def find_user(self) -> str | None:
        return None

    def redirect_place(self) -> RedirectPlace:
        return OAuth1().redirect_place(self.link)

    def read_redirect(self, consent: Consent, query: str) -> Secret:
        return OAuth1().read_redirect(self.link, consent, query)

    def redeem(self, consent: Consent, answer: Secret) -> Grant:
        return OAuth1().redeem(self.link, make_consumer(self.link.consumer_key), consent, answer, self.clocks)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def jira() -> Iterator[Sandbox]:
    """A Jira of this test's own, which knows our consumer."""
    with Sandbox(("jira",)) as sandbox:
        sandbox.register_consumer("jira", CONSUMER_KEY, private_key().public.pem)
        yield sandbox


@pytest.fixture
def dances() -> Iterator[Dances]:
    """Leaves no dance behind that waits."""
    found = Dances()
    yield found
    found.cancel_all()


def begin(dances: Dances, url: str, kept: Kept, callback: str = "oob", name: str = "tools") -> Dance:
    link = make_link(url, name, timeout_s=5.0)
    return dances.begin(Site(link, kept, kept.name), callback)  # type: ignore[arg-type]  # one of the two words


def word(dance: Dance) -> str:
    return dance.state.word


def run_out(dance: Dance) -> None:
    """Let the dance's time be over now."""
    dance._ends_at = now_s()


def refusal(error: type[DaemonError], call: Callable[[], object]) -> DaemonError:
    """Return the error of *call*, in which no secret stands."""
    with pytest.raises(error) as refused:
        call()
    assert "canary" not in everything_shown(refused.value)
    return refused.value


def visit(url: str) -> tuple[int, str]:
    """Open *url* as a browser does; returns status and page."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


# the two good ends


def test_a_typed_code_ends_granted(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """The user is known, and the token is stored before success is told."""
    dance = begin(dances, jira.base_url("jira"), kept)
    assert word(dance) == "waiting"

    code = jira.approve("jira", dance.authorize_url)
    granted = dance.finish(Secret(code))

    assert granted == dance.state == Granted("alice")
    assert len(kept.tokens) == 1
    assert token_of(kept.tokens[0]).key.reveal() in jira.state.sites["jira"].state.access_tokens


def test_a_browser_that_comes_back_ends_granted(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """The provider sends it to the listener; its page names user and link; afterwards the port is closed."""
    dance = begin(dances, jira.base_url("jira"), kept, "loopback")

    address = jira.approve("jira", dance.authorize_url)
    status, page = visit(address)

    assert address.startswith("http://127.0.0.1:")
    assert status == 200
    assert "<h1>Signed in to tools</h1>" in page
    assert f"atl-sign can now sign requests to {jira.base_url('jira')} as alice." in page
    assert dance.state == Granted("alice")
    wait_for(lambda: not is_listening(address))


@pytest.mark.parametrize("end", ["granted", "denied", "cancelled"])
def test_the_port_is_free_as_soon_as_the_end_is_known(jira: Sandbox, dances: Dances, kept: Kept, end: str) -> None:
    """The next dance may need the same one: in OAuth 2.0 it is registered. Before the end it is taken."""
    dance = begin(dances, jira.base_url("jira"), kept, "loopback")
    address = jira.approve("jira", dance.authorize_url, deny=end == "denied")
    assert not can_listen_at(address)
    found: list[bool] = []
    dance.settled.add_done_callback(lambda _: found.append(can_listen_at(address)))

    if end == "cancelled":
        dance.cancel()
    else:
        visit(address)

    assert found == [True]


def can_listen_at(address: str) -> bool:
    try:
        socket.create_server(("127.0.0.1", urlsplit(address).port or 0)).close()
    except OSError:
        return False
    return True


def is_listening(address: str) -> bool:
    try:
        visit(address)
    except OSError:
        return False
    return True


def test_the_address_that_the_browser_ended_on_does_too(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """When the browser runs on another machine, its user pastes the address."""
    dance = begin(dances, jira.base_url("jira"), kept, "loopback")
    address = jira.approve("jira", dance.authorize_url)

    assert dance.finish_by_url(Secret(address)) == Granted("alice")


def test_a_user_that_is_not_known_is_none(dances: Dances) -> None:
    """A grant is a grant; the page then names nobody."""
    with RawServer(BEGUN, reply(urlencode(ACCESS_TOKEN))) as server:
        link = make_link(server.url, "tools")
        dance = dances.begin(Site(link, lambda _: None, lambda _: None), "loopback")

        page = dance._receive("oauth_token=canary-request&oauth_verifier=code")

    assert page.is_good
    assert page.message == f"atl-sign can now sign requests to {server.url}."
    assert dance.state == Granted(None)


# the user's No


def test_denied_by_hand_ends_refused(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """The page shows no code; "denied" is what it would send, and the provider is not even asked."""
    dance = begin(dances, jira.base_url("jira"), kept)
    assert jira.approve("jira", dance.authorize_url, deny=True) == "denied"
    asked = jira.state.count

    error = refusal(DanceRefusedError, lambda: dance.finish(Secret("denied")))

    assert error.message == "the user refused access on link tools"
    assert error.hint == "atl-sign dance tools"
    assert isinstance(dance.state, Refused)
    assert dance.state.word == "refused"
    assert jira.state.count == asked
    assert not kept.tokens


def test_denied_in_the_browser_ends_refused(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """The page says that nothing was changed."""
    dance = begin(dances, jira.base_url("jira"), kept, "loopback")

    address = jira.approve("jira", dance.authorize_url, deny=True)
    status, page = visit(address)

    assert parse_qs(urlsplit(address).query)["oauth_verifier"] == ["denied"]
    assert status == 200
    assert "<h1>Access to tools denied</h1>" in page
    assert "Nothing has changed" in page
    assert ">atl-sign dance tools</textarea>" in page
    assert isinstance(dance.state, Refused)
    assert not kept.tokens


def test_a_code_for_a_denied_dance_ends_refused(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """Whatever the user types after pressing Deny."""
    dance = begin(dances, jira.base_url("jira"), kept)
    jira.approve("jira", dance.authorize_url, deny=True)

    refusal(DanceRefusedError, lambda: dance.finish(Secret("abc123")))

    assert isinstance(dance.state, Refused)


# time


def test_a_dance_that_takes_too_long_ends_expired(jira: Sandbox, kept: Kept) -> None:
    """Whatever comes then says so."""
    dance = begin(Dances(), jira.base_url("jira"), kept, "loopback")
    code = parse_qs(urlsplit(jira.approve("jira", dance.authorize_url)).query)["oauth_verifier"][0]

    run_out(dance)

    assert isinstance(dance.state, Expired)
    assert word(dance) == "expired"
    error = refusal(DanceExpiredError, lambda: dance.finish(Secret(code)))
    assert error.message == "the dance with tools has expired"
    assert error.hint == "atl-sign dance tools"
    assert not kept.tokens
    page = dance._receive(f"oauth_token=any&oauth_verifier={code}")  # a browser that was in the door
    assert page.title == "Sign-in to tools has expired"
    assert page.command == "atl-sign dance tools"
    assert not page.is_good


def test_the_timer_ends_a_dance_that_nobody_asks_about(jira: Sandbox, kept: Kept) -> None:
    """The listener's port must not stay open for ever."""
    dance = begin(Dances(lifetime_s=1.0), jira.base_url("jira"), kept, "loopback")
    address = jira.approve("jira", dance.authorize_url)

    wait_for(lambda: dance._state != Waiting())

    assert isinstance(dance._state, Expired)
    wait_for(lambda: not is_listening(address))


def test_a_request_token_that_is_over_at_the_provider_ends_expired(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """Its clock counts, not ours."""
    dance = begin(dances, jira.base_url("jira"), kept)
    code = jira.approve("jira", dance.authorize_url)
    jira.clock = lambda: time.time() + 601

    refusal(DanceExpiredError, lambda: dance.finish(Secret(code)))

    assert isinstance(dance.state, Expired)


# second chances


def test_a_wrong_code_is_told_and_the_dance_waits_on(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """A typing error costs nothing."""
    dance = begin(dances, jira.base_url("jira"), kept)
    code = jira.approve("jira", dance.authorize_url)

    error = refusal(ProviderRefusedError, lambda: dance.finish(Secret("wrong1")))

    assert error.message == "link tools: the provider does not take this code (token_rejected)"
    assert "as the provider's page shows it" in str(error.hint)
    assert isinstance(error, ProviderRefusedError)
    assert error.problem == "token_rejected"
    assert word(dance) == "waiting"
    assert dance.finish(Secret(code)) == Granted("alice")


def test_a_code_before_the_decision_is_told_and_the_dance_waits_on(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """The user has not pressed Allow yet."""
    dance = begin(dances, jira.base_url("jira"), kept)

    error = refusal(ProviderRefusedError, lambda: dance.finish(Secret("abc123")))

    assert "not decided yet" in error.message
    assert word(dance) == "waiting"


@pytest.mark.parametrize("code", ["", " ", "a b", "a\nb", "ä", "\ud800", "x" * 256, "a\x00"])
def test_what_can_be_no_code_is_not_sent(jira: Sandbox, dances: Dances, kept: Kept, code: str) -> None:
    """Neither to the provider nor into a crash."""
    dance = begin(dances, jira.base_url("jira"), kept)
    asked = jira.state.count

    error = refusal(BadRequestError, lambda: dance.finish(Secret(code)))

    assert error.message == "this is not a code of the provider"
    assert jira.state.count == asked
    assert word(dance) == "waiting"


def test_a_provider_that_is_down_lets_a_typed_code_try_again(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """The same code works when it is back."""
    dance = begin(dances, jira.base_url("jira"), kept)
    code = jira.approve("jira", dance.authorize_url)
    jira.stop()

    refusal(ProviderUnreachableError, lambda: dance.finish(Secret(code)))
    assert word(dance) == "waiting"

    jira.start()
    assert dance.finish(Secret(code)) == Granted("alice")


def test_a_provider_that_is_down_ends_a_browsers_dance(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """The browser comes once: the page says what to do, and the state keeps the cause."""
    dance = begin(dances, jira.base_url("jira"), kept, "loopback")
    address = jira.approve("jira", dance.authorize_url)
    jira.stop()

    status, page = visit(address)

    assert status == 200
    assert "<h1>Sign-in to tools failed</h1>" in page
    assert ">atl-sign dance tools</textarea>" in page
    assert "nobody takes the connection there" in page
    assert isinstance(dance.state, Failed)
    assert dance.state.word == "failed"
    assert isinstance(dance.state.error, ProviderUnreachableError)
    assert refusal(ProviderUnreachableError, lambda: dance.finish(Secret("abc123"))) is dance.state.error


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply("<html>canary", headers={"Content-Type": "text/html"}), "a page for people answers, not the product's API"),
        (reply('{"canary": 1}', headers={"Content-Type": "application/json"}), "status 200: its answer holds no token"),
        (reply("", 302, {"Location": "/login"}), "the address redirects to /login"),
    ],
    ids=["html", "json", "redirect"],
)
@pytest.mark.parametrize("callback", ["oob", "loopback"])
def test_another_answer_than_a_token_is_told(dances: Dances, kept: Kept, answer: bytes, words: str, callback: str) -> None:
    """A typed code may be tried again; the browser's dance has failed. At the first leg there is no dance at all."""
    with RawServer(BEGUN, answer) as server:
        dance = begin(dances, server.url, kept, callback)
        if callback == "oob":
            error = refusal(ProviderRefusedError, lambda: dance.finish(Secret("abc123")))
            assert word(dance) == "waiting"
        else:
            page = dance._receive("oauth_token=canary-request&oauth_verifier=abc123")
            assert not page.is_good
            assert words in page.message
            assert isinstance(dance.state, Failed)
            error = dance.state.error
        assert words in error.message
        before = dances.count_waiting()

        assert words in refusal(ProviderRefusedError, lambda: begin(dances, server.url, kept, callback)).message
        assert dances.count_waiting() == before
    assert not kept.tokens


def test_a_page_without_a_hint_has_none() -> None:
    """No blank at the end, no "None"."""
    with RawServer(BEGUN, reply(urlencode(ACCESS_TOKEN))) as server:
        kept = Kept()
        kept.failure = StoreUnavailableError("the store is gone")
        page = begin(Dances(), server.url, kept, "loopback")._receive("oauth_token=canary-request&oauth_verifier=abc123")

    assert page.message == "the store is gone."


# storing


@pytest.mark.parametrize(
    "failure", [StoreLockedError("the keyring is locked", "unlock it"), StoreUnavailableError("no bus", "start it")]
)
@pytest.mark.parametrize("callback", ["oob", "loopback"])
def test_a_token_that_cannot_be_stored_ends_failed(
    jira: Sandbox, dances: Dances, kept: Kept, failure: DaemonError, callback: str
) -> None:
    """Success is not told, and the cause stays for whoever asks later: the verifier is used up."""
    dance = begin(dances, jira.base_url("jira"), kept, callback)
    answer = jira.approve("jira", dance.authorize_url)
    kept.failure = failure

    if callback == "oob":
        assert refusal(type(failure), lambda: dance.finish(Secret(answer))) is failure
    else:
        assert f"{failure.message}.\n{failure.hint}" in visit(answer)[1]

    assert dance.state == Failed(failure)
    kept.failure = None
    assert refusal(type(failure), lambda: dance.finish(Secret("abc123"))) is failure


def test_a_cancellation_waits_for_a_token_that_is_being_stored(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """Whoever forgets the token afterwards really forgets it."""
    dance = begin(dances, jira.base_url("jira"), kept)
    code = jira.approve("jira", dance.authorize_url)
    kept.may_return.clear()
    finisher = threading.Thread(target=lambda: dance.finish(Secret(code)))
    finisher.start()
    assert kept.is_called.wait(10)
    canceller = threading.Thread(target=dance.cancel)
    canceller.start()
    assert word(dance) == "waiting"

    kept.may_return.set()
    canceller.join(10)
    finisher.join(10)

    assert dance.state == Granted("alice")


def test_a_cancellation_does_not_wait_for_ever(
    jira: Sandbox, dances: Dances, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon ends although a provider hangs."""
    monkeypatch.setattr("atl_sign.grants.dance.CANCEL_WAIT_S", 0.01)
    dance = begin(dances, jira.base_url("jira"), kept)
    code = jira.approve("jira", dance.authorize_url)
    kept.may_return.clear()
    finisher = threading.Thread(target=lambda: dance.finish(Secret(code)))
    finisher.start()
    assert kept.is_called.wait(10)

    dance.cancel()

    assert isinstance(dance.state, Cancelled)
    kept.may_return.set()
    finisher.join(10)


def test_time_that_runs_out_while_storing_takes_nothing_away(jira: Sandbox, kept: Kept) -> None:
    """The user was in time."""
    dance = begin(Dances(), jira.base_url("jira"), kept)
    code = jira.approve("jira", dance.authorize_url)
    kept.may_return.clear()
    finisher = threading.Thread(target=lambda: dance.finish(Secret(code)))
    finisher.start()
    assert kept.is_called.wait(10)
    run_out(dance)
    assert word(dance) == "waiting"

    kept.may_return.set()
    finisher.join(10)

    assert dance.state == Granted("alice")


# ending early


@pytest.mark.parametrize("callback", ["oob", "loopback"])
def test_a_cancelled_dance_takes_nothing_more(jira: Sandbox, dances: Dances, kept: Kept, callback: str) -> None:
    """Its own words, and the port is closed."""
    dance = begin(dances, jira.base_url("jira"), kept, callback)
    answer = jira.approve("jira", dance.authorize_url)

    dance.cancel()
    dance.cancel()

    assert isinstance(dance.state, Cancelled)
    assert dance.state.word == "cancelled"
    finish = dance.finish if callback == "oob" else dance.finish_by_url
    error = refusal(DanceRefusedError, lambda: finish(Secret(answer)))
    assert error.message == "the dance with tools was cancelled"
    if callback == "loopback":
        wait_for(lambda: not is_listening(answer))
        page = dance._receive("oauth_token=any&oauth_verifier=abc123")
        assert page.title == "This sign-in is already over"
        assert page.command == "atl-sign dance tools"
    assert not kept.tokens


def test_cancelled_between_swap_and_store_keeps_nothing(dances: Dances, kept: Kept) -> None:
    """Nobody wants the token any more."""

    def cancel_and_answer(connection: socket.socket, _: bytes) -> None:
        dance.cancel()
        connection.sendall(reply(urlencode(ACCESS_TOKEN)))

    with RawServer(BEGUN, cancel_and_answer) as server:
        dance = begin(dances, server.url, kept)
        refusal(DanceRefusedError, lambda: dance.finish(Secret("abc123")))

    assert isinstance(dance.state, Cancelled)
    assert not kept.tokens


@pytest.mark.parametrize("callback", ["oob", "loopback"])
def test_cancelled_during_the_first_leg_begins_nothing(kept: Kept, callback: str) -> None:
    """The link was removed meanwhile, say."""
    dances = Dances()

    def cancel_and_answer(connection: socket.socket, _: bytes) -> None:
        waiting = next(iter(dances._dances.values()))
        early.append(refusal(BadRequestError, lambda: waiting.finish(Secret("abc123"))))
        dances.cancel_all("tools")
        connection.sendall(BEGUN)

    early: list[DaemonError] = []
    with RawServer(cancel_and_answer) as server:
        refusal(DanceRefusedError, lambda: begin(dances, server.url, kept, callback))

    assert early[0].message == "the dance has not begun"
    assert dances.count_waiting() == 0


def test_cancelled_before_it_begins_opens_no_port(kept: Kept) -> None:
    """No listener stays behind."""
    link = make_link("http://127.0.0.1:1")
    dance = Dance(Site(link, kept, kept.name), "loopback")
    dance.cancel()
    before = set(threading.enumerate())  # of which one of another test may end meanwhile

    refusal(DanceRefusedError, dance.begin)

    assert set(threading.enumerate()) <= before


def test_without_a_port_the_way_without_a_listener_is_named(dances: Dances, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a command that works when pasted; nothing is asked of the provider."""
    monkeypatch.setattr(callback, "ADDRESS", "192.0.2.1")  # TEST-NET-1: no interface has it

    refused = refusal(BadRequestError, lambda: begin(dances, "http://127.0.0.1:1", kept, "loopback"))

    assert "cannot listen on 192.0.2.1" in refused.message
    assert refused.hint == "type the provider's code instead: atl-sign dance tools --oob"


def test_a_first_leg_that_fails_leaves_no_port(dances: Dances, kept: Kept) -> None:
    """And no dance to ask about."""
    with RawServer(b"") as server:
        refusal(ProviderUnreachableError, lambda: begin(dances, server.url, kept, "loopback"))

    wait_for(lambda: not any(thread.name == "callback-listener" for thread in threading.enumerate()))
    assert not dances._dances


# once


@pytest.mark.parametrize("threads", [2, 8])
def test_a_code_that_comes_twice_at_once_is_swapped_once(jira: Sandbox, dances: Dances, kept: Kept, threads: int) -> None:
    """The second is told that it is done."""
    dance = begin(dances, jira.base_url("jira"), kept)
    code = jira.approve("jira", dance.authorize_url)
    before = jira.state.count
    outcomes: list[object] = []

    def finish() -> None:
        try:
            outcomes.append(dance.finish(Secret(code)))
        except DanceRefusedError as exc:
            outcomes.append(exc.message)

    running = [threading.Thread(target=finish) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(10)

    assert outcomes.count(Granted("alice")) == 1
    assert outcomes.count("the dance with tools is finished already") == threads - 1
    assert len(kept.tokens) == 1
    assert jira.state.count == before + 1


@pytest.mark.parametrize("threads", [1, 4])
def test_an_address_is_tried_once_even_if_the_provider_fails(dances: Dances, kept: Kept, threads: int) -> None:
    """A browser brings another one only with another dance; pasted again, at once or later, it is not sent again."""
    with RawServer(BEGUN, b"", reply(urlencode(ACCESS_TOKEN))) as server:
        dance = begin(dances, server.url, kept)
        address = Secret("http://127.0.0.1/?oauth_token=canary-request&oauth_verifier=canary-v")
        errors: list[str] = []

        def finish() -> None:
            errors.append(refusal(ProviderUnreachableError, lambda: dance.finish_by_url(address)).message)

        running = [threading.Thread(target=finish) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join(10)
        finish()

    assert len(set(errors)) == 1
    assert len(errors) == threads + 1
    assert len(server.requests) == 2
    assert word(dance) == "failed"


def test_a_typed_code_is_tried_again_if_the_provider_fails(dances: Dances, kept: Kept) -> None:
    """People mistype, and OAuth 1.0a's verifier is good until it has worked."""
    with RawServer(BEGUN, b"", reply(urlencode(ACCESS_TOKEN))) as server:
        dance, code = begin(dances, server.url, kept), Secret("canary-v")
        refusal(ProviderUnreachableError, lambda: dance.finish(code))

        assert dance.finish(code) == Granted("alice")


# whose answer it is


def test_another_dances_answer_is_refused_and_the_dance_waits_on(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """By hand and in the browser: somebody else's consent is not slipped in."""
    mine = begin(dances, jira.base_url("jira"), kept, "loopback")
    other = begin(dances, jira.base_url("jira"), kept, "loopback")
    address = jira.approve("jira", other.authorize_url)

    error = refusal(BadRequestError, lambda: mine.finish_by_url(Secret(address)))
    assert error.message == "this address belongs to another dance"
    with pytest.raises(OtherDanceError):
        mine._receive("oauth_token=another&oauth_verifier=abc123")
    my_page = jira.approve("jira", mine.authorize_url).partition("?")[0]
    status, _ = visit(f"{my_page}?{urlsplit(address).query}")

    assert status == 400
    assert word(mine) == "waiting"
    assert word(other) == "waiting"
    assert not kept.tokens


@pytest.mark.parametrize(
    "url",
    [
        "",
        "abc123",
        "http://127.0.0.1/",
        "http://127.0.0.1/?oauth_token=canary-request",
        "http://127.0.0.1/?oauth_verifier=canary-v",
        "http://127.0.0.1/?oauth_token=canary-request&oauth_verifier=a&oauth_verifier=b",
        "http://127.0.0.1/?oauth_token=canary-request&oauth_token=canary-request&oauth_verifier=b",
        "http://[broken/?oauth_token=canary-request&oauth_verifier=canary-v",
        "http://127.0.0.1/?oauth_token=\ud800&oauth_verifier=canary-v",
        "http://127.0.0.1/?oauth_token=canary-request&oauth_verifier=",
    ],
)
def test_an_address_that_holds_no_answer_is_refused(dances: Dances, kept: Kept, url: str) -> None:
    """It is not repeated in the words, and the dance waits on."""
    with RawServer(BEGUN) as server:
        dance = begin(dances, server.url, kept)
        refusal(BadRequestError, lambda: dance.finish_by_url(Secret(url)))

    assert word(dance) == "waiting"
    assert len(server.requests) == 1


def test_a_dances_repr_shows_no_secret(dances: Dances, kept: Kept) -> None:
    """Nor do its states."""
    with RawServer(BEGUN) as server:
        dance = begin(dances, server.url, kept)

    assert "canary" not in repr(dance)
    assert "canary" not in repr(dance.state)


# many


def test_dances_are_found_by_their_id(jira: Sandbox, dances: Dances, kept: Kept) -> None:
    """Ids are not to be guessed."""
    first, second = (begin(dances, jira.base_url("jira"), kept) for _ in range(2))

    assert dances.get(first.id) is first
    assert dances.get(second.id) is second
    assert len(first.id) == 16
    with pytest.raises(UnknownDanceError, match="no dance has this id"):
        dances.get("nonsense")


def test_only_so_many_wait_at_once(dances: Dances, kept: Kept) -> None:
    """Each may hold a port; one that is over makes room."""
    with RawServer(BEGUN) as server:
        waiting = [begin(dances, server.url, kept) for _ in range(WAITING_MAX)]
        assert dances.count_waiting() == WAITING_MAX

        error = refusal(BadRequestError, lambda: begin(dances, server.url, kept))
        assert error.message == f"{WAITING_MAX} dances wait for their users"
        waiting[0].cancel()
        begin(dances, server.url, kept)

    assert dances.count_waiting() == WAITING_MAX


def test_a_finished_dance_is_forgotten_after_a_while(jira: Sandbox, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be asked about until then, and takes no memory afterwards."""
    dances = Dances()
    dance = begin(dances, jira.base_url("jira"), kept)
    run_out(dance)
    assert dances.get(dance.id) is dance

    monkeypatch.setattr("atl_sign.grants.dances.KEPT_S", 0.0)

    with pytest.raises(UnknownDanceError):
        dances.get(dance.id)
    begin(dances, jira.base_url("jira"), kept)
    assert dance.id not in dances._dances


def test_all_dances_of_one_link_or_of_all_can_be_cancelled(dances: Dances, kept: Kept) -> None:
    """For a link that is removed, and for the daemon's end."""
    with RawServer(BEGUN) as server:
        one, two = begin(dances, server.url, kept, name="one"), begin(dances, server.url, kept, name="two")

        dances.cancel_all("one")
        assert (one.state.word, two.state.word) == ("cancelled", "waiting")
        dances.cancel_all()

    assert two.state.word == "cancelled"
