"""What a vault that does not answer, or answers otherwise, becomes: for the client, and for the store and the key above it."""

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import DaemonError, KeyUnavailableError, StoreUnavailableError
from atl_sign.base.urls import parse_url
from atl_sign.custody.keys.transit import TransitPlace
from atl_sign.custody.stores.base import ABSENT
from atl_sign.custody.stores.kv import KvStore
from atl_sign.custody.vaults.client import VaultClient
from atl_sign.custody.vaults.connections import ANSWER_BYTES_MAX
from atl_sign.custody.vaults.problems import VaultError
from tests.unit.provider_lab import everything_shown
from tests.unit.raw_server import RawServer, reply
from tests.vault.conftest import Lab
from tests.vault.front import Fate, Front

BACKEND = "vault:ci/secret/atl-sign"
KEY = "vault:ci/transit/atl-sign"
ITEM = "secret/data/atl-sign/token%3Ajira"
CANARY = "canary-item-value"


def client_at(lab: Lab, url: str, **more: object) -> VaultClient:
    """Return the client of what answers at *url*, with the machine's own token."""
    lab.servers["ci"] = lab.server(address=parse_url(url), **more)
    return lab.vaults.client("ci")


def refusal(client: VaultClient, method: str = "GET", path: str = ITEM, timeout_s: float = 3.0) -> VaultError:
    """Return what a call of *client* comes to, which must not be an answer."""
    body = {"data": {"item": CANARY}} if method == "POST" else None
    with pytest.raises(VaultError) as caught:
        client.call(method, path, body, timeout_s=timeout_s)
    return caught.value


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_a_closed_port(lab: Lab) -> None:
    """Named with its address; nothing was sent, so nothing can have happened."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        error = refusal(client_at(lab, url))

    assert (error.kind, error.was_sent) == ("unavailable", False)
    assert error.message == f"the vault ci at {url} cannot be reached: connection refused"
    assert error.hint == "check the address of [vaults.ci], and ask its operators"


def test_a_host_that_nobody_knows(lab: Lab) -> None:
    """The name is at fault."""
    error = refusal(client_at(lab, "https://vault.invalid:8200"))

    assert error.message.startswith("the vault ci at https://vault.invalid:8200 cannot be reached: ")
    assert "host name" in error.message, error.message


def test_a_stopped_vault_ends_each_call_within_its_deadline(lab: Lab) -> None:
    """On a kept connection, on a new one, through the store and through the key."""
    lab.make_key()
    key = TransitPlace(lab.vaults).find(KEY)
    store = KvStore(BACKEND, lab.vaults)
    store.write("token:jira", Secret(CANARY))
    client = lab.vaults.client("ci")

    with lab.space.server.stopped():
        with within(1.5):
            assert refusal(client, timeout_s=1.0).message == "the vault ci does not answer in time"
        client._connections.close()
        with within(1.5):
            assert refusal(client, timeout_s=1.0).message == "the vault ci does not answer in time"
        with within(4), pytest.raises(StoreUnavailableError):
            store.read("token:jira")
        with within(4), pytest.raises(StoreUnavailableError) as caught:
            store.write("token:jira", Secret(CANARY))
        with within(4), pytest.raises(KeyUnavailableError):
            key.sign_sha1(b"message")

    assert CANARY not in everything_shown(caught.value)
    assert store.read("token:jira") is not None
    key.sign_sha1(b"message")


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{"])
def test_a_byte_now_and_then_does_not_lengthen_a_call(lab: Lab, part: bytes) -> None:
    """Its deadline is the whole call's, in the header and in the body."""

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(part)
        server.trickle(b"a", connection)

    with RawServer(script) as server, within(1.5):
        error = refusal(client_at(lab, server.url), timeout_s=1.0)

    assert error.kind == "unavailable"


PAGE = b"<!doctype html><html><title>502 Bad Gateway</title></html>"
NO_VAULT_ANSWERS: dict[str, bytes] = {
    "a page": reply(PAGE, 502, {"Content-Type": "text/html"}),
    "a page, as if it were good": reply(PAGE, 200, {"Content-Type": "text/html"}),
    "a list": reply("[]"),
    "a number": reply("7", 403),
    "half of a JSON text": reply('{"data": {'),
    "nested too deeply": reply("[" * 200_000),
    "no UTF-8": reply(b'{"data": "\xff"}'),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}",
    "a header without an end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    "an endless line": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    "a status without sense": b"HTTP/1.1 999999999 OK\r\n\r\n",
    "a wrong length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    "a chunk without sense": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
}


@pytest.mark.parametrize("answer", NO_VAULT_ANSWERS.values(), ids=NO_VAULT_ANSWERS)
def test_what_is_not_an_answer_of_a_vault(lab: Lab, answer: bytes) -> None:
    """Is said so by the store and by the key, with the address's setting in the hint; what came is shown to nobody."""
    lab.make_key()
    key = TransitPlace(lab.vaults).find(KEY)
    with RawServer(answer) as server:
        client_at(lab, server.url)
        errors: list[DaemonError] = []
        for call in (lambda: KvStore(BACKEND, lab.vaults).read("token:jira"), lambda: key.sign_sha1(b"message")):
            with pytest.raises(DaemonError) as caught:
                call()
            errors.append(caught.value)

    assert [error.code for error in errors] == ["store_unavailable", "key_unavailable"]
    for error in errors:
        assert error.hint is not None
        assert "Gateway" not in error.message


def test_a_page_is_named_as_one(lab: Lab) -> None:
    """A proxy is in the way, most likely."""
    with RawServer(reply(PAGE, 502)) as server:
        error = refusal(client_at(lab, server.url))

    assert error.message == f"what answers at {server.url} is not a vault (status 502)"
    assert error.hint is not None
    assert "proxy" in error.hint


NO_DATA: list[dict[str, object]] = [
    {},
    {"data": None},
    {"data": []},
    {"data": "text"},
    {"data": {"data": []}},
    {"data": {"keys": []}},
]
NO_WORDS: list[object] = [None, 7, "text", {"a": 1}, [None, {"b": []}], []]
OTHER_SHAPES: list[tuple[int, object]] = [
    *((200, data) for data in NO_DATA),
    (200, {"data": {"metadata": {"version": "1"}, "data": {"item": 5}}}),
    (200, {"data": {"type": "kv", "options": {"version": "2"}}}),
    (200, {"data": {"keys": {"1": "text"}, "latest_version": 1}}),
    (200, {"data": {"keys": {"x": {"public_key": "text"}}, "latest_version": "x"}}),
    (200, {"data": {"signature": ["vault:v1:AAAA"]}}),
    *((status, {"errors": words}) for status in (400, 404, 500) for words in NO_WORDS),
]


@pytest.mark.parametrize(("status", "shape"), OTHER_SHAPES)
def test_json_of_another_shape(lab: Lab, status: int, shape: object) -> None:
    """No field is trusted to be there, or to be of its type: each comes to a code."""
    lab.make_key()
    place = TransitPlace(lab.vaults)
    key = place.find(KEY)
    with RawServer(reply(json.dumps(shape), status)) as server:
        client = client_at(lab, server.url)
        calls: list[Callable[[], object]] = [
            lambda: KvStore(BACKEND, lab.vaults).read("token:jira"),
            lambda: KvStore(BACKEND, lab.vaults).write("token:jira", Secret(CANARY)),
            lambda: key.sign_sha1(b"message"),
            lambda: place.find(KEY),
        ]
        for call in calls:
            with pytest.raises(DaemonError):
                call()
        with suppress(VaultError):
            assert client.may({ITEM: ("read",)}, 3.0) == {ITEM: ["read"]}


@pytest.mark.parametrize("has_length", [True, False])
def test_an_answer_that_is_too_long(lab: Lab, has_length: bool) -> None:
    """It is not read to its end, with or without a length before it."""
    content = b'{"data": "' + b"x" * ANSWER_BYTES_MAX + b'"}'
    answer = reply(content) if has_length else b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + content
    with RawServer(answer) as server:
        error = refusal(client_at(lab, server.url))

    assert error.kind == "unavailable"
    assert error.message == "the vault ci answers with more than any real answer has"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(lab: Lab, status: int) -> None:
    """The token would go along to whatever address stands there."""
    with RawServer(reply("{}")) as other, RawServer(reply("", status, {"Location": f"{other.url}/v1/{ITEM}"})) as server:
        error = refusal(client_at(lab, server.url))

        assert not other.requests
    assert error.kind == "unavailable"
    assert f"status {status}" in error.message


def test_an_unknown_namespace(lab: Lab) -> None:
    """It is no missing item, and no missing key: a machine must not begin anew there."""
    lab.servers["ci"] = lab.server(namespace="nowhere")

    error = refusal(lab.vaults.client("ci"))

    assert error.kind == "unavailable"
    assert error.message == "the vault ci has no namespace nowhere"
    assert error.hint == "correct namespace of [vaults.ci]"
    with pytest.raises(StoreUnavailableError, match="no namespace nowhere"):
        KvStore(BACKEND, lab.vaults).read("token:jira")


def test_a_mount_that_is_gone_is_not_an_absent_item(lab: Lab) -> None:
    """Whoever may read everything is told that nothing handles the path: the store does not begin anew there."""
    lab.token_file.write_text(lab.space.server.root_token)
    store = KvStore(BACKEND, lab.vaults)
    store.write("token:jira", Secret(CANARY))
    lab.space.call("DELETE", "sys/mounts/secret")

    with pytest.raises(StoreUnavailableError, match="has nothing at secret/data/atl-sign/token:jira"):
        store.read("token:jira")


def test_a_policy_that_is_too_narrow_names_what_is_missing(lab: Lab) -> None:
    """As its operators would write it: with that line in the policy it works."""
    lines = ['path "auth/token/lookup-self" { capabilities = ["read"] }']
    store = KvStore(BACKEND, lab.vaults)

    def log_in() -> None:
        lab.space.make_policy("narrow", "\n".join(lines))
        lab.log_in("narrow")

    for verb in ("read", "write"):
        log_in()
        with pytest.raises(StoreUnavailableError) as caught:
            store.write("token:jira", Secret(CANARY), if_version=ABSENT)
        assert caught.value.message == f"the vault ci does not allow this login to {verb} secret/data/atl-sign/token:jira"
        assert caught.value.hint is not None
        lines[1:] = [caught.value.hint.partition("with: ")[2].replace("]", ', "read"]')]

    log_in()
    assert store.write("token:jira", Secret(CANARY), if_version=ABSENT) == "1"


def test_a_login_that_dies_in_the_middle(lab: Lab) -> None:
    """The call that meets it is "locked", and says what to do; the token's policy alone may not be read for that."""
    client = lab.vaults.client("ci")
    client.call("GET", "sys/internal/ui/mounts/secret", timeout_s=3.0)
    lab.space.call("POST", "auth/token/revoke", {"token": lab.token})

    error = refusal(client)

    assert error.kind == "locked"
    assert error.hint == f"bao login, or vault login; the token belongs into {lab.token_file}"
    assert lab.token not in everything_shown(error)


def test_a_quota_is_waited_for(lab: Lab) -> None:
    """As long as the call may last, and then it is said; the vault is not asked all the time meanwhile."""
    client = lab.vaults.client("ci")
    path = "sys/internal/ui/mounts/secret"
    lab.space.server.call(
        "POST", f"sys/quotas/rate-limit/{lab.space.name}", {"path": f"{lab.space.name}/", "rate": 1, "interval": "1s"}
    )
    try:
        with within(8):
            for _ in range(3):
                client.call("GET", path, timeout_s=3.0)
        errors = []
        for _ in range(3):
            try:
                client.call("GET", path, timeout_s=0.1)
            except VaultError as exc:
                errors.append(exc)
    finally:
        lab.space.server.call("DELETE", f"sys/quotas/rate-limit/{lab.space.name}")

    assert errors
    assert {(error.kind, error.message) for error in errors} == {
        ("unavailable", "the vault ci limits this machine's calls (status 429)")
    }
    assert client.call("GET", path, timeout_s=3.0).status == 200


def test_a_connection_that_was_closed_while_idle_is_replaced(lab: Lab) -> None:
    """A vault closes one after some minutes; that costs no call, also when it closes just as the call goes out."""
    good = reply(json.dumps({"data": {"a": 1}}), 200, {"Connection": "keep-alive"})

    def close_at_the_second(connection: socket.socket, _: bytes) -> None:
        connection.sendall(good)
        connection.recv(65_536)  # and then it is closed, without an answer

    with RawServer(good, close_at_the_second, good) as server:
        client = client_at(lab, server.url)
        for _ in range(4):
            assert client.call("GET", ITEM, timeout_s=3.0).data == {"a": 1}


def test_a_connection_that_ends_without_an_answer_is_not_tried_again(lab: Lab) -> None:
    """On a new connection: the vault may have done what it was asked for."""
    with RawServer(b"") as server:
        error = refusal(client_at(lab, server.url), "POST")

        assert len(server.requests) == 1
    assert (error.kind, error.was_sent) == ("unavailable", True)
    assert error.message == "the connection to the vault ci broke"


@pytest.fixture
def front(lab: Lab) -> Iterator[Front]:
    """Stands before the vault, for every machine of the test."""
    with Front(lab.space.server.port) as front:
        lab.servers["ci"] = lab.server(address=parse_url(front.url))
        yield front
        lab.vaults.forget()


def once(fate: Fate, *words: str) -> Callable[[bytes], Fate]:
    """Return the decision that gives the first request whose line has *words* that *fate*, and lets the others pass."""
    left = [fate]

    def decide(request: bytes) -> Fate:
        line = request.partition(b"\r\n")[0].decode()
        return left.pop() if left and all(word in line for word in words) else "pass"

    return decide


@pytest.mark.parametrize("fate", ["lose", "halve"])
def test_a_write_whose_answer_is_lost_is_found_again(lab: Lab, front: Front, fate: Fate) -> None:
    """By reading: it counts once, and the caller never hears of it."""
    store = KvStore(BACKEND, lab.vaults)
    version = store.write("token:jira", Secret("one"))
    front.decide = once(fate, "POST", "token%3Ajira")

    written = store.write("token:jira", Secret("two"), if_version=version)

    item = store.read("token:jira")
    assert item is not None
    assert (item.value.reveal(), item.version) == ("two", written)
    assert int(written) == int(version) + 1
    assert len(front.asked("POST", "token%3Ajira")) == 2


def test_a_write_that_did_not_arrive_is_not_taken_for_one(lab: Lab, front: Front) -> None:
    """The read shows the old item, so the write failed; nothing says what it was to be."""
    store = KvStore(BACKEND, lab.vaults)
    store.write("token:jira", Secret("one"))
    front.decide = once("refuse", "POST", "token%3Ajira")

    with pytest.raises(StoreUnavailableError, match="the connection to the vault ci broke") as caught:
        store.write("token:jira", Secret(CANARY))

    item = store.read("token:jira")
    assert item is not None
    assert item.value.reveal() == "one"
    assert CANARY not in everything_shown(caught.value)


def test_a_signature_that_is_lost(lab: Lab, front: Front) -> None:
    """Is an error; the next one is not."""
    lab.make_key()
    key = TransitPlace(lab.vaults).find(KEY)
    front.decide = once("lose", "POST", "/sign/")

    with pytest.raises(KeyUnavailableError, match="broke"):
        key.sign_sha1(b"message")

    key.sign_sha1(b"message")


def test_no_secret_is_shown(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """Not the token, nor an item: in an error of any kind, in what the objects show of themselves, and in a log."""
    caplog.set_level(logging.DEBUG)
    client = lab.vaults.client("ci")
    store = KvStore(BACKEND, lab.vaults)
    shown: list[object] = []
    body: Mapping[str, object] = {"options": {"cas": 0}, "data": {"item": CANARY}}
    shown.append(client.call("POST", ITEM, body, timeout_s=3.0))
    shown.append(client.call("GET", ITEM, timeout_s=3.0))
    for answer in (b"", reply(PAGE, 502), reply(json.dumps({"errors": ["no"]}), 500), reply(b"x" * (ANSWER_BYTES_MAX + 1))):
        with RawServer(answer) as server:
            shown.append(everything_shown(refusal(client_at(lab, server.url), "POST")))
    lab.servers["ci"] = lab.server()
    lab.space.call("POST", "auth/token/revoke", {"token": lab.token})
    shown.append(everything_shown(refusal(lab.vaults.client("ci"), "POST")))
    shown += [client, store, client._login, client._login._token, client._connections, lab.vaults, store._client()]

    text = "\n".join([*map(repr, shown), *map(str, shown), caplog.text])
    assert CANARY not in text
    assert lab.token not in text
