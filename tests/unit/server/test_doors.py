"""The entries of leases: what is left when they cannot be opened or are closed meanwhile, and how many may come in."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from uvicorn.server import ServerState

from atl_sign.access.decision import Rules
from atl_sign.access.lease import EntryKind, Lease, Terms
from atl_sign.access.presets.loading import parse_rules
from atl_sign.agent.leases import Place
from atl_sign.base.errors import BadRequestError
from atl_sign.base.lease_errors import LeaseRevokedError
from atl_sign.server.connections import LEASE_CONNECTIONS_MAX
from atl_sign.server.doors import LeaseDoors, leases_folder, remove_stale
from atl_sign.server.proxies import Proxies, make_lease_authority
from atl_sign.server.serve import _make_config
from tests.lab import DEADLINE_S, Daemon
from tests.lease_lab import ask, open_lease
from tests.unit.proxy.front_lab import ProxyLab

ALL: tuple[EntryKind, ...] = ("http", "sign", "port")


def make_lease(*entries: EntryKind, lease_id: str = "1a2b3c4d", parent: Lease | None = None) -> Lease:
    rules = Rules(parse_rules(["read"]), ())
    return Lease(lease_id, Terms(frozenset({"jira"}), rules, frozenset(entries)), 60, parent=parent, secret="x")


class Doors:
    """Real doors in a loop of the test's."""

    def __init__(self, lab: ProxyLab, folder: Path) -> None:
        self.folder = folder
        self.proxies = Proxies(lab.agent)
        self.doors = LeaseDoors(lab.agent, self.proxies, folder, ServerState(), _make_config)

    def listening(self) -> set[str]:
        """The Unix sockets below the folder, wherever their files are by now."""
        rows = [line.split() for line in Path("/proc/self/net/unix").read_text().splitlines()[1:]]
        return {row[7] for row in rows if len(row) > 7 and row[7].startswith(f"{self.folder}/")}


def count_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def doors(lab: ProxyLab) -> Iterator[Doors]:
    lab.add_link("jira", "https://jira.example.com")
    with TemporaryDirectory(prefix="atls-") as folder:  # not pytest's tmp_path: a socket's address holds 107 bytes
        yield Doors(lab, Path(folder) / "leases")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ProxyLab]:
    with ProxyLab(tmp_path) as started:
        yield started


def run(work: Callable[[], Any]) -> Any:
    return asyncio.run(work())


def test_all_entries_are_opened_and_closed(doors: Doors) -> None:
    """And nothing is left of them, the folder of all leases included."""
    lease = make_lease(*ALL)

    async def work() -> Place:
        before = count_descriptors()
        place = await doors.doors.open(lease, [])
        assert {Path(path).name for path in doors.listening()} == {"http.sock", "sign.sock"}
        assert all(Path(path).is_socket() for path in place.sockets.values())
        doors.doors.close(lease)
        doors.doors.close(lease)
        await asyncio.sleep(0.05)
        assert count_descriptors() == before
        return place

    place = run(work)

    assert set(place.sockets) == {"http", "sign"}
    assert not doors.folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int((place.url or "").rpartition(":")[2])))


@pytest.mark.parametrize("moment", ["authority", "config"])
def test_a_lease_that_ends_while_it_is_opened_listens_nowhere(doors: Doors, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """It was revoked in a thread's time: no listener, no folder, no port is left, and the caller is told why."""
    lease = make_lease(*ALL)
    end = "make_lease_authority" if moment == "authority" else "_make_app"
    real_thread = asyncio.to_thread

    async def to_thread(call: Any, *arguments: Any) -> Any:
        result = await real_thread(call, *arguments)
        if (call is make_lease_authority) == (end == "make_lease_authority"):
            lease.end("revoked")
            doors.doors.close(lease)
        return result

    async def work() -> None:
        before = count_descriptors()
        monkeypatch.setattr(asyncio, "to_thread", to_thread)
        with pytest.raises(LeaseRevokedError):
            await doors.doors.open(lease, [])
        await asyncio.sleep(0.05)
        assert count_descriptors() == before

    run(work)

    assert doors.listening() == set()
    assert not doors.folder.exists()


def test_a_folder_that_cannot_be_made_is_refused_by_name(doors: Doors) -> None:
    """A file is in its place, or its path is too long for a socket."""
    doors.folder.write_text("")
    with pytest.raises(BadRequestError, match="cannot be made"):
        run(lambda: doors.doors.open(make_lease("http"), []))
    doors.folder.unlink()

    with pytest.raises(BadRequestError, match="over 107 bytes"):
        run(lambda: doors.doors.open(make_lease("http", lease_id="x" * 100), []))
    assert not doors.folder.exists()


def test_a_folder_that_is_there_is_not_taken(doors: Doors) -> None:
    """Somebody else's with the same name, or a symbolic link: it is neither used nor opened to others."""
    elsewhere = doors.folder.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    doors.folder.mkdir(mode=0o700)
    (doors.folder / "1a2b3c4d").symlink_to(elsewhere)

    with pytest.raises(BadRequestError):
        run(lambda: doors.doors.open(make_lease(*ALL), []))

    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("depth", [1, 2])
def test_a_holders_symbolic_links_lead_nowhere(doors: Doors, depth: int) -> None:
    """In a container with the owner's uid, the holder may write into the lease's folder, and does so at the worst moment."""
    elsewhere = doors.folder.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    line = [make_lease("http", lease_id=f"{number}" * 8) for number in range(3)]
    ids = [lease.id for lease in line]

    async def work() -> None:
        for number in range(depth):
            await doors.doors.open(line[number], ids[:number])
        inner = doors.folder / ids[0]
        if depth == 1:  # in the place of the child's own folder
            (inner / ids[1]).symlink_to(elsewhere)
        else:  # in that of its parent's
            (inner / ids[1]).rename(inner / "moved")
            (inner / ids[1]).symlink_to(elsewhere)
        with pytest.raises(BadRequestError):
            await doors.doors.open(line[depth], ids[:depth])
        assert list(elsewhere.iterdir()) == []
        (elsewhere / ids[depth]).mkdir()
        for lease in reversed(line):
            doors.doors.close(lease)

    run(work)

    assert [each.name for each in elsewhere.iterdir()] == [ids[depth]]
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert not doors.folder.exists()


def test_the_end_of_a_process_is_seen_once(doors: Doors) -> None:
    """The descriptor is closed with the watch, twice or not."""
    seen: list[int] = []

    async def work() -> None:
        before = count_descriptors()
        with subprocess.Popen(["sleep", "60"]) as process:
            pidfd = os.pidfd_open(process.pid)

            def end() -> None:
                seen.append(1)
                stop()

            stop = doors.doors.watch(pidfd, end)
            await asyncio.sleep(0.05)
            assert seen == []
            process.kill()
            async with asyncio.timeout(DEADLINE_S):
                while not seen:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
        stop()
        assert count_descriptors() == before

    run(work)

    assert seen == [1]


def test_the_folder_stands_beside_the_socket() -> None:
    assert leases_folder(Path("/run/user/1/atl-sign/agent.sock")) == Path("/run/user/1/atl-sign/leases")
    assert leases_folder(Path("/tmp/x.sock")) == Path("/tmp/x.sock.leases")


def test_what_is_stale_is_removed_without_following_links(tmp_path: Path) -> None:
    kept, stale = tmp_path / "kept", tmp_path / "leases"
    kept.mkdir()
    (kept / "file").write_text("")
    (stale / "1a2b3c4d").mkdir(parents=True)
    (stale / "1a2b3c4d/link").symlink_to(kept)

    remove_stale(stale)
    assert not stale.exists()
    stale.symlink_to(kept)
    remove_stale(stale)
    remove_stale(tmp_path / "nothing")
    assert (kept / "file").exists()


@pytest.mark.parametrize("kind", ["http", "sign"])
def test_connections_of_a_lease_and_its_children_are_so_many(daemon: Daemon, kind: str) -> None:
    """One more is closed, a child's too; the owner and other leases come in, and so do they when there is room again."""
    daemon.request("PUT", "/links/jira", {"url": "http://127.0.0.1:1/jira"})
    lease, other = (open_lease(daemon, entries=["http", "sign"]) for _ in range(2))
    child = ask(lease["sockets"]["http"], "POST", "/~/leases", {"entries": [kind]}, headers={"Host": "localhost"}).json

    def connect(path: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(DEADLINE_S)
        connection.connect(path)
        return connection

    def is_taken(path: str) -> bool:
        with connect(path) as connection:
            try:
                connection.sendall(b"GET /~/lease HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return connection.recv(4096).startswith(b"HTTP/1.1 200 ")
            except OSError:
                return False

    with ExitStack() as held:
        for number in range(LEASE_CONNECTIONS_MAX):
            connection = held.enter_context(connect((lease, child)[number % 2]["sockets"][kind]))
            connection.sendall(b"GET /~/lease HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert not is_taken(lease["sockets"][kind])
        assert not is_taken(child["sockets"][kind])
        assert is_taken(other["sockets"][kind])
        assert daemon.request("GET", "/status").status == 200
    for _ in range(100):
        if is_taken(child["sockets"][kind]):
            break
    else:  # pragma: no cover
        pytest.fail("there is no room again")
