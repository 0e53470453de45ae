"""Leases on their own: states, uses, time, children and terms, by a clock that the tests turn."""

import hmac
import itertools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from atl_sign.access.decision import Rules
from atl_sign.access.lease import REQUESTS_MAX, EntryKind, Lease, Peers, Terms
from atl_sign.access.presets.loading import parse_rules
from atl_sign.base.errors import DaemonError
from atl_sign.base.lease_errors import LeaseBusyError, LeaseDeniedError
from atl_sign.base.peer import Peer
from atl_sign.base.urls import parse_url
from tests.audit_lab import PEER

LIFE_S = 100.0
SECRET = "atls_canary-lease-secret"


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_terms(
    links: Sequence[str] = ("jira",),
    allow: Sequence[str] = ("read",),
    deny: Sequence[str] = (),
    entries: Sequence[EntryKind] = ("http",),
    peers: Peers = "own",
    *,
    may_tunnel: bool = False,
) -> Terms:
    rules = Rules(parse_rules(list(allow)), parse_rules(list(deny)))
    return Terms(frozenset(links), rules, frozenset(entries), peers, may_tunnel)


def make_lease(
    uses: int | None = None,
    *,
    parent: Lease | None = None,
    clock: Clock | None = None,
    life_s: float = LIFE_S,
    allow: str = "read",
) -> Lease:
    return Lease("1a2b3c4d", make_terms(allow=(allow,)), life_s, uses, parent=parent, clock=clock or Clock())


def refusal(call: Callable[[], object]) -> DaemonError:
    with pytest.raises(DaemonError) as caught:
        call()
    return caught.value


def decide(lease: Lease, method: str = "GET", path: str = "/rest/api/2/issue/WEB-1", link: str = "jira") -> None:
    lease.decide(link, method, parse_url(f"https://jira.example.com/jira{path}"), "/jira", None)


def expire(lease: Lease, clock: Clock) -> None:
    del lease
    clock.now += LIFE_S


ENDS: dict[str, Callable[[Lease, Clock], None]] = {
    "expired": expire,
    "revoked": lambda lease, _: lease.end("revoked"),
    "ended": lambda lease, _: lease.end("ended"),
}
PAUSES: dict[str, Callable[[Lease, Clock], None]] = {
    "suspended": lambda lease, _: lease.suspend(),
    "used_up": lambda lease, _: lease.take_use(None),
}
CODES = {"expired": "lease_expired", "revoked": "lease_revoked", "ended": "lease_revoked", "suspended": "lease_suspended"}


@pytest.mark.parametrize("state", [*ENDS, *PAUSES])
def test_each_state_refuses_by_its_code(state: str) -> None:
    """Neither a decision nor a use comes of a lease that is not open; each refusal is counted."""
    clock = Clock()
    lease = make_lease(1, clock=clock)
    assert lease.state == "open"
    decide(lease)

    (ENDS | PAUSES)[state](lease, clock)

    assert lease.state == state
    assert lease.is_over == (state in ENDS)
    allowed = lease.usage.allowed
    for call in (lease.check_usable, lambda: lease.take_use(None), lambda: decide(lease)):
        assert refusal(call).code == CODES.get(state, "lease_used_up")
    assert (lease.usage.allowed, lease.usage.denied) == (allowed, 3)


def test_an_end_is_for_ever() -> None:
    """Neither a resumption, nor more time, nor more uses opens it again, and the first reason stays."""
    lease = make_lease(5)
    lease.end("revoked")

    lease.end("ended")
    lease.suspend()
    lease.resume()
    lease.change(10 * LIFE_S, 100)
    lease.give_back()

    assert lease.state == "revoked"


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("pause", PAUSES)
def test_a_child_is_over_with_its_parent(pause: str, end: str) -> None:
    """Also when it was suspended or used up before: else its running transfers would go on."""
    clock = Clock()
    parent = make_lease(clock=clock)
    child = make_lease(1, parent=parent, clock=clock, life_s=10 * LIFE_S)
    PAUSES[pause](child, clock)
    assert (child.state, child.is_over) == (pause, False)

    ENDS[end](parent, clock)

    assert (child.state, child.is_over) == (end, True)
    child.resume()
    assert child.is_over


def test_a_child_is_suspended_with_its_parent_and_for_itself() -> None:
    parent = make_lease()
    child = make_lease(parent=parent)

    parent.suspend()
    child.suspend()
    parent.resume()
    states = [child.state]
    child.resume()
    states.append(child.state)
    parent.suspend()
    states.append(child.state)

    assert states == ["suspended", "open", "suspended"]
    assert refusal(lambda: decide(child)).code == "lease_suspended"


def test_a_child_counts_for_its_parents() -> None:
    """A use of the child is one of each; where one of them has none left, none is taken from the others."""
    parent = make_lease(3)
    child = make_lease(5, parent=parent)
    grandchild = make_lease(parent=child)

    grandchild.take_use(PEER)
    child.take_use(PEER)
    parent.take_use(PEER)

    assert (parent.uses_left, child.uses_left, grandchild.uses_left) == (0, 0, 0)
    assert refusal(lambda: grandchild.take_use(PEER)).code == "lease_used_up"
    grandchild.give_back()
    assert (parent._uses_left, child._uses_left) == (1, 4)
    assert (parent.usage.allowed, child.usage.allowed, grandchild.usage.allowed) == (2, 1, 0)
    grandchild.take_use(PEER)
    parent.change(None, 10)
    assert grandchild.uses_left == 3, "the child's"


def test_a_use_that_a_parent_refuses_is_given_back_to_the_child() -> None:
    """The parent's last use went between the look at its state and its turn."""
    parent = make_lease(1)
    child = make_lease(5, parent=parent)
    parent._take = lambda _: parent.check_usable() or parent.end("revoked") or parent.check_usable()  # type: ignore

    refused = refusal(lambda: child.take_use(PEER))

    assert refused.code == "lease_revoked"
    assert (child._uses_left, child.usage.allowed) == (5, 0)


@pytest.mark.parametrize("has_child", [False, True])
def test_uses_are_exact_under_threads(has_child: bool) -> None:
    """200 threads at a lease of 100 uses: 100 get one, and as many are refused."""
    lease = make_lease(100)
    lease = make_lease(parent=lease) if has_child else lease

    def take(_: int) -> str:
        try:
            lease.take_use(PEER)
        except DaemonError as exc:
            return exc.code
        return "ok"

    with ThreadPoolExecutor(200) as pool:
        outcomes = list(pool.map(take, range(200)))

    assert (outcomes.count("ok"), outcomes.count("lease_used_up")) == (100, 100)
    assert (lease.uses_left, lease.usage.allowed, lease.usage.denied) == (0, 100, 100)


def test_failed_uses_under_threads_come_back() -> None:
    """Each `with` that fails gives its use back, each that does not keeps it."""
    lease = make_lease(100)

    def use(number: int) -> None:
        with lease.uses(PEER) as take:
            take()
            if number % 2:
                raise OSError

    with ThreadPoolExecutor(50) as pool:
        done = [pool.submit(use, number) for number in range(100)]

    assert sum(each.exception() is not None for each in done) == 50
    assert (lease.uses_left, lease.usage.allowed) == (50, 50)


def test_a_with_that_took_nothing_gives_nothing_back() -> None:
    """Or an error before the count would make uses out of nothing."""
    lease = make_lease(1)

    for _ in range(3):
        with pytest.raises(OSError), lease.uses(PEER):  # noqa: PT011
            raise OSError
    with pytest.raises(OSError), lease.uses(PEER) as take:  # noqa: PT011, PT012
        take()
        raise OSError

    assert lease.uses_left == 1


def test_a_use_is_noted_with_its_peer() -> None:
    lease = make_lease()
    before = datetime.now(UTC)

    lease.take_use(PEER)

    assert lease.usage.last_peer == PEER
    assert lease.usage.last_used_at is not None
    assert before <= lease.usage.last_used_at <= datetime.now(UTC)
    assert lease.uses_left is None


def test_time_is_over_to_the_moment_and_the_parents_counts() -> None:
    clock = Clock()
    parent = make_lease(clock=clock, life_s=50)
    child = make_lease(parent=parent, clock=clock, life_s=80)
    short = make_lease(parent=parent, clock=clock, life_s=20)

    assert (child.left_s, short.left_s) == (50, 20)
    clock.now += 19.999
    assert short.state == "open"
    clock.now += 0.001
    assert (short.state, short.left_s, child.state) == ("expired", 0, "open")
    assert abs((child.expires_at - datetime.now(UTC)).total_seconds() - 30) < 1
    parent.change(1000, None)
    assert child.left_s == 60, "its own"
    clock.now += 60
    assert (child.state, parent.state) == ("expired", "open")


def test_the_clock_counts_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLOCK_BOOTTIME, which goes on while the machine sleeps, and that nobody can set; the monotonic clock stands still."""
    read: list[int] = []

    def read_clock(number: int) -> float:
        read.append(number)
        return 5.0

    monkeypatch.setattr(time, "clock_gettime", read_clock)

    lease = Lease("1a2b3c4d", make_terms(), 1)

    assert lease.state == "open"
    assert set(read) == {time.CLOCK_BOOTTIME}


def test_a_secret_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its hash, with `hmac.compare_digest`; texts that no encoding knows are no error."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    lease = Lease("1a2b3c4d", make_terms(), LIFE_S, secret=SECRET)

    assert lease.is_secret(SECRET)
    wrong = ["", SECRET[:-1], SECRET + "x", SECRET.upper(), "\ud800", "é", "\0" + SECRET]
    assert not any(map(lease.is_secret, wrong))
    assert compared == [(32, 32)] * (1 + len(wrong))
    assert not Lease("1a2b3c4d", make_terms(), LIFE_S).is_secret("")
    kept = [repr(getattr(lease, name)) for name in vars(lease)]
    assert not any(SECRET in text for text in kept)


@pytest.mark.parametrize(
    ("peers", "uid", "is_admitted"),
    [
        ("own", os.geteuid(), True),
        ("own", os.geteuid() + 1, False),
        ("own", 65534, False),
        ("any", 65534, True),
        (frozenset({4242}), 4242, True),
        (frozenset({4242}), 4243, False),
        (frozenset({4242}), os.geteuid(), False),
    ],
)
def test_terms_admit(peers: Peers, uid: int, is_admitted: bool) -> None:
    assert make_terms(peers=peers).admits(Peer(1, uid, 1)) == is_admitted


ALL_PEERS: list[Peers] = ["own", "any", frozenset({1}), frozenset({1, 2}), frozenset({os.geteuid()})]
UIDS = {1, 2, 3, os.geteuid()}


@pytest.mark.parametrize(("inner", "outer"), list(itertools.product(ALL_PEERS, ALL_PEERS)))
def test_peers_lie_within_only_if_each_is_admitted(inner: Peers, outer: Peers) -> None:
    """Whoever gets in at the inner one gets in at the outer one; equal terms and "any" outside always hold."""
    inside, outside = make_terms(peers=inner), make_terms(peers=outer)
    is_within = inside.lies_within(outside)

    admitted = {uid for uid in UIDS if inside.admits(Peer(1, uid, 1))}
    if is_within:
        assert admitted <= {uid for uid in UIDS if outside.admits(Peer(1, uid, 1))}
        assert inner != "any" or outer == "any"
    if outer in (inner, "any"):
        assert is_within


@pytest.mark.parametrize(
    ("inner", "outer", "is_within"),
    [
        ({"links": ["a"]}, {"links": ["a", "b"]}, True),
        ({"links": ["a", "b"]}, {"links": ["a"]}, False),
        ({"links": ["a", "c"]}, {"links": ["a", "b"]}, False),
        ({"entries": ["http"]}, {"entries": ["http", "sign"]}, True),
        ({"entries": ["sign"]}, {"entries": ["http"]}, False),
        ({"entries": ["http", "port"]}, {"entries": ["http"]}, False),
        ({"may_tunnel": False}, {"may_tunnel": True}, True),
        ({"may_tunnel": True}, {"may_tunnel": True}, True),
        ({"may_tunnel": True}, {"may_tunnel": False}, False),
        ({}, {}, True),
    ],
)
def test_terms_lie_within(inner: dict[str, object], outer: dict[str, object], is_within: bool) -> None:
    assert make_terms(**inner).lies_within(make_terms(**outer)) == is_within  # type: ignore[arg-type]


def test_a_request_must_be_allowed_by_every_lease_of_the_line() -> None:
    """A child's wider rules give nothing, and a parent's denial holds; so do its links."""
    parent = Lease("a", make_terms(links=("jira", "wiki"), deny=("GET /rest/api/*/user",)), LIFE_S, clock=Clock())
    child = Lease("b", make_terms(links=("jira", "bamboo"), allow=("* /rest/**",)), LIFE_S, parent=parent, clock=Clock())

    decide(child)
    for method, path in (("POST", "/rest/api/2/issue"), ("GET", "/rest/api/2/user")):
        refused = refusal(lambda method=method, path=path: decide(child, method, path))  # type: ignore[misc]
        assert isinstance(refused, LeaseDeniedError)
    for link in ("wiki", "bamboo", "bitbucket"):
        refused = refusal(lambda link=link: decide(child, link=link))  # type: ignore[misc]
        assert (refused.code, refused.message, refused.hint) == ("lease_denied", "the lease does not cover this address", None)
    assert (child.usage.denied, parent.usage.denied) == (5, 0)


def test_a_refusal_names_the_rule_and_no_way_to_more() -> None:
    """What the holder can do is to read what the lease allows."""
    lease = Lease("a", make_terms(deny=("GET /rest/api/*/user",)), LIFE_S, clock=Clock())

    refused = refusal(lambda: decide(lease, path="/rest/api/2/user"))

    assert isinstance(refused, LeaseDeniedError)
    assert refused.rule == "GET /rest/api/*/user"
    assert refused.hint == "GET /~/lease at the same socket or port lists what the lease allows"
    assert "atl-sign" not in refused.message


def test_places_are_those_of_the_whole_line() -> None:
    """Leases made from it are no more places at the same time; each is given back, after an error too."""
    parent = make_lease()
    children = [make_lease(parent=parent) for _ in range(3)]

    with ExitStack() as places:
        for number in range(REQUESTS_MAX):
            places.enter_context(children[number % 3].enter())
        for each in (parent, *children):
            with pytest.raises(LeaseBusyError), each.enter():
                pass  # pragma: no cover
    with ExitStack() as places:
        for _ in range(REQUESTS_MAX):
            places.enter_context(children[0].enter())
    assert {each._under_way for each in (parent, *children)} == {0}


def test_the_outermost_is_the_owners() -> None:
    parent = make_lease()
    grandchild = make_lease(parent=make_lease(parent=parent))

    assert parent.outermost is parent
    assert grandchild.outermost is parent
