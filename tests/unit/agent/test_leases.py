"""Leases as the agent keeps them, with doors that only note what they are asked, and a clock that the tests turn."""

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from atl_sign.access.audit import AuditLog
from atl_sign.access.caller import Caller
from atl_sign.access.lease import Lease
from atl_sign.access.recording import Records
from atl_sign.agent.build import make_agent
from atl_sign.agent.leases import (
    CHILDREN_MAX,
    DEPTH_MAX,
    LEASES_MAX,
    REFUSING_S,
    REMEMBERED_S,
    LeaseReport,
    Leases,
    Place,
    Wanted,
)
from atl_sign.base.errors import AuditUnavailableError, DaemonError
from atl_sign.base.peer import Peer
from atl_sign.config.file import ConfigFile
from atl_sign.config.settings import AuditMode
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.memory import MemoryStore
from atl_sign.grants.dances import Dances
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.agent_lab import CALLER
from tests.audit_lab import MemorySink

LINKS = """
[links.jira]
url = "https://jira.example.com"
consumer_key = "me"
[links.wiki]
url = "https://wiki.example.com"
scheme = "bearer"
"""


@dataclass
class FakeDoors:
    """Notes the calls."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    watched: dict[int, Callable[[], None]] = field(default_factory=dict)
    before_opened: Callable[[], Awaitable[None] | None] = lambda: None
    failure: Exception | None = None

    async def open(self, lease: Lease, parents: Sequence[str]) -> Place:
        self.calls.append(("open", "/".join([*parents, lease.id])))
        if self.failure is not None:
            raise self.failure
        waiting = self.before_opened()
        if waiting is not None:
            await waiting
        if lease.is_over:  # as the real ones
            lease.check_usable()
        return Place({"http": f"/run/{lease.id}/http.sock"})

    def watch(self, pidfd: int, on_end: Callable[[], None]) -> Callable[[], None]:
        self.watched[pidfd] = on_end

        def stop() -> None:
            if self.watched.pop(pidfd, None):
                os.close(pidfd)

        return stop

    def cut_transfers(self, lease: Lease) -> None:
        self.calls.append(("cut", lease.id))

    def close(self, lease: Lease) -> None:
        self.calls.append(("close", lease.id))


class Lab:
    """The leases of an agent with two links."""

    def __init__(self, folder: Path) -> None:
        config = ConfigFile(folder / "config.toml", SCHEME_SETTINGS)
        config.path.write_text(LINKS)
        self.sink = MemorySink()
        self.mode: AuditMode = "on"
        audit = AuditLog(self.sink)
        self.agent = make_agent(config, Safe(MemoryStore()), Dances(), audit)
        own = self.agent.leases
        self.now = 1000.0
        self.leases = Leases(own._lookup, own._schemes, Records(audit, lambda: self.mode), lambda: self.now)
        self.doors = FakeDoors()
        self.leases.serve_at(self.doors)

    def open(self, parent: Lease | None = None, caller: Caller = CALLER, **wanted: Any) -> LeaseReport:
        return asyncio.run(self.leases.open(replace(caller, lease=parent), Wanted(**wanted)))

    def refusal(self, parent: Lease | None = None, caller: Caller = CALLER, **wanted: Any) -> DaemonError:
        with pytest.raises(DaemonError) as caught:
            self.open(parent, caller, **wanted)
        return caught.value

    def state_of(self, lease: Lease) -> str:
        return self.leases.show(CALLER, lease.id).lease.state


def count_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_what_is_not_said_is_narrow(lab: Lab) -> None:
    """Reading at all links for an hour, by http.sock, for the own user."""
    report = lab.open()

    terms = report.lease.terms
    assert terms.links == {"jira", "wiki"}
    assert terms.entries == {"http"}
    assert (terms.peers, terms.may_tunnel, terms.name) == ("own", False, None)
    assert (report.lease.left_s, report.lease.uses_left, report.secret) == (3600, None, None)
    assert lab.doors.calls == [("open", report.lease.id)]


def test_a_ports_secret_is_shown_once(lab: Lab) -> None:
    report = lab.open(entries=frozenset({"port"}))

    assert report.secret is not None
    assert report.secret.startswith("atls_")
    assert len(report.secret) >= 48
    assert report.lease.is_secret(report.secret)
    assert [each.secret for each in lab.leases.list_all(CALLER)] == [None]
    assert lab.leases.show(CALLER, report.lease.id).secret is None
    assert report.secret not in "".join(lab.sink.lines)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"links": ["nobody"]}, "unknown_link"),
        ({"allow": ["FETCH /x"]}, "bad_rule"),
        ({"deny": ["GET x"]}, "bad_rule"),
        ({"entries": frozenset({"sign"})}, "bad_request"),  # wiki's token is good for many requests
        ({"lives_with": 1 << 22}, "bad_request"),
    ],
)
def test_what_cannot_be_opened_leaves_nothing(lab: Lab, wanted: dict[str, Any], code: str) -> None:
    assert lab.refusal(**wanted).code == code

    assert (lab.doors.calls, lab.leases.list_all(CALLER), lab.leases.has_open()) == ([], [], False)


def test_tokens_for_many_requests_are_given_out_only_when_allowed(lab: Lab) -> None:
    """By sign.sock; a link whose headers are for one request needs nothing, and http.sock gives out no header."""
    sign = frozenset({"sign"})

    assert lab.refusal(entries=sign, links=["jira", "wiki"]).message.startswith("sign.sock would give out the token of link wiki")
    lab.open(entries=sign, links=["jira"])
    lab.open(entries=frozenset({"http", "port"}), links=["wiki"])
    lab.open(entries=sign, links=["wiki"], allow_reusable=True)


def test_doors_that_do_not_open_leave_nothing(lab: Lab, sleeper: "subprocess.Popen[bytes]") -> None:
    """Nor the name, nor the place, nor a descriptor of the process."""
    before = count_descriptors()
    lab.doors.failure = OSError()
    caller = Caller(Peer(sleeper.pid, os.geteuid(), 0))
    with pytest.raises(OSError):  # noqa: PT011
        lab.open(caller=caller, name="build", lives_with=sleeper.pid)

    assert lab.leases.list_all(CALLER) == []
    assert count_descriptors() == before
    lab.doors.failure = None
    lab.open(name="build")


def test_a_lease_revoked_while_it_is_opened_is_not_open(lab: Lab, sleeper: "subprocess.Popen[bytes]") -> None:
    """By its name, or with its parent; the process that it was to live with is not watched."""
    lab.doors.before_opened = lambda: lab.leases.revoke(CALLER, "build")

    refused = lab.refusal(name="build", caller=Caller(Peer(sleeper.pid, 0, 0)), lives_with=sleeper.pid)

    assert refused.code == "lease_revoked"
    assert (lab.doors.watched, lab.leases.has_open()) == ({}, False)
    lab.doors.before_opened = lambda: None
    parent = lab.open().lease
    lab.doors.before_opened = lambda: lab.leases.revoke(CALLER, parent.id)
    assert lab.refusal(parent).code == "lease_revoked"
    assert not lab.leases.has_open()


def test_names_are_for_one_open_lease(lab: Lab) -> None:
    """And free again after its end; a name shows the open one, else the youngest."""
    first = lab.open(name="build").lease
    assert lab.refusal(name="build").code == "lease_exists"
    lab.leases.revoke(CALLER, "build")
    assert lab.leases.show(CALLER, "build").lease is first
    second = lab.open(name="build").lease

    assert lab.leases.show(CALLER, "build").lease is second
    assert lab.leases.show(CALLER, first.id).lease is first
    for name in ("", "nobody", first.id[:-1]):
        with pytest.raises(DaemonError) as caught:
            lab.leases.show(CALLER, name)
        assert caught.value.code == "unknown_lease"


def test_a_childs_name_is_nobodys_business(lab: Lab) -> None:
    """It neither takes one from the owner, nor shows which there are, nor stands for the owner's in a call."""
    lab.open(name="build")
    parent = lab.open().lease
    child = lab.open(parent, name="build").lease
    lab.open(parent, name="later")

    assert lab.leases.show(CALLER, "build").lease is not child
    later = lab.open(name="later").lease
    assert lab.leases.show(CALLER, "later").lease is later
    lab.leases.revoke(CALLER, "later")
    assert lab.leases.show(CALLER, "later").lease is later, "the child is open, and not meant"


def test_there_are_so_many_leases_and_no_more(lab: Lab) -> None:
    reports = [lab.open() for _ in range(LEASES_MAX)]

    refused = lab.refusal()
    assert (refused.code, refused.status) == ("too_many_leases", 409)
    assert lab.refusal(reports[0].lease).code == "too_many_leases"
    lab.leases.revoke(CALLER, reports[7].lease.id)
    lab.open()
    assert len({each.lease.id for each in lab.leases.list_all(CALLER)}) == LEASES_MAX + 1


def test_a_holder_does_not_take_the_owners_places(lab: Lab) -> None:
    """However the children are nested; the refusal is about the lease alone."""
    parent = lab.open().lease
    children = [lab.open(parent).lease, lab.open(parent).lease]
    while len(children) < CHILDREN_MAX:
        children.append(lab.open(children[len(children) % 2]).lease)

    for each in (parent, children[0], children[1]):
        refused = lab.refusal(each)
        assert refused.code == "too_many_leases"
        assert "atl-sign" not in f"{refused.message}{refused.hint}"
    lab.open()
    lab.leases.revoke(CALLER, children[1].id)
    lab.open(parent)


def test_a_holder_does_not_fill_the_machine_with_ended_leases(lab: Lab) -> None:
    """Each keeps its sockets for a while, and its place in the list: of a holder's, only the last few."""
    own = lab.open(lifetime_s=1).lease
    parent = lab.open().lease
    children = []
    for _ in range(3 * CHILDREN_MAX):
        children.append(lab.open(parent, lifetime_s=1).lease)
        lab.now += 1

    lab.open(parent)
    kept = {report.lease.id for report in lab.leases.list_all(CALLER)}
    assert {own.id, parent.id, *(lease.id for lease in children[-CHILDREN_MAX:])} < kept
    assert len(kept) == CHILDREN_MAX + 3
    closed = [lease_id for call, lease_id in lab.doors.calls if call == "close"]
    assert closed == [lease.id for lease in children[:-CHILDREN_MAX]]


def test_leases_are_nested_so_deep(lab: Lab) -> None:
    """Each in its parent's folder."""
    line = [lab.open().lease]
    for _ in range(DEPTH_MAX - 1):
        line.append(lab.open(line[-1]).lease)

    assert lab.doors.calls[-1] == ("open", "/".join(lease.id for lease in line))
    assert lab.refusal(line[-1]).code == "too_many_leases"


@pytest.mark.parametrize(
    "wider",
    [
        {"links": ["wiki"]},
        {"links": ["jira", "wiki"]},
        {"links": ["nobody"]},
        {"entries": frozenset({"sign"})},
        {"entries": frozenset({"http", "port"})},
        {"peers": "any"},
        {"peers": frozenset({65534})},
        {"may_tunnel": True},
        {"lives_with": os.getpid()},
    ],
)
def test_a_child_is_no_wider(lab: Lab, wider: dict[str, Any]) -> None:
    """The twin without that is opened; words for a link that there is and one that there is not are the same."""
    parent = lab.open(links=["jira"]).lease

    refused = lab.refusal(parent, **wider)

    assert refused.code == ("bad_request" if "lives_with" in wider else "lease_denied")
    assert "wiki" not in f"{refused.message}{refused.hint}"
    assert lab.open(parent).lease.terms.links == {"jira"}


@pytest.mark.parametrize("pause", ["suspend", "revoke", "use", "expire"])
def test_a_lease_that_cannot_be_used_opens_none(lab: Lab, pause: str) -> None:
    parent = lab.open(uses=1).lease
    if pause == "suspend":
        lab.leases.suspend(CALLER, parent.id)
    elif pause == "revoke":
        lab.leases.revoke(CALLER, parent.id)
    elif pause == "use":
        parent.take_use(None)
    else:
        lab.now += 3600

    assert lab.refusal(parent).code.startswith("lease_")


def test_a_revocation_closes_the_children_too(lab: Lab) -> None:
    """In whatever state they are: suspended and used up ones have transfers as well."""
    parent = lab.open().lease
    children = [lab.open(parent, uses=1).lease for _ in range(3)]
    children.append(lab.open(children[0]).lease)
    other = lab.open().lease
    children[0].take_use(None)
    lab.leases.suspend(CALLER, children[1].id)

    lab.leases.revoke(CALLER, parent.id)

    ids = {lease.id for lease in (parent, *children)}
    assert {lease_id for call, lease_id in lab.doors.calls if call == "cut"} == ids
    assert {lease_id for call, lease_id in lab.doors.calls if call == "close"} == ids
    assert {lab.state_of(lease) for lease in children} == {"revoked"}
    assert other.state == "open"


def test_connections_are_cut_before_entries_close(lab: Lab) -> None:
    lease = lab.open().lease
    lab.leases.revoke(CALLER, lease.id)
    lab.leases.revoke(CALLER, lease.id)
    lab.leases.look()

    assert lab.doors.calls == [("open", lease.id), ("cut", lease.id), ("close", lease.id)]


def test_an_expired_lease_refuses_for_a_while_and_is_remembered_longer(lab: Lab) -> None:
    """Its connections are cut at once; its entries go on to say why for five minutes."""
    lease = lab.open(lifetime_s=60).lease
    lab.leases.look()
    lab.now += 59.9
    lab.leases.look()
    assert lab.doors.calls == [("open", lease.id)]

    lab.now += 0.1
    lab.leases.look()
    lab.leases.look()
    assert lab.doors.calls[1:] == [("cut", lease.id)]
    assert not lab.leases.has_open()
    lab.now += REFUSING_S
    lab.leases.look()
    assert lab.doors.calls[2:] == [("close", lease.id)]
    lab.now += REMEMBERED_S - REFUSING_S - 1
    lab.leases.look()
    assert lab.state_of(lease) == "expired"
    lab.now += 1
    lab.leases.look()
    assert lab.leases.list_all(CALLER) == []
    assert [line for line in lab.sink.lines if '"expire"' in line and lease.id in line] != []


def test_what_is_over_cannot_be_changed(lab: Lab) -> None:
    """No call opens a lease again; those for an open one work."""
    lease = lab.open(lifetime_s=60, uses=1).lease
    lab.leases.change(CALLER, lease.id, 90, 5)
    assert (lease.left_s, lease.uses_left) == (90, 5)
    lab.leases.suspend(CALLER, lease.id)
    assert (lease.state, lab.leases.has_open()) == ("suspended", True)
    lab.leases.resume(CALLER, lease.id)
    assert lease.state == "open"
    lab.now += 90

    calls: list[Callable[[], object]] = [
        lambda: lab.leases.change(CALLER, lease.id, 90, None),
        lambda: lab.leases.suspend(CALLER, lease.id),
        lambda: lab.leases.resume(CALLER, lease.id),
    ]
    for call in calls:
        with pytest.raises(DaemonError) as caught:
            call()
        assert caught.value.code == "lease_expired"
    assert lab.state_of(lease) == "expired"


def test_a_lock_suspends_all(lab: Lab) -> None:
    """Each until it is resumed for itself, children with their parents."""
    parent, other = lab.open().lease, lab.open().lease
    child = lab.open(parent).lease

    lab.leases.suspend_all()
    assert [each.state for each in (parent, other, child)] == ["suspended"] * 3
    lab.leases.resume(CALLER, parent.id)
    assert [each.state for each in (parent, other, child)] == ["open", "suspended", "suspended"]
    lab.leases.resume(CALLER, child.id)
    assert child.state == "open"


def test_the_end_of_the_process_ends_all(lab: Lab) -> None:
    leases = [lab.open().lease for _ in range(2)]
    leases.append(lab.open(leases[0]).lease)

    lab.leases.close_all()

    assert {lease_id for call, lease_id in lab.doors.calls if call == "close"} == {lease.id for lease in leases}
    assert {lease.state for lease in leases} == {"ended"}


def test_a_lease_lives_with_the_caller_or_an_ancestor(lab: Lab, sleeper: "subprocess.Popen[bytes]") -> None:
    """Not with any other process, nor one that is not there."""
    caller = Caller(Peer(sleeper.pid, os.geteuid(), 0))

    for pid in (sleeper.pid, os.getpid(), os.getppid()):
        assert lab.open(caller=caller, lives_with=pid).lease.terms.lives_with == pid
    before = count_descriptors()
    with subprocess.Popen(["sleep", "60"]) as other:
        refused = lab.refusal(caller=caller, lives_with=other.pid)
        other.kill()
    assert (refused.code, "not the caller or an ancestor" in refused.message) == ("bad_request", True)
    assert lab.refusal(caller=caller, lives_with=other.pid).code == "bad_request"
    assert lab.refusal(caller=Caller(Peer(0, 0, 0)), lives_with=os.getpid()).code == "bad_request"
    assert lab.refusal(caller=Caller(None), lives_with=os.getpid()).code == "bad_request"
    assert count_descriptors() == before
    lab.leases.close_all()
    assert lab.doors.watched == {}


def test_a_lease_lives_with_the_process_that_the_kernel_names(lab: Lab, sleeper: "subprocess.Popen[bytes]") -> None:
    """`caller`, for those that have another pid in their namespace; refused when the kernel has no number for it here."""
    caller = Caller(Peer(sleeper.pid, os.geteuid(), 0))

    assert lab.open(caller=caller, lives_with="caller").lease.terms.lives_with == sleeper.pid
    for stranger in (Caller(Peer(0, os.geteuid(), 0)), Caller(None)):
        refused = lab.refusal(caller=stranger, lives_with="caller")
        assert (refused.code, "does not name" in refused.message) == ("bad_request", True)
    lab.leases.close_all()


def test_a_lease_ends_with_its_process(lab: Lab, sleeper: "subprocess.Popen[bytes]") -> None:
    """Once, whatever it was before: the watch stops, or the loop would never rest."""
    caller = Caller(Peer(sleeper.pid, os.geteuid(), 0))
    leases = [lab.open(caller=caller, lives_with=sleeper.pid, uses=1).lease for _ in range(3)]
    child = lab.open(leases[0]).lease
    leases[1].suspend()
    leases[2].take_use(None)

    for on_end in list(lab.doors.watched.values()):
        on_end()

    assert {each.state for each in (*leases, child)} == {"ended"}
    assert {lease_id for call, lease_id in lab.doors.calls if call == "close"} == {each.id for each in (*leases, child)}
    assert lab.doors.watched == {}
    assert sum('"end"' in line for line in lab.sink.lines) == 3


def test_what_must_be_recorded_and_is_not_gives_nothing(lab: Lab) -> None:
    """No lease, no more time, no resumption; what takes away is done all the same."""
    lease = lab.open(uses=1).lease
    lab.leases.suspend(CALLER, lease.id)
    lab.mode, lab.sink.failure = "required", OSError(28, "No space left on device")
    before = len(lab.doors.calls)

    with pytest.raises(AuditUnavailableError):
        lab.open(name="build")
    opened = lab.doors.calls[before][1]
    assert lab.doors.calls[before:] == [("open", opened), ("cut", opened), ("close", opened)]
    calls: list[Callable[[], object]] = [
        lambda: lab.leases.change(CALLER, lease.id, 9000, 9),
        lambda: lab.leases.resume(CALLER, lease.id),
    ]
    for call in calls:
        with pytest.raises(AuditUnavailableError):
            call()
    assert (lease.state, lease.left_s, lease._uses_left) == ("suspended", 3600, 1)
    lab.leases.suspend(CALLER, lease.id)
    lab.leases.revoke(CALLER, lease.id)
    assert lease.state == "revoked"


def test_parallel_openings_share_the_places(lab: Lab) -> None:
    """Those that are being opened count, and have their names."""

    async def open_many() -> list[LeaseReport | BaseException]:
        lab.doors.before_opened = lambda: asyncio.sleep(0.01)
        wanted = [Wanted(name="build") if number < 5 else Wanted() for number in range(LEASES_MAX + 20)]
        return await asyncio.gather(*(lab.leases.open(CALLER, each) for each in wanted), return_exceptions=True)

    outcomes = asyncio.run(open_many())

    opened = [each for each in outcomes if isinstance(each, LeaseReport)]
    assert len(opened) == LEASES_MAX
    assert sum(each.lease.terms.name == "build" for each in opened) == 1
    codes = [each.code for each in outcomes if isinstance(each, DaemonError)]
    assert (codes.count("lease_exists"), codes.count("too_many_leases")) == (4, 16)
